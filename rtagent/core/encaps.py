"""From what the kernel puts around a packet to what a data plane can: a policy, a tunnel, or the reason why neither.

Two encapsulations that would not forward alike are never taken for one another (invariant 5). What is left to the data
plane is what nobody configures in the kernel: the flow label, the outer hop limit of a segment routing header, and
whether the first of several segments is repeated within it (RFC 8986, 5.2: encap.red is encap with a shorter header).

The source of a segment routing header is chosen as the kernel does (set_tun_src in net/ipv6/seg6_iptunnel.c): what
``ip sr tunsrc`` says, which is not told through rtnetlink and therefore a setting, else an address by RFC 6724.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rtagent.vector.encaps import DONT_FRAGMENT, TUNNEL_TTL, Encap, IpTunnel, KernelEncap, Seg6, SrPolicy, Tunnel
from rtagent.vector.fib import State
from rtagent.vector.keys import AF_INET, AF_INET6, TABLE_MAIN
from rtagent.vector.links import Address, Link

MAX_SEGMENTS = 16
"""vnet/srv6/sr.api: sids[16] of vl_api_srv6_sid_list_t."""

_CARRIES = {"ipip": (4, {AF_INET}), "ip6tnl": (16, {AF_INET, AF_INET6})}
"""By kind of tunnel device: the bytes of its outer addresses, and what it takes (net/ipv4/ipip.c, ip6_tunnel.c)."""

_GRE = ("gre", "ip6gre", "gretap", "ip6gretap")
"""VPP's gre plugin takes neither a code point nor "don't fragment" for a tunnel, and a VPP may come without it."""

_CODE_POINTS = frozenset((0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 46, 48))
"""vnet/ip/ip_types.api, ip_dscp: VPP's API takes and tells these, and no others (its CS7 is not that of RFC 2474)."""

_IFA_TENTATIVE, _IFA_DADFAILED, _IFA_DEPRECATED = 0x40, 0x08, 0x20
"""linux/if_addr.h."""
_GLOBAL = 0
_LABELS = tuple(
    (ipaddress.IPv6Network(prefix), label)
    for prefix, label in (
        ("2001:10::/28", 7), ("2001::/32", 6), ("::ffff:0:0/96", 4), ("::/96", 3), ("2002::/16", 2), ("fc00::/7", 5),
        ("::/0", 1),
    )
)  # fmt: skip
"""RFC 6724 labels as the kernel has them (net/ipv6/addrlabel.c), the longest prefix first."""


class Wrapping(NamedTuple):
    """What becomes of an encapsulation: an object to leave through, or the state of its route and why."""

    encap: Encap | None
    state: State = State.PENDING
    reason: str = ""


class Origin(NamedTuple):
    """Where encapsulated packets come from."""

    links: Mapping[int, Link]
    addresses: Iterable[Address]
    source: bytes = b""
    """The source of segment routing headers, empty where it is to be chosen."""


def wrap(encap: KernelEncap, ifindex: int, family: int, origin: Origin) -> Wrapping:
    """Return what a nexthop's encapsulation is for routes of a family; its link must exist."""
    link = origin.links[ifindex]
    if isinstance(encap, Seg6):
        return _policy(encap, link, family, origin)
    return _tunnel(encap, link, family)


def source_address(destination: bytes, ifindex: int, origin: Origin) -> bytes:
    """Return the IPv6 address that packets to ``destination`` over a link bear, empty where there is none.

    RFC 6724, rules 3, 5, 6 and 8; of several alike the smallest, where the kernel goes by the order of configuration.
    Within a VRF it is one of the VRF's: the link's own or else that of the VRF device, if either has any
    (ipv6_dev_get_saddr in net/ipv6/addrconf.c).
    """
    vrf = _vrf(ifindex, origin.links)
    usable = [
        address
        for address in origin.addresses
        if address.family == AF_INET6
        and _vrf(address.ifindex, origin.links) == vrf
        and address.scope == _GLOBAL
        and not address.flags & (_IFA_TENTATIVE | _IFA_DADFAILED)
    ]

    def rank(address: Address) -> tuple[bool, bool, bool, int, int]:
        alike = int.from_bytes(address.local, "big") ^ int.from_bytes(destination, "big")
        return (
            not address.flags & _IFA_DEPRECATED,
            address.ifindex == ifindex,
            _label(address.local) == _label(destination),
            min(128 - alike.bit_length(), address.length),
            -int.from_bytes(address.local, "big"),
        )

    for first in (ifindex, vrf) if vrf else ():
        usable = [address for address in usable if address.ifindex == first] or usable
    return max(usable, key=rank).local if usable else b""


def _policy(encap: Seg6, link: Link, family: int, origin: Origin) -> Wrapping:
    inline = encap.mode == "inline"
    if encap.mode.startswith("l2encap"):
        return _unsupported(f"seg6 mode {encap.mode}: VPP puts whole frames into segments by interface, not by route")
    if encap.hmac:
        return _unsupported("seg6 with hmac: VPP does not sign segment routing headers")
    if inline and family != AF_INET6:
        return _unsupported("seg6 mode inline is for IPv6")
    if not 0 < len(encap.segments) <= MAX_SEGMENTS:
        return _unsupported(f"seg6 with {len(encap.segments)} segments: VPP takes 1 to {MAX_SEGMENTS}")
    source = b""
    if not inline:
        source = encap.source or origin.source
        source = source or source_address(encap.segments[0], link.ifindex, origin)
        if not source:
            return Wrapping(None, State.PARKED, "no IPv6 address to send segment routing headers from")
    return Wrapping(SrPolicy(encap.segments, source, inline, _table(link, origin.links)))


def _tunnel(encap: IpTunnel, link: Link, family: int) -> Wrapping:
    version = "ip6" if len(encap.destination) == 16 else "ip"
    if not link.external:
        return _unsupported(f"encap {version}: {link.name} is no tunnel in external mode, the kernel would not tunnel")
    address_bytes, carried = _CARRIES.get(link.kind, (0, set()))
    if link.kind in _GRE:
        return _unsupported(
            f"encap {version} through {link.name}: {link.kind} tunnels by route need VPP's gre plugin, which is unused"
        )
    if len(encap.destination) != address_bytes or family not in carried:
        return _unsupported(f"encap {version} through {link.name}: {link.kind} tunnels by route have no counterpart")
    if link.master:
        return _unsupported(f"encap {version} through {link.name}: a tunnel within a VRF has no counterpart")
    if not encap.source or not any(encap.destination):
        return _unsupported(f"encap {version} without {'dst' if encap.source else 'src'}: VPP's tunnels need both ends")
    if encap.ttl not in (0, TUNNEL_TTL):
        return _unsupported(f"encap {version} with ttl {encap.ttl}: VPP writes {TUNNEL_TTL} or the packet's own")
    if encap.tos >> 2 not in _CODE_POINTS:
        return _unsupported(f"encap {version} with tos {encap.tos:#x}: VPP's API has no such code point")
    copies_dscp = encap.tos == 1 and version == "ip"  # ip_md_tunnel_xmit in net/ipv4/ip_tunnel.c
    dont_fragment = version == "ip" and bool(encap.flags & DONT_FRAGMENT)
    return Wrapping(Tunnel(encap.source, encap.destination, not encap.ttl, encap.tos >> 2, copies_dscp, dont_fragment))


def _table(link: Link, links: Mapping[int, Link]) -> int:
    """Return the table that packets of this link are routed by: its VRF's, else main."""
    master = links.get(link.master)
    return master.table if master is not None and master.kind == "vrf" else TABLE_MAIN


def _vrf(ifindex: int, links: Mapping[int, Link]) -> int:
    """Return the ifindex of the VRF that a link is, or belongs to; 0 outside of any."""
    link = links.get(ifindex)
    master = links.get(link.master) if link else None
    return next((each.ifindex for each in (link, master) if each is not None and each.kind == "vrf"), 0)


def _label(address: bytes) -> int:
    parsed = ipaddress.IPv6Address(address)
    return next(label for network, label in _LABELS if parsed in network)


def _unsupported(reason: str) -> Wrapping:
    return Wrapping(None, State.UNSUPPORTED, reason)
