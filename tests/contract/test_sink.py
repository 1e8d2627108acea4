"""What every data plane does with our rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from rtagent.core.sink import Disconnected, FibSink, Plan
from rtagent.vector.fib import FibEntries, FibEntry
from rtagent.vector.keys import AF_INET, TABLE_MAIN, Key, Keys
from tests.contract.planes import FakePlane, Plane, VppPlane
from tests.contract.rows import (
    ATTACHED_HOSTS,
    BLACKHOLE,
    EVERY_KIND,
    NO_PORT,
    OTHER_WAY,
    PLAIN,
    all_rows,
    own_rows,
    plan,
    write,
)

PREFIX = Key.parse("192.0.2.0/24")
ABSENT = Key.parse("198.51.100.0/24")


def on(plane: Plane, scenario: Callable[[FibSink], Awaitable[None]]) -> None:
    """Run a scenario with a connected sink."""

    async def run() -> None:
        await plane.start()
        sink = plane.sink(FibEntries())
        try:
            async with asyncio.timeout(60):
                await sink.connect()
                await scenario(sink)
        finally:
            await sink.close()
            await plane.stop()

    asyncio.run(run())


def test_rows_are_read_as_they_were_written(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        retval = await write(sink, EVERY_KIND)
        assert [0] * len(EVERY_KIND) == retval.tolist()
        assert EVERY_KIND == await own_rows(sink)

    on(plane, scenario)


def test_attached_hosts_are_read_as_they_were_written(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        await write(sink, ATTACHED_HOSTS)
        assert ATTACHED_HOSTS == await own_rows(sink)
        found = await sink.lookup(Keys.of(ATTACHED_HOSTS))
        assert ATTACHED_HOSTS == {
            key: sink.entries[entry] for key, entry in zip(found.keys, found.entry.tolist(), strict=True)
        }

    on(plane, scenario)


def test_an_entry_is_replaced_as_a_whole(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        for row in (PREFIX, Key.parse("2001:db8::/32"), Key.parse("500")):
            entries = [entry for key, entry in EVERY_KIND.items() if key.family == row.family]
            for entry in (*entries, *reversed(entries)):
                assert [0] == (await write(sink, {row: entry})).tolist()
                assert {row: entry} == await own_rows(sink)
            await write(sink, {row: None})

    on(plane, scenario)


def test_removed_rows_are_gone(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        await write(sink, EVERY_KIND)
        retval = await write(sink, dict.fromkeys(EVERY_KIND))
        assert not retval.any()
        assert {} == await own_rows(sink)

    on(plane, scenario)


def test_removing_what_is_not_there_is_no_error(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        nowhere = {ABSENT: None, Key.parse("2001:db8::/32", 777): None, Key.parse("900"): None}
        assert [0, 0, 0] == (await write(sink, nowhere)).tolist()

    on(plane, scenario)


def test_a_refused_row_stops_no_other(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        rows = {Key.parse(f"192.0.2.{number}"): NO_PORT if number % 3 == 0 else PLAIN for number in range(64)}
        rows[Key.parse("600")], rows[Key.parse("601")] = NO_PORT, PLAIN
        retval = await write(sink, rows)
        assert [entry is NO_PORT for entry in rows.values()] == (retval < 0).tolist()
        assert {key: entry for key, entry in rows.items() if entry is not NO_PORT} == await own_rows(sink)
        assert all(sink.error_text(number) for number in set(retval.tolist()) - {0})

    on(plane, scenario)


def test_plans_under_way_together_take_effect_in_order(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        wanted: list[FibEntry | None] = [PLAIN, OTHER_WAY, None, BLACKHOLE, OTHER_WAY]
        answers = await asyncio.gather(*(write(sink, {PREFIX: entry}) for entry in wanted))
        assert [0] * len(wanted) == [int(answer[0]) for answer in answers]
        assert {PREFIX: OTHER_WAY} == await own_rows(sink)

    on(plane, scenario)


def test_an_empty_plan_is_answered(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        assert [] == (await write(sink, {})).tolist()

    on(plane, scenario)


def test_lookup_returns_exact_rows_only(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        await write(sink, EVERY_KIND)
        asked = [*EVERY_KIND, ABSENT, Key.parse("1.0.0.0/26"), Key.parse("1.0.0.0/24", 999), Key.parse("999")]
        found = await sink.lookup(Keys.of(asked))
        assert EVERY_KIND == {
            key: sink.entries[entry] for key, entry in zip(found.keys, found.entry.tolist(), strict=True)
        }
        assert {sink.own_source} == set(found.source.tolist())

    on(plane, scenario)


def test_a_foreign_row_shadows_ours_and_stays(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        await write(sink, {PREFIX: PLAIN})
        await plane.add_foreign(PREFIX)
        await plane.add_foreign(ABSENT)
        for rows in ({PREFIX: OTHER_WAY}, {PREFIX: None}, {PREFIX: PLAIN}):
            await write(sink, rows)
            held = await all_rows(sink)
            assert {PREFIX, ABSENT} <= held.keys()
            for key in (PREFIX, ABSENT):
                source, _ = held[key]
                assert "CLI" == sink.source_name(source)
                assert sink.outranks(source)
            found = await sink.lookup(Keys.of([PREFIX]))
            assert [sink.outranks(source) for source in found.source.tolist()] == [True]
        await plane.remove_foreign(PREFIX)
        assert {PREFIX: PLAIN} == await own_rows(sink)
        assert ABSENT in await all_rows(sink)

    on(plane, scenario)


def test_our_own_source_does_not_outrank_itself(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        assert not sink.outranks(sink.own_source)
        assert "rtagent" == sink.source_name(sink.own_source)

    on(plane, scenario)


def test_a_new_session_finds_the_same_rows_and_has_nothing_to_write(wire: FakePlane | VppPlane) -> None:
    async def scenario(sink: FibSink) -> None:
        await write(sink, EVERY_KIND)
        requests = await wire.route_requests()
        await sink.close()
        later = wire.sink(FibEntries())
        await later.connect()
        wanted = plan(later, EVERY_KIND)
        held = await own_rows(later)
        assert {} == {
            key: entry
            for key, entry in zip(wanted.keys, wanted.entry.tolist(), strict=True)
            if later.entries.intern(held[key]) != entry
        }
        assert EVERY_KIND.keys() == held.keys()
        assert requests == await wire.route_requests()
        await later.close()

    on(wire, scenario)


def test_two_sessions_see_the_same_rows(wire: FakePlane | VppPlane) -> None:
    async def scenario(sink: FibSink) -> None:
        beside = wire.sink(sink.entries)
        await beside.connect(read_only=True)
        assert sink.own_source == beside.own_source
        await asyncio.gather(write(sink, {PREFIX: PLAIN}), own_rows(beside))
        assert {PREFIX: PLAIN} == await own_rows(beside)
        await beside.close()
        assert {PREFIX: PLAIN} == await own_rows(sink)

    on(wire, scenario)


def test_a_hundred_thousand_rows_are_read_as_they_were_written(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        count = 100_000
        random = np.random.default_rng(7)
        ids = np.array([sink.entries.intern(entry) for entry in (PLAIN, OTHER_WAY, BLACKHOLE)], np.int32)
        address = (np.arange(count, dtype=np.uint64) << np.uint64(8)) + np.uint64(0x0B000000)
        keys = Keys(
            address << np.uint64(32),
            np.zeros(count, np.uint64),
            np.full(count, TABLE_MAIN << 16 | AF_INET << 8 | 24, np.uint64),
        )
        entry = ids[random.integers(0, len(ids), count)]
        assert not (await sink.apply(Plan(keys, entry))).any()
        held = [batch.take(batch.source == sink.own_source) async for batch in sink.read()]
        hi = np.concatenate([batch.keys.hi for batch in held])
        order = np.argsort(hi)
        np.testing.assert_array_equal(keys.hi, hi[order])
        np.testing.assert_array_equal(entry, np.concatenate([batch.entry for batch in held])[order])

    on(plane, scenario)


def test_after_the_end_of_the_connection_everything_says_so(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        await sink.close()
        await sink.wait_lost()
        with pytest.raises(Disconnected):
            await write(sink, {PREFIX: PLAIN})

    on(plane, scenario)
