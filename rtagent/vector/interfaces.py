"""What a data plane's interface is set to: the kinds of objects (vector/objects.py) that follow a kernel link.

``interface`` is the data plane's number throughout. The keys are dataclasses, not tuples: those of two kinds on one
interface must not be equal. Tables are the kernel's numbers; a sink maps main to its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from rtagent.vector.links import VlanTag
from rtagent.vector.objects import Stage
from rtagent.vector.ports import NO_INTERFACE

OURS = "rtagent"
"""The value of what we made ourselves (a table's name, a sub-interface's tag in VPP), and so may remove."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of routes; its value is the name that the data plane knows it by."""

    family: int
    table: int

    @property
    def stage(self) -> Stage:
        """Interfaces and routes stand on it."""
        return Stage.TABLE


@dataclass(frozen=True, slots=True)
class SubInterface:
    """An interface of the frames with these tags, outermost first; its value says who made it."""

    parent: int
    """The interface whose frames they are."""
    tags: tuple[VlanTag, ...]

    @property
    def stage(self) -> Stage:
        """Routes leave through it."""
        return Stage.INTERFACE


@dataclass(frozen=True, slots=True)
class AdminState:
    """Whether an interface is up, as an operator says: a bool."""

    interface: int

    @property
    def stage(self) -> Stage:
        """A setting."""
        return Stage.SETTING


@dataclass(frozen=True, slots=True)
class Mtu:
    """The largest packet, in bytes, that an interface sends."""

    interface: int

    @property
    def stage(self) -> Stage:
        """A setting."""
        return Stage.SETTING


@dataclass(frozen=True, slots=True)
class Mac:
    """The hardware address of an interface: 6 bytes."""

    interface: int

    @property
    def stage(self) -> Stage:
        """A setting."""
        return Stage.SETTING


@dataclass(frozen=True, slots=True)
class Membership:
    """The table that an interface's packets of a family are looked up in."""

    interface: int
    family: int

    @property
    def stage(self) -> Stage:
        """A setting: it changes only while the interface has no address of the family."""
        return Stage.SETTING


@dataclass(frozen=True, slots=True)
class TakesLabels:
    """That an interface takes labelled packets: True, or not there."""

    interface: int

    @property
    def stage(self) -> Stage:
        """A setting."""
        return Stage.SETTING


@dataclass(frozen=True, slots=True)
class LinkLocal:
    """The link-local IPv6 address of an interface, 16 bytes: an interface with IPv6 has exactly one."""

    interface: int

    @property
    def stage(self) -> Stage:
        """A setting: IPv6 is on before the first address."""
        return Stage.SETTING


@dataclass(frozen=True, slots=True)
class PairKey:
    """That packets for the host leave an interface for a link of the kernel, and come from it; a HostLink."""

    interface: int
    parent: int = NO_INTERFACE
    """The interface that a sub-interface is of: it has to be paired first."""

    @property
    def stage(self) -> Stage:
        """After the settings of its interface and the pair of its parent."""
        return Stage.PAIR if self.parent == NO_INTERFACE else Stage.SUB_PAIR


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address of an interface, with the prefix that it is connected to; its value is True."""

    interface: int
    table: int
    """The interface's table: an address has to be removed before its interface joins another."""
    address: bytes
    """4 or 16 bytes."""
    length: int

    @property
    def stage(self) -> Stage:
        """An address."""
        return Stage.ADDRESS
