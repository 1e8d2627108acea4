"""Which pairs the data plane is to have: a pure function of the links that interfaces are joined with.

Of the interfaces that are joined with a link, those are paired whose link the data plane can take over: a tap or tun
that was made so, and VLANs upon one. An interface joined with another link (a veth beside it) needs no pair. Pairs that
others made serve as well and are left in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from rtagent.core.objects import ChangedRows, Objects
from rtagent.core.store import Store
from rtagent.core.taps import vlan_altname
from rtagent.vector.interfaces import OURS, PairKey
from rtagent.vector.links import Link
from rtagent.vector.objects import Held, ObjectKey
from rtagent.vector.ports import HostLink, Port


class Pairing:
    """Wants for pairs."""

    def __init__(self, store: Store, objects: Objects, netns: str | None) -> None:
        self.tapped: AbstractSet[str] = frozenset()
        """The interfaces that the rules choose."""
        self.ports: Mapping[str, Port] = {}
        self._store = store
        self._objects = objects
        self._netns = netns or ""
        self._made: set[int] = set()
        """Sub-interfaces that are ours: a pair of one goes before it, or VPP would take it along (sinks/vpp_pairs.py).
        For a moment after it was made it may not bear our mark yet."""
        objects.own(PairKey, lambda key: key.interface in self._made or _owner(objects.held.get(key)) == OURS)  # type: ignore[attr-defined]

    def update(self, objects: Objects, changed: ChangedRows | None) -> None:
        """Want anew what links and interfaces call for."""
        if changed is None or Link in changed:
            objects.want_all(PairKey, self._wanted())

    def saw_ports(self, ports: Mapping[str, Port]) -> None:
        """The data plane's interfaces are these, with the pairs that it has."""
        self._made = {port.interface for port in ports.values() if port.tags and port.owner == OURS}
        told = {PairKey(port.interface, port.parent): port.link for port in ports.values()}
        for key in [key for key in self._objects.held if isinstance(key, PairKey) and not told.get(key)]:
            self._objects.heard(key, None)
        for key, link in told.items():
            if link is not None and self._objects.held.get(key) != Held(link):
                self._objects.heard(key, Held(link))

    def _wanted(self) -> dict[ObjectKey, object]:
        topology = self._store.topology
        by_number = {port.interface: port for port in self.ports.values()}
        wanted: dict[ObjectKey, object] = {}
        joined = [
            (by_number[interface], topology.links[ifindex])
            for ifindex, interface in topology.pairs.items()
            if interface in by_number and ifindex in topology.links
        ]
        parents: set[int] = set()
        for port, link in sorted(joined, key=lambda pair: bool(pair[0].tags)):
            key = PairKey(port.interface, port.parent)
            held = self._objects.held.get(key)
            if port.tags:
                called = vlan_altname(link.ifindex)
                may, can = port.parent in parents, called in link.altnames
            else:
                called = link.name
                may, can = port.name in self.tapped, link.tun is not None and link.tun.adoptable
            has = held.value if held is not None and isinstance(held.value, HostLink) else None
            if has is not None and (has.owner != OURS or (may and has.ifindex == link.ifindex)):
                wanted[key] = has
            elif may and can:
                is_tun = link.tun is not None and not link.tun.is_tap
                wanted[key] = HostLink(link.ifindex, called, self._netns, is_tun, OURS)
            if key in wanted:
                parents.add(port.interface)
        return wanted


def _owner(held: Held | None) -> str:
    return held.value.owner if held is not None and isinstance(held.value, HostLink) else ""
