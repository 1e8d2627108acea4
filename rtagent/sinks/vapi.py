"""A client of VPP's API: questions and answers over one socket, thousands of them under way at once.

Every question has a context, the range of contexts it may be answered by, and a ``_Question`` that collects the
answers; VPP answers in order, but nothing here relies on it. There is no task behind it: the event loop brings
bytes, these become messages, and each is given to whoever asked.

When the connection ends, or VPP says something that cannot be (an answer to no question included), everybody who
waits gets ``Disconnected`` with the reason, at once.
"""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtagent.core.sink import Disconnected, VersionMismatch
from rtagent.transport.vapi import VapiStream, open_socket
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.vapi.definitions import Messages, MessageTable, hello
from rtagent.wire.vapi.framing import Framer, Frames
from rtagent.wire.vapi.retvals import INVALID_VALUE, TRY_AGAIN

_CLIENT_NAME = "rtagent"
_CONNECT_TIMEOUT_S = 30.0
_SILENCE_S = 60.0
"""VPP says nothing at all while it prepares a large dump; a minute is ten times the longest seen."""
_UNANSWERED_MESSAGES = 65_536
_MANY_UNANSWERED = 1024
_REST_S = 0.002
_WAITING_BYTES = 8 << 20
_CONTEXTS = 1 << 32
_KEEPALIVE = "memclnt_keepalive"

Decode: TypeAlias = Callable[[Frames, NDArray[np.uint32]], None]
"""Takes answers, and which of the questions each of them answers."""


class Refused(Exception):
    """VPP answered a request with an error; ``retval`` is negative."""

    def __init__(self, name: str, retval: int) -> None:
        super().__init__(f"{name}: {retval}")
        self.retval = retval


class _Question(ABC):
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


class _Request(_Question):
    """One answer."""

    def __init__(self, first: int, reply_id: int, decode: Decode) -> None:
        super().__init__(first, 1)
        self._reply_id = reply_id
        self._decode = decode

    def take(self, frames: Frames, offset: NDArray[np.uint32]) -> None:
        if len(frames) > 1:
            raise MalformedMessage("a question is answered twice")
        message_id, _ = frames.head()
        if message_id != self._reply_id:
            raise MalformedMessage(f"an answer of kind {message_id}, {self._reply_id} is due")
        self._decode(frames, offset)
        self.finish()


class _Requests(_Question):
    """As many answers as contexts, all of one message, decoded into columns as they come."""

    def __init__(self, first: int, contexts: int, reply_id: int, decode: Decode) -> None:
        super().__init__(first, contexts)
        self._reply_id = reply_id
        self._decode = decode
        self._seen = np.zeros(contexts, bool)

    def take(self, frames: Frames, offset: NDArray[np.uint32]) -> None:
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


class _Dump(_Question):
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


class _Get(_Question):
    """Details until the reply behind them, all of one context."""

    def __init__(self, first: int, details_id: int, reply_id: int) -> None:
        super().__init__(first, 1)
        self.details: list[Frames] = []
        self.reply = b""
        self._details_id = details_id
        self._reply_id = reply_id

    def take(self, frames: Frames, offset: NDArray[np.uint32]) -> None:
        ids = frames.message_id
        is_reply = ids == self._reply_id
        if (~is_reply & (ids != self._details_id)).any() or is_reply[:-1].any():
            raise MalformedMessage(f"answers of kind {set(ids.tolist())}, {self._details_id} is due")
        self.details.append(frames.take(~is_reply))
        if is_reply[-1]:
            self.reply = frames.message(len(frames) - 1)
            self.finish()


class VapiClient:
    """One connection, made by ``connect``."""

    def __init__(self, peer: socket.socket, events: Collection[str]) -> None:
        self.lost = False
        """Whether the connection has ended."""
        self.stirred = asyncio.Event()
        """Set when an event has come, or the connection has ended."""
        self.events: list[tuple[str, bytes]] = []
        """The events that have come, as names and messages; whoever takes them empties it."""
        self.messages: Messages
        self._why_lost = ""
        self._followed = events
        self._event_names: dict[int, str] = {}
        self._is_event = np.zeros(1 << 16, bool)
        """By message number."""
        self._framer = Framer()
        self._questions: list[_Question] = []
        self._unanswered = 0
        """How many answers are due."""
        self._some_answered = asyncio.Event()
        self._context = 0
        self._welcome: asyncio.Future[MessageTable] = asyncio.get_running_loop().create_future()
        self._stream = VapiStream(peer, self._receive, self.close)
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._silence = self._loop.call_later(_SILENCE_S, self._look_for_silence)

    @classmethod
    async def connect(cls, path: str, events: Collection[str] = ()) -> VapiClient:
        """Connect, check the messages, learn the definitions.

        ``events`` names the messages that stir us without being asked for. Raises Disconnected or VersionMismatch.
        """
        try:
            client = cls(await open_socket(path), events)
        except OSError as error:
            raise Disconnected(f"{path}: {error.strerror or error}") from None
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await client._introduce()
        except TimeoutError:
            client.close("VPP does not answer")
            raise Disconnected(f"{path}: VPP does not answer") from None
        except BaseException:
            client.close()
            raise
        return client

    async def call(self, name: str, /, **fields: Any) -> Any:
        """Ask a question with one answer and return it. Raises Refused or Disconnected."""
        replies: list[Any] = []

        def decode(frames: Frames, _: NDArray[np.uint32]) -> None:
            replies.append(self.messages.unpack(f"{name}_reply", frames.message(0)))

        first = self._contexts(1)
        question = _Request(first, self.messages.numbers[f"{name}_reply"], decode)
        self._ask(question, memoryview(self.messages.pack(name, first, **fields)))
        await question.done
        if replies[0].retval < 0:
            raise Refused(name, replies[0].retval)
        return replies[0]

    async def dump(self, name: str, details: str, /, **fields: Any) -> list[Any]:
        """Ask for a dump and return its details; for what comes in dozens. Raises Disconnected."""
        rows: list[Any] = []
        async for frames in self.dump_frames(name, details, **fields):
            try:
                rows.extend(self.messages.unpack(details, frames.message(row)) for row in range(len(frames)))
            except MalformedMessage as error:
                raise self.give_up(error) from None
        return rows

    async def get(self, name: str, details: str, **fields: Any) -> list[Any]:
        """Ask for what VPP tells in portions, each ended by a reply with a cursor. Raises Refused or Disconnected."""
        rows: list[Any] = []
        cursor, retval, numbers = 0, TRY_AGAIN, self.messages.numbers
        while retval == TRY_AGAIN:
            first = self._contexts(1)
            question = _Get(first, numbers[details], numbers[f"{name}_reply"])
            self._ask(question, memoryview(self.messages.pack(name, first, cursor=cursor, **fields)))
            await question.done
            try:
                told = [frames.message(row) for frames in question.details for row in range(len(frames))]
                rows.extend(self.messages.unpack(details, message) for message in told)
                reply = self.messages.unpack(f"{name}_reply", question.reply)
            except MalformedMessage as error:
                raise self.give_up(error) from None
            cursor, retval = reply.cursor, reply.retval
        if retval < 0 and not (rows and retval == INVALID_VALUE):  # which says that what was left has gone meanwhile
            raise Refused(name, retval)
        return rows

    async def dump_frames(self, name: str, details: str, /, **fields: Any) -> AsyncIterator[Frames]:
        """Ask for a dump and yield its details as they come, many at a time. Raises Disconnected."""
        first = self._contexts(2)
        numbers = self.messages.numbers
        dump = _Dump(first, numbers[details], numbers["control_ping_reply"], self._stream)
        ping = self.messages.pack("control_ping", (first + 1) % _CONTEXTS)
        self._ask(dump, memoryview(self.messages.pack(name, first, **fields) + ping))
        try:
            while True:
                await dump.arrived.wait()
                ended = dump.done.done()
                frames = dump.fetch()
                if frames is not None:
                    yield frames
                if ended:
                    dump.done.result()
                    return
        finally:
            dump.abandon()

    async def send(
        self, count: int, reply: str, encode: Callable[[int], NDArray[np.uint8]], decode: Decode
    ) -> asyncio.Future[None]:
        """Send ``count`` requests as one buffer once there is room; return what is done when all are answered.

        ``encode`` is told the first context; ``decode`` gets answers, all of the message ``reply``, with their numbers
        from 0, as they come. Raises Disconnected, as the future does.
        """
        while self._questions and self._unanswered + count > _UNANSWERED_MESSAGES:
            self._some_answered.clear()
            await self._some_answered.wait()
        await self._stream.room()
        first = self._contexts(count)
        number = self.messages.numbers[reply]
        question = _Request(first, number, decode) if count == 1 else _Requests(first, count, number, decode)
        self._ask(question, encode(first).data)
        return question.done

    def give_up(self, error: MalformedMessage) -> Disconnected:
        """End the connection over something that makes no sense; return what to raise."""
        self.close(f"VPP sent what cannot be: {error}")
        return Disconnected(self._why_lost)

    def close(self, why: str = "the connection was closed") -> None:
        """End the connection; whoever waits for an answer gets Disconnected."""
        if self.lost:
            return
        self._why_lost = why
        self.lost = True
        self._silence.cancel()
        self.stirred.set()
        self._stream.close()
        if not self._welcome.done():
            self._welcome.set_exception(Disconnected(why))
            self._welcome.exception()
        self._some_answered.set()
        questions, self._questions = self._questions, []
        for question in questions:
            question.fail(Disconnected(why))

    async def _introduce(self) -> None:
        self._stream.write(memoryview(hello(_CLIENT_NAME, 0)))
        table = await self._welcome
        if differences := table.differences():
            raise VersionMismatch(f"this VPP has another API: {', '.join(differences)}")
        self.messages = Messages(table)
        numbers = self.messages.numbers
        self._event_names = {numbers[name]: name for name in (_KEEPALIVE, *self._followed)}
        self._is_event[list(self._event_names)] = True
        await self.call("control_ping")
        definitions = await self.call("get_api_json")
        try:
            self.messages.learn(definitions.json)
        except MalformedMessage as error:
            raise self.give_up(error) from None

    def _contexts(self, count: int) -> int:
        first = self._context
        self._context = (first + count) % _CONTEXTS
        return first

    def _look_for_silence(self) -> None:
        """Give up on a VPP that owes answers and says nothing: a hung one would hold us for ever."""
        quiet_s = self._loop.time() - self._heard_at
        if self._questions and quiet_s >= _SILENCE_S:
            self.close(f"VPP owes {self._unanswered} answers and has said nothing for {quiet_s:.0f} s")
            return
        self._silence = self._loop.call_later(max(_SILENCE_S / 10, _SILENCE_S - quiet_s), self._look_for_silence)

    def _ask(self, question: _Question, request: memoryview) -> None:
        if self.lost:
            raise Disconnected(self._why_lost)
        if not self._questions:
            self._heard_at = self._loop.time()  # silence counts from the oldest question
        self._questions.append(question)
        self._unanswered += question.contexts
        self._stream.write(request)

    def _receive(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            frames = self._framer.feed(data)
            if frames is not None:
                self._deliver(frames)
                if self._unanswered > _MANY_UNANSWERED:
                    self._stream.rest(_REST_S)
        except MalformedMessage as error:
            self.give_up(error)

    def _deliver(self, frames: Frames) -> None:
        if not self._welcome.done():
            self._welcome.set_result(MessageTable(frames.message(0)))
            frames = frames.take(np.arange(1, len(frames)))
        if len(frames) == 1:
            self._deliver_one(frames)
            return
        is_event = self._is_event[frames.message_id]
        if is_event.any():
            for row in np.flatnonzero(is_event).tolist():
                self._take_event(frames.message(row))
            frames = frames.take(~is_event)
        context = frames.context
        for question in list(self._questions):
            if not len(frames):
                return
            offset = context - np.uint32(question.first)  # numbers wrap around
            its = offset < question.contexts
            if its.all():
                question.take(frames, offset)
                frames = frames.take(slice(0, 0))
            elif its.any():
                question.take(frames.take(its), offset[its])
                frames, context = frames.take(~its), context[~its]
            if question.answered:
                self._forget(question)
        if len(frames):
            raise MalformedMessage(f"message {int(frames.message_id[0])} answers nothing that was asked")

    def _deliver_one(self, frames: Frames) -> None:
        """Do the same with a single message, without columns: a lone change is answered by one."""
        message_id, context = frames.head()
        if message_id in self._event_names:
            self._take_event(frames.message(0))
            return
        for question in self._questions:
            offset = context - question.first & _CONTEXTS - 1
            if offset < question.contexts:
                question.take(frames, np.array([offset], np.uint32))
                if question.answered:
                    self._forget(question)
                return
        raise MalformedMessage(f"message {message_id} answers nothing that was asked")

    def _forget(self, question: _Question) -> None:
        self._questions.remove(question)
        self._unanswered -= question.contexts
        self._some_answered.set()

    def _take_event(self, message: bytes) -> None:
        name = self._event_names[int.from_bytes(message[:2], "big")]
        if name == _KEEPALIVE:
            context = self.messages.unpack(name, message).context
            self._stream.write(memoryview(self.messages.pack(f"{_KEEPALIVE}_reply", context)))
        else:
            self.events.append((name, message))
            self.stirred.set()
