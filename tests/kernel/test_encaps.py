"""Encapsulating routes: decoded as iproute2 reads them back, followed, and taken for what the kernel does with them."""

from __future__ import annotations

import ipaddress
import random
from typing import Any

import pytest

from rtagent.vector.encaps import SrPolicy, Tunnel
from tests.kernel.mirror import IN_MEMORY, Mirror, Path

P, P6 = "198.51.100.0/24", "2001:db8:99::/48"
SEGMENTS = ("2001:db8:a::1", "2001:db8:a::2")


def encapsulations(mirror: Mirror) -> set[object]:
    return {key for key in mirror.mirror.objects.held if isinstance(key, SrPolicy | Tunnel)}


def policy(source: str, *segments: str) -> SrPolicy:
    return SrPolicy(tuple(map(packed, segments)), packed(source))


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def is_valid(mirror: Mirror, address: str) -> bool:
    """Whether an address was heard of and is not tentative (any more), which takes the kernel a moment."""
    return any(row.local == packed(address) and not row.flags & 0x40 for row in mirror.store.addresses.values())


def seg6(rng: random.Random, *, inline: bool) -> str:
    segments = ",".join(
        f"2001:db8:{rng.randrange(1, 1 << 16):x}::{rng.randrange(1, 9)}" for _ in range(rng.randint(1, 5))
    )
    modes = ("encap", "encap.red", "inline") if inline else ("encap", "encap.red")
    return f"encap seg6 mode {rng.choice(modes)} segs {segments}"


def ip(rng: random.Random, family: int) -> str:
    ends = [f"192.0.2.{rng.randrange(1, 255)}" if family == 4 else f"2001:db8::{rng.randrange(1, 255):x}" for _ in "12"]
    source = rng.choice(("", f" src {ends[1]}"))
    ttl, tos = ("ttl", "tos") if family == 4 else ("hoplimit", "tc")
    more = rng.choice(("", f" {ttl} {rng.randrange(1, 256)}", f" {tos} {rng.randrange(1, 256):x}"))
    return f"encap {'ip' if family == 4 else 'ip6'} id {rng.randrange(1 << 31)} dst {ends[0]}{source}{more}"


def shown(way: dict[str, Any]) -> str:
    """Return what ``ip -j route`` says of an encapsulation, in the words of ``ip route``."""
    if way["encap"] == "seg6":
        segments = way["segs"][:-1] if way["mode"] == "inline" else way["segs"]
        return f"seg6 mode {way['mode']} segs [ {' '.join(segments)} ]" + (
            f" hmac {way['hmac']}" if "hmac" in way else ""
        )
    ttl, tos = ("ttl", "tos") if way["encap"] == "ip" else ("hoplimit", "tc")
    return f"{way['encap']} id {way['id']} src {way['src']} dst {way['dst']} {ttl} {way[ttl]} {tos} {way[tos]}"


@IN_MEMORY
@pytest.mark.kernel("seg6")
def test_encapsulations_are_decoded_as_iproute2_reads_them(router, mirror):
    rng = random.Random(6)
    lines, expected = [], {}
    for number in range(40):
        kinds = [lambda: seg6(rng, inline=False), lambda: ip(rng, 4), lambda: ip(rng, 6)]
        ways = " ".join(f"nexthop {rng.choice(kinds)()} via 10.0.{link}.2 dev e{link}" for link in (0, 1))
        lines.append(f"route add 198.51.{number}.0/24 {ways if number % 3 else kinds[0]() + ' dev e0'}")
        lines.append(f"route add 2001:db8:9:{number:x}::/64 {seg6(rng, inline=True)} dev e0")
    lines.append(f"route add {P6} encap seg6 mode encap segs 2001:db8::9 hmac 7 dev e0")
    lines.append("nexthop add id 1 encap ip id 9 dst 192.0.2.9 dev e0")
    lines.append("route add 203.0.113.0/24 nhid 1")
    router.ip_batch(lines)
    mirror.settle()
    for family in ("-4", "-6"):
        for route in router.ip_json(f"{family} route"):
            ways = route.get("nexthops", [route])
            if any("encap" in way for way in ways) and "nhid" not in route:  # ip -j calls two things "dst" there
                expected[route["dst"]] = sorted(shown(way) for way in ways)
    found = {}
    keys = mirror.store.rib.table.keys
    for row, key in enumerate(keys):
        group = mirror.store.groups[int(mirror.store.rib.group[row])]
        if any(way.encap for way in group.nexthops) and not group.nhid:
            found[key.text] = sorted(way.encap.text for way in group.nexthops if way.encap)
    assert len(expected) == 81
    assert expected == found
    assert mirror.store.topology.nexthops[1].nexthop.encap.text == "ip id 9 src 0.0.0.0 dst 192.0.2.9 ttl 0 tos 0"


@pytest.mark.kernel("seg6")
def test_segments_become_a_policy_that_is_there_as_long_as_a_route_needs_it(router, mirror):
    router.ip(f"route add {P} encap seg6 mode encap segs {','.join(SEGMENTS)} dev e0")
    wanted = policy("2001:db8::1", *SEGMENTS)
    assert mirror.paths(P) == {Path("", wanted.text)}
    router.ip(f"-6 route add {P6} encap seg6 mode encap.red segs {','.join(SEGMENTS)} dev e0")
    assert mirror.paths(P6) == {Path("", wanted.text)}
    assert encapsulations(mirror) == {wanted}
    router.ip(f"route replace {P} encap seg6 mode encap segs {','.join(SEGMENTS[::-1])} dev e0")
    turned = policy("2001:db8::1", *SEGMENTS[::-1])
    assert mirror.paths(P) == {Path("", turned.text)}
    assert encapsulations(mirror) == {wanted, turned}
    router.ip(f"-6 route del {P6}")
    assert mirror.paths(P6) is None
    assert encapsulations(mirror) == {turned}
    router.ip(f"route replace {P} via 10.0.0.2")
    assert mirror.paths(P) == {Path("10.0.0.2", "e0")}
    assert encapsulations(mirror) == set()


@pytest.mark.kernel("seg6")
def test_the_source_of_segments_follows_the_addresses(router, mirror):
    router.ip(f"-6 route add {P6} encap seg6 mode encap segs fc00:1::1 dev e0")
    assert set(mirror.paths(P6)) == {Path("", policy("2001:db8::1", "fc00:1::1").text)}
    router.ip("addr add fc00:2::1/64 dev e1 nodad")  # not of that link, which counts for more than the kind of address
    assert set(mirror.paths(P6)) == {Path("", policy("2001:db8::1", "fc00:1::1").text)}
    router.ip("addr add fc00:1::9/64 dev e0 nodad")
    mirror.until(lambda: is_valid(mirror, "fc00:1::9"))
    assert set(mirror.paths(P6)) == {Path("", policy("fc00:1::9", "fc00:1::1").text)}
    router.ip("addr del fc00:1::9/64 dev e0")
    assert set(mirror.paths(P6)) == {Path("", policy("2001:db8::1", "fc00:1::1").text)}


@pytest.mark.kernel("seg6")
def test_plain_and_encapsulating_next_hops_share_a_route(router, mirror):
    router.ip(
        f"route add {P} nexthop via 10.0.1.2 weight 2 "
        f"nexthop encap seg6 mode encap segs {SEGMENTS[0]} via 10.0.0.2 nexthop encap seg6 mode encap "
        f"segs {SEGMENTS[1]} via 10.0.0.2 weight 3"
    )
    one, other = (policy("2001:db8::1", segment).text for segment in SEGMENTS)
    assert mirror.paths(P) == {Path("10.0.1.2", "e1", 2), Path("", one), Path("", other, 3)}


@pytest.mark.kernel("seg6")
def test_a_route_through_a_nexthop_object_that_encapsulates(router, mirror):
    router.ip(f"-6 nexthop add id 7 encap seg6 mode encap segs {SEGMENTS[0]} dev e0")
    router.ip(f"-6 route add {P6} nhid 7")
    assert mirror.paths(P6) == {Path("", policy("2001:db8::1", SEGMENTS[0]).text)}
    router.ip(f"-6 nexthop replace id 7 encap seg6 mode encap segs {SEGMENTS[1]} dev e0")
    assert mirror.paths(P6) == {Path("", policy("2001:db8::1", SEGMENTS[1]).text)}
    router.ip("nexthop del id 7")
    assert mirror.paths(P6) is None
    assert encapsulations(mirror) == set()


@IN_MEMORY
@pytest.mark.kernel("ipip")
def test_a_tunnel_device_that_takes_its_ends_from_the_routes(router, mirror):
    for name, kind in (
        ("t4", "ipip external"),
        ("t6", "ip6tnl external"),
        ("g4", "gre external"),
        ("p4", "ipip local 192.0.2.7 remote 192.0.2.8"),
    ):
        router.ip(f"link add {name} type {kind}")
        router.ip(f"link set {name} up")
    router.ip(f"route add {P} encap ip id 1 src 192.0.2.1 dst 192.0.2.9 tos b8 dev t4")
    assert mirror.paths(P) == {Path("", Tunnel(packed("192.0.2.1"), packed("192.0.2.9"), dscp=46).text)}
    router.ip(f"-6 route add {P6} encap ip6 src 2001:db8::1 dst 2001:db8::9 hoplimit 64 dev t6")
    six = Tunnel(packed("2001:db8::1"), packed("2001:db8::9"), copies_ttl=False)
    assert mirror.paths(P6) == {Path("", six.text)}
    assert encapsulations(mirror) == {Tunnel(packed("192.0.2.1"), packed("192.0.2.9"), dscp=46), six}
    for device, reason in (("g4", "gre tunnels by route"), ("p4", "no tunnel in external mode")):
        router.ip(f"route replace {P} encap ip id 1 src 192.0.2.1 dst 192.0.2.9 dev {device}")
        assert mirror.paths(P) is None
        state, why = mirror.state(P)
        assert (state, reason in why) == ("unsupported", True)
    assert encapsulations(mirror) == {six}
    router.ip(f"-6 route del {P6}")
    assert mirror.paths(P6) is None
    assert encapsulations(mirror) == set()
