"""What the data plane is to punt to the host: a pure function of what its interfaces are to be, and of the settings.

With the linux-cp plugin of VPP alone (linux-nl is off beside us), a packet reaches the host if VPP thinks that it is
local: to an address of the interfaces of pairs, or by a local route that somebody made. For the rest there are objects
(vector/punt.py), wanted here:

* **addresses of the host** that no interface of VPP has: those of the loopback, of links without a pair;
* **multicast**: 224.0.0.0/24 and ff00::/8, and the configured groups, in each table that a paired interface is in;
* **broadcast**: 255.255.255.255 in each of these tables, and of every prefix, which VPP drops by itself;
* **IPv4 on a port without an address**, for DHCP clients and next hops of IPv6;
* **frames** that are not IP, by configuration;
* a **policer** of it all, by which the routing protocols pass, so that a flood to the router takes no session down.

Without linux-cp nothing reaches the host, so nothing is wanted. What somebody else has put in a place of ours stays,
and is noted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial

from rtagent.core.interfaces import UNUSED, table_of
from rtagent.core.objects import ChangedRows, Objects
from rtagent.core.punt_matches import matches
from rtagent.core.punt_settings import PuntSettings
from rtagent.core.resolve import Topology
from rtagent.core.store import Store
from rtagent.vector.interfaces import InterfaceAddress, Membership
from rtagent.vector.keys import ADDRESS_BITS, AF_INET, AF_INET6
from rtagent.vector.links import Address, Link
from rtagent.vector.objects import ObjectKey
from rtagent.vector.ports import Port
from rtagent.vector.punt import (
    OTHERS,
    Ethertype,
    Group,
    LocalAddress,
    MulticastAccept,
    MulticastLocal,
    OsiProtocol,
    PolicerLimit,
    PuntExempt,
    PuntPolicer,
    TakesInet,
)

PUNT_KINDS = (
    MulticastLocal, MulticastAccept, LocalAddress, TakesInet, Ethertype, OsiProtocol, PuntPolicer, PuntExempt
)  # fmt: skip
LINK_GROUPS = (Group(bytes((224, 0, 0, 0)), 24), Group(b"\xff" + bytes(15), 8))
"""What is always punted: the groups of one's own link (RFC 5771), and everything of IPv6."""
LINUX_CP, POLICER = "linux_cp", "policer"
"""Plugins of VPP that this needs."""

_ON_INTERFACES = (TakesInet, MulticastAccept)
BROADCAST = b"\xff\xff\xff\xff"
"""To everybody on the link (RFC 919)."""
_LONGEST_WITH_BROADCAST = 30
_FAMILIES = (AF_INET, AF_INET6)

EATERS = {
    "ping": "answers echo requests itself, and keeps the replies to the host's",
    "igmp": "keeps IGMP from the host's multicast routing",
    "lldp": "keeps LLDP from the host",
    "lacp": "keeps LACP from the host",
    "vrrp": "keeps VRRP from the host",
    "cdp": "keeps CDP from the host, once it is on",
    "dhcp": "keeps DHCP from the host, once its client or proxy is on",
}
"""Plugins of VPP that take what the host should get, and what they do."""


class Punting:
    """Wants for PUNT_KINDS. It comes after Interfaces, from whose wants it follows."""

    def __init__(self, store: Store, objects: Objects) -> None:
        self.ports: Mapping[int, Port] = {}
        """The interfaces of the configured pairs and their VLANs."""
        self.settings = PuntSettings()
        self.plugins: Collection[str] = ()
        """The data plane's, as it told of them."""
        self.notes: list[str] = []
        """What is not punted as it should be, and why; for people."""
        self._store = store
        self._objects = objects
        objects.own(LocalAddress, lambda _: True)  # a source of our own holds them
        objects.own(MulticastAccept, lambda _: True)  # the writer tells of none but ours
        objects.own(TakesInet, lambda key: key.interface in self.ports)  # type: ignore[attr-defined]
        for kind in (MulticastLocal, PuntPolicer, PuntExempt):
            objects.own(kind, lambda key: objects.held[key].value != OTHERS)

    def update(self, objects: Objects, changed: ChangedRows | None) -> None:
        """Want anew what follows from the interfaces."""
        if changed is not None and not changed.keys() & {Link, Address}:
            return
        wanted: dict[ObjectKey, object] = {}
        self.notes = []
        if LINUX_CP in self.plugins and self.ports:
            unused = {key for key in self.ports if not _may_take_inet(self._store.topology, key)}
            hosts = host_addresses(self._store.topology, self._store.addresses.values())
            wanted = punted(objects.wanted, self.ports, self.settings, hosts, without_inet=unused)
            if POLICER not in self.plugins:
                self.notes += _without_policer(wanted)
            self.notes += _without_others(wanted, objects)
        for kind in PUNT_KINDS:
            objects.want_all(kind, {key: value for key, value in wanted.items() if type(key) is kind})

    def saw_ports(self, ports: Collection[int]) -> None:
        """These interfaces are there: the next one of a number that went starts with nothing."""
        for key in [
            key for key in self._objects.held if isinstance(key, _ON_INTERFACES) and key.interface not in ports
        ]:
            self._objects.heard(key, None)


def punted(
    wanted: Mapping[ObjectKey, object], ports: Iterable[int], settings: PuntSettings,
    hosts: Iterable[LocalAddress] = (), *, without_inet: Collection[int] = (),
) -> dict[ObjectKey, object]:  # fmt: skip
    """Return what is to be punted for these interfaces; ``wanted`` are their memberships and addresses.

    ``hosts`` are all addresses of the host. Interfaces ``without_inet`` take no IPv4 packets as long as they have no
    IPv4 address.
    """
    found: dict[ObjectKey, object] = {}
    interfaces = set(ports)
    groups = (*LINK_GROUPS, *settings.groups)
    for interface in interfaces:
        for family in _FAMILIES:
            table = wanted.get(Membership(interface, family))
            if not isinstance(table, int):
                continue
            for group in groups:
                if group.is_ipv6 == (family == AF_INET6):
                    found[MulticastLocal(table, group)] = True
                    found[MulticastAccept(interface, table, group)] = True
            if family == AF_INET:
                found[LocalAddress(table, BROADCAST)] = True
    with_inet, of_interfaces, tables = set(), set(), _tables(wanted, interfaces)
    for key in wanted:
        if not isinstance(key, InterfaceAddress) or key.interface not in interfaces:
            continue
        of_interfaces.add(LocalAddress(key.table, key.address))
        if len(key.address) == len(BROADCAST):
            with_inet.add(key.interface)
        if broadcast := broadcast_of(key):
            found[broadcast] = True
    found |= {host: True for host in hosts if host not in of_interfaces and (host.table, len(host.address)) in tables}
    found |= {TakesInet(interface): True for interface in interfaces - with_inet - set(without_inet)}
    found |= {Ethertype(number): True for number in settings.ethertypes}
    found |= {OsiProtocol(number): True for number in settings.osi_protocols}
    if settings.rate_kbps:
        burst_bytes = settings.rate_kbps * settings.burst_ms // 8
        found[PuntPolicer()] = PolicerLimit(settings.rate_kbps, burst_bytes)
        for family, version in ((AF_INET, 4), (AF_INET6, 6)):
            if exempt := matches(settings.exempt, settings.exempt_sources, version):
                found[PuntExempt(family)] = exempt
    return found


def broadcast_of(key: InterfaceAddress) -> LocalAddress | None:
    """Return the broadcast address of an address's prefix, None where there is none."""
    if len(key.address) != len(BROADCAST) or key.length > _LONGEST_WITH_BROADCAST:
        return None
    network = ipaddress.IPv4Network((key.address, key.length), strict=False)
    return LocalAddress(key.table, network.broadcast_address.packed)


def host_addresses(topology: Topology, addresses: Iterable[Address]) -> Iterator[LocalAddress]:
    """Yield the addresses at which the kernel takes packets from a wire; not those of links that we leave alone."""
    links = topology.links
    for row in addresses:
        link = links.get(row.ifindex)
        if link is None or not link.up or row.flags & UNUSED or link.ifindex in topology.left_alone:
            continue
        address = ipaddress.ip_address(row.local)
        if not address.is_loopback and not address.is_link_local:
            yield LocalAddress(table_of(link, links), row.local)


def in_the_way(plugins: Collection[str]) -> list[str]:
    """Return what these plugins of the data plane keep from the host, a sentence each."""
    if LINUX_CP not in plugins:
        return []
    return [f"VPP's {name} plugin is loaded: it {does}" for name, does in EATERS.items() if name in plugins]


def _tables(wanted: Mapping[ObjectKey, object], interfaces: Collection[int]) -> set[tuple[object, int]]:
    """Return the tables that these interfaces are in, each with the bytes of its addresses."""
    return {
        (table, ADDRESS_BITS[key.family] // 8)
        for key, table in wanted.items()
        if isinstance(key, Membership) and key.interface in interfaces
    }


def _may_take_inet(topology: Topology, interface: int) -> bool:
    """Whether the interface's link may receive IPv4 packets for itself: one of a bridge or a bond does not."""
    for ifindex, paired in topology.pairs.items():
        if paired == interface:
            link = topology.links.get(ifindex)
            master = topology.links.get(link.master) if link is not None else None
            return link is not None and (not link.master or (master is not None and master.kind == "vrf"))
    return False


def _without_policer(wanted: dict[ObjectKey, object]) -> list[str]:
    gone = _take_out(wanted, lambda key: isinstance(key, PuntPolicer | PuntExempt))
    return ["VPP's policer plugin is not loaded: a flood to the router is not limited"] if gone else []


def _without_others(wanted: dict[ObjectKey, object], objects: Objects) -> list[str]:
    """Take away what somebody else has a place for, and what makes no sense without; say so."""
    notes = []
    for key in _take_out(wanted, lambda key: key in objects.held and objects.held[key].value == OTHERS):
        if isinstance(key, MulticastLocal):
            _take_out(wanted, partial(_accepts, of=key))
            notes.append(f"{key.group.text} in table {key.table}: somebody else has an entry for it in VPP")
        elif isinstance(key, PuntPolicer):
            _take_out(wanted, lambda key: isinstance(key, PuntExempt))
            notes.append("the policer of what VPP punts is somebody else's")
        else:
            notes.append("the ACL of what VPP punts is somebody else's: no protocol passes by the policer")
    return notes


def _accepts(key: ObjectKey, of: MulticastLocal) -> bool:
    return isinstance(key, MulticastAccept) and (key.table, key.group) == (of.table, of.group)


def _take_out(wanted: dict[ObjectKey, object], which: Callable[[ObjectKey], bool]) -> list[ObjectKey]:
    taken = [key for key in wanted if which(key)]
    for key in taken:
        del wanted[key]
    return taken
