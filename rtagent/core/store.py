"""Everything known about the kernel, and the questions that a change of it raises.

The store takes batches from a source, dumps and notifications alike, and remembers which rows to decide again. Where
the kernel changes routes without saying so (a link goes down, the last address of a link is deleted, a nexthop object
goes), the edge itself is what we learn: the store then asks for a fresh dump of the routes concerned, and until it
arrives the resolver already disregards what is dead.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Set
from typing import Any

from rtagent.core.keytable import Rows
from rtagent.core.resolve import Resolver, Topology
from rtagent.core.rib import Rib
from rtagent.vector.batch import Change, Dump, Inet6Link, KernelBatch, Row, UnsupportedRoute
from rtagent.vector.fib import FibEntries
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS, Key
from rtagent.vector.links import (
    IFF_FORWARDING,
    IFF_LOWER_UP,
    IFF_UP,
    Address,
    LabelInput,
    Link,
    LinkdownPolicy,
    Neighbor,
    Rule,
)
from rtagent.vector.nexthops import NH_DEAD, NexthopGroups, NexthopObject
from rtagent.vector.routes import RouteBatch

ROUTE_FAMILY = {Dump.ROUTES_INET: AF_INET, Dump.ROUTES_INET6: AF_INET6, Dump.ROUTES_MPLS: AF_MPLS}
_ROUTE_DUMP = {family: dump for dump, family in ROUTE_FAMILY.items()}
_FALLBACK_TUNNELS = frozenset({"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0"})
"""Links whose MTU the kernel sets after it has told of them, without a word (net/ipv4/ip_tunnel.c ip_tunnel_init_net,
all of it under the RTNL lock, for which a dump of links waits)."""
_IP_ROUTES = frozenset({Dump.ROUTES_INET, Dump.ROUTES_INET6})
_ALL_ROUTES = frozenset(ROUTE_FAMILY)

RowKey = tuple[object, ...]


class Store:
    """The kernel's state as last reported; see KernelListener in sources/kernel.py for the protocol of dumps."""

    def __init__(self, groups: NexthopGroups, entries: FibEntries) -> None:
        self.groups = groups
        self.topology = Topology()
        self.rib = Rib(groups, self.topology.is_dead)
        self.resolver = Resolver(self.topology, groups, entries)
        self.addresses: dict[RowKey, Address] = {}
        self.topology.addresses = self.addresses
        self.neighbors: dict[RowKey, Neighbor] = {}
        self.rules: dict[RowKey, Rule] = {}
        self.unsupported: dict[RowKey, UnsupportedRoute] = {}
        """Routes whose key has no counterpart, by what tells them apart."""
        self.knows_links = False
        """Whether the kernel's links have been dumped whole: one that is not there does not exist."""
        self.on_links_changed: Callable[[], None] = lambda: None
        """Called when links came, went or were renamed, or are known whole: pairs are named after links."""
        self._source_specific: Counter[Key] = Counter()
        self._topology_changed = False
        self._generation = 0
        self._dumping: dict[Dump, int] = {}
        self._seen_rows: dict[Dump, set[RowKey]] = {}
        self._requests: set[Dump] = set()
        self._changed: defaultdict[type, set[RowKey]] = defaultdict(set)
        self._handlers: dict[type, Callable[[Change], None]] = {
            Link: self._link_changed,
            NexthopObject: self._nexthop_changed,
            LinkdownPolicy: self._policy_changed,
            Address: self._address_changed,
            Neighbor: lambda change: _kept(self.neighbors, change),
            Rule: lambda change: _kept(self.rules, change),
            UnsupportedRoute: self._unsupported_changed,
            Inet6Link: self._inet6_link_changed,
            LabelInput: self._label_input_changed,
        }

    def begin(self, dump: Dump) -> None:
        """A dump starts; what it does not show is gone when it is finished."""
        self._generation += 1
        self._dumping[dump] = self._generation
        self._seen_rows[dump] = set()

    def apply(self, batch: KernelBatch, dump: Dump | None = None) -> None:
        """Take a batch of notifications, or of the dump named."""
        for change in batch.changes:
            if dump is not None:
                self._seen_rows[dump].add(row_key(change.row))
            self._take(change)
            if dump is None and isinstance(change.row, Link):
                self._link_told(change.row)
        self._apply_routes(batch.routes, self._dumping[dump] if dump is not None else 0)

    def finish(self, dump: Dump) -> None:
        """The dump is complete: what it has not shown is gone."""
        generation, seen = self._dumping.pop(dump), self._seen_rows.pop(dump)
        for row in [row for row in self._rows_of(dump) if row_key(row) not in seen]:
            self._take(Change(row, gone=True))
        if dump is Dump.LINKS and not self.knows_links:
            self.knows_links = True
            self.on_links_changed()
        if dump in ROUTE_FAMILY:
            self.rib.sweep(ROUTE_FAMILY[dump], generation)

    def abandon(self, dump: Dump) -> None:
        """The dump broke off: what it has shown stays, nothing is taken away."""
        self._dumping.pop(dump, None)
        self._seen_rows.pop(dump, None)

    def take_dump_requests(self) -> set[Dump]:
        """Return the dumps that silent changes call for, and forget them."""
        requests, self._requests = self._requests, set()
        return requests

    def take_changed(self) -> Mapping[type, Set[RowKey]]:
        """Return which rows came, went or changed since the last time, by their type: routes are not among them."""
        changed, self._changed = self._changed, defaultdict(set)
        return changed

    def topology_changed(self) -> None:
        """Decide again whatever resolves another way now: links, pairs or nexthop objects have changed."""
        self.resolver.invalidate()
        self._topology_changed = True

    @property
    def has_touched(self) -> bool:
        """Whether any row may wait for a decision."""
        return self._topology_changed or self.rib.has_touched

    def take_touched(self) -> Rows | None:
        """Return the rows to decide on (unique), None for all; and start over."""
        if self._topology_changed:
            self._topology_changed = False
            self.rib.touch_groups(self.resolver.take_changed())
        return self.rib.take_touched()

    def forget_unused(self) -> list[int]:
        """Free nexthop groups that no route uses; return their ids. Not while a dump is in progress."""
        assert not self._dumping
        freed = self.groups.keep(self.rib.used_groups())
        self.resolver.forget(freed)
        return freed

    def _take(self, change: Change) -> None:
        self._changed[type(change.row)].add(row_key(change.row))
        self._handlers[type(change.row)](change)

    def _apply_routes(self, delta: RouteBatch, generation: int) -> None:
        self.rib.apply(delta, generation)

    def _rows_of(self, dump: Dump) -> list[Row]:
        rows: dict[Dump, list[Row]] = {
            Dump.LINKS: list(self.topology.links.values()),
            Dump.ADDRESSES: list(self.addresses.values()),
            Dump.NEIGHBORS: list(self.neighbors.values()),
            Dump.NEXTHOPS: list(self.topology.nexthops.values()),
            Dump.RULES: list(self.rules.values()),
            Dump.NETCONF: [
                *(LinkdownPolicy(*where, True) for where in self.topology.ignores_linkdown),
                *(LabelInput(ifindex, True) for ifindex in self.topology.label_inputs),
            ],
        }
        if dump in ROUTE_FAMILY:
            return [row for row in self.unsupported.values() if row.family == ROUTE_FAMILY[dump]]
        return rows.get(dump, [])

    def _link_changed(self, change: Change) -> None:
        link = change.row
        assert isinstance(link, Link)
        links = self.topology.links
        before = links.get(link.ifindex)
        if change.gone:
            links.pop(link.ifindex, None)
        else:
            links[link.ifindex] = link
        after = links.get(link.ifindex)
        if before is None and after is None:
            return
        if before is None or after is None or _called(before) != _called(after):
            self.on_links_changed()
            self.topology_changed()
        elif self._encapsulates and (before.master, before.external) != (after.master, after.external):
            self.topology_changed()  # what is put around a packet depends on the VRF
        if before is None:
            if link.name in _FALLBACK_TUNNELS:
                self._requests.add(Dump.LINKS)
            return
        lost = before.flags & ~(after.flags if after else 0) & IFF_FORWARDING
        gained = after.flags & ~before.flags & IFF_FORWARDING if after else 0
        if (lost | gained) & (IFF_UP | IFF_LOWER_UP):
            self.topology_changed()
        if lost or after is None:  # a link that goes takes along multipath routes in which it was dead already
            self._request(link.ifindex, _ALL_ROUTES | ({Dump.NEXTHOPS} if self.topology.nexthops else set()))
        elif gained:
            self._request(link.ifindex, _ALL_ROUTES, flags=NH_DEAD)
        elif before.master != after.master:  # a VRF takes routes away from a link that is down, without a word
            self._request(link.ifindex, _ALL_ROUTES)
        if after is not None and lost & IFF_UP:  # an IPv6 address added just before may stay, and is never told of
            self._requests.add(Dump.ADDRESSES)  # (net/ipv6/addrconf.c: addrconf_dad_start tells later, from a queue)

    def _link_told(self, link: Link) -> None:
        """The kernel has sent word of a link. One that went and came back meanwhile looks as it did before.

        Routes that were told of in between are dead all the same, and revived without a word.
        """
        if link.flags & IFF_FORWARDING == IFF_FORWARDING:
            self._request(link.ifindex, _ALL_ROUTES, flags=NH_DEAD)

    def _nexthop_changed(self, change: Change) -> None:
        row = change.row
        assert isinstance(row, NexthopObject)
        nexthops = self.topology.nexthops
        before = nexthops.get(row.nhid)
        if change.gone:
            nexthops.pop(row.nhid, None)
            if before is not None:  # its routes, and its place in groups, go without a word
                self._requests |= _IP_ROUTES | {Dump.NEXTHOPS}
        else:
            nexthops[row.nhid] = row
        if before != nexthops.get(row.nhid):
            self.topology_changed()

    def _policy_changed(self, change: Change) -> None:
        policy = change.row
        assert isinstance(policy, LinkdownPolicy)
        ignores = self.topology.ignores_linkdown
        where = (policy.family, policy.ifindex)
        wanted = policy.ignore_routes_with_linkdown and not change.gone
        if wanted == (where in ignores):
            return
        (ignores.add if wanted else ignores.discard)(where)
        self.topology_changed()
        if not wanted and policy.family in _ROUTE_DUMP:  # what was ignored was shown as dead
            self._requests.add(_ROUTE_DUMP[policy.family])

    def _label_input_changed(self, change: Change) -> None:
        row, inputs = change.row, self.topology.label_inputs
        assert isinstance(row, LabelInput)
        (inputs.add if row.taken and not change.gone else inputs.discard)(row.ifindex)

    def _address_changed(self, change: Change) -> None:
        address = change.row
        assert isinstance(address, Address)
        before = self.addresses.get(row_key(address))
        known = before is not None
        _kept(self.addresses, change)
        if address.family == AF_INET6 and self._encapsulates and before != self.addresses.get(row_key(address)):
            self.topology_changed()  # the source of a segment routing header may be another one
        routes = frozenset({_ROUTE_DUMP[address.family]})
        if change.gone and known:
            self._requests |= routes
        elif not change.gone and not known:
            self._request(address.ifindex, routes, flags=NH_DEAD)

    @property
    def _encapsulates(self) -> bool:
        objects = self.topology.nexthops.values()
        return bool(self.groups.encapsulated) or any(known.nexthop.encap for known in objects)

    def _inet6_link_changed(self, change: Change) -> None:
        """IPv6 nexthops over the link die, or come to life, without a word where it has no IPv6 address."""
        assert isinstance(change.row, Inet6Link)
        routes = frozenset({Dump.ROUTES_INET6})
        self._request(change.row.ifindex, routes, flags=0 if change.gone else NH_DEAD)

    def _unsupported_changed(self, change: Change) -> None:
        row = change.row
        assert isinstance(row, UnsupportedRoute)
        before = len(self.unsupported)
        _kept(self.unsupported, change)
        if len(self.unsupported) != before and row.family == AF_INET6:
            key = Key.parse(row.prefix, row.table)
            self._source_specific[key] += len(self.unsupported) - before
            if key.length:
                self.rib.divide(key, by_source=self._source_specific[key] > 0)

    def _request(self, ifindex: int, dumps: frozenset[Dump], flags: int = 0) -> None:
        """Ask for dumps if there is a nexthop over this link, with these flags when the kernel last showed it.

        A dump under way may still be about to show one, so it is repeated.
        """
        ways = [way for _, group in self.groups.items() for way in group.nexthops]
        ways += [known.nexthop for known in self.topology.nexthops.values()]
        concerned = any(way.ifindex == ifindex and way.flags & flags == flags for way in ways)
        self._requests |= dumps if concerned else dumps & self._dumping.keys()


def row_key(row: Row) -> RowKey:
    """Return what tells a row from the others of its type: it stays when the row changes."""
    match row:
        case Link():
            return (row.ifindex,)
        case NexthopObject():
            return (row.nhid,)
        case Address():
            return (row.family, row.ifindex, row.local, row.length, row.peer)
        case Neighbor():
            return (row.family, row.ifindex, row.address)
        case LinkdownPolicy():
            return (row.family, row.ifindex)
        case Rule():
            return row
        case Inet6Link() | LabelInput():
            return (row.ifindex,)
        case UnsupportedRoute():
            return (row.family, row.table, row.prefix, row.identity)


def _called(link: Link) -> tuple[object, ...]:
    """Return what pairs are joined by."""
    return link.name, link.altnames, link.tun


def _kept(rows: dict[RowKey, Any], change: Change) -> None:
    key = row_key(change.row)
    if change.gone:
        rows.pop(key, None)
    else:
        rows[key] = change.row
