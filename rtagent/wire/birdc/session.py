"""The lines of BIRD's control socket: from bytes to what a command is answered with.

BIRD greets, then answers one command a line. Each line of an answer has a code of four digits: ``1007-text`` goes on,
``0000 text`` ends the answer; a line that starts with a space has the code of the one before. A line that starts with
``+`` belongs to no answer and may come at any time. Codes: 0 done, 1 row, 2 heading, 8 failed, 9 not understood
(doc/reply_codes, nest/cli.c of BIRD). A line that BIRD finds too long for itself (512 bytes or 1 KiB) comes as code
8000, without its text, and so does the end of an answer.

A full table is millions of lines, so lines are pairs of code and text and nothing more, and none is kept here.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias

from rtagent.wire.errors import MalformedMessage

Line: TypeAlias = tuple[int, str]
"""The code of a line, and what it says."""

LINE_OVERFLOW = 8000
"""The code of a line whose text BIRD had no room for."""

_LONGEST_BYTES = 16 << 10
"""BIRD builds a line in 512 bytes (2.x) or 1 KiB; what goes on and on is not BIRD."""
_LONGEST_COMMAND_BYTES = 4095
"""CLI_RX_BUF_SIZE: more is answered with 9000."""
_WELCOME = 1


class _State(Enum):
    GREETING = "the greeting"
    IDLE = "nothing"
    ANSWER = "an answer"


class Received(NamedTuple):
    """What some bytes said."""

    lines: list[Line]
    """The answer's lines, whole ones, in order; where ``ended``, the last of them is its end."""
    ended: bool
    """Whether the answer, or the greeting, is complete."""
    notices: tuple[str, ...] = ()
    """What BIRD said unasked, such as that it undoes a configuration that nobody has confirmed."""


class BirdSession:
    """One connection: ``send`` makes a command's bytes, ``receive`` takes what comes, in any cuts."""

    def __init__(self) -> None:
        self._state = _State.GREETING
        self._pending = b""
        self._code = 0

    @property
    def idle(self) -> bool:
        """Whether a command may be sent: BIRD has greeted, and the command before is answered."""
        return self._state is _State.IDLE

    def send(self, command: str) -> bytes:
        """Return the bytes of a command. Raises ValueError where BIRD could not take it for one command."""
        assert self.idle, f"{self._state.value} is due"
        data = command.encode("utf-8", "surrogateescape")
        if not command.strip() or any(character in command for character in "\r\n\0"):
            raise ValueError(f"not one line: {command!r}")
        if len(data) > _LONGEST_COMMAND_BYTES:
            raise ValueError(f"a command has at most {_LONGEST_COMMAND_BYTES} bytes, this one has {len(data)}")
        self._state = _State.ANSWER
        return data + b"\n"

    def receive(self, data: bytes) -> Received:
        """Take bytes; return the lines that they complete.

        Raises MalformedMessage for what BIRD would not say, or not now; the connection is of no use after that.
        """
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            whole = self._pending + whole
            self._pending = rest
        else:
            whole = b""
            self._pending += data
        if len(self._pending) > _LONGEST_BYTES:
            raise MalformedMessage(f"a line of more than {_LONGEST_BYTES} bytes")
        if not newline:
            return Received([], False)
        return self._lines(whole.decode("utf-8", "surrogateescape").split("\n"))

    def _lines(self, texts: list[str]) -> Received:
        lines: list[Line] = []
        add = lines.append
        notices: list[str] = []
        code, ended = self._code, False
        for text in texts:
            if ended and text[:1] != "+":
                raise MalformedMessage(f"an answer goes on after its end: {text[:80]!r}")
            if text[:1] == " " and code:
                add((code, text[1:]))
            elif text[:1] == "+":
                notices.append(text[1:])
                code = 0
            else:
                digits, mark = text[:4], text[4:5]
                if not (digits.isascii() and digits.isdigit() and len(digits) == 4 and mark in ("-", " ")):
                    raise MalformedMessage(f"not a line of an answer: {text[:80]!r}")
                code = int(digits)
                add((code, text[5:]))
                ended = mark == " "
        self._code = 0 if ended else code
        if lines:
            self._expected(lines, ended)
        return Received(lines, ended, tuple(notices))

    def _expected(self, lines: list[Line], ended: bool) -> None:
        if self._state is _State.IDLE:
            raise MalformedMessage(f"an answer to no command: {lines[0][1][:80]!r}")
        if self._state is _State.GREETING and (lines[0][0] != _WELCOME or not ended):
            raise MalformedMessage(f"not a greeting of BIRD's: {lines[0][1][:80]!r}")
        if ended:
            self._state = _State.IDLE
