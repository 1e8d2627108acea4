"""From what the kernel would do to what the data plane is to hold: nexthop groups become FIB entries.

A group is resolved once, not once per route: through its links (a nexthop over a link that is down does not count),
its nexthop objects, and the pairs (kernel ifindex to data plane interface). What cannot be expressed is not
installed at all and says why (invariant 5): a route that would lose its encapsulation, or one of its nexthops, on
the way is kept out.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtagent.core.encaps import Origin, wrap
from rtagent.vector.encaps import Encap
from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibPath, State
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS
from rtagent.vector.links import Address, Link
from rtagent.vector.nexthops import NH_DEAD, Kind, Nexthop, NexthopGroup, NexthopGroups, NexthopObject

FAMILIES = (AF_INET, AF_INET6, AF_MPLS)
_FAMILY_INDEX = np.zeros(256, np.intp)
_FAMILY_INDEX[list(FAMILIES)] = range(len(FAMILIES))

_PLAIN = {
    Kind.BLACKHOLE: FibKind.BLACKHOLE,
    Kind.UNREACHABLE: FibKind.UNREACHABLE,
    Kind.PROHIBIT: FibKind.PROHIBIT,
    Kind.LOCAL: FibKind.LOCAL,
}
_UNKNOWN = 255
_MAX_WEIGHT = 255
_MAX_LABELS = 16
"""vnet/fib/fib_types.api: label_stack[16] of vl_api_fib_path_t; its weight is a u8."""


class Resolution(NamedTuple):
    """What becomes of a group: an entry to install (state PENDING), or why there is none."""

    entry: int
    state: State
    reason: str = ""


class Topology:
    """What nexthops are resolved through. Mutable; whoever changes it calls ``Resolver.invalidate``."""

    def __init__(self) -> None:
        self.links: dict[int, Link] = {}
        self.nexthops: dict[int, NexthopObject] = {}
        self.ignores_linkdown: set[tuple[int, int]] = set()
        """(family, ifindex or -1 for all): where routes over a link without carrier do not count.

        "All" holds for IPv4 (IN_DEV_ORCONF in linux/inetdevice.h). In IPv6, setting it sets every link's own, which
        alone counts (ip6_ignore_linkdown in net/addrconf.h) and may be set otherwise later.
        """
        self.label_inputs: set[int] = set()
        """Links from which labelled packets are taken."""
        self.pairs: Mapping[int, int] = {}
        """Kernel ifindex to data plane interface."""
        self.left_alone: frozenset[int] = frozenset()
        """Links whose routes are none of our business ([mirror] ignore)."""
        self.addresses: Mapping[tuple[object, ...], Address] = {}
        self.srv6_source = b""
        """The source of segment routing headers, empty where it is chosen as the kernel does ([mirror] srv6_source)."""

    def nexthops_of(self, group: NexthopGroup) -> tuple[Kind, tuple[Nexthop, ...], str]:
        """Return kind, nexthops and what is unsupported, nexthop objects looked up.

        A route through an object that drops is shown as a blackhole, and not again when the object changes: the object
        alone says what the route does.
        """
        known = self.nexthops.get(group.nhid)
        if known is None:
            return group.kind, group.nexthops, group.unsupported
        if known.blackhole:
            return Kind.BLACKHOLE, (), ""
        if not known.members:
            return Kind.UNICAST, (known.nexthop,), known.unsupported
        ways: list[Nexthop] = []
        for nhid, weight in known.members:
            member = self.nexthops.get(nhid)
            if member is None:
                continue
            if member.blackhole:
                return Kind.BLACKHOLE, (), ""
            if member.unsupported:
                return Kind.UNICAST, (), member.unsupported
            ways.append(member.nexthop._replace(weight=weight))
        return Kind.UNICAST, tuple(ways), ""

    def why_dead(self, way: Nexthop, family: int) -> str:
        """Return why the kernel would not use this nexthop now, empty where it would."""
        link = self.links.get(way.ifindex)
        if link is None:
            return f"its interface (ifindex {way.ifindex}) is gone"
        if not link.up:
            return f"{link.name} is down"
        if way.flags & NH_DEAD:
            return f"the kernel regards it as dead on {link.name}"
        if not link.carrier and self._ignores_linkdown(family, way.ifindex):
            return f"{link.name} has no carrier"
        return ""

    @property
    def origin(self) -> Origin:
        """Where encapsulated packets come from."""
        return Origin(self.links, self.addresses.values(), self.srv6_source)

    def _ignores_linkdown(self, family: int, ifindex: int) -> bool:
        if family == AF_MPLS:
            return True  # without a policy (mpls_output_possible in net/mpls/af_mpls.c)
        everywhere = family == AF_INET and (AF_INET, -1) in self.ignores_linkdown
        return everywhere or (family, ifindex) in self.ignores_linkdown

    def is_dead(self, group: NexthopGroup, family: int) -> bool:
        """Whether the kernel would pass over this group: every nexthop is dead.

        Broadcast and multicast routes have one, too (fib_table_lookup in net/ipv4/fib_trie.c). So have local ones, but
        theirs does not die with its link (fib_sync_down_dev in net/ipv4/fib_semantics.c).
        """
        kind, ways, _ = self.nexthops_of(group)
        return kind is not Kind.LOCAL and bool(ways) and all(self.why_dead(way, family) for way in ways)


class Resolver:
    """Resolutions by (family, group id), made when first asked for and kept.

    After ``invalidate`` those that were made are made anew, once, when next needed; ``take_changed`` says which of them
    came out another way, and so which rows to decide again. A link's event costs what depends on it, not the table.
    """

    def __init__(self, topology: Topology, groups: NexthopGroups, entries: FibEntries) -> None:
        self._topology = topology
        self._groups = groups
        self._entries = entries
        self.local_entry = entries.intern(FibEntry(FibKind.LOCAL))
        self._reasons: dict[str, int] = {"": 0}
        self.generation = 0
        """Changes whenever what a group resolves to may have changed, or which group an id means."""
        self.reasons = [""]
        """Texts by number: a column of reasons is a column of these numbers."""
        shape = (len(FAMILIES), 64)
        self._entry = np.full(shape, NO_ENTRY, np.int32)
        self._state = np.full(shape, _UNKNOWN, np.uint8)
        self._reason = np.zeros(shape, np.int32)
        self._changed: set[int] = set()
        self._stale = False

    def invalidate(self) -> None:
        """Links, pairs or nexthop objects have changed."""
        self._stale = True
        self.generation += 1

    def forget(self, freed: list[int]) -> None:
        """These groups were freed: their ids may come to mean others."""
        self.generation += 1
        self._state[:, [group for group in freed if group < self._state.shape[1]]] = _UNKNOWN

    def take_changed(self) -> set[int]:
        """Return the ids of the groups that have been resolved another way than before since the last time."""
        self._refresh()
        changed, self._changed = self._changed, set()
        return changed

    def _refresh(self) -> None:
        """Make anew what was made before the last ``invalidate``."""
        if not self._stale:
            return
        self._stale = False
        for family_index, group in np.argwhere(self._state != _UNKNOWN).tolist():
            at = family_index, group
            before = self._entry[at], self._state[at], self._reason[at]
            if before != self._resolve_at(family_index, group):
                self._changed.add(group)

    def _resolve_at(self, family_index: int, group: int) -> tuple[int, int, int]:
        found = self.resolve(self._groups[group], FAMILIES[family_index])
        kept = found.entry, int(found.state), self.reason_number(found.reason)
        at = family_index, group
        self._entry[at], self._state[at], self._reason[at] = kept
        return kept

    def _grow(self) -> None:
        more = ((0, 0), (0, len(self._groups) * 3 // 2 - self._entry.shape[1]))
        self._entry = np.pad(self._entry, more, constant_values=NO_ENTRY)
        self._state = np.pad(self._state, more, constant_values=_UNKNOWN)
        self._reason = np.pad(self._reason, more)

    def reason_number(self, text: str) -> int:
        """Return the number of a reason."""
        number = self._reasons.setdefault(text, len(self.reasons))
        if number == len(self.reasons):
            self.reasons.append(text)
        return number

    def resolve_rows(
        self, family: NDArray[np.uint64], group: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int32]]:
        """Return entry id, state and reason number per row; groups must be valid ids."""
        self._refresh()
        if len(self._groups) > self._entry.shape[1]:
            self._grow()
        at = _FAMILY_INDEX[family.astype(np.intp)], group
        state = self._state[at]
        if (state == _UNKNOWN).any():
            missing = state == _UNKNOWN
            for number in np.unique(at[0][missing] * len(self._groups) + group[missing]).tolist():
                family_index, group_id = divmod(number, len(self._groups))
                self._resolve_at(family_index, group_id)
            state = self._state[at]
        return self._entry[at], state, self._reason[at]

    def resolve_row(self, family: int, group: int) -> tuple[int, int, int]:
        """Return what ``resolve_rows`` does, of one row."""
        self._refresh()
        if group >= self._entry.shape[1]:
            self._grow()
        at = _FAMILY_INDEX.item(family), group
        state = self._state.item(at)
        return self._resolve_at(*at) if state == _UNKNOWN else (self._entry.item(at), state, self._reason.item(at))

    def resolve(self, group: NexthopGroup, family: int) -> Resolution:
        """Resolve one group for routes of one family."""
        kind, ways, unsupported = self._topology.nexthops_of(group)
        if unsupported:
            return Resolution(NO_ENTRY, State.UNSUPPORTED, unsupported)
        if kind in _PLAIN:
            return Resolution(self._entries.intern(FibEntry(_PLAIN[kind])), State.PENDING)
        if kind is Kind.THROW:
            return Resolution(NO_ENTRY, State.UNSUPPORTED, "throw routes have no counterpart")
        if kind is not Kind.UNICAST:  # broadcast, multicast, anycast: a data plane's interfaces know their own
            return Resolution(NO_ENTRY, State.ABSENT)
        if any(way.ifindex in self._topology.left_alone for way in ways):
            return Resolution(NO_ENTRY, State.ABSENT)
        return self._resolve_ways(ways, family)

    def encaps(self, group: NexthopGroup, family: int) -> set[Encap]:
        """Return what routes of a family through this group leave through, be a nexthop alive or not."""
        topology = self._topology
        kind, ways, unsupported = topology.nexthops_of(group)
        if unsupported or kind is not Kind.UNICAST or any(way.ifindex in topology.left_alone for way in ways):
            return set()
        made = (
            wrap(way.encap, way.ifindex, family, topology.origin).encap
            for way in ways
            if way.encap is not None and way.ifindex in topology.links
        )
        return {encap for encap in made if encap is not None}

    def _resolve_ways(self, ways: tuple[Nexthop, ...], family: int) -> Resolution:
        topology = self._topology
        dead = {way: why for way in ways if (why := topology.why_dead(way, family))}
        alive = [way for way in ways if way not in dead]
        if not alive:
            why = "; ".join(sorted(set(dead.values()))) or "it has no next hop"
            return Resolution(NO_ENTRY, State.PARKED, f"no usable next hop: {why}")
        plain = [way for way in alive if way.encap is None]
        unpaired = sorted({topology.links[way.ifindex].name for way in plain if way.ifindex not in topology.pairs})
        if unpaired:
            return Resolution(NO_ENTRY, State.PARKED, f"no pair for {', '.join(unpaired)}")
        if any(len(way.labels) > _MAX_LABELS for way in alive):
            return Resolution(NO_ENTRY, State.UNSUPPORTED, f"more than {_MAX_LABELS} labels")
        weights: dict[FibPath, int] = {}
        for way in alive:
            if way.encap is None:
                payload = 0 if way.via else _payload(family)
                path = FibPath(way.via, topology.pairs[way.ifindex], 1, way.labels, payload)
            else:
                encap, state, reason = wrap(way.encap, way.ifindex, family, topology.origin)
                if encap is None:
                    return Resolution(NO_ENTRY, state, reason)
                path = FibPath(family=_payload(family), encap=encap)
            weights[path] = weights.get(path, 0) + way.weight
        if len({(path.via, path.interface, path.encap) for path in weights}) < len(weights):
            return Resolution(NO_ENTRY, State.UNSUPPORTED, "two next hops differ only in their labels")
        scaled = scaled_weights(list(weights.values()))
        paths = tuple(path._replace(weight=weight) for path, weight in zip(weights, scaled, strict=True))
        return Resolution(self._entries.intern(FibEntry(FibKind.UNICAST, paths)), State.PENDING)


def _payload(family: int) -> int:
    """An attached path carries its own family; a label popped onto an attached path carries IPv4."""
    return AF_INET if family == AF_MPLS else family


def scaled_weights(weights: list[int]) -> list[int]:
    """Return the weights in the same proportion, each from 1 to 255 (VPP's u8), exact where that is possible."""
    divisor = gcd(*weights)
    reduced = [weight // divisor for weight in weights]
    if max(reduced) > _MAX_WEIGHT:
        largest = max(reduced)
        reduced = [max(1, round(weight * _MAX_WEIGHT / largest)) for weight in reduced]
    return reduced
