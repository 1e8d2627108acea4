"""VPP's objects besides routes: one writer for each kind, each in a module of its own, and the table of them.

A writer turns what VPP dumps into keys and values, and a change into calls. It decides nothing and remembers nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import compress
from typing import Protocol

from rtagent.sinks.vapi import VapiClient
from rtagent.sinks.vpp_interfaces import VppAddresses, VppSettings, VppSubInterfaces, VppTables
from rtagent.sinks.vpp_multicast import VppMulticast
from rtagent.sinks.vpp_neighbors import NeighborWriter, write_neighbors
from rtagent.sinks.vpp_pairs import VppPairs
from rtagent.sinks.vpp_policer import VppPuntExempt, VppPuntPolicer
from rtagent.sinks.vpp_punt import VppFrames, VppLocalAddresses
from rtagent.sinks.vpp_sr import VppPolicies
from rtagent.sinks.vpp_takes_inet import VppTakesInet
from rtagent.sinks.vpp_tunnels import VppTunnels
from rtagent.vector.neighbors import NeighborKey
from rtagent.vector.objects import Held, ObjectAnswer, ObjectChange, ObjectKey


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
    VppPairs(),
    VppAddresses(),
    VppTakesInet(),
    VppMulticast(),
    VppLocalAddresses(),
    VppFrames(),
    VppPuntPolicer(),
    VppPuntExempt(),
    _NEIGHBORS,
)
"""In no order: the stages of the keys say what is written first."""
LISTENERS: Mapping[str, ObjectListener] = {listener.event: listener for listener in (_NEIGHBORS,)}
"""By their messages."""


async def write_all(
    client: VapiClient, changes: Sequence[ObjectChange], write: Callable[[ObjectChange], Awaitable[ObjectAnswer]]
) -> list[ObjectAnswer]:
    """Write neighbours, of which there are tens of thousands, as one buffer, all else by ``write``, side by side."""
    many = [isinstance(change.key, NeighborKey) for change in changes]
    retvals, answers = await asyncio.gather(
        write_neighbors(client, list(compress(changes, many))),
        asyncio.gather(*(write(change) for change, one_of_many in zip(changes, many, strict=True) if not one_of_many)),
    )
    of_many, of_others = map(ObjectAnswer, retvals), iter(answers)
    return [next(of_many if one_of_many else of_others) for one_of_many in many]
