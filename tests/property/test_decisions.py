"""Whatever the kernel says and the data plane answers: what is installed in the end depends on the state alone."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rtagent.core.ledger import Ledger
from rtagent.core.resolve import scaled_weights
from rtagent.core.store import Store
from rtagent.vector.batch import Change, KernelBatch
from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibVector
from rtagent.vector.keys import Key, Keys
from rtagent.vector.links import IFF_LOWER_UP, IFF_UP, Link
from rtagent.vector.nexthops import Kind, NexthopGroups
from rtagent.vector.routes import Op
from tests.property.test_routes import PREFIXES, operations
from tests.rows import Route, delta, group
from tests.sizes import size  # noqa: F401

UP = IFF_UP | IFF_LOWER_UP
LINKS = st.builds(
    lambda ifindex, flags: Link(ifindex, f"e{ifindex}", flags),
    st.sampled_from([1, 2]),
    st.sampled_from([UP, UP, IFF_UP, 0]),
)
CHANGES = st.one_of(operations(), operations(), operations(), LINKS, st.just("pairs"), st.just("write"))
OWN, THEIRS = 24, 3


class World:
    """A store, a ledger, and a data plane that is a dictionary; ``plans`` are those not answered yet."""

    def __init__(self, foreign: set[str] = frozenset()) -> None:
        self.groups, self.entries = NexthopGroups(), FibEntries()
        self.store = Store(self.groups, self.entries)
        self.ledger = Ledger(self.store.rib, self.store.resolver)
        self.fib: dict[str, int] = {}
        self.written: list[str] = []
        self.foreign = foreign
        self.plans = []
        self.ledger.forget_installed()
        theirs = [Key.parse(prefix) for prefix in sorted(foreign)]
        entry = np.full(len(theirs), self.entries.intern(FibEntry(FibKind.OTHER)), np.int32)
        held = FibVector(Keys.of(theirs), entry, np.full(len(theirs), THEIRS, np.uint8))
        self.ledger.load(held, OWN, lambda source: True, str)
        self.say(Link(1, "e1", UP))
        self.say(Link(2, "e2", UP))
        self.pair({1: 101, 2: 102})

    def pair(self, pairs: dict[int, int]) -> None:
        self.store.topology.pairs = pairs
        self.store.topology_changed()

    def say(self, what: Route | Link) -> None:
        if isinstance(what, Link):
            self.store.apply(KernelBatch(changes=(Change(what),)))
        else:
            self.store.apply(KernelBatch(delta(self.groups, what)))

    def step(self, what: object) -> None:
        if what == "pairs":
            self.pair({1: 101} if 2 in self.store.topology.pairs else {1: 101, 2: 102})
        elif what == "write":
            self.decide()
            self.answer()
        else:
            self.say(what)

    def decide(self, *, may_remove: bool = True) -> None:
        decision = self.ledger.decide(self.store.take_touched(), may_remove=may_remove)
        self.plans.append(decision)

    def answer(self) -> None:
        for decision in self.plans:
            for key, entry in zip(decision.plan.keys, decision.plan.entry.tolist(), strict=True):
                self.written.append(key.text)
                if entry == NO_ENTRY:
                    del self.fib[key.text]
                else:
                    self.fib[key.text] = entry
            self.ledger.record(decision, np.zeros(len(decision.rows), np.int32), str)
        self.plans = []

    def settle(self) -> dict[str, FibEntry]:
        self.answer()
        while self.store.has_touched:
            self.decide()
            self.answer()
        return {prefix: self.entries[number] for prefix, number in self.fib.items()}

    def wanted(self) -> dict[str, FibEntry]:
        """Return what a full decision on an empty data plane would write."""
        fresh = Ledger(self.store.rib, self.store.resolver)
        plan = fresh.decide(None, may_remove=True).plan
        return {key.text: self.entries[number] for key, number in zip(plan.keys, plan.entry.tolist(), strict=True)}


@given(st.lists(CHANGES, max_size=40))
def test_incremental_equals_full(steps):
    world = World()
    for step in steps:
        world.step(step)
    assert world.settle() == world.wanted()


FLAPS = st.builds(
    lambda prefix, host, op: Route(prefix, group(f"10.0.0.{host}@1"), op),
    st.sampled_from(PREFIXES[:2]), st.sampled_from([2, 3]), st.sampled_from([Op.REPLACE, Op.REPLACE, Op.REMOVE]),
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.one_of(FLAPS, st.sampled_from(["decide", "decide", "answer"])), max_size=30))
def test_answers_may_come_at_any_time(steps):
    world = World()
    for step in steps:
        if step == "decide":
            world.decide()
        elif step == "answer":
            world.answer()
        else:
            world.say(step)
    assert world.settle() == world.wanted()


@given(st.lists(CHANGES, max_size=30))
def test_an_applied_plan_leaves_nothing_to_write(steps):
    world = World()
    for step in steps:
        world.step(step)
    world.settle()
    assert len(world.ledger.decide(None, may_remove=True).rows) == 0


@given(st.lists(CHANGES, max_size=30))
def test_nothing_is_removed_before_sync(steps):
    world = World()
    for step in steps:
        if step == "write":
            world.decide(may_remove=False)
            assert all(decision.plan.entry.min(initial=0) != NO_ENTRY for decision in world.plans)
            world.answer()
        else:
            world.step(step)
    world.decide(may_remove=False)
    world.answer()
    world.ledger.release()
    assert world.settle() == world.wanted()


@given(st.lists(CHANGES, max_size=30), st.sets(st.sampled_from(PREFIXES)))
def test_foreign_rows_are_never_written(steps, foreign):
    world = World(foreign)
    for step in steps:
        world.step(step)
    world.settle()
    assert set(world.written) & foreign == set()


@given(st.lists(operations((Op.SET,)), max_size=12, unique_by=lambda route: route[:1] + route[3:5]), st.integers())
def test_the_result_depends_on_the_routes_and_not_on_their_order(routes, seed):
    results = []
    for turn in range(2):
        world = World()
        order = list(routes)
        if turn:
            random.Random(seed).shuffle(order)
        for route in order:
            world.say(route)
            world.settle()
        results.append(world.settle())
    assert results[0] == results[1]


@given(st.lists(operations((Op.SET,)), max_size=8), st.lists(LINKS, max_size=4), st.integers())
def test_the_result_does_not_depend_on_whether_links_or_routes_were_known_first(routes, links, seed):
    one, other = World(), World()
    for change in [*routes, *links]:
        one.say(change)
    for change in [*links, *routes]:
        other.say(change)
    assert one.settle() == other.settle()


@given(st.lists(CHANGES, max_size=30))
def test_groups_and_rows_that_are_freed_make_no_difference(steps):
    world = World()
    for number, step in enumerate(steps):
        world.step(step)
        if number % 5 == 4:
            world.settle()
            world.store.forget_unused()
            world.ledger.forget_absent()
    assert world.settle() == world.wanted()


@given(st.lists(st.integers(1, 256), min_size=1, max_size=16))
def test_scaled_weights_keep_their_proportion(weights):
    scaled = scaled_weights(weights)
    assert all(1 <= weight <= 255 for weight in scaled)
    largest = max(weights)
    for weight, made in zip(weights, scaled, strict=True):
        assert abs(made / max(scaled) - weight / largest) <= 1 / max(scaled)


@settings(max_examples=50)
@given(st.integers(1, 255), st.integers(1, 255))
def test_two_weights_within_a_byte_are_exact(left, right):
    scaled = scaled_weights([left, right])
    assert scaled[0] * right == scaled[1] * left


def test_a_blackhole_needs_no_pair():
    world = World()
    world.pair({})
    world.say(Route("198.51.100.0/24", group(kind=Kind.BLACKHOLE)))
    assert world.settle() == {"198.51.100.0/24": FibEntry(FibKind.BLACKHOLE)}
