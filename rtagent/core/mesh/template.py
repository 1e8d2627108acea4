"""Templates: BIRD text with ``$name`` in it, that people read, replace and extend.

A line that holds nothing but ``$name`` takes a whole block, indented like itself, and disappears where the block is
empty. The comment that opens a template is for its reader and stays behind. ``$$`` is a dollar sign. Which templates
there are, and what they may name, is fixed here; their text comes from ``bird/mesh`` and from the operator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from rtagent.core.failures import Trouble

NAMES = (
    "mesh", "owners", "pods", "kernel", "bfd", "shared", "session", "channel",
    "own-first", "own-session", "own-import", "own-export", "own-last",
)  # fmt: skip
"""Every template; the text of NAME is in the file NAME.conf."""

_PLACEHOLDER = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


class TemplateError(Trouble):
    """The operator's mistake in a template; the text names file, line and what would be right."""


class _Line(NamedTuple):
    indent: str
    block: str
    """The name that stands alone on the line, else empty."""
    parts: tuple[str, ...]
    """Text and names by turns, beginning and ending with text."""


class Template:
    """One template, read once and filled many times."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._lines = tuple(_line(line) for line in _body(text))
        self._first = len(text.splitlines()) - len(self._lines) + 1

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with every name replaced, without a newline at the end. Raises TemplateError."""
        filled: list[str] = []
        for number, line in enumerate(self._lines, self._first):
            try:
                if line.block:
                    block = values[line.block]
                    if block and line.indent:
                        filled += [line.indent + row if row else row for row in block.split("\n")]
                    elif block:
                        filled.append(block)
                else:
                    filled.append(_joined(line.parts, values))
            except KeyError as error:
                known = ", ".join(f"${name}" for name in sorted(values)) or "none"
                text = f"{self.name}.conf:{number}: ${error.args[0]} is not known here; known are {known}"
                raise TemplateError(text) from None
        return "\n".join(filled)


_read = lru_cache(256)(Template)
"""A template is read once, however often it is loaded: before each step, since it may have changed."""


class Templates:
    """All templates: the ones that came with rtagent, with the operator's own in their place."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """``texts`` is name → text and has every one of NAMES."""
        self._texts = {name: texts[name] for name in NAMES}
        self._templates = {name: _read(name, text) for name, text in self._texts.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Templates) and self._texts == other._texts

    __hash__ = None  # type: ignore[assignment]

    def fill(self, template: str, /, **values: str) -> str:
        """Fill one. Raises TemplateError."""
        return self._templates[template].fill(values)

    def own(self) -> dict[str, str]:
        """Return the operator's own pieces under the names by which the others include them."""
        return {
            name.replace("-", "_"): template.fill({})
            for name, template in self._templates.items()
            if name.startswith("own-")
        }


def _body(text: str) -> list[str]:
    lines = text.splitlines()
    comment = next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[next((at for at in range(comment, len(lines)) if lines[at].strip()), len(lines)) :]


def _line(line: str) -> _Line:
    stripped = line.strip()
    alone = _PLACEHOLDER.fullmatch(stripped)
    block = (alone[1] or alone[2] or "") if alone else ""
    parts: list[str] = []
    end = 0
    for found in _PLACEHOLDER.finditer(line):
        text = line[end : found.start()]
        name = found[1] or found[2]
        parts += [text + "$", ""] if name is None else [text, name]
        end = found.end()
    parts.append(line[end:].rstrip())
    return _Line(line[: len(line) - len(line.lstrip())], block, tuple(parts))


def _joined(parts: tuple[str, ...], values: Mapping[str, str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return "".join(part if place % 2 == 0 else values[part] if part else "" for place, part in enumerate(parts))
