"""Very many kernel routes at once: RTM_NEWROUTE messages written as a numpy matrix, a million in a few seconds.

``ip -batch`` takes a minute and a half for that, most of it its own. Only plain routes through one gateway: what a
full table mostly is. Layouts: linux/netlink.h (nlmsghdr), linux/rtnetlink.h (rtmsg, rtattr).
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from tests.lab.lab import Namespace

_NEWROUTE, _DELROUTE = 24, 25
_REQUEST, _REPLACE, _CREATE = 0x1, 0x100, 0x400
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_CHUNK = 400
_MESSAGE_FIELDS = [
    ("length", "<u4"), ("type", "<u2"), ("flags", "<u2"), ("sequence", "<u4"), ("port", "<u4"),
    ("family", "u1"), ("dst_len", "u1"), ("src_len", "u1"), ("tos", "u1"),
    ("table", "u1"), ("protocol", "u1"), ("scope", "u1"), ("kind", "u1"), ("route_flags", "<u4"),
]  # fmt: skip


def prefixes(count: int, *, version: int = 4) -> NDArray[np.uint8]:
    """Return ``count`` different /24 (or /48) prefixes, as rows of 4 (or 16) bytes, spread as a full table is."""
    if version == 4:
        first = int(ipaddress.IPv4Address("16.0.0.0")) >> 8
        numbers = (first + np.arange(count, dtype=np.uint32)) << np.uint32(8)
        return numbers.astype(">u4").view(np.uint8).reshape(count, 4)
    rows = np.zeros((count, 16), np.uint8)
    rows[:, 0] = 0x2A
    rows[:, 1:5] = np.arange(count, dtype=">u4").view(np.uint8).reshape(count, 4)
    return rows


class Feeder:
    """Adds, moves and removes routes of a namespace in bulk."""

    def __init__(self, namespace: Namespace) -> None:
        with _inside(namespace.name):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            self._interfaces = {name: number for number, name in socket.if_nameindex()}
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)

    def replace(self, rows: NDArray[np.uint8], gateway: str, interface: str) -> None:
        """Add the prefixes via a gateway, or move them there."""
        self._send(self._messages(rows, _NEWROUTE, _REQUEST | _CREATE | _REPLACE, gateway, interface))

    def remove(self, rows: NDArray[np.uint8], gateway: str, interface: str) -> None:
        """Remove the prefixes."""
        self._send(self._messages(rows, _DELROUTE, _REQUEST, gateway, interface))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _messages(
        self, rows: NDArray[np.uint8], message_type: int, flags: int, gateway: str, interface: str
    ) -> NDArray[np.void]:
        size = rows.shape[1]
        attributes = [("d_len", "<u2"), ("d_type", "<u2"), ("dst", f"V{size}"), ("g_len", "<u2"), ("g_type", "<u2")]
        tail = [("gateway", f"V{size}"), ("o_len", "<u2"), ("o_type", "<u2"), ("oif", "<u4")]
        messages = np.zeros(len(rows), np.dtype([*_MESSAGE_FIELDS, *attributes, *tail]))
        messages["length"], messages["type"], messages["flags"] = messages.itemsize, message_type, flags
        messages["family"], messages["dst_len"] = (socket.AF_INET, 24) if size == 4 else (socket.AF_INET6, 48)
        messages["table"], messages["protocol"], messages["kind"] = 254, 12, 1
        messages["d_len"], messages["d_type"], messages["dst"] = 4 + size, 1, rows.view(f"V{size}").ravel()
        messages["g_len"], messages["g_type"] = 4 + size, 5
        messages["gateway"] = np.frombuffer(ipaddress.ip_address(gateway).packed, f"V{size}")
        messages["o_len"], messages["o_type"], messages["oif"] = 8, 4, self._interfaces[interface]
        return messages

    def _send(self, messages: NDArray[np.void]) -> None:
        for start in range(0, len(messages), _CHUNK):
            self._socket.send(messages[start : start + _CHUNK].tobytes())


@contextmanager
def _inside(netns: str) -> Iterator[None]:
    """Visit a network namespace with this thread."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{netns}") as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
