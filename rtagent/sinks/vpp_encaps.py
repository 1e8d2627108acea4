"""What path lists need to know of VPP's policies and tunnels, kept up to date as these are read and written.

The writers (``vpp_sr``, ``vpp_tunnels``) remember nothing; here is remembered, for one connection, what they have found
and made, because a route's path says in numbers what it leaves through (``wire.vapi.encaps``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from rtagent.sinks.vapi import VapiClient
from rtagent.sinks.vpp_sr import VppPolicies
from rtagent.sinks.vpp_tunnels import VppTunnels
from rtagent.vector.encaps import SrPolicy, Tunnel
from rtagent.vector.objects import Held, ObjectChange, ObjectKey
from rtagent.vector.ports import NO_INTERFACE
from rtagent.wire.vapi.paths import PathLists


class VppEncaps:
    """Tells path lists what there is to leave through."""

    def __init__(self, paths: PathLists) -> None:
        self._paths = paths

    async def learn(self, client: VapiClient) -> None:
        """Find out what there is: routes are read before objects are. Raises Refused or Disconnected."""
        policies, tunnels = await asyncio.gather(VppPolicies().read(client), VppTunnels().read(client))
        self.read({**policies, **tunnels})

    def read(self, held: Mapping[ObjectKey, Held]) -> None:
        """VPP holds these objects, and no other policies and tunnels of ours."""
        self._paths.encaps.learn(held)
        self._paths.forget()

    def is_taken(self, change: ObjectChange) -> bool:
        """Whether the change would make a policy whose place another one has."""
        key = change.key
        return isinstance(key, SrPolicy | Tunnel) and change.after is not None and self._paths.encaps.taken(key)

    def written(self, change: ObjectChange, interface: int | None) -> None:
        """A change was accepted."""
        key = change.key
        if not isinstance(key, SrPolicy | Tunnel):
            return
        if change.after is None:
            self._paths.encaps.discard(key)
        else:
            self._paths.encaps.add(key, NO_INTERFACE if interface is None else interface)
        self._paths.forget()
