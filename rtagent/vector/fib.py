"""FIB entries as a data plane holds them: what is wanted, what is installed, and the words for the difference.

Entries are interned like nexthop groups: equal forwarding is an equal id, so a comparison of two FIBs is a comparison
of two integer columns. ``interface`` is the data plane's number (vector/ports.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.encaps import STEERING_TABLE, Encap
from rtagent.vector.keys import EMPTY_KEYS, Keys, Selection
from rtagent.vector.ports import NO_INTERFACE

NO_ENTRY = -1
"""The entry id of a row that is not there (a plan: remove it)."""


RESERVED_TABLES = {
    STEERING_TABLE: "rtagent's own, by which policies are entered",
    0xFFFF_FFFF: "the one number of all of VPP's hidden tables",
}
"""Tables of the kernel whose numbers mean something else in a data plane, and what."""


class FibKind(IntEnum):
    """What an entry does to a packet."""

    UNICAST = 1
    LOCAL = 2
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8
    OTHER = 255
    """Something that rtagent never writes (a foreign entry: glean, multicast, classify, …)."""


class State(IntEnum):
    """The state of a row, as people and scripts see it (lower case)."""

    ABSENT = 0
    """Nothing wanted, nothing installed; never shown."""
    INSTALLED = 1
    PENDING = 2
    REJECTED = 3
    UNSUPPORTED = 4
    PARKED = 5
    SHADOWED = 6


class FibPath(NamedTuple):
    """One path of an entry; ``via`` is packed (4 or 16 bytes) or empty (attached)."""

    via: bytes = b""
    interface: int = NO_INTERFACE
    weight: int = 1
    """1 to 255."""
    labels: tuple[int, ...] = ()
    """Labels pushed, outermost first; on a label entry, what the label is swapped to."""
    family: int = 0
    """The payload's family where it is not told by ``via`` (an attached path, a pop): AF_INET, AF_INET6; else 0."""
    encap: Encap | None = None
    """What the path leaves through instead of a next hop and an interface, which are then neither here nor there."""


class FibEntry(NamedTuple):
    """How packets to a prefix are forwarded; ``paths`` are sorted, so equal entries compare equal."""

    kind: FibKind
    paths: tuple[FibPath, ...] = ()


class FibEntries:
    """The interned entries; ids are never reused while the process lives, and there are few of them."""

    def __init__(self) -> None:
        self._ids: dict[FibEntry, int] = {}
        self._entries: list[FibEntry] = []
        self.most_paths = 1
        """What no entry has more paths than."""

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, entry_id: int) -> FibEntry:
        return self._entries[entry_id]

    def intern(self, entry: FibEntry) -> int:
        """Return the id of this entry, the same for equal entries (paths are put in order)."""
        entry_id = self._ids.get(entry)
        if entry_id is None:
            entry = FibEntry(entry.kind, tuple(sorted(entry.paths, key=_rank)))
            entry_id = self._ids.get(entry)
            if entry_id is None:
                entry_id = len(self._entries)
                self._entries.append(entry)
                self.most_paths = max(self.most_paths, len(entry.paths))
                self._ids[entry] = entry_id
        return entry_id


def _rank(path: FibPath) -> tuple[Any, ...]:
    """Return what paths are sorted by: encapsulations are of several types, which do not compare."""
    return (*path[:-1], repr(path.encap) if path.encap else "")


@dataclass(frozen=True, slots=True)
class FibVector:
    """Rows as a data plane holds them: keys, entry ids, and the number of the source that wins each."""

    keys: Keys
    entry: NDArray[np.int32]
    source: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.entry)

    def take(self, rows: Selection) -> FibVector:
        """Return the rows at ``rows`` (indices or a mask)."""
        return FibVector(self.keys.take(rows), self.entry[rows], self.source[rows])

    @classmethod
    def concat(cls, parts: list[FibVector]) -> FibVector:
        """Return the parts one after the other."""
        if not parts:
            return EMPTY_FIB
        return cls(
            Keys.concat([part.keys for part in parts]),
            np.concatenate([part.entry for part in parts]),
            np.concatenate([part.source for part in parts]),
        )


EMPTY_FIB = FibVector(EMPTY_KEYS, np.empty(0, np.int32), np.empty(0, np.uint8))
