"""The memory FIB has VPP's semantics: sources, longest match, refusals."""

import asyncio

import numpy as np
import pytest

from rtagent.core.sink import Disconnected, Plan
from rtagent.sinks.memory import NO_MATCHING_INTERFACE, OWN_SOURCE, MemoryFib
from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibPath
from rtagent.vector.keys import AF_INET, AF_INET6, Key, Keys
from rtagent.vector.ports import Port

CLI = 9
DROP = FibEntry(FibKind.BLACKHOLE)
OTHER = FibEntry(FibKind.OTHER)


def over(interface, host=2):
    return FibEntry(FibKind.UNICAST, (FibPath(bytes([10, 0, 0, host]), interface),))


class World:
    def __init__(self):
        self.fib = MemoryFib(FibEntries())
        self.fib.set_ports({"e0": Port("e0", 2), "e1": Port("e1", 3)})

    def apply(self, **rows):
        plan = Plan(
            Keys.of(Key.parse(prefix) for prefix in rows),
            np.array(
                [NO_ENTRY if entry is None else self.fib.entries.intern(entry) for entry in rows.values()], np.int32
            ),
        )
        return asyncio.run(self.fib.apply(plan)).tolist()

    def read(self):
        async def everything():
            return [
                (key.text, source, self.fib.entries[entry])
                async for held in self.fib.read()
                for key, source, entry in zip(held.keys, held.source.tolist(), held.entry.tolist(), strict=True)
            ]

        return sorted(asyncio.run(everything()))

    def lookup(self, *prefixes):
        found = asyncio.run(self.fib.lookup(Keys.of(map(Key.parse, prefixes))))
        return sorted((key.text, source) for key, source in zip(found.keys, found.source.tolist(), strict=True))

    def match(self, address, table=254):
        key = Key.parse(address)
        found = self.fib.match(table, key.family, key.bits)
        return None if found is None else (found[0].text, found[1])


@pytest.fixture
def world():
    return World()


P, Q = "198.51.100.0/24", "2001:db8::/32"


def test_rows_are_added_changed_and_removed(world):
    assert world.apply(**{P: over(2), Q: DROP}) == [0, 0]
    assert world.read() == [(P, OWN_SOURCE, over(2)), (Q, OWN_SOURCE, DROP)]
    assert world.apply(**{P: over(3), Q: None}) == [0, 0]
    assert world.read() == [(P, OWN_SOURCE, over(3))]
    assert world.apply(**{Q: None}) == [0]


def test_a_path_through_an_interface_that_does_not_exist_is_refused_and_nothing_else_is(world):
    assert world.apply(**{P: over(9), Q: DROP}) == [NO_MATCHING_INTERFACE, 0]
    assert world.fib.error_text(NO_MATCHING_INTERFACE) == "no matching interface"
    assert [prefix for prefix, _, _ in world.read()] == [Q]
    world.fib.set_ports({"e9": Port("e9", 9)})
    assert world.apply(**{P: over(9)}) == [0]


def test_a_foreign_row_wins_while_it_is_there_and_ours_forwards_again_after_it(world):
    world.apply(**{P: over(2)})
    world.fib.add_foreign(Key.parse(P), OTHER, CLI)
    world.fib.add_foreign(Key.parse(Q), OTHER, CLI)
    assert world.read() == [(P, CLI, OTHER), (Q, CLI, OTHER)]
    assert world.lookup(P, Q, "::/0") == [(P, CLI), (Q, CLI)]
    assert world.match("198.51.100.1") == (P, OTHER)
    world.apply(**{P: over(3), Q: DROP})
    assert world.read() == [(P, CLI, OTHER), (Q, CLI, OTHER)]
    world.fib.remove_foreign(Key.parse(P))
    assert world.match("198.51.100.1") == (P, over(3))
    assert world.lookup(P, Q) == [(P, OWN_SOURCE), (Q, CLI)]
    assert (world.fib.source_name(CLI), world.fib.outranks(CLI), world.fib.outranks(OWN_SOURCE)) == ("CLI", True, False)


def test_the_longest_prefix_matches(world):
    world.apply(**{"0.0.0.0/0": DROP, "198.51.0.0/16": over(2), P: over(3), "::/0": DROP})
    assert world.match("198.51.100.1") == (P, over(3))
    assert world.match("198.51.101.1") == ("198.51.0.0/16", over(2))
    assert world.match("192.0.2.1") == ("0.0.0.0/0", DROP)
    assert world.match("2001:db8::1") == ("::/0", DROP)
    assert world.match("198.51.100.1", table=100) is None
    world.apply(**{P: None})
    assert world.match("198.51.100.1") == ("198.51.0.0/16", over(2))
    assert world.fib.match(254, AF_INET6, 0) is not None
    assert world.fib.match(254, AF_INET, 0) == (Key.parse("0.0.0.0/0"), DROP)


def test_rows_that_come_and_go_in_thousands_leave_no_trace(world):
    for turn in range(6):
        prefixes = [f"10.{turn}.{n // 256}.{n % 256}/32" for n in range(2000)]
        world.apply(**dict.fromkeys(prefixes, over(2)))
        world.apply(**dict.fromkeys(prefixes[1:], None))
    assert [prefix for prefix, _, _ in world.read()] == [f"10.{turn}.0.0/32" for turn in range(6)]
    assert world.fib._table.size < 6000


def test_a_closed_fib_is_disconnected_until_it_is_connected_again(world):
    async def closed():
        lost = asyncio.create_task(world.fib.wait_lost())
        await world.fib.close()
        await lost

    asyncio.run(closed())
    with pytest.raises(Disconnected):
        world.apply(**{P: DROP})
    asyncio.run(world.fib.connect())
    assert world.apply(**{P: DROP}) == [0]
