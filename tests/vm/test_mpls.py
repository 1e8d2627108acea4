"""Labels: the kernel's routes of AF_MPLS and those that push labels, as VPP then forwards."""

from __future__ import annotations

import re

import pytest

from tests.kernel.mirror import Mirror, Path
from tests.kernel.oracle import disagreements
from tests.lab.lab import Namespace
from tests.vm.site import Site, Way

pytestmark = pytest.mark.kernel("mpls")

P, P6 = "198.51.100.0/24", "2001:db8:f::/48"
NEXT = Way("", "mpls", "10.0.0.2", "host-v0")


def carrier(mirror: Mirror, name: str) -> bool:
    """Whether a link carries traffic. Its number depends on what devices a new namespace comes with."""
    return next(link.carrier for link in mirror.store.topology.links.values() if link.name == name)


@pytest.mark.vpp
def test_a_label_is_swapped_wherever_it_stands_in_the_stack(site: Site) -> None:
    site.router.ip("-f mpls route add 100 as 200 via inet 10.0.0.2")
    swapped = {NEXT._replace(labels="200")}
    assert {"eos": swapped, "neos": swapped} == site.label(100)
    assert [] == site.disagreements()


@pytest.mark.vpp
def test_a_label_is_popped_to_ipv4_at_the_bottom_of_the_stack_and_to_a_label_above_it(site: Site) -> None:
    site.router.ip("-f mpls route add 101 via inet 10.0.0.2")
    assert {"eos": {NEXT._replace(payload="ipv4")}, "neos": {NEXT}} == site.label(101)
    assert [] == site.disagreements()


@pytest.mark.vpp
def test_a_label_is_popped_to_ipv6(site: Site) -> None:
    site.router.ip("-f mpls route add 102 via inet6 2001:db8:1::2 dev e1")
    ways = Way("", "ipv6", "2001:db8:1::2", "host-v1"), Way("", "mpls", "2001:db8:1::2", "host-v1")
    assert {"eos": {ways[0]}, "neos": {ways[1]}} == site.label(102)
    assert [] == site.disagreements()


@pytest.mark.vpp
def test_labels_are_pushed_outermost_first(site: Site) -> None:
    site.router.ip("-f mpls route add 103 as 201/202 via inet 10.0.0.2")
    pushed = {NEXT._replace(labels="201/202")}
    assert {"eos": pushed, "neos": pushed} == site.label(103)
    assert [] == site.disagreements()


@pytest.mark.vpp
@pytest.mark.parametrize(("null", "via"), [(0, "inet 10.0.0.2"), (2, "inet6 2001:db8::2 dev e0")])
def test_a_label_is_swapped_to_explicit_null(site: Site, null: int, via: str) -> None:
    site.router.ip(f"-f mpls route add 104 as {null} via {via}")
    swapped = {Way(str(null), "mpls", via.split()[1], "host-v0")}
    assert {"eos": swapped, "neos": swapped} == site.label(104)
    assert [] == site.disagreements()


@pytest.mark.vpp
def test_several_paths_each_have_their_own_label(site: Site) -> None:
    hops = "nexthop as 300 via inet 10.0.0.2 nexthop as 301 via inet 10.0.1.2 nexthop via inet 10.0.2.2"
    site.router.ip(f"-f mpls route add 105 {hops}")
    swapped = {NEXT._replace(labels="300"), Way("301", "mpls", "10.0.1.2", "host-v1")}
    assert {"neos": swapped | {Way("", "mpls", "10.0.2.2", "host-v2")}} | {
        "eos": swapped | {Way("", "ipv4", "10.0.2.2", "host-v2")}
    } == site.label(105)
    assert [] == site.disagreements()


@pytest.mark.vpp
def test_a_replaced_label_forwards_anew_and_a_deleted_one_leaves_neither_entry(site: Site) -> None:
    site.router.ip("-f mpls route add 106 as 200 via inet 10.0.0.2")
    assert {NEXT._replace(labels="200")} == site.label(106)["eos"]
    site.router.ip("-f mpls route replace 106 via inet6 2001:db8:1::2 dev e1")
    assert {Way("", "ipv6", "2001:db8:1::2", "host-v1")} == site.label(106)["eos"]
    site.router.ip("-f mpls route replace 106 via inet 10.0.2.2")
    assert {Way("", "ipv4", "10.0.2.2", "host-v2")} == site.label(106)["eos"]
    site.router.ip("-f mpls route del 106")
    assert {} == site.label(106)
    assert [] == site.disagreements()


@pytest.mark.vpp
def test_what_ttl_propagate_says_does_not_change_where_a_label_goes(site: Site) -> None:
    site.router.ip("-f mpls route add 107 as 200 via inet 10.0.0.2 ttl-propagate enabled")
    site.router.ip("-f mpls route add 108 as 200 via inet 10.0.0.2 ttl-propagate disabled")
    assert {NEXT._replace(labels="200")} == site.label(107)["eos"] == site.label(108)["eos"]


@pytest.mark.vpp
def test_routes_push_labels_in_both_families(site: Site) -> None:
    site.router.ip(f"route add {P} encap mpls 300/301 via 10.0.0.2")
    site.router.ip(f"-6 route add {P6} encap mpls 300 via 2001:db8:1::2")
    site.mirror.settle()
    pushed = r"mpls-label\[uniform-mode,@\d+\]:\[300:64:0:neos\]\[301:64:0:eos\]"
    assert re.search(pushed, site.plane.vpp.ctl(f"show ip fib {P}"))
    assert ":[300:64:0:eos]" in site.plane.vpp.ctl(f"show ip6 fib {P6}")
    assert [] == site.disagreements()
    site.router.ip(f"route replace {P} via 10.0.0.2")
    site.mirror.settle()
    assert "mpls-label" not in site.plane.vpp.ctl(f"show ip fib {P}")
    assert [] == site.disagreements()


def test_several_ways_push_their_own_labels(router: Namespace, mirror: Mirror) -> None:
    router.ip(f"route add {P} nexthop encap mpls 300/301 via 10.0.0.2 nexthop encap mpls 77 via 10.0.1.2 weight 2")
    assert {Path("10.0.0.2", "e0", 1, "300/301"), Path("10.0.1.2", "e1", 2, "77")} == mirror.paths(P)
    assert [] == disagreements(mirror, router)


def test_a_label_over_a_link_that_goes_down_and_comes_back(router: Namespace, mirror: Mirror) -> None:
    hops = "nexthop as 300 via inet 10.0.0.2 nexthop as 301 via inet 10.0.1.2"
    router.ip(f"-f mpls route add 100 {hops}")
    router.ip("-f mpls route add 101 via inet 10.0.0.2")
    both = {Path("10.0.0.2", "e0", 1, "300"), Path("10.0.1.2", "e1", 1, "301")}
    assert both == mirror.paths("100", 0)
    router.ip("link set e0 down")
    assert {Path("10.0.1.2", "e1", 1, "301")} == mirror.paths("100", 0)
    assert None is mirror.paths("101", 0)
    assert [] == disagreements(mirror, router)
    router.ip("link set e0 up")
    mirror.until(lambda: carrier(mirror, "e0"))
    assert both == mirror.paths("100", 0)
    assert {Path("10.0.0.2", "e0")} == mirror.paths("101", 0)
    assert [] == disagreements(mirror, router)


def test_a_label_without_carrier_is_dropped_whatever_the_policy(
    router: Namespace, peer: Namespace, mirror: Mirror
) -> None:
    router.ip("-f mpls route add 101 via inet 10.0.0.2")
    router.ip(f"route add {P} via 10.0.0.2")
    assert {Path("10.0.0.2", "e0")} == mirror.paths("101", 0)
    peer.ip("link set p0 down")
    mirror.until(lambda: not carrier(mirror, "e0"))
    assert None is mirror.paths("101", 0)
    assert {Path("10.0.0.2", "e0")} == mirror.paths(P)
    peer.ip("link set p0 up")
    mirror.until(lambda: carrier(mirror, "e0"))
    assert {Path("10.0.0.2", "e0")} == mirror.paths("101", 0)


def test_a_deleted_link_takes_its_labels_along(router: Namespace, mirror: Mirror) -> None:
    router.ip("-f mpls route add 100 nexthop as 300 via inet 10.0.0.2 nexthop as 301 via inet 10.0.1.2")
    router.ip("-f mpls route add 101 via inet 10.0.0.2")
    mirror.settle()
    router.ip("link del e0")
    assert {Path("10.0.1.2", "e1", 1, "301")} == mirror.paths("100", 0)
    assert None is mirror.paths("101", 0)
    assert [] == disagreements(mirror, router)


def test_labels_beyond_a_smaller_limit_are_gone(router: Namespace, mirror: Mirror) -> None:
    router.ip("-f mpls route add 100 via inet 10.0.0.2")
    router.ip("-f mpls route add 900 via inet 10.0.0.2")
    mirror.settle()
    router.sysctl("net.mpls.platform_labels", 500)
    assert None is mirror.paths("900", 0)
    assert {Path("10.0.0.2", "e0")} == mirror.paths("100", 0)
    assert [] == disagreements(mirror, router)


def test_ways_that_differ_only_in_their_labels_are_not_installed(router: Namespace, mirror: Mirror) -> None:
    router.ip("-f mpls route add 100 nexthop as 300 via inet 10.0.0.2 nexthop as 301 via inet 10.0.0.2")
    assert None is mirror.paths("100", 0)
    assert [] == disagreements(mirror, router)
