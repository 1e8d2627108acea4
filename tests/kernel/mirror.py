"""A mirror of one namespace in this process, as the agent wires it, driven step by step.

The event loop runs only within the methods here: what the kernel says between two of them queues in the socket, as
it does for a busy agent, and is taken in one go.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from rtagent.agent.mirror import Mirror as AgentMirror
from rtagent.agent.reconciler import Reconciler
from rtagent.agent.settings import Settings
from rtagent.core.rows import Rows
from rtagent.core.sink import FibSink, Plan
from rtagent.sinks.memory import MemoryFib
from rtagent.sinks.vpp import VppFib
from rtagent.sources.kernel import KernelSource
from rtagent.vector.fib import NO_ENTRY, FibEntries
from rtagent.vector.keys import TABLE_MAIN, Key

IN_MEMORY = pytest.mark.parametrize("mirroring", ["memory"], indirect=True)
"""For what cannot be told of VPP alike: routes over links that have no port there, path lists so long
that vppctl shows shares only. tests/vpp has these cases where VPP has an answer."""

TIMEOUT_S = 30
T = TypeVar("T")


class Path(NamedTuple):
    """A way out as tests write it; of one that encapsulates, ``dev`` is the encapsulation."""

    via: str
    dev: str
    weight: int = 1
    labels: str = ""
    """Labels pushed, or swapped to, as ``ip`` writes them: 200/300."""


class Forwarding(NamedTuple):
    """What a prefix does: a type, and its ways out in no order."""

    type: str
    paths: frozenset[Path] = frozenset()


Fib = dict[tuple[int, str], Forwarding]
"""By table and prefix."""


class WatchedFib(MemoryFib):
    """The memory FIB, with every write remembered."""

    def __init__(self, entries: FibEntries) -> None:
        super().__init__(entries)
        self.writes: list[tuple[Key, int]] = []

    async def apply(self, plan: Plan) -> NDArray[np.int32]:
        self.writes.extend(zip(plan.keys, plan.entry.tolist(), strict=True))
        return await super().apply(plan)


class WatchedVpp(VppFib):
    """A real VPP, with every write remembered."""

    def __init__(self, entries: FibEntries, socket_path: str) -> None:
        super().__init__(entries, socket_path)
        self.writes: list[tuple[Key, int]] = []

    async def apply(self, plan: Plan) -> NDArray[np.int32]:
        self.writes.extend(zip(plan.keys, plan.entry.tolist(), strict=True))
        return await super().apply(plan)


class Mirror:
    """Follows a namespace until it is closed; use it in a ``with`` statement.

    ``by_host``: ways out are called by the kernel's links, not by the data plane's interfaces.
    """

    def __init__(
        self, netns: str, *, receive_buffer_bytes: int = 16 << 20, pairs: Mapping[str, str] | None = None,
        fib: FibSink | None = None, remember_writes: bool = True, by_host: bool = False,
    ) -> None:  # fmt: skip
        sink: Any = fib or (WatchedFib if remember_writes else MemoryFib)(FibEntries())
        kind = "memory" if isinstance(sink, MemoryFib) else "vpp"
        # VPP's ports keep what the test gave them: addresses of its own, on links of other namespaces
        settings = Settings(dataplane=kind, pairs=dict(pairs or {}), interfaces=kind == "memory")
        self.mirror = AgentMirror(settings, lambda *_: sink)
        self.store, self.ledger, self.sink, self.entries = self.mirror.store, self.mirror.ledger, sink, sink.entries
        self.source = KernelSource(
            self.store,
            self.mirror.groups,
            netns=netns,
            receive_buffer_bytes=receive_buffer_bytes,
            on_change=self._changed,
        )
        self.reconciler = Reconciler(
            self.store,
            self.ledger,
            self.mirror.objects,
            sink,
            may_remove=lambda: self.source.in_sync,
            on_connected=self._ports_changed,
            before_round=self.mirror.want_objects,
        )
        self.store.on_links_changed = self._pairs_changed
        sink.on_ports_changed = self._ports_changed
        sink.on_object_heard = self.mirror.object_heard
        self._called = {vpp: host for host, vpp in settings.pairs.items()} if by_host else {}
        self._news = asyncio.Event()
        self._runner = asyncio.Runner()
        self._tasks: list[asyncio.Task[None]] = []

    def __enter__(self) -> Self:
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        self._run(_ended(self._tasks))
        self._run(self.sink.close())
        self._runner.close()

    def follow_while(self, work: Callable[[], None]) -> None:
        """Do something that blocks, and follow meanwhile, as a running agent does."""
        self._run(asyncio.to_thread(work))

    def settle(self) -> None:
        """Return when everything that the kernel holds now has reached the FIB."""
        self._run(self._settle())

    def until(self, condition: Callable[[], Any]) -> None:
        """Return when the condition holds; it is looked at whenever the kernel has said something."""
        self._run(self._until(condition))

    def run_for_rounds(self, rounds: int) -> None:
        """Let the loop turn a number of times: the middle of things, not their end."""
        self._run(_turns(rounds))

    def fib(self) -> Fib:
        """Return what the FIB holds once all is settled."""
        self.settle()
        return self.fib_now()

    def fib_now(self) -> Fib:
        """Return what the FIB holds at this moment."""
        names = {port.interface: self._called.get(port.name, port.name) for port in self.sink.ports.values()}
        held: Fib = {}
        for row in self._run(_own(self.sink)):
            entry = self.entries[row[1]]
            paths = frozenset(
                Path(
                    _text(path.via),
                    path.encap.text if path.encap else names.get(path.interface, f"#{path.interface}"),
                    path.weight,
                    "/".join(map(str, path.labels)),
                )
                for path in entry.paths
            )
            held[row[0].table, row[0].text] = Forwarding(entry.kind.name.lower(), paths)
        return held

    def paths(self, prefix: str, table: int = TABLE_MAIN) -> set[Path] | None:
        """Return the ways out of a prefix once all is settled, None where it is not installed."""
        found = self.fib().get((table, prefix))
        return None if found is None else set(found.paths)

    def type(self, prefix: str, table: int = TABLE_MAIN) -> str | None:
        """Return the type of a prefix once all is settled, None where it is not installed."""
        found = self.fib().get((table, prefix))
        return None if found is None else found.type

    def state(self, prefix: str, table: int = TABLE_MAIN) -> tuple[str, str]:
        """Return state and reason of a prefix, as ``rtagent fib`` shows them."""
        self.settle()
        rows = [row for row in Rows(self.store, self.ledger, self.entries, {})() if row["table"] == table]
        return next((row["state"], row["reason"]) for row in rows if row.get("prefix") == prefix)

    def ports(self) -> dict[str, str]:
        """Return by name the links that are paired now, and with what: one that is renamed keeps its pair."""
        topology = self.store.topology
        names = {port.interface: port.name for port in self.sink.ports.values()}
        return {topology.links[ifindex].name: names[port] for ifindex, port in topology.pairs.items()}

    def take_writes(self) -> list[tuple[str, str]]:
        """Return what was written since the last call: ("set" or "remove", prefix)."""
        self.settle()
        writes, self.sink.writes = self.sink.writes, []
        return [("remove" if entry == NO_ENTRY else "set", key.text) for key, entry in writes]

    def _changed(self) -> None:
        self._news.set()
        self.reconciler.wake()

    def _ports_changed(self) -> None:
        self.mirror.saw_ports()
        self._pairs_changed()
        self.reconciler.wake()

    def _pairs_changed(self) -> None:
        if self.mirror.join_pairs():
            self.reconciler.retry()

    async def _start(self) -> None:
        self._tasks = [asyncio.create_task(self.source.run()), asyncio.create_task(self.reconciler.run())]
        await self._settle()

    async def _settle(self) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await self._while_alive(self.source.settle())
            await self._while_alive(self.reconciler.wait_settled())

    async def _until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                self._news.clear()
                await self._while_alive(self._news.wait())

    async def _while_alive(self, work: Coroutine[Any, Any, Any]) -> None:
        """Await something, but not beyond the end of what it waits for."""
        task = asyncio.ensure_future(work)
        await asyncio.wait([task, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        for ended in self._tasks:
            if ended.done():
                task.cancel()
                await ended
        await task

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)


async def _own(sink: FibSink) -> list[tuple[Key, int]]:
    own = [held.take(held.source == sink.own_source) async for held in sink.read()]
    return [row for held in own for row in zip(held.keys, held.entry.tolist(), strict=True)]


async def _turns(rounds: int) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


def matching(fib: Fib, address: str, table: int = TABLE_MAIN) -> Forwarding | None:
    """Return what the longest prefix that covers an address does."""
    key = matching_key(fib, address, table)
    return None if key is None else fib[key]


def matching_key(fib: Fib, address: str, table: int = TABLE_MAIN) -> tuple[int, str] | None:
    """Return the key of the longest prefix that covers an address."""
    bits = ipaddress.ip_address(address)
    covering = [key for key in fib if key[0] == table and bits in _network(key[1])]
    return max(covering, key=lambda key: _network(key[1]).prefixlen) if covering else None


@functools.cache
def _network(prefix: str) -> Any:
    return ipaddress.ip_network(prefix)


def _text(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed)) if packed else ""
