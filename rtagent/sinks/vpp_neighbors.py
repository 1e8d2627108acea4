"""VPP's neighbours as objects, and the limits of their number.

VPP refuses to make a static neighbour dynamic (vnet/ip-neighbor/ip_neighbor.c, ip_neighbor_add), so such a one is
removed and added within one buffer: VPP takes both in one go. What it learns, forgets and flushes by itself it tells in
events, and every write of ours returns as one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rtagent.sinks.vapi import Refused, VapiClient
from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.links import NUD_PERMANENT, NUD_REACHABLE, Neighbor
from rtagent.vector.neighbors import NeighborEntry, NeighborKey, NeighborLimit, NeighborLimitKey
from rtagent.vector.objects import Held, ObjectChange, ObjectKey
from rtagent.vector.ports import NO_INTERFACE
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.vapi.framing import Frames
from rtagent.wire.vapi.neighbors import NeighborWrite, decode_details, decode_event, decode_replies, encode_writes
from rtagent.wire.vapi.retvals import NO_SUCH_ENTRY, NO_SUCH_INTERFACE

_FAMILIES = (AF_INET, AF_INET6)
"""In the order of vl_api_address_family_t."""
_ADD_DEL = "ip_neighbor_add_del"
_GONE = (NO_SUCH_ENTRY, NO_SUCH_INTERFACE)


async def read_neighbors(client: VapiClient) -> dict[NeighborKey, NeighborEntry]:
    """Return every neighbour of VPP. Raises Disconnected."""
    held: dict[NeighborKey, NeighborEntry] = {}
    for af in range(len(_FAMILIES)):
        async for frames in client.dump_frames(
            "ip_neighbor_dump", "ip_neighbor_details", sw_if_index=NO_INTERFACE, af=af
        ):  # fmt: skip
            try:
                held.update(decode_details(frames.message(row)) for row in range(len(frames)))
            except MalformedMessage as error:
                raise client.give_up(error) from None
    return held


def kernels_rows(
    held: Mapping[NeighborKey, NeighborEntry], interfaces: Collection[int]
) -> dict[tuple[int, bytes], Neighbor]:
    """Return those on these interfaces as the kernel would tell of them, by (interface, address)."""
    return {
        (key.interface, key.address): Neighbor(
            key.family, key.interface, key.address, entry.mac, NUD_PERMANENT if entry.static else NUD_REACHABLE
        )
        for key, entry in held.items()
        if key.interface in interfaces
    }


class NeighborWriter:
    """Reads, writes and follows neighbours; reads and writes their limits."""

    kinds: Collection[type] = (NeighborKey, NeighborLimitKey)
    event = "ip_neighbor_event_v2"

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return every neighbour, and the limit of each family."""
        held: dict[ObjectKey, Held] = {key: Held(entry) for key, entry in (await read_neighbors(client)).items()}
        for af, family in enumerate(_FAMILIES):
            config = await client.call("ip_neighbor_config_get", af=af)
            held[NeighborLimitKey(family)] = Held(NeighborLimit(config.max_number, config.max_age, config.recycle))
        return held

    async def write(self, client: VapiClient, change: ObjectChange) -> None:
        """Write a neighbour, or a limit."""
        key, after = change.key, change.after
        if isinstance(key, NeighborLimitKey):
            assert isinstance(after, NeighborLimit), "no limit is ours to remove"
            await client.call(
                "ip_neighbor_config", af=_FAMILIES.index(key.family),
                max_number=after.number, max_age=after.age_s, recycle=after.recycle,
            )  # fmt: skip
            return
        (retval,) = await write_neighbors(client, [change])
        if retval:
            raise Refused(_ADD_DEL, retval)

    async def subscribe(self, client: VapiClient) -> None:
        """Have VPP tell of every neighbour on every interface."""
        any_address = {"af": 0, "un": {"ip4": bytes(4)}}
        await client.call(
            "want_ip_neighbor_events_v2", enable=True, pid=os.getpid(), ip=any_address, sw_if_index=NO_INTERFACE
        )

    def heard(self, message: bytes) -> tuple[ObjectKey, Held | None]:
        """Return what an event says. Raises MalformedMessage."""
        key, entry = decode_event(message)
        return key, None if entry is None else Held(entry)


async def write_neighbors(client: VapiClient, changes: Sequence[ObjectChange]) -> list[int]:
    """Write neighbours, as one buffer; return the answer to each. Raises Disconnected."""
    writes: list[NeighborWrite] = []
    last: list[int] = []
    for change in changes:
        key, before, after = change.key, change.before, change.after
        assert isinstance(key, NeighborKey)
        assert isinstance(after, NeighborEntry | None)
        if isinstance(before, NeighborEntry) and before.static and after is not None and not after.static:
            writes.append((key, None))
        last.append(len(writes))
        writes.append((key, after))
    if not writes:
        return []
    retval = np.zeros(len(writes), np.int32)

    def encode(context: int) -> NDArray[np.uint8]:
        number, client_index = client.messages.numbers[_ADD_DEL], client.messages.client_index
        return encode_writes(writes, context, message_id=number, client_index=client_index)

    def decode(frames: Frames, which: NDArray[np.uint32]) -> None:
        retval[which] = decode_replies(frames)

    answered = await client.send(len(writes), f"{_ADD_DEL}_reply", encode, decode)
    await answered
    return [
        0 if each in _GONE and change.after is None else each
        for each, change in zip(retval[last].tolist(), changes, strict=True)
    ]
