"""What is counted in thousands, one immutable row each: links, addresses, neighbours, rules.

Only routes need columns (docs/decisions/0001): these rows are read by name, compared as values, and kept in mappings.
"""

from __future__ import annotations

from typing import NamedTuple

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_RUNNING = 0x40
IFF_LOWER_UP = 0x10000
"""linux/if.h."""

IFF_FORWARDING = IFF_UP | IFF_RUNNING | IFF_LOWER_UP
"""What the kernel revives or kills routes by: IPv4 by the first and the last, IPv6 by operational state, too."""

ETH_P_8021Q = 0x8100
ETH_P_8021AD = 0x88A8
"""linux/if_ether.h: the ethertypes of a customer's and a provider's VLAN tag."""

IFA_F_DADFAILED = 0x08
IFA_F_TENTATIVE = 0x40
IFA_F_NOPREFIXROUTE = 0x200
"""linux/if_addr.h."""

OPER_UNKNOWN = 0
OPER_UP = 6
"""RFC 2863 ifOperStatus, as IFLA_OPERSTATE numbers it."""

NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE = 0x02, 0x04, 0x08, 0x10
NUD_FAILED, NUD_NOARP, NUD_PERMANENT = 0x20, 0x40, 0x80
NUD_VALID = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY
"""linux/neighbour.h; in a state of NUD_VALID (net/neighbour.h) the kernel sends to the link-layer address."""

NTF_EXT_LEARNED = 0x10
NTF_EXT_MANAGED = 0x01 << 8
"""linux/neighbour.h; the extended flags (NDA_FLAGS_EXT) are shifted, as in the kernel's own neighbour table."""


class VlanTag(NamedTuple):
    """One VLAN tag of a frame."""

    protocol: int
    """ETH_P_8021Q or ETH_P_8021AD."""
    vlan: int
    """0 to 4095."""


class Tun(NamedTuple):
    """What a tap or tun device was made as (IFLA_TUN_*). Whether it is persistent, its notification tells too early."""

    is_tap: bool
    """A tap has frames, a tun has packets."""
    multi_queue: bool
    vnet_hdr: bool

    @property
    def adoptable(self) -> bool:
        """Whether VPP can be given it (tap_create_if in VPP's tap plugin)."""
        return self.multi_queue and self.vnet_hdr


class Link(NamedTuple):
    """A network interface (RTM_NEWLINK)."""

    ifindex: int
    name: str
    flags: int = 0
    mtu: int = 0
    mac: bytes = b""
    kind: str = ""
    """IFLA_INFO_KIND: "veth", "vlan", "vrf", … ; empty for hardware."""
    master: int = 0
    """The ifindex of the bridge, bond or VRF that this link is enslaved to, or 0."""
    parent: int = 0
    """IFLA_LINK: the ifindex below a VLAN or a tunnel; 0 without one, or with one in another network namespace."""
    table: int = 0
    """A VRF's table (IFLA_VRF_TABLE), else 0."""
    vlan: int = 0
    operstate: int = OPER_UNKNOWN
    vlan_protocol: int = 0
    """The ethertype of a VLAN's tag, else 0."""
    external: bool = False
    """Whether a tunnel device takes its addresses from the routes (collect metadata, ``encap ip``)."""
    altnames: tuple[str, ...] = ()
    """Other names that it is known by (``ip link property``)."""
    tun: Tun | None = None

    @property
    def up(self) -> bool:
        """Whether the operator wants it up (IFF_UP)."""
        return bool(self.flags & IFF_UP)

    @property
    def carrier(self) -> bool:
        """Whether the kernel regards the link as carrying traffic: what RTNH_F_LINKDOWN is the opposite of.

        netif_carrier_ok() shows as IFF_LOWER_UP.
        """
        return bool(self.flags & IFF_LOWER_UP)


class Address(NamedTuple):
    """An address on an interface (RTM_NEWADDR). ``local`` and ``peer`` are packed; peer is empty where it is equal."""

    family: int
    ifindex: int
    local: bytes
    length: int
    peer: bytes = b""
    flags: int = 0
    scope: int = 0


class Neighbor(NamedTuple):
    """An entry of the neighbour table (RTM_NEWNEIGH)."""

    family: int
    ifindex: int
    address: bytes
    mac: bytes = b""
    state: int = 0
    """NUD_* bits."""
    flags: int = 0
    """NTF_* bits, extended ones included."""


class Rule(NamedTuple):
    """A policy rule (RTM_NEWRULE)."""

    family: int
    priority: int
    action: int
    """FR_ACT_*, linux/fib_rules.h: to a table, to another rule, drop."""
    table: int
    selectors: str = ""
    """What the rule selects, in the words of ``ip rule``; empty where it selects everything."""
    protocol: int = 0
    goto: int = 0
    """The priority of the rule to go on with, where that is the action."""


class LabelInput(NamedTuple):
    """net.mpls.conf.*.input of one interface (RTM_NEWNETCONF): whether labelled packets are taken from it."""

    ifindex: int
    taken: bool = False


class LinkdownPolicy(NamedTuple):
    """net.ipv{4,6}.conf.*.ignore_routes_with_linkdown of one interface (RTM_NEWNETCONF)."""

    family: int
    ifindex: int
    """An interface, or -1 (NETCONFA_IFINDEX_ALL): either switches it on."""
    ignore_routes_with_linkdown: bool
