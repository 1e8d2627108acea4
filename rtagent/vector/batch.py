"""What a source reports at once: a delta of routes, and changes of everything that is not a route.

The order within ``routes`` and within ``changes`` is the order of the messages. Between the two it does not matter:
the decision is made on the state after the batch (docs/DESIGN.md, "Level, not edge").
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias

from rtagent.vector.links import Address, LabelInput, Link, LinkdownPolicy, Neighbor, Rule
from rtagent.vector.nexthops import NexthopObject
from rtagent.vector.routes import EMPTY_DELTA, RouteBatch


class Dump(Enum):
    """The parts of the kernel's state that are dumped on their own."""

    LINKS = "links"
    ADDRESSES = "addresses"
    NEIGHBORS = "neighbors"
    NEXTHOPS = "nexthops"
    RULES = "rules"
    NETCONF = "netconf"
    ROUTES_INET = "inet routes"
    ROUTES_INET6 = "inet6 routes"
    ROUTES_MPLS = "mpls routes"


class UnsupportedRoute(NamedTuple):
    """A route whose key itself has no counterpart (source-specific, say): shown with its reason, never installed.

    Two messages about one route are equal in all but ``reason``; ``identity`` tells such routes apart.
    """

    family: int
    table: int
    prefix: str
    identity: str
    reason: str = ""


class Inet6Link(NamedTuple):
    """IPv6 was switched on (gone: off) on a link: told by nothing but the route to ff00::/8 that the link has or loses.

    Never part of a dump.
    """

    ifindex: int


Row: TypeAlias = (
    Link | Address | Neighbor | NexthopObject | Rule | LinkdownPolicy | LabelInput | UnsupportedRoute | Inet6Link
)


class Change(NamedTuple):
    """A row that is new or changed, or (``gone``) no longer there."""

    row: Row
    gone: bool = False


class KernelBatch(NamedTuple):
    """One batch of what the kernel said."""

    routes: RouteBatch = EMPTY_DELTA
    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(len(self.routes) or self.changes)
