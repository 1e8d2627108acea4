"""Lightweight tunnels (RTA_ENCAP_TYPE, RTA_ENCAP): what a next hop puts around a packet.

Layouts: linux/lwtunnel.h, linux/mpls_iptunnel.h, linux/seg6_iptunnel.h, linux/seg6.h; as the kernel fills them in
net/ipv4/ip_tunnel_core.c and net/ipv6/seg6_iptunnel.c. What is not known here is unsupported, attribute by attribute:
nothing that the kernel says about an encapsulation is passed over in silence.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from rtagent.vector.encaps import IpTunnel, KernelEncap, Seg6
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.netlink import constants as nl
from rtagent.wire.netlink.attributes import Attributes, attributes, u16

_SRH = struct.Struct("<BBBBBBH")
"""struct ipv6_sr_hdr: next header, length, type, segments left, last entry, flags, tag; then the segments."""
_SRH_FLAG_HMAC = 0x08
_TLV_HMAC = 5
_SEGMENT_BYTES = 16


class Around(NamedTuple):
    """What is put around a packet, or why that has no counterpart."""

    labels: tuple[int, ...] = ()
    """MPLS labels, outermost first."""
    encap: KernelEncap | None = None
    unsupported: str = ""


def labels(stack: bytes) -> tuple[int, ...]:
    """Return the labels of an MPLS stack (RFC 3032), outermost first."""
    words = struct.unpack(f">{len(stack) // 4}I", stack[: len(stack) & ~3])
    return tuple(word >> 12 for word in words)


def encapsulation(values: Attributes, type_attribute: int, attribute: int) -> Around:
    """Return what a nexthop's attributes say that it puts around a packet. Raises MalformedMessage."""
    if type_attribute not in values:
        return Around()
    tunnel = u16(values[type_attribute])
    if tunnel == 0:
        return Around()
    decode = _DECODERS.get(tunnel)
    if decode is None:
        return Around(unsupported=f"{nl.LWTUNNEL_NAMES.get(tunnel, f'unknown ({tunnel})')} encapsulation")
    return decode(attributes(values.get(attribute, b"")))


def _mpls(values: Attributes) -> Around:
    return Around(labels(values.get(nl.MPLS_IPTUNNEL_DST, b"")))


def _ip(values: Attributes) -> Around:
    return _tunnel(values, address_bytes=4)


def _ip6(values: Attributes) -> Around:
    return _tunnel(values, address_bytes=16)


def _tunnel(values: Attributes, *, address_bytes: int) -> Around:
    """The attributes of the two families have the same numbers; the flags are in network order."""
    destination = values.get(nl.LWTUNNEL_IP_DST, bytes(address_bytes))
    source = values.get(nl.LWTUNNEL_IP_SRC, b"")
    identity, flags = values.get(nl.LWTUNNEL_IP_ID, b""), values.get(nl.LWTUNNEL_IP_FLAGS, b"")
    ttl, tos = values.get(nl.LWTUNNEL_IP_TTL, b"\0"), values.get(nl.LWTUNNEL_IP_TOS, b"\0")
    if {len(destination), len(source) or address_bytes} != {address_bytes} or not ttl or not tos:
        raise MalformedMessage(f"a tunnel from {len(source)} to {len(destination)} bytes")
    if values.keys() - _KNOWN_OF_TUNNELS:
        return Around(unsupported="encapsulation with tunnel options")
    return Around(
        encap=IpTunnel(
            destination, source if any(source) else b"", ttl[0], tos[0],
            int.from_bytes(identity, "big"), int.from_bytes(flags, "big"),
        )
    )  # fmt: skip


def _seg6(values: Attributes) -> Around:
    """Parse struct seg6_iptunnel_encap: i32 mode, and the header as it goes around a packet: the last segment first."""
    data = values.get(nl.SEG6_IPTUNNEL_SRH, b"")
    if len(data) < 4 + _SRH.size:
        raise MalformedMessage(f"a segment routing encapsulation of {len(data)} bytes")
    number, header = int.from_bytes(data[:4], "little"), data[4:]
    _, _, _, _, last_entry, flags, tag = _SRH.unpack_from(header)
    end = _SRH.size + (last_entry + 1) * _SEGMENT_BYTES
    if end > len(header):
        raise MalformedMessage(f"{last_entry + 1} segments in {len(header)} bytes")
    mode = nl.SEG6_MODES.get(number)
    if mode is None or tag or flags & ~_SRH_FLAG_HMAC or values.keys() - {nl.SEG6_IPTUNNEL_SRH, nl.SEG6_IPTUNNEL_SRC}:
        return Around(unsupported=f"seg6 encapsulation of an unknown sort (mode {mode or number}, flags {flags:#x})")
    segments = [header[at : at + _SEGMENT_BYTES] for at in range(_SRH.size, end, _SEGMENT_BYTES)]
    if mode == "inline":
        segments = segments[1:]  # the packet's own destination is filled in here
    source = values.get(nl.SEG6_IPTUNNEL_SRC, b"")
    return Around(
        encap=Seg6(mode, tuple(reversed(segments)), _hmac(header[end:], flags), source if any(source) else b"")
    )


def _hmac(tlvs: bytes, flags: int) -> int:
    """Return the id of the key (RFC 8754, 2.1.2: u8 type, u8 length, u16, u32 id, …), 0 where nothing is signed."""
    if not flags & _SRH_FLAG_HMAC:
        return 0
    if len(tlvs) < 8 or tlvs[0] != _TLV_HMAC:
        raise MalformedMessage("a signed segment routing header without a key")
    return int.from_bytes(tlvs[4:8], "big")


_KNOWN_OF_TUNNELS = {
    nl.LWTUNNEL_IP_ID, nl.LWTUNNEL_IP_DST, nl.LWTUNNEL_IP_SRC, nl.LWTUNNEL_IP_TTL, nl.LWTUNNEL_IP_TOS,
    nl.LWTUNNEL_IP_FLAGS, nl.LWTUNNEL_IP_PAD,
}  # fmt: skip
_DECODERS: dict[int, Callable[[Attributes], Around]] = {
    nl.LWTUNNEL_ENCAP_MPLS: _mpls,
    nl.LWTUNNEL_ENCAP_IP: _ip,
    nl.LWTUNNEL_ENCAP_IP6: _ip6,
    nl.LWTUNNEL_ENCAP_SEG6: _seg6,
}
