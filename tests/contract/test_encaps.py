"""Policies and tunnels on every data plane: made, found again, removed; and routes that leave through them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rtagent.core.sink import FibSink
from rtagent.vector.encaps import Encap, SrPolicy, Tunnel
from rtagent.vector.fib import FibEntries, FibEntry, FibPath
from rtagent.vector.keys import AF_INET, AF_INET6, Key
from rtagent.vector.objects import ObjectChange
from tests.contract.planes import Plane, VppPlane
from tests.contract.rows import PLAIN, VIA4, own_rows, unicast, write

P4, P6, HOST = Key.parse("198.51.100.0/24"), Key.parse("2001:db8:99::/48"), Key.parse("203.0.113.1")
SOURCE = bytes.fromhex("20010db8000000000000000000000001")


def sid(number: int) -> bytes:
    return bytes.fromhex("20010db8000a0000000000000000") + number.to_bytes(2, "big")


TWO, ONE = SrPolicy((sid(1), sid(2)), SOURCE), SrPolicy((sid(1),), SOURCE)
INLINE = SrPolicy((sid(1), sid(2)), inline=True)
MANY = SrPolicy(tuple(map(sid, range(1, 17))), SOURCE, table=100)
IPIP = Tunnel(bytes((10, 0, 0, 1)), bytes((10, 0, 9, 9)))
IPIP6 = Tunnel(SOURCE, sid(9), copies_ttl=False, dscp=46)
MARKED = Tunnel(bytes((10, 0, 0, 1)), bytes((10, 0, 9, 8)), copies_dscp=True, dont_fragment=True)
ALL: tuple[Encap, ...] = (TWO, ONE, INLINE, MANY, IPIP, IPIP6, MARKED)

Body = Callable[[Plane, FibSink], Coroutine[Any, Any, None]]


def through(encap: Encap, family: int, weight: int = 1) -> FibPath:
    return FibPath(weight=weight, family=family, encap=encap)


def on(plane: Plane, body: Body) -> None:
    async def run() -> None:
        await plane.start()
        sink = plane.sink(FibEntries())
        try:
            await sink.connect()
            await body(plane, sink)
        finally:
            await sink.close()
            await plane.stop()

    asyncio.run(run())


async def make(sink: FibSink, *encaps: Encap) -> list[int]:
    return [(await sink.write(ObjectChange(encap, None, True))).retval for encap in encaps]


async def remove(sink: FibSink, *encaps: Encap) -> list[int]:
    return [(await sink.write(ObjectChange(encap, True, None))).retval for encap in encaps]


async def held(sink: FibSink) -> dict[object, object]:
    """Return the policies and tunnels that the data plane holds, and their values."""
    objects = await sink.objects()
    return {key: each.value for key, each in objects.items() if isinstance(key, SrPolicy | Tunnel)}


def test_what_was_made_is_found_again_and_what_was_removed_is_not(plane: Plane) -> None:
    async def body(plane: Plane, sink: FibSink) -> None:
        assert await make(sink, *ALL) == [0] * len(ALL)
        assert await held(sink) == dict.fromkeys(ALL, True)
        assert await remove(sink, TWO, IPIP) == [0, 0]
        assert set(await held(sink)) == {*ALL} - {TWO, IPIP}
        assert await make(sink, TWO, IPIP) == [0, 0]
        assert await remove(sink, *ALL) == [0] * len(ALL)
        assert await held(sink) == {}

    on(plane, body)


def test_routes_through_encapsulations_are_read_as_they_were_written(plane: Plane) -> None:
    rows: dict[Key, FibEntry | None] = {
        P4: unicast(through(TWO, AF_INET)),
        P6: unicast(through(INLINE, AF_INET6)),
        HOST: unicast(through(IPIP, AF_INET)),
        Key.parse("2001:db8:99::1"): unicast(through(IPIP6, AF_INET6)),
        Key.parse("2001:db8:98::/48"): unicast(through(TWO, AF_INET6)),
        Key.parse("0.0.0.0/0"): FibEntry(
            PLAIN.kind,
            (through(ONE, AF_INET, 3), through(IPIP, AF_INET, 2), FibPath(VIA4, 1, 5), through(TWO, AF_INET)),
        ),
    }

    async def body(plane: Plane, sink: FibSink) -> None:
        await make(sink, *ALL)
        assert set((await write(sink, rows)).tolist()) == {0}
        wanted = {key: sink.entries[sink.entries.intern(entry)] for key, entry in rows.items() if entry}
        assert await own_rows(sink) == wanted
        await sink.close()
        await sink.connect()  # as after a restart: nothing is remembered
        assert await own_rows(sink) == wanted
        await write(sink, dict.fromkeys(rows))
        assert await own_rows(sink) == {}
        await remove(sink, *ALL)

    on(plane, body)


def test_a_route_through_what_is_not_there_is_refused_and_stops_no_other(plane: Plane) -> None:
    async def body(plane: Plane, sink: FibSink) -> None:
        rows = {P4: unicast(through(TWO, AF_INET)), HOST: unicast(through(IPIP, AF_INET)), P6: None}
        refused = await write(sink, {**rows, Key.parse("1.0.0.0/24"): PLAIN})
        assert [retval < 0 for retval in refused.tolist()] == [True, True, False, False]
        assert set(await own_rows(sink)) == {Key.parse("1.0.0.0/24")}
        await make(sink, TWO, IPIP)
        assert (await write(sink, rows)).tolist() == [0, 0, 0]

    on(plane, body)


@pytest.mark.vpp
def test_what_others_have_made_is_none_of_ours(real: VppPlane) -> None:
    async def body(plane: Plane, sink: FibSink) -> None:
        assert isinstance(plane, VppPlane)
        await plane.ctl("sr policy add bsid fd00::1 next 2001:db8::5 encap")
        await plane.ctl("create ipip tunnel src 10.0.0.1 dst 10.0.9.9")
        assert await held(sink) == {}
        assert await make(sink, TWO, IPIP) == [0, -79]  # two tunnels between the same ends: VPP has one
        assert set(await held(sink)) == {TWO}

    on(real, body)
