"""BIRD's control socket: bytes in, bytes out, each within a time; what they mean is for others to know.

Reading is by asking: where a caller takes its time the kernel's buffer fills, and BIRD 2 stops listing; BIRD 3 goes on,
and keeps what was not read.
"""

from __future__ import annotations

import asyncio

_READ_BYTES = 256 << 10


class BirdStream:
    """A connection. A timeout is a TimeoutError, everything else that ends a connection an OSError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, path: str, timeout_s: float) -> BirdStream:
        """Connect to a socket file. Raises OSError or TimeoutError."""
        async with asyncio.timeout(timeout_s):
            return cls(*await asyncio.open_unix_connection(path, limit=_READ_BYTES))

    async def read(self, timeout_s: float) -> bytes:
        """Return what has come, at least one byte. Raises OSError, also where the other end closed, or TimeoutError."""
        async with asyncio.timeout(timeout_s):
            data = await self._reader.read(_READ_BYTES)
        if not data:
            raise ConnectionResetError("BIRD closed the connection")
        return data

    async def write(self, data: bytes, timeout_s: float) -> None:
        """Write, and return when the kernel has it. Raises OSError or TimeoutError."""
        self._writer.write(data)
        async with asyncio.timeout(timeout_s):
            await self._writer.drain()

    def close(self) -> None:
        """Close at once; what was not read is lost."""
        self._writer.transport.abort()
