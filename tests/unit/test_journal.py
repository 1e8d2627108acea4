"""The journal's bytes, also cut off anywhere; and the replay of what was recorded once (tests/golden/record.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtagent.agent.replay import replay
from rtagent.vector.fib import FibEntry, FibKind, FibPath
from rtagent.vector.keys import Key, Keys
from rtagent.wire import journal as wire
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.journal import VERSION_LINE, Kind, Reader, Record

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.journal"))
RECORDS = [Record(Kind.ROUND, 0), Record(Kind.LOST, 7, b"x"), Record(Kind.NOTIFIED, 1 << 31, bytes(10_000))]


def journal(records: list[Record]) -> bytes:
    return VERSION_LINE + b"".join(map(wire.encode, records))


def test_records_are_read_as_they_were_written() -> None:
    data = journal(RECORDS)
    reader = Reader(data)
    assert RECORDS == list(reader)
    assert not reader.torn
    assert len(data) < 200  # long bodies are deflated


def test_a_journal_cut_off_anywhere_is_read_up_to_there() -> None:
    data = journal(RECORDS)
    ends = [len(journal(RECORDS[:count])) for count in range(len(RECORDS) + 1)]
    for size in range(len(VERSION_LINE), len(data)):
        reader = Reader(data[:size])
        assert RECORDS[: sum(end <= size for end in ends) - 1] == list(reader)
        assert reader.torn == (size not in ends)


def test_a_record_that_was_damaged_ends_the_journal() -> None:
    data = bytearray(journal(RECORDS))
    data[len(journal(RECORDS[:1])) + 16] ^= 1
    reader = Reader(bytes(data))
    assert RECORDS[:1] == list(reader)
    assert reader.torn


@pytest.mark.parametrize("data", [b"", b"rtagent journal 2\n", b"\x7fELF"])
def test_what_is_no_journal_of_this_version_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage, match="not a journal of this version"):
        Reader(data)


def test_datagrams_rows_and_entries_survive_the_journal() -> None:
    buffer = np.arange(64, dtype=np.uint8)
    read, starts, lengths = wire.decode_datagrams(wire.encode_datagrams(buffer, [0, 32], [21, 8]))
    assert [bytes(range(21)), bytes(range(32, 40))] == [
        bytes(read[at : at + size]) for at, size in zip(starts, lengths, strict=True)
    ]
    assert [0, 0] == [start % 4 for start in starts]
    keys = Keys.of([Key.parse("192.0.2.0/24"), Key.parse("2001:db8::/32", 100)])
    again, entry = wire.decode_rows(wire.encode_rows(keys, np.array([3, -1], np.int32)))
    assert (list(keys), [3, -1]) == (list(again), entry.tolist())
    assert list(keys) == list(wire.decode_keys(wire.encode_keys(keys)))
    known = FibEntry(FibKind.UNICAST, (FibPath(b"\x0a\0\0\2", 7, 3, (100, 200), 2), FibPath(b"", 8)))
    assert known == wire.entry_of(wire.decode_json(wire.encode_json(wire.entry_fields(known))))


@pytest.mark.parametrize("body", [b"\x05\0\0\0ab", bytes(25)])
def test_bodies_that_break_their_format_are_malformed(body: bytes) -> None:
    for decode in (wire.decode_rows, wire.decode_keys, wire.decode_json):
        with pytest.raises(MalformedMessage):
            decode(body)
    with pytest.raises(MalformedMessage):
        wire.decode_datagrams(b"\x05\0\0\0ab")


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_what_was_decided_once_is_decided_again(path: Path) -> None:
    verdict = replay(path.read_bytes())
    assert verdict.difference is None
    assert (verdict.same, verdict.torn, verdict.full) == (True, False, False)
    assert verdict.rows > 100


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_first_other_decision_is_named(path: Path) -> None:
    records = list(Reader(path.read_bytes()))
    at = next(at for at, record in enumerate(records) if record.kind is Kind.DECIDED and record.body)
    keys, entry = wire.decode_rows(records[at].body)
    entry[0] = -1
    records[at] = records[at]._replace(body=wire.encode_rows(keys, entry))
    difference = replay(journal(records)).difference
    assert difference is not None
    assert (at, "removed") == (difference.record, difference.recorded)
    assert difference.replayed.startswith("unicast")
    assert keys.row(0).text == difference.row["prefix"]


def test_a_decision_that_is_not_made_any_more_is_a_difference() -> None:
    records = list(Reader(GOLDEN[0].read_bytes()))
    at = next(at for at, record in enumerate(records) if record.kind is Kind.DECIDED and record.body)
    keys, entry = wire.decode_rows(records[at].body)
    more = Keys.concat([keys, Keys.of([Key.parse("203.0.113.77/32")])])
    records[at] = records[at]._replace(body=wire.encode_rows(more, np.append(entry, entry[:1])))
    difference = replay(journal(records)).difference
    assert difference is not None
    assert ("203.0.113.77/32", "left alone") == (difference.row["prefix"], difference.replayed)


def test_records_out_of_their_order_are_malformed() -> None:
    settings = wire.encode_json({"dataplane": "memory", "pairs": {}, "ignore": [], "interfaces": True})
    with pytest.raises(MalformedMessage, match="begins with settings"):
        replay(journal([Record(Kind.ROUND, 0)]))
    with pytest.raises(MalformedMessage, match=r"record 1 \(DUMPED\)"):
        replay(journal([Record(Kind.SETTINGS, 0, settings), Record(Kind.DUMPED, 0)]))
