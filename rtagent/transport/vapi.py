"""VPP's API socket: bytes in, bytes out, and room for more; what they mean is for others to know.

What comes is handed over from the event loop, what goes is queued and written as VPP takes it. VPP reads 4 KiB a
turn of its main loop, so the kernel's buffer is made large: it must outlast the time we take to prepare more.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable

_RECEIVE_BYTES = 256 << 10
_SEND_BUFFER_BYTES = 4 << 20
_QUEUE_BYTES = 8 << 20
_SO_SNDBUFFORCE = 32


async def open_socket(path: str) -> socket.socket:
    """Connect to a socket file. Raises OSError."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        try:
            peer.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER_BYTES)
        except PermissionError:  # without CAP_NET_ADMIN: as much as net.core.wmem_max allows
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        await asyncio.get_running_loop().sock_connect(peer, path)
    except BaseException:
        peer.close()
        raise
    return peer


class VapiStream:
    """A UNIX stream. ``on_data`` gets what comes; ``on_lost`` is called, with the reason, if the other end goes."""

    def __init__(self, peer: socket.socket, on_data: Callable[[bytes], None], on_lost: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = peer
        self._descriptor = peer.fileno()  # what the loop does not know it shows in an error, and a number shows sooner
        self._on_data = on_data
        self._on_lost = on_lost
        self._queue: deque[memoryview] = deque()
        self._queued_bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._blocked = False
        """Whether VPP has to take something before more can be written."""
        self._paused = False
        self._rest: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._descriptor, self._readable)

    def write(self, data: memoryview) -> None:
        """Queue bytes to be written; they must not change until they are."""
        if self._closed or not len(data):
            return
        self._queue.append(data)
        self._queued_bytes += len(data)
        if self._queued_bytes > _QUEUE_BYTES:
            self._room.clear()
        if len(self._queue) == 1:
            self._writable()

    async def room(self) -> None:
        """Return when more may be queued, or when the stream is closed."""
        await self._room.wait()

    def rest(self, seconds: float) -> None:
        """Take nothing from the other end for a while.

        A receiver that waits is woken by each small answer, which costs VPP more than making it; one that does not
        finds thousands of them together.
        """
        if not self._closed and not self._paused:
            self.pause()
            self._rest = self._loop.call_later(seconds, self.resume)

    def pause(self) -> None:
        """Take nothing from the other end until ``resume``."""
        self._paused = True
        self._end_rest()
        self._loop.remove_reader(self._descriptor)

    def resume(self) -> None:
        """Take from the other end again."""
        self._paused = False
        self._end_rest()
        if not self._closed:
            self._loop.add_reader(self._descriptor, self._readable)

    def close(self) -> None:
        """Close the stream; whoever waits for room goes on."""
        if not self._closed:
            self._closed = True
            self._end_rest()
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            self._socket.close()
            self._queue.clear()
            self._room.set()

    def _end_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        if data:
            self._on_data(data)
        else:
            self._lose("VPP closed the connection")

    def _writable(self) -> None:
        try:
            while self._queue:
                data = self._queue[0]
                sent = self._socket.send(data)
                self._queued_bytes -= sent
                if sent < len(data):
                    self._queue[0] = data[sent:]
                    break
                self._queue.popleft()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._lose(error.strerror or str(error))
            return
        if self._queued_bytes <= _QUEUE_BYTES:
            self._room.set()
        if self._queue and not self._blocked:
            self._loop.add_writer(self._descriptor, self._writable)
        elif self._blocked and not self._queue:
            self._loop.remove_writer(self._descriptor)
        self._blocked = bool(self._queue)

    def _lose(self, why: str) -> None:
        self.close()
        self._on_lost(why)
