"""The plugin's answers as bytes: what they say, and that what cannot be is refused."""

from __future__ import annotations

import numpy as np
import pytest

from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibPath
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS, Key
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.vapi.bulk import (
    END,
    MAX_PATHS,
    FibSlice,
    decode_apply_reply,
    decode_read_reply,
    rows_per_message,
)
from rtagent.wire.vapi.labels import MARK
from rtagent.wire.vapi.paths import PathLists, encode_paths

BLACKHOLE, UNREACHABLE = FibEntry(FibKind.BLACKHOLE), FibEntry(FibKind.UNREACHABLE)


def number(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, "big")


def apply_reply(retval: int = 0, refused: tuple[tuple[int, int], ...] = ()) -> bytes:
    head = bytes((3, 132)) + number(9) + number(retval) + number(len(refused))
    return head + b"".join(number(row) + number(answer) for row, answer in refused)


def read_reply(
    family: int, rows: list[tuple[int, str, int, int, int]], *, retval: int = 0, marks: tuple[int, int] = (0, 0)
) -> bytes:
    """Return a slice with two path lists; a row is table, prefix, path list, source, flags. Below labels is IPv6."""
    lists = [encode_paths(entry, family, mark) for entry, mark in zip((BLACKHOLE, UNREACHABLE), marks, strict=True)]
    keys = [Key.parse(row[1]) for row in rows]
    size = 16 if family == AF_INET6 else 4
    data = b"".join((
        number(1), number(2), *lists,
        *(number(row[0]) for row in rows),
        *(number(row[2]) for row in rows),
        bytes(key.length for key in keys),
        *(key.bits.to_bytes(16, "big")[:size] for key in keys),
        b"\1" * len(rows) if family == AF_MPLS else b"",
        bytes(row[3] for row in rows),
        bytes(row[4] for row in rows),
    ))  # fmt: skip
    return bytes((3, 134)) + number(9) + b"".join(map(number, (retval, END, 2, len(rows), len(data)))) + data


SOME_ROWS = {
    AF_INET: [(0, "0.0.0.0/0", 0, 17, 0), (7, "192.0.2.0/24", 1, 24, 0), (7, "192.0.2.0/24", 0, 24, 1)],
    AF_INET6: [(0, "2001:db8::/32", 1, 3, 0), (0xFFFFFFFF, "2001:db8::7/128", 1, 24, 0)],
    AF_MPLS: [(0, "100", 0, 24, 2), (0, "100", 1, 24, 0), (7, "1048575", 1, 8, 2), (7, "1048575", 0, 24, 1)],
}


def test_rows_that_are_not_named_were_written() -> None:
    assert [0, -7, 0, -3] == decode_apply_reply(apply_reply(refused=((1, -7), (3, -3))), 4).tolist()


def test_where_the_message_is_refused_every_row_is() -> None:
    assert [-73, -73] == decode_apply_reply(apply_reply(-73), 2).tolist()


@pytest.mark.parametrize("message", [
    apply_reply(refused=((4, -7),)),
    apply_reply(refused=((0, 7),)),
    apply_reply(7),
    apply_reply(refused=((0, -7),))[:-1],
    apply_reply() + b"\0",
    apply_reply()[:-1],
    b"",
])  # fmt: skip
def test_an_answer_that_cannot_be_is_malformed(message: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_apply_reply(message, 4)


@pytest.mark.parametrize("family", SOME_ROWS)
def test_a_slice_has_its_rows_their_entries_and_which_are_hidden(family: int) -> None:
    entries = FibEntries()
    part = decode_read_reply(read_reply(family, SOME_ROWS[family]), family, PathLists(entries))
    assert END == part.cursor
    assert [
        (table, prefix, (BLACKHOLE, UNREACHABLE)[which], source, bool(flags & 1))
        for table, prefix, which, source, flags in SOME_ROWS[family]
    ] == [
        (key.table, key.text, entries[entry], source, hidden)
        for key, entry, source, hidden in zip(
            part.rows.keys, part.rows.entry.tolist(), part.rows.source.tolist(), part.hidden.tolist(), strict=True
        )
    ]


@pytest.mark.parametrize("family", SOME_ROWS)
def test_no_part_of_a_slice_passes_for_a_slice(family: int) -> None:
    message = read_reply(family, SOME_ROWS[family])
    for size in range(len(message)):
        with pytest.raises(MalformedMessage):
            decode_read_reply(message[:size], family, PathLists(FibEntries()))


@pytest.mark.parametrize("message", [
    read_reply(AF_INET, [(0, "192.0.2.0/24", 2, 24, 0)]),
    read_reply(AF_INET, SOME_ROWS[AF_INET], retval=-97),
    read_reply(AF_INET, [])[:26] + number(2) + number(1) + read_reply(AF_INET, [])[34:],
])  # fmt: skip
def test_a_slice_that_cannot_be_is_malformed(message: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_read_reply(message, AF_INET, PathLists(FibEntries()))


def test_of_an_entry_of_a_label_it_is_told_where_in_the_stack_it_is_and_whether_it_bears_the_mark() -> None:
    message = read_reply(AF_MPLS, SOME_ROWS[AF_MPLS], marks=(MARK, 0))
    part = decode_read_reply(message, AF_MPLS, PathLists(FibEntries()))
    assert [True, False, True, False] == part.bottom.tolist()
    assert [1, 1, 1, 1] == part.payload.tolist()
    assert [True, False, False, True] == part.marked.tolist()


@pytest.mark.parametrize("family", SOME_ROWS)
def test_a_slice_may_be_empty(family: int) -> None:
    part = decode_read_reply(read_reply(family, []), family, PathLists(FibEntries()))
    assert (0, END) == (len(part.rows), part.cursor)
    assert isinstance(part, FibSlice)


def test_a_message_has_fewer_rows_where_their_path_lists_would_not_fit() -> None:
    entries = FibEntries()
    wide = [
        entries.intern(FibEntry(FibKind.UNICAST, tuple(FibPath(bytes((10, group, 0, n)), 1) for n in range(64))))
        for group in range(200)
    ]
    paths = PathLists(entries)
    entry = np.array([*wide, NO_ENTRY], np.int32)
    assert MAX_PATHS // 64 == rows_per_message(entry, AF_INET, paths, 4096)
    assert 4096 == rows_per_message(entry[:100], AF_INET, paths, 4096)
    assert 4096 == rows_per_message(entry[:0], AF_INET, paths, 4096)
