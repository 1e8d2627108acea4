"""Which of VPP's plugins are loaded: no message tells, so each is known by a message that only it has."""

from __future__ import annotations

from collections.abc import Collection

_SIGNS = {
    "cdp": "cdp_enable_disable",
    "dhcp": "dhcp_proxy_config",
    "igmp": "igmp_listen",
    "lacp": "sw_interface_lacp_dump",
    "linux_cp": "lcp_itf_pair_get",
    "lldp": "lldp_config",
    "ping": "want_ping_finished_events",
    "policer": "policer_add",
    "vrrp": "vrrp_vr_add_del",
}


def plugins(offered: Collection[str]) -> frozenset[str]:
    """Return the plugins that these messages give away."""
    return frozenset(name for name, message in _SIGNS.items() if message in offered)
