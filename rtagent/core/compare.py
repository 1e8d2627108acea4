"""What differs between the kernel, what is desired, and the data plane; each difference with its reason.

Works on a store and a ledger in which ``Ledger.decide`` has just been asked about every row: the difference is the
plan that the loop would make, told instead of applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from rtagent.core.keytable import Rows
from rtagent.core.ledger import Ledger
from rtagent.core.rows import Row, entry_paths, group_paths, key_row, unsupported_row
from rtagent.core.rules import rule_row, unsupported_rules
from rtagent.core.store import Store
from rtagent.vector.fib import NO_ENTRY, FibEntries, State
from rtagent.vector.keys import Key
from rtagent.vector.nexthops import NO_GROUP

SIDES = ("kernel", "desired", "vpp")

_NOT_DESIRED = (State.PARKED, State.UNSUPPORTED)


class Comparison:
    """The differences between two of SIDES, in the order of their keys."""

    def __init__(
        self, store: Store, ledger: Ledger, entries: FibEntries, interfaces: Mapping[int, str],
        rejected: Mapping[Key, str],
    ) -> None:  # fmt: skip
        self._store = store
        self._ledger = ledger
        self._entries = entries
        self._interfaces = interfaces
        self._links = {ifindex: link.name for ifindex, link in store.topology.links.items()}
        self._rejected = rejected
        """Why a running agent's data plane refused a row, where one is running."""

    def __call__(self, left: str, right: str, rows: Rows) -> Iterator[Row]:
        """Yield each of these rows: key, ``why``, ``reason``, both sides; then routes without a row, and rules."""
        for row in rows[self._store.rib.table.keys.take(rows).order()].tolist():
            yield self._row(row, left, right)
        if "kernel" in (left, right):
            for route in self._store.unsupported.values():
                shown = unsupported_row(route)
                yield _key_of(shown) | {"why": "unsupported", "reason": shown["reason"], left: None, right: None}
            for rule in unsupported_rules(self._store.rules.values()):
                yield rule_row(rule) | {"why": "unsupported", left: None, right: None}

    def differing(self, left: str, right: str) -> Rows:
        """Return the rows that the two sides do not hold alike."""
        size = self._store.rib.table.size
        state, installed = self._ledger.state[:size], self._ledger.installed[:size]
        group = self._store.rib.group[:size]
        not_desired = np.isin(state, _NOT_DESIRED) & (group != NO_GROUP)
        unlike = (state == State.PENDING) | (state == State.REJECTED)
        unlike |= (installed != NO_ENTRY) & (np.isin(state, _NOT_DESIRED) | (state == State.ABSENT))
        for row in np.flatnonzero(state == State.SHADOWED).tolist():
            unlike[row] = not self._forwards_alike(row)
        chosen: NDArray[np.bool_] = np.zeros(size, bool)
        if "vpp" in (left, right):
            chosen |= unlike
        if "kernel" in (left, right):
            chosen |= not_desired
        return np.flatnonzero(chosen & self._store.rib.table.live()).astype(np.int32)

    def _forwards_alike(self, row: int) -> bool:
        """Whether the stronger source's entry does what ours would: an interface's own connected prefix, usually."""
        foreign = self._ledger.foreign.get(row)
        if foreign is None:  # the kernel itself passes over the route
            return bool(self._ledger.installed[row] == NO_ENTRY)
        return foreign.entry == self._wanted(row)

    def _wanted(self, row: int) -> int:
        group = int(self._store.rib.group[row])
        if group == NO_GROUP:
            return NO_ENTRY
        return self._store.resolver.resolve(self._store.groups[group], self._key(row).family).entry

    def _row(self, row: int, left: str, right: str) -> Row:
        key = self._key(row)
        why, reason = self._why(row, key)
        return key_row(key) | {"why": why, "reason": reason, left: self._side(left, row), right: self._side(right, row)}

    def _why(self, row: int, key: Key) -> tuple[str, str]:
        state, installed = State(int(self._ledger.state[row])), int(self._ledger.installed[row])
        reason = self._ledger.reason(row)
        if state is State.SHADOWED:
            return reason, reason
        if installed != NO_ENTRY and self._wanted_now(row, state) == NO_ENTRY:
            return "extra", reason or "the kernel has no such route"
        if state in _NOT_DESIRED:
            return state.name.lower(), reason
        if key in self._rejected:
            return self._rejected[key].partition(":")[0], self._rejected[key]
        if installed == NO_ENTRY:
            return "missing", "not installed (yet)"
        return "other next hops", "the data plane forwards another way"

    def _wanted_now(self, row: int, state: State) -> int:
        return NO_ENTRY if state in (*_NOT_DESIRED, State.ABSENT) else self._wanted(row)

    def _side(self, side: str, row: int) -> Row | None:
        """Return what a side holds of a row: type and paths."""
        if side == "kernel":
            group_id = int(self._store.rib.group[row])
            if group_id == NO_GROUP:
                return None
            group = self._store.groups[group_id]
            return {"type": group.kind.name.lower(), "paths": group_paths(group, self._links)}
        if side == "desired":
            entry_id = self._wanted_now(row, State(int(self._ledger.state[row])))
        elif row in self._ledger.foreign and self._ledger.installed[row] == NO_ENTRY:
            entry_id = self._ledger.foreign[row].entry
        else:
            entry_id = int(self._ledger.installed[row])
        if entry_id == NO_ENTRY:
            return None
        entry = self._entries[entry_id]
        return {"type": entry.kind.name.lower(), "paths": entry_paths(entry, self._interfaces)}

    def _key(self, row: int) -> Key:
        return self._store.rib.table.keys.row(row)


def _key_of(row: Row) -> Row:
    return {name: row[name] for name in ("family", "table", "prefix")}
