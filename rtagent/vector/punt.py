"""What a data plane hands to the host (*punts*): the kinds of objects (vector/objects.py) that say so.

``interface`` is the data plane's number throughout, tables are the kernel's. What is unicast and local needs none of
this: the kernel's local routes are rows like all others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rtagent.vector.objects import Stage

OTHERS = "others"
"""The value of what somebody else has put in the place of an object: it is left alone."""

ETHERTYPE_LLDP, ETHERTYPE_SLOW = 0x88CC, 0x8809
"""IEEE 802.1AB; IEEE 802.3 annex 57A (LACP)."""
OSI_CLNP, OSI_ESIS, OSI_ISIS = 0x81, 0x82, 0x83
"""The first byte behind an LLC header, ISO/IEC TR 9577."""


class Group(NamedTuple):
    """Multicast destinations: a prefix of groups, or one group from one source (RFC 4607)."""

    address: bytes
    """4 or 16 bytes."""
    length: int
    source: bytes = b""
    """Empty: from anybody."""

    @property
    def is_ipv6(self) -> bool:
        """Whether they are groups of IPv6."""
        return len(self.address) == 16

    @property
    def text(self) -> str:
        """The groups as people write them: ``239.0.0.0/8``, ``(192.0.2.1, 232.1.1.1)``."""
        address = ipaddress.ip_address(self.address)
        if self.source:
            return f"({ipaddress.ip_address(self.source)}, {address})"
        return f"{address}/{self.length}"


class Match(NamedTuple):
    """Bytes of a packet, from the IP header on, that have to be these where the mask has bits."""

    mask: bytes
    value: bytes
    """As long as the mask, and no bits beside it."""


class PolicerLimit(NamedTuple):
    """How much is let through."""

    rate_kbps: int
    """Of IP packets."""
    burst_bytes: int


class Count(NamedTuple):
    """Packets, and their bytes, since VPP started or the counter was made."""

    packets: int
    bytes: int


class PuntCounts(NamedTuple):
    """How much was punted, as far as the data plane counts it."""

    passed: Count | None
    """What the policer let through, None without one of ours."""
    dropped: Count | None
    """What it did not."""
    exempt_packets: int
    """What passed by it."""
    addresses: Mapping[LocalAddress, Count]
    hosts: Mapping[int, Count]
    """What was sent to the host, by the interface whose pair it left through."""


@dataclass(frozen=True, slots=True)
class MulticastLocal:
    """That packets to these groups are for the host; True, or OTHERS where somebody else has such an entry."""

    table: int
    group: Group

    @property
    def stage(self) -> Stage:
        """It stands in a table."""
        return Stage.POLICY


@dataclass(frozen=True, slots=True)
class MulticastAccept:
    """That packets to these groups are taken from an interface; its value is True."""

    interface: int
    table: int
    """The interface's: an entry is left before its interface joins another table."""
    group: Group

    @property
    def stage(self) -> Stage:
        """It names an interface."""
        return Stage.POLICY


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """That an address is the host's, even where an interface's prefix says otherwise (broadcast); True."""

    table: int
    address: bytes
    """4 or 16 bytes."""

    @property
    def stage(self) -> Stage:
        """It stands in a table."""
        return Stage.POLICY


@dataclass(frozen=True, slots=True)
class TakesInet:
    """That an interface without an IPv4 address takes IPv4 packets all the same: True, or not there."""

    interface: int

    @property
    def stage(self) -> Stage:
        """A setting: it goes before the first address comes."""
        return Stage.SETTING


@dataclass(frozen=True, slots=True)
class Ethertype:
    """That frames of an ethertype are for the host: True. Nothing takes that back."""

    number: int

    @property
    def stage(self) -> Stage:
        """It depends on nothing."""
        return Stage.POLICY


@dataclass(frozen=True, slots=True)
class OsiProtocol:
    """That frames of an OSI protocol are for the host: True. Nothing takes that back."""

    number: int

    @property
    def stage(self) -> Stage:
        """It depends on nothing."""
        return Stage.POLICY


@dataclass(frozen=True, slots=True)
class PuntPolicer:
    """The policer of what is punted: a PolicerLimit, or OTHERS."""

    @property
    def stage(self) -> Stage:
        """It depends on nothing."""
        return Stage.POLICY


@dataclass(frozen=True, slots=True)
class PuntExempt:
    """What passes by the policer: the matches, sorted, or OTHERS."""

    family: int

    @property
    def stage(self) -> Stage:
        """It depends on nothing."""
        return Stage.POLICY
