"""The loop over a store and a memory FIB: connect, write, wait, lose the connection, go on."""

import asyncio
from typing import NamedTuple

import pytest

from rtagent.agent import reconciler as loop
from rtagent.agent.reconciler import Reconciler, SinkState
from rtagent.core.objects import Objects
from rtagent.core.rows import Rows
from rtagent.vector.fib import FibEntry, FibKind
from rtagent.vector.keys import Key
from rtagent.vector.objects import Stage
from rtagent.vector.ports import Port
from rtagent.vector.routes import Op
from tests.kernel.mirror import WatchedFib
from tests.rows import Route, group
from tests.unit.test_ledger import World as Kernel

P, Q, R = "198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24"
A, B = group("10.0.0.2@1"), group("10.0.0.3@2")
INTERFACE, CLI = 3, 9
TIMEOUT_S = 20


class World(Kernel):
    """Links e1 and e2 of the kernel stand for the ports 101 and 102 of a memory FIB."""

    def __init__(self):
        super().__init__()
        self.fib = WatchedFib(self.entries)
        self.fib.set_ports({"e1": Port("e1", 101), "e2": Port("e2", 102)})
        self.may_remove = True
        self.objects = Objects()
        self.reconciler = Reconciler(
            self.store, self.ledger, self.objects, self.fib, may_remove=lambda: self.may_remove
        )

    def run(self, scenario):
        """Run a scenario beside the loop."""

        async def both():
            running = asyncio.create_task(self.reconciler.run())
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await scenario()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        asyncio.run(both())

    async def settled(self):
        self.reconciler.wake()
        await self.reconciler.wait_settled()
        return self.writes()

    async def until(self, condition):
        while not condition():
            await self.reconciler.progressed.wait()

    def writes(self):
        written, self.fib.writes = self.fib.writes, []
        return [(key.text, entry >= 0) for key, entry in written]

    def rows(self):
        rows = Rows(self.store, self.ledger, self.entries, {101: "e1", 102: "e2"})()
        return {row["prefix"]: row["state"] for row in rows}


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(loop, "_CONNECT_BACKOFF_S", (0.001, 0.01))
    monkeypatch.setattr(loop, "_RETRY_BACKOFF_S", (0.001, 0.01))
    monkeypatch.setattr(loop, "_SHADOW_CHECK_S", 0.001)
    return World()


def test_what_the_store_holds_is_written_and_followed(world):
    async def scenario():
        world.kernel(Route(P, A), Route(Q, B))
        assert sorted(await world.settled()) == [(P, True), (Q, True)]
        world.kernel(Route(P, A, Op.REMOVE), Route(R, A))
        assert await world.settled() == [(R, True), (P, False)]
        assert await world.settled() == []
        assert (world.reconciler.state, world.reconciler.trouble, world.reconciler.writes) == (SinkState.SYNCED, "", 4)

    world.run(scenario)


def test_a_large_plan_is_written_in_slices_each_row_once(world):
    routes = [Route(f"10.{n >> 8}.{n & 255}.0/24", A) for n in range(20_000)]

    async def scenario():
        world.kernel(*routes)
        assert sorted(prefix for prefix, _ in await world.settled()) == sorted(route.prefix for route in routes)

    world.run(scenario)


def test_a_lost_data_plane_is_read_again_and_what_is_right_is_not_written(world):
    async def scenario():
        world.kernel(Route(P, A))
        await world.settled()
        await world.fib.close()
        await world.until(lambda: world.reconciler.state is SinkState.AWAITING)
        assert world.reconciler.trouble == "the data plane closed the connection"
        world.kernel(Route(Q, A))
        assert await world.settled() == [(Q, True)]

    world.run(scenario)


def test_it_ends_when_it_is_told_to_while_the_data_plane_is_lost(world):
    async def scenario():
        running = asyncio.create_task(world.reconciler.run())
        await world.until(lambda: world.reconciler.state is SinkState.SYNCED)
        await world.fib.close()
        running.cancel()
        await asyncio.wait({running}, timeout=TIMEOUT_S)
        assert running.cancelled()

    asyncio.run(scenario())


def test_stale_rows_are_removed_when_all_sources_are_in_sync(world):
    async def scenario():
        world.may_remove = False
        world.kernel(Route(P, A), Route(Q, A))
        await world.settled()
        world.kernel(Route(P, A, Op.REMOVE))
        world.reconciler.wake()
        await world.until(lambda: not world.store.has_touched)
        assert (world.writes(), world.rows()) == ([], {P: "pending", Q: "installed"})
        world.may_remove = True
        assert await world.settled() == [(P, False)]
        assert world.rows() == {Q: "installed"}

    world.run(scenario)


def test_a_refused_row_stops_no_other_and_is_tried_again(world):
    async def scenario():
        world.fib.set_ports({"e1": Port("e1", 101)})
        world.kernel(Route(P, A), Route(Q, B))
        world.reconciler.wake()
        await world.until(lambda: world.rows() == {P: "installed", Q: "rejected"})
        assert world.reconciler.errors[-2] >= 1
        world.fib.set_ports({"e1": Port("e1", 101), "e2": Port("e2", 102)})
        await world.settled()
        assert world.rows() == {P: "installed", Q: "installed"}

    world.run(scenario)


def test_foreign_rows_shadow_ours_and_are_never_written(world):
    async def scenario():
        world.fib.add_foreign(Key.parse(P), FibEntry(FibKind.OTHER), INTERFACE)
        world.fib.add_foreign(Key.parse(R), FibEntry(FibKind.OTHER), CLI)
        world.kernel(Route(P, A), Route(Q, A))
        assert await world.settled() == [(Q, True)]
        assert world.rows() == {P: "shadowed", Q: "installed"}
        world.fib.remove_foreign(Key.parse(P))
        await world.until(lambda: world.rows() == {P: "installed", Q: "installed"})
        assert world.writes() == [(P, True)]

    world.run(scenario)


class Tunnel(NamedTuple):
    name: str

    @property
    def stage(self) -> Stage:
        return Stage.INTERFACE


def test_what_routes_leave_through_is_made_before_them_and_removed_after_them(world):
    order = []
    write, apply = world.fib.write, world.fib.apply

    async def seen_write(change):
        order.append((change.key.name, change.after is not None))
        return await write(change)

    async def seen_apply(plan):
        order.extend((key.text, entry >= 0) for key, entry in zip(plan.keys, plan.entry.tolist(), strict=True))
        return await apply(plan)

    world.fib.write, world.fib.apply = seen_write, seen_apply
    world.objects.own(Tunnel, lambda key: True)

    async def scenario():
        world.kernel(Route(P, A))
        world.objects.want(Tunnel("t"), 1)
        await world.settled()
        world.kernel(Route(P, A, Op.REMOVE))
        world.objects.want(Tunnel("t"), None)
        await world.settled()

    world.run(scenario)
    assert [("t", True), (P, True), (P, False), ("t", False)] == order
    assert {} == world.objects.held
