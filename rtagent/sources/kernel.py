"""The kernel over Netlink: subscribe, dump, follow; and dump again whenever something was or may have been missed.

Here is what takes sockets and time; what becomes of what they bring is in intake.py. Nothing is swept unless a dump
came through whole, with no overflow meanwhile (invariant 4).

After an overflow the kernel drops whatever else it has to say until the socket is read empty, and does not report that
again (NETLINK_S_CONGESTED in net/netlink/af_netlink.c): a dump begins only when it was, and is believed only when it
was once more at its end.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import structlog

from rtagent.sources.intake import DUMP_ORDER, Intake, KernelListener, KernelTap
from rtagent.transport.netlink import NetlinkSocket, Overflow
from rtagent.vector.batch import Dump
from rtagent.vector.nexthops import NexthopGroups
from rtagent.wire.netlink.constants import GROUPS
from rtagent.wire.netlink.requests import dump_request
from rtagent.wire.netlink.session import Received

log = structlog.get_logger()

_NOT_IN_THIS_KERNEL = {errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT}
_MPLS_ROUTING = Path("/proc/sys/net/mpls")
"""There with the mpls_router module. Without it a dump of AF_MPLS routes is answered with those of all other families
(net/core/rtnetlink.c falls back to PF_UNSPEC)."""
_BACKOFF_S = (0.05, 1.0)
_MANY_MESSAGES, _REST_S = 4, 0.004
_STORM_PER_S, _STORM_REST_S = 30_000, 0.03
"""A lone change goes at once. Where there are more, whatever comes within the next milliseconds is taken together: a
batch costs the more, the emptier it is. In a storm (messages a second) that is longer."""
_DUMP_SLOTS = 16
"""512 KiB, some 8000 routes: a part of a dump costs the less a route, the larger it is, up to what a cache holds."""
_FIRST_PARTS, _FIRST_SLOTS = 128, 1
"""Its first parts are small: who connects to VPP meanwhile waits for a turn of the loop some dozens of times."""


class KernelSource:
    """Keeps a listener equal to one network namespace's kernel state."""

    def __init__(
        self,
        listener: KernelListener,
        groups: NexthopGroups,
        *,
        netns: str | None = None,
        receive_buffer_bytes: int,
        on_change: Callable[[], None] = lambda: None,
        tap: KernelTap | None = None,
    ) -> None:
        self.resyncs = 0
        """Complete resynchronisations since the start, the first not counted."""
        self.overflows = 0
        self.repeated_dumps = 0
        """Dumps that broke off, were interrupted by a change, or missed notifications."""
        self.messages = 0
        self.malformed = 0
        self.last_resync_reason = ""
        self.last_resync_at: float | None = None
        """UNIX time of the last overflow or loss."""
        self._listener = listener
        self._intake = Intake(listener, groups, tap)
        self._on_change = on_change
        self._netns = netns
        self._receive_buffer_bytes = receive_buffer_bytes
        self._pending = set(DUMP_ORDER)
        self._losses = 0
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._sequence = 0
        self._notifications: NetlinkSocket | None = None

    @property
    def in_sync(self) -> bool:
        """Whether everything has been dumped whole since the start and since the last loss."""
        return self._intake.in_sync

    @property
    def is_dumping(self) -> bool:
        """Whether a dump is under way or due."""
        return self._intake.dumping is not None or bool(self._pending)

    def states(self) -> dict[str, str]:
        """Return the state of each part: "synced", "syncing" or "awaiting"."""
        dumping, unsynced = self._intake.dumping, self._intake.unsynced
        return {
            dump.value: "syncing" if dump is dumping else "awaiting" if dump in unsynced else "synced"
            for dump in DUMP_ORDER
        }

    def forget(self) -> None:
        """Nexthop groups were freed: forget what refers to them."""
        self._intake.forget()

    def reread_links(self) -> None:
        """Have links dumped: of one that is down, the kernel does not tell that it got another name.

        (net/core/rtnetlink.c rtnl_linkprop by netdev_state_change, which is silent without IFF_UP.)
        """
        self._want({Dump.LINKS})

    async def run(self) -> None:
        """Subscribe, dump everything, follow for ever."""
        notifications = NetlinkSocket(netns=self._netns, groups=GROUPS, receive_buffer_bytes=self._receive_buffer_bytes)
        self._notifications = notifications
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(notifications))
                group.create_task(self._keep_dumped())
        finally:
            self._notifications = None
            notifications.close()

    async def snapshot(self) -> None:
        """Return when everything has been taken once; for those who want to know, not to follow."""
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self.run())
            await self.settle()
            following.cancel()

    async def settle(self) -> None:
        """Return when everything that the kernel holds now has been applied, dumps that are due included."""
        while True:
            await self._drain()
            if not self.is_dumping and self._notifications is not None:
                return
            self._idle.clear()
            await self._idle.wait()

    async def _follow(self, notifications: NetlinkSocket) -> None:
        taken_at = time.monotonic()

        def take() -> float:
            nonlocal taken_at
            before, since = self.messages, taken_at
            more, taken_at = self._take(notifications), time.monotonic()
            taken = self.messages - before
            if not more or not _MANY_MESSAGES <= taken < notifications.slots:
                return 0.0
            return _REST_S if taken < _STORM_PER_S * (taken_at - since) else _STORM_REST_S

        await notifications.follow(take)

    async def _drain(self) -> None:
        """Apply notifications until there are none left."""
        while self._notifications is not None and self._take(self._notifications):
            await asyncio.sleep(0)

    def _take(self, notifications: NetlinkSocket) -> bool:
        """Apply what is queued, up to a batch; return whether there was anything."""
        try:
            datagrams = notifications.receive()
        except Overflow:
            self.overflows += 1
            self._lost("the receive buffer overflowed")
            return True
        if datagrams is None:
            return False
        if datagrams.truncated:
            self._lost("a notification was longer than its slot")
        self._note(self._intake.notified(datagrams))
        return True

    def _note(self, received: Received) -> None:
        """Count what was received, and draw the conclusions from what it changed."""
        self.messages += received.messages
        self.malformed += len(received.malformed)
        if received.malformed:
            log.warning("kernel.message_malformed", count=len(received.malformed), first=str(received.malformed[0]))
        if received.batch:
            self._changed()

    def _changed(self) -> None:
        self._want(self._listener.take_dump_requests())
        self._on_change()

    def _want(self, dumps: set[Dump]) -> None:
        """Have these dumped, links before them.

        The kernel tells of a link or an address before it withdraws the routes (net/core/dev.c __dev_close, net/ipv4/
        devinet.c __inet_del_ifa), and its route dumps do not wait for it: one that began at once would show what is
        just going. A dump of links takes the RTNL lock, so behind it the withdrawal is over.
        """
        if dumps:
            self._pending |= dumps | {Dump.LINKS}
            self._work.set()

    def _lost(self, reason: str) -> None:
        if self.in_sync:
            self.resyncs += 1
            log.warning("kernel.notifications_lost", reason=reason)
        self._losses += 1
        self.last_resync_reason, self.last_resync_at = reason, time.time()
        self._intake.lost()
        self._want(set(DUMP_ORDER))

    async def _keep_dumped(self) -> None:
        self._work.set()
        backoff_s = _BACKOFF_S[0]
        while True:
            # One socket for many dumps: the kernel makes the parts of a dump as large as what was asked for before,
            # and a route of a thousand nexthops fits none of the small ones that it starts with.
            with closing(NetlinkSocket(netns=self._netns, slots=_DUMP_SLOTS)) as answers:
                progressed = await self._dump_while_well(answers)
            backoff_s = _BACKOFF_S[0] if progressed else min(2 * backoff_s, _BACKOFF_S[1])
            await asyncio.sleep(backoff_s)

    async def _dump_while_well(self, answers: NetlinkSocket) -> bool:
        """Dump whatever is due until a dump does not come through whole; return whether any did before."""
        progressed = False
        while True:
            await self._work.wait()
            dump = next((dump for dump in DUMP_ORDER if dump in self._pending), None)
            if dump is None:
                self._work.clear()
                self._idle.set()
                continue
            self._pending.discard(dump)
            problem = await self._dump(answers, dump)
            if problem:
                self.repeated_dumps += 1
                log.info("kernel.dump_repeated", part=dump.value, reason=problem)
                self._pending.add(dump)
                return progressed
            progressed = True

    async def _dump(self, answers: NetlinkSocket, dump: Dump) -> str:
        """Dump one part into the listener; return why it has to be repeated, empty where it came through whole."""
        await self._drain()
        losses = self._losses
        self._intake.begin(dump)
        problem = "it was cancelled"
        try:
            problem = await self._receive_dump(answers, dump)
            await self._drain()
            if self._losses != losses:
                problem = problem or "notifications were lost meanwhile"
        finally:
            if problem:
                self._intake.abandon()
            else:
                self._intake.finish()
        self._changed()
        if not problem and self.in_sync:
            log.info("kernel.synced", messages=self.messages)
        return problem

    async def _receive_dump(self, answers: NetlinkSocket, dump: Dump) -> str:
        if dump is Dump.ROUTES_MPLS and not _routes_mpls():
            return ""
        self._sequence += 1
        answers.send(dump_request(dump, self._sequence))
        interrupted, parts = False, 0
        while True:
            await answers.readable()
            datagrams = answers.receive(_FIRST_SLOTS if parts < _FIRST_PARTS else None)
            if datagrams is None:
                continue
            parts += 1
            received = self._intake.dumped(datagrams)
            self._note(received)
            interrupted |= received.interrupted or datagrams.truncated
            if received.error is not None:
                if received.error.errno in _NOT_IN_THIS_KERNEL:
                    return ""
                return f"the kernel answered {errno.errorcode.get(received.error.errno)} {received.error.text}".strip()
            if received.done:
                return "it was interrupted by a change" if interrupted else ""
            await asyncio.sleep(0)


def _routes_mpls() -> bool:
    return _MPLS_ROUTING.exists()
