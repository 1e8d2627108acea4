"""Which neighbours a data plane is to hold: those of the kernel, and for a while those that the kernel lets go.

What transits the data plane does not pass the kernel. So the kernel sees no use of a neighbour that half the traffic
goes to, lets it go stale, and forgets it. Taken at its word it would have the data plane forget it, too, and packets
would wait until it is found again. Therefore:

* **Held.** A neighbour that fails or vanishes in the kernel while its link forwards stays, and the kernel is asked to
  look for it (``take_probes``). What it then says counts: an address, or that nobody answers.
* **Kept fresh.** A gateway that goes stale is looked for at once, as the kernel itself would do with its next packet.
* **What the data plane learned.** It hears ARP and neighbour discovery itself, requests among them of which the kernel
  sees nothing. Of neighbours that the kernel does not know, all are left alone. So is one that it let go, once the data
  plane finds it again: whoever removed that would have it find it again, with a walk through all routes behind it each
  time. Where it has heard another address than the kernel, the later word counts: the kernel's if it has just confirmed
  or changed its own; otherwise the data plane's stays until the kernel has looked.

Entries that a controller (extern_learn) or the kernel itself (managed) looks after are followed to the letter.
Time comes in as an argument. Nothing here knows how the kernel is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from rtagent.core.objects import ChangedRows, Objects
from rtagent.core.store import RowKey, Store
from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.links import (
    NTF_EXT_LEARNED,
    NTF_EXT_MANAGED,
    NUD_FAILED,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_REACHABLE,
    NUD_STALE,
    NUD_VALID,
    Link,
    Neighbor,
)
from rtagent.vector.neighbors import NeighborEntry, NeighborKey, NeighborLimit, NeighborLimitKey

HELD_S = 10.0
"""How long a neighbour stays after the kernel was asked to look for it: by default the kernel itself gives up after
three seconds (mcast_solicit times retrans_time_ms)."""

_STATIC = NUD_PERMANENT | NUD_NOARP
_CONFIRMED = _STATIC | NUD_REACHABLE
_LOOKED_AFTER = NTF_EXT_LEARNED | NTF_EXT_MANAGED
_LEAST_LIMIT = 131_072
"""VPP takes 50 000 unless it is told otherwise."""
_MAC_BYTES = 6


class Probe(NamedTuple):
    """A neighbour that the kernel is to look for; also the store's key of its row."""

    family: int
    ifindex: int
    address: bytes


class NeighborCounts(NamedTuple):
    """How many neighbours of a family there are."""

    wanted: int
    held: int
    """By the data plane, its own included."""
    refused: int
    probing: int
    """Held beyond the kernel's word, until it has looked."""
    limit: int
    """How many the data plane takes, 0 where it takes any number."""


def entry_of(row: Neighbor) -> NeighborEntry | None:
    """Return what a data plane is to hold for a neighbour of the kernel, None where nothing.

    Nothing for an entry without a valid Ethernet address, and for what is no single station: the kernel has entries
    for multicast groups and broadcast addresses, too.
    """
    mac, address = row.mac, row.address
    if not row.state & NUD_VALID or len(mac) != _MAC_BYTES or mac[0] & 1 or not any(mac):
        return None
    first = address[0]
    if row.family == AF_INET:
        unicast = len(address) == 4 and 0 < first < 224 and first != 127
    else:
        unicast = len(address) == 16 and first != 0xFF and any(address[:15])
    return NeighborEntry(mac, bool(row.state & _STATIC)) if unicast else None


class Neighbors:
    """The wishes for neighbours, and for the limit of their number."""

    def __init__(self, store: Store, *, asks: bool = True) -> None:
        """``asks``: whether the kernel may be asked to look; where not, it is followed to the letter."""
        self._store = store
        self._asks = asks
        self._followed: dict[Probe, Neighbor] = {}
        """What the kernel last said of each neighbour that is wanted."""
        self._count: Counter[int] = Counter()
        """How many of them each family has."""
        self._held_since: dict[Probe, float | None] = {}
        """Neighbours that stay against the kernel's word: when it was asked to look, None where it is yet to be."""
        self._learned: dict[Probe, bytes] = {}
        """Neighbours for which the data plane's own word counts, and the kernel's address that it counts against."""
        self._probes: dict[Probe, None] = {}
        self._given_up: set[Probe] = set()
        self._gateways: frozenset[Probe] = frozenset()
        self._gateways_of = -1

    @property
    def has_probes(self) -> bool:
        """Whether the kernel is to look for anybody."""
        return bool(self._probes)

    def update(self, objects: Objects, changed: ChangedRows | None) -> None:
        """Say what is wanted of the neighbours that changed (None: of all)."""
        if changed is None:
            touched = {*_probes(self._store.neighbors), *self._followed}
        else:
            touched = {*_probes(changed.get(Neighbor, ())), *self._given_up}
            if Link in changed:
                touched |= {probe for probe in self._held_since if (probe.ifindex,) in changed[Link]}
        for probe in touched:
            self._decide(objects, probe, heard=changed is not None and probe in changed.get(Neighbor, ()))
        self._given_up.clear()
        if changed is None:
            known = {self._key(probe) for probe in self._followed}
            for key in [key for key in objects.wanted if isinstance(key, NeighborKey) and key not in known]:
                objects.want(key, None)
        if touched or changed is None:
            self._want_room(objects)

    def counts(self, objects: Objects) -> dict[int, NeighborCounts]:
        """Return how many neighbours there are, by family."""
        held = Counter(key.family for key in objects.held if isinstance(key, NeighborKey))
        refused = Counter(key.family for key in objects.refused if isinstance(key, NeighborKey))
        probing = Counter(probe.family for probe in self._held_since)
        counts = {}
        for family in (AF_INET, AF_INET6):
            known = objects.held.get(NeighborLimitKey(family))
            limit = known.value.number if known is not None and isinstance(known.value, NeighborLimit) else 0
            counts[family] = NeighborCounts(self._count[family], held[family], refused[family], probing[family], limit)
        return counts

    def learned(self, objects: Objects, key: NeighborKey, entry: NeighborEntry) -> None:
        """The data plane says that it holds this neighbour so: learned by itself, or from us."""
        wanted = objects.wanted.get(key)
        if entry.static or not isinstance(wanted, NeighborEntry) or wanted.mac == entry.mac:
            return
        for ifindex, interface in self._store.topology.pairs.items():
            row = self._followed.get(Probe(key.family, ifindex, key.address))
            if interface == key.interface and row is not None and not row.flags & _LOOKED_AFTER:
                self._let_count(objects, key, row, entry)

    def take_probes(self, limit: int, now: float) -> list[Probe]:
        """Return the next neighbours to look for; those that are held wait for the answer from now on."""
        chosen = list(self._probes)[:limit]
        for probe in chosen:
            del self._probes[probe]
            if probe in self._held_since:
                self._held_since[probe] = now
        return chosen

    def give_up(self, probe: Probe) -> bool:
        """The kernel cannot look for a neighbour; return whether that is to be decided on: it was held till then."""
        held = probe in self._held_since
        self._held_since.pop(probe, None)
        if held:
            self._given_up.add(probe)
        return held

    def tend(self, now: float) -> bool:
        """Have stale gateways looked for, and let go what was held too long; return whether anything is to be decided.

        To be called every few seconds.
        """
        late = [probe for probe, since in self._held_since.items() if since is not None and now - since > HELD_S]
        for probe in late:
            self.give_up(probe)
        for probe in self._known_gateways():
            row = self._store.neighbors.get(probe)
            if row is None or not row.state & NUD_STALE or row.flags & _LOOKED_AFTER:
                continue
            if self._key(probe) is not None and self._forwards(probe):
                self._probes[probe] = None
        return bool(late)

    def _decide(self, objects: Objects, probe: Probe, *, heard: bool) -> None:
        key, row = self._key(probe), self._store.neighbors.get(probe)
        entry = entry_of(row) if row is not None else None
        if key is None:
            self._unfollow(probe)
        elif row is not None and entry is not None:
            self._held_since.pop(probe, None)
            self._follow(probe, row)
            if not self._defers(objects, probe, key, entry):
                objects.want(key, entry)
        elif probe in self._followed and not self._holds(probe, heard=heard):
            self._unfollow(probe)
            objects.want(key, None)

    def _holds(self, probe: Probe, *, heard: bool) -> bool:
        """Whether a neighbour stays that the kernel has let go; where it does, the kernel is asked to look for it."""
        if not self._asks or self._followed[probe].flags & _LOOKED_AFTER or not self._forwards(probe):
            return False
        if probe not in self._held_since:
            if probe in self._given_up:
                return False
            self._held_since[probe] = None
            self._probes[probe] = None
            return True
        row = self._store.neighbors.get(probe)
        nobody_answered = heard and row is not None and bool(row.state & NUD_FAILED)
        return not (nobody_answered and self._held_since[probe] is not None)

    def _defers(self, objects: Objects, probe: Probe, key: NeighborKey, entry: NeighborEntry) -> bool:
        """Whether the data plane's own word counts against this one of the kernel."""
        row = self._followed[probe]
        if not self._asks or row.state & _CONFIRMED or row.flags & _LOOKED_AFTER:
            self._learned.pop(probe, None)
            return False
        if probe in self._learned:
            if self._learned[probe] == row.mac:
                return True
            del self._learned[probe]
            return False
        held = objects.held.get(key)
        if held is None or key in objects.wanted:
            return False
        assert isinstance(held.value, NeighborEntry)
        if held.value.static or held.value.mac == entry.mac:
            return False
        self._let_count(objects, key, row, held.value)
        return True

    def _let_count(self, objects: Objects, key: NeighborKey, row: Neighbor, entry: NeighborEntry) -> None:
        probe = Probe(row.family, row.ifindex, row.address)
        self._learned[probe] = row.mac
        self._probes[probe] = None
        objects.want(key, entry)

    def _follow(self, probe: Probe, row: Neighbor) -> None:
        self._count[probe.family] += probe not in self._followed
        self._followed[probe] = row

    def _unfollow(self, probe: Probe) -> None:
        if self._followed.pop(probe, None) is not None:
            self._count[probe.family] -= 1
        self._held_since.pop(probe, None)
        self._learned.pop(probe, None)
        self._probes.pop(probe, None)

    def _want_room(self, objects: Objects) -> None:
        """Want room for twice as many neighbours as there are; an operator's larger limit, or none at all, stays."""
        for family, count in self._count.items():
            key = NeighborLimitKey(family)
            held = objects.held.get(key)
            limit = held.value if held is not None else None
            needed = max(_LEAST_LIMIT, 1 << (2 * count - 1).bit_length())
            if isinstance(limit, NeighborLimit) and 0 < limit.number < needed:
                objects.want(key, limit._replace(number=needed))

    def _key(self, probe: Probe) -> NeighborKey | None:
        topology = self._store.topology
        interface = topology.pairs.get(probe.ifindex)
        if interface is None or probe.ifindex in topology.left_alone:
            return None
        return NeighborKey(interface, probe.address)

    def _forwards(self, probe: Probe) -> bool:
        link = self._store.topology.links.get(probe.ifindex)
        return link is not None and link.up and link.carrier

    def _known_gateways(self) -> frozenset[Probe]:
        """Return the gateways of all routes, worked out again only after nexthop groups changed."""
        groups, topology = self._store.groups, self._store.topology
        if self._gateways_of != groups.changes or topology.nexthops:
            self._gateways_of = groups.changes
            ways = {way for _, group in groups.items() for way in group.nexthops}
            ways |= {known.nexthop for known in topology.nexthops.values()}
            self._gateways = frozenset(
                Probe(AF_INET if len(way.via) == 4 else AF_INET6, way.ifindex, way.via) for way in ways if way.via
            )
        return self._gateways


def _probes(keys: Iterable[RowKey]) -> Iterable[Probe]:
    return (Probe(*key) for key in keys)  # type: ignore[arg-type]  # core/store.py, row_key: exactly these fields
