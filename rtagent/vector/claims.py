"""Claims: what one source says of one member. Several claims may be about one member, and contradict each other.

A field that a source does not know is None. What a member must have alone (its name, addresses, router id and pod
prefixes) carries since when it has it, so that every machine sees the same one of two claimants as the newer.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from rtagent.vector.members import Prefix, Role

NAME = "name"
"""The resource that is the member's id itself."""


class Claim(NamedTuple):
    """One source's word on one member."""

    id: str
    claimant: str = ""
    """The machine that says so of itself; empty where the source has the right to name every member."""
    role: Role | None = None
    asn: int | None = None
    router_id: IPv4Address | None = None
    address4: IPv4Address | None = None
    address6: IPv6Address | None = None
    pods: tuple[Prefix, ...] | None = None
    labels: tuple[tuple[str, str], ...] = ()
    since: tuple[tuple[str, float], ...] = ()
    """(resource, seconds since 1970), as ``resources`` names them. What is not listed has been there for ever."""
    alive: bool | None = None
    """A hint: whether the machine answers; None where the source cannot tell."""
    left: bool = False
    """It said good-bye: it need not be waited for."""

    @property
    def identity(self) -> tuple[str, ...]:
        """The addresses and the router id that it wants for itself alone, by name."""
        values = (("router id", self.router_id), ("address", self.address4), ("address", self.address6))
        return tuple(f"{kind} {value}" for kind, value in values if value is not None)

    @property
    def resources(self) -> tuple[str, ...]:
        """Everything that it wants for itself alone, by name."""
        return (NAME, *self.identity, *(f"pods {prefix}" for prefix in self.pods or ()))


Claims = tuple[Claim, ...]
"""Everything that a source says, (id, claimant) unique, in any order."""
