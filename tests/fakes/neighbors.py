"""The part of the fake VPP that keeps neighbours: it refuses what VPP refuses, and tells whoever asked to be told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_STATIC = 1
_ADDED, _REMOVED = 1, 2
_LIMIT = 50_000

NeighborKey = tuple[int, bytes]
"""Interface, address of 4 or 16 bytes."""


class FakeNeighbors:
    """A mixin of FakeVpp."""

    tell: Callable[[bytes], None]
    ports: dict[str, int]
    _messages: Any
    _pack: Callable[..., bytes]

    def forget_neighbors(self) -> None:
        """Lose them all, and the limits."""
        self.neighbors: dict[NeighborKey, tuple[bytes, int]] = {}
        """MAC and flags."""
        self.neighbor_limits = dict.fromkeys((0, 1), (_LIMIT, 0, False))
        self._tells_neighbors = False

    def learn_neighbor(self, interface: int, address: bytes, mac: bytes | None) -> None:
        """Hear of a neighbour on the wire, or (None) flush it."""
        before = self.neighbors.pop((interface, address), (bytes(6), 0))
        if mac is not None:
            self.neighbors[interface, address] = mac, 0
        self.tell(self._event(_ADDED if mac is not None else _REMOVED, interface, address, mac or before[0], 0))

    def _ip_neighbor_dump(self, request: Any) -> bytes:
        return b"".join(
            self._pack("ip_neighbor_details", request, age=1.0, neighbor=_papi(*key, *held))
            for key, held in self.neighbors.items()
            if len(key[1]) == (16 if request.af else 4)
        )

    def _ip_neighbor_add_del(self, request: Any) -> bytes:
        row = request.neighbor
        address = bytes(row.ip_address.un.ip6 if row.ip_address.af else row.ip_address.un.ip4)
        key, mac, flags = (row.sw_if_index, address), bytes(row.mac_address), int(row.flags)
        held = self.neighbors.get(key)
        retval, told = 0, b""
        if row.sw_if_index not in self.ports.values():
            retval = -2
        elif not request.is_add:
            retval = 0 if self.neighbors.pop(key, None) else -6
            told = self._event(_REMOVED, *key, *held) if held else b""
        elif held and held[1] & _STATIC and not flags & _STATIC:
            retval = 0 if held[0] == mac else -2
        elif held is None and sum(len(each) == len(address) for _, each in self.neighbors) >= self._limit(address):
            retval = -162
        else:
            self.neighbors[key] = mac, flags
            told = self._event(_ADDED, *key, mac, flags)
        return self._pack("ip_neighbor_add_del_reply", request, retval=retval) + (
            told if self._tells_neighbors else b""
        )

    def _ip_neighbor_config(self, request: Any) -> bytes:
        self.neighbor_limits[int(request.af)] = request.max_number, request.max_age, request.recycle
        return self._pack("ip_neighbor_config_reply", request)

    def _ip_neighbor_config_get(self, request: Any) -> bytes:
        number, age, recycle = self.neighbor_limits[int(request.af)]
        return self._pack(
            "ip_neighbor_config_get_reply", request, af=request.af, max_number=number, max_age=age, recycle=recycle
        )

    def _want_ip_neighbor_events_v2(self, request: Any) -> bytes:
        self._tells_neighbors = request.enable
        return self._pack("want_ip_neighbor_events_v2_reply", request)

    def _limit(self, address: bytes) -> int:
        return self.neighbor_limits[int(len(address) == 16)][0] or 1 << 32

    def _event(self, kind: int, interface: int, address: bytes, mac: bytes, flags: int) -> bytes:
        neighbor = _papi(interface, address, mac, flags)
        packed: bytes = self._messages.pack("ip_neighbor_event_v2", 0, pid=1, flags=kind, neighbor=neighbor)
        return packed


def _papi(interface: int, address: bytes, mac: bytes, flags: int) -> dict[str, Any]:
    un = {"ip6": address} if len(address) == 16 else {"ip4": address}
    return {
        "sw_if_index": interface, "flags": flags, "mac_address": mac,
        "ip_address": {"af": int(len(address) == 16), "un": un},
    }  # fmt: skip
