"""Policy rules: what a rule selects, in the words of ``ip rule``.

The text tells rules apart, so whatever the kernel says of a rule is in it: a selector that is not known here, too.
"""

from __future__ import annotations

import ipaddress
import struct

from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.links import Rule
from rtagent.wire.netlink import constants as nl
from rtagent.wire.netlink.attributes import Attributes, attributes, u32

_NOT_SELECTING = {nl.FRA_PRIORITY, nl.FRA_TABLE, nl.FRA_PROTOCOL, nl.FRA_GOTO, nl.FRA_PAD}
_WHOLE_MASK = 0xFFFFFFFF
_NO_SUPPRESSION = b"\xff\xff\xff\xff"
_NAMES = {nl.FRA_IIFNAME: "iif", nl.FRA_OIFNAME: "oif"}
_NUMBERS = {nl.FRA_FLOW: "realms", nl.FRA_SUPPRESS_IFGROUP: "suppress_ifgroup",
            nl.FRA_SUPPRESS_PREFIXLEN: "suppress_prefixlength"}  # fmt: skip
_RANGES = {nl.FRA_UID_RANGE: ("uidrange", "<II"), nl.FRA_SPORT_RANGE: ("sport", "<HH"),
           nl.FRA_DPORT_RANGE: ("dport", "<HH")}  # fmt: skip


def decode_rule(body: bytes) -> Rule | None:
    """Parse struct fib_rule_hdr: u8 family, dst_len, src_len, tos, table, 2 pad, action; u32 flags.

    None for a rule of multicast routing (RTNL_FAMILY_IPMR). Raises MalformedMessage or struct.error.
    """
    family, dst_len, src_len, tos, table, action, flags = struct.unpack_from("<BBBBBxxBI", body)
    if family not in (AF_INET, AF_INET6):
        return None
    values = attributes(body[12:])
    words = ["not"] if flags & nl.FIB_RULE_INVERT else []
    for name, kind, length in (("from", nl.FRA_SRC, src_len), ("to", nl.FRA_DST, dst_len)):
        if length:
            words.append(f"{name} {_prefix(values.get(kind, b''), length)}")
    words += [f"tos {tos:#04x}"] if tos else []
    words += [_selector(kind, values) for kind in sorted(values.keys() - _NOT_SELECTING)]
    return Rule(
        family,
        _number(values, nl.FRA_PRIORITY),
        action,
        _number(values, nl.FRA_TABLE) or table,
        " ".join(word for word in words if word),
        values.get(nl.FRA_PROTOCOL, b"\0")[0],
        _number(values, nl.FRA_GOTO),
    )


def _selector(kind: int, values: Attributes) -> str:
    """Return one attribute in words, empty where it selects nothing."""
    value = values[kind]
    if kind in (nl.FRA_SRC, nl.FRA_DST, nl.FRA_FWMASK):
        return ""  # said with the length of the prefix, with the mark
    if kind in (nl.FRA_SUPPRESS_PREFIXLEN, nl.FRA_SUPPRESS_IFGROUP) and value == _NO_SUPPRESSION:
        return ""
    if kind in _NAMES:
        return f"{_NAMES[kind]} {value.rstrip(bytes(1)).decode('utf-8', 'backslashreplace')}"
    if kind in _NUMBERS:
        return f"{_NUMBERS[kind]} {u32(value)}"
    if kind in _RANGES:
        name, layout = _RANGES[kind]
        first, last = struct.unpack_from(layout, value)
        return f"{name} {first}-{last}"
    if kind == nl.FRA_FWMARK:
        mark, mask = u32(value), _number(values, nl.FRA_FWMASK) or _WHOLE_MASK
        return f"fwmark {mark:#x}" + (f"/{mask:#x}" if mask != _WHOLE_MASK else "")
    if kind == nl.FRA_TUN_ID:
        return f"tun_id {int.from_bytes(value[:8], 'big')}"
    if kind == nl.FRA_IP_PROTO:
        return f"ipproto {value[0]}" if value else "ipproto"
    if kind == nl.FRA_L3MDEV:
        return "l3mdev"
    return f"attribute {kind}:{value.hex()}"


def _prefix(address: bytes, length: int) -> str:
    text = str(ipaddress.ip_address(address)) if len(address) in (4, 16) else address.hex()
    return text if length == 8 * len(address) else f"{text}/{length}"


def _number(values: Attributes, kind: int) -> int:
    return u32(values[kind]) if kind in values else 0
