"""VPP's interfaces as ports, each with the kernel's side of its pair where linux-cp has made one.

Both are read one after the other. VPP tells of each interface that comes or goes, the host side of a pair included, so
a pair that came between the two readings is read soon again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtagent.sinks.vapi import VapiClient
from rtagent.sinks.vpp_interfaces import port_tags
from rtagent.sinks.vpp_tunnels import is_our_tunnel
from rtagent.vector.interfaces import OURS
from rtagent.vector.ports import NO_INTERFACE, HostLink, Port, PortKind
from rtagent.wire.vapi.definitions import PAIRING

HOST_SIDE = f"{OURS}-pair"
"""The mark of the host side of a pair of ours: a VLAN's is a sub-interface, and must not pass for one we made."""
_MTU_L3 = 0
_ADMIN_UP, _LINK_UP = 1, 2
"""IF_STATUS_API_FLAG_*, vnet/interface_types.api."""
_TUN = 1
"""LCP_API_ITF_HOST_TUN, linux-cp/lcp.api."""
_NO_MAC = bytes(6)
_KINDS = {
    "local": PortKind.INTERNAL,
    "bond": PortKind.BOND,
    "Loopback": PortKind.LOOPBACK,
    "BVI": PortKind.BVI,
    "GENEVE": PortKind.TUNNEL,
    "GRE tunnel device": PortKind.TUNNEL,
    "GTPU": PortKind.TUNNEL,
    "IPIP tunnel device": PortKind.TUNNEL,
    "IPSEC Tunnel": PortKind.TUNNEL,
    "L2TPv3": PortKind.TUNNEL,
    "MPLS tunnel device": PortKind.TUNNEL,
    "Pipe": PortKind.INTERNAL,
    "VXLAN": PortKind.TUNNEL,
    "VXLAN_GPE": PortKind.TUNNEL,
    "Wireguard Tunnel": PortKind.TUNNEL,
    "ip6ip-6rd": PortKind.TUNNEL,
}
"""Names of VPP's device classes (VNET_DEVICE_CLASS); any other is hardware, or stands for it."""


def has_pairing(client: VapiClient) -> bool:
    """Whether this VPP has linux-cp's messages as we know them."""
    return client.messages.numbers.keys() >= PAIRING.keys()


async def read_ports(client: VapiClient) -> dict[str, Port]:
    """Return VPP's interfaces by name."""
    details = await client.dump("sw_interface_dump", "sw_interface_details", sw_if_index=NO_INTERFACE)
    pairs = await client.get("lcp_itf_pair_get", "lcp_itf_pair_details") if has_pairing(client) else []
    owners = {row.sw_if_index: row.tag for row in details}
    links = {row.phy_sw_if_index: _link(row, owners) for row in pairs}
    hosts = {row.host_sw_if_index for row in pairs}
    return {row.interface_name: _port(row, links, hosts) for row in details}


def _port(row: Any, links: Mapping[int, HostLink], hosts: set[int]) -> Port:
    interface, is_sub = row.sw_if_index, row.sup_sw_if_index != row.sw_if_index
    mac = bytes(row.l2_address)
    kind = _KINDS.get(row.interface_dev_type, PortKind.PHYSICAL)
    if hosts & {interface, row.sup_sw_if_index} or is_our_tunnel(row.interface_name):
        kind = PortKind.INTERNAL
    elif is_sub:
        kind = PortKind.SUB
    return Port(
        row.interface_name,
        interface,
        up=bool(row.flags & _ADMIN_UP),
        link_up=bool(row.flags & _LINK_UP),
        mac=b"" if is_sub or mac == _NO_MAC else mac,
        mtu=row.mtu[_MTU_L3],
        parent=row.sup_sw_if_index if is_sub else NO_INTERFACE,
        tags=port_tags(row),
        kind=kind,
        owner=row.tag,
        link=links.get(interface),
    )


def _link(row: Any, owners: Mapping[int, str]) -> HostLink:
    owner = owners.get(row.host_sw_if_index, "")
    return HostLink(
        row.vif_index,
        row.host_if_name,
        row.netns,
        row.host_if_type == _TUN,
        OURS if owner == HOST_SIDE else owner,
        row.host_sw_if_index,
    )
