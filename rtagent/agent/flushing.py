"""Takes what is ours out of the data plane: rows, then objects, what others stand on last.

Which objects are ours, the loop's own owners say (core/objects.py). Left as they are: whether an interface is up and
takes IPv4, its MTU and its hardware address, which are somebody's in any case; and, unless they are asked for, pairs
with the sub-interfaces that are paired, for the kernel's links go with them, and every session over these. With the
pairs go taps of ours whose interface went before: nobody else removes them.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from rtagent.core.keytable import Rows
from rtagent.core.ledger import Ledger
from rtagent.core.objects import Objects
from rtagent.core.sink import FibSink, Plan
from rtagent.core.store import Store
from rtagent.core.taps import is_our_tap
from rtagent.sinks.host_links import HostLinks
from rtagent.vector.fib import NO_ENTRY
from rtagent.vector.interfaces import AdminState, PairKey, SubInterface
from rtagent.vector.objects import ObjectChange, Stage
from rtagent.vector.ports import HostLink
from rtagent.vector.punt import TakesInet

_SLICE_ROWS = 16_384


class Ours(NamedTuple):
    """What the data plane holds of us."""

    rows: Rows
    objects: list[ObjectChange]
    """Removals, in their order."""
    kept_pairs: int
    taps: list[int]
    """Those without a pair, by ifindex."""


class Removed(NamedTuple):
    """How much was removed."""

    rows: int
    objects: int
    taps: int


def ours(store: Store, ledger: Ledger, objects: Objects, *, pairs: bool) -> Ours:
    """Return what is ours, ``pairs`` included or not. Of the objects none is wanted; their owners know the pairs."""
    rows = np.flatnonzero(ledger.installed[: store.rib.table.size] >= 0).astype(np.int32)
    paired = {key.interface for key in objects.held if isinstance(key, PairKey)}
    of_stage: dict[Stage, list[ObjectChange]] = defaultdict(list)
    kept_pairs = 0
    for key in objects.unsettled():
        held = objects.held[key]
        if isinstance(key, AdminState | TakesInet):
            continue
        if not pairs and (isinstance(key, PairKey) or (isinstance(key, SubInterface) and held.interface in paired)):
            kept_pairs += isinstance(key, PairKey)
            continue
        of_stage[key.stage].append(ObjectChange(key, held.value, None, held.interface))
    changes = [change for stage in sorted(of_stage, reverse=True) for change in of_stage[stage]]
    links = {held.value.ifindex for held in objects.held.values() if isinstance(held.value, HostLink)}
    taps = [link.ifindex for link in store.topology.links.values() if is_our_tap(link) and link.ifindex not in links]
    return Ours(rows, changes, kept_pairs, taps if pairs else [])


async def remove(store: Store, sink: FibSink, host: HostLinks, held: Ours) -> Removed:
    """Remove it; return how much of it the data plane, and the kernel, let go of. Raises Disconnected."""
    keys = store.rib.table.keys
    rows = objects = taps = 0
    for start in range(0, len(held.rows), _SLICE_ROWS):
        some = keys.take(held.rows[start : start + _SLICE_ROWS])
        retval = await sink.apply(Plan(some, np.full(len(some), NO_ENTRY, np.int32)))
        rows += int(np.count_nonzero(retval == 0))
    for change in held.objects:
        objects += (await sink.write(change)).retval == 0
    for ifindex in held.taps:
        with suppress(OSError):
            host.remove(ifindex)
            taps += 1
    return Removed(rows, objects, taps)
