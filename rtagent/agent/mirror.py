"""Everything that a mirror consists of, joined but not moving: the running agent drives it, a snapshot looks once.

Both use the same parts, so that what ``diff`` and ``explain`` say is what the loop would do (invariant 10).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rtagent.agent.pairs import Pair, join, memory_ports
from rtagent.agent.settings import Settings
from rtagent.core.encap_objects import EncapObjects
from rtagent.core.interfaces import Interfaces
from rtagent.core.keytable import Rows
from rtagent.core.ledger import Ledger
from rtagent.core.neighbors import Neighbors
from rtagent.core.objects import Objects, Wants
from rtagent.core.pairing import Pairing
from rtagent.core.punt import Punting, in_the_way
from rtagent.core.sink import FibSink
from rtagent.core.store import Store
from rtagent.core.taps import NO_TAPS, Choice, Making, choose, missing
from rtagent.sinks.memory import MemoryFib
from rtagent.vector.fib import FibEntries, FibVector
from rtagent.vector.keys import Keys
from rtagent.vector.links import IFF_LOOPBACK
from rtagent.vector.neighbors import NeighborEntry, NeighborKey
from rtagent.vector.nexthops import NexthopGroups
from rtagent.vector.objects import Held, ObjectKey
from rtagent.vector.punt import LocalAddress

_LOOKUP_ROWS = 1024


class Mirror:
    """The kernel's state, the ledger beside it, the data plane, and the pairs between the two."""

    def __init__(self, settings: Settings, make_sink: Callable[[Settings, FibEntries], FibSink]) -> None:
        self.settings = settings
        self.groups = NexthopGroups()
        self.sink = make_sink(settings, FibEntries())
        self.entries = self.sink.entries
        self.store = Store(self.groups, self.entries)
        self.ledger = Ledger(self.store.rib, self.store.resolver)
        self.objects = Objects()
        self.pairs: list[Pair] = []
        self.choice = Choice({}, frozenset(), {})
        """Which interfaces are to have a link, as of the last joining."""
        self.refused_links: dict[str, str] = {}
        """Why the kernel has not got a link that it lacks, by the link's name."""
        self._interfaces = Interfaces(self.store, self.objects)
        self._pairing = Pairing(self.store, self.objects, settings.netns)
        self.punting = Punting(self.store, self.objects)
        self.neighbors = Neighbors(self.store, asks=settings.dataplane == "vpp")  # a shadow leaves the kernel alone
        self.objects.own_wanted(NeighborKey)
        self._wants: tuple[Wants, ...] = (
            self._interfaces,
            self._pairing,
            self.punting,
            self.neighbors,
            EncapObjects(self.store, self.objects),
        )
        self._found_links: Mapping[str, int] = {}
        self._wants_all = True

    def saw_ports(self) -> None:
        """The data plane has just told of its interfaces, after others or we have changed them."""
        ports = {port.interface: port for port in self.sink.ports.values()}
        self._interfaces.saw_ports(ports)
        self._pairing.saw_ports(self.sink.ports)
        self.punting.saw_ports(ports)

    def join_pairs(self) -> bool:
        """Join kernel links and data plane interfaces anew; return whether any pair has come, gone or changed."""
        topology = self.store.topology
        links = list(topology.links.values())
        wanted = dict(self.settings.pairs)
        if isinstance(self.sink, MemoryFib):
            self.sink.set_ports(memory_ports(links, wanted))
        if self.settings.dataplane == "memory" and not wanted:
            wanted = {link.name: link.name for link in links if not link.flags & IFF_LOOPBACK}
        follows, ports = self.settings.interfaces, self.sink.ports
        rules = self.settings.taps if self.settings.dataplane == "vpp" else NO_TAPS
        self.choice = choose(ports.values(), rules, wanted)
        tapped = self._pairing.tapped = self.choice.tapped
        left_alone = frozenset(link.ifindex for link in links if self.settings.ignores(link.name))
        joined = join(
            topology.links, ports, self.choice.hosts, self._found_links,
            vlans=follows, tapped=tapped, netns=self.settings.netns, refused=self._why_no_links(),
        )  # fmt: skip
        self.pairs, self._found_links = joined.rows, joined.links
        paired = set(joined.interfaces.values())
        known = {number: port for number, port in joined.ports.items() if self.store.knows_links or number in paired}
        self._interfaces.ports = self.punting.ports = known if follows else {}
        self._pairing.ports = ports
        self.punting.settings, self.punting.plugins = self.settings.punt, self.sink.plugins
        self._wants_all = True
        source = self.settings.srv6_source
        if (joined.interfaces, left_alone, source) == (topology.pairs, topology.left_alone, topology.srv6_source):
            return False
        topology.pairs, topology.left_alone, topology.srv6_source = joined.interfaces, left_alone, source
        self.store.topology_changed()
        return True

    def _why_no_links(self) -> dict[str, str]:
        if self.sink.can_pair or self.settings.dataplane != "vpp":
            return self.refused_links
        return dict.fromkeys(self.choice.hosts, "VPP has no linux_cp plugin, or one of another API")

    def missing_links(self) -> list[Making]:
        """Return the links that the kernel lacks for the interfaces that are to have one, and can."""
        if not self.sink.can_pair:
            return []
        topology, vlans = self.store.topology, self.settings.interfaces
        return missing(topology.links, self.sink.ports, self.choice, topology.pairs, vlans=vlans)

    def want_objects(self) -> bool:
        """Bring what is wanted of the data plane besides routes up to date with the store and the pairs.

        Return whether anything besides routes has changed.
        """
        changed = self.store.take_changed()
        any_changed = bool(changed) or self._wants_all
        for wants in self._wants:
            wants.update(self.objects, None if self._wants_all else changed)
        self._wants_all = False
        return any_changed

    def object_heard(self, key: ObjectKey, held: Held | None) -> None:
        """The data plane says that it holds an object so, or (None) no more."""
        self.objects.heard(key, held)
        if isinstance(key, NeighborKey) and held is not None and isinstance(held.value, NeighborEntry):
            self.neighbors.learned(self.objects, key, held.value)

    @property
    def interface_names(self) -> dict[int, str]:
        """The data plane's interfaces by number."""
        return {port.interface: port.name for port in self.sink.ports.values()}

    @property
    def warnings(self) -> list[str]:
        """What the data plane keeps from the host, or cannot do for it; for people."""
        return [*in_the_way(self.sink.plugins), *self.punting.notes]

    @property
    def left_out(self) -> Mapping[int, list[str]]:
        """What links have and the data plane's interfaces cannot, by interface."""
        return self._interfaces.left_out

    async def load_objects(self) -> None:
        """Take the objects that the data plane holds, and say what is wanted of them."""
        self.objects.load(await self.sink.objects())
        self.want_objects()
        addresses = [key for key in self.objects.of(LocalAddress) if isinstance(key, LocalAddress)]
        held = await self.sink.local_addresses(addresses)
        for key in addresses:
            self.objects.heard(key, Held(True) if key in held else None)

    async def load(self) -> int:
        """Take what the data plane holds into the ledger; return the number of rows."""
        self.ledger.forget_installed()
        count = 0
        async for held in self.sink.read():
            self._take(held)
            count += len(held)
        return count

    async def look_again(self, rows: Rows) -> None:
        """Take anew what the data plane holds of these rows."""
        self.ledger.forget(rows)
        keys = self.store.rib.table.keys.take(rows)
        for start in range(0, len(rows), _LOOKUP_ROWS):
            which = slice(start, start + _LOOKUP_ROWS)
            self._take(await self.sink.lookup(Keys(keys.hi[which], keys.lo[which], keys.meta[which])))

    def _take(self, held: FibVector) -> None:
        self.ledger.load(held, self.sink.own_source, self.sink.outranks, self.sink.source_name)
