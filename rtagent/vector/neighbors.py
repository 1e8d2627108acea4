"""Neighbours as a data plane holds them, and how many of them it takes: two kinds of objects (vector/objects.py).

The kernel's own entry is ``vector.links.Neighbor``; which of them become objects is for core/neighbors.py to say. The
keys are dataclasses: named tuples of two kinds would be equal where their numbers are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.objects import Stage


@dataclass(frozen=True, slots=True)
class NeighborKey:
    """A neighbour's address on an interface of the data plane (its own number of it); packed, 4 or 16 bytes."""

    interface: int
    address: bytes

    @property
    def stage(self) -> Stage:
        """Behind addresses: before an interface has one, its neighbours resolve nothing."""
        return Stage.NEIGHBOR

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6."""
        return AF_INET if len(self.address) == 4 else AF_INET6


class NeighborEntry(NamedTuple):
    """Where to send what is for a neighbour."""

    mac: bytes
    """6 bytes."""
    static: bool = False
    """Whether the data plane keeps it whatever it hears on the wire."""


@dataclass(frozen=True, slots=True)
class NeighborLimitKey:
    """The limits of a family's neighbour table."""

    family: int

    @property
    def stage(self) -> Stage:
        """Before any neighbour."""
        return Stage.SETTING


class NeighborLimit(NamedTuple):
    """How many neighbours the data plane takes, and how it forgets them."""

    number: int
    """0: no limit."""
    age_s: int = 0
    """How long after its last sign of life a dynamic one is probed, and removed if it does not answer; 0: never."""
    recycle: bool = False
    """Whether the oldest dynamic one makes room when there is none."""
