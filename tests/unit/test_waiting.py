"""The loop's promises to those who wait for it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray

from rtagent.agent.reconciler import Reconciler, SinkState
from rtagent.core.ledger import Ledger
from rtagent.core.objects import Objects
from rtagent.core.sink import Plan
from rtagent.core.store import Store
from rtagent.sinks.memory import MemoryFib
from rtagent.vector.batch import KernelBatch
from rtagent.vector.fib import FibEntries
from rtagent.vector.keys import AF_INET, TABLE_MAIN, Keys
from rtagent.vector.nexthops import Kind, NexthopGroup, NexthopGroups
from rtagent.vector.routes import Op, RouteDelta, RouteVector

MANY = 100_000


def blackholes(groups: NexthopGroups, count: int) -> KernelBatch:
    """A batch of ``count`` blackhole routes: they need no link."""
    numbers = np.arange(count, dtype=np.uint64)
    meta = np.full(count, TABLE_MAIN << 16 | AF_INET << 8 | 32, np.uint64)
    keys = Keys((numbers + np.uint64(1 << 24)) << np.uint64(32), np.zeros(count, np.uint64), meta)
    zeros = np.zeros(count, np.uint8)
    group = np.full(count, groups.intern(NexthopGroup(Kind.BLACKHOLE)), np.int32)
    routes = RouteVector(keys, zeros.astype(np.uint32), zeros, zeros, group)
    return KernelBatch(RouteDelta(routes, np.full(count, Op.SET, np.uint8)))


class Bench:
    """A store, a memory FIB and the loop between them."""

    def __init__(self, sink: type[MemoryFib] = MemoryFib) -> None:
        self.groups, entries = NexthopGroups(), FibEntries()
        self.store = Store(self.groups, entries)
        ledger = Ledger(self.store.rib, self.store.resolver)
        self.sink = sink(entries)
        self.loop = Reconciler(self.store, ledger, Objects(), self.sink, may_remove=lambda: True)

    async def start(self, group: asyncio.TaskGroup) -> asyncio.Task[None]:
        """Run the loop, and return when it is in sync."""
        running = group.create_task(self.loop.run())
        while self.loop.state is not SinkState.SYNCED:
            await self.loop.progressed.wait()
        return running

    def apply(self, count: int) -> None:
        self.store.apply(blackholes(self.groups, count))
        self.loop.wake()


def test_waiting_in_mid_round_waits_for_the_rows_that_are_not_decided_yet() -> None:
    async def main() -> int:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            running = await bench.start(group)
            bench.apply(MANY)
            await bench.loop.progressed.wait()  # the first slice is written, the others are not even decided
            assert bench.loop.writes < MANY
            await bench.loop.wait_settled()
            running.cancel()
        return bench.loop.writes

    assert asyncio.run(main()) == MANY


def test_waiting_ends_under_steady_churn() -> None:
    async def main() -> bool:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(bench.loop.run())

            async def churn() -> None:
                while True:
                    bench.apply(1000)
                    await asyncio.sleep(0)

            churning = group.create_task(churn())
            bench.apply(MANY)
            await bench.loop.wait_settled()
            for task in (churning, running):
                task.cancel()
        return bench.loop.writes >= MANY

    assert asyncio.run(main())


def test_waiting_while_the_data_plane_is_away_waits_for_its_return() -> None:
    async def main() -> int:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(bench.loop.run())
            bench.apply(10)
            await bench.loop.wait_settled()
            await bench.sink.close()
            while bench.loop.state is SinkState.SYNCED:
                await bench.loop.progressed.wait()
            bench.apply(20)
            await bench.loop.wait_settled()
            running.cancel()
        return bench.loop.writes

    assert asyncio.run(main()) == 20


class Silent(MemoryFib):
    """A data plane that takes plans and does not answer."""

    async def apply(self, plan: Plan) -> NDArray[np.int32]:
        await asyncio.Event().wait()
        raise AssertionError


def test_the_loop_is_alive_while_the_data_plane_owes_an_answer() -> None:
    async def main() -> int:
        bench = Bench(Silent)
        async with asyncio.TaskGroup() as group:
            running = await bench.start(group)
            bench.apply(1)
            async with asyncio.timeout(10):
                for _ in range(3):
                    await bench.loop.wait_alive()
                    await asyncio.sleep(0)
            running.cancel()
        return bench.loop.writes

    assert asyncio.run(main()) == 0


def test_the_loop_is_not_alive_without_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> bool:
        bench = Bench()
        async with asyncio.TaskGroup() as group:
            running = await bench.start(group)
            await bench.loop.wait_alive()
            monkeypatch.setattr(bench.loop, "wake", lambda: None)  # a wake-up that is lost
            waiting = group.create_task(bench.loop.wait_alive())
            await asyncio.wait([waiting], timeout=0.2)
            alive = waiting.done()
            waiting.cancel()
            running.cancel()
        return alive

    assert not asyncio.run(main())
