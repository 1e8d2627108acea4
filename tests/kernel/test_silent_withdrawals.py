"""What the kernel takes away, or brings back, without a message about the routes concerned."""

import pytest

from rtagent.vector.links import IFF_LOWER_UP, IFF_RUNNING
from tests.kernel.mirror import IN_MEMORY, Path
from tests.kernel.oracle import disagreements

VIA_E0, VIA_E1 = Path("10.0.0.2", "e0"), Path("10.0.1.2", "e1")
VIA6_E0, VIA6_E1 = Path("2001:db8::2", "e0"), Path("2001:db8:1::2", "e1")


@pytest.fixture
def ecmp(router):
    router.ip("route add 198.51.100.0/24 nexthop via 10.0.0.2 nexthop via 10.0.1.2")
    router.ip("route add 2001:db8:f::/48 nexthop via 2001:db8::2 nexthop via 2001:db8:1::2")


def carrier(mirror, name):
    """Whether the link is operational; the kernel finds out a moment after the command that caused it."""
    flags = next(link.flags for link in mirror.store.topology.links.values() if link.name == name)
    return bool(flags & IFF_RUNNING and flags & IFF_LOWER_UP)


def test_a_link_set_down_takes_its_routes_along_in_every_table(router, mirror):
    for table in (254, 100):
        router.ip(f"route add 198.51.100.0/24 via 10.0.0.2 table {table}")
        router.ip(f"route add 2001:db8:f::/48 via 2001:db8::2 table {table}")
    assert mirror.paths("198.51.100.0/24", 100) == {VIA_E0}
    router.ip("link set e0 down")
    assert disagreements(mirror, router) == []
    gone = {(table, prefix) for table in (254, 100) for prefix in ("198.51.100.0/24", "2001:db8:f::/48")}
    assert gone & mirror.fib().keys() == set()
    assert mirror.paths("10.0.0.0/24") is None


def test_a_multipath_route_loses_and_regains_a_path_with_its_link(router, mirror, ecmp):
    router.ip("link set e0 down")
    assert disagreements(mirror, router) == []
    assert mirror.paths("198.51.100.0/24") == {VIA_E1}
    assert mirror.paths("2001:db8:f::/48") == {VIA6_E1}
    router.ip("link set e0 up")
    mirror.until(lambda: carrier(mirror, "e0"))
    assert disagreements(mirror, router) == []
    assert mirror.paths("198.51.100.0/24") == {VIA_E0, VIA_E1}


def test_ipv6_paths_revive_with_their_link_when_its_addresses_were_kept(router, mirror, ecmp):
    router.sysctl("net.ipv6.conf.e0.keep_addr_on_down", 1)
    router.ip("link set e0 down")
    assert mirror.paths("2001:db8:f::/48") == {VIA6_E1}
    router.ip("link set e0 up")
    mirror.until(lambda: carrier(mirror, "e0"))
    assert disagreements(mirror, router) == []


def test_down_and_up_in_one_batch_keeps_the_down_edge(router, mirror, ecmp):
    router.ip("route add 203.0.113.0/24 via 10.0.0.2")
    mirror.settle()
    router.ip_batch(["link set e0 down", "link set e0 up"])
    mirror.settle()
    mirror.until(lambda: carrier(mirror, "e0"))
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") is None
    assert mirror.paths("198.51.100.0/24") == {VIA_E0, VIA_E1}


def test_the_last_address_of_a_link_takes_gateway_routes_along_and_revives_multipath_only(router, mirror, ecmp):
    router.ip("route add 203.0.113.0/24 via 10.0.0.2")
    assert mirror.paths("203.0.113.0/24") == {VIA_E0}
    router.ip("addr del 10.0.0.1/24 dev e0")
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") is None
    assert mirror.paths("198.51.100.0/24") == {VIA_E1}
    router.ip("addr add 10.0.0.1/24 dev e0")
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") is None
    assert mirror.paths("198.51.100.0/24") == {VIA_E0, VIA_E1}


def test_one_of_two_addresses_leaves_the_routes_through_its_subnet(router, mirror):
    router.ip("addr add 192.0.2.1/24 dev e0")
    router.ip("route add 203.0.113.0/24 via 192.0.2.2")
    mirror.settle()
    router.ip("addr del 192.0.2.1/24 dev e0")
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") == {Path("192.0.2.2", "e0")}


def test_an_ipv4_route_goes_with_its_source_address(router, mirror):
    router.ip("addr add 192.0.2.1/24 dev e0")
    router.ip("route add 203.0.113.0/24 via 10.0.0.2 src 192.0.2.1")
    assert mirror.paths("203.0.113.0/24") == {VIA_E0}
    router.ip("addr del 192.0.2.1/24 dev e0")
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") is None


def test_an_ipv6_route_stays_without_its_source_address(router, mirror):
    router.ip("addr add 2001:db8:a::1/64 dev e0 nodad")
    router.ip("route add 2001:db8:f::/48 via 2001:db8::2 src 2001:db8:a::1")
    mirror.settle()
    router.ip("addr del 2001:db8:a::1/64 dev e0")
    assert disagreements(mirror, router) == []
    assert mirror.paths("2001:db8:f::/48") == {VIA6_E0}


def test_a_deleted_link_leaves_the_other_path_of_ipv6_and_nothing_of_ipv4(router, mirror, ecmp):
    router.ip("route add 203.0.113.0/24 via 10.0.0.2")
    mirror.settle()
    router.ip("link del e0")
    assert disagreements(mirror, router) == []
    assert mirror.paths("198.51.100.0/24") is None  # IPv4 drops the whole route
    assert mirror.paths("2001:db8:f::/48") == {VIA6_E1}
    assert mirror.paths("203.0.113.0/24") is None


def test_routes_without_carrier_stay_unless_they_are_to_be_ignored(router, peer, mirror, ecmp):
    router.ip("route add 203.0.113.0/24 via 10.0.0.2")
    router.ip("route add 2001:db8:e::/48 via 2001:db8::2")
    mirror.settle()
    peer.ip("link set p0 down")
    mirror.until(lambda: not carrier(mirror, "e0"))
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") == {VIA_E0}
    peer.ip("link set p0 up")
    mirror.until(lambda: carrier(mirror, "e0"))
    for version in ("ipv4", "ipv6"):
        router.sysctl(f"net.{version}.conf.e0.ignore_routes_with_linkdown", 1)
    assert disagreements(mirror, router) == []
    peer.ip("link set p0 down")
    mirror.until(lambda: not carrier(mirror, "e0"))
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") is None
    assert mirror.paths("198.51.100.0/24") == {VIA_E1}
    assert mirror.paths("2001:db8:e::/48") is None
    assert mirror.paths("2001:db8:f::/48") == {VIA6_E1}
    for version in ("ipv4", "ipv6"):
        router.sysctl(f"net.{version}.conf.e0.ignore_routes_with_linkdown", 0)
    assert mirror.paths("203.0.113.0/24") == {VIA_E0}
    assert mirror.paths("2001:db8:e::/48") == {VIA6_E0}
    for version in ("ipv4", "ipv6"):
        router.sysctl(f"net.{version}.conf.e0.ignore_routes_with_linkdown", 1)
    peer.ip("link set p0 up")
    mirror.until(lambda: carrier(mirror, "e0"))
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") == {VIA_E0}
    assert mirror.paths("2001:db8:f::/48") == {VIA6_E0, VIA6_E1}


@pytest.mark.parametrize("name", ["all", "e0"])
def test_a_policy_about_carriers_takes_effect_at_once(router, peer, mirror, name):
    router.ip("route add 203.0.113.0/24 via 10.0.0.2")
    router.ip("route add 2001:db8:e::/48 via 2001:db8::2")
    peer.ip("link set p0 down")
    mirror.until(lambda: not carrier(mirror, "e0"))
    for value, paths in ((1, None), (0, {VIA_E0})):
        for version in ("ipv4", "ipv6"):
            router.sysctl(f"net.{version}.conf.{name}.ignore_routes_with_linkdown", value)
        assert disagreements(mirror, router) == []
        assert mirror.paths("203.0.113.0/24") == paths


def test_an_entry_without_carrier_yields_to_the_next_metric_where_it_is_ignored(router, peer, mirror):
    for version in ("ipv4", "ipv6"):
        router.sysctl(f"net.{version}.conf.e0.ignore_routes_with_linkdown", 1)
    for metric, port in ((10, 0), (20, 1)):
        router.ip(f"route add 203.0.113.0/24 via 10.0.{port}.2 metric {metric}")
        router.ip(f"route add 2001:db8:e::/48 via 2001:db8:{port}::2 metric {metric}")
    assert mirror.paths("203.0.113.0/24") == {VIA_E0}
    peer.ip("link set p0 down")
    mirror.until(lambda: not carrier(mirror, "e0"))
    assert mirror.paths("203.0.113.0/24") == {VIA_E1}
    assert mirror.paths("2001:db8:e::/48") == {VIA6_E1}
    assert disagreements(mirror, router) == []


def test_only_ipv6_ignores_its_carrier_when_only_ipv6_is_told_to(router, peer, mirror):
    router.sysctl("net.ipv6.conf.e0.ignore_routes_with_linkdown", 1)
    for metric, port in ((10, 0), (20, 1)):
        router.ip(f"route add 203.0.113.0/24 via 10.0.{port}.2 metric {metric}")
        router.ip(f"route add 2001:db8:e::/48 via 2001:db8:{port}::2 metric {metric}")
    mirror.settle()
    peer.ip("link set p0 down")
    mirror.until(lambda: not carrier(mirror, "e0"))
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") == {VIA_E0}
    assert mirror.paths("2001:db8:e::/48") == {VIA6_E1}


@IN_MEMORY
def test_a_new_link_inherits_the_carrier_policy(router, peer, mirror):
    mirror.settle()
    router.sysctl("net.ipv4.conf.default.ignore_routes_with_linkdown", 1)
    router.ip(f"link add e9 type veth peer name p9 netns {peer.name}")
    router.ip("addr add 10.0.9.1/24 dev e9")
    router.ip("link set e9 up")
    router.ip("route add 203.0.113.0/24 via 10.0.9.2 onlink dev e9")
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") is None
    peer.ip("link set p9 up")
    mirror.until(lambda: carrier(mirror, "e9"))
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") == {Path("10.0.9.2", "e9")}


def test_ipv6_globals_go_with_a_link_that_does_not_keep_them(router, mirror):
    router.ip("route add 2001:db8:f::/48 via 2001:db8::2")
    mirror.settle()
    router.ip("link set e0 down")
    router.ip("link set e0 up")
    mirror.until(lambda: carrier(mirror, "e0"))
    assert disagreements(mirror, router) == []
    assert mirror.paths("2001:db8::/64") is None


def test_an_mtu_below_the_minimum_of_ipv6_takes_its_routes_along(router, mirror):
    router.ip("route add 2001:db8:f::/48 via 2001:db8::2")
    mirror.settle()
    for mtu in (1200, 9000):
        router.ip(f"link set e0 mtu {mtu}")
        assert disagreements(mirror, router) == []
        assert mirror.paths("2001:db8:f::/48") is None
