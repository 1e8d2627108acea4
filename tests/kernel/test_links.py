"""Links that are renamed, enslaved, moved or odd, and the addresses on them."""

import subprocess

import numpy as np

from rtagent.vector.keys import AF_INET
from rtagent.vector.nexthops import NO_GROUP
from tests.kernel.mirror import IN_MEMORY, Mirror, Path
from tests.kernel.oracle import disagreements
from tests.lab.bulk import add_routes, gateways, prefixes4
from tests.lab.lab import wait_for


@IN_MEMORY
def test_a_renamed_link_is_the_same_port(router, mirror):
    router.ip("route add 198.51.100.0/24 via 10.0.0.2")
    mirror.settle()
    mirror.take_writes()
    router.ip("link set e0 name wan0")
    assert disagreements(mirror, router) == []
    assert mirror.paths("198.51.100.0/24") == {Path("10.0.0.2", "wan0")}
    assert mirror.take_writes() == []


def test_a_link_renamed_away_from_its_configured_pair_takes_its_routes_along(router):
    router.ip("route add 198.51.100.0/24 via 10.0.0.2")
    with Mirror(router.name, pairs={"e0": "port0", "e1": "port1"}) as mirror:
        assert mirror.paths("198.51.100.0/24") == {Path("10.0.0.2", "port0")}
        assert mirror.paths("10.0.2.0/24") is None
        router.ip("link set e0 name wan0")
        assert mirror.paths("198.51.100.0/24") is None
        assert mirror.state("198.51.100.0/24") == ("parked", "no pair for wan0")
        router.ip("link set wan0 name e0")
        assert mirror.paths("198.51.100.0/24") == {Path("10.0.0.2", "port0")}


def test_a_port_joining_and_leaving_a_bridge_stays_the_same_port(router, mirror):
    router.ip("route add 198.51.100.0/24 via 10.0.0.2")
    router.ip("link add br0 type bridge")
    mirror.settle()
    for command in ("link set e0 master br0", "link set e0 nomaster", "link set e0 master br0", "link del br0"):
        router.ip(command)
        assert disagreements(mirror, router) == []
        assert mirror.paths("198.51.100.0/24") == {Path("10.0.0.2", "e0")}


@IN_MEMORY
def test_a_route_over_a_bridge_is_mirrored(router, mirror):
    router.ip_batch(["link add br0 type bridge", "link set br0 up", "addr add 192.0.2.1/24 dev br0"])
    router.ip("link set e2 master br0")
    router.ip("route add 203.0.113.0/24 via 192.0.2.2")
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") == {Path("192.0.2.2", "br0")}


def test_a_link_moved_to_another_namespace_and_back_is_followed(network, mirror):
    router = network.router
    elsewhere = network.lab.namespace("elsewhere")
    router.ip("route add 198.51.100.0/24 via 10.0.0.2")
    router.ip("route add 2001:db8:f::/48 nexthop via 2001:db8::2 nexthop via 2001:db8:1::2")
    mirror.settle()
    router.ip(f"link set e0 netns {elsewhere.name}")
    assert disagreements(mirror, router) == []
    assert mirror.paths("198.51.100.0/24") is None
    assert mirror.paths("2001:db8:f::/48") == {Path("2001:db8:1::2", "e1")}
    elsewhere.ip(f"link set e0 netns {router.name}")
    router.ip_batch(["link set e0 up", "addr add 10.0.0.1/24 dev e0"])
    router.ip("route replace 198.51.100.0/24 nexthop via 10.0.0.2 nexthop via 10.0.1.2")
    assert disagreements(mirror, router) == []
    assert mirror.paths("198.51.100.0/24") == {Path("10.0.0.2", "e0"), Path("10.0.1.2", "e1")}


@IN_MEMORY
def test_a_route_over_a_tun_device_is_mirrored(router, mirror):
    router.ip_batch(["tuntap add tun0 mode tun", "link set tun0 up", "addr add 192.0.2.1/24 dev tun0"])
    router.ip_batch(["route add 203.0.113.0/24 dev tun0", "route add 2001:db8:f::/48 dev tun0"])
    assert disagreements(mirror, router) == []
    assert mirror.paths("203.0.113.0/24") == {Path("", "tun0")}
    router.ip("link del tun0")
    assert disagreements(mirror, router) == []


def test_a_peer_is_reachable_through_its_interface(router, mirror):
    router.ip("addr add 192.0.2.1 peer 192.0.2.2/32 dev e0")
    router.ip("addr add 2001:db8:a::1 peer 2001:db8:a::2/128 dev e0")
    wait_for(lambda: disagreements(mirror, router) == [], "agreement")  # the IPv6 address comes into use a moment later
    assert mirror.paths("192.0.2.2/32") == {Path("", "e0")}
    assert mirror.paths("2001:db8:a::2/128") == {Path("", "e0")}
    assert mirror.paths("192.0.2.1/32") is None


def test_routes_of_the_local_table_are_not_mirrored(router, mirror):
    router.ip("addr add 2001:db8:a::1/64 dev e0 nodad")
    assert [where for where in mirror.fib() if where[0] == 255] == []
    assert mirror.paths("10.0.0.1/32") is None
    assert mirror.paths("10.0.0.255/32") is None
    assert mirror.paths("2001:db8:a::1/128") is None


def test_an_anycast_service_is_punted(router, mirror):
    router.ip("route add local 198.51.100.0/24 dev lo")
    router.ip("-6 route add local 2001:db8:f::/48 dev lo")
    assert disagreements(mirror, router) == []
    assert mirror.type("198.51.100.0/24") == "local"
    assert mirror.type("2001:db8:f::/48") == "local"
    router.ip("route del local 198.51.100.0/24 dev lo")
    router.ip("-6 route del local 2001:db8:f::/48 dev lo table local")
    assert disagreements(mirror, router) == []
    assert mirror.type("198.51.100.0/24") is None


def test_the_local_table_comes_before_main_whatever_the_metrics_and_the_order(router, mirror):
    router.ip("route add 198.51.100.0/24 via 10.0.0.2")
    router.ip("-6 route add 2001:db8:f::/48 via 2001:db8::2 metric 20")
    assert mirror.type("198.51.100.0/24") == "unicast"
    router.ip("route add local 198.51.100.0/24 dev lo")
    router.ip("-6 route add local 2001:db8:f::/48 dev lo table local")
    assert disagreements(mirror, router) == []
    assert mirror.type("198.51.100.0/24") == mirror.type("2001:db8:f::/48") == "local"
    router.ip("route replace 198.51.100.0/24 via 10.0.1.2")
    router.ip("-6 route replace 2001:db8:f::/48 via 2001:db8:1::2 metric 20")
    assert mirror.type("198.51.100.0/24") == mirror.type("2001:db8:f::/48") == "local"
    router.ip("route del local 198.51.100.0/24 dev lo")
    router.ip("-6 route del local 2001:db8:f::/48 dev lo table local")
    assert disagreements(mirror, router) == []
    assert mirror.paths("198.51.100.0/24") == {Path("10.0.1.2", "e1")}


def test_an_ipv6_prefix_of_the_local_table_hides_longer_ones_of_main(router, mirror):
    longer = "2001:db8:f:1::/64"
    for table in (254, 100):
        router.ip(f"-6 route add {longer} via 2001:db8::2 table {table}")
    assert mirror.type(longer) == "unicast"
    router.ip("-6 route add local 2001:db8:f::/48 dev lo table local")
    assert disagreements(mirror, router) == []
    assert mirror.type(longer) is None
    assert mirror.state(longer) == ("shadowed", "shadowed by the local route 2001:db8:f::/48")
    assert mirror.type(longer, 100) == "unicast"
    router.ip("-6 route del local 2001:db8:f::/48 dev lo table local")
    assert disagreements(mirror, router) == []
    assert mirror.type(longer) == "unicast"


def test_an_ipv4_prefix_of_the_local_table_yields_to_longer_ones_of_main(router, mirror):
    router.ip("route add 198.51.100.128/25 via 10.0.0.2")
    router.ip("route add local 198.51.100.0/24 dev lo")
    assert disagreements(mirror, router) == []
    assert mirror.type("198.51.100.128/25") == "unicast"


def test_a_tentative_address_is_known_to_be_tentative_until_it_is_valid(router, mirror):
    def flags(text):
        found = [address.flags for address in mirror.store.addresses.values() if address.local.hex().endswith("beef")]
        return found[0] if found else None

    router.sysctl("net.ipv6.conf.e0.accept_dad", 1)
    router.ip("addr add 2001:db8::beef/64 dev e0")
    mirror.settle()
    assert flags("beef") & 0x40
    mirror.until(lambda: not flags("beef") & 0x40)
    assert disagreements(mirror, router) == []


@IN_MEMORY
def test_a_burst_of_links_leaves_the_same_state_as_a_fresh_dump(router, mirror):
    router.ip_batch([f"link add v{n} type veth peer name w{n}" for n in range(40)])
    router.ip_batch([f"link set v{n} up" for n in range(40)] + [f"addr add 10.1.{n}.1/24 dev v{n}" for n in range(40)])
    router.ip_batch([f"link del v{n}" for n in range(0, 40, 3)])
    assert disagreements(mirror, router) == []
    with Mirror(router.name) as fresh:
        assert mirror.fib() == fresh.fib()


def test_routes_that_the_kernel_is_still_flushing_are_gone_in_the_end(router):
    """The link's message comes first, then the routes go without one: a dump that begins at once sees some of them."""
    add_routes(router, prefixes4(300_000), gateways(AF_INET, 50), router.ip_json("link show e0")[0]["ifindex"])
    with Mirror(router.name, remember_writes=False) as mirror:
        links, rib = mirror.store.topology.links, mirror.store.rib
        with subprocess.Popen(["ip", "-n", router.name, "link", "set", "e0", "down"]):
            mirror.until(lambda: not next(link for link in links.values() if link.name == "e0").up)
            mirror.settle()
        assert router.ip("route show dev e0") == ""
        assert np.count_nonzero(rib.group[: rib.table.size] != NO_GROUP) < 100
