"""Rows in the words of the contract (`rtagent fib --json`)."""

import pytest

from rtagent.core.rows import Rows
from rtagent.vector.batch import Change, KernelBatch, UnsupportedRoute
from rtagent.vector.fib import FibEntry, FibKind
from rtagent.vector.keys import AF_INET6, AF_MPLS, Key, Keys
from rtagent.vector.nexthops import Kind, Nexthop, NexthopGroup
from rtagent.vector.routes import Op
from tests.rows import Route, delta, group
from tests.unit.test_ledger import INTERFACE, OWN, World, held


@pytest.fixture
def world():
    return World()


def shown(world, **selected):
    return list(Rows(world.store, world.ledger, world.entries, {101: "port1", 102: "port2"})(**selected))


def test_an_installed_route_shows_what_the_data_plane_holds(world):
    world.kernel(Route("198.51.100.0/24", group("10.0.0.2@1*3", "10.0.0.3@2*5")))
    world.settle()
    assert shown(world) == [
        {
            "family": "inet", "table": 254, "prefix": "198.51.100.0/24", "type": "unicast",
            "paths": [
                {"via": "10.0.0.2", "interface": "port1", "weight": 3, "labels": []},
                {"via": "10.0.0.3", "interface": "port2", "weight": 5, "labels": []},
            ],
            "state": "installed", "reason": "",
        }
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [Kind.BLACKHOLE, Kind.UNREACHABLE, Kind.PROHIBIT, Kind.LOCAL])
def test_types_have_their_words(world, kind):
    world.kernel(Route("2001:db8::/32", group(kind=kind)))
    world.settle()
    (row,) = shown(world)
    assert (row["family"], row["type"], row["paths"], row["state"]) == ("inet6", kind.name.lower(), [], "installed")


def test_a_label_route_shows_its_label(world):
    swap = Nexthop(b"\n\0\0\2", 1, labels=(200,))
    label = delta(world.groups, Route("192.0.2.0/24", NexthopGroup(Kind.UNICAST, (swap,))))
    keys = Keys.of([Key(0, AF_MPLS, 100 << 108, 20)])
    routes = label.routes
    label = type(label)(type(routes)(keys, routes.metric, routes.tos, routes.protocol, routes.group), label.op)
    world.store.apply(KernelBatch(label))
    world.settle()
    (row,) = shown(world, family="mpls")
    assert (row["family"], row["table"], row["label"], "prefix" in row) == ("mpls", 0, 100, False)
    assert row["paths"] == [{"via": "10.0.0.2", "interface": "port1", "weight": 1, "labels": [200]}]


def test_a_route_that_is_not_installed_shows_the_kernels_nexthops_and_why(world):
    world.kernel(
        Route("198.51.100.0/24", group("10.0.9.2@9")), Route("203.0.113.0/24", group("@1", unsupported="seg6"))
    )
    world.settle()
    assert [(row["prefix"], row["paths"], row["state"], row["reason"]) for row in shown(world)] == [
        ("198.51.100.0/24", [{"via": "10.0.9.2", "interface": None, "weight": 1, "labels": []}], "parked",
         "no usable next hop: its interface (ifindex 9) is gone"),
        ("203.0.113.0/24", [{"via": None, "interface": "e1", "weight": 1, "labels": []}], "unsupported", "seg6"),
    ]  # fmt: skip


def test_a_refused_row_shows_what_was_wanted(world):
    world.kernel(Route("198.51.100.0/24", group("10.0.0.2@1")))
    world.answer(world.decide(), **{"198.51.100.0/24": -2})
    (row,) = shown(world)
    assert (row["paths"][0]["interface"], row["state"], row["reason"]) == ("port1", "rejected", "rejected -2: error -2")


def test_a_shadowed_row_shows_what_shadows_it(world):
    theirs = held(world, ("198.51.100.0/24", FibEntry(FibKind.OTHER), INTERFACE))
    world.ledger.load(theirs, OWN, lambda source: True, lambda source: "interface")
    world.kernel(Route("198.51.100.0/24", group("10.0.0.2@1")))
    world.settle()
    (row,) = shown(world)
    assert (row["type"], row["state"], row["reason"]) == ("other", "shadowed", "shadowed by interface")


def test_a_route_without_a_counterpart_comes_last(world):
    lost = UnsupportedRoute(AF_INET6, 254, "2001:db8::/32", "from ::/1 metric 0", "source-specific")
    world.store.apply(KernelBatch(changes=(Change(lost),)))
    world.kernel(Route("2001:db8:ffff::/48", group("@1")))
    world.settle()
    assert [(row["prefix"], row["state"], row["reason"]) for row in shown(world)] == [
        ("2001:db8:ffff::/48", "installed", ""),
        ("2001:db8::/32", "unsupported", "from ::/1 metric 0: source-specific"),
    ]


def test_rows_are_selected_and_come_in_order(world):
    for prefix in ("203.0.113.0/24", "198.51.100.0/24", "198.51.100.0/25", "2001:db8::/32"):
        world.kernel(Route(prefix, group("@1")))
    world.kernel(Route("198.51.100.0/24", group("@1"), table=100))
    world.settle()

    def prefixes(**selected):
        return [(row["table"], row["prefix"]) for row in shown(world, **selected)]

    assert prefixes() == [
        (100, "198.51.100.0/24"), (254, "198.51.100.0/24"), (254, "198.51.100.0/25"), (254, "203.0.113.0/24"),
        (254, "2001:db8::/32"),
    ]  # fmt: skip
    assert prefixes(table=100) == [(100, "198.51.100.0/24")]
    assert prefixes(family="inet6") == [(254, "2001:db8::/32")]
    assert prefixes(key=Key.parse("198.51.100.0/24")) == [(100, "198.51.100.0/24"), (254, "198.51.100.0/24")]


def test_a_removed_route_is_shown_no_more(world):
    world.kernel(Route("198.51.100.0/24", group("@1")))
    world.settle()
    world.kernel(Route("198.51.100.0/24", group("@1"), Op.REMOVE))
    assert [row["state"] for row in shown(world)] == ["installed"]
    world.settle()
    assert shown(world) == []
