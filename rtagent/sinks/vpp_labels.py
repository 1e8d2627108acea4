"""VPP's MPLS table as a place for our labels, beside the IP tables that ``vpp`` looks after.

With our plugin labels are rows like any other, of our source. Without it they are source API, as every client's, and
VPP keeps what it was first told to be below a label at the bottom of the stack, even when the entry is replaced. So
it is remembered here what that was, from reading and from writing, and an entry that needs something else is removed
just before it is written anew: the one change in a FIB that is not make-before-break.

An agent without the plugin may have left labels behind in a VPP that has it. They hide ours, so they are read as rows
of ours that are equal to nothing wanted; what is written in their place is followed by their removal.

The table must exist before its first row. Whether an interface takes labelled packets is a setting of the interface
(TakesLabels in vector/interfaces.py); for labels to leave by it nothing need be set.
"""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from rtagent.sinks.vapi import VapiClient
from rtagent.sinks.vpp_bulk import has_bulk, read_slices, write_bulk
from rtagent.vector.fib import EMPTY_FIB, NO_ENTRY, FibEntries, FibEntry, FibKind, FibVector
from rtagent.vector.keys import AF_MPLS, Keys
from rtagent.wire.vapi.framing import Frames
from rtagent.wire.vapi.labels import decode_labels, encode_labels, payload_proto, whole_labels
from rtagent.wire.vapi.paths import PathLists
from rtagent.wire.vapi.routes import decode_replies

_ROWS = 8_192


class VppLabels:
    """The labels of VPP's MPLS table 0, the only one that the kernel knows."""

    def __init__(self, entries: FibEntries, paths: PathLists) -> None:
        self._entries = entries
        self._paths = paths
        self._table_exists = False
        self._payloads: dict[int, int] = {}
        """What VPP expects below a label, by Keys.hi; not kept with our plugin, which has no need of it."""
        self._left_behind: set[int] = set()
        """Labels that an agent without our plugin has written, by Keys.hi."""

    async def learn(self, client: VapiClient) -> None:
        """Find out whether the table is there."""
        tables = await client.dump("mpls_table_dump", "mpls_table_details")
        self._table_exists = any(row.mt_table.mt_table_id == 0 for row in tables)

    async def read(self, client: VapiClient, *, own_source: int, other_source: int) -> FibVector:
        """Return every label. Raises MalformedMessage or Disconnected."""
        if has_bulk(client):
            return await self._read_bulk(client, own_source, other_source)
        parts = [frames async for frames in client.dump_frames("mpls_route_dump", "mpls_route_details")]
        if not parts:
            return EMPTY_FIB
        held, payloads = decode_labels(
            Frames.concat(parts), self._paths, self._entries, own_source=own_source, other_source=other_source
        )
        self._payloads = dict(zip(held.keys.hi.tolist(), payloads.tolist(), strict=True))
        return held

    async def _read_bulk(self, client: VapiClient, own_source: int, api_source: int) -> FibVector:
        parts, bottom, payload = [EMPTY_FIB], [np.empty(0, bool)], [np.empty(0, np.uint8)]
        left_behind: set[int] = set()
        nothing_wanted = self._entries.intern(FibEntry(FibKind.OTHER))
        async for part in read_slices(client, AF_MPLS, own_source, self._paths):
            rows = np.flatnonzero(~part.hidden & (part.rows.keys.table == 0))
            held, left = part.rows.take(rows), (part.marked & (part.rows.source == api_source))[rows]
            left_behind.update(held.keys.hi[left].tolist())
            entry, source = np.where(left, nothing_wanted, held.entry), np.where(left, own_source, held.source)
            parts.append(FibVector(held.keys, entry.astype(np.int32), source.astype(np.uint8)))
            bottom.append(part.bottom[rows])
            payload.append(part.payload[rows])
        self._left_behind = left_behind
        labels, _ = whole_labels(
            FibVector.concat(parts), np.concatenate(bottom), np.concatenate(payload), self._entries, own_source
        )
        return labels

    async def prepare(self, client: VapiClient, entry: NDArray[np.int32]) -> None:
        """Make the table, where these entries need it."""
        if (entry != NO_ENTRY).any() and not self._table_exists:
            await client.call("mpls_table_add_del", mt_is_add=True, mt_table={"mt_table_id": 0, "mt_name": ""})
            self._table_exists = True

    async def write(
        self, client: VapiClient, keys: Keys, entry: NDArray[np.int32], retval: NDArray[np.int32], source: int
    ) -> list[asyncio.Future[None]]:
        """Give each label its entry or remove it; ``retval`` fills as answers come, until all futures are done.

        A label is two entries of VPP's: it is refused if either is. ``source`` is that of rows by our plugin.
        """
        answered = []
        if has_bulk(client):
            left = np.flatnonzero(np.isin(keys.hi, np.array(list(self._left_behind), np.uint64)))
            if len(left):
                answered += await self._take_over(client, keys.take(left), entry[left], source)
            return answered + await write_bulk(client, keys, entry, retval, AF_MPLS, self._paths, source)
        in_the_way = np.flatnonzero([self._expects_other(*row) for row in zip(keys.hi.tolist(), entry, strict=True)])
        if len(in_the_way):
            nothing = np.full(len(in_the_way), NO_ENTRY, np.int32)
            answered.append(await self._send(client, keys.take(in_the_way), nothing, np.zeros_like(nothing)))
        for start in range(0, len(keys), _ROWS):
            rows = slice(start, start + _ROWS)
            answered.append(await self._send(client, keys.take(rows), entry[rows], retval[rows]))
        return answered

    async def _take_over(
        self, client: VapiClient, keys: Keys, entry: NDArray[np.int32], source: int
    ) -> list[asyncio.Future[None]]:
        """Write rows below those that were left behind, and remove these.

        A row that needs something else below its label is refused until they are gone: all are to be written once more.
        """
        nobody = np.zeros_like(entry)
        answered = await write_bulk(client, keys, entry, nobody, AF_MPLS, self._paths, source)
        for start in range(0, len(keys), _ROWS):
            rows = slice(start, start + _ROWS)
            nothing = np.full_like(entry[rows], NO_ENTRY)
            answered.append(await self._send(client, keys.take(rows), nothing, nobody[rows]))
        self._left_behind.difference_update(keys.hi.tolist())
        return answered

    async def _send(
        self, client: VapiClient, keys: Keys, entry: NDArray[np.int32], retval: NDArray[np.int32]
    ) -> asyncio.Future[None]:
        def encode(context: int) -> NDArray[np.uint8]:
            number, client_index = client.messages.numbers["mpls_route_add_del"], client.messages.client_index
            return encode_labels(
                keys, entry, self._paths, self._entries, context, message_id=number, client_index=client_index
            )

        def decode(frames: Frames, which: NDArray[np.uint32]) -> None:
            np.minimum.at(retval, which >> np.uint32(1), decode_replies(frames))

        for label, number in zip(keys.hi.tolist(), entry.tolist(), strict=True):
            if number == NO_ENTRY:
                self._payloads.pop(label, None)
            else:
                self._payloads.setdefault(label, payload_proto(self._entries[number]) or 0)
        return await client.send(2 * len(keys), "mpls_route_add_del_reply", encode, decode)

    def _expects_other(self, label: int, number: int) -> bool:
        """Whether VPP expects something else below a label than the entry, which is to be written, needs."""
        wanted = None if number == NO_ENTRY else payload_proto(self._entries[number])
        return wanted is not None and self._payloads.get(label, wanted) != wanted
