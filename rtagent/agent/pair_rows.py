"""Pairs in words: with both sides and what differs (`rtagent interfaces`), and whose they are (`rtagent pairs`)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from rtagent.agent.mirror import Mirror
from rtagent.agent.pairs import Pair
from rtagent.core.objects import Objects
from rtagent.core.rows import Row
from rtagent.core.store import Store
from rtagent.vector.interfaces import OURS, AdminState, InterfaceAddress, LinkLocal, Mac, Membership, Mtu
from rtagent.vector.keys import AF_INET, TABLE_MAIN
from rtagent.vector.links import Link
from rtagent.vector.ports import Port, PortKind
from rtagent.vector.punt import PuntCounts


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


def port_rows(mirror: Mirror, states: Mapping[str, str]) -> list[Row]:
    """Return a row for each interface of the data plane that could be paired, and for each that is missing.

    ``vpp``, ``type``, ``host`` (None without a link), ``by`` ("rtagent", "others", or "name" where a link of that name
    stands beside it; None without any), ``chosen`` (whether it is to be paired) and ``state``. ``states`` is what a
    running agent says of its pairs, by interface.
    """
    ports, joined = mirror.sink.ports, {pair.vpp: pair for pair in mirror.pairs}
    ifindex_of = {interface: ifindex for ifindex, interface in mirror.store.topology.pairs.items()}
    rows = []
    for name in sorted({*ports, *joined}):
        port, pair = ports.get(name), joined.get(name)
        if pair is None and port is not None and port.kind is PortKind.INTERNAL:
            continue
        link = None if port is None else mirror.store.topology.links.get(ifindex_of.get(port.interface, 0))
        state = states.get(name) or (pair.state if pair else _why_not(mirror, port))
        by = None if port is None or link is None else _by(port, name in mirror.choice.tapped)
        if by is None and link is not None:
            state = f"{link.name} is not paired yet"
        kind = None if port is None else port.kind.value
        chosen = pair is not None or name in mirror.choice.troubles
        host = link.name if link else None
        rows.append({"vpp": name, "type": kind, "host": host, "by": by, "chosen": chosen, "state": state})
    return rows


def _by(port: Port, tapped: bool) -> str | None:
    if port.link is not None:
        return OURS if port.link.owner == OURS else "others"
    return None if tapped else "name"


def _why_not(mirror: Mirror, port: Port | None) -> str:
    if port is None:
        return "it is gone"
    if trouble := mirror.choice.troubles.get(port.name):
        return trouble
    if port.link is not None:
        where = f"network namespace {port.link.netns}" if port.link.netns else "VPP's own network namespace"
        return f"others paired it with {port.link.name} in {where}, which is not the one that is mirrored"
    if port.kind is not PortKind.SUB:
        return "neither [taps] nor [[pairs]] choose it"
    parent = next((each for each in mirror.sink.ports.values() if each.interface == port.parent), None)
    if not port.tags:
        return "it does not match its tags exactly, so it cannot have addresses (vppctl: exact-match)"
    return f"{parent.name if parent else 'its parent'} is not paired, or has no VLAN of these tags"


def host_rows(pairs: Iterable[Pair], ports: Mapping[str, Port], counts: PuntCounts | None) -> list[Row]:
    """Return a row for each pair: ``host``, ``vpp``, ``state``, and the ``packets`` and ``bytes`` that VPP sent to it.

    The two are null where VPP has not made the pair, or its statistics are out of reach.
    """
    rows = []
    for pair in pairs:
        port = ports.get(pair.vpp)
        count = None if counts is None or port is None else counts.hosts.get(port.interface)
        sent = {"packets": count.packets if count else None, "bytes": count.bytes if count else None}
        rows.append(pair._asdict() | sent)
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
