"""Netlink sockets, many datagrams a system call.

A notification is one datagram, and a full table is a million of them; ``recvmmsg`` (through ctypes, with vectors
prepared once) takes hundreds at a time. Kernel sides: man 2 recvmmsg, man 7 netlink.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import socket
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtagent.transport.netns import visiting

_NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK, _NETLINK_ADD_MEMBERSHIP = 11, 12, 1
_SOL_NETLINK = 270
_SO_RCVBUFFORCE = 33
_MSG_TRUNC = np.uint64(0x20)
_HEAD_BYTES = 256
_MMSGHDR = np.dtype(
    [
        ("name", "<u8"),
        ("name_len", "<u8"),
        ("iov", "<u8"),
        ("iov_len", "<u8"),
        ("control", "<u8"),
        ("control_len", "<u8"),
        ("flags", "<u8"),
        ("length", "<u4"),
        ("padding", "<u4"),
    ]
)
"""struct mmsghdr on 64-bit Linux: a struct msghdr of 56 bytes and the length received."""

_libc = ctypes.CDLL(None, use_errno=True)


class Overflow(Exception):
    """ENOBUFS: the kernel had more to say than the receive buffer holds; notifications are lost."""


class Datagrams(NamedTuple):
    """Datagrams within ``buffer``; valid until the next receive."""

    buffer: NDArray[np.uint8]
    starts: list[int]
    lengths: list[int]
    truncated: bool
    """A datagram was longer than its slot: what it said is lost."""


class NetlinkSocket:
    """A non-blocking NETLINK_ROUTE socket. ``slots`` datagrams of up to ``slot_bytes`` are taken at once.

    32 KiB is what the kernel gives a part of a dump at most, and holds a route of a thousand nexthops. Nearly every
    notification is as small as its *head*. Heads lie side by side, where a processor's caches hold them all; what is
    longer is continued in its slot, and has its head copied there. A slot costs no more memory than what it has
    received: the rest of its pages are never touched.
    """

    def __init__(
        self, *, netns: str | None = None, groups: tuple[int, ...] = (), receive_buffer_bytes: int = 0,
        slots: int = 4096, slot_bytes: int = 32_768,
    ) -> None:  # fmt: skip
        self.slots = slots
        self._socket = _open(netns)
        self._socket.setblocking(False)
        for option in (_NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        if receive_buffer_bytes:
            self._set_receive_buffer(receive_buffer_bytes)
        self._socket.bind((0, 0))
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        self._buffer = np.zeros(slots * (_HEAD_BYTES + slot_bytes), np.uint8)
        self._slot_bytes = slot_bytes
        number = np.arange(slots)
        self._heads = number * _HEAD_BYTES
        self._slots = number * slot_bytes + slots * _HEAD_BYTES
        self._iovecs = np.zeros((slots, 2, 2), np.uint64)
        self._iovecs[:, 0, 0] = self._buffer.ctypes.data + self._heads
        self._iovecs[:, 1, 0] = self._buffer.ctypes.data + self._slots + _HEAD_BYTES
        self._iovecs[:, :, 1] = _HEAD_BYTES, slot_bytes - _HEAD_BYTES
        self._headers = np.zeros(slots, _MMSGHDR)
        self._headers["iov"] = self._iovecs.ctypes.data + number * self._iovecs[0].nbytes
        self._headers["iov_len"] = 2
        self._received_flags, self._received_bytes = self._headers["flags"], self._headers["length"]
        self._vectors = ctypes.c_void_p(self._headers.ctypes.data)

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._socket.fileno()

    def send(self, message: bytes) -> None:
        """Send one request; it fits, or the kernel says so at once."""
        self._socket.send(message)

    def receive(self, slots: int | None = None) -> Datagrams | None:
        """Return what is queued, up to so many (None: all) slots, None where nothing is. Raises Overflow."""
        count = _libc.recvmmsg(self._socket.fileno(), self._vectors, slots or self.slots, socket.MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.EINTR):
                return None
            if number == errno.ENOBUFS:
                raise Overflow
            raise OSError(number, os.strerror(number))
        if count == 1 and (length := self._received_bytes.item(0)) <= _HEAD_BYTES:
            return Datagrams(self._buffer, [0], [length], truncated=False)
        truncated = bool((self._received_flags[:count] & _MSG_TRUNC).any())
        lengths = np.minimum(self._received_bytes[:count], self._slot_bytes)
        starts = self._heads[:count]
        if lengths.max() > _HEAD_BYTES:
            starts = self._continued(starts.copy(), np.flatnonzero(lengths > _HEAD_BYTES))
        return Datagrams(self._buffer, starts.tolist(), lengths.tolist(), truncated)

    def _continued(self, starts: NDArray[np.int64], long: NDArray[np.intp]) -> NDArray[np.int64]:
        """Have the datagrams that are longer than their heads start in their slots."""
        starts[long] = self._slots[long]
        for head, slot in zip(self._heads[long].tolist(), self._slots[long].tolist(), strict=True):
            self._buffer[slot : slot + _HEAD_BYTES] = self._buffer[head : head + _HEAD_BYTES]
        return starts

    async def readable(self) -> None:
        """Return when there is something to receive."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self.fileno(), _resolve, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self.fileno())

    async def follow(self, take: Callable[[], float]) -> None:
        """Call ``take`` whenever there is something to receive, for ever; it returns how many seconds to rest then.

        Raises what ``take`` raises.
        """
        loop = asyncio.get_running_loop()
        failed: asyncio.Future[None] = loop.create_future()
        rest: asyncio.TimerHandle | None = None

        def called() -> None:
            nonlocal rest
            rested = rest is not None
            try:
                rest_s = take()
            except Exception as error:
                loop.remove_reader(self.fileno())
                failed.set_exception(error)
                return
            if rest_s:
                if not rested:
                    loop.remove_reader(self.fileno())
                rest = loop.call_later(rest_s, called)
            elif rested:
                rest = None
                loop.add_reader(self.fileno(), called)

        loop.add_reader(self.fileno(), called)
        try:
            await failed
        finally:
            if rest is not None:
                rest.cancel()
            loop.remove_reader(self.fileno())

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _set_receive_buffer(self, size: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
        except PermissionError:  # without CAP_NET_ADMIN: as much as net.core.rmem_max allows
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def _resolve(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _open(netns: str | None) -> socket.socket:
    with visiting(netns):
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
