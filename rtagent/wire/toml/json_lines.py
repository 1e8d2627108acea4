"""Where a key stands in a JSON file, like ``lines`` for TOML: a scan of text that the json module has accepted."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from rtagent.wire.toml.lines import Path

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],\n]')


@dataclass(slots=True)
class _Frame:
    is_object: bool
    at: str | int | None
    """The key or the place that comes now; None: a key is to come."""


class JsonLines:
    """Line numbers, counted from 1, by path."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        stack: list[_Frame] = []
        number = 1
        for found in _TOKEN.finditer(text):
            token = found[0]
            if token == "\n":
                number += 1
            elif token in "{[":
                self._note(stack, number)
                stack.append(_Frame(token == "{", None if token == "{" else 0))
            elif token in "}]":
                stack.pop()
            elif token == ",":
                top = stack[-1]
                top.at = None if top.is_object else int(top.at or 0) + 1
            elif stack and stack[-1].at is None:
                stack[-1].at = json.loads(token)
                self._note(stack, number)

    def of(self, path: Path) -> int:
        """Return the line of a path, or of the nearest thing around it; 1 where nothing is known."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _note(self, stack: list[_Frame], number: int) -> None:
        self._lines.setdefault(tuple(frame.at for frame in stack if frame.at is not None), number)
