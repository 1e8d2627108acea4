"""What the kernel holds, one row per prefix, and which entry of a prefix is the best.

Nearly every prefix has one entry, and that one lives in the columns. A prefix with several (other metrics, other tos,
appended ones) has them as a short list beside the columns, and its best one in the columns; those few are handled one
by one, by the kernel's own rules:

* What stands in the local table comes before what stands in main. In IPv6, a prefix there hides longer ones of main,
  too; in IPv4 both tables are one trie (fib_trie_table in net/ipv4/fib_trie.c), and the longest prefix wins.
* IPv4 (net/ipv4/fib_trie.c): entries of a prefix stand in the order of tos, metric, then insertion; the first one that
  is not dead is used. A replace changes the first entry of its tos and metric. Entries that differ in nothing but the
  protocol, or the preferred source, stand side by side.
* IPv6 (net/ipv6/ip6_fib.c): ordered by metric. Gateway routes of one metric form one multipath route, and a message
  carries all of its nexthops; routes without a gateway stand side by side. Where a prefix, ::/0 excepted, has a
  source-specific route as well, its other entries in that table are never used, whatever the source
  (fib6_node_lookup_1).

Rows touched by an apply are remembered until ``take_touched``: the decision looks at those, and at nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtagent.core.keytable import KeyTable, Rows, distinct, grown, increases
from rtagent.vector.keys import AF_INET6, Key, Keys, Selection
from rtagent.vector.nexthops import NH_DEAD, NO_GROUP, Kind, Nexthop, NexthopGroup, NexthopGroups
from rtagent.vector.routes import RTPROT_RA, TOS_LOCAL_TABLE, FewRoutes, Op, RouteBatch

_FEW = 32
"""So many operations are applied sooner one by one."""
_REMOVE = int(Op.REMOVE)
_PUTS = frozenset({int(Op.SET), int(Op.REPLACE)})
"""What puts an entry in the place of the only one of its prefix, where their ranks are equal."""


class Entry(NamedTuple):
    """One of several entries of a prefix."""

    metric: int
    tos: int
    protocol: int
    group: int

    @property
    def rank(self) -> tuple[int, int]:
        """What orders the entries of a prefix: higher tos first, then lower metric."""
        return (-self.tos, self.metric)


class Rib:
    """The kernel's routes. Columns are indexed by the rows of ``table`` and at least ``table.size`` long."""

    def __init__(self, groups: NexthopGroups, is_dead: Callable[[NexthopGroup, int], bool]) -> None:
        self.table = KeyTable()
        self.groups = groups
        self.metric = np.empty(16, np.uint32)
        self.tos = np.empty(16, np.uint8)
        self.protocol = np.empty(16, np.uint8)
        self.group = np.empty(16, np.int32)
        """The best entry's nexthop group; NO_GROUP where the kernel holds no route."""
        self.several: dict[int, list[Entry]] = {}
        """All entries, in the kernel's order, of the rows that have more than one."""
        self._covers: tuple[Key, ...] = ()
        self.divided: set[Key] = set()
        """IPv6 prefixes with source-specific routes, because of which the kernel passes over their other entries."""
        self._covers_changed = False
        self._is_dead = is_dead
        self._has_several = np.empty(16, bool)
        self._seen = np.empty(16, np.uint32)
        self._first_shown = np.empty(16, np.int32)
        """The group that the last dump showed first."""
        self._shown_again: Counter[tuple[int, Entry]] = Counter()
        """How often the dump of that generation has shown an entry of a row besides that."""
        self._shown_in = 0
        self._initialised = 0
        self._touched: list[Rows] = []
        self._all_touched = False

    def rows_of(self, keys: Keys) -> Rows:
        """Return the row of each key, made where the key is new."""
        rows = self.table.intern(keys)
        self._initialise()
        return rows

    def apply(self, delta: RouteBatch, generation: int = 0) -> None:
        """Apply the operations in their order; ``generation`` marks what a dump has seen."""
        if not len(delta):
            return
        if not generation and (isinstance(delta, FewRoutes) or len(delta) <= _FEW):
            self._apply_one_by_one(delta if isinstance(delta, FewRoutes) else delta.one_by_one())
            return
        rows = self.rows_of(delta.routes.keys)
        self._touched.append(rows)
        self._covers_changed |= bool((delta.routes.tos == TOS_LOCAL_TABLE).any())
        for turn in _turns(rows):
            self._apply_unique(rows[turn], delta, turn, generation)

    def sweep(self, family: int, generation: int) -> int:
        """Empty every row of ``family`` that a complete dump has not seen; return how many."""
        size = self.table.size
        unseen = np.flatnonzero((self.group[:size] != NO_GROUP) & (self._seen[:size] != generation))
        rows = unseen[self.table.keys.take(unseen).family == family].astype(np.int32)
        self._covers_changed |= bool((self.tos[rows] == TOS_LOCAL_TABLE).any())
        self._clear(rows)
        self._touched.append(rows)
        return len(rows)

    def entries(self, row: int) -> list[Entry]:
        """Return all entries of a row, in the kernel's order."""
        if row in self.several:
            return self.several[row]
        if self.group[row] == NO_GROUP:
            return []
        return [self._entry(row)]

    def touch_all(self) -> None:
        """Have every row decided again: something that all rows depend on has changed."""
        for row, entries in self.several.items():
            self._show_best(row, entries)
        self._all_touched = True

    def touch_groups(self, groups: set[int]) -> None:
        """Have the rows decided again whose best entry has one of these groups, or is another than it was.

        Which of several entries is the best depends on which of them are dead.
        """
        changed = np.zeros(len(self.groups) + 1, bool)
        changed[list(groups)] = True
        self._touched.append(np.flatnonzero(changed[self.group[: self.table.size]]).astype(np.int32))
        other = []
        for row, entries in self.several.items():
            before = self._entry(row)
            self._show_best(row, entries)
            if before != self._entry(row):
                other.append(row)
        self._touched.append(np.array(other, np.int32))

    def touch(self, rows: Rows) -> None:
        """Have these rows decided again."""
        self._touched.append(rows)

    def divide(self, key: Key, *, by_source: bool) -> None:
        """Say whether an IPv6 prefix has source-specific routes."""
        (self.divided.add if by_source else self.divided.discard)(key)
        row = self.table.find(Keys.of([key]))
        self.touch(row[row >= 0])

    @property
    def covers(self) -> tuple[Key, ...]:
        """IPv6 prefixes of the local table, which hide longer ones of main."""
        if self._covers_changed:
            self._find_covers()
        return self._covers

    @property
    def has_touched(self) -> bool:
        """Whether any row waits for a decision."""
        return self._all_touched or any(len(rows) for rows in self._touched)

    def take_touched(self) -> Rows | None:
        """Return the rows to decide on (unique), None for all; and start over."""
        if self._covers_changed:
            self._find_covers()
        touched, self._touched = self._touched, []
        everything, self._all_touched = self._all_touched, False
        if everything:
            return None
        return distinct(touched, self.table.size)

    def used_groups(self) -> NDArray[np.bool_]:
        """Return bool[len(groups)]: which groups some entry refers to."""
        used = np.zeros(len(self.groups) + 1, bool)
        used[self.group[: self.table.size]] = True  # NO_GROUP is -1: it marks the spare last element
        for entries in self.several.values():
            used[[entry.group for entry in entries]] = True
        return used[:-1]

    def _find_covers(self) -> None:
        """Find what of the local table is no single address; where that has changed, all rows are decided again."""
        self._covers_changed = False
        size = self.table.size
        local = np.flatnonzero((self.tos[:size] == TOS_LOCAL_TABLE) & (self.group[:size] != NO_GROUP))
        held = self.table.keys.take(local)
        wide = (held.family == AF_INET6) & (held.length < 128)
        kinds = [self.groups[number].kind for number in self.group[local[wide]].tolist()]
        keys = zip(held.take(wide), kinds, strict=True)
        covers = tuple(sorted(key for key, kind in keys if kind is not Kind.THROW))
        if covers != self._covers:
            self._covers, self._all_touched = covers, True

    def _initialise(self) -> None:
        size = self.table.size
        if size == self._initialised:
            return
        if size > len(self.group):
            self.metric, self.group = grown(self.metric, size), grown(self.group, size)
            self.tos, self.protocol = grown(self.tos, size), grown(self.protocol, size)
            self._has_several, self._seen = grown(self._has_several, size), grown(self._seen, size)
            self._first_shown = grown(self._first_shown, size)
        new = slice(self._initialised, size)
        self.group[new], self._has_several[new], self._seen[new] = NO_GROUP, False, 0
        self._initialised = max(size, self._initialised)

    def _apply_unique(self, rows: Rows, delta: RouteBatch, which: Selection, generation: int) -> None:
        """Apply the operations at ``which``, no two of which are about one row."""
        routes, op = delta.routes, delta.op[which]
        metric, tos = routes.metric[which], routes.tos[which]
        protocol, group = routes.protocol[which], routes.group[which]
        held, removes = self.group[rows], op == Op.REMOVE
        empty = held == NO_GROUP
        one = ~self._has_several[rows]
        same_rank = one & ~empty & (self.metric[rows] == metric) & (self.tos[rows] == tos)
        same = same_rank & (held == group)
        known = same & (self.protocol[rows] == protocol)
        seen_again = None
        if generation:
            first_seen, seen_again = self._note_seen(rows, op, group, generation)
            known &= ~seen_again

        put = one & ~removes & (empty | known | (same_rank & ((op == Op.SET) | (op == Op.REPLACE))))
        if generation:
            put |= first_seen
        drop = removes & same
        nothing = removes & empty & one
        target = rows[put]
        self.metric[target], self.tos[target] = metric[put], tos[put]
        self.protocol[target], self.group[target] = protocol[put], group[put]
        if generation:
            for row in target[self._has_several[target]].tolist():
                del self.several[row]
            self._has_several[target] = False
        self.group[rows[drop]] = NO_GROUP
        for position in np.flatnonzero(~(put | drop | nothing)).tolist():
            entry = Entry(*(int(column[position]) for column in (metric, tos, protocol, group)))
            row = int(rows[position])
            family = int(self.table.keys.meta[row] >> np.uint64(8)) & 0xFF
            again = seen_again is not None and seen_again[position] and entry.tos != TOS_LOCAL_TABLE
            times = self._times_shown(row, entry, generation) if again else 1
            self._put(row, self._changed(self.entries(row), Op(op[position]), entry, family == AF_INET6, times))

    def _note_seen(
        self, rows: Rows, op: NDArray[np.uint8], group: NDArray[np.int32], generation: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which rows this dump shows for the first time, and which once more."""
        seen = op == Op.SEEN
        first_seen: NDArray[np.bool_] = seen & (self._seen[rows] != generation)
        self._first_shown[rows[first_seen]] = group[first_seen]
        self._seen[rows[seen]] = generation
        return first_seen, seen & ~first_seen

    def _apply_one_by_one(self, few: FewRoutes) -> None:
        """Apply the operations of notifications, which may be about one row: for a few of them that is quicker.

        What is done to the only entry of a prefix is done here, as ``_apply_unique`` does it.
        """
        rows = self.table.intern_one_by_one([(hi, lo, told.meta) for hi, lo, told in few.rows])
        self._initialise()
        self._touched.append(np.array(rows, np.int32))
        metrics, toses, protocols, groups = self.metric, self.tos, self.protocol, self.group
        several, metric_of, tos_of = self._has_several.item, metrics.item, toses.item
        protocol_of, group_of = protocols.item, groups.item
        for row, (_, _, (meta, metric, tos, protocol, group, op)) in zip(rows, few.rows, strict=True):
            if tos == TOS_LOCAL_TABLE:
                self._covers_changed = True
            held = group_of(row)
            if not several(row):
                if held == NO_GROUP:
                    if op != _REMOVE:
                        metrics[row], toses[row], protocols[row], groups[row] = metric, tos, protocol, group
                    continue
                if metric_of(row) == metric and tos_of(row) == tos:
                    if op == _REMOVE:
                        if held == group:
                            groups[row] = NO_GROUP
                            continue
                    elif op in _PUTS or (held == group and protocol_of(row) == protocol):
                        protocols[row], groups[row] = protocol, group
                        continue
            entry, inet6 = Entry(metric, tos, protocol, group), meta >> 8 & 0xFF == AF_INET6
            self._put(row, self._changed(self.entries(row), Op(op), entry, inet6, 1))

    def _times_shown(self, row: int, entry: Entry, generation: int) -> int:
        """Note that a dump shows an entry; return how often it has.

        An IPv6 replace may leave two that are equal in everything.
        """
        if generation != self._shown_in:
            self._shown_again.clear()
            self._shown_in = generation
        self._shown_again[row, entry] += 1
        return self._shown_again[row, entry] + int(self._first_shown[row] == entry.group)

    def _changed(self, entries: list[Entry], op: Op, entry: Entry, inet6: bool, times: int) -> list[Entry]:
        """Return the entries of one prefix after one operation; ``times``: as often as that the entry is there."""
        rank = [index for index, other in enumerate(entries) if other.rank == entry.rank]
        merges = inet6 and self._is_multipath(entry)
        if op is Op.REMOVE:
            return self._removed(entries, rank, entry, merges)
        siblings = [index for index in rank if self._is_multipath(entries[index])] if merges else []
        if op is Op.SET:
            kept = [other for index, other in enumerate(entries) if index not in rank]
            return sorted([*kept, entry], key=lambda other: other.rank)
        if siblings and op is not Op.SEEN:  # IPv6: the message carries the whole multipath route
            return [entry if index == siblings[0] else other for index, other in enumerate(entries)]
        if op is Op.REPLACE and rank:
            alike = self._with_nhid(entries, rank, entry)
            alike = alike or [index for index in rank if inet6 and self._is_multipath(entries[index]) == merges] or rank
            return [entry if index == alike[0] else other for index, other in enumerate(entries)]
        known = self._matching(entries, rank, entry)
        is_another = 0 < entries.count(entry) < times
        if known is not None and not is_another and (merges or entries[known].protocol == entry.protocol):
            return [entry if index == known else other for index, other in enumerate(entries)]
        before = [other for other in entries if other.rank < entry.rank]
        equal = [entries[index] for index in rank]
        after = [other for other in entries if other.rank > entry.rank]
        return before + ([entry, *equal] if op is Op.PREPEND and not inet6 else [*equal, entry]) + after

    def _with_nhid(self, entries: list[Entry], rank: list[int], entry: Entry) -> list[int]:
        """Return the entries through the same nexthop object, those of the same protocol first.

        A change of the object sends each of its routes as a replace.
        """
        nhid = self.groups[entry.group].nhid
        through = [index for index in rank if nhid and self.groups[entries[index].group].nhid == nhid]
        return sorted(through, key=lambda index: entries[index].protocol != entry.protocol)

    def _removed(self, entries: list[Entry], rank: list[int], entry: Entry, merges: bool) -> list[Entry]:
        """Return what is left.

        An entry may be told of otherwise than it is held: its object has changed, or its device is gone. So the only
        one of its rank, kind and object is meant. Any other went before, and a dump that showed so came first.
        """
        gone = self._matching(entries, rank, entry)
        if gone is not None:
            return entries[:gone] + entries[gone + 1 :]
        told = self.groups[entry.group]
        if merges:
            ways = {_identity(way) for way in told.nexthops}
            for index in rank:
                group = self.groups[entries[index].group]
                left = tuple(way for way in group.nexthops if _identity(way) not in ways)
                if len(left) < len(group.nexthops):
                    shrunk = entries[index]._replace(group=self.groups.intern(group._replace(nexthops=left)))
                    return entries[:index] + ([shrunk] if left else []) + entries[index + 1 :]
            return entries
        held = self.groups[entries[rank[0]].group] if len(rank) == 1 else None
        if held is None or held.nhid != told.nhid or (held.kind is not told.kind and not told.nhid):
            return entries
        return [other for index, other in enumerate(entries) if index != rank[0]]

    def _matching(self, entries: list[Entry], rank: list[int], entry: Entry) -> int | None:
        """Return which entry of the rank this is, whether its nexthops are dead aside, one of its protocol first."""
        rank = sorted(rank, key=lambda index: entries[index].protocol != entry.protocol)
        for index in rank:
            if entries[index].group == entry.group:
                return index
        wanted = _as_if_alive(self.groups[entry.group])
        for index in rank:
            if _as_if_alive(self.groups[entries[index].group]) == wanted:
                return index
        return None

    def _put(self, row: int, entries: list[Entry]) -> None:
        self.several.pop(row, None)
        self._has_several[row] = len(entries) > 1
        if not entries:
            self.group[row] = NO_GROUP
            return
        if len(entries) > 1:
            self.several[row] = entries
        self._show_best(row, entries)

    def _show_best(self, row: int, entries: list[Entry]) -> None:
        family = int(self.table.keys.meta[row] >> np.uint64(8)) & 0xFF
        best = self._best(entries, family)
        self.metric[row], self.tos[row], self.protocol[row], self.group[row] = best

    def _best(self, entries: list[Entry], family: int) -> Entry:
        plain = [entry for entry in entries if entry.tos in (0, TOS_LOCAL_TABLE)] or entries
        return next((entry for entry in plain if not self._is_dead(self.groups[entry.group], family)), plain[0])

    def _entry(self, row: int) -> Entry:
        return Entry(*(int(column[row]) for column in (self.metric, self.tos, self.protocol, self.group)))

    def _clear(self, rows: Rows) -> None:
        for row in rows[self._has_several[rows]].tolist():
            del self.several[row]
        self._has_several[rows] = False
        self.group[rows] = NO_GROUP

    def _is_multipath(self, entry: Entry) -> bool:
        """Whether an IPv6 entry joins others in a multipath route (rt6_qualify_for_ecmp in include/net/ip6_route.h)."""
        group = self.groups[entry.group]
        return not group.nhid and entry.protocol != RTPROT_RA and any(way.via for way in group.nexthops)


def _identity(way: Nexthop) -> tuple[object, ...]:
    """Return what tells the next hops of an IPv6 multipath route apart (rt6_duplicate_nexthop in net/ipv6/route.c)."""
    return way.via, way.ifindex, way.labels, way.encap


def _as_if_alive(group: NexthopGroup) -> NexthopGroup:
    return group._replace(nexthops=tuple(way._replace(flags=way.flags & ~NH_DEAD) for way in group.nexthops))


def _turns(rows: Rows) -> list[Selection]:
    """Split a batch so that no two operations of a turn are about one row, and turns keep each row's order."""
    if increases(rows) or increases(np.sort(rows)):
        return [slice(None)]
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.ones(len(rows), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(first)
    nth = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    return [np.sort(order[nth == turn]) for turn in range(int(nth.max()) + 1)]
