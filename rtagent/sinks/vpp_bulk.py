"""Routes through our plugin (vpp-plugin/fibbulk), where VPP has it: several times what its own API takes.

It does what the stock messages do, and two things that they cannot: a message of thousands of rows costs VPP little
more than the rows do, and reading the FIB never holds VPP's main thread for more than about two milliseconds at a
time, nor its workers at all. Which rows there are, and in which order, is the same on either path. Labels, too, get
our source by it (``vpp_labels``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
from numpy.typing import NDArray

from rtagent.sinks.vapi import VapiClient
from rtagent.vector.fib import FibVector
from rtagent.vector.keys import AF_INET, AF_INET6, Keys
from rtagent.wire.vapi.bulk import (
    END,
    FibSlice,
    decode_apply_reply,
    decode_read_reply,
    encode_apply,
    encode_read,
    rows_per_message,
)
from rtagent.wire.vapi.definitions import BULK
from rtagent.wire.vapi.framing import Frames
from rtagent.wire.vapi.paths import PathLists

_ROWS = 8192
"""Few enough that VPP has the next message while it works on this one."""


def has_bulk(client: VapiClient) -> bool:
    """Whether this VPP has the plugin, in the version that we know."""
    return BULK.keys() <= client.messages.numbers.keys()


async def write_bulk(
    client: VapiClient, keys: Keys, entry: NDArray[np.int32], retval: NDArray[np.int32], family: int, paths: PathLists,
    source: int,
) -> list[asyncio.Future[None]]:  # fmt: skip
    """Send rows of one family, VPP's tables; ``retval`` is filled in by the time that the futures are done."""
    step = rows_per_message(entry, family, paths, _ROWS)
    return [
        await _send(client, keys, entry, slice(start, start + step), retval, family, paths, source)
        for start in range(0, len(keys), step)
    ]


async def read_bulk(client: VapiClient, source: int, paths: PathLists) -> AsyncIterator[FibVector]:
    """Yield the IP rows that packets are forwarded by, of every source and table, VPP's tables."""
    for family in (AF_INET, AF_INET6):
        async for part in read_slices(client, family, source, paths):
            yield part.rows.take(~part.hidden)


async def read_slices(client: VapiClient, family: int, source: int, paths: PathLists) -> AsyncIterator[FibSlice]:
    """Yield every row of a family, those of ``source`` that a stronger one hides included, VPP's tables."""
    cursor = 0
    while cursor != END:
        part = await _read_slice(client, family, cursor, source, paths)
        cursor = part.cursor
        yield part


async def _send(
    client: VapiClient, keys: Keys, entry: NDArray[np.int32], rows: slice, retval: NDArray[np.int32],
    family: int, paths: PathLists, source: int,
) -> asyncio.Future[None]:  # fmt: skip
    def encode(context: int) -> NDArray[np.uint8]:
        number, client_index = client.messages.numbers["fibbulk_apply"], client.messages.client_index
        return encode_apply(
            keys.take(rows), entry[rows], family, paths, context,
            message_id=number, client_index=client_index, source=source,
        )  # fmt: skip

    def decode(frames: Frames, _: NDArray[np.uint32]) -> None:
        retval[rows] = decode_apply_reply(frames.message(0), len(retval[rows]))

    return await client.send(1, "fibbulk_apply_reply", encode, decode)


async def _read_slice(client: VapiClient, family: int, cursor: int, source: int, paths: PathLists) -> FibSlice:
    parts: list[FibSlice] = []

    def encode(context: int) -> NDArray[np.uint8]:
        number, client_index = client.messages.numbers["fibbulk_read"], client.messages.client_index
        return encode_read(
            family, cursor, context, message_id=number, client_index=client_index, source=source, others=True
        )

    def decode(frames: Frames, _: NDArray[np.uint32]) -> None:
        parts.append(decode_read_reply(frames.message(0), family, paths))

    answered = await client.send(1, "fibbulk_read_reply", encode, decode)
    await answered
    return parts[0]
