"""A client of VPP's API: questions and answers over one socket, thousands of them under way at once.

Every question has a context, the range of contexts it may be answered by, and a ``Question`` that collects the
answers; VPP answers in order, but nothing here relies on it. There is no task behind it: the event loop brings
bytes, these become messages, and each is given to whoever asked.

When the connection ends, or VPP says something that cannot be (an answer to no question included), everybody who
waits gets ``Disconnected`` with the reason, at once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtagent.core.sink import Disconnected, VersionMismatch
from rtagent.sinks.vapi_questions import Decode, Dump, Get, Question, Request, Requests
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
_CONTEXTS = 1 << 32
_KEEPALIVE = "memclnt_keepalive"


class Refused(Exception):
    """VPP answered a request with an error; ``retval`` is negative."""

    def __init__(self, name: str, retval: int) -> None:
        super().__init__(f"{name}: {retval}")
        self.retval = retval


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
        self._questions: list[Question] = []
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
        question = Request(first, self.messages.numbers[f"{name}_reply"], decode)
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
            question = Get(first, numbers[details], numbers[f"{name}_reply"])
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
        dump = Dump(first, numbers[details], numbers["control_ping_reply"], self._stream)
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
        question = Request(first, number, decode) if count == 1 else Requests(first, count, number, decode)
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

    def _ask(self, question: Question, request: memoryview) -> None:
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

    def _forget(self, question: Question) -> None:
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
