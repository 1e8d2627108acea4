"""Rows of words that were met before, each with a number: what a route does is such a row, and a table has few of them.

A batch is looked up in a direct-mapped cache: a hash of the row says where in it the row can be, and is compared whole.
What is not there (it is new, or another row has the same place) is looked up one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

UNKNOWN = -1
_PLACES_A_ROW = 16
_LEAST_PLACES = 256
_MOST_WORDS = 1 << 20
"""4 MB: a cache is no place for a hundred thousand routes of a thousand nexthops each."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


class KnownRows:
    """Numbers of rows of ``width`` words."""

    def __init__(self, width: int) -> None:
        self._factor = _MIX ** np.arange(1, width + 1, dtype=np.uint64)  # powers of an odd number are odd
        self._numbers: dict[bytes, int] = {}
        self._resize(_LEAST_PLACES)

    def find(self, rows: Words) -> NDArray[np.int32]:
        """Return the number of each row, UNKNOWN where it has none."""
        place = self._place(rows)
        number = self._number[place]
        for column, there in enumerate(self._row):
            number[there[place] != rows[:, column]] = UNKNOWN
        for at in np.flatnonzero(number == UNKNOWN).tolist():
            number[at] = self.get(rows[at])
        return number

    def get(self, row: Words) -> int:
        """Return the number of one row."""
        return self._numbers.get(row.tobytes(), UNKNOWN)

    def add(self, row: Words, number: int) -> None:
        """Give a row its number."""
        self._numbers[row.tobytes()] = number
        places = len(self._number)
        if _PLACES_A_ROW * len(self._numbers) > places and 2 * places * len(self._factor) <= _MOST_WORDS:
            self._resize(2 * places)
        else:
            self._put(row[np.newaxis], np.array([number], np.int32))

    def _resize(self, places: int) -> None:
        self._shift = np.uint64(65 - places.bit_length())
        self._row = np.zeros((len(self._factor), places), np.uint32)
        self._number = np.full(places, UNKNOWN, np.int32)
        known = np.frombuffer(b"".join(self._numbers), np.uint32).reshape(-1, len(self._factor))
        self._put(known, np.array(list(self._numbers.values()), np.int32))

    def _put(self, rows: Words, number: NDArray[np.int32]) -> None:
        place = self._place(rows)
        self._row[:, place], self._number[place] = rows.T, number

    def _place(self, rows: Words) -> NDArray[np.uint64]:
        mixed = np.zeros(len(rows), np.uint64)
        for column, factor in enumerate(self._factor):
            mixed += rows[:, column] * factor
        return (mixed ^ mixed >> np.uint64(32)) * _MIX >> self._shift
