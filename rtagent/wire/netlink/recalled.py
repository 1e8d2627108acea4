"""Route notifications that were met before, with another destination: looked up by their bytes instead of decoded.

For a few notifications that is many times quicker than columns are (decision 0015). What a message says besides its
destination depends on nothing else in it, link-local and multicast destinations of IPv6 excepted, which are no routes
of ours.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.routes import FewRoutes, Operation, RouteDelta
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
_LOW_64 = 0xFFFFFFFFFFFFFFFF


class _Shape(NamedTuple):
    """Messages of one family and length, cut into what tells them apart, and their destinations."""

    cut: struct.Struct
    """Length, type and flags; (not who asked for it, nor when); up to the destination; the destination; the rest."""
    is_inet6: bool


class RecalledRoutes:
    """What messages say besides their destinations, by their bytes without those."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[int, int], _Shape] = {}
        self._known: dict[tuple[bytes, bytes, bytes], Operation] = {}

    def forget(self) -> None:
        """Group ids may have been freed."""
        self._known.clear()

    def find(self, data: memoryview, starts: list[int], lengths: list[int]) -> FewRoutes | None:
        """Return the routes of datagrams of one message each; None unless all of them were met before."""
        rows = []
        for start, length in zip(starts, lengths, strict=True):
            shape = self._shapes.get((data[start + _FAMILY], length)) if length > _DST else None
            if shape is None:
                return None
            head, before, destination, rest = shape.cut.unpack_from(data, start)
            operation = self._known.get((head, before, rest))
            if operation is None:
                return None
            bits = int.from_bytes(destination, "big")
            if not shape.is_inet6:
                rows.append((bits << 32, 0, operation))
            elif bits < _FIRST_SPECIAL_INET6:
                rows.append((bits >> 64, bits & _LOW_64, operation))
            else:
                return None
        return FewRoutes(rows)

    def add(self, data: memoryview, starts: list[int], lengths: list[int], delta: RouteDelta) -> None:
        """Note what datagrams of one message each were decoded as, a row each."""
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
            self._shapes.clear()
        for start, length, (_, _, operation) in zip(starts, lengths, delta.one_by_one().rows, strict=True):
            family = data[start + _FAMILY]
            size = _DST_BYTES.get(family, 0)
            if size and length >= _DST + size:
                heads = _TABLE_AND_DST.unpack_from(data, start + _ATTRIBUTES)
                if heads == (8, nl.RTA_TABLE, 4 + size, nl.RTA_DST):
                    cut = struct.Struct(f"8s8x{_DST - 16}s{size}s{length - _DST - size}s")
                    self._shapes[family, length] = _Shape(cut, family == AF_INET6)
                    head, before, _, rest = cut.unpack_from(data, start)
                    self._known[head, before, rest] = operation
