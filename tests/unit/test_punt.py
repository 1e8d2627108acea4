"""What is wanted to be punted, from interfaces and settings; how protocols look; what others have put there."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtagent.core.objects import Objects
from rtagent.core.punt import LINK_GROUPS, PUNT_KINDS, Punting, host_addresses, in_the_way, punted
from rtagent.core.punt_matches import PROTOCOLS, matches
from rtagent.core.punt_settings import PuntSettings
from rtagent.core.resolve import Topology
from rtagent.core.store import Store
from rtagent.vector.fib import FibEntries
from rtagent.vector.interfaces import InterfaceAddress, Membership
from rtagent.vector.keys import AF_INET, AF_INET6, TABLE_MAIN
from rtagent.vector.links import IFA_F_TENTATIVE, IFF_LOOPBACK, IFF_UP, Address, Link
from rtagent.vector.nexthops import NexthopGroups
from rtagent.vector.objects import Held, ObjectKey
from rtagent.vector.ports import Port
from rtagent.vector.punt import (
    OTHERS,
    Ethertype,
    Group,
    LocalAddress,
    MulticastAccept,
    MulticastLocal,
    OsiProtocol,
    PolicerLimit,
    PuntExempt,
    PuntPolicer,
    TakesInet,
)

E0, E1 = 101, 102
SITE = Group(bytes((239, 0, 0, 0)), 8)
LINK, LINK6 = LINK_GROUPS


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def members(*interfaces: int, table: int = TABLE_MAIN) -> dict[ObjectKey, object]:
    return {Membership(each, family): table for each in interfaces for family in (AF_INET, AF_INET6)}


def address(text: str, interface: int = E0, table: int = TABLE_MAIN) -> InterfaceAddress:
    parsed = ipaddress.ip_interface(text)
    return InterfaceAddress(interface, table, parsed.ip.packed, parsed.network.prefixlen)


def of(kind: type, found: dict[ObjectKey, object]) -> set[ObjectKey]:
    return {key for key in found if type(key) is kind}


def test_each_table_gets_its_groups_and_each_port_is_taken_from_in_its_own() -> None:
    interfaces = members(E0) | members(E1, table=77)
    found = punted(interfaces, [E0, E1], PuntSettings(groups=(SITE,)), without_inet=())
    wanted = {MulticastLocal(table, group) for table in (TABLE_MAIN, 77) for group in (LINK, LINK6, SITE)}
    assert wanted == of(MulticastLocal, found)
    accepted = {MulticastAccept(E0, TABLE_MAIN, group) for group in (LINK, LINK6, SITE)}
    assert accepted | {MulticastAccept(E1, 77, group) for group in (LINK, LINK6, SITE)} == of(MulticastAccept, found)


def test_every_broadcast_address_is_local_and_of_a_host_route_there_is_none() -> None:
    rows = [address("10.0.0.1/24"), address("10.1.0.1/31"), address("10.2.0.1/32"), address("192.0.2.1/30", E1, 77)]
    wanted = members(E0) | members(E1, table=77) | dict.fromkeys([*rows, address("2001:db8::1/64")], True)
    expected = {
        LocalAddress(TABLE_MAIN, packed("255.255.255.255")),
        LocalAddress(77, packed("255.255.255.255")),
        LocalAddress(TABLE_MAIN, packed("10.0.0.255")),
        LocalAddress(77, packed("192.0.2.3")),
    }
    assert expected == of(LocalAddress, punted(wanted, [E0, E1], PuntSettings(), without_inet=()))


def test_a_port_without_an_ipv4_address_takes_ipv4_all_the_same() -> None:
    wanted = members(E0, E1, 103) | {address("10.0.0.1/24"): True, address("2001:db8::1/64", E1): True}
    assert {TakesInet(E1)} == of(TakesInet, punted(wanted, [E0, E1, 103], PuntSettings(), without_inet=[103]))


def test_what_is_configured_is_wanted_and_without_a_rate_there_is_no_policer() -> None:
    settings = PuntSettings(ethertypes=(0x88CC,), osi_protocols=(0x83,), rate_kbps=8_000, burst_ms=100, exempt=("bgp",))
    found = punted(members(E0), [E0], settings, without_inet=())
    assert {Ethertype(0x88CC), OsiProtocol(0x83)} <= found.keys()
    assert PolicerLimit(8_000, 100_000) == found[PuntPolicer()]
    assert matches(["bgp"], (), 6) == found[PuntExempt(AF_INET6)]
    without = punted(members(E0), [E0], PuntSettings(rate_kbps=0), without_inet=())
    assert not of(PuntPolicer, without) | of(PuntExempt, without)


def test_an_address_that_no_interface_has_is_local_in_the_tables_of_the_pairs_and_only_there() -> None:
    links = [
        Link(1, "lo", IFF_UP | IFF_LOOPBACK), Link(2, "e0", IFF_UP), Link(3, "mgmt", IFF_UP), Link(4, "down"),
        Link(5, "red", IFF_UP, kind="vrf", table=77), Link(6, "dummy0", IFF_UP, master=5), Link(7, "docker0", IFF_UP),
    ]  # fmt: skip
    topology = Topology()
    topology.links, topology.left_alone = {link.ifindex: link for link in links}, frozenset((7,))
    texts = {
        1: ["127.0.0.1/8", "::1/128", "203.0.113.1/32", "2001:db8:ff::1/128"],
        2: ["10.0.0.1/24", "fe80::1/64"],
        3: ["192.0.2.1/24"],
        4: ["192.0.2.9/24"],
        6: ["198.51.100.1/32"],
        7: ["172.17.0.1/16"],
    }
    rows = [of_host(ifindex, text) for ifindex, of_link in texts.items() for text in of_link]
    rows.append(of_host(3, "2001:db8::5/64", IFA_F_TENTATIVE))
    hosts = list(host_addresses(topology, rows))
    assert LocalAddress(77, packed("198.51.100.1")) in hosts
    wanted = members(E0) | {address("10.0.0.1/24"): True}
    expected = {"203.0.113.1", "2001:db8:ff::1", "192.0.2.1", "10.0.0.255", "255.255.255.255"}
    found = of(LocalAddress, punted(wanted, [E0], PuntSettings(), hosts))
    assert {LocalAddress(TABLE_MAIN, packed(text)) for text in expected} == found


def of_host(ifindex: int, text: str, flags: int = 0) -> Address:
    parsed = ipaddress.ip_interface(text)
    family = AF_INET if parsed.version == 4 else AF_INET6
    return Address(family, ifindex, parsed.ip.packed, parsed.network.prefixlen, b"", flags)


def punting(*links: Link) -> tuple[Punting, Objects]:
    store, objects = Store(NexthopGroups(), FibEntries()), Objects()
    store.topology.links = {link.ifindex: link for link in links}
    store.topology.pairs = {link.ifindex: 100 + link.ifindex for link in links}
    found = Punting(store, objects)
    found.ports = {100 + link.ifindex: Port(link.name, 100 + link.ifindex) for link in links}
    found.plugins = frozenset(("linux_cp", "policer"))
    for key, value in members(*found.ports).items():
        objects.want(key, value)
    return found, objects


def wanted_kinds(objects: Objects) -> set[type]:
    return {type(key) for key in objects.wanted} & {*PUNT_KINDS}


def test_without_linux_cp_nothing_is_punted_and_without_the_policer_plugin_nothing_is_policed() -> None:
    found, objects = punting(Link(1, "e0", IFF_UP))
    found.plugins = frozenset()
    found.update(objects, None)
    assert (set(), []) == (wanted_kinds(objects), found.notes)
    found.plugins = frozenset(("linux_cp",))
    found.update(objects, None)
    assert {MulticastLocal, MulticastAccept, LocalAddress, TakesInet} == wanted_kinds(objects)
    assert ["VPP's policer plugin is not loaded: a flood to the router is not limited"] == found.notes


def test_the_port_of_a_bridge_takes_no_packets_of_its_own_and_one_of_a_vrf_does() -> None:
    links = [Link(1, "e0", IFF_UP, master=3), Link(2, "e1", IFF_UP, master=4), Link(5, "e2", IFF_UP)]
    others = [Link(3, "br0", IFF_UP, kind="bridge"), Link(4, "red", IFF_UP, kind="vrf", table=77)]
    found, objects = punting(*links, *others)
    found.ports = {each: port for each, port in found.ports.items() if each not in (103, 104)}
    found.update(objects, None)
    assert {TakesInet(102), TakesInet(105)} == {key for key in objects.wanted if isinstance(key, TakesInet)}


def test_a_place_that_somebody_else_has_is_left_alone_and_noted() -> None:
    found, objects = punting(Link(1, "e0", IFF_UP))
    found.settings = PuntSettings(groups=(SITE,))
    theirs = [MulticastLocal(TABLE_MAIN, SITE), PuntPolicer(), PuntExempt(AF_INET)]
    objects.load({key: Held(OTHERS) for key in theirs} | {Ethertype(0x88CC): Held(True)})
    found.update(objects, None)
    assert not {*theirs, MulticastAccept(101, TABLE_MAIN, SITE), PuntExempt(AF_INET6)} & objects.wanted.keys()
    assert [
        "239.0.0.0/8 in table 254: somebody else has an entry for it in VPP",
        "the policer of what VPP punts is somebody else's",
        "the ACL of what VPP punts is somebody else's: no protocol passes by the policer",
    ] == found.notes
    changes = objects.changes(may_remove=True)
    changed = {change.key for stage in (*changes.before_routes, *changes.after_routes) for change in stage}
    assert not {*theirs, Ethertype(0x88CC)} & changed


def test_plugins_in_the_way_are_named_if_there_is_a_host_to_punt_to() -> None:
    assert [] == in_the_way({"ping", "igmp"})
    said = in_the_way({"ping", "igmp", "linux_cp", "policer"})
    assert ["VPP's ping plugin is loaded", "VPP's igmp plugin is loaded"] == [text.split(":")[0] for text in said]


def inet(protocol: int, source: str = "192.0.2.1", ports: tuple[int, int] = (0, 0)) -> bytes:
    header = bytes((0x45, *bytes(8), protocol, 0, 0)) + packed(source) + packed("192.0.2.2")
    return (header + b"".join(port.to_bytes(2, "big") for port in ports)).ljust(32, b"\x11")


def inet6(protocol: int, source: str = "2001:db8::1", ports: tuple[int, int] = (0, 0)) -> bytes:
    header = bytes((0x60, 0, 0, 0, 0, 0, protocol, 64)) + packed(source) + packed("2001:db8::2")
    return (header + b"".join(port.to_bytes(2, "big") for port in ports)).ljust(48, b"\x11")


def passes(packet: bytes, names: list[str], sources: tuple = ()) -> bool:
    version = packet[0] >> 4
    return any(
        bytes(byte & mask for byte, mask in zip(packet, match.mask, strict=True)) == match.value
        for match in matches(names, sources, version)
    )


@pytest.mark.parametrize("packet_of", [inet, inet6])
def test_a_protocol_is_told_by_its_number_and_its_ports(packet_of) -> None:
    assert passes(packet_of(6, ports=(40_000, 179)), ["bgp"])
    assert passes(packet_of(6, ports=(179, 40_000)), ["bgp"])
    assert not passes(packet_of(6, ports=(40_000, 22)), ["bgp"])
    assert not passes(packet_of(17, ports=(40_000, 179)), ["bgp"])
    assert passes(packet_of(17, ports=(49_152, 3784)), ["bgp", "bfd"])
    assert not passes(packet_of(17, ports=(3784, 49_152)), ["bfd"])
    assert passes(packet_of(89), ["ospf"])
    assert not passes(packet_of(88), ["ospf"])


def test_only_named_sources_pass_where_some_are_named() -> None:
    sources = (ipaddress.ip_network("192.0.2.0/24"),)
    assert passes(inet(6, "192.0.2.77", (1, 179)), ["bgp"], sources)
    assert not passes(inet(6, "192.0.3.77", (1, 179)), ["bgp"], sources)
    assert not passes(inet6(6, ports=(1, 179)), ["bgp"], sources)


_NAMES = st.lists(st.sampled_from(sorted(PROTOCOLS)), unique=True)
_SOURCES = st.lists(st.sampled_from(["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "0.0.0.0/0"]), unique=True)


@given(_NAMES, _SOURCES, st.sampled_from([4, 6]), st.randoms(use_true_random=False))
def test_matches_are_canonical_and_hold_no_bits_beside_their_masks(names, sources, version, rng) -> None:
    networks = [ipaddress.ip_network(text) for text in sources]
    found = matches(names, networks, version)
    rng.shuffle(names)
    rng.shuffle(networks)
    assert found == matches(names, networks, version)
    for match in found:
        assert len(match.mask) == len(match.value)
        assert match.value == bytes(value & mask for value, mask in zip(match.value, match.mask, strict=True))


_ADDRESSES = st.lists(
    st.builds(
        lambda host, length, interface: InterfaceAddress(
            interface, TABLE_MAIN, (0x0A000000 + host).to_bytes(4, "big"), length
        ),
        st.integers(1, 1 << 20), st.integers(8, 32), st.sampled_from([E0, E1]),
    )
)  # fmt: skip


@given(_ADDRESSES, st.randoms(use_true_random=False))
def test_the_order_in_which_addresses_came_does_not_matter(addresses, rng) -> None:
    first = members(E0, E1) | dict.fromkeys(addresses, True)
    rng.shuffle(addresses)
    second = members(E0, E1) | dict.fromkeys(addresses, True)
    found = punted(first, [E0, E1], PuntSettings(), without_inet=())
    assert found == punted(second, [E1, E0], PuntSettings(), without_inet=())
    taken = {key.interface for key in addresses}
    assert {TakesInet(each) for each in (E0, E1) if each not in taken} == of(TakesInet, found)
    broadcasts = {
        str(ipaddress.ip_network((key.address, key.length), strict=False).broadcast_address)
        for key in addresses
        if key.length < 31
    }
    held = {str(ipaddress.ip_address(key.address)) for key in of(LocalAddress, found)}
    assert broadcasts | {"255.255.255.255"} == held
