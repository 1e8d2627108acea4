"""VPP as a FibSink: our rows in its FIB, through the binary API socket and nothing else.

* **Ours** are the rows of a FIB source named after us (``sinks.vpp_sources``).
* **Labels** have a source by our plugin only: VPP's API makes every client's MPLS routes source API. There ours bear a
  mark that the dump returns (``wire.vapi.labels``); any other row shadows, as source API. A row that somebody adds to
  a label after we have written it replaces ours; we see that when we read again.
* **Tables**: the kernel's main table is VPP's 0, others have their own number (VPP's own table 254, if there is one,
  is out of reach). A table that VPP lacks is made before its first row; it is never removed, others may use it.
* **Writing** is pipelined: a plan becomes one buffer for each slice of it, and the answers find their rows by context.
* **In bulk**: where VPP has our plugin, rows go and come by it (``sinks.vpp_bulk``), else by stock messages.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtagent.core.sink import Disconnected, Plan
from rtagent.sinks.vapi import Refused, VapiClient
from rtagent.sinks.vpp_bulk import has_bulk, read_bulk, write_bulk
from rtagent.sinks.vpp_encaps import VppEncaps
from rtagent.sinks.vpp_labels import VppLabels
from rtagent.sinks.vpp_neighbors import kernels_rows, read_neighbors
from rtagent.sinks.vpp_objects import LISTENERS, WRITERS, write_all
from rtagent.sinks.vpp_plugins import plugins
from rtagent.sinks.vpp_ports import has_pairing, read_ports
from rtagent.sinks.vpp_punt import local_addresses, row_keys
from rtagent.sinks.vpp_punt_counts import punt_counts
from rtagent.sinks.vpp_sources import VppSources
from rtagent.vector.fib import NO_ENTRY, RESERVED_TABLES, FibEntries, FibVector
from rtagent.vector.interfaces import OURS, PairKey, SubInterface, Table
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS, TABLE_MAIN, Keys
from rtagent.vector.links import Neighbor
from rtagent.vector.objects import Held, ObjectAnswer, ObjectChange, ObjectKey
from rtagent.vector.ports import NO_INTERFACE, Port
from rtagent.vector.punt import LocalAddress, PuntCounts
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.vapi.framing import Frames
from rtagent.wire.vapi.hosts import with_attached_hosts
from rtagent.wire.vapi.paths import PathLists
from rtagent.wire.vapi.retvals import ENTRY_ALREADY_EXISTS, NO_SUCH_FIB, retval_text
from rtagent.wire.vapi.routes import decode_details, decode_lookups, decode_replies, encode_lookups, encode_routes

_WRITE_ROWS = 16_384
_READ_ROWS = 2_048
"""Few, so that VPP rarely waits for us: what it cannot send it moves about in memory."""
_LOOKUP_ROWS = 4_096
_FEW_ROWS = 128
"""So many are sooner written than put in order."""

_PORT_EVENT = "sw_interface_event"

_BYTE = np.uint64(8)
_TABLE_SHIFT = np.uint64(16)
_META_MASK = np.uint64(0xFFFF)


_WRITER_OF = {kind: writer for writer in WRITERS for kind in writer.kinds}


class VppFib:
    """A FibSink that is VPP's FIB. ``ports`` follow the interfaces while somebody is in ``wait_lost``."""

    def __init__(
        self, entries: FibEntries, socket_path: str, source_name: str = "rtagent", *, stats_path: str = ""
    ) -> None:  # fmt: skip
        """``stats_path`` is the socket of VPP's statistics."""
        self.entries = entries
        self.on_ports_changed: Callable[[], None] = lambda: None
        self.on_object_heard: Callable[[ObjectKey, Held | None], None] = lambda key, held: None
        self._socket_path = socket_path
        self._stats_path = stats_path
        self._paths = PathLists(entries)
        self._labels = VppLabels(entries, self._paths)
        self._encaps = VppEncaps(self._paths)
        self._client: VapiClient | None = None
        self._sources = VppSources(source_name)
        self._ports: dict[str, Port] = {}
        self._one_reads_ports = asyncio.Lock()
        self._ports_being_written = self._ports_written = 0
        self._can_pair = False
        self._local_addresses: set[LocalAddress] = set()
        """Those of ours, as the last reading of all rows and our writes since have left them."""
        self._tables: set[tuple[int, int]] = set()
        """(family, VPP's table) of the IP tables that are known to exist."""
        self._in_order = asyncio.Lock()

    @property
    def own_source(self) -> int:
        """The number of our source; one that no row has where it was not found and not to be made."""
        return self._sources.own

    @property
    def bulk(self) -> bool:
        """Whether the VPP that we are connected to has our plugin."""
        return self._client is not None and has_bulk(self._client)

    @property
    def can_pair(self) -> bool:
        """Whether the VPP that we were last connected to has linux_cp."""
        return self._can_pair

    @property
    def plugins(self) -> frozenset[str]:
        """The plugins of the VPP that we are connected to, those that concern us."""
        return frozenset() if self._client is None else plugins(self._client.messages.offered)

    @property
    def ports(self) -> Mapping[str, Port]:
        """VPP's interfaces by name, as last heard."""
        return self._ports

    def source_name(self, source: int) -> str:
        """Return VPP's name of a source."""
        return self._sources.name(source)

    def outranks(self, source: int) -> bool:
        """Whether rows of a source win over ours. Within a priority VPP prefers the source that was made first."""
        return self._sources.outranks(source)

    async def connect(self, *, read_only: bool = False) -> None:
        """Connect, find our source or make it, and learn interfaces and tables."""
        await self.close()
        client = self._client = await VapiClient.connect(self._socket_path, [_PORT_EVENT, *LISTENERS])
        try:
            self._can_pair = has_pairing(client)
            listeners = () if read_only else LISTENERS.values()
            await asyncio.gather(
                client.call("want_interface_events", enable_disable=1, pid=os.getpid()),
                *(listener.subscribe(client) for listener in listeners),
                self._sources.find(client, make=not read_only),
                self._read_ports(client),
                self._read_tables(client),
                self._encaps.learn(client),
            )
        except Refused as refused:
            await self.close()
            raise Disconnected(f"VPP does not let us start: {refused}") from None
        except BaseException:
            await self.close()
            raise

    async def wait_lost(self) -> None:
        """Follow the interfaces, and what VPP does to objects by itself, until the connection is lost."""
        client = self._client
        while client is not None and not client.lost:
            await client.stirred.wait()
            client.stirred.clear()
            events, client.events = client.events, []
            try:
                if any(name == _PORT_EVENT for name, _ in events) and not client.lost:
                    await self._read_ports(client)
                for name, message in events:
                    if name in LISTENERS:
                        self.on_object_heard(*LISTENERS[name].heard(message))
            except MalformedMessage as error:
                client.give_up(error)
            except Disconnected:
                return

    async def refresh(self) -> None:
        """Read the interfaces anew."""
        await self._read_ports(self._connected())

    async def read(self) -> AsyncIterator[FibVector]:
        """Yield every row of every table, ours and others', as VPP sends them.

        Without our plugin VPP holds its workers while it dumps.
        """
        client = self._connected()
        await asyncio.gather(self._sources.read(client), self._read_tables(client))
        self._local_addresses.clear()
        yield await self._read_labels(client)
        if has_bulk(client):
            async for held in read_bulk(client, self._sources.own, self._paths):
                yield self._noted(self._in_kernel(self._of_tables(held)))
            return
        for family, table in sorted(self._tables):
            if table != TABLE_MAIN:
                parts: list[Frames] = []
                async for frames in client.dump_frames(
                    "ip_route_v2_dump", "ip_route_v2_details", table=_table(family, table)
                ):
                    parts.append(frames)
                    if sum(map(len, parts)) >= _READ_ROWS:
                        yield self._noted(self._held(client, parts))
                        parts = []
                if parts:
                    yield self._noted(self._held(client, parts))

    async def apply(self, plan: Plan) -> NDArray[np.int32]:
        """Install the plan, family by family; tables that VPP lacks are made first."""
        retval = np.zeros(len(plan), np.int32)
        if not len(plan):
            return retval
        families = plan.keys.family
        family = families.item(0)
        if (others := families != family).any():
            for rows in (~others, others):
                retval[rows] = await self.apply(plan.take(rows))
        elif family == AF_INET6 and len(plan) > _FEW_ROWS:
            order = covers_first(plan)
            retval[order] = await self._apply(plan.take(order), family)
        else:
            retval = await self._apply(plan, family)
        return retval

    async def _apply(self, plan: Plan, family: int) -> NDArray[np.int32]:
        """Install a plan of one family in its order."""
        retval = np.zeros(len(plan), np.int32)
        client = self._connected()
        keys, entry = _in_vpp(plan.keys), plan.entry
        async with self._in_order:
            if family == AF_MPLS:
                answered = await self._write_labels(client, keys, entry, retval)
            else:
                answered = await self._write_routes(client, keys, entry, retval, family)
        for each in answered:
            await each
        homeless = retval == NO_SUCH_FIB
        if homeless.any():
            retval[homeless & (entry == NO_ENTRY)] = 0  # the row went with its table
            await self._read_tables(client)
        return retval

    async def objects(self) -> Mapping[ObjectKey, Held]:
        """Return every object that one of the writers knows, and the local addresses among the rows read last."""
        client = self._connected()
        held: dict[ObjectKey, Held] = {}
        try:
            for part in await asyncio.gather(*(writer.read(client) for writer in WRITERS)):
                held |= part
        except Refused as refused:
            raise Disconnected(f"VPP does not tell what it holds: {refused}") from None
        self._encaps.read(held)
        return held | {key: Held(True) for key in self._local_addresses}

    async def write(self, change: ObjectChange) -> ObjectAnswer:
        """Write an object by the writer of its kind."""
        client = self._connected()
        if self._encaps.is_taken(change):
            return ObjectAnswer(ENTRY_ALREADY_EXISTS)
        is_port = isinstance(change.key, SubInterface | PairKey)
        self._ports_being_written += is_port
        try:
            interface = await _WRITER_OF[type(change.key)].write(client, change)
        except Refused as refused:
            return ObjectAnswer(refused.retval)
        finally:
            self._ports_being_written -= is_port
            self._ports_written += is_port
        self._encaps.written(change, interface)
        if isinstance(change.key, Table):
            await self._read_tables(client)
        elif isinstance(change.key, LocalAddress):
            (self._local_addresses.discard if change.after is None else self._local_addresses.add)(change.key)
        elif isinstance(change.key, PairKey):  # of whose tag VPP tells nobody
            client.events.append((_PORT_EVENT, b""))
            client.stirred.set()
        return ObjectAnswer(0, NO_INTERFACE if interface is None else interface)

    async def write_all(self, changes: Sequence[ObjectChange]) -> list[ObjectAnswer]:
        """Write objects by the writers of their kinds."""
        return await write_all(self._connected(), changes, self.write)

    async def lookup(self, keys: Keys) -> FibVector:
        """Return the exact rows at ``keys``."""
        client = self._connected()
        keys = _in_vpp(keys)
        is_label = keys.family == AF_MPLS
        routes = np.flatnonzero(~is_label)
        found: list[FibVector] = []
        for start in range(0, len(routes), _LOOKUP_ROWS):
            found.append(await self._lookup_routes(client, keys.take(routes[start : start + _LOOKUP_ROWS])))
        if is_label.any():
            labels = await self._read_labels(client)
            found.append(labels.take(np.isin(labels.keys.hi, keys.hi[is_label])))
        return FibVector.concat(found)

    async def _lookup_routes(self, client: VapiClient, keys: Keys) -> FibVector:
        found: list[FibVector] = []

        def encode(context: int) -> NDArray[np.uint8]:
            number, client_index = client.messages.numbers["ip_route_lookup_v2"], client.messages.client_index
            return encode_lookups(keys, context, message_id=number, client_index=client_index)

        def decode(frames: Frames, _: NDArray[np.uint32]) -> None:
            found.append(self._in_kernel(decode_lookups(frames, self._paths)))

        answered = await client.send(len(keys), "ip_route_lookup_v2_reply", encode, decode)
        await answered
        return FibVector.concat(found)

    async def neighbors(self, interfaces: Collection[int]) -> Mapping[tuple[int, bytes], Neighbor]:
        """Return VPP's neighbours on these interfaces, by (interface, address)."""
        return kernels_rows(await read_neighbors(self._connected()), interfaces)

    async def local_addresses(self, keys: Collection[LocalAddress]) -> set[LocalAddress]:
        """Return which of these VPP holds for us."""
        return local_addresses(await self.lookup(row_keys(keys)), self._sources.of_punt)

    async def punt_counts(self, addresses: Collection[LocalAddress]) -> PuntCounts | None:
        """Return how much VPP has punted, None where its statistics are out of reach."""
        return await punt_counts(self._connected(), self._stats_path, addresses, self._ports.values())

    def error_text(self, retval: int) -> str:
        """Return VPP's words for a negative answer."""
        return retval_text(retval)

    async def close(self) -> None:
        """Let go of the connection; VPP keeps forwarding."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> VapiClient:
        if self._client is None:
            raise Disconnected("not connected to VPP")
        return self._client

    def _noted(self, held: FibVector) -> FibVector:
        """Return these rows, and note the local addresses among them."""
        self._local_addresses |= local_addresses(held, self._sources.of_punt)
        return held

    async def _read_ports(self, client: VapiClient) -> None:
        """Read the interfaces, and once more where one was made or removed meanwhile: half of that may be missing."""
        async with self._one_reads_ports:
            while True:
                written = self._ports_written
                ports = await read_ports(client)
                if written == self._ports_written and not self._ports_being_written:
                    break
        if ports != self._ports:
            self._ports = ports
            self.on_ports_changed()

    async def _read_tables(self, client: VapiClient) -> None:
        ip, _ = await asyncio.gather(client.dump("ip_table_dump", "ip_table_details"), self._labels.learn(client))
        self._tables = {
            (AF_INET6 if row.table.is_ip6 else AF_INET, row.table.table_id)
            for row in ip
            if row.table.table_id not in RESERVED_TABLES
        }

    async def _read_labels(self, client: VapiClient) -> FibVector:
        try:
            return await self._labels.read(
                client, own_source=self._sources.own, other_source=self._sources.number("API") or 0
            )
        except MalformedMessage as error:
            raise client.give_up(error) from None

    def _held(self, client: VapiClient, parts: list[Frames]) -> FibVector:
        try:
            return self._in_kernel(decode_details(Frames.concat(parts), self._paths))
        except MalformedMessage as error:
            raise client.give_up(error) from None

    def _of_tables(self, held: FibVector) -> FibVector:
        """Return the rows of tables that a route may forward by: not those that VPP keeps to itself."""
        known = [table << 8 | family for family, table in self._tables if table != TABLE_MAIN]
        return held.take(np.isin(held.keys.meta >> _BYTE, np.array(known, np.uint64)))

    def _in_kernel(self, held: FibVector) -> FibVector:
        """Return rows with the kernel's table numbers instead of VPP's, and attached hosts as they were written."""
        keys = held.keys
        main = np.uint64(TABLE_MAIN) << _TABLE_SHIFT
        meta = np.where(keys.table == 0, keys.meta | main, keys.meta)
        moved = FibVector(Keys(keys.hi, keys.lo, meta), held.entry, held.source)
        return with_attached_hosts(moved, self.entries, self._paths.encaps)

    async def _make_tables(self, client: VapiClient, family: int, keys: Keys, entry: NDArray[np.int32]) -> None:
        tables = keys.table
        if (family, int(tables[0])) in self._tables and (tables == tables[0]).all():
            return
        for table in np.unique(tables[entry != NO_ENTRY]).tolist():
            if (family, table) not in self._tables:
                await client.call("ip_table_add_del", is_add=True, table=_table(family, table))
                self._tables.add((family, table))

    async def _write_labels(
        self, client: VapiClient, keys: Keys, entry: NDArray[np.int32], retval: NDArray[np.int32]
    ) -> list[asyncio.Future[None]]:
        await self._labels.prepare(client, entry)
        return await self._labels.write(client, keys, entry, retval, self._sources.own)

    async def _write_routes(
        self, client: VapiClient, keys: Keys, entry: NDArray[np.int32], retval: NDArray[np.int32], family: int
    ) -> list[asyncio.Future[None]]:
        await self._make_tables(client, family, keys, entry)
        if has_bulk(client):
            return await write_bulk(client, keys, entry, retval, family, self._paths, self._sources.own)
        answered = []
        for start in range(0, len(keys), _WRITE_ROWS):
            rows = slice(start, start + _WRITE_ROWS)
            answered.append(await self._send(client, keys.take(rows), entry[rows], retval[rows]))
        return answered

    async def _send(
        self, client: VapiClient, keys: Keys, entry: NDArray[np.int32], retval: NDArray[np.int32]
    ) -> asyncio.Future[None]:
        def encode(context: int) -> NDArray[np.uint8]:
            number, client_index = client.messages.numbers["ip_route_add_del_v2"], client.messages.client_index
            return encode_routes(
                keys, entry, self._paths, context,
                message_id=number, client_index=client_index, source=self._sources.own,
            )  # fmt: skip

        def decode(frames: Frames, which: NDArray[np.uint32]) -> None:
            retval[which] = decode_replies(frames)

        return await client.send(len(keys), "ip_route_add_del_v2_reply", encode, decode)


def covers_first(plan: Plan) -> NDArray[np.intp]:
    """Return the order in which VPP takes IPv6 rows soonest: shorter prefixes first, and removals last, as they were.

    VPP looks for the next shorter prefix of each, length by length from its own down (ip6_fib_table_lookup in
    vnet/fib/ip6_fib.c), and finds it soon where a near one is there. The kernel tells of that one behind those that
    it covers (fib6_walk_continue in net/ipv6/ip6_fib.c).
    """
    removal = plan.entry == NO_ENTRY
    return np.lexsort((np.where(removal, 0, plan.keys.length), removal))


def _table(family: int, table: int) -> dict[str, Any]:
    return {"table_id": table, "is_ip6": family == AF_INET6, "name": OURS}


def _in_vpp(keys: Keys) -> Keys:
    """Return keys with VPP's table numbers instead of the kernel's."""
    main = keys.table == TABLE_MAIN
    return Keys(keys.hi, keys.lo, np.where(main, keys.meta & _META_MASK, keys.meta))
