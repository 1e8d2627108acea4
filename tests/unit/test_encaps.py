"""Encapsulations: decoded from bytes, resolved or refused with a reason, wanted as long as a route needs them."""

from __future__ import annotations

import ipaddress
import random

import numpy as np
import pytest

from rtagent.core.encap_objects import EncapObjects
from rtagent.core.encaps import MAX_SEGMENTS, Origin, Wrapping, source_address, wrap
from rtagent.core.objects import Objects
from rtagent.core.store import Store
from rtagent.vector.batch import Change, KernelBatch
from rtagent.vector.encaps import DONT_FRAGMENT, STEERING_TABLE, IpTunnel, Seg6, SrPolicy, Tunnel
from rtagent.vector.fib import FibEntries, FibEntry, FibKind, FibPath, State
from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.links import IFF_LOWER_UP, IFF_UP, Address, Link
from rtagent.vector.nexthops import NexthopGroups, NexthopObject
from rtagent.vector.routes import Op
from rtagent.wire import journal
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.netlink.encaps import encapsulation
from rtagent.wire.vapi.encaps import NOWHERE, EncapPaths, binding_of, is_ours, steered
from rtagent.wire.vapi.paths import PATH, decode_paths, encode_paths
from tests.rows import Route, delta, group, way

UP = IFF_UP | IFF_LOWER_UP
ENCAP_TYPE, ENCAP, SEG6, IP = 21, 22, 5, 2


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


ONE, TWO, SELF = packed("2001:db8:a::1"), packed("2001:db8:a::2"), packed("2001:db8::1")
LINKS = {
    1: Link(1, "e1", UP),
    2: Link(2, "t2", UP, kind="ipip", external=True),
    3: Link(3, "t3", UP, kind="ip6tnl", external=True),
    4: Link(4, "v4", UP, kind="vxlan", external=True),
    5: Link(5, "blue", UP, kind="vrf", table=7),
    6: Link(6, "e6", UP, master=5),
    7: Link(7, "t7", UP, kind="ipip"),
    8: Link(8, "t8", UP, kind="ipip", external=True, master=5),
    9: Link(9, "g9", UP, kind="gre", external=True),
}
ORIGIN = Origin(LINKS, [Address(AF_INET6, ifindex, SELF, 64) for ifindex in (1, 6)])
TO = IpTunnel(packed("192.0.2.9"), packed("192.0.2.1"))
TO6 = IpTunnel(ONE, SELF)


def srh(mode: int, *segments: bytes, flags: int = 0, tlvs: bytes = b"", last: int | None = None) -> bytes:
    """Return RTA_ENCAP's value; ``segments`` as they lie there, the last one first."""
    last = len(segments) - 1 if last is None else last
    header = bytes((0, (16 * len(segments) + len(tlvs)) // 8, 4, last & 0xFF, last & 0xFF, flags, 0, 0))
    value = mode.to_bytes(4, "little") + header + b"".join(segments) + tlvs
    return (len(value) + 4).to_bytes(2, "little") + b"\x01\x00" + value


def kind(value: object) -> str:
    """Return a name for a parameter: bytes make bad ones."""
    return type(value).__name__


def decoded(kind: int, value: bytes):
    return encapsulation({ENCAP_TYPE: kind.to_bytes(2, "little"), ENCAP: value}, ENCAP_TYPE, ENCAP)


@pytest.mark.parametrize(("value", "expected"), [
    (srh(1, TWO, ONE), Seg6("encap", (ONE, TWO))),
    (srh(0, bytes(16), TWO, ONE), Seg6("inline", (ONE, TWO))),
    (srh(3, ONE), Seg6("encap.red", (ONE,))),
    (srh(4, ONE), Seg6("l2encap.red", (ONE,))),
    (srh(1, ONE, flags=8, tlvs=bytes((5, 38, 0, 0, 0, 0, 0, 9)) + bytes(32)), Seg6("encap", (ONE,), hmac=9)),
    (srh(1, ONE) + bytes((20, 0, 2, 0)) + SELF, Seg6("encap", (ONE,), source=SELF)),
], ids=kind)  # fmt: skip
def test_segments_are_read_in_the_order_of_travel(value, expected):
    assert decoded(SEG6, value).encap == expected


@pytest.mark.parametrize("value", [
    srh(9, ONE), srh(1, ONE, flags=0x20), srh(1, ONE) + bytes((8, 0, 7, 0, 0, 0, 0, 0)),
], ids=kind)  # fmt: skip
def test_what_is_not_known_of_segments_is_unsupported(value):
    assert decoded(SEG6, value).encap is None
    assert decoded(SEG6, value).unsupported.startswith("seg6 encapsulation of an unknown sort")


@pytest.mark.parametrize(
    "value", [b"", srh(1, ONE, last=1), srh(1), srh(1, ONE, flags=8)[:-1], srh(1, ONE, flags=8)], ids=kind
)
def test_segments_that_are_cut_off_are_malformed(value):
    with pytest.raises(MalformedMessage):
        decoded(SEG6, value)


def test_mutated_encapsulations_are_decoded_or_malformed_and_nothing_worse():
    rng = random.Random(3)
    values = [srh(1, TWO, ONE), srh(0, bytes(16), ONE), srh(1, ONE, flags=8, tlvs=bytes((5, 38, *bytes(38))))]
    values.append(
        bytes.fromhex("0c000100000000000000000708000200c0000209080003000a00000105000500050000000500040009000000")
    )
    malformed = 0
    for _ in range(5_000):
        value = bytearray(rng.choice(values))
        for _ in range(rng.randrange(1, 4)):
            value[rng.randrange(len(value))] = rng.randrange(256)
        try:
            around = decoded(rng.choice((SEG6, IP, 4)), bytes(value[: rng.randrange(len(value) + 1)]))
        except MalformedMessage:
            malformed += 1
        else:
            assert around.encap is None or around.encap.text
    assert malformed > 500


@pytest.mark.parametrize(("encap", "link", "family", "expected"), [
    (Seg6("encap", (ONE, TWO)), 1, AF_INET, SrPolicy((ONE, TWO), SELF)),
    (Seg6("encap.red", (ONE, TWO)), 1, AF_INET6, SrPolicy((ONE, TWO), SELF)),
    (Seg6("inline", (ONE,)), 1, AF_INET6, SrPolicy((ONE,), inline=True)),
    (Seg6("encap", (ONE,), source=TWO), 1, AF_INET, SrPolicy((ONE,), TWO)),
    (Seg6("encap", (ONE,)), 6, AF_INET, SrPolicy((ONE,), SELF, table=7)),
    (TO, 2, AF_INET, Tunnel(TO.source, TO.destination)),
    (TO6, 3, AF_INET, Tunnel(SELF, ONE)),
    (TO6, 3, AF_INET6, Tunnel(SELF, ONE)),
    (TO._replace(ttl=64, tos=46 << 2), 2, AF_INET, Tunnel(TO.source, TO.destination, copies_ttl=False, dscp=46)),
    (TO._replace(tos=1), 2, AF_INET, Tunnel(TO.source, TO.destination, copies_dscp=True)),
    (TO._replace(flags=DONT_FRAGMENT), 2, AF_INET, Tunnel(TO.source, TO.destination, dont_fragment=True)),
])  # fmt: skip
def test_what_a_data_plane_can_express(encap, link, family, expected):
    assert wrap(encap, link, family, ORIGIN) == Wrapping(expected)


@pytest.mark.parametrize(("encap", "link", "family", "reason"), [
    (Seg6("l2encap", (ONE,)), 1, AF_INET6, "seg6 mode l2encap: VPP puts whole frames"),
    (Seg6("encap", (ONE,), hmac=4), 1, AF_INET6, "seg6 with hmac"),
    (Seg6("inline", (ONE,)), 1, AF_INET, "seg6 mode inline is for IPv6"),
    (Seg6("encap", (ONE,) * (MAX_SEGMENTS + 1)), 1, AF_INET6, "seg6 with 17 segments"),
    (TO, 1, AF_INET, "encap ip: e1 is no tunnel in external mode"),
    (TO, 7, AF_INET, "encap ip: t7 is no tunnel in external mode"),
    (TO, 2, AF_INET6, "encap ip through t2: ipip"),
    (TO6, 2, AF_INET, "encap ip6 through t2: ipip"),
    (TO, 4, AF_INET, "encap ip through v4: vxlan"),
    (TO, 8, AF_INET, "encap ip through t8: a tunnel within a VRF"),
    (TO, 9, AF_INET, "encap ip through g9: gre tunnels by route need VPP's gre plugin"),
    (TO._replace(source=b""), 2, AF_INET, "encap ip without src"),
    (TO._replace(destination=bytes(4)), 2, AF_INET, "encap ip without dst"),
    (TO._replace(ttl=9), 2, AF_INET, "encap ip with ttl 9"),
    (TO._replace(tos=4), 2, AF_INET, "encap ip with tos 0x4"),
])  # fmt: skip
def test_what_cannot_be_expressed_says_why(encap, link, family, reason):
    found = wrap(encap, link, family, ORIGIN)
    assert (found.encap, found.state) == (None, State.UNSUPPORTED)
    assert found.reason.startswith(reason)


def test_without_an_address_to_send_from_a_route_waits():
    assert wrap(Seg6("encap", (ONE,)), 1, AF_INET6, Origin(LINKS, [])).state is State.PARKED
    assert wrap(Seg6("encap", (ONE,)), 1, AF_INET6, Origin(LINKS, [], TWO)) == Wrapping(SrPolicy((ONE,), TWO))


@pytest.mark.parametrize(("addresses", "expected"), [
    ([], None),
    ([("2001:db8::1", 1, 0, 0x40)], None),  # tentative
    ([("fe80::1", 1, 253, 0)], None),  # link-local
    ([("2001:db8:f::1", 2, 0, 0), ("2001:db9::1", 1, 0, 0)], "2001:db9::1"),  # rule 5: of the link
    ([("2001:db8:a::9", 1, 0, 0x20), ("3fff::1", 2, 0, 0)], "3fff::1"),  # rule 3: not deprecated
    ([("fc00::1", 1, 0, 0), ("3fff::1", 1, 0, 0)], "3fff::1"),  # rule 6: of the same label
    ([("2001:db8:f::1", 1, 0, 0), ("2001:db8:a::9", 1, 0, 0)], "2001:db8:a::9"),  # rule 8: the longest prefix
    ([("2001:db8::2", 1, 0, 0), ("2001:db8::1", 1, 0, 0)], "2001:db8::1"),
])  # fmt: skip
def test_the_source_is_chosen_by_rfc_6724(addresses, expected):
    rows = [Address(AF_INET6, link, packed(a), 64, scope=scope, flags=flags) for a, link, scope, flags in addresses]
    assert source_address(ONE, 1, Origin(LINKS, rows)) == (packed(expected) if expected else b"")


@pytest.mark.parametrize(("addresses", "expected"), [
    ([(1, "2001:db8:a::1")], None),  # outside of the VRF
    ([(1, "2001:db8:a::1"), (8, "3fff::8")], "3fff::8"),
    ([(8, "2001:db8:a::8"), (5, "3fff::5")], "3fff::5"),  # the VRF's own before that of another of its links
    ([(8, "2001:db8:a::8"), (5, "2001:db8:a::5"), (6, "3fff::6")], "3fff::6"),  # the link's before all
])  # fmt: skip
def test_the_source_within_a_vrf_is_one_of_the_vrf(addresses, expected):
    rows = [Address(AF_INET6, link, packed(text), 64) for link, text in addresses]
    assert source_address(ONE, 6, Origin(LINKS, rows)) == (packed(expected) if expected else b"")


def test_a_policy_is_known_by_its_numbers():
    policies = [SrPolicy((ONE, TWO), SELF), SrPolicy((TWO, ONE), SELF), SrPolicy((ONE,), SELF), SrPolicy((ONE,), TWO),
                SrPolicy((ONE,), inline=True), SrPolicy((ONE,), SELF, table=7)]  # fmt: skip
    assert len({binding_of(policy) for policy in policies}) == len(policies)
    assert all(is_ours(binding_of(policy)) for policy in policies)
    assert [set(steered(policy)) for policy in policies[3:5]] == [{AF_INET, AF_INET6}, {AF_INET6}]
    assert all(0 < address[0] < 224 for policy in policies if (address := steered(policy).get(AF_INET)))


def test_a_path_through_a_policy_is_recursive_and_through_a_tunnel_attached():
    policy, tunnel, known = SrPolicy((ONE, TWO), SELF), Tunnel(TO.source, TO.destination), EncapPaths()
    known.add(policy, 0)
    known.add(tunnel, 9)
    entry = FibEntry(FibKind.UNICAST, tuple(FibPath(family=AF_INET, encap=encap) for encap in (policy, tunnel)))
    packed_list = encode_paths(entry, AF_INET, encaps=known)
    rows = np_paths(packed_list)
    assert [(row["sw_if_index"], row["table_id"]) for row in rows] == [(0xFFFFFFFF, STEERING_TABLE), (9, 0)]
    assert decode_paths(packed_list, AF_INET, known) == entry
    known.discard(policy)
    known.discard(tunnel)
    assert decode_paths(packed_list[:167], AF_INET, known).paths == (FibPath(steered(policy)[AF_INET]),)
    assert [row["sw_if_index"] for row in np_paths(encode_paths(entry, AF_INET, encaps=known))] == [NOWHERE, NOWHERE]


def np_paths(packed_list: bytes):
    return np.frombuffer(packed_list, PATH)


def test_a_policy_never_takes_anothers_place():
    policy, other, known = SrPolicy((ONE,), SELF), SrPolicy((TWO,), SELF), EncapPaths()
    known.add(policy, 0)
    assert (known.taken(policy), known.taken(other)) == (False, False)
    known._policies[steered(other)[AF_INET]] = policy
    assert known.taken(other)


@pytest.mark.parametrize("encap", [
    None, SrPolicy((ONE, TWO), SELF, table=7), SrPolicy((ONE,), inline=True), Tunnel(SELF, ONE, dscp=8),
])  # fmt: skip
def test_a_journal_tells_entries_with_their_encapsulation(encap):
    entry = FibEntry(FibKind.UNICAST, (FibPath(family=AF_INET, encap=encap),))
    told = journal.decode_json(journal.encode_json(journal.entry_fields(entry)))
    assert journal.entry_of(told) == entry


class World:
    """A store with LINKS and an address, and the objects that it wants."""

    def __init__(self):
        self.store = Store(NexthopGroups(), FibEntries())
        self.objects = Objects()
        self.wants = EncapObjects(self.store, self.objects)
        self.change(*LINKS.values(), Address(AF_INET6, 1, SELF, 64))

    def change(self, *rows, gone=False):
        self.store.apply(KernelBatch(changes=tuple(Change(row, gone) for row in rows)))

    def wanted(self, *routes):
        if routes:
            self.store.apply(KernelBatch(delta(self.store.groups, *routes)))
        self.wants.update(self.objects, self.store.take_changed())
        return set(self.objects.wanted)


def test_what_no_route_needs_any_more_is_not_wanted_any_more():
    world, one, two = World(), SrPolicy((ONE,), SELF), SrPolicy((TWO,), SELF)
    assert world.wanted() == set()
    via_one, via_two = group("@1", encap=Seg6("encap", (ONE,))), group("@1", encap=Seg6("encap", (TWO,)))
    assert world.wanted(Route("10.0.0.0/8", via_one), Route("11.0.0.0/8", via_one)) == {one}
    assert world.wanted(Route("10.0.0.0/8", via_two, Op.REPLACE)) == {one, two}
    assert world.wanted(Route("11.0.0.0/8", via_one, Op.REMOVE)) == {two}
    assert world.wanted(Route("10.0.0.0/8", group("@2", encap=TO), Op.REPLACE)) == {Tunnel(TO.source, TO.destination)}
    assert world.wanted(Route("10.0.0.0/8", group("@1"), Op.REPLACE)) == set()


def test_a_nexthop_object_is_wanted_through():
    world = World()
    world.change(NexthopObject(5, way("@1")._replace(encap=Seg6("encap", (ONE,)))))
    assert world.wanted(Route("10.0.0.0/8", group("@1", nhid=5))) == {SrPolicy((ONE,), SELF)}
    world.change(NexthopObject(5, way("@1")._replace(encap=Seg6("encap", (TWO,)))))
    assert world.wanted() == {SrPolicy((TWO,), SELF)}
    world.change(NexthopObject(5), gone=True)
    assert world.wanted() == set()


def test_another_address_makes_another_policy():
    world = World()
    assert world.wanted(Route("10.0.0.0/8", group("@1", encap=Seg6("encap", (ONE,))))) == {SrPolicy((ONE,), SELF)}
    world.change(Address(AF_INET6, 1, TWO, 64))
    assert world.wanted() == {SrPolicy((ONE,), TWO)}
