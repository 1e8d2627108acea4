"""What a mirror believes about the kernel, as plain values: two mirrors of one kernel must believe the same.

This sees more than the FIB does: an entry that is passed over today is the best one tomorrow.
"""

from __future__ import annotations

from typing import Any

from rtagent.core.object_rows import object_text
from rtagent.core.rib import Entry
from rtagent.core.store import Store, row_key
from rtagent.vector.interfaces import Table
from rtagent.vector.links import Link
from rtagent.vector.neighbors import NeighborEntry, NeighborLimitKey
from rtagent.vector.nexthops import Kind, NexthopObject
from rtagent.vector.objects import ObjectKey
from tests.kernel.mirror import Mirror

_NUD_PERMANENT = 0x80
"""linux/neighbour.h; all other states pass by themselves."""
_NEW_LINKS = -2
"""NETCONFA_IFINDEX_DEFAULT: a policy that no link is subject to."""

State = dict[str, dict[Any, Any]]


def state(mirror: Mirror) -> State:
    """Return everything that a mirror, once settled, holds of the kernel, part by part.

    And what is wanted of the data plane besides routes, where its interfaces follow the kernel's links.
    """
    store, topology = mirror.store, mirror.store.topology
    held: State = {
        "links": {ifindex: _link(link) for ifindex, link in topology.links.items()},
        "addresses": {key: row._replace(flags=0) for key, row in store.addresses.items()},
        "nexthops": {
            nhid: row._replace(nexthop=row.nexthop._replace(flags=0)) for nhid, row in topology.nexthops.items()
        },
        "policies": {where: True for where in topology.ignores_linkdown if where[1] != _NEW_LINKS},
        "label inputs": dict.fromkeys(topology.label_inputs, True),
        "rules": store.rules,
        "unsupported": {row_key(row): row.reason for row in store.unsupported.values()},
        "neighbors": {key: row for key, row in store.neighbors.items() if row.state & _NUD_PERMANENT},
        "routes": _routes(store),
    }
    return held | ({"objects": _objects(mirror)} if mirror.mirror.settings.interfaces else {})


def differences(followed: State, fresh: State) -> list[str]:
    """Return where the state built from notifications is not that of a fresh dump, in the parts that both have."""
    return [
        f"{part} {key}: from notifications {followed[part].get(key)}, from a fresh dump {fresh[part].get(key)}"
        for part in followed
        if part in fresh
        for key in sorted(followed[part].keys() | fresh[part].keys(), key=repr)
        if followed[part].get(key) != fresh[part].get(key)
    ]


def _objects(mirror: Mirror) -> dict[Any, Any]:
    """Return what is wanted besides routes, by its text: the numbers of interfaces are the data plane's own.

    Most neighbours pass by themselves, and the table of a VRF that went stays for as long as it has routes: a mirror
    that begins then makes it with the routes.
    """
    names = mirror.mirror.interface_names
    vrfs = {link.table for link in mirror.store.topology.links.values() if link.kind == "vrf"}

    def lasts(key: ObjectKey, value: object) -> bool:
        if isinstance(value, NeighborEntry):
            return value.static
        return not isinstance(key, NeighborLimitKey) and (not isinstance(key, Table) or key.table in vrfs)

    return {object_text(key, names): value for key, value in mirror.mirror.objects.wanted.items() if lasts(key, value)}


def _link(link: Link) -> Link:
    return link._replace(operstate=0)


def _nexthop(row: NexthopObject) -> NexthopObject:
    return row._replace(nexthop=row.nexthop._replace(flags=0))


def _routes(store: Store) -> dict[Any, Any]:
    """Return the entries of each prefix in their order.

    The nexthops of an entry are in none: IPv6 tells of them in another one than it dumps them in. The weight of a lone
    one says nothing (IPv6 tells it, and does not dump it). Flags may be older in one of the two mirrors: what they say
    is made up for by what is known of links.
    """
    table = store.rib.table
    rows = zip(range(table.size), table.keys, table.live().tolist(), strict=True)
    held = {(key.table, key.text): store.rib.entries(row) for row, key, live in rows if live}
    return {key: [_entry(store, entry, ":" in key[1]) for entry in entries] for key, entries in held.items() if entries}


def _entry(store: Store, entry: Entry, is_inet6: bool) -> Any:
    """Return an entry; the ways of an IPv6 one are routes of their own, and each may be of another protocol.

    It bears on nothing but local routes.
    """
    group = store.groups[entry.group]
    lone = len(group.nexthops) == 1
    ways = sorted(
        (way.via, way.ifindex, 1 if lone else way.weight, way.labels, way.encap.text if way.encap else "")
        for way in group.nexthops
    )
    what = "its object's" if group.nhid else (group.kind.name, ways)
    protocol = 0 if is_inet6 and group.kind is not Kind.LOCAL else entry.protocol
    return entry.metric, entry.tos, protocol, group.nhid, what
