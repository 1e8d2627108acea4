"""Links that this kernel may not have, dummies and VLANs; addresses that are not usable yet, or never."""

from __future__ import annotations

import socket

import pytest

from tests.kernel.mirror import Mirror, Path
from tests.kernel.oracle import disagreements
from tests.lab.lab import Namespace

P = "198.51.100.0/24"
IFA_F_DADFAILED, IFA_F_TENTATIVE = 0x08, 0x40


@pytest.mark.kernel("dummy")
def test_routes_over_a_dummy_come_and_go_with_it(router: Namespace, mirror: Mirror) -> None:
    router.ip("link add name d0 type dummy")
    router.ip_batch(["link set d0 up", "addr add 192.0.2.1/24 dev d0", "addr add 2001:db8:d::1/64 dev d0 nodad"])
    router.ip(f"route add {P} via 192.0.2.2")
    assert {Path("192.0.2.2", "d0")} == mirror.paths(P)
    assert {Path("", "d0")} == mirror.paths("2001:db8:d::/64")
    router.ip("link set d0 down")
    assert None is mirror.paths(P)
    assert [] == disagreements(mirror, router)
    router.ip_batch(["link set d0 up", f"route add {P} via 192.0.2.2"])
    assert {Path("192.0.2.2", "d0")} == mirror.paths(P)
    router.ip("link del d0")
    assert [] == disagreements(mirror, router)


@pytest.mark.kernel("vlan")
@pytest.mark.parametrize(
    "stack",
    [["link add link e0 name vlan5 type vlan id 5"],
     ["link add link e0 name vlan5 type vlan proto 802.1ad id 5"],
     ["link add link e0 name outer type vlan proto 802.1ad id 9", "link set outer up",
      "link add link outer name vlan5 type vlan id 5"]],
    ids=["dot1q", "dot1ad", "QinQ"],
)  # fmt: skip
def test_routes_over_a_vlan_follow_it_and_the_link_below(router: Namespace, mirror: Mirror, stack: list[str]) -> None:
    for line in (*stack, "link set vlan5 up", "addr add 192.0.2.1/24 dev vlan5", f"route add {P} via 192.0.2.2"):
        router.ip(line)
    assert {Path("192.0.2.2", "vlan5")} == mirror.paths(P)
    assert [] == disagreements(mirror, router)
    router.ip("link set e0 down")
    assert None is mirror.paths(P)
    assert [] == disagreements(mirror, router)
    router.ip("link set e0 up")
    assert [] == disagreements(mirror, router)
    router.ip("link del e0")
    assert [] == disagreements(mirror, router)


@pytest.mark.kernel("vlan")
def test_a_vlan_knows_its_number_and_the_link_below(router: Namespace, mirror: Mirror) -> None:
    router.ip("link add link e0 name vlan5 type vlan id 5")
    mirror.settle()
    links = {link.name: link for link in mirror.store.topology.links.values()}
    assert (5, links["e0"].ifindex, "vlan") == (links["vlan5"].vlan, links["vlan5"].parent, links["vlan5"].kind)


@pytest.mark.kernel("bond")
def test_routes_over_a_bond_lose_their_carrier_with_its_last_member(router: Namespace, mirror: Mirror) -> None:
    router.ip("link add bond0 type bond mode active-backup miimon 10")
    for line in (
        "link set e2 down",
        "link set e2 master bond0",
        "link set bond0 up",
        "addr add 192.0.2.1/24 dev bond0",
    ):
        router.ip(line)
    router.ip(f"route add {P} via 192.0.2.2 dev bond0 onlink")
    assert {Path("192.0.2.2", "bond0")} == mirror.paths(P)
    router.ip("link set e2 nomaster")
    assert [] == disagreements(mirror, router)
    router.ip("link del bond0")
    assert None is mirror.paths(P)
    assert [] == disagreements(mirror, router)


@pytest.mark.kernel("dummy")
def test_an_address_that_another_host_has_ends_as_dadfailed(router: Namespace, peer: Namespace) -> None:
    for namespace, link in ((router, "e0"), (peer, "p0")):
        namespace.sysctl(f"net.ipv6.conf.{link}.accept_dad", 1)
    peer.ip("addr add 2001:db8:dad::1/64 dev p0 nodad")
    packed = socket.inet_pton(socket.AF_INET6, "2001:db8:dad::1")

    def flags(mirror: Mirror) -> int | None:
        return next((row.flags for row in mirror.store.addresses.values() if row.local == packed), None)

    with Mirror(router.name) as mirror:
        router.ip("addr add 2001:db8:dad::1/64 dev e0")
        mirror.until(lambda: flags(mirror) is not None)
        mirror.until(lambda: (flags(mirror) or 0) & IFA_F_DADFAILED)
        assert (flags(mirror) or 0) & IFA_F_TENTATIVE
        assert [] == disagreements(mirror, router)
        with Mirror(router.name) as fresh:
            assert flags(mirror) == flags(fresh)


@pytest.mark.kernel("dummy")
def test_a_route_with_a_preferred_source_goes_with_that_address(router: Namespace, mirror: Mirror) -> None:
    router.ip("addr add 10.0.0.11/24 dev e0")
    router.ip(f"route add {P} via 10.0.0.2 src 10.0.0.11")
    router.ip("route add 2001:db8:f::/48 via 2001:db8::2 src 2001:db8::1")
    assert {Path("10.0.0.2", "e0")} == mirror.paths(P)
    router.ip("addr del 10.0.0.11/24 dev e0")
    router.ip("addr del 2001:db8::1/64 dev e0")
    assert [] == disagreements(mirror, router)
    assert None is mirror.paths(P)
