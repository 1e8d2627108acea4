"""The messages of our VPP plugin, vpp-plugin/fibbulk: thousands of routes in one, as columns.

``fibbulk_apply`` carries path lists once and rows that refer to them, its reply only the rows that were refused.
``fibbulk_read`` asks for the entries from a cursor on, its reply is a slice of them in the same layout. What a column
holds is told by fibbulk.api; the CRCs of ``definitions`` hold us to it. Keys carry VPP's table numbers, as in
``routes``; a message has rows of one address family, or labels.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import accumulate, chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.fib import NO_ENTRY, FibVector
from rtagent.vector.keys import AF_INET6, AF_MPLS, Keys
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.vapi.framing import FRAME_BYTES
from rtagent.wire.vapi.labels import bears_mark, payloads
from rtagent.wire.vapi.paths import PATH_BYTES, PROTO, PathLists
from rtagent.wire.vapi.routes import FEW, FRAME_FIELDS, REQUEST_FIELDS, masked, path_lists

MAX_PATHS = 8192
"""FIBBULK_MAX_PATHS, fibbulk_columns.h: of all path lists of a message together."""
END = 0xFFFFFFFF
"""The cursor behind the last slice."""

_REMOVE = 0xFFFFFFFF
_HIDDEN, _BOTTOM = 1, 2

_APPLY = struct.Struct(">QIIHIIBBIII")
"""Frame (queue, size, mark); message_id, client_index, context; family, source, n_lists, n_rows, n_bytes."""
_APPLY_REPLY = struct.Struct(">HIiI")
"""message_id, context; retval, n_refused."""
_REFUSED = np.dtype([("row", ">u4"), ("retval", ">i4")])
_READ = np.dtype(
    [*FRAME_FIELDS, *REQUEST_FIELDS, ("family", "u1"), ("source", "u1"), ("others", "u1"), ("cursor", ">u4"),
     ("max_rows", ">u4")]
)  # fmt: skip
_READ_REPLY = struct.Struct(">HIiIIII")
"""message_id, context; retval, cursor, n_lists, n_rows, n_bytes."""


class FibSlice(NamedTuple):
    """What a ``fibbulk_read_reply`` says."""

    rows: FibVector
    hidden: NDArray[np.bool_]
    """Which rows are ours, but a stronger source's row, also told where others are asked for, is the one in use."""
    cursor: int
    """What to ask for next; END: nothing."""
    bottom: NDArray[np.bool_]
    """Which rows are entries of labels at the bottom of the stack."""
    payload: NDArray[np.uint8]
    """What VPP expects below the labels of those."""
    marked: NDArray[np.bool_]
    """Which rows are entries of labels with our mark: an agent without the plugin has written them."""


def rows_per_message(entry: NDArray[np.int32], family: int, paths: PathLists, at_most: int) -> int:
    """Return how many of these rows fit a message, however they are cut."""
    entries = paths.entries
    if min(len(entry), at_most, len(entries)) * entries.most_paths <= MAX_PATHS:
        return at_most  # without a look at the rows, nearly always
    lists, _ = _lists(entry, family, paths)
    counts = [len(packed) // PATH_BYTES for packed in lists]
    return at_most if sum(counts) <= MAX_PATHS else max(1, min(at_most, MAX_PATHS // max(counts)))


def encode_apply(
    keys: Keys, entry: NDArray[np.int32], family: int, paths: PathLists, context: int, *,
    message_id: int, client_index: int, source: int,
) -> NDArray[np.uint8]:  # fmt: skip
    """Return the framed message that gives each key, all of one family, its entry or removes it (NO_ENTRY)."""
    lists, which = _lists(entry, family, paths)
    ends = list(accumulate(len(packed) // PATH_BYTES for packed in lists))
    columns = _columns_one_by_one if len(entry) <= FEW else _columns
    body = b"".join(
        (
            struct.pack(f">{len(ends)}I", *ends),
            *lists,
            *columns(keys, which, family),
            payloads(entry, paths.entries).tobytes() if family == AF_MPLS else b"",
        )
    )
    size = _APPLY.size - FRAME_BYTES + len(body)
    head = _APPLY.pack(
        0, size, 0, message_id, client_index, context, PROTO[family], source, len(lists), len(keys), len(body)
    )
    return np.frombuffer(head + body, np.uint8)


def decode_apply_reply(message: bytes, rows: int) -> NDArray[np.int32]:
    """Return the retval of each of the ``rows`` that were asked for. Raises MalformedMessage."""
    _, _, of_all, n_refused = _head(message, _APPLY_REPLY, "fibbulk_apply_reply")
    if len(message) != _APPLY_REPLY.size + n_refused * _REFUSED.itemsize:
        raise MalformedMessage(f"fibbulk_apply_reply of {len(message)} bytes with {n_refused} rows")
    retval = np.full(rows, of_all, np.int32)
    if not n_refused and of_all <= 0:
        return retval
    refused = np.frombuffer(message, _REFUSED, offset=_APPLY_REPLY.size)
    if len(refused) and int(refused["row"].max()) >= rows:
        raise MalformedMessage(f"fibbulk_apply_reply refuses row {refused['row'].max()} of {rows}")
    retval[refused["row"]] = refused["retval"]
    if (retval > 0).any():
        raise MalformedMessage(f"a route was answered by {int(retval.max())}, neither 0 nor an error")
    return retval


def encode_read(
    family: int, cursor: int, context: int, *, message_id: int, client_index: int, source: int, others: bool
) -> NDArray[np.uint8]:
    """Return the framed ``fibbulk_read`` from a cursor on: the rows of ``source``, and of ``others``."""
    message = np.zeros(1, _READ)
    message["size"] = _READ.itemsize - FRAME_BYTES
    message["message_id"], message["client_index"], message["context"] = message_id, client_index, context
    message["family"], message["source"], message["others"] = PROTO[family], source, others
    message["cursor"] = cursor
    return message.view(np.uint8)


def decode_read_reply(message: bytes, family: int, paths: PathLists) -> FibSlice:
    """Return a slice of entries. Raises MalformedMessage."""
    _, _, retval, cursor, n_lists, rows, _ = _head(message, _READ_REPLY, "fibbulk_read_reply")
    if retval:
        raise MalformedMessage(f"fibbulk_read is answered by {retval}")
    size, is_label = 16 if family == AF_INET6 else 4, family == AF_MPLS
    fixed = _READ_REPLY.size
    if len(message) < fixed + 4 * n_lists:
        raise MalformedMessage(f"fibbulk_read_reply of {len(message)} bytes with {n_lists} path lists")
    ends = np.frombuffer(message, ">u4", n_lists, fixed).astype(np.int64)
    n_paths = int(ends[-1]) if n_lists else 0
    at = fixed + 4 * n_lists + n_paths * PATH_BYTES
    if (np.diff(ends, prepend=0) < 0).any() or len(message) != at + rows * (4 + 4 + 1 + size + is_label + 1 + 1):
        raise MalformedMessage(f"fibbulk_read_reply of {len(message)} bytes with {rows} rows and {n_paths} paths")

    starts = fixed + 4 * n_lists + np.concatenate(([0], ends)) * PATH_BYTES
    lists = [message[start:end] for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)]
    entry_ids = [paths.entry_id(packed, family) for packed in lists]
    table = np.frombuffer(message, ">u4", rows, at)
    which = np.frombuffer(message, ">u4", rows, at + 4 * rows)
    length = np.frombuffer(message, np.uint8, rows, at + 8 * rows)
    address = np.frombuffer(message, np.uint8, rows * size, at + 9 * rows)
    payload = np.frombuffer(message, np.uint8, rows, at + (9 + size) * rows) if is_label else np.zeros(rows, np.uint8)
    source, flags = np.frombuffer(message, np.uint8, offset=at + (9 + size + is_label) * rows).reshape(2, rows)
    if (which >= n_lists).any() or (length > 8 * size).any():
        raise MalformedMessage("fibbulk_read_reply with an impossible prefix or path list")
    if family == AF_INET6:
        hi, lo = address.view(">u8").reshape(rows, 2).astype(np.uint64).T
    else:
        hi = address.view(">u4").astype(np.uint64) << np.uint64(32)
        lo = np.zeros(rows, np.uint64)
    meta = (table.astype(np.uint64) << np.uint64(8) | np.uint64(family)) << np.uint64(8) | length
    entry = np.array(entry_ids, np.int32)[which] if rows else np.empty(0, np.int32)
    return FibSlice(
        FibVector(masked(Keys(hi, lo, meta)), entry, source.copy()),
        hidden=(flags & _HIDDEN) != 0,
        cursor=cursor,
        bottom=(flags & _BOTTOM) != 0,
        payload=payload,
        marked=_marked(lists)[which] if is_label else np.zeros(rows, bool),
    )


def _marked(lists: list[bytes]) -> NDArray[np.bool_]:
    """Return which path lists bear our mark; most of them are alike."""
    known = {packed: bears_mark(packed) for packed in set(lists)}
    return np.array([known[packed] for packed in lists], bool)


def _lists(entry: NDArray[np.int32], family: int, paths: PathLists) -> tuple[list[bytes], NDArray[np.uint32]]:
    """Return the distinct path lists and which one each row has."""
    if len(entry) <= FEW:
        numbers = entry.tolist()
        place = {number: place for place, number in enumerate(sorted({*numbers} - {NO_ENTRY}))}
        lists = [paths.packed(number, family) for number in place]
        return lists, np.array([place.get(number, _REMOVE) for number in numbers], np.uint32)
    lists, which = path_lists(entry, lambda entry_id: paths.packed(entry_id, family))
    removal = entry == NO_ENTRY
    if removal.any():  # no list for these: it came first
        lists, which = lists[1:], which - 1
    return lists, np.where(removal, _REMOVE, which).astype(np.uint32)


def _columns(keys: Keys, which: NDArray[np.uint32], family: int) -> Iterator[bytes]:
    """Yield the tables, path lists, prefix lengths and addresses of the rows."""
    yield keys.table.astype(">u4").tobytes()
    yield which.astype(">u4").tobytes()
    yield keys.length.astype(np.uint8).tobytes()
    if family == AF_INET6:
        yield np.stack((keys.hi, keys.lo), 1).astype(">u8").tobytes()
    else:
        yield (keys.hi >> np.uint64(32)).astype(">u4").tobytes()


def _columns_one_by_one(keys: Keys, which: NDArray[np.uint32], family: int) -> Iterator[bytes]:
    """Yield the same: for a few rows that is quicker."""
    count, metas, his = len(keys), keys.meta.tolist(), keys.hi.tolist()
    yield struct.pack(f">{count}I", *[meta >> 16 for meta in metas])
    yield struct.pack(f">{count}I", *which.tolist())
    yield bytes([meta & 0xFF for meta in metas])
    if family == AF_INET6:
        yield struct.pack(f">{2 * count}Q", *chain.from_iterable(zip(his, keys.lo.tolist(), strict=True)))
    else:
        yield struct.pack(f">{count}I", *[hi >> 32 for hi in his])


def _head(message: bytes, layout: struct.Struct, what: str) -> tuple[int, ...]:
    if len(message) < layout.size:
        raise MalformedMessage(f"{what} of {len(message)} bytes")
    return layout.unpack_from(message)
