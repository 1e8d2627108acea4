"""Attached hosts: what VPP makes of a route for one address over an interface without a gateway, undone.

VPP turns the attached path of a host prefix into one through the host itself (fib_table_route_path_fixup in
vnet/fib/fib_table.c), and shows that one. Read back as such it would never equal what was written.
"""

from __future__ import annotations

import numpy as np

from rtagent.vector.fib import FibEntries, FibKind, FibPath, FibVector
from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.ports import NO_INTERFACE
from rtagent.wire.vapi.encaps import EncapPaths

_HOST_BYTES = {AF_INET: 4, AF_INET6: 16}


def with_attached_hosts(held: FibVector, entries: FibEntries, encaps: EncapPaths) -> FibVector:
    """Return the rows with paths through a row's own address as the attached paths that they were."""
    rows = _candidates(held, entries)
    if not rows:
        return held
    entry = held.entry.copy()
    for row in rows:
        key, known = held.keys.row(row), entries[int(entry[row])]
        own = key.bits.to_bytes(16, "big")[: _HOST_BYTES[key.family]]
        paths = tuple(
            _attached(path, key.family, encaps) if path.via == own and not path.labels else path for path in known.paths
        )
        if paths != known.paths:
            entry[row] = entries.intern(known._replace(paths=paths))
    return FibVector(held.keys, entry, held.source)


def _attached(path: FibPath, family: int, encaps: EncapPaths) -> FibPath:
    encap = encaps.of_path(path.interface, 0, b"")
    if encap is not None:
        return FibPath(b"", NO_INTERFACE, path.weight, (), family, encap)
    return path._replace(via=b"", family=family)


def _candidates(held: FibVector, entries: FibEntries) -> list[int]:
    """Return the rows of single addresses that are the gateway of some entry here."""
    keys = held.keys
    hosts = ((keys.family == AF_INET) & (keys.length == 32)) | ((keys.family == AF_INET6) & (keys.length == 128))
    if not hosts.any():
        return []
    used = [entries[number] for number in np.unique(held.entry[hosts]).tolist()]
    vias = {path.via.ljust(16, b"\0") for entry in used if entry.kind is FibKind.UNICAST for path in entry.paths}
    halves = np.frombuffer(b"".join(vias), ">u8").astype(np.uint64).reshape(-1, 2)
    rows: list[int] = np.flatnonzero(hosts & np.isin(keys.hi, halves[:, 0]) & np.isin(keys.lo, halves[:, 1])).tolist()
    return rows
