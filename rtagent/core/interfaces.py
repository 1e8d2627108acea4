"""What the data plane's interfaces are to be: a pure function of the kernel's links and addresses, and of the pairs.

An interface of a configured pair follows its link in everything: admin state, MTU, hardware address, table (a VRF's),
addresses, VLANs. What stands on it and not on the link is removed; without the link it is down and empty. Of all other
interfaces nothing is wanted, and nothing is ours (docs/decisions/0007).

VPP refuses addresses whose prefixes overlap, which the kernel does not mind:

* on one interface the shorter prefix counts for all addresses within (a virtual address 10.0.0.100/32 beside
  10.0.0.1/24 becomes 10.0.0.100/24): connected is the same;
* on two of them, one has to stand back: a link that is down for one that is up, then the higher ifindex for the lower.
  The choice depends on nothing else, so it is the same after a restart.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import NamedTuple

import numpy as np

from rtagent.core.objects import ChangedRows, Objects
from rtagent.core.resolve import Topology
from rtagent.core.store import Store
from rtagent.core.vlans import tag_stack
from rtagent.vector.interfaces import (
    OURS,
    AdminState,
    InterfaceAddress,
    LinkLocal,
    Mac,
    Membership,
    Mtu,
    SubInterface,
    Table,
    TakesLabels,
)
from rtagent.vector.keys import ADDRESS_BITS, AF_INET, AF_INET6, EMPTY_KEYS, TABLE_MAIN, Key, Keys
from rtagent.vector.links import IFA_F_DADFAILED, IFA_F_NOPREFIXROUTE, IFA_F_TENTATIVE, Address, LabelInput, Link
from rtagent.vector.nexthops import NO_GROUP
from rtagent.vector.objects import Held, ObjectChange, ObjectKey
from rtagent.vector.ports import NO_INTERFACE, Port

KINDS = (Table, SubInterface, AdminState, Mtu, Mac, Membership, TakesLabels, LinkLocal, InterfaceAddress)
_FAMILIES = (AF_INET, AF_INET6)
_MAC_BYTES = 6
_LINK_LOCAL = ipaddress.ip_network("fe80::/10")
UNUSED = IFA_F_TENTATIVE | IFA_F_DADFAILED
"""An address that the kernel does not use, yet or ever: a data plane without it is no different."""


class Wanted(NamedTuple):
    """What is wanted of the paired interfaces, and what of the kernel's state is left out."""

    objects: dict[ObjectKey, object]
    left_out: dict[int, list[str]]
    """By interface: what has no counterpart (now), and why; for people."""


class Interfaces:
    """Wants for the paired interfaces. ``ports`` are the interfaces of the configured pairs and their VLANs."""

    def __init__(self, store: Store, objects: Objects) -> None:
        self.ports: Mapping[int, Port] = {}
        self.left_out: Mapping[int, list[str]] = {}
        self._store = store
        self._objects = objects
        self._vrf_tables: set[Table] = set()
        """Tables that a VRF has or had: one whose VRF goes is let go of when its last route has gone."""
        for kind in (AdminState, Membership, TakesLabels, LinkLocal):
            objects.own(kind, lambda key: key.interface in self.ports)  # type: ignore[attr-defined]
        objects.own(InterfaceAddress, lambda key: key.interface in self.ports or key.interface in self._made())  # type: ignore[attr-defined]
        objects.own(Table, lambda key: objects.held[key].value == OURS)
        objects.own(SubInterface, lambda key: objects.held[key].value == OURS)

    def update(self, objects: Objects, changed: ChangedRows | None) -> None:
        """Want anew what links, addresses and pairs call for."""
        left_over = self._left_over(changed)
        if changed is not None and not changed.keys() & {Link, Address, LabelInput} and not left_over:
            return
        topology = self._store.topology
        wanted, self.left_out = wanted_of(topology, self._store.addresses.values(), self.ports)
        for key in wanted:
            if isinstance(key, SubInterface) and key in objects.held:
                wanted[key] = objects.held[key].value  # somebody else made it: it serves as well
        self._vrf_tables |= {key for key in wanted if isinstance(key, Table)}
        wanted |= {key: OURS for key in left_over if self._has_routes(key)}
        for kind in KINDS:
            objects.want_all(kind, {key: value for key, value in wanted.items() if type(key) is kind})

    def saw_ports(self, ports: Mapping[int, Port]) -> None:
        """The data plane's interfaces are these: take what is held of them from there, and forget those that went."""
        held = self._objects.held
        there = {None, NO_INTERFACE, *ports}
        gone = [key for key in held if isinstance(key, KINDS) and not {_interface(key), held[key].interface} <= there]
        for forgotten in gone:
            self._objects.heard(forgotten, None)
        for interface, port in ports.items():
            if port.tags:
                made = SubInterface(port.parent, port.tags), Held(port.owner, interface)
                if held.get(made[0]) != made[1]:
                    self._objects.heard(*made)
            told: dict[ObjectKey, object] = {AdminState(interface): port.up}
            if port.mtu:
                told[Mtu(interface)] = port.mtu
            if port.mac:
                told[Mac(interface)] = port.mac
            for key, value in told.items():
                if key in held and held[key].value != value:
                    self._objects.heard(key, Held(value))

    def _made(self) -> set[int]:
        """The sub-interfaces that we made, whether their link is still there or not."""
        return {
            held.interface
            for key, held in self._objects.held.items()
            if isinstance(key, SubInterface) and held.value == OURS
        }

    def _left_over(self, changed: ChangedRows | None) -> list[Table]:
        """Return our tables that no VRF has any more; those that never were a VRF's only when all is looked at."""
        held = self._objects.held
        known = [key for key in held if isinstance(key, Table)] if changed is None else self._vrf_tables
        vrfs = {link.table for link in self._store.topology.links.values() if link.kind == "vrf"}
        return [key for key in known if key.table not in vrfs and key in held and held[key].value == OURS]

    def _has_routes(self, key: Table) -> bool:
        """Whether the kernel still has routes in the table of a VRF that is gone."""
        rib = self._store.rib
        size = rib.table.size
        here = rib.table.keys.meta[:size] >> np.uint64(8) == key.table << 8 | key.family
        return bool((here & (rib.group[:size] != NO_GROUP) & rib.table.live()[:size]).any())


def connected(changes: Iterable[ObjectChange], held: Iterable[ObjectKey]) -> Keys:
    """Return the prefixes that interfaces may have brought along, or taken with them, by these changes."""
    changed = [change.key for change in changes]
    if not changed:
        return EMPTY_KEYS
    restarted = {key.interface for key in changed if isinstance(key, AdminState)}
    addresses = {key for key in changed if isinstance(key, InterfaceAddress)}
    addresses |= {key for key in held if isinstance(key, InterfaceAddress) and key.interface in restarted}
    return Keys.of({_prefix(key) for key in addresses})


def wanted_of(topology: Topology, addresses: Iterable[Address], ports: Mapping[int, Port]) -> Wanted:
    """Return what is wanted of these interfaces, tables of every VRF included."""
    links, pairs = topology.links, topology.pairs
    link_of = {pairs[ifindex]: links[ifindex] for ifindex in pairs if ifindex in links and pairs[ifindex] in ports}
    wanted: dict[ObjectKey, object] = {}
    left_out: dict[int, list[str]] = defaultdict(list)
    for link in links.values():
        if link.kind == "vrf":
            wanted |= {Table(family, link.table): OURS for family in _FAMILIES}
        stack = tag_stack(link, links)
        if stack and not stack.unsupported and link.ifindex not in topology.left_alone:
            parent = pairs.get(stack.root, NO_INTERFACE)
            if parent in ports:
                wanted[SubInterface(parent, stack.tags)] = OURS
    for interface, port in ports.items():
        of_port = link_of.get(interface)
        wanted[AdminState(interface)] = of_port is not None and of_port.up
        table = TABLE_MAIN if of_port is None else table_of(of_port, links)
        wanted |= {Membership(interface, family): table for family in _FAMILIES}
        if of_port is not None:
            if of_port.ifindex in topology.label_inputs:
                wanted[TakesLabels(interface)] = True
            if of_port.mtu:
                wanted[Mtu(interface)] = of_port.mtu
            if len(of_port.mac) != _MAC_BYTES:
                continue
            if port.mac:
                wanted[Mac(interface)] = of_port.mac
            elif of_port.parent in links and of_port.mac != links[of_port.parent].mac:
                left_out[interface].append(f"{of_port.mac.hex(':')}: a VLAN has its port's hardware address in VPP")
    _want_addresses(wanted, left_out, link_of, links, addresses)
    return Wanted(wanted, {interface: texts for interface, texts in left_out.items() if texts})


class _Candidate(NamedTuple):
    """An address that may be programmed; sorted as they are preferred where they exclude each other."""

    down: bool
    ifindex: int
    length: int
    address: bytes
    interface: int


def _want_addresses(
    wanted: dict[ObjectKey, object], left_out: dict[int, list[str]], link_of: Mapping[int, Link],
    links: Mapping[int, Link], addresses: Iterable[Address],
) -> None:  # fmt: skip
    interface_of = {link.ifindex: interface for interface, link in link_of.items()}
    of_table: dict[tuple[int, int], list[_Candidate]] = defaultdict(list)
    link_locals: dict[int, list[bytes]] = defaultdict(list)
    for row in addresses:
        interface = interface_of.get(row.ifindex)
        if interface is None or row.flags & UNUSED:
            continue
        if row.family == AF_INET6 and ipaddress.IPv6Address(row.local) in _LINK_LOCAL:
            link_locals[interface].append(row.local)
        else:
            link = link_of[interface]
            alone = row.peer or row.flags & IFA_F_NOPREFIXROUTE
            length = ADDRESS_BITS[row.family] if alone else row.length
            candidate = _Candidate(not link.up, row.ifindex, length, row.local, interface)
            of_table[row.family, table_of(link, links)].append(candidate)
    for (family, table), candidates in of_table.items():
        for taken, why_not in _without_overlaps(family, candidates):
            if why_not:
                left_out[taken.interface].append(f"{_text(taken.address)}/{taken.length}: {why_not}")
                continue
            wanted[InterfaceAddress(taken.interface, table, taken.address, taken.length)] = True
            if family == AF_INET6:
                link_locals.setdefault(taken.interface, [])
    for interface, known in link_locals.items():
        usual = _eui64(link_of[interface].mac)
        chosen = usual if usual in known or not known else min(known)
        if chosen:
            wanted[LinkLocal(interface)] = chosen
        left_out[interface] += [
            f"{_text(other)}: an interface has one link-local address in VPP, {_text(chosen)}"
            for other in sorted(known)
            if other != chosen
        ]


def _without_overlaps(family: int, candidates: list[_Candidate]) -> Iterable[tuple[_Candidate, str]]:
    """Yield the addresses of a table with the length of the prefix that they get, and why one is left out."""
    widened: list[_Candidate] = []
    for _, same in groupby(sorted(candidates), key=lambda one: one.interface):
        for run in _overlapping(family, same):
            widened += [one._replace(length=run[0].length) for one in run]
    for run in _overlapping(family, widened):
        accepted: dict[tuple[int, int], _Candidate] = {}
        for one in sorted(run):
            others = (other for other in accepted.values() if other.interface != one.interface)
            clash = next((other for other in others if _overlap(one, other)), None)
            if clash is None:
                accepted.setdefault((_network(one.address, one.length), one.interface), one)
            yield one, f"overlaps {_text(clash.address)}/{clash.length} of another interface" if clash else ""


def _overlapping(family: int, candidates: Iterable[_Candidate]) -> Iterable[list[_Candidate]]:
    """Yield runs of addresses that lie within one prefix, that of the first, which is the shortest."""
    bits = ADDRESS_BITS[family]
    run: list[_Candidate] = []
    end = -1
    for one in sorted(candidates, key=lambda one: (_network(one.address, one.length), one.length, one)):
        start = _network(one.address, one.length)
        if start > end:
            if run:
                yield run
            run, end = [], start + (1 << bits - one.length) - 1
        run.append(one)
    if run:
        yield run


def _overlap(one: _Candidate, other: _Candidate) -> bool:
    length = min(one.length, other.length)
    return _network(one.address, length) == _network(other.address, length)


def _network(address: bytes, length: int) -> int:
    shift = 8 * len(address) - length
    return int.from_bytes(address, "big") >> shift << shift


def _prefix(key: InterfaceAddress) -> Key:
    bits = 8 * len(key.address)
    family = AF_INET if bits == ADDRESS_BITS[AF_INET] else AF_INET6
    return Key(key.table, family, _network(key.address, key.length) << 128 - bits, key.length)


def table_of(link: Link, links: Mapping[int, Link]) -> int:
    """Return the table of a link's packets: a VRF's, if it is enslaved to one."""
    master = links.get(link.master)
    return master.table if master is not None and master.kind == "vrf" else TABLE_MAIN


def _eui64(mac: bytes) -> bytes:
    """Return the link-local address of a hardware address (RFC 4291, appendix A), empty without one."""
    if len(mac) != _MAC_BYTES:
        return b""
    return b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]


def _interface(key: ObjectKey) -> int | None:
    """Return the interface that an object is set on; a sub-interface is its parent's."""
    interface: int | None = getattr(key, "interface", getattr(key, "parent", None))
    return interface


def _text(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))
