"""Pairs in words: each with both of its sides and what differs, as `rtagent interfaces --json` prints them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from rtagent.agent.pairs import Pair
from rtagent.core.objects import Objects
from rtagent.core.rows import Row
from rtagent.core.store import Store
from rtagent.vector.interfaces import AdminState, InterfaceAddress, LinkLocal, Mac, Membership, Mtu
from rtagent.vector.keys import AF_INET, TABLE_MAIN
from rtagent.vector.links import Link
from rtagent.vector.ports import Port


def pair_rows(
    store: Store, pairs: Iterable[Pair], ports: Mapping[str, Port], objects: Objects, differing: Iterable[Row]
) -> list[Row]:
    """Return a row for each pair: ``host``, ``vpp``, ``state``, ``kernel``, ``dataplane``, ``differences``."""
    ifindex_of = {interface: ifindex for ifindex, interface in store.topology.pairs.items()}
    differences = list(differing)
    rows = []
    for pair in pairs:
        port = ports.get(pair.vpp)
        link = None if port is None else store.topology.links.get(ifindex_of.get(port.interface, 0))
        rows.append(
            pair._asdict()
            | {
                "kernel": None if link is None else _link_row(store, link),
                "dataplane": None if port is None else _port_row(objects, port),
                "differences": [row for row in differences if row["object"].split(" ")[0] == pair.vpp],
            }
        )
    return rows


def _link_row(store: Store, link: Link) -> Row:
    master = store.topology.links.get(link.master)
    addresses = [row for row in store.addresses.values() if row.ifindex == link.ifindex]
    return {
        "name": link.name,
        "up": link.up,
        "mtu": link.mtu,
        "mac": link.mac.hex(":"),
        "table": master.table if master is not None and master.kind == "vrf" else TABLE_MAIN,
        "addresses": sorted(f"{ipaddress.ip_address(row.local)}/{row.length}" for row in addresses),
    }


def _port_row(objects: Objects, port: Port) -> Row:
    held = {key: value.value for key, value in objects.held.items()}
    mac, link_local = held.get(Mac(port.interface)), held.get(LinkLocal(port.interface))
    addresses = [
        f"{ipaddress.ip_address(key.address)}/{key.length}"
        for key in held
        if isinstance(key, InterfaceAddress) and key.interface == port.interface
    ]
    if isinstance(link_local, bytes):
        addresses.append(f"{ipaddress.ip_address(link_local)}/64")
    return {
        "name": port.name,
        "up": held.get(AdminState(port.interface), port.up),
        "mtu": held.get(Mtu(port.interface), port.mtu),
        "mac": mac.hex(":") if isinstance(mac, bytes) else None,
        "table": held.get(Membership(port.interface, AF_INET), TABLE_MAIN),
        "addresses": sorted(addresses),
    }
