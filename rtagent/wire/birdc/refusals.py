"""What BIRD refuses, and why: an answer whose last code is 8000 or more, as an exception with BIRD's own words."""

from __future__ import annotations

import re

from rtagent.wire.birdc.session import Line

_FIRST_REFUSAL = 8000
_NO_MATCH = (8001, 8003)
_ACCESS_DENIED = 8007
_WRONG_CONFIGURATION = 8002
NOT_UNDERSTOOD = 9001
"""A syntax error: this release has no such command, or word."""
_UNKNOWN_SYMBOL = "unexpected CF_SYM_UNDEFINED"
_POSITION = re.compile(r"(.*?):(\d+):(\d+) (.*)")


class CommandRefused(Exception):
    """BIRD refused a command: ``code`` is 8xxx (it failed) or 9xxx (it was not understood), ``text`` BIRD's words."""

    def __init__(self, command: str, code: int, text: str, remedy: str = "") -> None:
        super().__init__(f"BIRD refuses '{command}': {text} ({code}){remedy and '; '}{remedy}")
        self.command = command
        self.code = code
        self.text = text


class AccessDenied(CommandRefused):
    """The socket, or this connection, is restricted: it answers ``show`` and changes nothing."""


class NotFound(CommandRefused):
    """There is no such protocol, table, route, or (another release's) word."""


class ConfigurationRefused(CommandRefused):
    """A configuration that BIRD cannot take; where BIRD names no place (no such file), ``line`` is 0."""

    def __init__(self, command: str, code: int, text: str) -> None:
        super().__init__(command, code, text)
        place = _POSITION.fullmatch(text)
        if place is not None:
            self.file, self.line, self.column = place[1], int(place[2]), int(place[3])
            self.message = place[4]
        else:
            self.file, _, self.message = text.rpartition(": ")
            self.line = self.column = 0


def raise_refusal(command: str, end: Line) -> None:
    """Raise CommandRefused, or what says more, if the last line of an answer is a refusal."""
    code, text = end
    if code < _FIRST_REFUSAL:
        return
    if code == _ACCESS_DENIED:
        raise AccessDenied(command, code, text, "use BIRD's unrestricted socket")
    if code == _WRONG_CONFIGURATION:
        raise ConfigurationRefused(command, code, text)
    if code in _NO_MATCH:
        raise NotFound(command, code, text)
    if code == NOT_UNDERSTOOD and _UNKNOWN_SYMBOL in text:
        raise NotFound(command, code, text, "it has no protocol or table, or this release no word, of that name")
    raise CommandRefused(command, code, text)
