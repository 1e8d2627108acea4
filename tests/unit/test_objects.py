"""Objects besides routes: what is wanted, what is held, and the changes between the two."""

import asyncio
from typing import NamedTuple

from rtagent.core.objects import Objects
from rtagent.sinks.memory import MemoryFib
from rtagent.vector.fib import FibEntries
from rtagent.vector.interfaces import AdminState, Mtu, PairKey
from rtagent.vector.neighbors import NeighborKey
from rtagent.vector.objects import Held, ObjectAnswer, ObjectChange, Stage
from rtagent.vector.ports import NO_INTERFACE

REFUSED = ObjectAnswer(-3)
DONE = ObjectAnswer(0)


class Tunnel(NamedTuple):
    name: str

    @property
    def stage(self):
        return Stage.INTERFACE


class Address(NamedTuple):
    interface: str
    address: str

    @property
    def stage(self):
        return Stage.ADDRESS


class Setting(NamedTuple):
    interface: str

    @property
    def stage(self):
        return Stage.SETTING


T, U, A, B, S = Tunnel("t"), Tunnel("u"), Address("e0", "a"), Address("e0", "b"), Setting("e0")


def objects():
    made = Objects()
    for kind in (Tunnel, Address, Setting):
        made.own(kind, lambda key: True)
    return made


def wanting(**wanted):
    made = objects()
    for name, value in wanted.items():
        made.want({"t": T, "u": U, "a": A, "b": B, "s": S}[name], value)
    return made


def test_what_others_stand_on_is_written_first():
    changes = wanting(a=1, s=2, t=3).changes(may_remove=True)
    assert ([[ObjectChange(T, None, 3)], [ObjectChange(S, None, 2)], [ObjectChange(A, None, 1)]], []) == changes


def test_removals_go_the_other_way_round_and_interfaces_after_the_routes():
    made = wanting(b=1)
    made.load({key: Held(0) for key in (T, S, A)})
    before, after = made.changes(may_remove=True)
    removals = [[ObjectChange(A, 0, None)], [ObjectChange(S, 0, None)]]
    assert ([*removals, [ObjectChange(B, None, 1)]], [[ObjectChange(T, 0, None)]]) == (before, after)


def test_what_is_held_as_wanted_costs_nothing():
    made = wanting(a=1)
    made.load({A: Held(1)})
    assert ([], []) == made.changes(may_remove=True)
    assert set() == made.unsettled()


def test_a_changed_value_is_one_change():
    made = wanting(t=1)
    made.load({T: Held(0, 7)})
    ((change,),) = made.changes(may_remove=True).before_routes
    made.record(change, DONE, "")
    assert (ObjectChange(T, 0, 1), Held(1, 7)) == (change, made.held[T])


def test_nothing_is_removed_before_it_may_be():
    made = objects()
    made.load({A: Held(0)})
    assert ([], []) == made.changes(may_remove=False)
    assert [[ObjectChange(A, 0, None)]] == made.changes(may_remove=True).before_routes


def test_what_others_made_is_left_alone():
    made = Objects()
    made.own(Address, lambda key: key != B)
    made.load({T: Held(0), A: Held(0), B: Held(0)})
    assert ([[ObjectChange(A, 0, None)]], []) == made.changes(may_remove=True)
    assert {A} == made.unsettled()


def test_a_refused_object_waits_and_is_tried_again():
    made = wanting(a=1, b=2)
    ((first, second),) = made.changes(may_remove=True).before_routes
    made.record(first, REFUSED, "no")
    made.record(second, DONE, "")
    assert {first.key: "no"} == made.refused
    assert ([], []) == made.changes(may_remove=True)
    made.retry()
    assert ([[first]], []) == made.changes(may_remove=True)


def test_a_new_wish_is_a_new_chance():
    made = wanting(a=1)
    ((change,),) = made.changes(may_remove=True).before_routes
    made.record(change, REFUSED, "no")
    made.want(A, 2)
    assert [[ObjectChange(A, None, 2)]] == made.changes(may_remove=True).before_routes


def test_a_wish_that_changed_while_it_was_written_is_written_again():
    made = wanting(a=1)
    ((change,),) = made.changes(may_remove=True).before_routes
    made.want(A, None)
    made.changes(may_remove=True)
    made.record(change, DONE, "")
    assert [[ObjectChange(A, 1, None)]] == made.changes(may_remove=True).before_routes


def test_wanting_all_of_a_kind_leaves_other_kinds_alone():
    made = wanting(a=1, t=2)
    made.load({A: Held(1), T: Held(2), B: Held(3)})
    made.changes(may_remove=False)
    made.want_all(Address, {B: 4})
    assert [[ObjectChange(A, 1, None)], [ObjectChange(B, 3, 4)]] == made.changes(may_remove=True).before_routes


def test_the_memory_fib_numbers_the_interfaces_that_are_made():
    async def scenario():
        fib = MemoryFib(FibEntries())
        first = await fib.write(ObjectChange(T, None, 1))
        second = await fib.write(ObjectChange(U, None, 1))
        await fib.write(ObjectChange(A, None, 1))
        changed = await fib.write(ObjectChange(T, 1, 2))
        await fib.write(ObjectChange(U, 1, None))
        return first, second, changed, await fib.objects()

    first, second, changed, held = asyncio.run(scenario())
    assert first == changed != second
    assert {T: Held(2, first.interface), A: Held(1, NO_INTERFACE)} == held


UP, NEIGHBOR = AdminState(7), NeighborKey(7, bytes((10, 0, 0, 2)))


def shutting(*wants):
    made = Objects()
    made.own(NeighborKey, lambda _: True)
    made.load({UP: Held(True), NEIGHBOR: Held(1), NeighborKey(8, NEIGHBOR.address): Held(1), Mtu(7): Held(1500)})
    for key, value in ((UP, False), (Mtu(7), 1400), *wants):
        made.want(key, value)
    return made.changes(may_remove=True)


def test_an_interface_is_shut_and_who_is_behind_it_forgotten_after_the_routes():
    before, after = shutting()
    elsewhere = ObjectChange(NeighborKey(8, NEIGHBOR.address), 1, None)
    assert [[elsewhere], [ObjectChange(Mtu(7), 1500, 1400)]] == before
    assert [[ObjectChange(NEIGHBOR, 1, None)], [ObjectChange(UP, True, False)]] == after


def test_where_pairs_are_made_an_interface_is_shut_before():
    before, after = shutting((PairKey(7), "e0"))
    assert [] == after
    assert ObjectChange(UP, True, False) in before[1]
