"""The messages about neighbours: a struct each, for there are tens of thousands, and each write returns as an event.

Layouts: vnet/ip-neighbor/ip_neighbor.api, vnet/ip/ip_types.api, held to by the CRCs of ``definitions``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.neighbors import NeighborEntry, NeighborKey
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.vapi.framing import Frames, framed

_STATIC = 0x1
"""IP_API_NEIGHBOR_FLAG_STATIC."""
_REMOVED = 0x2
"""IP_NEIGHBOR_API_EVENT_FLAG_REMOVED."""

_NOBODY = NeighborEntry(bytes(6))

_NEIGHBOR = "IB6sB16s"
"""sw_if_index, flags, MAC address, address family, address."""
_ADD_DEL = struct.Struct(f">HIIB{_NEIGHBOR}")
_DETAILS = struct.Struct(f">HId{_NEIGHBOR}")
_EVENT = struct.Struct(f">HIII{_NEIGHBOR}")
_REPLY = np.dtype([("message_id", ">u2"), ("context", ">u4"), ("retval", ">i4"), ("stats_index", ">u4")])


NeighborWrite: TypeAlias = tuple[NeighborKey, NeighborEntry | None]
"""A neighbour and what it is to be, None: nothing."""


def encode_writes(
    writes: Iterable[NeighborWrite], context: int, *, message_id: int, client_index: int
) -> NDArray[np.uint8]:  # fmt: skip
    """Return the framed ``ip_neighbor_add_del`` of each write, one after another.

    Write i is answered by ``context + i``.
    """
    messages = bytearray()
    for number, (key, entry) in enumerate(writes):
        is_ip6, address = len(key.address) == 16, key.address.ljust(16, b"\0")
        is_add, (mac, static) = entry is not None, entry or _NOBODY
        fields = (is_add, key.interface, _STATIC if static else 0, mac, is_ip6, address)
        messages += framed(_ADD_DEL.pack(message_id, client_index, (context + number) & 0xFFFFFFFF, *fields))
    return np.frombuffer(bytes(messages), np.uint8)


def decode_replies(frames: Frames) -> NDArray[np.int32]:
    """Return the retval of each ``ip_neighbor_add_del_reply``. Raises MalformedMessage."""
    if len(frames) and int(frames.length.min()) < _REPLY.itemsize:
        raise MalformedMessage(f"a reply to a neighbour of {int(frames.length.min())} bytes")
    return frames.records(_REPLY)["retval"].astype(np.int32)


def decode_details(message: bytes) -> tuple[NeighborKey, NeighborEntry]:
    """Return the neighbour of ``ip_neighbor_details``. Raises MalformedMessage."""
    _, _, _, *neighbor = _fields(_DETAILS, message)
    return _neighbor(*neighbor)


def decode_event(message: bytes) -> tuple[NeighborKey, NeighborEntry | None]:
    """Return what ``ip_neighbor_event_v2`` says a neighbour is from now on, None where it is gone.

    Raises MalformedMessage.
    """
    _, _, _, event, *neighbor = _fields(_EVENT, message)
    key, entry = _neighbor(*neighbor)
    return key, None if event & _REMOVED else entry


def _fields(layout: struct.Struct, message: bytes) -> tuple[Any, ...]:
    if len(message) != layout.size:
        raise MalformedMessage(f"a neighbour of {len(message)} bytes, {layout.size} are due")
    return layout.unpack(message)


def _neighbor(
    interface: int, flags: int, mac: bytes, is_ip6: int, address: bytes
) -> tuple[NeighborKey, NeighborEntry]:  # fmt: skip
    return NeighborKey(interface, address if is_ip6 else address[:4]), NeighborEntry(mac, bool(flags & _STATIC))
