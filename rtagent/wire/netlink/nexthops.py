"""What a route does, out of its attributes: its next hops, one or several, each with what it puts around a packet."""

from __future__ import annotations

import struct

from rtagent.vector.nexthops import NH_DEAD, NH_ONLINK, Kind, Nexthop, NexthopGroup
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.netlink import constants as nl
from rtagent.wire.netlink.attributes import Attributes, attributes, u32
from rtagent.wire.netlink.encaps import encapsulation, labels

_KEPT_FLAGS = NH_DEAD | NH_ONLINK


def nexthop_group(kind: Kind, flags: int, values: Attributes) -> NexthopGroup:
    """Return what a route does, from its type, its flags and its attributes. Raises MalformedMessage."""
    nhid = u32(values[nl.RTA_NH_ID]) if nl.RTA_NH_ID in values else 0
    if kind not in (Kind.UNICAST, Kind.LOCAL, Kind.BROADCAST, Kind.ANYCAST, Kind.MULTICAST):
        return NexthopGroup(kind, (), nhid)
    if nl.RTA_MULTIPATH in values:
        parts = _multipath(values[nl.RTA_MULTIPATH])
    elif nl.RTA_OIF in values or nl.RTA_GATEWAY in values or nl.RTA_VIA in values:
        ifindex = u32(values[nl.RTA_OIF]) if nl.RTA_OIF in values else 0
        parts = [_nexthop(ifindex, 1, flags, values)]
    else:
        parts = []
    unsupported = next((why for _, why in parts if why), "")
    return NexthopGroup(kind, tuple(way for way, _ in parts), nhid, unsupported)


def _multipath(data: bytes) -> list[tuple[Nexthop, str]]:
    """Parse struct rtnexthop: u16 length, u8 flags, u8 hops (weight - 1), i32 ifindex, attributes."""
    parts = []
    at = 0
    while at + 8 <= len(data):
        length, flags, hops, ifindex = struct.unpack_from("<HBBI", data, at)
        if length < 8 or at + length > len(data):
            raise MalformedMessage(f"rtnexthop of {length} bytes at {at} of {len(data)}")
        parts.append(_nexthop(ifindex, hops + 1, flags, attributes(data[at + 8 : at + length])))
        at += (length + 3) & ~3
    return parts


def _nexthop(ifindex: int, weight: int, flags: int, values: Attributes) -> tuple[Nexthop, str]:
    via = values.get(nl.RTA_GATEWAY, b"")
    if nl.RTA_VIA in values:
        via = values[nl.RTA_VIA][2:]  # struct rtvia: u16 family, address
    if len(via) not in (0, 4, 16):
        raise MalformedMessage(f"a gateway of {len(via)} bytes")
    around = encapsulation(values, nl.RTA_ENCAP_TYPE, nl.RTA_ENCAP)
    pushed = around.labels or labels(values.get(nl.RTA_NEWDST, b""))
    return Nexthop(via, ifindex, weight, pushed, flags & _KEPT_FLAGS, encap=around.encap), around.unsupported
