"""Why a destination is, or is not, forwarded: the chain from the kernel's route to the data plane's interface.

Each link of the chain is a step that holds, or does not; the first one that does not is the answer. What the data
plane holds comes in as values, so that the running agent and a one-shot snapshot tell the same story.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from rtagent.core.ledger import Ledger
from rtagent.core.rib import Rib
from rtagent.core.store import Store
from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibPath, FibVector, State
from rtagent.vector.keys import ADDRESS_BITS, AF_INET, AF_INET6, AF_MPLS, Key, Keys
from rtagent.vector.links import NUD_FAILED, Neighbor
from rtagent.vector.nexthops import NO_GROUP, Kind
from rtagent.vector.ports import Port

PROTOCOLS = {
    2: "kernel",
    3: "boot",
    4: "static",
    9: "ra",
    12: "bird",
    16: "dhcp",
    186: "bgp",
    188: "ospf",
    196: "zebra",
}
"""linux/rtnetlink.h, RTPROT_*."""
_NUD_INCOMPLETE = 0x01
_NUD_NAMES = {0x01: "incomplete", 0x02: "reachable", 0x04: "stale", 0x08: "delay", 0x10: "probe", 0x20: "failed",
              0x40: "noarp", 0x80: "permanent"}  # fmt: skip
"""linux/neighbour.h, NUD_*."""
_NEIGHBORS_SOURCE = "adjacency"
"""vnet/fib/fib_source.h, FIB_SOURCE_ADJ."""


class Step(NamedTuple):
    """One link of the chain."""

    name: str
    holds: bool
    text: str


class Held(NamedTuple):
    """What the data plane holds for the destination."""

    rows: FibVector
    """Every row on the way from the destination's own prefix to the default route."""
    own_source: int
    sources: Mapping[int, str]
    ports: Mapping[int, Port]
    neighbors: Mapping[tuple[int, bytes], Neighbor]
    """The data plane's neighbours, by (interface, address)."""
    troubles: Mapping[int, list[str]] = MappingProxyType({})
    """By interface in what it is not as the link of its pair."""


class Explanation:
    """The chain for one destination: an address, a prefix or a label."""

    def __init__(self, store: Store, ledger: Ledger, entries: FibEntries, key: Key, *, exact: bool) -> None:
        """``exact``: the question is about that very prefix, not about what covers it."""
        self._store = store
        self._ledger = ledger
        self._entries = entries
        self._key = key
        self._keys = [key] if exact else key.covering()
        self._links = {ifindex: link.name for ifindex, link in store.topology.links.items()}

    def steps(self, held: Held | None, trouble: str = "") -> list[Step]:
        """Return the chain, up to its first broken link; ``trouble``: why the data plane could not be asked."""
        chain: list[Step] = []
        row = self._kernel_row()
        chain.append(self._kernel_step(row))
        if row is None:
            return chain
        key = self._store.rib.table.keys.row(row)
        chain.append(self._best_step(self._store.rib, row))
        resolution, wanted = self._resolution_step(row)
        chain.append(resolution)
        if not resolution.holds:
            return chain
        if held is None:
            return [*chain, Step("data plane", False, trouble)]
        entry_step, entry = self._entry_step(held, key, wanted)
        chain.append(entry_step)
        if entry is None or not entry_step.holds:
            return chain
        ways = [path for path in entry.paths if path.interface in held.ports]
        chain.append(self._adjacency_step(ways, held))
        if chain[-1].holds:
            chain.append(_interface_step(ways, held))
        return chain

    def _kernel_row(self) -> int | None:
        rows = self._store.rib.table.find(Keys.of(self._keys)).tolist()
        return next((row for row in rows if row >= 0 and self._store.rib.group[row] != NO_GROUP), None)

    def _kernel_step(self, row: int | None) -> Step:
        if row is not None:
            key = self._store.rib.table.keys.row(row)
            return Step("kernel route", True, f"{key.text} in table {key.table}")
        texts = {key.text for key in self._keys}
        for route in self._store.unsupported.values():
            if route.prefix in texts and route.table == self._key.table:
                return Step("kernel route", False, f"{route.prefix} is unsupported: {route.identity}: {route.reason}")
        where = "" if self._key.family == AF_MPLS else f" in table {self._key.table}"
        return Step("kernel route", False, f"the kernel has no route for {self._key.text}{where}")

    def _best_step(self, rib: Rib, row: int) -> Step:
        best = rib.entries(row)
        protocol, metric = int(rib.protocol[row]), int(rib.metric[row])
        text = f"metric {metric}, protocol {PROTOCOLS.get(protocol, protocol)}"
        others = [f"{entry.metric}" for entry in best if (entry.metric, entry.group) != (metric, int(rib.group[row]))]
        return Step("best entry", True, text + (f"; passed over: metric {', '.join(others)}" if others else ""))

    def _resolution_step(self, row: int) -> tuple[Step, int]:
        store = self._store
        kind, ways, _ = store.topology.nexthops_of(store.groups[int(store.rib.group[row])])
        (entry,), (state,), (number,) = self._ledger.wanted(np.array([row], np.int32))
        if entry == NO_ENTRY:
            reason = store.resolver.reasons[number]
            if state != State.ABSENT:
                return Step("resolution", False, f"{State(state).name.lower()}: {reason}"), NO_ENTRY
            if kind is Kind.LOCAL:
                return Step("resolution", False, "an address of the router itself: its pair has it, too"), NO_ENTRY
            return Step("resolution", False, "not mirrored: by [mirror] ignore, or not a kind that is"), NO_ENTRY
        texts = [
            f"{f'encap {way.encap.text} ' if way.encap else ''}{_address(way.via)}"
            f"dev {self._links.get(way.ifindex, way.ifindex)}"
            for way in ways
        ]
        return Step("resolution", True, f"{kind.name.lower()} {', '.join(texts)}".strip()), int(entry)

    def _entry_step(self, held: Held, key: Key, wanted: int) -> tuple[Step, FibEntry | None]:
        by_key = {row_key: at for at, row_key in enumerate(held.rows.keys)}
        at = next((by_key[candidate] for candidate in self._keys if candidate in by_key), None)
        if at is None:
            return Step("data plane entry", False, f"nothing covers {self._key.text}; {key.text} is missing"), None
        found = held.rows.keys.row(at)
        entry, source = self._entries[int(held.rows.entry[at])], int(held.rows.source[at])
        whose = "ours" if source == held.own_source else f"of {held.sources.get(source, f'source {source}')}"
        text = f"{found.text} ({whose}): {entry_text(entry, held.ports)}"
        if found != key and self._is_of_neighbor(entry, held.sources.get(source, ""), wanted):
            return Step("data plane entry", True, f"{key.text}, by its neighbour's own {text}"), entry
        if found != key:
            longer = (
                "shadowed by the longer" if found.length > key.length else f"{key.text} is missing; falls through to"
            )
            return Step("data plane entry", False, f"{longer} {text}"), entry
        if int(held.rows.entry[at]) != wanted:
            expected = entry_text(self._entries[wanted], held.ports)
            problem = "other next hops" if source == held.own_source else "shadowed"
            return Step("data plane entry", False, f"{problem}: {text}; expected {expected}"), entry
        return Step("data plane entry", True, text), entry

    def _is_of_neighbor(self, entry: FibEntry, source: str, wanted: int) -> bool:
        """Whether this is what VPP makes of a neighbour beside the prefix that the neighbour is in."""
        attached = {path.interface for path in self._entries[wanted].paths if not path.via}
        return source == _NEIGHBORS_SOURCE and {path.interface for path in entry.paths} <= attached

    def _adjacency_step(self, ways: list[FibPath], held: Held) -> Step:
        texts, silent = [], 0
        for path in ways:
            address = path.via or self._host()
            name = held.ports[path.interface].name
            if not address:
                texts.append(f"attached to {name}")
                continue
            whom = _address(path.via) if path.via else f"{ipaddress.ip_address(address)} dev {name} "
            neighbor = held.neighbors.get((path.interface, address)) or self._failed(path.interface, address)
            if neighbor is None:
                texts.append(f"{whom}not resolved yet: asked for with the first packet")
            elif neighbor.state & (NUD_FAILED | _NUD_INCOMPLETE) or not neighbor.mac:
                silent += 1
                texts.append(f"{whom}does not answer ({_NUD_NAMES.get(neighbor.state, 'no MAC')})")
            else:
                texts.append(f"{whom}at {neighbor.mac.hex(':')}")
        return Step("adjacency", silent < len(ways) or not ways, "; ".join(texts) or "none needed")

    def _host(self) -> bytes:
        """Return the destination where it is a single address, empty where it is not."""
        bits = ADDRESS_BITS[self._key.family]
        if self._key.length != bits or self._key.family == AF_MPLS:
            return b""
        return self._key.bits.to_bytes(16, "big")[: bits // 8]

    def _failed(self, interface: int, address: bytes) -> Neighbor | None:
        """Return the kernel's neighbour if it has not been found: why the data plane has none."""
        family = AF_INET if len(address) == 4 else AF_INET6
        for ifindex, paired in self._store.topology.pairs.items():
            row = self._store.neighbors.get((family, ifindex, address))
            if paired == interface and row is not None and row.state & NUD_FAILED:
                return row
        return None


def _interface_step(ways: list[FibPath], held: Held) -> Step:
    ports = [held.ports[interface] for interface in sorted({path.interface for path in ways})]
    problems = [
        f"{port.name} is {'administratively down' if not port.up else 'without link'}"
        for port in ports
        if not (port.up and port.link_up)
    ]
    if problems and len(problems) == len(ports):
        return Step("interface", False, "; ".join(problems))
    problems += [text for port in ports for text in held.troubles.get(port.interface, ())]
    return Step(
        "interface", True, "; ".join([*(f"{port.name} is up" for port in ports if port.up), *problems]) or "none"
    )


def entry_text(entry: FibEntry, ports: Mapping[int, Port]) -> str:
    """Return an entry in one line."""
    return f"{entry.kind.name.lower()} {', '.join(_path_text(path, ports) for path in entry.paths)}".strip()


def _path_text(path: FibPath, ports: Mapping[int, Port]) -> str:
    if path.encap:
        return f"encap {path.encap.text}"
    labels = f" labels {'/'.join(map(str, path.labels))}" if path.labels else ""
    return (
        f"{_address(path.via)}dev {ports[path.interface].name if path.interface in ports else path.interface}{labels}"
    )


def question(text: str, table: int) -> tuple[Key, bool]:
    """Return the key of an address, a prefix or a label, and whether that very prefix is meant. Raises ValueError."""
    key = Key.parse(text, table)
    whole = key.length == ADDRESS_BITS[key.family]
    return key, key.family in (AF_INET, AF_INET6) and not (whole and "/" not in text)


def _address(packed: bytes) -> str:
    return f"via {ipaddress.ip_address(packed)} " if packed else ""
