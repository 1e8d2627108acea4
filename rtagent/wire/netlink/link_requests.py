"""Requests that change links: settings, VLANs, other names, removal; each is answered by NLMSG_ERROR, 0 when done."""

from __future__ import annotations

import struct

from rtagent.vector.links import IFF_UP, VlanTag
from rtagent.wire.netlink import constants as nl

_NLA_F_NESTED = 0x8000
_ACKNOWLEDGED = nl.NLM_F_REQUEST | nl.NLM_F_ACK


def set_link(ifindex: int, *, mac: bytes = b"", mtu: int = 0, up: bool | None = None) -> bytes:
    """Return the message that sets a link's hardware address, MTU and state, each where it is given."""
    body = _ifinfo(ifindex, up) + (_attribute(nl.IFLA_ADDRESS, mac) if mac else b"")
    return _message(nl.RTM_NEWLINK, _ACKNOWLEDGED, body + (_number(nl.IFLA_MTU, mtu) if mtu else b""))


def add_vlan(name: str, parent: int, tag: VlanTag, *, up: bool) -> bytes:
    """Return the message that makes a VLAN link upon another."""
    data = _attribute(nl.IFLA_VLAN_ID, struct.pack("<H", tag.vlan))
    data += _attribute(nl.IFLA_VLAN_PROTOCOL, struct.pack(">H", tag.protocol))
    info = _attribute(nl.IFLA_INFO_KIND, b"vlan") + _attribute(nl.IFLA_INFO_DATA | _NLA_F_NESTED, data)
    body = _ifinfo(0, up) + _attribute(nl.IFLA_IFNAME, name.encode() + b"\0") + _number(nl.IFLA_LINK, parent)
    body += _attribute(nl.IFLA_LINKINFO | _NLA_F_NESTED, info)
    return _message(nl.RTM_NEWLINK, _ACKNOWLEDGED | nl.NLM_F_CREATE | nl.NLM_F_EXCL, body)


def add_altname(ifindex: int, altname: str) -> bytes:
    """Return the message that gives a link one more name (Linux 5.5)."""
    name = _attribute(nl.IFLA_ALT_IFNAME, altname.encode() + b"\0")
    body = _ifinfo(ifindex, None) + _attribute(nl.IFLA_PROP_LIST | _NLA_F_NESTED, name)
    return _message(nl.RTM_NEWLINKPROP, _ACKNOWLEDGED | nl.NLM_F_CREATE | nl.NLM_F_EXCL, body)


def delete_link(ifindex: int) -> bytes:
    """Return the message that removes a link."""
    return _message(nl.RTM_DELLINK, _ACKNOWLEDGED, _ifinfo(ifindex, None))


def _ifinfo(ifindex: int, up: bool | None) -> bytes:
    """Return struct ifinfomsg: u8 family, u8, u16 type, i32 index, u32 flags, u32 change."""
    return struct.pack("<BxHiII", 0, 0, ifindex, IFF_UP if up else 0, 0 if up is None else IFF_UP)


def _attribute(kind: int, value: bytes) -> bytes:
    return (struct.pack("<HH", 4 + len(value), kind) + value).ljust((4 + len(value) + 3) & ~3, b"\0")


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("<I", value))


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("<IHHII", 16 + len(body), kind, flags, 0, 0) + body
