"""VPP's FIB sources: which there are, which of them are ours, and which win.

A source is looked up before it is made, because VPP never merges sources of one name and has 255 numbers.

* The one of **routes** has priority 0x88, just after API (0x80) and CLI (0x81): what an operator configures, and what
  interfaces bring along, shadows our rows, while ours win over everything that VPP finds by itself (DHCP, neighbours,
  router advertisements, the built-in default drop); vnet/fib/fib_source.h.
* The one of **local addresses** has priority 2: the drop that an interface (3) brings along for its broadcast address
  gives way to it.
"""

from __future__ import annotations

from typing import NamedTuple

from rtagent.core.sink import Disconnected
from rtagent.sinks.vapi import VapiClient

PUNT = "rtagent-punt"
"""The name of the source of local addresses."""
_PRIORITY, _PUNT_PRIORITY = 0x88, 2
_NO_SOURCE = 255
"""A number that VPP gives to no source: ours while it has not been made."""


class _Source(NamedTuple):
    name: str
    priority: int


class VppSources:
    """The sources of the VPP that we are connected to, as last read."""

    def __init__(self, name: str) -> None:
        """``name`` is that of our routes' source."""
        self._name = name
        self._sources: dict[int, _Source] = {}

    @property
    def own(self) -> int:
        """The number of our routes' source; one that no row has where it was not found and not to be made."""
        number = self.number(self._name)
        return _NO_SOURCE if number is None else number

    @property
    def of_punt(self) -> int | None:
        """The number of our local addresses' source, None without one."""
        return self.number(PUNT)

    def number(self, name: str) -> int | None:
        """Return the number of a source, the first one of its name; None without one."""
        return min((number for number, source in self._sources.items() if source.name == name), default=None)

    def name(self, source: int) -> str:
        """Return VPP's name of a source."""
        known = self._sources.get(source)
        return known.name if known else f"source {source}"

    def outranks(self, source: int) -> bool:
        """Whether rows of a source win over our routes. Within a priority VPP prefers the source made first."""
        if source == self.own:
            return False
        known, own = self._sources.get(source), self._sources.get(self.own)
        if known is None:
            return True
        return (known.priority, source) < (own.priority if own else _PRIORITY, self.own)

    async def find(self, client: VapiClient, *, make: bool) -> None:
        """Look for our sources, and make those that are missing if that is wanted. Raises Refused or Disconnected."""
        await self.read(client)
        for name, priority in ((self._name, _PRIORITY), (PUNT, _PUNT_PRIORITY)) if make else ():
            if self.number(name) is None:
                made = await client.call("fib_source_add", src={"priority": priority, "name": name})
                if not made.id:
                    raise Disconnected("VPP has no number left for another FIB source")
                await self.read(client)

    async def read(self, client: VapiClient) -> None:
        """Read all sources anew. Raises Disconnected."""
        dump = await client.dump("fib_source_dump", "fib_source_details")
        self._sources = {row.src.id: _Source(row.src.name, row.src.priority) for row in dump}
