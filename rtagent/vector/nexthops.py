"""Nexthop groups as the kernel holds them, interned so that a route is a number.

Routes are counted in millions, groups in hundreds: a route row carries a group id, everything about a group is
decided once. The kind of a route (unicast, blackhole, …) is part of its group, because it is part of what happens to
a packet. Ids are stable while a group is in use; ``keep`` frees the others, so memory follows the table, not its churn.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.encaps import KernelEncap

NO_GROUP = -1
"""The group id of a row that holds no route."""

NH_DEAD = 1
NH_ONLINK = 4
NH_LINKDOWN = 16
"""linux/rtnetlink.h: RTNH_F_DEAD, RTNH_F_ONLINK, RTNH_F_LINKDOWN."""


class Kind(IntEnum):
    """What happens to a packet; the numbers are the kernel's RTN_* (linux/rtnetlink.h)."""

    UNICAST = 1
    LOCAL = 2
    BROADCAST = 3
    ANYCAST = 4
    MULTICAST = 5
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8
    THROW = 9


class Nexthop(NamedTuple):
    """One way out: ``via`` is the packed gateway (4 or 16 bytes, empty where there is none)."""

    via: bytes = b""
    ifindex: int = 0
    weight: int = 1
    """1 to 256: the kernel's rtnh_hops + 1."""
    labels: tuple[int, ...] = ()
    """MPLS labels to push (or, on a label route, to swap to), outermost first."""
    flags: int = 0
    """NH_DEAD and NH_ONLINK only: what cannot be derived from the link."""
    nhid: int = 0
    """The id of the nexthop object that the route named, 0 where it named none."""
    encap: KernelEncap | None = None
    """What is put around the packet (labels apart)."""


class NexthopGroup(NamedTuple):
    """What a route does: its kind and its nexthops, in the kernel's order."""

    kind: Kind = Kind.UNICAST
    nexthops: tuple[Nexthop, ...] = ()
    nhid: int = 0
    """The nexthop object (single or group) behind the route, 0 where the route carries its own nexthops."""
    unsupported: str = ""
    """Why this cannot be expressed in a data plane (an unknown encapsulation, say); empty where it can."""
    source: bytes = b""
    """The preferred source of an IPv4 route: it tells entries apart, and has no bearing on forwarding."""


class NexthopGroups:
    """The interned groups: ``intern`` gives an id, indexing gives the group back."""

    def __init__(self) -> None:
        self.changes = 0
        """How often a group came or went."""
        self._ids: dict[NexthopGroup, int] = {}
        self.encapsulated: set[int] = set()
        """The ids of groups with a nexthop that encapsulates (labels apart): few, or none."""
        self._groups: list[NexthopGroup | None] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        """One more than the largest id in use: the length of an array indexed by id."""
        return len(self._groups)

    def __getitem__(self, group_id: int) -> NexthopGroup:
        group = self._groups[group_id]
        assert group is not None, f"group {group_id} was freed"
        return group

    def intern(self, group: NexthopGroup) -> int:
        """Return the id of this group, the same for equal groups."""
        group_id = self._ids.get(group)
        if group_id is None:
            if self._free:
                group_id = self._free.pop()
                self._groups[group_id] = group
            else:
                group_id = len(self._groups)
                self._groups.append(group)
            self._ids[group] = group_id
            self.changes += 1
            if any(way.encap for way in group.nexthops):
                self.encapsulated.add(group_id)
        return group_id

    def items(self) -> list[tuple[int, NexthopGroup]]:
        """Return (id, group) of all groups."""
        return [(number, group) for number, group in enumerate(self._groups) if group is not None]

    def keep(self, used: NDArray[np.bool_]) -> list[int]:
        """Free every group whose id is not marked in ``used`` (bool[len(self)]); return the freed ids."""
        freed = [number for number, group in self.items() if not used[number]]
        for number in freed:
            group = self._groups[number]
            assert group is not None
            del self._ids[group]
            self._groups[number] = None
        self._free.extend(freed)
        self.changes += len(freed)
        self.encapsulated.difference_update(freed)
        return freed


class NexthopObject(NamedTuple):
    """A nexthop object (RTM_NEWNEXTHOP, ``ip nexthop``): one nexthop, or a group of others by id and weight."""

    nhid: int
    nexthop: Nexthop = Nexthop()
    members: tuple[tuple[int, int], ...] = ()
    """(id, weight 1 to 256) of a group; empty for a single nexthop."""
    blackhole: bool = False
    unsupported: str = ""
