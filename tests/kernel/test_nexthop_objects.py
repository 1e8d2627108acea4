"""Routes through nexthop objects (``ip nexthop``), as FRR installs them."""

import os

import pytest

from tests.kernel.mirror import Path
from tests.kernel.oracle import disagreements
from tests.lab.lab import wait_for

P, P6 = "198.51.100.0/24", "2001:db8:f::/48"
VIA = [Path(f"10.0.{port}.2", f"e{port}") for port in range(3)]


@pytest.fixture(params=[1, 0], ids=["compatible", "not compatible"])
def nexthops(request, router):
    router.sysctl("net.ipv4.nexthop_compat_mode", request.param)
    for port in range(3):
        router.ip(f"nexthop add id {port + 1} via 10.0.{port}.2 dev e{port}")


def test_a_group_keeps_the_weights_of_its_members(router, mirror, nexthops):
    router.ip("nexthop add id 10 group 1,3/2,5")
    router.ip(f"route add {P} nhid 10")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {VIA[0]._replace(weight=3), VIA[1]._replace(weight=5)}


def test_a_replaced_nexthop_changes_every_route_through_it(router, mirror, nexthops):
    router.ip("nexthop add id 10 group 1/2")
    router.ip(f"route add {P} nhid 10")
    router.ip("route add 203.0.113.0/24 nhid 1")
    mirror.settle()
    router.ip("nexthop replace id 1 via 10.0.2.9 dev e2")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {Path("10.0.2.9", "e2"), VIA[1]}
    assert mirror.paths("203.0.113.0/24") == {Path("10.0.2.9", "e2")}


def test_a_replaced_group_changes_every_route_through_it(router, mirror, nexthops):
    router.ip("nexthop add id 10 group 1/2")
    router.ip(f"route add {P} nhid 10")
    mirror.settle()
    router.ip("nexthop replace id 10 group 2/3")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {VIA[1], VIA[2]}


def test_a_deleted_member_leaves_the_others(router, mirror, nexthops):
    router.ip("nexthop add id 10 group 1/2")
    router.ip(f"route add {P} nhid 10")
    router.ip("route add 203.0.113.0/24 nhid 1")
    mirror.settle()
    router.ip("nexthop del id 1")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {VIA[1]}
    assert mirror.paths("203.0.113.0/24") is None
    router.ip("nexthop del id 2")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) is None


def test_a_deleted_group_takes_its_routes_along(router, mirror, nexthops):
    router.ip("nexthop add id 10 group 1/2")
    router.ip(f"route add {P} nhid 10")
    mirror.settle()
    router.ip("nexthop del id 10")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) is None


def test_a_blackhole_nexthop_drops(router, mirror, nexthops):
    router.ip("nexthop add id 20 blackhole")
    router.ip(f"route add {P} nhid 20")
    assert disagreements(mirror, router) == []
    assert mirror.type(P) == "blackhole"
    router.ip("nexthop replace id 20 via 10.0.0.2 dev e0")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {VIA[0]}


def test_a_resilient_group_has_the_same_members(router, mirror, nexthops):
    router.ip("nexthop add id 10 group 1/2 type resilient buckets 8")
    router.ip(f"route add {P} nhid 10")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {VIA[0], VIA[1]}


def test_forwarding_database_nexthops_are_none_of_ours(router, mirror, nexthops):
    router.ip("nexthop add id 30 via 10.0.0.2 fdb")
    router.ip("nexthop add id 31 group 30 fdb")
    mirror.settle()
    assert sorted(mirror.store.topology.nexthops) == [1, 2, 3]
    router.ip("nexthop del id 31")
    assert disagreements(mirror, router) == []


def test_a_link_down_takes_its_nexthops_and_their_routes_along(router, mirror, nexthops):
    router.ip("nexthop add id 10 group 1/2")
    router.ip(f"route add {P} nhid 10")
    router.ip("route add 203.0.113.0/24 nhid 1")
    mirror.settle()
    router.ip("link set e0 down")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {VIA[1]}
    assert mirror.paths("203.0.113.0/24") is None
    router.ip("link set e0 up")
    mirror.until(lambda: mirror.store.topology.links[2].flags & 0x40)
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {VIA[1]}


def test_a_lost_carrier_takes_nexthops_along_without_a_message(router, peer, mirror, nexthops):
    router.ip("nexthop add id 10 group 1/2")
    router.ip(f"route add {P} nhid 10")
    router.ip("route add 203.0.113.0/24 nhid 1")
    mirror.settle()
    peer.ip("link set p0 down")
    mirror.until(lambda: not mirror.store.topology.links[2].flags & 0x40)
    assert disagreements(mirror, router) == []


def test_ipv6_routes_follow_their_nexthop_objects(router, mirror, nexthops):
    for port in range(2):
        router.ip(f"nexthop add id {port + 11} via 2001:db8:{port}::2 dev e{port}")
    router.ip("nexthop add id 20 group 11,2/12")
    router.ip(f"-6 route add {P6} nhid 20")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P6) == {Path("2001:db8::2", "e0", 2), Path("2001:db8:1::2", "e1")}
    router.ip("nexthop replace id 11 via 2001:db8:2::2 dev e2")
    assert disagreements(mirror, router) == []
    router.ip("nexthop del id 12")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P6) == {Path("2001:db8:2::2", "e2")}


def test_an_ipv4_route_through_an_ipv6_nexthop_object_is_mirrored(router, mirror, nexthops):
    router.ip("nexthop add id 11 via 2001:db8::2 dev e0")
    router.ip(f"route add {P} nhid 11")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {Path("2001:db8::2", "e0")}


def test_a_route_moves_between_nexthop_objects_and_its_own_nexthops(router, mirror, nexthops):
    for command, paths in (
        (f"route add {P} nhid 1", {VIA[0]}),
        (f"route replace {P} nhid 2", {VIA[1]}),
        (f"route replace {P} via 10.0.2.2", {VIA[2]}),
        (f"route replace {P} nhid 1", {VIA[0]}),
        (f"route del {P}", None),
    ):
        router.ip(command)
        assert disagreements(mirror, router) == [], command
        assert mirror.paths(P) == paths, command


def test_a_route_goes_on_when_another_one_through_its_object_is_deleted(router, peer, mirror, nexthops):
    """Whatever ``ip route get`` says of it then: on the processor that it is asked on the kernel denies the route."""
    here = sorted(os.sched_getaffinity(0))
    peer.ip("addr add 2001:db8:f3::7/128 dev lo")
    router.ip("nexthop add id 11 via 2001:db8:1::2 dev e1")
    router.ip("-6 route add 2001:db8:f0::/48 nhid 11")
    router.ip("-6 route add 2001:db8:f3::/64 nhid 11")
    for processor in here:  # the packet takes this route first, wherever it is sent
        router.run("taskset", "-c", str(processor), "ip", "-6", "route", "get", "2001:db8:f0::7")
    router.ip("-6 route del 2001:db8:f0::/48")
    assert disagreements(mirror, router, ["2001:db8:f3::7"]) == []
    assert mirror.paths("2001:db8:f3::/64") == {Path("2001:db8:1::2", "e1")}
    wait_for(lambda: router.run("ping", "-6", "-q", "-c", "1", "-W", "1", "2001:db8:f3::7"), "an answer")
    for processor in here:
        router.run("taskset", "-c", str(processor), "ping", "-6", "-q", "-c", "1", "-W", "1", "2001:db8:f3::7")
