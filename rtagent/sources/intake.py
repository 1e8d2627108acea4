"""What was heard from the kernel, in its order, on its way into a listener: neither socket nor clock nor task.

The source (kernel.py) says what it received and how a dump ended; what follows from that is here, so that a replay
(agent/replay.py) which says the same gets the same. Notifications are applied as they come, also while a dump is under
way, and those that came during it are applied once more when it ends: the last writer wins, and what a dump showed too
early does no harm.
"""

from __future__ import annotations

from typing import Protocol

from rtagent.transport.netlink import Datagrams
from rtagent.vector.batch import Change, Dump, KernelBatch, UnsupportedRoute
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS
from rtagent.vector.links import Address, Link, LinkdownPolicy, Neighbor, Rule
from rtagent.vector.nexthops import NexthopGroups, NexthopObject
from rtagent.vector.routes import EMPTY_DELTA, RouteDelta
from rtagent.wire.netlink.session import NetlinkSession, Received

DUMP_ORDER = (
    Dump.LINKS, Dump.NETCONF, Dump.NEXTHOPS, Dump.ADDRESSES, Dump.NEIGHBORS, Dump.RULES,
    Dump.ROUTES_INET, Dump.ROUTES_INET6, Dump.ROUTES_MPLS,
)  # fmt: skip
"""Every part, in the order in which they are best learned."""

_ROWS: dict[Dump, type] = {
    Dump.LINKS: Link,
    Dump.NETCONF: LinkdownPolicy,
    Dump.NEXTHOPS: NexthopObject,
    Dump.ADDRESSES: Address,
    Dump.NEIGHBORS: Neighbor,
    Dump.RULES: Rule,
}
_FAMILY = {Dump.ROUTES_INET: AF_INET, Dump.ROUTES_INET6: AF_INET6, Dump.ROUTES_MPLS: AF_MPLS}
_LOG_ROWS_BEFORE_FOLD = 65_536


class KernelListener(Protocol):
    """Who is told; core/store.py."""

    def begin(self, dump: Dump) -> None:
        """A dump starts."""

    def apply(self, batch: KernelBatch, dump: Dump | None = None) -> None:
        """Take notifications, or rows of the dump named."""

    def finish(self, dump: Dump) -> None:
        """The dump came through whole: what it did not show is gone."""

    def abandon(self, dump: Dump) -> None:
        """The dump broke off."""

    def take_dump_requests(self) -> set[Dump]:
        """Return what the kernel may have changed silently."""


class KernelTap(Protocol):
    """Who looks on: each method is called before what it tells of takes effect. agent/journal.py."""

    def notified(self, datagrams: Datagrams) -> None:
        """Notifications came."""

    def dump_began(self, dump: Dump) -> None:
        """A dump starts."""

    def dumped(self, datagrams: Datagrams) -> None:
        """A part of the dump under way came."""

    def dump_ended(self, *, whole: bool) -> None:
        """The dump under way came through whole, or broke off."""

    def lost(self) -> None:
        """Notifications were lost: nothing is in sync any more."""


class Intake:
    """Takes what was received, in the order in which it was."""

    def __init__(self, listener: KernelListener, groups: NexthopGroups, tap: KernelTap | None = None) -> None:
        self.unsynced = set(DUMP_ORDER)
        """What has not been dumped whole since the start and since the last loss."""
        self.dumping: Dump | None = None
        """The dump that is under way."""
        self._listener = listener
        self._session = NetlinkSession(groups)
        self._tap = tap
        self._log: list[KernelBatch] = []
        self._log_rows = 0

    @property
    def in_sync(self) -> bool:
        """Whether everything has been dumped whole since the start and since the last loss."""
        return not self.unsynced

    def notified(self, datagrams: Datagrams) -> Received:
        """Take notifications; return what they said."""
        if self._tap:
            self._tap.notified(datagrams)
        received = self._session.receive(datagrams.buffer, datagrams.starts, datagrams.lengths, dump=False)
        if received.batch:
            if self.dumping is not None:
                self._remember(received.batch)
            self._listener.apply(received.batch)
        return received

    def begin(self, dump: Dump) -> None:
        """A dump starts; one at a time."""
        if self._tap:
            self._tap.dump_began(dump)
        self.dumping, self._log, self._log_rows = dump, [], 0
        self._listener.begin(dump)

    def dumped(self, datagrams: Datagrams) -> Received:
        """Take a part of the dump under way; return what it said."""
        assert self.dumping is not None
        if self._tap:
            self._tap.dumped(datagrams)
        received = self._session.receive(datagrams.buffer, datagrams.starts, datagrams.lengths, dump=True)
        if received.batch:
            self._listener.apply(received.batch, self.dumping)
        return received

    def finish(self) -> None:
        """The dump under way came through whole."""
        dump = self._end(whole=True)
        self._listener.finish(dump)
        for batch in self._log:
            self._listener.apply(_only(batch, dump))
        self._log = []
        self.unsynced.discard(dump)

    def abandon(self) -> None:
        """The dump under way broke off."""
        self._listener.abandon(self._end(whole=False))
        self._log = []

    def lost(self) -> None:
        """Notifications were lost: everything has to be dumped again."""
        if self._tap:
            self._tap.lost()
        self.unsynced = set(DUMP_ORDER)

    def forget(self) -> None:
        """Nexthop groups were freed: forget what refers to them."""
        self._session.forget()

    def _end(self, *, whole: bool) -> Dump:
        assert self.dumping is not None
        if self._tap:
            self._tap.dump_ended(whole=whole)
        dump, self.dumping = self.dumping, None
        return dump

    def _remember(self, batch: KernelBatch) -> None:
        self._log.append(batch)
        self._log_rows += len(batch.routes)
        if self._log_rows > _LOG_ROWS_BEFORE_FOLD + 2 * len(self._log[0].routes):
            routes = RouteDelta.folded([earlier.routes for earlier in self._log])
            self._log = [KernelBatch(routes, tuple(change for earlier in self._log for change in earlier.changes))]
            self._log_rows = len(routes)


def _only(batch: KernelBatch, dump: Dump) -> KernelBatch:
    """Return the part of a batch that a dump is about."""
    if dump in _ROWS:
        return KernelBatch(EMPTY_DELTA, tuple(c for c in batch.changes if isinstance(c.row, _ROWS[dump])))
    routes, family = batch.routes.routes, _FAMILY[dump]
    which = routes.keys.family == family
    return KernelBatch(RouteDelta(routes.take(which), batch.routes.op[which]), _unsupported(batch.changes, family))


def _unsupported(changes: tuple[Change, ...], family: int) -> tuple[Change, ...]:
    return tuple(c for c in changes if isinstance(c.row, UnsupportedRoute) and c.row.family == family)
