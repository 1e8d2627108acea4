"""Neighbours as objects, on every data plane; and what VPP, fake and real, does with them by itself."""

from __future__ import annotations

import asyncio
import itertools

from rtagent.core.sink import FibSink
from rtagent.vector.fib import FibEntries
from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.neighbors import NeighborEntry, NeighborKey, NeighborLimit, NeighborLimitKey
from rtagent.vector.objects import Held, ObjectAnswer, ObjectChange, ObjectKey
from tests.contract.planes import FakePlane, Plane, VppPlane
from tests.contract.test_sink import on

INET, INET6 = NeighborKey(1, bytes((10, 0, 0, 2))), NeighborKey(1, bytes((0xFE, 0x80, *bytes(13), 2)))
M1, M2 = (bytes((2, 0, 0, 0, 0, number)) for number in (1, 2))
DONE = ObjectAnswer(0)


async def neighbors(sink: FibSink) -> dict[ObjectKey, object]:
    held = await sink.objects()
    return {key: each.value for key, each in held.items() if isinstance(key, NeighborKey)}


def test_a_neighbour_takes_every_step_that_the_kernel_may_ask_for(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        steps = [None, NeighborEntry(M1, static=True), NeighborEntry(M2), NeighborEntry(M1)]
        steps += [NeighborEntry(M1, static=True), NeighborEntry(M1), NeighborEntry(M2, static=True), None]
        for key in (INET, INET6):
            for before, after in itertools.pairwise(steps):
                assert DONE == await sink.write(ObjectChange(key, before, after))
                assert ({} if after is None else {key: after}) == await neighbors(sink)

    on(plane, scenario)


def test_to_remove_what_has_gone_already_is_no_error(wire: FakePlane | VppPlane) -> None:
    async def scenario(sink: FibSink) -> None:
        for key in (INET, NeighborKey(77, INET.address)):
            assert DONE == await sink.write(ObjectChange(key, NeighborEntry(M1), None))

    on(wire, scenario)


def test_a_neighbour_beyond_the_limit_or_on_no_interface_is_refused(wire: FakePlane | VppPlane) -> None:
    async def scenario(sink: FibSink) -> None:
        limit = NeighborLimitKey(AF_INET)
        before = (await sink.objects())[limit].value
        assert NeighborLimit(50_000) == before
        assert DONE == await sink.write(ObjectChange(limit, before, NeighborLimit(1, 60, recycle=False)))
        held = await sink.objects()
        assert NeighborLimit(1, 60) == held[limit].value
        assert NeighborLimit(50_000) == held[NeighborLimitKey(AF_INET6)].value
        another = NeighborKey(1, bytes((10, 0, 0, 3)))
        answers = [await sink.write(ObjectChange(key, None, NeighborEntry(M1))) for key in (INET, another)]
        assert [0, -162] == [answer.retval for answer in answers]
        nowhere = NeighborKey(77, INET.address)
        assert -2 == (await sink.write(ObjectChange(nowhere, None, NeighborEntry(M1)))).retval

    on(wire, scenario)


def test_what_vpp_learns_and_flushes_is_heard(wire: FakePlane | VppPlane) -> None:
    async def learn(mac: bytes | None) -> None:
        if isinstance(wire, FakePlane):
            wire.fake.learn_neighbor(INET.interface, INET.address, mac)
        elif mac is None:
            await wire.ctl("set interface state host-e0 down")
        else:
            await wire.ctl(f"set ip neighbor host-e0 10.0.0.2 {mac.hex(':')}")

    async def scenario(sink: FibSink) -> None:
        heard: asyncio.Queue[tuple[ObjectKey, Held | None]] = asyncio.Queue()
        sink.on_object_heard = lambda key, held: heard.put_nowait((key, held))
        following = asyncio.ensure_future(sink.wait_lost())
        await sink.write(ObjectChange(INET, None, NeighborEntry(M1)))
        assert (INET, Held(NeighborEntry(M1))) == await heard.get()
        await learn(M2)
        assert (INET, Held(NeighborEntry(M2))) == await heard.get()
        await learn(None)
        assert (INET, None) == await heard.get()
        await sink.close()
        await following

    on(wire, scenario)


def test_a_thousand_neighbours_are_written_at_once(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        wanted = {
            NeighborKey(2, (0x0B000000 + number).to_bytes(4, "big")): NeighborEntry(b"\2\0" + number.to_bytes(4, "big"))
            for number in range(1000)
        }
        changes = [ObjectChange(key, None, entry) for key, entry in wanted.items()]
        for start in range(0, len(changes), 1024):
            answers = await asyncio.gather(*map(sink.write, changes[start : start + 1024]))
            assert {DONE} == set(answers)
        assert wanted == await neighbors(sink)

    on(plane, scenario)


def test_whoever_only_looks_is_told_nothing(wire: FakePlane | VppPlane) -> None:
    async def scenario(sink: FibSink) -> None:
        looking = wire.sink(FibEntries())
        await looking.connect(read_only=True)
        await sink.write(ObjectChange(INET, None, NeighborEntry(M1)))
        assert {INET: NeighborEntry(M1)} == await neighbors(looking)
        await looking.close()

    on(wire, scenario)
