"""The messages about MPLS labels. One label of the kernel's is two entries in VPP: at the bottom of the stack, and not.

What is below a label that is popped at the bottom of the stack is told by nothing on the wire: VPP wants to know
beforehand, the kernel looks at the packet. We say the family of the first path's gateway, or IPv4 where it has none
(FibPath.family).

MPLS routes have no source of their own in VPP (every client's are source API), so our rows carry a mark: the
*preference* of every path is ``MARK``. Equal preferences change nothing in forwarding, the dump returns them, and
thus ours are told from others' after any restart of the agent. Layouts: vnet/mpls/mpls.api.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibVector
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS, Keys
from rtagent.wire.vapi.framing import FRAME_BYTES, Frames
from rtagent.wire.vapi.paths import PATH, PATH_BYTES, PROTO, PathLists
from rtagent.wire.vapi.routes import (
    FRAME_FIELDS,
    REQUEST_FIELDS,
    chosen,
    counted_paths,
    path_lists,
    paths_of,
    shape,
    shortest,
)

MARK = 114
"""The preference of our paths: an r, and none that anybody would choose."""

_LABEL_FIELDS = [
    ("table_id", ">u4"),
    ("label", ">u4"),
    ("eos", "u1"),
    ("eos_proto", "u1"),
    ("is_multicast", "u1"),
    ("n_paths", "u1"),
]
_ADD_DEL_FIELDS = [*FRAME_FIELDS, *REQUEST_FIELDS, ("is_add", "u1"), ("is_multipath", "u1"), *_LABEL_FIELDS]
_DETAILS = np.dtype([("message_id", ">u2"), ("context", ">u4"), *_LABEL_FIELDS])

_LABEL_SHIFT = np.uint64(44)
"""A label fills the upper 20 bits of Keys.hi."""

_NEOS, _EOS = 0, 1


def encode_labels(
    keys: Keys, entry: NDArray[np.int32], paths: PathLists, entries: FibEntries, context: int, *,
    message_id: int, client_index: int,
) -> NDArray[np.uint8]:  # fmt: skip
    """Return the framed ``mpls_route_add_del`` that give each label its entry, or remove it (NO_ENTRY).

    Row i is answered twice, by ``context + 2 * i`` and by the number after that.
    """
    lists, which = path_lists(entry, lambda number: paths.packed(number, AF_MPLS, MARK))
    which, twice = np.repeat(which, 2), np.repeat(np.arange(len(keys)), 2)
    n_paths = np.array([len(packed) // PATH_BYTES for packed in lists], np.intp)[which]
    payload = {number: PROTO[_payload(entries[number])] for number in set(entry.tolist()) - {NO_ENTRY}}
    payloads = np.array([payload.get(number, 0) for number in entry.tolist()], np.uint8)[twice]
    eos = np.tile(np.array([_NEOS, _EOS], np.uint8), len(keys))
    buffers: list[NDArray[np.uint8]] = []
    for count in sorted(set(n_paths.tolist()), reverse=True):
        rows = np.flatnonzero(n_paths == count)
        messages = np.zeros(len(rows), shape(_ADD_DEL_FIELDS, count))
        messages["size"] = messages.dtype.itemsize - FRAME_BYTES
        messages["message_id"], messages["client_index"] = message_id, client_index
        messages["context"] = np.uint32(context) + rows.astype(np.uint32)
        messages["is_add"] = count > 0
        messages["table_id"] = keys.table[twice[rows]]
        messages["label"] = keys.hi[twice[rows]] >> _LABEL_SHIFT
        messages["eos"], messages["n_paths"] = eos[rows], count
        messages["eos_proto"] = np.where(eos[rows] == _EOS, payloads[rows], 0)
        if count:
            messages["paths"] = chosen(lists, which[rows], count)
        buffers.append(messages.view(np.uint8))
    return np.concatenate(buffers) if buffers else np.empty(0, np.uint8)


def decode_labels(
    frames: Frames, paths: PathLists, entries: FibEntries, *, own_source: int, other_source: int
) -> FibVector:
    """Return one row per label of one table's ``mpls_route_details``. Raises MalformedMessage.

    A row is ours when each of its entries bears our mark. Where the two entries of a label differ, or one is not
    there (we were interrupted between the two), its entry is of kind OTHER, equal to nothing that is wanted.
    """
    shortest(frames, _DETAILS, "an MPLS route")
    if not len(frames):
        return FibVector(Keys.concat([]), np.empty(0, np.int32), np.empty(0, np.uint8))
    records = frames.records(_DETAILS)
    entry, marked = np.empty(len(frames), np.int32), np.empty(len(frames), bool)
    for count in counted_paths(frames, _DETAILS, records["n_paths"], "an MPLS route"):
        rows = np.flatnonzero(records["n_paths"] == count)
        packed = paths_of(frames.take(rows), _DETAILS, count)
        preference = packed.reshape(-1, PATH_BYTES).view(PATH)["preference"].reshape(len(rows), count)
        entry[rows] = paths.entry_ids(packed, AF_MPLS)
        marked[rows] = (preference == MARK).all(axis=1) & (count > 0)
    payload = np.array([PROTO[_payload(entries[number])] for number in entry.tolist()], np.uint8)
    told = (records["eos"] == _NEOS) | (records["eos_proto"] == payload)
    number = records["table_id"].astype(np.uint64) << np.uint64(20) | records["label"].astype(np.uint64)
    distinct, first, which = np.unique(number, return_index=True, return_inverse=True)
    whole = np.ones(len(distinct), bool)
    np.logical_and.at(whole, which, told & (entry == entry[first][which]))
    whole &= np.bincount(which, minlength=len(distinct)) == 2
    own = np.ones(len(distinct), bool)
    np.logical_and.at(own, which, marked)
    label = distinct & np.uint64(0xFFFFF)
    meta = (distinct >> np.uint64(20)) << np.uint64(16) | np.uint64(AF_MPLS << 8 | 20)
    other = entries.intern(FibEntry(FibKind.OTHER))
    return FibVector(
        Keys(label << _LABEL_SHIFT, np.zeros(len(label), np.uint64), meta),
        np.where(whole, entry[first], other).astype(np.int32),
        np.where(own, own_source, other_source).astype(np.uint8),
    )


def _payload(entry: FibEntry) -> int:
    """Return the family that is expected below a label at the bottom of the stack."""
    if not entry.paths or len(entry.paths[0].via) == 4:
        return AF_INET
    return AF_INET6 if entry.paths[0].via else entry.paths[0].family or AF_INET
