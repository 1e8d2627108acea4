"""From keys to row numbers, a vector at a time: open addressing over numpy columns.

A dictionary of a million keys costs 150 MB and a loop; this costs 24 bytes a key plus the buckets, and looks up a
batch with a handful of array operations whatever its size. All keys of a batch that are still looked for are at the
same step of their probing; steps grow by one bucket each, which tries every bucket and leaves few to look for long.
Row numbers are stable while a key is present, so other columns (what the kernel wants, what is installed) are joined
by row number and never by key.

Rows are freed in bulk only (``keep``): a prefix that flaps finds its old row, and the buckets need no tombstones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.keys import Keys

_EMPTY = -1
_MIX_HI = np.uint64(0x9E3779B97F4A7C15)
_MIX_LO = np.uint64(0xC2B2AE3D27D4EB4F)
_MIX_META = np.uint64(0x165667B19E3779F9)
_FOLD = np.uint64(32)
_INT_MIX_HI, _INT_MIX_LO, _INT_MIX_META = int(_MIX_HI), int(_MIX_LO), int(_MIX_META)
_LOW_64 = 0xFFFFFFFFFFFFFFFF
_FEW_ROWS = 64
"""So many are sorted sooner without arrays."""
_SPARSE = 5
"""Of fewer than a 32nd of all rows, the distinct ones are found by sorting them."""

Rows: TypeAlias = NDArray[np.int32]
Scalar = TypeVar("Scalar", bound=np.generic)


class KeyTable:
    """A growing set of keys, each with a row number below ``size``."""

    def __init__(self) -> None:
        self.size = 0
        """Rows ever handed out and not given back: columns need this length."""
        self._hi = np.empty(16, np.uint64)
        self._lo = np.empty(16, np.uint64)
        self._meta = np.empty(16, np.uint64)
        self._free = np.empty(0, np.int32)
        self._buckets = np.full(32, _EMPTY, np.int32)

    def __len__(self) -> int:
        return self.size - len(self._free)

    @property
    def keys(self) -> Keys:
        """The keys of rows 0 to size; what a free row holds has no meaning."""
        return Keys(self._hi[: self.size], self._lo[: self.size], self._meta[: self.size])

    def find(self, keys: Keys) -> Rows:
        """Return the row of each key, -1 where it is not present."""
        position = self._hash(keys)
        row = self._buckets[position]
        found = np.where(self._equal(keys, row), row, np.int32(_EMPTY))
        waiting = np.flatnonzero(found != row)
        position, step = position[waiting], 0
        while len(waiting):
            step += 1
            position = (position + step) & (len(self._buckets) - 1)
            row = self._buckets[position]
            hit = self._equal(keys.take(waiting), row)
            found[waiting[hit]] = row[hit]
            more = (row != _EMPTY) & ~hit
            waiting, position = waiting[more], position[more]
        return found

    def intern(self, keys: Keys) -> Rows:
        """Return the row of each key, making rows for those that are new; equal keys get one row."""
        self._reserve(len(keys))
        position = self._hash(keys)
        rows = self._buckets[position]
        known = self._equal(keys, rows)
        if not known.all():
            new = ~known
            rows[new] = self._place(keys.take(new), position[new])
        return rows

    def _place(self, keys: Keys, position: NDArray[np.intp]) -> Rows:
        """Return the row of each key, none of which is in its first bucket yet."""
        buckets = self._buckets
        rows = np.full(len(keys), _EMPTY, np.int32)
        waiting = np.arange(len(keys))
        mask, step = len(buckets) - 1, 0
        while True:
            vacant = buckets[position] == _EMPTY
            if vacant.any():
                claimed, claimant = position[vacant], waiting[vacant]
                buckets[claimed] = claimant  # of several claimants to a bucket, the last one written holds it
                won = buckets[claimed] == claimant
                winner = claimant[won]
                buckets[claimed[won]] = rows[winner] = self._new_rows(keys.take(winner))
                left = rows[waiting] == _EMPTY
                waiting, position = waiting[left], position[left]
            if not len(waiting):
                return rows
            row = buckets[position]
            hit = self._equal(keys.take(waiting), row)
            rows[waiting[hit]] = row[hit]
            miss = ~hit
            step += 1
            waiting, position = waiting[miss], (position[miss] + step) & mask

    def intern_one_by_one(self, keys: Sequence[tuple[int, int, int]]) -> list[int]:
        """Return the row of each (hi, lo, meta) as ``intern`` does: for a few keys that is quicker."""
        self._reserve(len(keys))
        buckets, his, los, metas = self._buckets.item, self._hi.item, self._lo.item, self._meta.item
        mask = len(self._buckets) - 1
        shift = 64 - mask.bit_length()
        rows = []
        for hi, lo, meta in keys:
            mixed = ((hi ^ hi >> 32) * _INT_MIX_HI ^ lo * _INT_MIX_LO ^ meta * _INT_MIX_META) & _LOW_64
            position = ((mixed ^ mixed >> 32) * _INT_MIX_HI & _LOW_64) >> shift
            row = buckets(position)
            step = 0
            while row != _EMPTY and (his(row) != hi or los(row) != lo or metas(row) != meta):
                step += 1
                position = (position + step) & mask
                row = buckets(position)
            if row == _EMPTY:
                row = self._buckets[position] = self._new_row(hi, lo, meta)
            rows.append(row)
        return rows

    def keep(self, used: NDArray[np.bool_]) -> None:
        """Free every row that is not marked in ``used`` (bool[size])."""
        self._free = np.flatnonzero(~used).astype(np.int32)
        self._rebuild(len(self._buckets))

    def live(self) -> NDArray[np.bool_]:
        """Return bool[size]: which rows hold a key."""
        mask = np.ones(self.size, bool)
        mask[self._free] = False
        return mask

    def _new_row(self, hi: int, lo: int, meta: int) -> int:
        if len(self._free):
            row = int(self._free[-1])
            self._free = self._free[:-1]
        else:
            row = self.size
            self.size += 1
        self._hi[row], self._lo[row], self._meta[row] = hi, lo, meta
        return row

    def _equal(self, keys: Keys, row: Rows) -> NDArray[np.bool_]:
        """Return which keys these rows hold; an empty bucket's holds none."""
        equal: NDArray[np.bool_] = self._hi[row] == keys.hi
        equal &= self._lo[row] == keys.lo
        equal &= self._meta[row] == keys.meta
        equal &= row != _EMPTY
        return equal

    def _hash(self, keys: Keys) -> NDArray[np.intp]:
        mixed = (keys.hi ^ (keys.hi >> _FOLD)) * _MIX_HI ^ keys.lo * _MIX_LO ^ keys.meta * _MIX_META
        mixed ^= mixed >> _FOLD
        mixed *= _MIX_HI
        position: NDArray[np.intp] = (mixed >> np.uint64(65 - len(self._buckets).bit_length())).astype(np.intp)
        return position

    def _new_rows(self, keys: Keys) -> Rows:
        reused = self._free[len(self._free) - min(len(self._free), len(keys)) :]
        self._free = self._free[: len(self._free) - len(reused)]
        fresh = np.arange(self.size, self.size + len(keys) - len(reused), dtype=np.int32)
        where: Rows | slice = slice(self.size, self.size + len(fresh))
        self.size += len(fresh)
        rows = fresh
        if len(reused):
            where = rows = np.concatenate([reused, fresh])
        self._hi[where], self._lo[where], self._meta[where] = keys.hi, keys.lo, keys.meta
        return rows

    def _reserve(self, more: int) -> None:
        """Make room for that many new keys, and keep the buckets at most half full.

        They become four times as many at a time: each key is then placed anew a third of a time on average.
        """
        needed = self.size + more
        if needed > len(self._hi):
            self._hi, self._lo, self._meta = (grown(column, needed) for column in (self._hi, self._lo, self._meta))
        if 2 * (len(self) + more) > len(self._buckets):
            self._rebuild(2 << (2 * (len(self) + more) - 1).bit_length())

    def _rebuild(self, buckets: int) -> None:
        self._buckets = np.full(buckets, _EMPTY, np.int32)
        waiting = np.flatnonzero(self.live()).astype(np.int32)
        position = self._hash(self.keys.take(waiting))
        step = 0
        while len(waiting):
            step += 1
            vacant = self._buckets[position] == _EMPTY
            self._buckets[position[vacant]] = waiting[vacant]
            lost = self._buckets[position] != waiting
            waiting, position = waiting[lost], (position[lost] + step) & (buckets - 1)


def distinct(parts: list[Rows], size: int) -> Rows:
    """Return each row that is in some part once, in ascending order; all rows are below ``size``."""
    rows = np.concatenate(parts) if len(parts) > 1 else parts[0] if parts else np.empty(0, np.int32)
    if len(rows) <= _FEW_ROWS:
        return np.array(sorted({*rows.tolist()}), np.int32)
    if increases(rows):
        return rows
    if len(rows) > size >> _SPARSE:
        present = np.zeros(size, bool)
        present[rows] = True
        return np.flatnonzero(present).astype(np.int32)
    rows = np.sort(rows)
    first = np.ones(len(rows), bool)
    first[1:] = rows[1:] != rows[:-1]
    return rows[first]


def increases(rows: Rows) -> bool:
    """Whether each row is above the one before it."""
    return bool((rows[1:] > rows[:-1]).all())


def grown(column: NDArray[Scalar], needed: int) -> NDArray[Scalar]:
    """Return a copy with room for ``needed`` rows and as many again; the new part is not initialised.

    It costs no memory until it is written to.
    """
    larger = np.empty(2 * needed, column.dtype)
    larger[: len(column)] = column
    return larger
