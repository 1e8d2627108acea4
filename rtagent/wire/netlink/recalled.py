"""Route notifications that were met before, with another destination: looked up by their bytes instead of decoded.

For a few notifications that is many times quicker than columns are (decision 0015). What a message says besides its
destination depends on nothing else in it, link-local and multicast destinations of IPv6 excepted, which are no routes
of ours.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from rtagent.vector.keys import AF_INET, AF_INET6, Keys
from rtagent.vector.routes import EMPTY_DELTA, RouteDelta, RouteVector
from rtagent.wire.netlink import constants as nl

FEW = 128
"""So many notifications are sooner looked up than decoded."""
_MOST_KNOWN = 4096
_FAMILY, _ATTRIBUTES = 16, 28
"""Where in a message rtm_family is, and where its attributes begin: behind nlmsghdr and rtmsg."""
_TABLE_AND_DST = struct.Struct("<HH4xHH")
_DST = _ATTRIBUTES + _TABLE_AND_DST.size
"""The kernel tells the table, then the destination (fib_dump_info in net/ipv4, rt6_fill_node in net/ipv6)."""
_DST_BYTES = {AF_INET: 4, AF_INET6: 16}
_FIRST_SPECIAL_INET6 = 0xFE << 120


class _Known(NamedTuple):
    bytes: int
    """How long the destination is."""
    route: tuple[int, ...]
    """meta, metric, tos, protocol, group, operation."""


class RecalledRoutes:
    """What messages say besides their destinations, by their bytes without those."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Known] = {}

    def forget(self) -> None:
        """Group ids may have been freed."""
        self._known.clear()

    def find(self, data: memoryview, starts: list[int], lengths: list[int]) -> RouteDelta | None:
        """Return the routes of datagrams of one message each; None unless all of them were met before."""
        told: list[tuple[int, ...]] = []
        for start, length in zip(starts, lengths, strict=True):
            known = self._known.get(_without_destination(data, start, length)) if length > _DST else None
            if known is None:
                return None
            destination = int.from_bytes(data[start + _DST : start + _DST + known.bytes], "big")
            if known.bytes == _DST_BYTES[AF_INET]:
                told.append((destination << 32, 0, *known.route))
            elif destination < _FIRST_SPECIAL_INET6:
                told.append((destination >> 64, destination & 0xFFFFFFFFFFFFFFFF, *known.route))
            else:
                return None
        if not told:
            return EMPTY_DELTA
        hi, lo, meta, metric, tos, protocol, group, op = zip(*told, strict=True)
        keys = Keys(np.array(hi, np.uint64), np.array(lo, np.uint64), np.array(meta, np.uint64))
        routes = RouteVector(
            keys, np.array(metric, np.uint32), np.array(tos, np.uint8), np.array(protocol, np.uint8),
            np.array(group, np.int32),
        )  # fmt: skip
        return RouteDelta(routes, np.array(op, np.uint8))

    def add(self, data: memoryview, starts: list[int], lengths: list[int], delta: RouteDelta) -> None:
        """Note what datagrams of one message each were decoded as, a row each."""
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        routes = delta.routes
        columns = (routes.keys.meta, routes.metric, routes.tos, routes.protocol, routes.group, delta.op)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for start, length, route in zip(starts, lengths, rows, strict=True):
            size = _DST_BYTES.get(data[start + _FAMILY], 0)
            if size and length >= _DST + size:
                heads = _TABLE_AND_DST.unpack_from(data, start + _ATTRIBUTES)
                if heads == (8, nl.RTA_TABLE, 4 + size, nl.RTA_DST):
                    self._known[_without_destination(data, start, length)] = _Known(size, route)


def _without_destination(data: memoryview, start: int, length: int) -> bytes:
    """Return what tells a message from others, be they for another destination: not who asked for it, nor when."""
    end = start + _DST + (16 if data[start + _FAMILY] == AF_INET6 else 4)
    return bytes(data[start : start + 8]) + data[start + 16 : start + _DST] + data[end : start + length]
