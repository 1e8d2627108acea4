"""VRFs: links come into a table, go to another and back, and what the kernel does with the routes then."""

from __future__ import annotations

import pytest

from tests.kernel.mirror import Mirror, Path
from tests.kernel.oracle import disagreements
from tests.lab.lab import Namespace

pytestmark = pytest.mark.kernel("vrf")

P, Q = "198.51.100.0/24", "198.51.101.0/24"
RED, BLUE = 100, 200
CONNECTED = "10.0.1.0/24"


def add_vrf(router: Namespace, name: str, table: int) -> None:
    router.ip(f"link add {name} type vrf table {table}")
    router.ip(f"link set {name} up")


def test_a_route_that_is_there_before_the_vrf_and_its_link(router: Namespace, mirror: Mirror) -> None:
    router.ip(f"route add {P} via 10.0.0.2 table {RED}")
    assert {Path("10.0.0.2", "e0")} == mirror.paths(P, RED)
    add_vrf(router, "red", RED)
    router.ip("link set e1 master red")
    router.ip(f"route add {Q} via 10.0.1.2 vrf red")
    assert {Path("10.0.0.2", "e0")} == mirror.paths(P, RED)
    assert {Path("10.0.1.2", "e1")} == mirror.paths(Q, RED)
    assert [] == disagreements(mirror, router)


def test_a_link_that_enters_a_vrf_takes_its_connected_prefix_along_and_leaves_its_routes_behind(
    router: Namespace, mirror: Mirror
) -> None:
    router.ip(f"route add {P} via 10.0.1.2")
    add_vrf(router, "red", RED)
    assert {Path("10.0.1.2", "e1")} == mirror.paths(P)
    router.ip("link set e1 master red")
    assert None is mirror.paths(P)
    assert None is mirror.paths(CONNECTED)
    assert {Path("", "e1")} == mirror.paths(CONNECTED, RED)
    assert [] == disagreements(mirror, router)


def test_a_link_moves_from_one_vrf_to_another_and_is_released(router: Namespace, mirror: Mirror) -> None:
    add_vrf(router, "red", RED)
    add_vrf(router, "blue", BLUE)
    router.ip("link set e1 master red")
    router.ip(f"route add {P} via 10.0.1.2 vrf red")
    assert {Path("10.0.1.2", "e1")} == mirror.paths(P, RED)
    router.ip("link set e1 master blue")
    router.ip("addr add 2001:db8:1::1/64 dev e1 nodad")  # the kernel has taken the IPv6 addresses away
    assert [None, None] == [mirror.paths(P, RED), mirror.paths(CONNECTED, RED)]
    assert {Path("", "e1")} == mirror.paths(CONNECTED, BLUE) == mirror.paths("2001:db8:1::/64", BLUE)
    assert [] == disagreements(mirror, router)
    router.ip("link set e1 nomaster")
    assert None is mirror.paths(CONNECTED, BLUE)
    assert {Path("", "e1")} == mirror.paths(CONNECTED)
    assert [] == disagreements(mirror, router)


def test_ecmp_in_a_vrf_loses_the_member_that_leaves(router: Namespace, mirror: Mirror) -> None:
    add_vrf(router, "red", RED)
    router.ip("link set e1 master red")
    router.ip("link set e2 master red")
    router.ip(f"route add {P} vrf red nexthop via 10.0.1.2 nexthop via 10.0.2.2")
    assert {Path("10.0.1.2", "e1"), Path("10.0.2.2", "e2")} == mirror.paths(P, RED)
    router.ip("link set e1 nomaster")
    assert [] == disagreements(mirror, router)
    router.ip("link set e2 down")
    assert [] == disagreements(mirror, router)


def test_a_deleted_vrf_releases_its_links_and_empties_its_table_of_them(router: Namespace, mirror: Mirror) -> None:
    add_vrf(router, "red", RED)
    router.ip("link set e1 master red")
    router.ip(f"route add {P} via 10.0.1.2 vrf red")
    router.ip(f"route add {Q} via 10.0.0.2 dev e0 onlink vrf red")
    router.ip("route add unreachable default metric 4278198272 vrf red")
    assert {Path("10.0.1.2", "e1")} == mirror.paths(P, RED)
    router.ip("link del red")
    assert None is mirror.paths(P, RED)
    assert {Path("10.0.0.2", "e0")} == mirror.paths(Q, RED)  # over a link that was never its own
    assert {Path("", "e1")} == mirror.paths(CONNECTED)
    assert [] == disagreements(mirror, router)


def test_a_route_over_the_vrf_itself_leads_nowhere_that_a_port_does(router: Namespace, mirror: Mirror) -> None:
    add_vrf(router, "red", RED)
    router.ip(f"route add {P} dev red")
    assert [] == disagreements(mirror, router)
    router.ip("link del red")
    assert None is mirror.paths(P)
    assert [] == disagreements(mirror, router)
