"""VPP's objects besides routes: one writer for each kind, each in a module of its own, and the table of them.

A writer turns what VPP dumps into keys and values, and a change into calls. It decides nothing and remembers nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from rtagent.sinks.vapi import VapiClient
from rtagent.sinks.vpp_interfaces import VppAddresses, VppSettings, VppSubInterfaces, VppTables
from rtagent.sinks.vpp_neighbors import NeighborWriter
from rtagent.sinks.vpp_sr import VppPolicies
from rtagent.sinks.vpp_tunnels import VppTunnels
from rtagent.vector.objects import Held, ObjectChange, ObjectKey


class ObjectWriter(Protocol):
    """Reads and writes the objects of its kinds."""

    @property
    def kinds(self) -> Collection[type]:
        """The kinds of objects: classes of keys."""

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return every object of these kinds, ours and others'. Raises Refused or Disconnected."""

    async def write(self, client: VapiClient, change: ObjectChange) -> int | None:
        """Make, change or remove an object; return its interface if one was made. Raises Refused or Disconnected."""


class ObjectListener(Protocol):
    """Follows objects that VPP makes, changes or removes by itself."""

    @property
    def event(self) -> str:
        """The message that tells of one."""

    async def subscribe(self, client: VapiClient) -> None:
        """Have VPP send these messages. Raises Refused or Disconnected."""

    def heard(self, message: bytes) -> tuple[ObjectKey, Held | None]:
        """Return an object as such a message tells of it, None where it is gone. Raises MalformedMessage."""


_NEIGHBORS = NeighborWriter()

WRITERS: tuple[ObjectWriter, ...] = (
    VppTables(),
    VppSubInterfaces(),
    VppPolicies(),
    VppTunnels(),
    VppSettings(),
    VppAddresses(),
    _NEIGHBORS,
)
"""In no order: the stages of the keys say what is written first."""
LISTENERS: Mapping[str, ObjectListener] = {listener.event: listener for listener in (_NEIGHBORS,)}
"""By their messages."""
