"""The messages about IP routes, a vector at a time: ``ip_route_add_del_v2`` out, details and lookup replies in.

All routes with equally many paths have messages of one length, a *shape*: each shape is one structured fill in which
only context, table, prefix and the choice of path list vary by row. Coming in, messages of one length are copied out
as records, and their path lists become entry ids by the distinct ones, however many rows there are.

Layouts: vnet/ip/ip.api and vnet/ip/ip_types.api, held to by the CRCs of ``definitions``. Keys carry VPP's table
numbers here; which of them is the kernel's main table is the sink's to know.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.fib import EMPTY_FIB, NO_ENTRY, FibVector
from rtagent.vector.keys import AF_INET, AF_INET6, Keys
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.vapi.framing import FRAME_BYTES, Frames
from rtagent.wire.vapi.paths import PATH_BYTES, PathLists

FRAME_FIELDS = [("queue", ">u8"), ("size", ">u4"), ("mark", ">u4")]
REQUEST_FIELDS = [("message_id", ">u2"), ("client_index", ">u4"), ("context", ">u4")]
_PREFIX_FIELDS = [("is_ip6", "u1"), ("hi", ">u8"), ("lo", ">u8"), ("length", "u1")]
_ROUTE_FIELDS = [("table_id", ">u4"), ("stats_index", ">u4"), *_PREFIX_FIELDS, ("n_paths", "u1"), ("src", "u1")]
_ADD_DEL_FIELDS = [*FRAME_FIELDS, *REQUEST_FIELDS, ("is_add", "u1"), ("is_multipath", "u1"), *_ROUTE_FIELDS]
_ADD_DEL = struct.Struct(">QIIHIIBBIIBQQBBB")
"""The same: frame, request, is_add and is_multipath, table and statistics, prefix, n_paths and src."""
_LOOKUP = np.dtype([*FRAME_FIELDS, *REQUEST_FIELDS, ("table_id", ">u4"), ("exact", "u1"), *_PREFIX_FIELDS])
_DETAILS = np.dtype([("message_id", ">u2"), ("context", ">u4"), *_ROUTE_FIELDS])
_LOOKUP_REPLY = np.dtype([("message_id", ">u2"), ("context", ">u4"), ("retval", ">i4"), *_ROUTE_FIELDS])
_REPLY = np.dtype([("message_id", ">u2"), ("context", ">u4"), ("retval", ">i4"), ("stats_index", ">u4")])

FEW = 64
"""So many rows are looked at sooner one by one."""
_BYTE = np.uint64(8)
_HI_MASK = np.array([-1 << max(0, 64 - length) & 0xFFFFFFFFFFFFFFFF for length in range(129)], np.uint64)
_LO_MASK = np.array([-1 << min(64, 128 - length) & 0xFFFFFFFFFFFFFFFF for length in range(129)], np.uint64)
"""By prefix length."""


def encode_routes(
    keys: Keys, entry: NDArray[np.int32], paths: PathLists, context: int, *,
    message_id: int, client_index: int, source: int,
) -> NDArray[np.uint8]:  # fmt: skip
    """Return the framed messages that give each key its entry, or remove it (NO_ENTRY), as one buffer.

    Row i is answered by ``context + i``. Within the buffer, rows with more paths come first and removals last.
    """
    if len(entry) <= FEW:
        return _one_by_one(keys, entry, paths, context, message_id, client_index, source)
    add = entry != NO_ENTRY
    is_ip6 = keys.family == AF_INET6
    lists, which = path_lists(np.where(add, 2 * entry + is_ip6, -1), lambda number: _packed(paths, number))
    n_paths = np.array([len(packed) // PATH_BYTES for packed in lists], np.intp)[which]
    buffers: list[NDArray[np.uint8]] = []
    for count in sorted(set(n_paths.tolist()), reverse=True):
        rows = np.flatnonzero(n_paths == count)
        messages = np.zeros(len(rows), shape(_ADD_DEL_FIELDS, count))
        messages["size"] = messages.dtype.itemsize - FRAME_BYTES
        messages["message_id"], messages["client_index"] = message_id, client_index
        messages["context"] = np.uint32(context) + rows.astype(np.uint32)
        messages["is_add"] = add[rows]
        _fill_prefix(messages, keys.take(rows))
        messages["n_paths"], messages["src"] = count, source
        if count:
            messages["paths"] = chosen(lists, which[rows], count)
        buffers.append(messages.view(np.uint8))
    return np.concatenate(buffers) if buffers else np.empty(0, np.uint8)


def _one_by_one(
    keys: Keys, entry: NDArray[np.int32], paths: PathLists, context: int,
    message_id: int, client_index: int, source: int,
) -> NDArray[np.uint8]:  # fmt: skip
    """Return what ``encode_routes`` does: for a few rows that is quicker."""
    messages: list[tuple[int, bytes]] = []
    columns = (entry, keys.hi, keys.lo, keys.meta)
    for row, (number, hi, lo, meta) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        add, is_ip6 = number != NO_ENTRY, meta >> 8 & 0xFF == AF_INET6
        packed = _packed(paths, 2 * number + is_ip6) if add else b""
        head = _ADD_DEL.pack(
            0, _ADD_DEL.size - FRAME_BYTES + len(packed), 0, message_id, client_index, context + row & 0xFFFFFFFF,
            add, 0, meta >> 16, 0, is_ip6, hi, lo, meta & 0xFF, len(packed) // PATH_BYTES, source,
        )  # fmt: skip
        messages.append((len(packed), head + packed))
    messages.sort(key=lambda message: -message[0])
    return np.frombuffer(b"".join(message for _, message in messages), np.uint8)


def encode_lookups(keys: Keys, context: int, *, message_id: int, client_index: int) -> NDArray[np.uint8]:
    """Return the framed ``ip_route_lookup_v2`` of each key, exact match; row i is answered by ``context + i``."""
    messages = np.zeros(len(keys), _LOOKUP)
    messages["size"] = _LOOKUP.itemsize - FRAME_BYTES
    messages["message_id"], messages["client_index"] = message_id, client_index
    messages["context"] = np.uint32(context) + np.arange(len(keys), dtype=np.uint32)
    messages["exact"] = 1
    _fill_prefix(messages, keys)
    return messages.view(np.uint8)


def decode_details(frames: Frames, paths: PathLists) -> FibVector:
    """Return the rows of ``ip_route_v2_details``, in any order. Raises MalformedMessage."""
    return _decode_routes(frames, _DETAILS, paths)


def decode_lookups(frames: Frames, paths: PathLists) -> FibVector:
    """Return the rows of those ``ip_route_lookup_v2_reply`` that found one. Raises MalformedMessage."""
    shortest(frames, _LOOKUP_REPLY, "ip_route_lookup_v2_reply")
    found = frames.records(_LOOKUP_REPLY)["retval"] == 0
    return _decode_routes(frames.take(found), _LOOKUP_REPLY, paths)


def decode_replies(frames: Frames) -> NDArray[np.int32]:
    """Return the retval of each reply to a route, IP or MPLS. Raises MalformedMessage."""
    shortest(frames, _REPLY, "a reply to a route")
    retval = frames.records(_REPLY)["retval"].astype(np.int32)
    if (retval > 0).any():
        raise MalformedMessage(f"a route was answered by {int(retval.max())}, neither 0 nor an error")
    return retval


def masked(keys: Keys) -> Keys:
    """Return the keys without bits behind their prefix: VPP leaves the host's in what interfaces bring along."""
    return Keys(keys.hi & _HI_MASK[keys.length], keys.lo & _LO_MASK[keys.length], keys.meta)


def shape(fields: list[tuple[str, str]], n_paths: int) -> np.dtype[np.void]:
    """Return the dtype of a message whose fields are followed by that many paths."""
    return np.dtype([*fields, ("paths", f"V{n_paths * PATH_BYTES}")] if n_paths else fields)


def path_lists(
    number: NDArray[np.integer], packed: Callable[[int], bytes]
) -> tuple[list[bytes], NDArray[np.intp]]:  # fmt: skip
    """Return the distinct path lists behind a column of small numbers (-1: no paths), and which one each row has."""
    present = np.zeros(int(number.max(initial=-1)) + 2, bool)
    present[number + 1] = True
    lists = [packed(value - 1) if value else b"" for value in np.flatnonzero(present).tolist()]
    return lists, (np.cumsum(present) - 1)[number + 1]


def chosen(lists: list[bytes], which: NDArray[np.intp], n_paths: int) -> NDArray[np.void]:
    """Return the path list of each row, all of which have ``n_paths``."""
    size = n_paths * PATH_BYTES
    fitting = np.frombuffer(b"".join(packed if len(packed) == size else bytes(size) for packed in lists), f"V{size}")
    return fitting[which]


def shortest(frames: Frames, dtype: np.dtype[np.void], what: str) -> None:
    """Raise MalformedMessage where a message is shorter than its fixed part."""
    if len(frames) and int(frames.length.min()) < dtype.itemsize:
        raise MalformedMessage(f"{what} of {int(frames.length.min())} bytes")


def paths_of(frames: Frames, fixed: np.dtype[np.void], n_paths: int) -> NDArray[np.uint8]:
    """Return the path lists of messages that have ``n_paths`` each: uint8[messages, bytes]."""
    size = n_paths * PATH_BYTES
    if not size:
        return np.empty((len(frames), 0), np.uint8)
    return frames.records(np.dtype(f"V{size}"), fixed.itemsize).view(np.uint8).reshape(len(frames), size)


def counted_paths(frames: Frames, fixed: np.dtype[np.void], n_paths: NDArray[np.uint8], what: str) -> list[int]:
    """Return the path counts that occur. Raises MalformedMessage where a count and a length disagree."""
    wrong = frames.length != fixed.itemsize + PATH_BYTES * n_paths.astype(np.int64)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise MalformedMessage(f"{what} of {int(frames.length[at])} bytes with {int(n_paths[at])} paths")
    counts: list[int] = np.unique(n_paths).tolist()
    return counts


def _packed(paths: PathLists, number: int) -> bytes:
    return paths.packed(number >> 1, AF_INET6 if number & 1 else AF_INET)


def _fill_prefix(messages: NDArray[np.void], keys: Keys) -> None:
    messages["table_id"] = keys.table
    messages["is_ip6"] = keys.family == AF_INET6
    messages["hi"], messages["lo"], messages["length"] = keys.hi, keys.lo, keys.length


def _decode_routes(frames: Frames, fixed: np.dtype[np.void], paths: PathLists) -> FibVector:
    shortest(frames, fixed, "a route")
    if not len(frames):
        return EMPTY_FIB
    records = frames.records(fixed)
    is_ip6, length = records["is_ip6"], records["length"]
    if (is_ip6 > 1).any() or (length > np.where(is_ip6, 128, 32)).any():
        raise MalformedMessage("a route with an impossible prefix")
    hi, lo = records["hi"].astype(np.uint64), records["lo"].astype(np.uint64)
    family = np.where(is_ip6, np.uint64(AF_INET6), np.uint64(AF_INET))
    meta = (records["table_id"].astype(np.uint64) << _BYTE | family) << _BYTE | length
    entry = np.empty(len(frames), np.int32)
    for count in counted_paths(frames, fixed, records["n_paths"], "a route"):
        for number in (0, 1):
            rows = np.flatnonzero((records["n_paths"] == count) & (is_ip6 == number))
            if len(rows):
                packed = paths_of(frames.take(rows), fixed, count)
                entry[rows] = paths.entry_ids(packed, AF_INET6 if number else AF_INET)
    return FibVector(masked(Keys(hi, lo, meta)), entry, records["src"].copy())
