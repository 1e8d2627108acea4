"""Netlink attributes: length, type, value, padding; and the nexthops that are made of them."""

from __future__ import annotations

import struct

from rtagent.vector.nexthops import NH_DEAD, NH_ONLINK, Kind, Nexthop, NexthopGroup
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.netlink import constants as nl

Attributes = dict[int, bytes]

_KEPT_FLAGS = NH_DEAD | NH_ONLINK


def attributes(data: bytes) -> Attributes:
    """Return values by type (NLA_F_* bits taken off); of a repeated attribute the last. Raises MalformedMessage."""
    return {kind: data[start:end] for kind, start, end in attribute_spans(data)}


def attribute_spans(data: bytes) -> list[tuple[int, int, int]]:
    """Return (type, start, end) of each attribute's value in ``data``."""
    spans = []
    at, size = 0, len(data)
    while at + 4 <= size:
        length, kind = struct.unpack_from("<HH", data, at)
        if length < 4 or at + length > size:
            raise MalformedMessage(f"attribute {kind & nl.NLA_TYPE_MASK} of {length} bytes at {at} of {size}")
        spans.append((kind & nl.NLA_TYPE_MASK, at + 4, at + length))
        at += (length + 3) & ~3
    return spans


def u32(value: bytes) -> int:
    """Return an attribute's 32-bit number (host order). Raises MalformedMessage."""
    if len(value) < 4:
        raise MalformedMessage(f"a 32-bit attribute of {len(value)} bytes")
    return int.from_bytes(value[:4], "little")


def u16(value: bytes) -> int:
    """Return an attribute's 16-bit number (host order). Raises MalformedMessage."""
    if len(value) < 2:
        raise MalformedMessage(f"a 16-bit attribute of {len(value)} bytes")
    return int.from_bytes(value[:2], "little")


def labels(stack: bytes) -> tuple[int, ...]:
    """Return the labels of an MPLS stack (RFC 3032), outermost first."""
    words = struct.unpack(f">{len(stack) // 4}I", stack[: len(stack) & ~3])
    return tuple(word >> 12 for word in words)


def nexthop_group(kind: Kind, flags: int, values: Attributes) -> NexthopGroup:
    """Return what a route does, from its type, its flags and its attributes. Raises MalformedMessage."""
    nhid = u32(values[nl.RTA_NH_ID]) if nl.RTA_NH_ID in values else 0
    if kind not in (Kind.UNICAST, Kind.LOCAL, Kind.BROADCAST, Kind.MULTICAST):
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


def encapsulation(values: Attributes, type_attribute: int, attribute: int) -> tuple[tuple[int, ...], str]:
    """Return the labels that a lightweight tunnel pushes, or why it has no counterpart."""
    if type_attribute not in values:
        return (), ""
    tunnel = u16(values[type_attribute])
    if tunnel == 0:
        return (), ""
    if tunnel != nl.LWTUNNEL_ENCAP_MPLS:
        return (), f"{nl.LWTUNNEL_NAMES.get(tunnel, f'unknown ({tunnel})')} encapsulation"
    inner = attributes(values.get(attribute, b""))
    return labels(inner.get(nl.MPLS_IPTUNNEL_DST, b"")), ""


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
    pushed, unsupported = encapsulation(values, nl.RTA_ENCAP_TYPE, nl.RTA_ENCAP)
    pushed = pushed or labels(values.get(nl.RTA_NEWDST, b""))
    return Nexthop(via, ifindex, weight, pushed, flags & _KEPT_FLAGS), unsupported
