"""VPP's IP-in-IP tunnels as objects: those that bear an instance number of ours.

The number is given in the message that makes the tunnel, so there is no moment at which one of ours is unmarked. It
follows from what the tunnel is; the interface is called ``ipipN``. A tunnel takes IP of both families, as the kernel's
device does, and has no address of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from rtagent.sinks.vapi import Refused, VapiClient
from rtagent.sinks.vpp_takes_inet import take_inet
from rtagent.vector.encaps import Tunnel
from rtagent.vector.keys import TABLE_MAIN
from rtagent.vector.objects import Held, ObjectChange, ObjectKey
from rtagent.vector.ports import NO_INTERFACE
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.vapi.retvals import NO_SUCH_ENTRY, VALUE_EXISTS

_FIRST_INSTANCE, _INSTANCES = 1_900_000_000, 100_000_000
"""Ours are from the first one on, up to 1999999999."""
_SET_DF, _COPY_DSCP, _COPY_ECN, _DECAP_ECN, _COPY_TTL = 0x02, 0x04, 0x08, 0x10, 0x40
"""TUNNEL_API_ENCAP_DECAP_FLAG_*, vnet/tunnel/tunnel_types.api. The congestion bits travel, as in the kernel."""
_POINT_TO_POINT = 0
_ADMIN_UP = 1


def is_our_tunnel(interface: str) -> bool:
    """Whether an interface is, by its name, a tunnel that we made."""
    number = interface.removeprefix("ipip")
    return number != interface and number.isdigit() and 0 <= int(number) - _FIRST_INSTANCE < _INSTANCES


class VppTunnels:
    """Reads and writes Tunnel; its value is whether the tunnel is up."""

    kinds = (Tunnel,)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return our tunnels, with their interfaces."""
        ours = await _ours(client)
        if not ours:
            return {}
        ports = await client.dump("sw_interface_dump", "sw_interface_details", sw_if_index=NO_INTERFACE)
        up = {row.sw_if_index for row in ports if row.flags & _ADMIN_UP}
        return {tunnel: Held(interface in up, interface) for tunnel, interface in ours.items()}

    async def write(self, client: VapiClient, change: ObjectChange) -> int | None:
        """Make a tunnel and set it up, or remove it."""
        tunnel = change.key
        assert isinstance(tunnel, Tunnel)
        interface: int | None
        if change.before is not None:
            interface = (await _ours(client)).get(tunnel)
        else:
            made = await client.call("ipip_add_tunnel", tunnel=_fields(tunnel))
            interface = made.sw_if_index
        if change.after is None:
            if interface is not None:
                await client.call("ipip_del_tunnel", sw_if_index=interface)
            return None
        if interface is None:
            raise Refused("ipip_tunnel_dump", NO_SUCH_ENTRY)
        await take_inet(client, interface)
        try:
            await client.call("sw_interface_ip6_enable_disable", sw_if_index=interface, enable=True)
        except Refused as refused:
            if refused.retval != VALUE_EXISTS:  # it is enabled: the tunnel was set down, no more
                raise
        await client.call("sw_interface_set_flags", sw_if_index=interface, flags=_ADMIN_UP)
        return interface


async def _ours(client: VapiClient) -> dict[Tunnel, int]:
    """Return our tunnels and their interfaces.

    A tunnel of others may bear a code point that VPP's own definitions lack: then it cannot be told, and is not ours.
    """
    found: dict[Tunnel, int] = {}
    async for frames in client.dump_frames("ipip_tunnel_dump", "ipip_tunnel_details", sw_if_index=NO_INTERFACE):
        for number in range(len(frames)):
            with suppress(MalformedMessage):
                row = client.messages.unpack("ipip_tunnel_details", frames.message(number)).tunnel
                tunnel = _tunnel(row)
                if row.instance == _instance(tunnel):
                    found[tunnel] = row.sw_if_index
    return found


def _fields(tunnel: Tunnel) -> dict[str, Any]:
    flags = _COPY_ECN | _DECAP_ECN
    flags |= _SET_DF if tunnel.dont_fragment else 0
    flags |= _COPY_DSCP if tunnel.copies_dscp else 0
    flags |= _COPY_TTL if tunnel.copies_ttl else 0
    return {
        "instance": _instance(tunnel),
        "src": _address(tunnel.source),
        "dst": _address(tunnel.destination),
        "sw_if_index": NO_INTERFACE,
        "table_id": 0 if tunnel.table == TABLE_MAIN else tunnel.table,
        "flags": flags,
        "mode": _POINT_TO_POINT,
        "dscp": tunnel.dscp,
    }


def _tunnel(row: Any) -> Tunnel:
    """Return what VPP's row says; of a tunnel that others made, as far as ours can say it."""
    return Tunnel(
        _packed(row.src),
        _packed(row.dst),
        bool(row.flags & _COPY_TTL),
        int(row.dscp),
        bool(row.flags & _COPY_DSCP),
        bool(row.flags & _SET_DF),
        row.table_id or TABLE_MAIN,
    )


def _instance(tunnel: Tunnel) -> int:
    digest = blake2b(repr(tunnel).encode(), digest_size=8).digest()
    return _FIRST_INSTANCE + int.from_bytes(digest, "big") % _INSTANCES


def _address(packed: bytes) -> dict[str, Any]:
    return {"af": int(len(packed) == 16), "un": {"ip6" if len(packed) == 16 else "ip4": packed}}


def _packed(address: Any) -> bytes:
    return bytes(address.un.ip6 if address.af else address.un.ip4)
