"""What the contract writes: an entry of every kind, and words for a plan and what a data plane holds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rtagent.core.sink import FibSink, Plan
from rtagent.vector.fib import NO_ENTRY, FibEntry, FibKind, FibPath
from rtagent.vector.keys import AF_INET, AF_INET6, Key, Keys
from rtagent.wire.vapi.paths import MAX_LABELS

VIA4, VIA4_OTHER = bytes((10, 0, 0, 2)), bytes((10, 0, 1, 2))
VIA6 = bytes((0xFE, 0x80, *([0] * 13), 1))

PLAIN = FibEntry(FibKind.UNICAST, (FibPath(VIA4, 1),))
OTHER_WAY = FibEntry(FibKind.UNICAST, (FibPath(VIA4_OTHER, 2),))
NO_PORT = FibEntry(FibKind.UNICAST, (FibPath(VIA4, 77),))
BLACKHOLE = FibEntry(FibKind.BLACKHOLE)

Rows = Mapping[Key, FibEntry | None]
"""What each key is to have; None removes it."""


def unicast(*paths: FibPath) -> FibEntry:
    """Return a unicast entry as interning leaves it."""
    return FibEntry(FibKind.UNICAST, tuple(sorted(paths)))


EVERY_KIND: dict[Key, FibEntry] = {
    Key.parse("1.0.0.0/24"): PLAIN,
    Key.parse("1.0.1.0/24"): unicast(FibPath(VIA4, 1, 3), FibPath(VIA4_OTHER, 2, 5)),
    Key.parse("1.0.2.0/24"): unicast(FibPath(VIA4, 1, 1), FibPath(VIA4_OTHER, 1, 255), FibPath(VIA4, 2, 7)),
    Key.parse("1.0.3.0/24"): unicast(FibPath(VIA6, 2)),
    Key.parse("1.0.4.0/24"): unicast(FibPath(b"", 2, 1, (), AF_INET)),
    Key.parse("1.0.5.0/24"): unicast(FibPath(VIA4, 1, 1, (100, 200))),
    Key.parse("1.0.6.0/24"): unicast(FibPath(VIA4, 1, 2, (100,)), FibPath(VIA4_OTHER, 2, 1, tuple(range(16, 32)))),
    Key.parse("1.0.7.0/24"): FibEntry(FibKind.BLACKHOLE),
    Key.parse("1.0.8.0/24"): FibEntry(FibKind.UNREACHABLE),
    Key.parse("1.0.9.0/24"): FibEntry(FibKind.PROHIBIT),
    Key.parse("1.0.10.1"): FibEntry(FibKind.LOCAL),
    Key.parse("0.0.0.0/0"): PLAIN,
    Key.parse("1.0.0.0/24", 100): OTHER_WAY,
    Key.parse("1.0.0.0/25", 4_000_000_000): PLAIN,
    Key.parse("::/0"): unicast(FibPath(VIA6, 1)),
    Key.parse("2001:db8::/32"): unicast(FibPath(VIA6, 1), FibPath(VIA6, 2)),
    Key.parse("2001:db8:1::/48"): unicast(FibPath(b"", 1, 1, (), AF_INET6)),
    Key.parse("2001:db8:2::/48"): unicast(FibPath(VIA6, 1, 1, (100,))),
    Key.parse("2001:db8:3::/48"): FibEntry(FibKind.BLACKHOLE),
    Key.parse("2001:db8:4::/48"): FibEntry(FibKind.UNREACHABLE),
    Key.parse("2001:db8:5::1"): FibEntry(FibKind.LOCAL),
    Key.parse("2001:db8::/33", 100): unicast(FibPath(VIA6, 2)),
    Key.parse("100"): unicast(FibPath(VIA4, 1, 1, (300,))),
    Key.parse("101"): PLAIN,
    Key.parse("102"): unicast(FibPath(VIA6, 1)),
    Key.parse("103"): unicast(FibPath(VIA4, 1, 1, (300, 301)), FibPath(VIA4_OTHER, 2, 4)),
    Key.parse("104"): unicast(FibPath(b"", 1, 1, (), AF_INET)),
    Key.parse("1048575"): FibEntry(FibKind.BLACKHOLE),
}
ATTACHED_HOSTS: dict[Key, FibEntry] = {
    Key.parse("1.0.11.1"): unicast(FibPath(b"", 1, 1, (), AF_INET)),
    Key.parse("1.0.12.1"): unicast(FibPath(b"", 1, 1, (), AF_INET), FibPath(VIA4_OTHER, 2, 3)),
    Key.parse("2001:db8:6::1"): unicast(FibPath(b"", 1, 1, (), AF_INET6)),
}
"""What VPP shows another way than it was written."""
assert len(EVERY_KIND[Key.parse("1.0.6.0/24")].paths[1].labels) == MAX_LABELS


def plan(sink: FibSink, rows: Rows) -> Plan:
    """Return the plan that makes these rows."""
    entry = [NO_ENTRY if each is None else sink.entries.intern(each) for each in rows.values()]
    return Plan(Keys.of(rows), np.array(entry, np.int32))


async def write(sink: FibSink, rows: Rows) -> NDArray[np.int32]:
    """Apply the plan that makes these rows."""
    return await sink.apply(plan(sink, rows))


async def own_rows(sink: FibSink) -> dict[Key, FibEntry]:
    """Return our rows, as the data plane holds them."""
    return {key: entry for key, (source, entry) in (await all_rows(sink)).items() if source == sink.own_source}


async def all_rows(sink: FibSink) -> dict[Key, tuple[int, FibEntry]]:
    """Return source and entry of every row."""
    held: dict[Key, tuple[int, FibEntry]] = {}
    async for batch in sink.read():
        for key, source, entry in zip(batch.keys, batch.source.tolist(), batch.entry.tolist(), strict=True):
            assert key not in held, f"{key} is read twice"
            held[key] = source, sink.entries[entry]
    return held
