"""What the operator decides about the mesh as a whole, apart from who is in it.

Values only, each with its unit; where they are written down (``[mesh]`` of the settings) is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from rtagent.vector.members import Prefix, lies_within

Transport = Literal["ipv4", "ipv6"]
Version = tuple[int, ...]
"""BIRD's, such as ``(2, 0, 12)``."""

MODERN: Version = (2, 17)
"""From here on functions say what they return, sessions say how they authenticate, and TCP-AO is there."""


class PodRange(NamedTuple):
    """Where pod prefixes may lie, and how long they may be."""

    prefix: Prefix
    shortest: int
    longest: int

    def holds(self, prefix: Prefix) -> bool:
        """Whether the prefix lies within, and has a length that is allowed."""
        return lies_within(prefix, self.prefix) and self.shortest <= prefix.prefixlen <= self.longest


@dataclass(frozen=True, slots=True)
class Reflection:
    """When sessions go to the reflectors instead of to everybody."""

    from_members: int = 0
    """The size of the mesh that turns reflection on; 0: never."""
    until_members: int = 0
    """Once on, it goes off below this size; 0: nine tenths of ``from_members``."""

    @property
    def off_below(self) -> int:
        """The size below which reflection goes off."""
        return self.until_members or self.from_members * 9 // 10


@dataclass(frozen=True, slots=True)
class Options:
    """Everything but the members. A change of a field costs what ``plan`` says."""

    transport: Transport = "ipv4"
    """The address that a session uses where both ends have both families."""
    multihop: bool = False
    """Whether members may be in different subnets: next hops are then resolved through the connected and the kernel's
    own routes. Otherwise all are neighbours on one link."""
    authentication: Literal["md5", "ao"] | None = None
    """TCP-MD5 (RFC 2385), TCP-AO (RFC 5925) or nothing."""
    hold_time_s: int = 90
    bfd: bool = True
    bfd_interval_ms: int = 100
    bfd_multiplier: int = 3
    graceful_restart: bool = True
    graceful_restart_time_s: int = 120
    graceful_restart_wait_s: int = 10
    """How long a BIRD that has just started waits for its peers before it publishes; its own default is 240 s."""
    add_path: bool = False
    """RFC 7911, in both directions, on sessions with reflectors."""
    prefix_limit: int = 64
    """Prefixes of a family that one member may send, refused ones included."""
    prefix_limit_action: Literal["warn", "block", "restart", "disable"] = "block"
    ranges: tuple[PodRange, ...] = ()
    """Empty: pod prefixes may lie anywhere."""
    reflection: Reflection = field(default_factory=Reflection)
    kernel: bool = True
    """Whether the mesh writes the kernel protocols; False: the operator's own bird.conf has them."""
    kernel_table: int = 254
    kernel_metric: int = 32
    scan_time_s: int = 20
    merge_paths: int = 16
    """Next hops of one kernel route at most; 1: no ECMP."""
    pods_from: Literal["static", "kernel"] = "static"
    """Pod prefixes are announced always, or as long as the kernel has a route for them."""
    drained: bool = False
    """This member announces nothing; its sessions stay."""

    def allows(self, prefix: Prefix) -> bool:
        """Whether a pod prefix lies where pod prefixes may lie."""
        return not self.ranges or any(allowed.holds(prefix) for allowed in self.ranges)
