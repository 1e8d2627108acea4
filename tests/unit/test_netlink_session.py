"""Real messages of a 6.18 kernel, and what they say."""

import struct

import numpy as np
import pytest

from rtagent.vector.batch import Change, Dump, KernelBatch, UnsupportedRoute
from rtagent.vector.encaps import IpTunnel
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS
from rtagent.vector.links import Address, LabelInput, Link, LinkdownPolicy, Neighbor, Rule
from rtagent.vector.nexthops import Kind, Nexthop, NexthopGroup, NexthopGroups, NexthopObject
from rtagent.vector.routes import TOS_LOCAL_TABLE, Op
from rtagent.wire.netlink.requests import dump_request
from rtagent.wire.netlink.session import KernelError, NetlinkSession
from tests.rows import group, way
from tests.wire import DELROUTE, NEWROUTE, attribute, message, receive, routes

BIRD, BOOT, KERNEL = 12, 3, 2

ROUTES = {
    "ip route add 198.51.100.0/24 via 10.0.0.2 metric 20 proto bird": (
        "4400000018000006f809066bf248000002180000fe0c00010000000008000f00fe00000008000100c633640008000600140000000800"
        "05000a0000020800040003000000",
        (Op.SET, "198.51.100.0/24", 254, 20, 0, BIRD, group("10.0.0.2@3")),
    ),
    "ip route replace 198.51.100.0/24 metric 20 nexthop via 10.0.0.2 weight 3 nexthop via 10.0.0.3 weight 5": (
        "5800000018000001010a066b1249000002180000fe0300010000000008000f00fe00000008000100c633640008000600140000002400"
        "09001000000203000000080005000a0000021000000403000000080005000a000003",
        (Op.REPLACE, "198.51.100.0/24", 254, 20, 0, BOOT, group("10.0.0.2@3*3", "10.0.0.3@3*5")),
    ),
    "ip route del 198.51.100.0/24 metric 20": (
        "5800000019000000010a066b1349000002180000fe0300010000000008000f00fe00000008000100c633640008000600140000002400"
        "09001000000203000000080005000a0000021000000403000000080005000a000003",
        (Op.REMOVE, "198.51.100.0/24", 254, 20, 0, BOOT, group("10.0.0.2@3*3", "10.0.0.3@3*5")),
    ),
    "ip route add blackhole 203.0.113.0/24 table 100000": (
        "2c00000018000006010a066b1449000002180000fc0300060000000008000f00a086010008000100cb007100",
        (Op.SET, "203.0.113.0/24", 100000, 0, 0, BOOT, group(kind=Kind.BLACKHOLE)),
    ),
    "ip -6 route add 2001:db8:f::/48 via 2001:db8::2": (
        "8800000018000006010a066b154900000a300000fe0300010000000008000f00fe0000001400010020010db8000f0000000000000000"
        "000008000600000400001400050020010db8000000000000000000000002080004000300000024000c00000000000000000000000000"
        "00000000000000000000000000000000000000000500140000000000",
        (Op.SET, "2001:db8:f::/48", 254, 1024, 0, BOOT, group("2001:db8::2@3")),
    ),
    "ip -6 route append 2001:db8:f::/48 via 2001:db8::3": (
        "a80000001800000c010a066b164900000a300000fe0300010000000008000f00fe0000001400010020010db8000f0000000000000000"
        "000008000600000400003c0009001c000000030000001400050020010db80000000000000000000000031c0000000300000014000500"
        "20010db800000000000000000000000224000c0000000000000000000000000000000000000000000000000000000000000000000500"
        "140000000000",
        (Op.APPEND, "2001:db8:f::/48", 254, 1024, 0, BOOT, group("2001:db8::3@3", "2001:db8::2@3")),
    ),
    "ip route add local 192.0.2.0/24 dev lo": (
        "3400000018000006010a066b1849000002180000ff03fe020000000008000f00ff00000008000100c00002000800040001000000",
        (Op.SET, "192.0.2.0/24", 254, 0, TOS_LOCAL_TABLE, BOOT, group("@1", kind=Kind.LOCAL)),
    ),
    "ip addr add 10.0.0.1/24 dev e0": (
        "3c00000018000006000000000000000002200000ff02fe020000000008000f00ff000000080001000a000001080007000a0000010800"
        "040003000000",
        (
            Op.SET, "10.0.0.1/32", 254, 0, TOS_LOCAL_TABLE, KERNEL,
            group("@3", kind=Kind.LOCAL)._replace(source=bytes([10, 0, 0, 1])),
        ),
    ),
    "ip route add 192.0.3.0/24 encap ip id 1 dst 10.0.0.9 via 10.0.0.2": (
        "7c00000018000006010a066b1949000002180000fe0300010000000008000f00fe00000008000100c0000300080005000a0000020800"
        "040003000000380016000c0001000000000000000001080002000a000009080003000000000005000500000000000500040000000000"
        "06000600000000000600150002000000",
        (Op.SET, "192.0.3.0/24", 254, 0, 0, BOOT, group("10.0.0.2@3", encap=IpTunnel(b"\x0a\x00\x00\x09", identity=1))),
    ),
    "ip route add 192.0.4.0/24 via inet6 2001:db8::2 dev e0": (
        "4c00000018000006010a066b1a49000002180000fe0300010000000008000f00fe00000008000100c0000400160012000a0020010db8"
        "00000000000000000000000200000800040003000000",
        (Op.SET, "192.0.4.0/24", 254, 0, 0, BOOT, group("2001:db8::2@3")),
    ),
    "ip route add 192.0.5.0/24 nhid 10": (
        "5800000018000006010a066b2049000002180000fe0300010000000008000f00fe00000008000100c000050008001e000a0000002400"
        "09001000000203000000080005000a000002100000ff03000000080005000a000003",
        (Op.SET, "192.0.5.0/24", 254, 0, 0, BOOT, group("10.0.0.2@3*3", "10.0.0.3@3*256", nhid=10)),
    ),
}  # fmt: skip

ROWS = {
    "ip addr add 10.0.0.1/24 dev e0": (
        "4c00000014000000010a066b0e4900000218800003000000080001000a000001080002000a000001070003006530000008000800800000"
        "0014000600ffffffffffffffffb6550300b6550300",
        Change(Address(AF_INET, 3, b"\n\0\0\1", 24, flags=0x80)),
    ),
    "ip addr add 10.9.0.1 peer 10.9.0.2/32 dev e0": (
        "4c00000014000000010a066b0f4900000220800003000000080001000a090002080002000a090001070003006530000008000800800000"
        "0014000600ffffffffffffffffb6550300b6550300",
        Change(Address(AF_INET, 3, b"\n\x09\0\1", 32, b"\n\x09\0\2", 0x80)),
    ),
    "ip -6 addr add 2001:db8::1/64 dev e0 nodad": (
        "480000001400000000000000000000000a408200030000001400010020010db800000000000000000000000114000600ffffffffffffff"
        "ffb7550300b75503000800080082000000",
        Change(Address(AF_INET6, 3, way("2001:db8::1@3").via, 64, flags=0x82)),
    ),
    "ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev e0": (
        "4c0000001c000000000000001b490000020000000300000080000001080001000a0000020a000200020000000002000008000400000000"
        "001400030000000000000000000000000001000000",
        Change(Neighbor(AF_INET, 3, b"\n\0\0\2", b"\2\0\0\0\0\2", 0x80)),
    ),
    "ip nexthop add id 1 via 10.0.0.2 dev e0": (
        "3000000068000506010a066b1c49000002fd00000000000008000100010000000800050003000000080006000a000002",
        Change(NexthopObject(1, way("10.0.0.2@3"))),
    ),
    "ip nexthop add id 2 blackhole": (
        "2400000068000506010a066b1d4900000200000000000000080001000200000004000400",
        Change(NexthopObject(2, blackhole=True)),
    ),
    "ip nexthop add id 10 group 1,3/3,256": (
        "4400000068000506010a066b1f4900000000000000000000080001000a000000060003000000000014000200010000000200000003000000"
        "ff00000008000e0000000080",
        Change(NexthopObject(10, members=((1, 3), (3, 256)))),
    ),
    "sysctl net.ipv4.conf.e0.ignore_routes_with_linkdown=1": (
        "240000005000000000000000000000000200000008000100030000000800060001000000",
        Change(LinkdownPolicy(AF_INET, 3, True)),
    ),
    "sysctl net.mpls.conf.e0.input=1": (
        "240000005000000000000000000000001c0000000800010003000000" + "0800070001000000",
        Change(LabelInput(3, True)),
    ),
    "ip link del e0, said of mpls": (
        "1c000000510000000000000000000000" + "1c0000000800010003000000",
        Change(LabelInput(3, False), gone=True),
    ),
    "ip link del e0": (
        "1c0000005100000000000000000000000a0000000800010003000000",
        Change(LinkdownPolicy(AF_INET6, 3, False), gone=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", ROUTES)
def test_a_route_message_says_what_was_commanded(command):
    data, expected = ROUTES[command]
    groups = NexthopGroups()
    received = receive(bytes.fromhex(data), session=NetlinkSession(groups))
    assert routes(received, groups) == [expected]
    assert (received.messages, received.malformed, received.batch.changes) == (1, (), ())


@pytest.mark.parametrize("command", ROWS)
def test_another_message_says_what_was_commanded(command):
    data, expected = ROWS[command]
    received = receive(bytes.fromhex(data))
    assert received.batch.changes == (expected,)
    assert (received.messages, received.malformed, len(received.batch.routes)) == (1, (), 0)


def test_a_rule_is_told_apart_by_all_that_it_selects():
    data = (
        "4400000020000000010a066b2149000002000800640000010000000008000f006400000008000e00ffffffff050015000000000008000600f4"
        "010000080002000a000000"
    )
    (change,) = receive(bytes.fromhex(data)).batch.changes
    assert change == Change(Rule(AF_INET, 500, 1, 100, "from 10.0.0.0/8"))


SOURCE_SPECIFIC = bytes.fromhex(
    "9c00000018000006010a066b174900000a304000fe0300010000000008000f00fe0000001400010020010db8000e000000000000000000"
    "001400020020010db8000a0000000000000000000008000600000400001400050020010db80000000000000000000000020800040003000000"
    "24000c0000000000000000000000000000000000000000000000000000000000000000000500140000000000"
)


def test_a_source_specific_route_is_unsupported():
    received = receive(SOURCE_SPECIFIC)
    assert len(received.batch.routes) == 0
    assert received.batch.changes == (
        Change(UnsupportedRoute(
            AF_INET6, 254, "2001:db8:e::/48", "from 2001:db8:a::/64 metric 1024",
            "source-specific routes have no counterpart",
        )),
    )  # fmt: skip


def test_what_is_unsupported_keeps_its_order_whatever_its_message():
    removed = SOURCE_SPECIFIC[:4] + bytes([DELROUTE]) + SOURCE_SPECIFIC[5:]
    received = receive(removed, SOURCE_SPECIFIC, removed)
    assert [True, False, True] == [change.gone for change in received.batch.changes]


def test_messages_keep_their_order_whatever_their_shapes():
    groups = NexthopGroups()
    several = [bytes.fromhex(data) for data, _ in ROUTES.values()]
    received = receive(*several, *reversed(several), session=NetlinkSession(groups))
    expected = [row for _, row in ROUTES.values()]
    assert routes(received, groups) == expected + expected[::-1]


def test_several_messages_share_a_datagram():
    groups = NexthopGroups()
    together = b"".join(bytes.fromhex(data) for data, _ in ROUTES.values())
    received = receive(together, session=NetlinkSession(groups))
    assert routes(received, groups) == [row for _, row in ROUTES.values()]


def test_routes_of_a_dump_are_seen_not_set():
    groups = NexthopGroups()
    data = bytes.fromhex(next(iter(ROUTES.values()))[0])
    received = receive(data, dump=True, session=NetlinkSession(groups))
    assert [row[0] for row in routes(received, groups)] == [Op.SEEN]


LINK = struct.pack("<BxHiII", 0, 1, 3, 0x11043, 0) + attribute(3, b"e0\0") + attribute(4, struct.pack("<I", 1500))


def test_a_link_has_its_name_and_what_it_is_made_of():
    vlan = attribute(18, attribute(1, b"vlan\0") + attribute(2, attribute(1, struct.pack("<H", 100))))
    vrf = attribute(18, attribute(1, b"vrf\0") + attribute(2, attribute(1, struct.pack("<I", 1000))))
    mac = attribute(1, b"\2\0\0\0\0\1")
    parent, master = attribute(5, struct.pack("<I", 2)), attribute(10, struct.pack("<I", 9))
    received = receive(message(16, LINK + mac + parent + master + vlan), message(17, LINK + vrf))
    assert received.batch.changes == (
        Change(Link(3, "e0", 0x11043, 1500, b"\2\0\0\0\0\1", "vlan", 9, 2, 0, 100)),
        Change(Link(3, "e0", 0x11043, 1500, kind="vrf", table=1000), gone=True),
    )


def test_a_port_leaving_a_linux_bridge_is_no_news_of_its_link():
    assert receive(message(17, bytes([7]) + LINK[1:])).batch.changes == ()


def test_multicast_routing_is_passed_over():
    cache_entry = struct.pack("<BBBBBBBBI", 128, 32, 32, 0, 253, 17, 0, 5, 0) + attribute(1, b"\xef\1\1\1")
    in_inet6 = struct.pack("<BBBBBBBBI", 129, 128, 128, 0, 254, 17, 0, 5, 0) + attribute(1, bytes(16))
    rule = struct.pack("<BBBBBxxBI", 128, 0, 0, 0, 253, 1, 0)
    received = receive(message(24, cache_entry), message(24, in_inet6), message(32, rule), dump=True)
    assert (received.batch, received.malformed) == (KernelBatch(received.batch.routes), ())
    assert len(received.batch.routes) == 0


def test_a_rule_says_whatever_it_selects():
    body = struct.pack("<BBBBBxxBI", AF_INET, 0, 24, 0x10, 100, 1, 0x2)
    body += attribute(2, b"\xc0\0\2\0") + attribute(10, struct.pack("<I", 5)) + attribute(16, struct.pack("<I", 7))
    body += attribute(17, b"e1\0") + attribute(20, struct.pack("<II", 1, 9)) + attribute(22, b"\6")
    body += attribute(23, struct.pack("<HH", 80, 81)) + attribute(14, bytes(4)) + attribute(30, b"\1\2")
    (change,) = receive(message(32, body)).batch.changes
    said = "not from 192.0.2.0/24 tos 0x10 fwmark 0x5/0x7 suppress_prefixlength 0 oif e1 uidrange 1-9 ipproto 6"
    assert change.row.selectors == f"{said} sport 80-81 attribute 30:0102"


def test_neighbours_that_are_not_ours_are_passed_over():
    def neighbor(family=AF_INET, state=2, flags=0):
        return message(28, struct.pack("<BxxxiHBB", family, 3, state, flags, 1) + attribute(1, b"\n\0\0\2"))

    assert len(receive(neighbor()).batch.changes) == 1
    ignored = [neighbor(flags=0x08), neighbor(family=7)]  # a proxy's, a bridge's
    assert receive(*ignored).batch.changes == ()


def test_a_neighbour_has_its_extended_flags():
    head = struct.pack("<BxxxiHBB", AF_INET, 3, 0x04, 0x10, 1)
    managed = attribute(15, struct.pack("<I", 1))
    (change,) = receive(message(28, head + attribute(1, b"\n\0\0\2") + managed)).batch.changes
    assert change == Change(Neighbor(AF_INET, 3, b"\n\0\0\2", b"", 0x04, 0x10 | 0x100))


def mpls_route(*attributes):
    return message(
        NEWROUTE, struct.pack("<BBBBBBBBI", AF_MPLS, 20, 0, 0, 254, 4, 0, 1, 0) + b"".join(attributes), 0x600
    )


def test_a_label_route_swaps_or_pops():
    groups = NexthopGroups()
    label = attribute(1, struct.pack(">I", 100 << 12 | 0x100))
    via = attribute(18, struct.pack("<H", AF_INET) + b"\n\0\0\2")
    oif, swap = attribute(4, struct.pack("<I", 3)), attribute(19, struct.pack(">I", 200 << 12 | 0x100))
    received = receive(mpls_route(label, via, oif), mpls_route(label, via, oif, swap), session=NetlinkSession(groups))
    popped = Nexthop(b"\n\0\0\2", 3)
    assert routes(received, groups) == [
        (Op.SET, "100", 0, 0, 0, 4, NexthopGroup(Kind.UNICAST, (popped,))),
        (Op.SET, "100", 0, 0, 0, 4, NexthopGroup(Kind.UNICAST, (popped._replace(labels=(200,)),))),
    ]


@pytest.mark.parametrize(("what", "data"), [
    ("multicast cache entry", message(NEWROUTE, struct.pack("<BBBBBBBBI", 128, 32, 32, 0, 253, 17, 0, 5, 0))),
    ("cloned exception", message(NEWROUTE, struct.pack("<BBBBBBBBI", 2, 32, 0, 0, 254, 3, 0, 1, 0x200))),
    ("link-local prefix", message(NEWROUTE, struct.pack("<BBBBBBBBI", 10, 64, 0, 0, 254, 2, 0, 1, 0)
                                  + attribute(1, bytes.fromhex("fe80") + bytes(14)))),
    ("multicast prefix", message(NEWROUTE, struct.pack("<BBBBBBBBI", 10, 8, 0, 0, 255, 2, 0, 5, 0)
                                 + attribute(1, b"\xff" + bytes(15)))),
    ("unknown type", message(NEWROUTE, struct.pack("<BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 99, 0))),
    ("unknown message", message(200, b"")),
])  # fmt: skip
def test_what_is_no_route_of_ours_is_passed_over(what, data):
    received = receive(data)
    assert (received.messages, len(received.batch.routes), received.batch.changes, received.malformed) == (1, 0, (), ())


GOOD = bytes.fromhex(ROUTES["ip route add 198.51.100.0/24 via 10.0.0.2 metric 20 proto bird"][0])
ROUTE_HEADER = struct.pack("<BBBBBBBBI", 2, 24, 0, 0, 254, 3, 0, 1, 0)


@pytest.mark.parametrize(("data", "says"), [
    (message(NEWROUTE, b"\2\x18"), "route message of 18 bytes"),
    (message(NEWROUTE, ROUTE_HEADER + attribute(1, b"\n\0\0")), "RTA_DST of 3 bytes in family 2"),
    (message(NEWROUTE, ROUTE_HEADER + attribute(1, b"\n\0\0\0") + attribute(5, b"\n\0\0")), "a gateway of 3 bytes"),
    (message(NEWROUTE, ROUTE_HEADER + attribute(15, b"\0")), "attribute 15 is not 4 bytes long"),
    (message(NEWROUTE, ROUTE_HEADER + b"\x09\0\1\0\n\0\0\0"), "attribute 1 of 9 bytes at 0 of 8"),
    (message(NEWROUTE, ROUTE_HEADER + b"\2\0\1\0\n\0\0\0"), "attribute 1 of 2 bytes at 0 of 8"),
    (message(NEWROUTE, struct.pack("<BBBBBBBBI", 2, 33, 0, 0, 254, 3, 0, 1, 0)), "a prefix longer than its address"),
    (message(NEWROUTE, ROUTE_HEADER + attribute(9, b"\x20\0\0\0\3\0\0\0")), "rtnexthop of 32 bytes at 0 of 8"),
    (message(16, b"\0"), "message of type 16: unpack_from requires a buffer of at least 12 bytes"),
    (message(104, bytes(8) + attribute(1, b"\1")), "a 32-bit attribute of 1 bytes"),
    (message(104, bytes(8) + attribute(1, b"\1\0\0\0") + attribute(2, b"\1")), "message of type 104: iterative"),
])  # fmt: skip
def test_a_malformed_message_is_reported_and_those_around_it_are_decoded(data, says):
    groups = NexthopGroups()
    received = receive(GOOD, data, GOOD, session=NetlinkSession(groups))
    assert [str(error)[: len(says)] for error in received.malformed] == [says]
    assert len(received.batch.routes) == 2


@pytest.mark.parametrize("length", [0, 15, 69, 0xFFFFFFFF])
def test_a_datagram_is_left_at_a_message_that_does_not_fit(length):
    broken = struct.pack("<I", length) + GOOD[4:]
    received = receive(GOOD + broken, GOOD)
    assert len(received.batch.routes) == 2
    assert [str(error) for error in received.malformed] == [f"a message of {length} bytes in a datagram with 68 left"]


DONE = message(3, struct.pack("<i", 0), 2)


def test_a_dump_ends_well():
    received = receive(GOOD + DONE, dump=True)
    assert (received.done, received.interrupted, received.error) == (True, False, None)


def test_a_dump_that_ends_with_an_error_broke_off():
    """netlink_dump() puts the error of a dump that cannot go on into NLMSG_DONE (EMSGSIZE, say)."""
    received = receive(GOOD + message(3, struct.pack("<i", -90), 2), dump=True)
    assert (received.done, received.error) == (True, KernelError(90, "the dump broke off"))


@pytest.mark.parametrize("data", [GOOD[:6] + struct.pack("<H", 0x10) + GOOD[8:], DONE[:6] + b"\x12\0" + DONE[8:],
                                  message(4, b"")])  # fmt: skip
def test_an_inconsistent_dump_is_interrupted(data):
    assert receive(data, dump=True).interrupted


def test_an_error_carries_the_kernels_own_words():
    request = message(26, ROUTE_HEADER)
    text = attribute(1, b"Invalid prefix\0")
    whole = message(2, struct.pack("<i", -22) + request + text, 0x200)
    capped = message(2, struct.pack("<i", -22) + request[:16] + text, 0x300)
    bare = message(2, struct.pack("<i", -22) + request)
    expected = [KernelError(22, "Invalid prefix"), KernelError(22, "Invalid prefix"), KernelError(22, "")]
    assert [receive(data, dump=True).error for data in (whole, capped, bare)] == expected
    assert receive(message(2, struct.pack("<i", 0) + request[:16])).error is None


def test_freed_groups_are_forgotten():
    groups = NexthopGroups()
    session = NetlinkSession(groups)
    receive(GOOD, session=session)
    groups.keep(np.zeros(len(groups), bool))
    session.forget()
    assert routes(receive(GOOD, session=session), groups) == [ROUTES[next(iter(ROUTES))][1]]


def test_a_dump_request_is_one_strict_message():
    assert dump_request(Dump.ROUTES_INET6, 7).hex() == "1c0000001a00010307000000000000000a" + "00" * 11
    assert dump_request(Dump.LINKS, 8).hex() == "200000001200010308000000" + "00" * 20


def test_a_removal_is_a_removal_in_a_dump_too():
    groups = NexthopGroups()
    gone = GOOD[:4] + struct.pack("<H", DELROUTE) + GOOD[6:]
    assert [row[0] for row in routes(receive(gone, session=NetlinkSession(groups)), groups)] == [Op.REMOVE]
