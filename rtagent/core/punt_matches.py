"""Which packets of routing protocols look how: from their names to bytes and masks, for the exemption from the policer.

A match begins at the IP header, so the ports of IPv4 are found only behind a header without options; the protocols
that use options (IGMP, RSVP) are told by their number alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple, TypeAlias

from rtagent.vector.punt import Match

Network: TypeAlias = IPv4Network | IPv6Network

_TCP, _UDP = 6, 17
_TO_PORT = 2
"""Where the destination's port is, behind the source's."""


class _Protocol(NamedTuple):
    """A protocol of IP, and where it has some, its ports on either end."""

    number: int
    to_ports: tuple[int, ...] = ()
    from_ports: tuple[int, ...] = ()


PROTOCOLS: dict[str, tuple[_Protocol, ...]] = {
    "babel": (_Protocol(_UDP, (6696,)),),
    "bfd": (_Protocol(_UDP, (3784, 3785, 4784)),),
    "bgp": (_Protocol(_TCP, (179,), (179,)),),
    "dhcp": (_Protocol(_UDP, (67, 68, 546, 547)),),
    "igmp": (_Protocol(2),),
    "ldp": (_Protocol(_UDP, (646,)), _Protocol(_TCP, (646,), (646,))),
    "ospf": (_Protocol(89),),
    "pim": (_Protocol(103),),
    "rip": (_Protocol(_UDP, (520, 521)),),
    "rsvp": (_Protocol(46),),
    "ssh": (_Protocol(_TCP, (22,)),),
    "vrrp": (_Protocol(112),),
}
"""IANA's numbers, by the names that people write."""


class _Layout(NamedTuple):
    """Where an IP header has what; bytes from its beginning (RFC 791, RFC 8200)."""

    protocol: int
    source: int
    from_port: int
    vectors: int
    """How many times 16 bytes cover it, ports included."""


_LAYOUTS = {4: _Layout(9, 12, 20, 2), 6: _Layout(6, 8, 40, 3)}


def matches(names: Iterable[str], sources: Iterable[Network], version: int) -> tuple[Match, ...]:
    """Return what matches these protocols of an IP version, from these sources (none: from anywhere), sorted."""
    layout = _LAYOUTS[version]
    networks = list(sources)
    of_version: list[Network | None] = [network for network in networks if network.version == version]
    if not networks:
        of_version = [None]
    found = set()
    for name in names:
        for protocol in PROTOCOLS[name]:
            ends: list[tuple[int, int] | None] = [(_TO_PORT, port) for port in protocol.to_ports]
            ends += [(0, port) for port in protocol.from_ports]
            for end in ends or [None]:
                found |= {_match(layout, protocol.number, end, network) for network in of_version}
    return tuple(sorted(found))


def _match(layout: _Layout, protocol: int, end: tuple[int, int] | None, network: Network | None) -> Match:
    mask, value = bytearray(16 * layout.vectors), bytearray(16 * layout.vectors)
    mask[layout.protocol], value[layout.protocol] = 0xFF, protocol
    if end is not None:
        offset, port = layout.from_port + end[0], end[1]
        mask[offset : offset + 2], value[offset : offset + 2] = b"\xff\xff", port.to_bytes(2, "big")
    if network is not None:
        packed = network.network_address.packed
        mask[layout.source : layout.source + len(packed)] = network.netmask.packed
        value[layout.source : layout.source + len(packed)] = packed
    return Match(bytes(mask), bytes(value))
