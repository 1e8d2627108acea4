import numpy as np
import pytest

from rtagent.core.ledger import Ledger
from rtagent.core.rows import Rows
from rtagent.core.store import Store
from rtagent.vector.batch import Change, KernelBatch
from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibPath, FibVector, State
from rtagent.vector.keys import Key, Keys
from rtagent.vector.links import IFF_LOWER_UP, IFF_UP, Link
from rtagent.vector.nexthops import Kind, NexthopGroups
from rtagent.vector.routes import Op
from tests.rows import Route, delta, group
from tests.sizes import size  # noqa: F401

P, Q = "198.51.100.0/24", "203.0.113.0/24"
A, B = group("10.0.0.2@1"), group("10.0.0.3@2")
OWN, INTERFACE = 24, 3


class World:
    """A store with the links e1 and e2, paired with the ports 101 and 102, its ledger, and a data plane to play."""

    def __init__(self):
        self.groups, self.entries = NexthopGroups(), FibEntries()
        self.store = Store(self.groups, self.entries)
        self.ledger = Ledger(self.store.rib, self.store.resolver)
        up = IFF_UP | IFF_LOWER_UP
        self.store.apply(KernelBatch(changes=tuple(Change(Link(n, f"e{n}", up)) for n in (1, 2))))
        self.store.topology.pairs = {1: 101, 2: 102}
        self.store.topology_changed()
        self.decide()

    def kernel(self, *routes):
        self.store.apply(KernelBatch(delta(self.groups, *routes)))

    def decide(self, *, may_remove=True):
        return self.ledger.decide(self.store.take_touched(), may_remove=may_remove)

    def answer(self, decision, **refused):
        """Answer a plan: 0, or the negative number given for a prefix (``**{P: -2}``)."""
        retval = np.array([refused.get(key.text, 0) for key in decision.plan.keys], np.int32)
        return self.ledger.record(decision, retval, lambda number: f"error {number}")

    def plan(self, decision):
        """Return (prefix, gateways or type, None for a removal) of each row of a plan."""
        return [
            (key.text, None if entry == NO_ENTRY else self.words(entry))
            for key, entry in zip(decision.plan.keys, decision.plan.entry.tolist(), strict=True)
        ]

    def words(self, number):
        entry = self.entries[number]
        return entry.kind.name if not entry.paths else [path.via.hex() for path in entry.paths]

    def settle(self):
        """Decide and answer well until nothing is left to write; return all rows that were written."""
        written = []
        while self.store.has_touched:
            decision = self.decide()
            written += self.plan(decision)
            self.answer(decision)
        return written

    def states(self):
        rows = Rows(self.store, self.ledger, self.entries, {101: "port1", 102: "port2"})()
        return {row["prefix"]: (row["state"], row["reason"]) for row in rows}


@pytest.fixture
def world():
    return World()


VIA_A, VIA_B = ["0a000002"], ["0a000003"]


def test_a_change_back_while_a_write_is_under_way_is_written_after_it(world):
    world.kernel(Route(P, A))
    world.settle()
    world.kernel(Route(P, B))
    under_way = world.decide()
    world.kernel(Route(P, A))
    assert world.plan(world.decide()) == []
    world.answer(under_way)
    assert world.settle() == [(P, VIA_A)]


def held(world, *rows):
    """Return rows of a data plane: (prefix, gateway group or kind, source)."""
    return FibVector(
        Keys.of(Key.parse(prefix) for prefix, _, _ in rows),
        np.array([world.entries.intern(entry) for _, entry, _ in rows], np.int32),
        np.array([source for _, _, source in rows], np.uint8),
    )


def test_nothing_is_removed_before_it_may_be_and_all_of_it_then(world):
    stale = FibEntry(FibKind.UNICAST, (FibPath(bytes([10, 0, 0, 9]), 101),))
    world.ledger.load(held(world, (P, stale, OWN), (Q, stale, OWN)), OWN, lambda source: True, str)
    world.kernel(Route(Q, A))
    assert world.plan(world.ledger.decide(None, may_remove=False)) == [(Q, VIA_A)]
    assert world.plan(world.decide(may_remove=False)) == []
    world.ledger.release()
    assert world.plan(world.decide()) == [(P, None)]


def test_a_row_of_a_stronger_source_shadows_ours_until_it_goes(world):
    theirs = FibEntry(FibKind.OTHER)
    world.ledger.load(
        held(world, (P, theirs, INTERFACE)), OWN, lambda source: source == INTERFACE, lambda _: "interface"
    )
    world.kernel(Route(P, A))
    assert world.settle() == []
    assert world.states() == {P: ("shadowed", "shadowed by interface")}
    rows = world.ledger.shadowed_rows()
    assert [world.store.rib.table.keys.row(int(row)).text for row in rows] == [P]
    world.ledger.unshadow(rows)
    assert world.settle() == [(P, VIA_A)]
    assert world.states() == {P: ("installed", "")}


def test_a_weaker_source_does_not_shadow(world):
    theirs = FibEntry(FibKind.OTHER)
    world.ledger.load(held(world, (P, theirs, 99)), OWN, lambda source: source == INTERFACE, str)
    world.kernel(Route(P, A))
    assert world.settle() == [(P, VIA_A)]


def test_foreign_rows_that_the_kernel_does_not_want_are_left_alone(world):
    theirs = FibEntry(FibKind.OTHER)
    world.ledger.load(
        held(world, (P, theirs, INTERFACE), (Q, theirs, 99)), OWN, lambda source: source == INTERFACE, str
    )
    assert world.plan(world.ledger.decide(None, may_remove=True)) == []
    assert world.states() == {}


def test_what_is_installed_already_is_not_written(world):
    entry = FibEntry(FibKind.UNICAST, (FibPath(bytes([10, 0, 0, 2]), 101),))
    world.ledger.load(held(world, (P, entry, OWN)), OWN, lambda source: True, str)
    world.kernel(Route(P, A))
    assert world.settle() == []
    assert world.states() == {P: ("installed", "")}


def test_removals_come_after_everything_else(world):
    world.kernel(Route(P, A), Route(Q, A))
    world.settle()
    world.kernel(Route(P, A, Op.REMOVE), Route(Q, B, Op.REPLACE), Route("192.0.2.0/24", A))
    assert sorted(world.plan(world.decide())[:2]) == [("192.0.2.0/24", VIA_A), (Q, VIA_B)]


def test_a_refused_row_stops_no_other_and_waits_for_another_wish_or_a_retry(world):
    world.kernel(Route(P, A), Route(Q, A))
    assert world.answer(world.decide(), **{P: -2}) == 1
    assert world.states() == {P: ("rejected", "rejected -2: error -2"), Q: ("installed", "")}
    assert world.ledger.refused_count == 1
    world.kernel(Route(P, A, Op.REPLACE))
    assert world.plan(world.decide()) == []
    assert world.states()[P] == ("rejected", "rejected -2: error -2")
    world.ledger.retry()
    decision = world.decide()
    assert world.plan(decision) == [(P, VIA_A)]
    world.answer(decision, **{P: -2})
    world.kernel(Route(P, B, Op.REPLACE))
    assert world.settle() == [(P, VIA_B)]
    assert world.states() == {P: ("installed", ""), Q: ("installed", "")}
    assert world.ledger.refused_count == 0


def test_a_refused_removal_is_shown_and_retried(world):
    world.kernel(Route(P, A))
    world.settle()
    world.kernel(Route(P, A, Op.REMOVE))
    world.answer(world.decide(), **{P: -2})
    assert world.states() == {P: ("rejected", "rejected -2: error -2")}
    world.ledger.retry()
    assert world.settle() == [(P, None)]
    assert world.states() == {}


def test_a_row_that_changes_while_its_write_is_refused_is_decided_again(world):
    world.kernel(Route(P, A))
    under_way = world.decide()
    world.kernel(Route(P, B, Op.REPLACE))
    world.decide()
    world.answer(under_way, **{P: -2})
    assert world.settle() == [(P, VIA_B)]


def test_a_row_that_changed_back_under_way_is_unsettled_until_it_is_decided_again(world):
    world.kernel(Route(P, A))
    world.settle()
    world.kernel(Route(P, A, Op.REMOVE))
    removal = world.decide()
    world.kernel(Route(P, A))
    world.decide()
    world.answer(removal)
    assert len(world.ledger.unsettled()) == 1
    assert world.settle() == [(P, VIA_A)]
    assert len(world.ledger.unsettled()) == 0


def test_a_row_in_flight_is_not_written_twice(world):
    world.kernel(Route(P, A))
    under_way = world.decide()
    world.kernel(Route(P, B, Op.REPLACE))
    assert world.plan(world.decide()) == []
    assert [world.ledger.state[row] for row in world.ledger.unsettled()] == [State.PENDING]
    world.answer(under_way)
    assert world.settle() == [(P, VIA_B)]


def test_a_lost_connection_makes_everything_unknown(world):
    world.kernel(Route(P, A), Route(Q, A))
    world.answer(world.decide(), **{Q: -2})
    world.kernel(Route(P, B, Op.REPLACE))
    world.decide()
    world.ledger.forget_installed()
    assert sorted(world.settle()) == [(P, VIA_B), (Q, VIA_A)]


def test_a_tos_route_alone_is_not_installed_and_says_why(world):
    world.kernel(Route(P, A, tos=0x10))
    assert world.settle() == []
    assert world.states() == {P: ("unsupported", "only for tos 0x10")}
    world.kernel(Route(P, B))
    assert world.settle() == [(P, VIA_B)]


def test_a_route_that_loses_its_counterpart_is_removed_and_says_why(world):
    world.kernel(Route(P, A))
    world.settle()
    world.kernel(Route(P, group("10.0.0.2@1", unsupported="seg6 encapsulation"), Op.REPLACE))
    assert world.settle() == [(P, None)]
    assert world.states() == {P: ("unsupported", "seg6 encapsulation")}


def test_a_prefix_changed_many_times_in_one_batch_is_written_once(world):
    world.kernel(*(Route(P, group(f"10.0.0.{n}@1"), Op.REPLACE) for n in range(1, 101)))
    assert world.settle() == [(P, [f"0a0000{100:02x}"])]


def test_rows_by_state_and_family_are_counted(world):
    world.kernel(Route(P, A), Route(Q, group("10.0.0.2@9")), Route("2001:db8::/32", group(kind=Kind.BLACKHOLE)))
    world.settle()
    assert world.ledger.counts() == {("installed", "inet"): 1, ("parked", "inet"): 1, ("installed", "inet6"): 1}


def test_rows_that_nobody_wants_are_freed_and_used_again(world):
    many = [Route(f"10.{n // 256}.{n % 256}.0/24", A) for n in range(1000)]
    world.kernel(*many)
    world.settle()
    world.kernel(*(route._replace(op=Op.REMOVE) for route in many[1:]))
    world.settle()
    world.ledger.forget_absent()
    assert len(world.store.rib.table) == 1
    world.kernel(Route(P, B), *many[5:10])
    assert sorted(world.settle()) == sorted([(P, VIA_B), *((route.prefix, VIA_A) for route in many[5:10])])
    assert world.store.rib.table.size == 1000
