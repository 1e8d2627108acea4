"""Netlink attributes: length, type, value, padding."""

from __future__ import annotations

import struct

from rtagent.wire.errors import MalformedMessage
from rtagent.wire.netlink import constants as nl

Attributes = dict[int, bytes]


def attributes(data: bytes) -> Attributes:
    """Return values by type (NLA_F_* bits taken off); of a repeated attribute the last. Raises MalformedMessage."""
    return {kind: data[start:end] for kind, start, end in attribute_spans(data)}


def attribute_spans(data: bytes) -> list[tuple[int, int, int]]:
    """Return (type, start, end) of each attribute's value in ``data``."""
    spans = []
    at, size = 0, len(data)
    while at + 4 <= size:
        length, kind = struct.unpack_from("<HH", data, at)
        if length < 4 or at + length > size:
            raise MalformedMessage(f"attribute {kind & nl.NLA_TYPE_MASK} of {length} bytes at {at} of {size}")
        spans.append((kind & nl.NLA_TYPE_MASK, at + 4, at + length))
        at += (length + 3) & ~3
    return spans


def u32(value: bytes) -> int:
    """Return an attribute's 32-bit number (host order). Raises MalformedMessage."""
    if len(value) < 4:
        raise MalformedMessage(f"a 32-bit attribute of {len(value)} bytes")
    return int.from_bytes(value[:4], "little")


def u16(value: bytes) -> int:
    """Return an attribute's 16-bit number (host order). Raises MalformedMessage."""
    if len(value) < 2:
        raise MalformedMessage(f"a 16-bit attribute of {len(value)} bytes")
    return int.from_bytes(value[:2], "little")
