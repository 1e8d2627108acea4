"""The messages about MPLS labels. One label of the kernel's is two entries in VPP: at the bottom of the stack, and not.

What is below a label that is popped at the bottom of the stack is told by nothing on the wire: VPP wants to know
beforehand, the kernel looks at the packet. We say the family of the gateway of the first path that pops, or what
FibPath.family says where there is none. An entry that only swaps has no need to know.

By VPP's own API MPLS routes have no source of their own (every client's are source API), so our rows carry a mark: the
*preference* of every path is ``MARK``. Equal preferences change nothing in forwarding, the dump returns them, and
thus ours are told from others' after any restart of the agent. Layouts: vnet/mpls/mpls.api. By our plugin (``bulk``)
they have our source, and bear no mark.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.fib import EMPTY_FIB, NO_ENTRY, FibEntries, FibEntry, FibKind, FibVector
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
    payload = payloads(entry, entries)[twice]
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
        messages["eos_proto"] = np.where(eos[rows] == _EOS, payload[rows], 0)
        if count:
            messages["paths"] = chosen(lists, which[rows], count)
        buffers.append(messages.view(np.uint8))
    return np.concatenate(buffers) if buffers else np.empty(0, np.uint8)


def payload_proto(entry: FibEntry) -> int | None:
    """Return what VPP must expect below a label that has this entry; None where it has no need to know."""
    popping = next((path for path in entry.paths if not path.labels), None)
    if popping is None:
        return None
    family = (AF_INET if len(popping.via) == 4 else AF_INET6) if popping.via else popping.family or AF_INET
    return PROTO[family]


def payloads(entry: NDArray[np.int32], entries: FibEntries) -> NDArray[np.uint8]:
    """Return what VPP is told to expect below the label of each row; IPv4 where it has no need to know."""
    known = {number: payload_proto(entries[number]) or 0 for number in set(entry.tolist()) - {NO_ENTRY}}
    return np.array([known.get(number, 0) for number in entry.tolist()], np.uint8)


def bears_mark(packed: bytes) -> bool:
    """Whether a path list is one of ours that VPP's own API has taken."""
    return bool(packed) and bool((np.frombuffer(packed, PATH)["preference"] == MARK).all())


def decode_labels(
    frames: Frames, paths: PathLists, entries: FibEntries, *, own_source: int, other_source: int
) -> tuple[FibVector, NDArray[np.uint8]]:
    """Return what ``whole_labels`` makes of the ``mpls_route_details`` of one table: marked rows are ours.

    Raises MalformedMessage.
    """
    shortest(frames, _DETAILS, "an MPLS route")
    if not len(frames):
        return EMPTY_FIB, np.empty(0, np.uint8)
    records = frames.records(_DETAILS)
    entry, marked = np.empty(len(frames), np.int32), np.empty(len(frames), bool)
    for count in counted_paths(frames, _DETAILS, records["n_paths"], "an MPLS route"):
        rows = np.flatnonzero(records["n_paths"] == count)
        packed = paths_of(frames.take(rows), _DETAILS, count)
        preference = packed.reshape(-1, PATH_BYTES).view(PATH)["preference"].reshape(len(rows), count)
        entry[rows] = paths.entry_ids(packed, AF_MPLS)
        marked[rows] = (preference == MARK).all(axis=1) & (count > 0)
    label = records["label"].astype(np.uint64) << _LABEL_SHIFT
    meta = records["table_id"].astype(np.uint64) << np.uint64(16) | np.uint64(AF_MPLS << 8 | 20)
    source = np.where(marked, own_source, other_source).astype(np.uint8)
    held = FibVector(Keys(label, np.zeros_like(label), meta), entry, source)
    return whole_labels(held, records["eos"] != _NEOS, records["eos_proto"], entries, own_source)


def whole_labels(
    held: FibVector, bottom: NDArray[np.bool_], expected: NDArray[np.uint8], entries: FibEntries, own_source: int
) -> tuple[FibVector, NDArray[np.uint8]]:
    """Return one row per label of VPP's two entries per label of one table, and what VPP expects below each.

    ``expected`` is that of the entries at the ``bottom`` of the stack. A row is ours when each of its entries is.
    Where the two entries of a label differ, or one is not there (we were interrupted between the two), its entry is of
    kind OTHER, equal to nothing that is wanted; so it is where VPP expects something else below the label than the
    entry needs.
    """
    needed = {number: payload_proto(entries[number]) for number in set(held.entry.tolist())}
    fits = [
        needed[number] in (None, there) for number, there in zip(held.entry.tolist(), expected.tolist(), strict=True)
    ]
    distinct, first, which = np.unique(held.keys.hi, return_index=True, return_inverse=True)
    whole = np.ones(len(distinct), bool)
    np.logical_and.at(whole, which, (~bottom | np.array(fits, bool)) & (held.entry == held.entry[first][which]))
    whole &= np.bincount(which, minlength=len(distinct)) == 2
    source, payload = held.source[first], np.zeros(len(distinct), np.uint8)
    foreign = held.source != own_source
    source[which[foreign]] = held.source[foreign]
    payload[which[bottom]] = expected[bottom]
    entry = np.where(whole, held.entry[first], entries.intern(FibEntry(FibKind.OTHER))).astype(np.int32)
    return FibVector(held.keys.take(first), entry, source), payload
