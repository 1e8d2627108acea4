"""FIB entries as VPP's path lists, and back: one entry, one run of bytes, whatever the number of routes that share it.

``vl_api_fib_path_t`` (vnet/fib/fib_types.api) is 167 bytes; the dump gives the paths as they were configured, also
those that do not resolve now, with weights as given, so that a path list which is read back is the entry that was
written. What the kernel leaves open is decided here, the same for every entry:

* a pushed or swapped label is *uniform*: VPP takes the TTL from the packet, as the kernel does by default
  (net.mpls.ip_ttl_propagate). The dump does not return the mode, so it takes no part in a comparison;
* a label that is popped is implicit null on the wire (RFC 3032): with an empty stack VPP drops what is not at the
  bottom of the stack;
* ``local`` is a receive path without an interface; drops carry the protocol of their row.

A path that encapsulates leaves through a tunnel or a policy; ``encaps`` knows where in VPP that is.

Path identity in VPP is type, protocol, next hop and interface; paths that differ otherwise collapse, which is why
``core.resolve`` keeps such entries out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.fib import FibEntries, FibEntry, FibKind, FibPath
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS
from rtagent.vector.ports import NO_INTERFACE
from rtagent.wire.vapi.encaps import EncapPaths

MAX_LABELS = 16
IMPLICIT_NULL = 3
_LABEL_TTL = 64
"""Used where there is no packet to take the TTL from."""

PATH = np.dtype(
    [
        ("sw_if_index", ">u4"),
        ("table_id", ">u4"),
        ("rpf_id", ">u4"),
        ("weight", "u1"),
        ("preference", "u1"),
        ("type", ">u4"),
        ("flags", ">u4"),
        ("proto", ">u4"),
        ("address", "u1", 16),
        ("via_label", ">u4"),
        ("obj_id", ">u4"),
        ("classify_table_index", ">u4"),
        ("n_labels", "u1"),
        ("labels", [("is_uniform", "u1"), ("label", ">u4"), ("ttl", "u1"), ("exp", "u1")], MAX_LABELS),
    ]
)
PATH_BYTES = PATH.itemsize

_NORMAL, _LOCAL, _DROP, _UNREACHABLE, _PROHIBIT = 0, 1, 2, 5, 6
"""FIB_API_PATH_TYPE_*."""
_TYPES = {
    FibKind.LOCAL: _LOCAL,
    FibKind.BLACKHOLE: _DROP,
    FibKind.UNREACHABLE: _UNREACHABLE,
    FibKind.PROHIBIT: _PROHIBIT,
}
_KINDS = {number: kind for kind, number in _TYPES.items()}
PROTO = {AF_INET: 0, AF_INET6: 1, AF_MPLS: 2}
"""FIB_API_PATH_NH_PROTO_*, by address family."""
_FAMILY = {number: family for family, number in PROTO.items()}


def encode_paths(entry: FibEntry, family: int, preference: int = 0, encaps: EncapPaths | None = None) -> bytes:
    """Return the path list of an entry for rows of a family; every path gets the preference."""
    known = encaps or EncapPaths()
    paths = np.zeros(max(1, len(entry.paths)), PATH)
    paths["weight"], paths["preference"] = 1, preference
    paths["sw_if_index"] = NO_INTERFACE
    if entry.kind is not FibKind.UNICAST:
        paths["type"], paths["proto"] = _TYPES[entry.kind], PROTO[family]
        return paths.tobytes()
    for slot, path in zip(paths, entry.paths, strict=True):
        slot["sw_if_index"], slot["weight"] = path.interface, path.weight
        slot["proto"] = PROTO[_path_family(path, family)]
        if path.encap is not None:
            known.fill(slot, path.encap, _path_family(path, family))
        slot["address"][: len(path.via)] = np.frombuffer(path.via, np.uint8)
        labels = path.labels or ((IMPLICIT_NULL,) if family == AF_MPLS else ())
        slot["n_labels"] = len(labels)
        slot["labels"]["label"][: len(labels)] = labels
        slot["labels"]["is_uniform"][: len(labels)] = 1
        slot["labels"]["ttl"][: len(labels)] = _LABEL_TTL
    return paths.tobytes()


def decode_paths(packed: bytes, family: int, encaps: EncapPaths | None = None) -> FibEntry:
    """Return the entry of a path list; what we never write is of kind OTHER."""
    known = encaps or EncapPaths()
    paths = np.frombuffer(packed, PATH)
    types = set(paths["type"].tolist())
    if len(types) == 1 and (kind := _KINDS.get(types.pop())) is not None:
        return FibEntry(kind)
    decoded = [_decode_path(path, family, known) for path in paths]
    if not decoded or None in decoded:
        return FibEntry(FibKind.OTHER)
    return FibEntry(FibKind.UNICAST, tuple(path for path in decoded if path is not None))


class PathLists:
    """The path lists of entries and the entries of path lists, each worked out once."""

    def __init__(self, entries: FibEntries) -> None:
        self.encaps = EncapPaths()
        """What VPP has for paths that encapsulate; ``forget`` what was worked out when that changes."""
        self.entries = entries
        self._packed: dict[tuple[int, int, int], bytes] = {}
        self._ids: dict[tuple[int, bytes], int] = {}

    def forget(self) -> None:
        """Work out everything anew."""
        self._packed.clear()
        self._ids.clear()

    def packed(self, entry_id: int, family: int, preference: int = 0) -> bytes:
        """Return the path list of an entry."""
        key = entry_id, family, preference
        packed = self._packed.get(key)
        if packed is None:
            packed = self._packed[key] = encode_paths(self.entries[entry_id], family, preference, self.encaps)
        return packed

    def entry_id(self, packed: bytes, family: int) -> int:
        """Return the entry of a path list."""
        key = family, packed
        entry_id = self._ids.get(key)
        if entry_id is None:
            entry_id = self._ids[key] = self.entries.intern(decode_paths(packed, family, self.encaps))
        return entry_id

    def entry_ids(self, packed: NDArray[np.uint8], family: int) -> NDArray[np.int32]:
        """Return the entry of each row of ``packed`` (uint8[rows, bytes], one path list a row)."""
        rows, size = packed.shape
        if not size:
            return np.full(rows, self.entry_id(b"", family), np.int32)
        words = np.zeros((rows, -(-size // 8)), np.uint64)
        words.view(np.uint8)[:, :size] = packed
        _, first, which = np.unique(_mixed(words), return_index=True, return_inverse=True)
        if not np.array_equal(words[first][which], words):  # two path lists of one hash: compare them whole
            _, first, which = np.unique(words, axis=0, return_index=True, return_inverse=True)
        ids = np.array([self.entry_id(packed[row].tobytes(), family) for row in first.tolist()], np.int32)
        return ids[which.reshape(rows)]


def _path_family(path: FibPath, family: int) -> int:
    if path.via:
        return AF_INET6 if len(path.via) == 16 else AF_INET
    return path.family or (AF_INET if family == AF_MPLS else family)


def _decode_path(path: np.void, family: int, encaps: EncapPaths) -> FibPath | None:
    proto, interface = _FAMILY.get(int(path["proto"])), int(path["sw_if_index"])
    if path["type"] != _NORMAL or path["flags"] or proto not in (AF_INET, AF_INET6) or path["n_labels"] > MAX_LABELS:
        return None
    address = path["address"].tobytes()[: 16 if proto == AF_INET6 else 4]
    via = address if any(address) else b""
    if interface == NO_INTERFACE and not via:
        return None
    encap = encaps.of_path(interface, int(path["table_id"]), via)
    if encap is not None:
        return None if path["n_labels"] else FibPath(b"", NO_INTERFACE, int(path["weight"]), (), proto, encap)
    labels = tuple(path["labels"]["label"][: path["n_labels"]].tolist())
    if family == AF_MPLS:
        if not labels:
            return None
        labels = () if labels == (IMPLICIT_NULL,) else labels
    return FibPath(via, interface, int(path["weight"]), labels, 0 if via else proto)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of each row."""
    mixed = np.zeros(len(words), np.uint64)
    for column in range(words.shape[1]):
        mixed ^= words[:, column]
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed
