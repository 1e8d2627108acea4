"""Keys, groups and entries as values."""

import numpy as np
import pytest

from rtagent.vector.fib import EMPTY_FIB, FibEntries, FibEntry, FibKind, FibPath, FibVector
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS, EMPTY_KEYS, Key, Keys
from rtagent.vector.links import IFF_LOWER_UP, IFF_UP, Link
from rtagent.vector.nexthops import NexthopGroups
from rtagent.vector.routes import EMPTY_DELTA, EMPTY_ROUTES, Op, RouteDelta, RouteVector
from tests.rows import Route, delta, group


@pytest.mark.parametrize(("text", "family", "length", "shown"), [
    ("192.0.2.0/24", AF_INET, 24, "192.0.2.0/24"), ("192.0.2.7", AF_INET, 32, "192.0.2.7/32"),
    ("192.0.2.7/24", AF_INET, 24, "192.0.2.0/24"), ("default", AF_INET, 0, "0.0.0.0/0"),
    ("2001:db8::/32", AF_INET6, 32, "2001:db8::/32"), ("2001:db8::1", AF_INET6, 128, "2001:db8::1/128"),
    ("100", AF_MPLS, 20, "100"), ("1048575", AF_MPLS, 20, "1048575"),
])  # fmt: skip
def test_a_key_is_read_and_shown(text, family, length, shown):
    key = Key.parse(text)
    assert (key.family, key.length, key.text) == (family, length, shown)
    assert Keys.of([key]).row(0) == key


@pytest.mark.parametrize(("text", "says"), [
    ("192.0.2.0/33", "192.0.2.0/33: neither an address, a prefix, nor an MPLS label"),
    ("1048576", "1048576: an MPLS label is at most 1048575"),
    ("e0", "e0: neither an address, a prefix, nor an MPLS label"),
])  # fmt: skip
def test_what_is_no_key_is_refused_in_words(text, says):
    with pytest.raises(ValueError, match=says):
        Key.parse(text)


def test_a_key_covers_longer_ones_of_its_table_and_family():
    key = Key.parse("192.0.2.0/24")
    assert key.covers(Key.parse("192.0.2.128/25"))
    assert key.covers(key)
    assert not key.covers(Key.parse("192.0.0.0/16"))
    assert not key.covers(Key.parse("192.0.3.0/24"))
    assert not key.covers(Key.parse("192.0.2.0/24", 100))
    assert not Key.parse("default").covers(Key.parse("::/0"))


def test_columns_tell_table_family_and_length():
    keys = Keys.of([Key.parse("192.0.2.0/24", 100000), Key.parse("2001:db8::/32"), Key.parse("100")])
    assert keys.table.tolist() == [100000, 254, 0]
    assert keys.family.tolist() == [AF_INET, AF_INET6, AF_MPLS]
    assert keys.length.tolist() == [24, 32, 20]


def test_columns_are_joined_in_their_order():
    keys = Keys.of(Key.parse(text) for text in ("192.0.2.0/24", "2001:db8::/32", "::/0"))
    assert list(Keys.concat([keys.take(np.array([2])), keys])) == [keys.row(2), *keys]
    assert len(Keys.concat([])) == len(EMPTY_KEYS) == 0
    assert len(RouteVector.concat([])) == len(EMPTY_ROUTES) == 0
    assert len(FibVector.concat([])) == len(EMPTY_FIB) == 0


def test_equal_groups_share_an_id_and_freed_ids_are_used_again():
    groups = NexthopGroups()
    one, other = groups.intern(group("10.0.0.2@1")), groups.intern(group("10.0.0.3@1"))
    assert groups.intern(group("10.0.0.2@1")) == one != other
    assert groups.keep(np.array([False, True])) == [one]
    assert groups.items() == [(other, group("10.0.0.3@1"))]
    with pytest.raises(AssertionError, match=f"group {one} was freed"):
        groups[one]
    assert groups.intern(group("10.0.0.4@1")) == one
    assert len(groups) == 2


def test_an_entry_keeps_its_paths_in_order():
    entries = FibEntries()
    left, right = FibPath(b"\n\0\0\2", 1), FibPath(b"\n\0\0\3", 2)
    number = entries.intern(FibEntry(FibKind.UNICAST, (right, left)))
    assert entries[number].paths == (left, right)
    assert entries.intern(FibEntry(FibKind.UNICAST, (left, right))) == number


def test_a_fold_drops_what_a_set_makes_invisible():
    groups = NexthopGroups()
    a, b = group("10.0.0.2@1"), group("10.0.0.3@1")
    earlier = delta(groups, Route("192.0.2.0/24", a), Route("192.0.2.0/24", a, metric=5), Route("::/0", a, Op.REMOVE))
    later = delta(groups, Route("192.0.2.0/24", b), Route("192.0.2.0/24", a, Op.REMOVE, metric=5))
    folded = earlier.fold(later)
    assert [(key.text, Op(op)) for key, op in zip(folded.routes.keys, folded.op, strict=True)] == [
        ("192.0.2.0/24", Op.SET), ("::/0", Op.REMOVE), ("192.0.2.0/24", Op.SET), ("192.0.2.0/24", Op.REMOVE),
    ]  # fmt: skip
    assert RouteDelta.folded([]) is EMPTY_DELTA


def test_a_link_is_up_by_its_operator_and_has_a_carrier_by_its_cable():
    links = [Link(1, "e", flags) for flags in (0, IFF_UP, IFF_UP | IFF_LOWER_UP)]
    assert [(link.up, link.carrier) for link in links] == [(False, False), (True, False), (True, True)]
