"""The interfaces of a data plane, by its own numbers (VPP: sw_if_index; the memory FIB: ifindex)."""

from __future__ import annotations

from typing import NamedTuple

from rtagent.vector.links import VlanTag

NO_INTERFACE = 0xFFFFFFFF
"""VPP's ~0: a path that leaves through no interface, an object that is none."""


class Port(NamedTuple):
    """An interface of the data plane."""

    name: str
    interface: int
    up: bool = True
    link_up: bool = True
    mac: bytes = b""
    """Empty where it is the parent's, or there is none."""
    mtu: int = 0
    """Of IP packets, 0 where it is not told."""
    parent: int = NO_INTERFACE
    """The interface that a sub-interface is of."""
    tags: tuple[VlanTag, ...] = ()
    """The tags of a sub-interface's frames, outermost first."""
