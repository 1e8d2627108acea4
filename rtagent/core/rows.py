"""Rows in the words of the contract: what `rtagent fib --json` prints, one mapping per row.

The field names and the words for types and states are relied on by others' scripts; they change with the major
version only (docs/reference.md).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtagent.core.ledger import Ledger
from rtagent.core.store import Store
from rtagent.vector.batch import UnsupportedRoute
from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibPath, State
from rtagent.vector.keys import AF_MPLS, FAMILY_NAMES, FAMILY_NUMBERS, Key
from rtagent.vector.nexthops import NexthopGroup
from rtagent.vector.ports import NO_INTERFACE

Row = dict[str, Any]


def address_text(packed: bytes) -> str | None:
    """Return a packed address as text, None where there is none."""
    return str(ipaddress.ip_address(packed)) if packed else None


def path_row(path: FibPath, interfaces: Mapping[int, str]) -> Row:
    """Return one path; an interface that has no name (any more) shows as its number.

    A path that encapsulates has ``encap``, in the words of ``ip route``.
    """
    name = interfaces.get(path.interface) or (None if path.interface == NO_INTERFACE else f"#{path.interface}")
    return {
        "via": address_text(path.via),
        "interface": name,
        "weight": path.weight,
        "labels": list(path.labels),
    } | ({"encap": path.encap.text} if path.encap else {})


def entry_row(key: Key, entry: FibEntry, interfaces: Mapping[int, str], state: str, reason: str) -> Row:
    """Return the row of an entry as a data plane holds it."""
    row = key_row(key)
    row["type"] = entry.kind.name.lower()
    row["paths"] = entry_paths(entry, interfaces)
    return row | {"state": state, "reason": reason}


def entry_paths(entry: FibEntry, interfaces: Mapping[int, str]) -> list[Row]:
    """Return an entry's paths, interfaces by their data plane names."""
    return [path_row(path, interfaces) for path in entry.paths]


def group_row(key: Key, group: NexthopGroup, links: Mapping[int, str], state: str, reason: str) -> Row:
    """Return the row of a kernel route that the data plane does not hold; interfaces are the kernel's."""
    row = key_row(key)
    row["type"] = group.kind.name.lower()
    row["paths"] = group_paths(group, links)
    return row | {"state": state, "reason": reason}


def group_paths(group: NexthopGroup, links: Mapping[int, str]) -> list[Row]:
    """Return a group's nexthops as paths, interfaces by their kernel names."""
    return [
        {
            "via": address_text(way.via),
            "interface": links.get(way.ifindex),
            "weight": way.weight,
            "labels": list(way.labels),
        }
        | ({"encap": way.encap.text} if way.encap else {})
        for way in group.nexthops
    ]


def unsupported_row(route: UnsupportedRoute) -> Row:
    """Return the row of a route whose key has no counterpart."""
    return {
        "family": FAMILY_NAMES[route.family],
        "table": route.table,
        "prefix": route.prefix,
        "type": "unicast",
        "paths": [],
        "state": "unsupported",
        "reason": f"{route.identity}: {route.reason}" if route.identity else route.reason,
    }


def key_row(key: Key) -> Row:
    """Return family, table and prefix (or label) of a key."""
    name = "label" if key.family == AF_MPLS else "prefix"
    return {
        "family": FAMILY_NAMES[key.family],
        "table": key.table,
        name: int(key.text) if key.family == AF_MPLS else key.text,
    }


class Rows:
    """The rows of a store and its ledger, as mappings."""

    def __init__(self, store: Store, ledger: Ledger, entries: FibEntries, interfaces: Mapping[int, str]) -> None:
        self._store = store
        self._ledger = ledger
        self._entries = entries
        self._interfaces = interfaces

    def __call__(self, *, table: int | None = None, family: str | None = None, key: Key | None = None) -> Iterator[Row]:
        """Yield the rows that match, in the order of their keys; routes without a counterpart last.

        The selection is made at the call; rows that go away meanwhile are left out.
        """
        keys = self._store.rib.table.keys
        rows = self._shown() if key is None else self._shown_at(key)
        if table is not None:
            rows = rows[keys.table[rows] == table]
        if family is not None:
            rows = rows[keys.family[rows] == FAMILY_NUMBERS[family]]
        for row in rows[keys.take(rows).order()].tolist():
            yield self.row(row)
        for lost in list(self._store.unsupported.values()):
            named = key is None or lost.prefix == key.text
            if named and table in (None, lost.table) and family in (None, FAMILY_NAMES[lost.family]):
                yield unsupported_row(lost)

    def _shown(self) -> NDArray[np.intp]:
        table = self._store.rib.table
        return np.flatnonzero((self._ledger.state[: table.size] != State.ABSENT) & table.live())

    def _shown_at(self, key: Key) -> NDArray[np.intp]:
        """Return the rows of a prefix in every table; all but one of the comparisons see a few rows only."""
        table = self._store.rib.table
        keys = table.keys
        rows = np.flatnonzero(keys.hi == key.bits >> 64)
        which = (keys.lo[rows] == key.bits & 0xFFFFFFFFFFFFFFFF) & (self._ledger.state[rows] != State.ABSENT)
        which &= keys.meta[rows] & np.uint64(0xFFFF) == key.family << 8 | key.length
        found: NDArray[np.intp] = rows[which & table.live()[rows]]
        return found

    def row(self, row: int) -> Row:
        """Return one row as the data plane holds it, or as it would if it could."""
        store, ledger = self._store, self._ledger
        key = store.rib.table.keys.row(row)
        state = State(int(ledger.state[row]))
        reason = ledger.reason(row)
        held = int(ledger.installed[row])
        if held == NO_ENTRY and state is State.SHADOWED and row in ledger.foreign:
            held = ledger.foreign[row].entry
        group_id = int(store.rib.group[row])
        if held == NO_ENTRY and state in (State.PENDING, State.REJECTED) and group_id >= 0:
            held = store.resolver.resolve(store.groups[group_id], key.family).entry
        if held != NO_ENTRY:
            return entry_row(key, self._entries[held], self._interfaces, state.name.lower(), reason)
        if group_id < 0:
            return entry_row(key, FibEntry(FibKind.OTHER), self._interfaces, state.name.lower(), reason)
        links = {ifindex: link.name for ifindex, link in store.topology.links.items()}
        return group_row(key, store.groups[group_id], links, state.name.lower(), reason)
