"""Rows of words that were met before."""

from __future__ import annotations

import numpy as np
import pytest

from rtagent.wire.netlink.known_rows import UNKNOWN, KnownRows


@pytest.mark.parametrize(("rows", "width"), [(1, 2), (300, 4), (5000, 3), (3000, 500)])
def test_every_row_that_was_added_is_found_with_its_number_and_no_other(rows: int, width: int) -> None:
    known = KnownRows(width)
    chance = np.random.default_rng(rows)
    words = np.unique(chance.integers(0, 1 << 32, (2 * rows, width), np.uint32), axis=0)
    chance.shuffle(words)
    for number, row in enumerate(words[:rows]):
        known.add(row, number)
    expected = np.where(np.arange(len(words)) < rows, np.arange(len(words)), UNKNOWN)
    assert expected.tolist() == known.find(words).tolist()
    assert expected.tolist() == [known.get(row) for row in words]


def test_rows_that_differ_in_one_word_are_different_rows() -> None:
    known = KnownRows(3)
    known.add(np.zeros(3, np.uint32), 7)
    rows = np.concatenate([np.zeros((1, 3), np.uint32), np.eye(3, dtype=np.uint32)])
    assert [7, UNKNOWN, UNKNOWN, UNKNOWN] == known.find(rows).tolist()
