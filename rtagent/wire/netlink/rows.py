"""Everything that is not a route: links, addresses, neighbours, nexthop objects, rules, netconf; one row a message."""

from __future__ import annotations

import struct
from collections.abc import Callable

from rtagent.vector.batch import Change, Row
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS
from rtagent.vector.links import Address, LabelInput, Link, LinkdownPolicy, Neighbor, Tun
from rtagent.vector.nexthops import Nexthop, NexthopObject
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.netlink import constants as nl
from rtagent.wire.netlink.attributes import Attributes, attribute_spans, attributes, u16, u32
from rtagent.wire.netlink.encaps import encapsulation
from rtagent.wire.netlink.rules import decode_rule

_NTF_PROXY = 0x08
_NTF_EXT_SHIFT = 8
"""Where the kernel itself puts the extended flags (net/core/neighbour.c)."""


def decode_row(message_type: int, body: bytes) -> Change | None:
    """Return the change that a message says, None where it says nothing of ours. Raises MalformedMessage."""
    parse, gone = _PARSERS[message_type]
    try:
        row = parse(body)
    except struct.error as error:
        raise MalformedMessage(f"message of type {message_type}: {error}") from None
    return None if row is None else Change(row, gone)


def _link(body: bytes) -> Row | None:
    """Parse struct ifinfomsg: u8 family, u8, u16 type, i32 index, u32 flags, u32 change."""
    family, _, ifindex, flags = struct.unpack_from("<BxHiI", body)
    if family == nl.AF_BRIDGE:
        return None  # a port joining or leaving a Linux bridge: the link itself stays
    values = attributes(body[16:])
    info = attributes(values.get(nl.IFLA_LINKINFO, b""))
    kind = _text(info.get(nl.IFLA_INFO_KIND, b""))
    metadata = nl.IFLA_COLLECT_METADATA.get(kind, 0)
    known = kind in ("vlan", "vrf", "tun") or metadata
    data = attributes(info.get(nl.IFLA_INFO_DATA, b"")) if known else {}
    return Link(
        ifindex,
        _text(values.get(nl.IFLA_IFNAME, b"")),
        flags,
        _number(values, nl.IFLA_MTU),
        values.get(nl.IFLA_ADDRESS, b""),
        kind,
        _number(values, nl.IFLA_MASTER),
        0 if nl.IFLA_LINK_NETNSID in values else _number(values, nl.IFLA_LINK),
        u32(data[nl.IFLA_VRF_TABLE]) if kind == "vrf" and nl.IFLA_VRF_TABLE in data else 0,
        u16(data[nl.IFLA_VLAN_ID]) if kind == "vlan" and nl.IFLA_VLAN_ID in data else 0,
        values[nl.IFLA_OPERSTATE][0] if values.get(nl.IFLA_OPERSTATE) else 0,
        int.from_bytes(data.get(nl.IFLA_VLAN_PROTOCOL, b"")[:2], "big") if kind == "vlan" else 0,
        external=_is_external(kind, metadata, data),
        altnames=_altnames(values.get(nl.IFLA_PROP_LIST, b"")),
        tun=_tun(data) if kind == "tun" else None,
    )


def _altnames(properties: bytes) -> tuple[str, ...]:
    spans = attribute_spans(properties)
    return tuple(_text(properties[start:end]) for kind, start, end in spans if kind == nl.IFLA_ALT_IFNAME)


def _tun(data: Attributes) -> Tun:
    def is_set(attribute: int) -> bool:
        return any(data.get(attribute, b""))

    is_tap = data.get(nl.IFLA_TUN_TYPE, b"")[:1] == bytes((nl.IFF_TAP,))
    return Tun(is_tap, is_set(nl.IFLA_TUN_MULTI_QUEUE), is_set(nl.IFLA_TUN_VNET_HDR))


def _address(body: bytes) -> Row | None:
    """Parse struct ifaddrmsg: u8 family, u8 prefixlen, u8 flags, u8 scope, u32 index."""
    family, length, flags, scope, ifindex = struct.unpack_from("<BBBBI", body)
    if family not in (AF_INET, AF_INET6):
        return None
    values = attributes(body[8:])
    address = values.get(nl.IFA_ADDRESS, b"")
    local = values.get(nl.IFA_LOCAL, address)
    if nl.IFA_FLAGS in values:
        flags = u32(values[nl.IFA_FLAGS])
    return Address(family, ifindex, local, length, b"" if address == local else address, flags, scope)


def _neighbor(body: bytes) -> Row | None:
    """Parse struct ndmsg: u8 family, 3 pad, i32 ifindex, u16 state, u8 flags, u8 type."""
    family, ifindex, state, flags = struct.unpack_from("<BxxxiHB", body)
    values = attributes(body[12:])
    address = values.get(nl.NDA_DST, b"")
    if family not in (AF_INET, AF_INET6) or not address or flags & _NTF_PROXY:
        return None
    flags |= _number(values, nl.NDA_FLAGS_EXT) << _NTF_EXT_SHIFT
    return Neighbor(family, ifindex, address, values.get(nl.NDA_LLADDR, b""), state, flags)


def _nexthop(body: bytes) -> Row | None:
    """Parse struct nhmsg: u8 family, u8 scope, u8 protocol, u8, u32 flags."""
    (flags,) = struct.unpack_from("<I", body, 4)
    values = attributes(body[8:])
    if nl.NHA_ID not in values or nl.NHA_FDB in values:
        return None
    nhid = u32(values[nl.NHA_ID])
    if nl.NHA_GROUP in values:
        data = values[nl.NHA_GROUP]  # struct nexthop_grp: u32 id, u8 weight - 1, u8 weight_high, u16
        members = tuple(
            (member, weight + 1 + (high << 8)) for member, weight, high in struct.iter_unpack("<IBBxx", data)
        )
        return NexthopObject(nhid, members=members)
    if nl.NHA_BLACKHOLE in values:
        return NexthopObject(nhid, blackhole=True)
    around = encapsulation(values, nl.NHA_ENCAP_TYPE, nl.NHA_ENCAP)
    via = values.get(nl.NHA_GATEWAY, b"")
    way = Nexthop(via, _number(values, nl.NHA_OIF), 1, around.labels, flags & 0x5, encap=around.encap)
    return NexthopObject(nhid, way, unsupported=around.unsupported)


def _netconf(body: bytes) -> Row | None:
    """Parse struct netconfmsg: u8 family; nothing but the policy, and of MPLS the input, is of interest."""
    family, values = _netconf_parts(body)
    if family == AF_MPLS and {nl.NETCONFA_IFINDEX, nl.NETCONFA_INPUT} <= values.keys():
        return LabelInput(u32(values[nl.NETCONFA_IFINDEX]), bool(_number(values, nl.NETCONFA_INPUT)))
    if not {nl.NETCONFA_IFINDEX, nl.NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN} <= values.keys():
        return None
    return _policy(family, values)


def _netconf_gone(body: bytes) -> Row | None:
    """Parse the same of RTM_DELNETCONF, which names the link and nothing else."""
    family, values = _netconf_parts(body)
    if nl.NETCONFA_IFINDEX not in values:
        return None
    return LabelInput(u32(values[nl.NETCONFA_IFINDEX])) if family == AF_MPLS else _policy(family, values)


def _netconf_parts(body: bytes) -> tuple[int, Attributes]:
    if not body:
        raise MalformedMessage("a netconf message without a family")
    return body[0], attributes(body[4:])


def _policy(family: int, values: Attributes) -> LinkdownPolicy:
    ifindex = u32(values[nl.NETCONFA_IFINDEX])
    ifindex -= (ifindex & 0x80000000) << 1  # signed: -1 is all, -2 the default of new links
    return LinkdownPolicy(family, ifindex, bool(_number(values, nl.NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN)))


def _is_external(kind: str, metadata: int, data: Attributes) -> bool:
    """VXLAN says 0 or 1, the others show a flag where it is set."""
    value = data.get(metadata)
    return value is not None and (kind != "vxlan" or any(value))


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "backslashreplace")


def _number(values: dict[int, bytes], attribute: int) -> int:
    return u32(values[attribute]) if attribute in values else 0


_PARSERS: dict[int, tuple[Callable[[bytes], Row | None], bool]] = {
    nl.RTM_NEWLINK: (_link, False),
    nl.RTM_DELLINK: (_link, True),
    nl.RTM_NEWADDR: (_address, False),
    nl.RTM_DELADDR: (_address, True),
    nl.RTM_NEWNEIGH: (_neighbor, False),
    nl.RTM_DELNEIGH: (_neighbor, True),
    nl.RTM_NEWNEXTHOP: (_nexthop, False),
    nl.RTM_DELNEXTHOP: (_nexthop, True),
    nl.RTM_NEWRULE: (decode_rule, False),
    nl.RTM_DELRULE: (decode_rule, True),
    nl.RTM_NEWNETCONF: (_netconf, False),
    nl.RTM_DELNETCONF: (_netconf_gone, True),
}
ROW_MESSAGES = frozenset(_PARSERS)
"""The message types that ``decode_row`` takes."""
