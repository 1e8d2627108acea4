"""Keys, deltas, the table of keys and the Rib against plain models."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rtagent.core.keytable import KeyTable
from rtagent.core.rib import Rib
from rtagent.vector.keys import ADDRESS_BITS, AF_INET, AF_INET6, Key, Keys
from rtagent.vector.nexthops import Kind, NexthopGroups
from rtagent.vector.routes import EMPTY_DELTA, Op, RouteDelta
from tests.rows import Route, delta, group
from tests.sizes import size  # noqa: F401

PREFIXES = ["198.51.100.0/24", "203.0.113.0/24", "0.0.0.0/0", "2001:db8::/32", "::/0"]
WAYS = [
    group("10.0.0.2@1"),
    group("10.0.0.3@2"),
    group("@1"),
    group("10.0.0.2@1", "10.0.0.3@2"),
    group(kind=Kind.BLACKHOLE),
]
WAYS6 = [
    group("fd00::2@1"),
    group("fd00::3@2"),
    group("@1"),
    group("fd00::2@1", "fd00::3@2"),
    group(kind=Kind.BLACKHOLE),
]


@st.composite
def operations(draw: st.DrawFn, ops: tuple[Op, ...] = (Op.SET, Op.REPLACE, Op.APPEND, Op.PREPEND, Op.REMOVE)) -> Route:
    prefix = draw(st.sampled_from(PREFIXES))
    ways = draw(st.sampled_from(WAYS6 if ":" in prefix else WAYS))
    return Route(
        prefix, ways, draw(st.sampled_from(ops)), draw(st.sampled_from([0, 10, 20])), draw(st.sampled_from([0, 0, 16]))
    )


def rows(found: RouteDelta, groups: NexthopGroups) -> list[tuple[object, ...]]:
    routes = found.routes
    columns = (found.op, routes.metric, routes.tos, routes.protocol, routes.group)
    return list(zip((key.text for key in routes.keys), *(column.tolist() for column in columns), strict=True))


def rib(groups: NexthopGroups) -> Rib:
    return Rib(groups, lambda group, family: False)


def held(found: Rib) -> dict[str, list[tuple[object, ...]]]:
    """Return all entries by prefix."""
    entries = {}
    for row, key in enumerate(found.table.keys):
        if here := [(e.metric, e.tos, found.groups[e.group]) for e in found.entries(row)]:
            entries[key.text] = here
    return entries


def best(found: Rib) -> dict[str, object]:
    return {
        key.text: found.groups[int(found.group[row])]
        for row, key in enumerate(found.table.keys)
        if found.group[row] >= 0
    }


BATCH = st.lists(operations(), max_size=12)


@given(BATCH, BATCH, BATCH)
def test_fold_is_associative(a, b, c):
    groups = NexthopGroups()
    left, middle, right = (delta(groups, *batch) if batch else EMPTY_DELTA for batch in (a, b, c))
    one, other = left.fold(middle).fold(right), left.fold(middle.fold(right))
    assert rows(one, groups) == rows(other, groups)


@given(BATCH, BATCH)
def test_a_fold_has_the_effect_of_both(a, b):
    groups = NexthopGroups()
    left, right = (delta(groups, *batch) if batch else EMPTY_DELTA for batch in (a, b))
    stepwise, at_once = rib(groups), rib(groups)
    stepwise.apply(left)
    stepwise.apply(right)
    at_once.apply(left.fold(right))
    assert held(at_once) == held(stepwise)


@given(BATCH)
def test_a_batch_has_the_effect_of_its_operations_one_by_one(batch):
    groups = NexthopGroups()
    stepwise, at_once = rib(groups), rib(groups)
    for route in batch:
        stepwise.apply(delta(groups, route))
    at_once.apply(delta(groups, *batch) if batch else EMPTY_DELTA)
    assert held(at_once) == held(stepwise)
    assert best(at_once) == best(stepwise)


@given(BATCH, st.lists(operations((Op.SEEN,)), max_size=12))
def test_a_dump_absorbs_whatever_was_before(before, shown):
    groups = NexthopGroups()
    used, fresh = rib(groups), rib(groups)
    used.apply(delta(groups, *before) if before else EMPTY_DELTA)
    for number, each in ((7, used), (3, fresh)):
        each.apply(delta(groups, *shown) if shown else EMPTY_DELTA, number)
        for family in (AF_INET, AF_INET6):
            each.sweep(family, number)
    assert held(used) == held(fresh)
    assert best(used) == best(fresh)


class PlainRib:
    """IPv4 as net/ipv4/fib_trie.c keeps it: a list of entries per prefix, and nothing else."""

    def __init__(self) -> None:
        self.entries: dict[str, list[tuple[int, int, object]]] = {}

    def apply(self, route: Route) -> None:
        entries = self.entries.setdefault(route.prefix, [])
        entry = (route.metric, route.tos, route.group)
        same = [at for at, other in enumerate(entries) if other[:2] == entry[:2]]
        if route.op is Op.REMOVE:
            if entry in entries:
                entries.remove(entry)
            elif len(same) == 1 and entries[same[0]][2].kind is route.group.kind:
                del entries[same[0]]
            return
        if route.op is Op.SET:
            entries[:] = [other for other in entries if other[:2] != entry[:2]]
            same = []
        elif same and route.op is Op.REPLACE:
            entries[same[0]] = entry
            return
        elif entry in entries:
            return
        order = [(-tos, metric) for metric, tos, _ in entries]
        rank = (-route.tos, route.metric)
        before = sum(other < rank for other in order)
        at = before if route.op is Op.PREPEND else before + len(same)
        entries.insert(at, entry)


@settings(max_examples=300)
@given(st.lists(operations().filter(lambda route: ":" not in route.prefix), max_size=30))
def test_the_rib_agrees_with_a_plain_model_of_ipv4(batch):
    groups = NexthopGroups()
    found, model = rib(groups), PlainRib()
    found.apply(delta(groups, *batch) if batch else EMPTY_DELTA)
    for route in batch:
        model.apply(route)
    assert held(found) == {prefix: entries for prefix, entries in model.entries.items() if entries}
    for prefix, entries in model.entries.items():
        plain = [entry for entry in entries if not entry[1]] or entries
        assert best(found).get(prefix) == (plain[0][2] if plain else None)


def key(family: int, table: int, bits: int, length: int) -> Key:
    return Key(table, family, bits & ~((1 << 128 - length) - 1), length)


KEYS = st.builds(
    key, st.sampled_from([AF_INET, AF_INET6]), st.sampled_from([254, 100]), st.integers(0, 7).map(lambda n: n << 125),
    st.integers(0, 32),
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(["keep", "at once", "singly"]), st.lists(KEYS, max_size=20)), max_size=8))
def test_the_table_of_keys_agrees_with_a_dictionary(steps):
    table, model = KeyTable(), {}
    for what, keys in steps:
        if what == "keep":
            used = np.zeros(table.size, bool)
            kept = {key: row for key, row in model.items() if key in set(keys)}
            used[list(kept.values())] = True
            table.keep(used)
            model = kept
        else:
            column = Keys.of(keys)
            if what == "at once":
                found = table.intern(column).tolist()
            else:
                singly = zip(column.hi.tolist(), column.lo.tolist(), column.meta.tolist(), strict=True)
                found = table.intern_one_by_one([*singly])
            assert len(set(found)) == len(set(keys))
            for key, row in zip(keys, found, strict=True):
                assert model.setdefault(key, row) == row
        assert len(set(model.values())) == len(model) == len(table)
        asked = list(model) + [key for _, each in steps for key in each]
        assert table.find(Keys.of(asked)).tolist() == [model.get(key, -1) for key in asked]
        assert {table.keys.row(row) for row in np.flatnonzero(table.live()).tolist()} == set(model)


@given(st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=3000))
def test_the_table_of_keys_holds_many(addresses):
    table, keys = KeyTable(), Keys.of(Key(254, AF_INET, address << 96, 32) for address in addresses)
    rows = table.intern(keys)
    assert sorted(rows.tolist()) == list(range(len(addresses)))
    assert table.find(keys).tolist() == rows.tolist()


@given(KEYS, KEYS)
def test_a_key_covers_what_its_text_says(one, other):
    import ipaddress

    left, right = ipaddress.ip_network(one.text), ipaddress.ip_network(other.text)
    same = (one.table, one.family) == (other.table, other.family)
    assert one.covers(other) == (same and right.subnet_of(left))
    assert one.covered(Keys.of([other])).tolist() == [one.covers(other)]
    assert Key.parse(one.text, one.table) == one
    assert one.length <= ADDRESS_BITS[one.family]


@given(st.lists(KEYS, max_size=30))
def test_keys_sort_by_table_family_address_and_length(keys):
    column = Keys.of(keys)
    assert list(column.take(column.order())) == sorted(keys)
    assert list(column) == keys == [column.row(at) for at in range(len(keys))]
