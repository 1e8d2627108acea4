"""Pairs of linux-cp as objects: made, marked as ours by the tag of their host side, and removed.

* linux-cp takes the link of the name that it is told; a persistent tap made beforehand stays when VPP goes. It copies
  hardware address, MTU and admin state of the interface to a tap: whoever pairs sets these first.
* **Removal** of a pair takes its tap along, a persistent one, too (tap_free). Of a VLAN, linux-cp removes the link *by
  name*, and leaks a Netlink socket where there is none of that name (lcp_netlink_del_link): a thousand of those, and
  VPP has no file descriptor left. So for a VLAN that has gone before its pair something of its name is put there first.
  The name is one that nobody else gives (core.taps.vlan_altname), or linux-cp might remove a stranger's link.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress

from rtagent.sinks.vapi import Refused, VapiClient
from rtagent.sinks.vpp_ports import HOST_SIDE, has_pairing, read_ports
from rtagent.transport.tun import make_persistent, remove_persistent
from rtagent.vector.interfaces import PairKey
from rtagent.vector.objects import Held, ObjectChange, ObjectKey
from rtagent.vector.ports import NO_INTERFACE, HostLink
from rtagent.wire.vapi.retvals import NO_SUCH_INTERFACE, UNIMPLEMENTED

_TAP, _TUN = 0, 1
"""LCP_API_ITF_HOST_*, linux-cp/lcp.api."""


class VppPairs:
    """Reads and writes PairKey; its value is a HostLink."""

    kinds: Collection[type] = (PairKey,)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return every pair."""
        ports = await read_ports(client)
        return {PairKey(port.interface, port.parent): Held(port.link) for port in ports.values() if port.link}

    async def write(self, client: VapiClient, change: ObjectChange) -> None:
        """Make a pair and mark it, or remove it; one of another link is replaced."""
        key = change.key
        assert isinstance(key, PairKey)
        if not has_pairing(client):
            raise Refused("lcp_itf_pair_add_del_v3", UNIMPLEMENTED)
        if isinstance(change.before, HostLink):
            await _remove(client, key, change.before)
        if isinstance(change.after, HostLink):
            await _make(client, key, change.after)


async def _make(client: VapiClient, key: PairKey, link: HostLink) -> None:
    made = await client.call(
        "lcp_itf_pair_add_del_v3",
        is_add=True,
        sw_if_index=key.interface,
        host_if_name=link.name,
        host_if_type=_TUN if link.is_tun else _TAP,
        netns=link.netns,
    )
    await client.call("sw_interface_tag_add_del", is_add=True, sw_if_index=made.host_sw_if_index, tag=HOST_SIDE)


async def _remove(client: VapiClient, key: PairKey, link: HostLink) -> None:
    stands_in = key.parent != NO_INTERFACE and _stand_in(link)
    try:
        await client.call("lcp_itf_pair_add_del_v3", is_add=False, sw_if_index=key.interface)
    except Refused as refused:
        if stands_in:
            with suppress(OSError):
                remove_persistent(link.name, is_tap=True, netns=link.netns or None)
        if refused.retval != NO_SUCH_INTERFACE:  # with its interface a pair has gone, too
            raise


def _stand_in(link: HostLink) -> bool:
    """Have linux-cp find a link to remove, if there is none; return whether that is ours."""
    try:
        make_persistent(link.name, is_tap=True, netns=link.netns or None)
    except OSError:  # mostly EBUSY: it is there. Whatever else is wrong, the pair has to go
        return False
    return True
