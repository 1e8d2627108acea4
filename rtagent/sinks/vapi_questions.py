"""Questions to VPP that are under way, and what makes each of them answered; ``vapi`` asks them.

Each has the range of contexts that its answers bear. What comes is checked before it is taken: a kind of message that
is not due, or an answer too many, ends the connection.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtagent.core.failures import Disconnected
from rtagent.transport.vapi import VapiStream
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.vapi.framing import Frames

_WAITING_BYTES = 8 << 20

Decode: TypeAlias = Callable[[Frames, NDArray[np.uint32]], None]
"""Takes answers, and which of the questions each of them answers."""


class Question(ABC):
    """A question under way: ``contexts`` numbers from ``first`` on belong to its answers."""

    def __init__(self, first: int, contexts: int) -> None:
        self.first = first
        self.contexts = contexts
        self.answered = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """For whoever asked, and nobody else: to be cancelled while awaiting it is to give up on it."""

    @abstractmethod
    def take(self, frames: Frames, offset: NDArray[np.uint32]) -> None:
        """Take messages with their contexts, counted from ``first``. Raises MalformedMessage."""

    def finish(self) -> None:
        """All answers have come."""
        self.answered = True
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, failure: Disconnected) -> None:
        """No answer will come any more."""
        if not self.done.done():
            self.done.set_exception(failure)
            self.done.exception()  # whoever asked may have given up, then nobody looks at it


class Request(Question):
    """One answer."""

    def __init__(self, first: int, reply_id: int, decode: Decode) -> None:
        super().__init__(first, 1)
        self._reply_id = reply_id
        self._decode = decode

    def take(self, frames: Frames, offset: NDArray[np.uint32]) -> None:
        """Take the answer."""
        if len(frames) > 1:
            raise MalformedMessage("a question is answered twice")
        message_id, _ = frames.head()
        if message_id != self._reply_id:
            raise MalformedMessage(f"an answer of kind {message_id}, {self._reply_id} is due")
        self._decode(frames, offset)
        self.finish()


class Requests(Question):
    """As many answers as contexts, all of one message, decoded into columns as they come."""

    def __init__(self, first: int, contexts: int, reply_id: int, decode: Decode) -> None:
        super().__init__(first, contexts)
        self._reply_id = reply_id
        self._decode = decode
        self._seen = np.zeros(contexts, bool)

    def take(self, frames: Frames, offset: NDArray[np.uint32]) -> None:
        """Take some of the answers."""
        if (frames.message_id != self._reply_id).any():
            raise MalformedMessage(f"answers of kind {set(frames.message_id.tolist())}, {self._reply_id} is due")
        seen_before = np.count_nonzero(self._seen)
        self._seen[offset] = True
        seen = np.count_nonzero(self._seen)
        if seen - seen_before != len(offset):
            raise MalformedMessage("a question is answered twice")
        self._decode(frames, offset)
        if seen == self.contexts:
            self.finish()


class Dump(Question):
    """Details until the ping behind the dump is answered; what is not fetched yet waits, up to a limit."""

    def __init__(self, first: int, details_id: int, ping_id: int, stream: VapiStream) -> None:
        super().__init__(first, 2)
        self.arrived = asyncio.Event()
        self._ids = np.array([details_id, ping_id], np.uint16)
        self._stream = stream
        self._parts: list[Frames] = []
        self._waiting_bytes = 0
        self._paused = False
        self._abandoned = False

    def take(self, frames: Frames, offset: NDArray[np.uint32]) -> None:
        """Take details, or the end of them."""
        if (frames.message_id != self._ids[offset]).any():
            raise MalformedMessage(f"answers of kind {set(frames.message_id.tolist())}, {self._ids[0]} is due")
        ended = bool(offset[-1] == 1)
        if np.count_nonzero(offset) != ended:
            raise MalformedMessage("details after the end of their dump")
        details = frames.take(offset == 0)
        if len(details) and not self._abandoned:
            self._parts.append(details)
            self._waiting_bytes += len(details.data)
            if self._waiting_bytes > _WAITING_BYTES and not self._paused:
                self._paused = True
                self._stream.pause()
        if ended:
            self.finish()
        self.arrived.set()

    def fail(self, failure: Disconnected) -> None:
        """No more details will come: whoever fetches them is to notice."""
        super().fail(failure)
        self.arrived.set()

    def fetch(self) -> Frames | None:
        """Return what has arrived since the last time."""
        parts, self._parts, self._waiting_bytes = self._parts, [], 0
        self.arrived.clear()
        if self._paused:
            self._paused = False
            self._stream.resume()
        return Frames.concat(parts) if parts else None

    def abandon(self) -> None:
        """Nobody fetches any more."""
        self._abandoned = True
        self.fetch()


class Get(Question):
    """Details until the reply behind them, all of one context."""

    def __init__(self, first: int, details_id: int, reply_id: int) -> None:
        super().__init__(first, 1)
        self.details: list[Frames] = []
        self.reply = b""
        self._details_id = details_id
        self._reply_id = reply_id

    def take(self, frames: Frames, offset: NDArray[np.uint32]) -> None:
        """Take details, or the reply behind them."""
        ids = frames.message_id
        is_reply = ids == self._reply_id
        if (~is_reply & (ids != self._details_id)).any() or is_reply[:-1].any():
            raise MalformedMessage(f"answers of kind {set(ids.tolist())}, {self._details_id} is due")
        self.details.append(frames.take(~is_reply))
        if is_reply[-1]:
            self.reply = frames.message(len(frames) - 1)
            self.finish()
