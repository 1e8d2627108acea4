"""The frames of VPP's API socket: 16 bytes before each message, of which only the length means anything to us.

Messages arrive in any cuts; ``Framer`` puts them together and hands out all whole ones of a chunk at once, as
columns, because a dump is a million of them. Layout: msgbuf_t, src/vlibapi/api_common.h; everything is in network
order. What a message says is none of this module's business, but all that VPP sends us starts alike: u16 message id,
then the u32 by which we find who asked.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.keys import Selection
from rtagent.wire.errors import MalformedMessage

FRAME_BYTES = 16
_FRAME = struct.Struct(">QII")
"""A queue pointer of VPP's own, the message's length, a garbage collector's mark."""

_HEAD = struct.Struct(">HI")
"""The message's id and its context."""

Scalar = TypeVar("Scalar", bound=np.generic)

_SHORTEST = 6
_LONGEST = 64 << 20
"""Nothing that VPP says in one message is that long; its definitions, the longest, are 1.3 MB."""


def framed(message: bytes) -> bytes:
    """Return the message with its frame."""
    return _FRAME.pack(0, len(message), 0) + message


@dataclass(frozen=True, slots=True)
class Frames:
    """Whole messages within ``data``: where each starts, and its length without the frame."""

    data: NDArray[np.uint8]
    start: NDArray[np.int64]
    length: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)

    @property
    def message_id(self) -> NDArray[np.uint16]:
        """The message ids."""
        return self.records(np.dtype(">u2")).astype(np.uint16)

    @property
    def context(self) -> NDArray[np.uint32]:
        """The contexts; a message that answers nothing (an event) has its client index there."""
        return self.records(np.dtype(">u4"), 2).astype(np.uint32)

    def head(self) -> tuple[int, int]:
        """Return the id and the context of the first message."""
        message_id, context = _HEAD.unpack_from(self.data.data, self.start.item(0))
        return message_id, context

    def message(self, row: int) -> bytes:
        """Return one message."""
        start = int(self.start[row])
        return self.data[start : start + int(self.length[row])].tobytes()

    def records(self, dtype: np.dtype[Scalar], offset: int = 0) -> NDArray[Scalar]:
        """Return what stands at an offset of each message; each must be long enough."""
        count = max(0, len(self.data) - dtype.itemsize + 1)
        everywhere: NDArray[Scalar] = np.ndarray((count,), dtype, self.data.data, strides=(1,))
        return everywhere[self.start + offset]

    def take(self, rows: Selection) -> Frames:
        """Return the messages at ``rows`` (indices or a mask)."""
        return Frames(self.data, self.start[rows], self.length[rows])

    @classmethod
    def concat(cls, parts: list[Frames]) -> Frames:
        """Return the parts one after the other; at least one."""
        offsets = np.cumsum([0, *(len(part.data) for part in parts[:-1])])
        return cls(
            np.concatenate([part.data for part in parts]),
            np.concatenate([part.start + offset for part, offset in zip(parts, offsets.tolist(), strict=True)]),
            np.concatenate([part.length for part in parts]),
        )


class Framer:
    """Cuts a stream into messages, whatever the chunks it comes in."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._needed = FRAME_BYTES
        """Bytes that must be there before another message can be whole."""

    def feed(self, chunk: bytes) -> Frames | None:
        """Take a chunk of the stream; return the messages that it completes, None where there is none.

        Raises MalformedMessage; the stream cannot be followed after that.
        """
        if self._pending:
            self._pending += chunk
            if len(self._pending) < self._needed:
                return None
            chunk = bytes(self._pending)
            self._pending.clear()
        starts: list[int] = []
        lengths: list[int] = []
        at, size = 0, len(chunk)
        unpack, add_start, add_length = _FRAME.unpack_from, starts.append, lengths.append
        while True:
            body = at + FRAME_BYTES
            if body > size:
                self._needed = FRAME_BYTES
                break
            length = unpack(chunk, at)[1]
            if not _SHORTEST <= length <= _LONGEST:
                raise MalformedMessage(f"VPP announces a message of {length} bytes")
            if body + length > size:
                self._needed = FRAME_BYTES + length
                break
            add_start(body)
            add_length(length)
            at = body + length
        self._pending += chunk[at:]
        if not starts:
            return None
        return Frames(np.frombuffer(chunk, np.uint8), np.array(starts, np.int64), np.array(lengths, np.int64))
