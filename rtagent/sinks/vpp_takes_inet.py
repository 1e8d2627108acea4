"""Whether VPP's interfaces without an IPv4 address take IPv4 packets all the same, as objects.

Each interface begins with the feature ``ip4-not-enabled``, which drops; its first address takes that away, its last one
puts it back (vnet/ip/ip4_forward.c). So do we, by the message that switches any feature:
``sw_interface_ip4_enable_disable`` switches this one on where it should switch it off (vnet/ip/ip_api.c of 26.06).
Twice on would outlive the next address; so it is switched off before it is switched on. What an interface has no
message tells (``vpp_policer`` says why not even ``feature_is_enabled``), so the CLI is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rtagent.sinks.vapi import Refused, VapiClient
from rtagent.vector.objects import Held, ObjectChange, ObjectKey
from rtagent.vector.ports import NO_INTERFACE
from rtagent.vector.punt import TakesInet
from rtagent.wire.vapi.retvals import NO_SUCH_INTERFACE

_ARCS = ("ip4-unicast", "ip4-multicast")
_FEATURE = "ip4-not-enabled"


class VppTakesInet:
    """Reads and writes TakesInet."""

    kinds: Collection[type] = (TakesInet,)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return the interfaces that take IPv4 packets and have no IPv4 address."""
        held: dict[ObjectKey, Held] = {}
        for row in await client.dump("sw_interface_dump", "sw_interface_details", sw_if_index=NO_INTERFACE):
            if await _has_address(client, row.sw_if_index):
                continue
            said = await client.call("cli_inband", cmd=f"show interface features {row.interface_name}")
            if not _drops(str(said.reply)):
                held[TakesInet(row.sw_if_index)] = Held(True)
        return held

    async def write(self, client: VapiClient, change: ObjectChange) -> None:
        """Have an interface take IPv4 packets, or no more; with its interface this has gone, too."""
        key = change.key
        assert isinstance(key, TakesInet)
        try:
            await take_inet(client, key.interface)
            if change.after is None and not await _has_address(client, key.interface):  # or it would drop for good
                await _switch(client, key.interface, on=True)
        except Refused as refused:
            if change.after is not None or refused.retval != NO_SUCH_INTERFACE:
                raise


async def _has_address(client: VapiClient, interface: int) -> bool:
    return bool(await client.dump("ip_address_dump", "ip_address_details", sw_if_index=interface))


async def take_inet(client: VapiClient, interface: int) -> None:
    """Have an interface take IPv4 packets, if it does not already. Raises Refused or Disconnected."""
    await _switch(client, interface, on=False)


async def _switch(client: VapiClient, interface: int, *, on: bool) -> None:
    for arc in _ARCS:
        await client.call(
            "feature_enable_disable", sw_if_index=interface, enable=on, arc_name=arc, feature_name=_FEATURE
        )  # fmt: skip


def _drops(said: str) -> bool:
    """Whether the first arc has the feature, as the CLI lists arcs: a name with a colon, and its features below."""
    arc = ""
    for line in said.splitlines():
        word = line.strip()
        if word.endswith(":"):
            arc = word[:-1]
        elif arc == _ARCS[0] and word == _FEATURE:
            return True
    return False
