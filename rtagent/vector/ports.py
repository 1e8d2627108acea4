"""The interfaces of a data plane, by its own numbers (VPP: sw_if_index; the memory FIB: ifindex)."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from rtagent.vector.links import VlanTag

NO_INTERFACE = 0xFFFFFFFF
"""VPP's ~0: a path that leaves through no interface, an object that is none."""


class HostLink(NamedTuple):
    """The kernel's side of a pair that the data plane has made (VPP: linux-cp)."""

    ifindex: int
    name: str
    """As it was called when the pair was made."""
    netns: str = ""
    """Where it is; empty for the data plane's own network namespace."""
    is_tun: bool = False
    """A tun has packets, a tap (or a VLAN upon one) has frames."""
    owner: str = ""
    """vector.interfaces.OURS where the pair is ours."""
    interface: int = NO_INTERFACE
    """The data plane's end of it."""


class PortKind(StrEnum):
    """What an interface of the data plane is, in the words of the configuration."""

    PHYSICAL = "physical"
    """Hardware, and what stands for it: memif, virtio, a port on a link of Linux."""
    BOND = "bond"
    LOOPBACK = "loopback"
    BVI = "bvi"
    TUNNEL = "tunnel"
    SUB = "sub"
    """A sub-interface."""
    INTERNAL = "internal"
    """Nobody's port: the host side of a pair, our own tunnels, VPP's local0."""


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
    kind: PortKind = PortKind.PHYSICAL
    owner: str = ""
    """The mark of who made it, where there is one (VPP: the interface's tag)."""
    link: HostLink | None = None
    """The kernel's side of its pair, where the data plane has made one."""
