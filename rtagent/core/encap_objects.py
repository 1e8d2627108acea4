"""Which policies and tunnels are wanted: those that some route of the kernel leaves through.

A pure function of the routes and the topology. It is worked out anew whenever the groups in use, or what they are
resolved through, have changed; where nothing encapsulates, which is nearly everywhere, it costs nothing.
"""

from __future__ import annotations

from rtagent.core.objects import ChangedRows, Objects
from rtagent.core.store import Store
from rtagent.vector.encaps import Encap, SrPolicy, Tunnel
from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.objects import ObjectKey

COMPLETE = True
"""The value of a policy or a tunnel that is there with all that belongs to it; one that is not is False."""


class EncapObjects:
    """Wants for SrPolicy and Tunnel (core.objects)."""

    def __init__(self, store: Store, objects: Objects) -> None:
        self._store = store
        self._seen: tuple[int, frozenset[int]] = (-1, frozenset())
        for kind in (SrPolicy, Tunnel):
            objects.own(kind, lambda _: True)  # the writers tell of none but ours

    def update(self, objects: Objects, changed: ChangedRows | None) -> None:
        """Want what the routes need now."""
        used = self._used_groups()
        seen = (self._store.resolver.generation, used)
        if (seen == self._seen or not (used or self._seen[1])) and changed is not None:
            return
        self._seen = seen
        wanted = self._wanted(used)
        for kind in (SrPolicy, Tunnel):
            of_kind: dict[ObjectKey, object] = {encap: COMPLETE for encap in wanted if isinstance(encap, kind)}
            objects.want_all(kind, of_kind)

    def _used_groups(self) -> frozenset[int]:
        """Return the groups in use that encapsulate, themselves or through a nexthop object."""
        store = self._store
        groups = set(store.groups.encapsulated)
        if any(known.nexthop.encap for known in store.topology.nexthops.values()):
            groups |= {number for number, group in store.groups.items() if group.nhid}
        if not groups:
            return frozenset()
        used = store.rib.used_groups()
        return frozenset(number for number in groups if used[number])

    def _wanted(self, used: frozenset[int]) -> set[Encap]:
        resolver, groups = self._store.resolver, self._store.groups
        return {encap for number in used for family in (AF_INET, AF_INET6)
                for encap in resolver.encaps(groups[number], family)}  # fmt: skip
