"""Netlink messages: built by hand, laid out as a socket delivers them, and what a session makes of them."""

from __future__ import annotations

import struct

import numpy as np

from rtagent.vector.nexthops import NexthopGroups
from rtagent.vector.routes import Op
from rtagent.wire.netlink.session import NetlinkSession, Received

NEWROUTE, DELROUTE = 24, 25


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute, padded."""
    return struct.pack("<HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def message(kind: int, body: bytes, flags: int = 0) -> bytes:
    """Return a message with its header."""
    return struct.pack("<IHHII", 16 + len(body), kind, flags, 0, 0) + body


def receive(*datagrams: bytes, dump: bool = False, session: NetlinkSession | None = None) -> Received:
    """Return what a (fresh) session makes of datagrams that arrive together."""
    session = session or NetlinkSession(NexthopGroups())
    size = max([64, *map(len, datagrams)]) + 3 & ~3
    buffer = np.zeros(size * len(datagrams), np.uint8)
    starts = list(range(0, size * len(datagrams), size))
    for start, datagram in zip(starts, datagrams, strict=True):
        buffer[start : start + len(datagram)] = np.frombuffer(datagram, np.uint8)
    return session.receive(buffer, starts, list(map(len, datagrams)), dump=dump)


def routes(received: Received, groups: NexthopGroups) -> list[tuple[object, ...]]:
    """Return (operation, prefix, table, metric, tos, protocol, group) of each route."""
    found = received.batch.routes
    columns = (found.op, found.routes.metric, found.routes.tos, found.routes.protocol, found.routes.group)
    return [
        (Op(op), key.text, key.table, metric, tos, protocol, groups[group])
        for key, op, metric, tos, protocol, group in zip(
            found.routes.keys, *(column.tolist() for column in columns), strict=True
        )
    ]
