"""The journal's bytes: a line that names the version, then records; appended to, and readable up to a torn end.

==========  ==============================================================
u32         length of the body
u32         CRC-32 of kind, time and body
u8          kind
u8          1 where the body is deflated (RFC 1950)
u16         0
u32         milliseconds since the journal began, modulo 2**32
body
==========  ==============================================================

Little-endian. Keys are three columns of u64 (vector/keys.py), entries and answers one of i32.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.encaps import Encap, SrPolicy, Tunnel
from rtagent.vector.fib import FibEntry, FibKind, FibPath
from rtagent.vector.keys import Keys
from rtagent.wire.errors import MalformedMessage

VERSION_LINE = b"rtagent journal 1\n"
_HEADER = struct.Struct("<IIBBHI")
_DEFLATED_FROM_BYTES = 256
_LEVEL = 1
_MAX_BODY_BYTES = 1 << 28


class Kind(IntEnum):
    """What a record tells of."""

    SETTINGS = 1
    """JSON: what the mirror was configured with; the first record, and again after a reload."""
    PORTS = 2
    """JSON: the data plane's interfaces, whenever they have changed."""
    JOINED = 3
    """Links and ports were joined into pairs, because ports or settings had changed."""
    NOTIFIED = 4
    """Datagrams of notifications."""
    DUMP_BEGAN = 5
    """The part's name."""
    DUMPED = 6
    """Datagrams of the dump under way."""
    DUMP_ENDED = 7
    """"whole" or "broken off"."""
    LOST = 8
    """Notifications were lost."""
    CONNECTED = 9
    """A session with the data plane began: nothing is known to be installed."""
    ENTRIES = 10
    """JSON: entries by the numbers that other records use from here on."""
    HELD = 11
    """Rows that the data plane holds: JSON of the sources, then columns."""
    ROUND = 12
    """A round began: what was touched was taken."""
    DECIDED = 13
    """A slice was decided: the keys and entries of its plan. Plans are numbered from 0."""
    ANSWERED = 14
    """u32 number of the plan; one answer a row, or nothing where all rows were accepted."""
    RETRIED = 15
    """Refused rows were to be tried again."""
    UNSHADOWED = 16
    """Keys that a stronger source has let go of."""
    HOUSE_KEPT = 17
    """What nobody refers to was freed."""
    FULL = 18
    """The journal ends here: it has reached its size."""


class Record(NamedTuple):
    """One record."""

    kind: Kind
    at_ms: int
    body: bytes = b""


def encode(record: Record) -> bytes:
    """Return the bytes of a record."""
    body, deflated = record.body, 0
    if len(body) >= _DEFLATED_FROM_BYTES:
        body, deflated = zlib.compress(body, _LEVEL), 1
    at = record.at_ms & 0xFFFFFFFF
    return _HEADER.pack(len(body), _crc(record.kind, at, body), record.kind, deflated, 0, at) + body


class Reader:
    """The records of a journal, as far as it goes; ``torn`` says afterwards whether something stood behind them."""

    def __init__(self, data: bytes) -> None:
        """Raise MalformedMessage where this is no journal, or one of another version."""
        if not data.startswith(VERSION_LINE):
            raise MalformedMessage("not a journal of this version: it does not begin with 'rtagent journal 1'")
        self.torn = False
        self._data = data

    def __iter__(self) -> Iterator[Record]:
        at = len(VERSION_LINE)
        while at < len(self._data):
            record, at = self._record(at)
            if record is None:
                self.torn = True
                return
            yield record

    def _record(self, at: int) -> tuple[Record | None, int]:
        if at + _HEADER.size > len(self._data):
            return None, at
        length, crc, kind, deflated, _, at_ms = _HEADER.unpack_from(self._data, at)
        start, end = at + _HEADER.size, at + _HEADER.size + length
        if end > len(self._data) or crc != _crc(kind, at_ms, body := self._data[start:end]):
            return None, at
        try:
            return Record(Kind(kind), at_ms, _inflated(body) if deflated else body), end
        except (ValueError, zlib.error) as error:
            raise MalformedMessage(f"record of kind {kind} at byte {at}: {error}") from None


def _crc(kind: int, at_ms: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack("<BI", kind, at_ms)))


def _inflated(body: bytes) -> bytes:
    inflating = zlib.decompressobj()
    whole = inflating.decompress(body, _MAX_BODY_BYTES)
    if inflating.unconsumed_tail:
        raise ValueError(f"more than {_MAX_BODY_BYTES} bytes")
    return whole


def encode_datagrams(buffer: NDArray[np.uint8], starts: list[int], lengths: list[int]) -> bytes:
    """Return datagrams one after the other, each preceded by its u32 length and padded to 4 bytes."""
    data = buffer.data
    parts: list[bytes] = []
    for start, length in zip(starts, lengths, strict=True):
        parts += [struct.pack("<I", length), bytes(data[start : start + length]), bytes(-length % 4)]
    return b"".join(parts)


def decode_datagrams(body: bytes) -> tuple[NDArray[np.uint8], list[int], list[int]]:
    """Return buffer, starts (multiples of 4) and lengths. Raises MalformedMessage."""
    starts, lengths, at = [], [], 0
    while at + 4 <= len(body):
        (length,) = struct.unpack_from("<I", body, at)
        starts.append(at + 4)
        lengths.append(length)
        at += 4 + length + -length % 4
    if at != len(body):
        raise MalformedMessage("datagrams that end within one")
    return np.frombuffer(body, np.uint8), starts, lengths


def encode_rows(keys: Keys, entry: NDArray[np.int32]) -> bytes:
    """Return keys and a column of numbers."""
    return encode_keys(keys) + entry.astype("<i4").tobytes()


def decode_rows(body: bytes) -> tuple[Keys, NDArray[np.int32]]:
    """Return keys and a column of numbers. Raises MalformedMessage."""
    count, rest = divmod(len(body), 28)
    if rest:
        raise MalformedMessage(f"rows of {len(body)} bytes")
    return decode_keys(body[: 24 * count]), np.frombuffer(body, "<i4", count, 24 * count).astype(np.int32)


def encode_keys(keys: Keys) -> bytes:
    """Return the three columns of keys."""
    return b"".join(column.astype("<u8").tobytes() for column in (keys.hi, keys.lo, keys.meta))


def decode_keys(body: bytes) -> Keys:
    """Return keys. Raises MalformedMessage."""
    if len(body) % 24:
        raise MalformedMessage(f"keys of {len(body)} bytes")
    hi, lo, meta = np.frombuffer(body, "<u8").astype(np.uint64).reshape(3, -1)
    return Keys(hi, lo, meta)


def encode_json(value: Any) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def decode_json(body: bytes) -> Any:
    """Return the value of JSON. Raises MalformedMessage."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise MalformedMessage(f"not JSON: {error}") from None


def entry_fields(entry: FibEntry) -> list[Any]:
    """Return an entry as JSON holds it."""
    return [
        entry.kind,
        [
            [path.via.hex(), path.interface, path.weight, list(path.labels), path.family, *_encap_fields(path.encap)]
            for path in entry.paths
        ],
    ]


def entry_of(fields: list[Any]) -> FibEntry:
    """Return the entry of ``entry_fields``."""
    kind, paths = fields
    return FibEntry(
        FibKind(kind),
        tuple(FibPath(bytes.fromhex(via), interface, weight, tuple(labels), family, _encap_of(*encap))
              for via, interface, weight, labels, family, *encap in paths),
    )  # fmt: skip


def _encap_fields(encap: Encap | None) -> list[Any]:
    """Return a word and the fields, or nothing."""
    match encap:
        case SrPolicy():
            return ["sr", [[segment.hex() for segment in encap.segments], encap.source.hex(), *encap[2:]]]
        case Tunnel():
            return ["tunnel", [encap.source.hex(), encap.destination.hex(), *encap[2:]]]
    return []


def _encap_of(word: str = "", fields: Sequence[Any] = ()) -> Encap | None:
    match word:
        case "sr":
            segments, source, *rest = fields
            return SrPolicy(tuple(map(bytes.fromhex, segments)), bytes.fromhex(source), *rest)
        case "tunnel":
            source, destination, *rest = fields
            return Tunnel(bytes.fromhex(source), bytes.fromhex(destination), *rest)
    return None
