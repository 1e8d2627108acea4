"""A TOML document against a table of keys: what is wrong, where, and what would be right.

A schema is data: ``Table`` names keys and the tables within, ``Key`` checks one value. So what is accepted and what is
said about the rest cannot drift apart. It must not know what any key is for.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from rtagent.wire.toml.lines import Path as KeyPath

_SUN_PATH_BYTES = 107
"""linux/un.h, UNIX_PATH_MAX less the NUL."""


class Problem(NamedTuple):
    """One thing that is wrong with a configuration file."""

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.file}:{self.line}: {key}{self.text}"


class SettingsError(Exception):
    """The operator's mistake: every problem of a configuration file."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Key(NamedTuple):
    """One key of a table."""

    field: str
    check: Callable[[Any], Any]
    """Returns the value to keep, or raises ValueError with what would be right."""
    wanted: str


class Table(NamedTuple):
    """A table: its keys, the tables within, and how its values become one."""

    keys: Mapping[str, Key]
    tables: Mapping[str, Table] = {}
    make: Callable[..., Any] = dict
    """Takes the fields that are given by name. Raises KeyError(key, text) for what is wrong between keys."""
    listed: bool = False
    """Written ``[[name]]``, any number of times: a tuple of values."""


class Positions(Protocol):
    """Where things stand in a text: ``Lines`` or ``JsonLines``."""

    def of(self, path: KeyPath) -> int:
        """Return the line of a path."""


class Reader:
    """Reads a document, and gathers problems as it goes."""

    def __init__(self, file: str, lines: Positions) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._lines = lines

    def read(self, path: KeyPath, table: Table, given: Any) -> Any:
        """Return what ``table`` makes of the part of the document at ``path``; None where it is wrong."""
        if table.listed and not (path and isinstance(path[-1], int)):
            if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
                name = dotted(path)
                self.problem(path, f"is a list of tables: write [[{name}]] once for each")
                return ()
            unlisted = table._replace(listed=False)
            return tuple(self.read((*path, index), unlisted, item) for index, item in enumerate(given))
        if not isinstance(given, dict):
            self.problem(path, f"is a table: write [{dotted(path)}] and its keys below")
            return None
        before = len(self.problems)
        values = self._values(path, table, given)
        if len(self.problems) > before:
            return None
        try:
            return table.make(**values)
        except KeyError as wrong:
            key, text = wrong.args
            self.problem((*path, key) if key else path, text)
            return None

    def _values(self, path: KeyPath, table: Table, given: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name in table.tables:
                values[name] = self.read((*path, name), table.tables[name], value)
            elif name in table.keys:
                key = table.keys[name]
                try:
                    values[key.field] = key.check(value)
                except ValueError as error:
                    said = f" ({error})" if str(error) else ""
                    self.problem((*path, name), f"{shown(value)} is not valid{said}; write {key.wanted}")
            else:
                self.problem((*path, name), f"unknown key{nearest(name, [*table.keys, *table.tables])}")
        return values

    def problem(self, path: KeyPath, text: str) -> None:
        """Add what is wrong with the key at ``path``."""
        self.problems.append(Problem(self._file, self._lines.of(path), dotted(path), text))


def document(text: str, file: str) -> dict[str, Any]:
    """Return what ``text``, the content of ``file``, says. Raises SettingsError where it is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, position = str(error).rpartition(" (at ")  # … (at line 3, column 5)
        digits = "".join(c if c.isdigit() else " " for c in position).split()
        line = int(digits[0]) if digits else len(text.splitlines()) or 1
        raise SettingsError([Problem(file, line, "", f"not TOML: {message or error}")]) from None


def dotted(path: KeyPath) -> str:
    """Return a path as people write it, lists counted from 1."""
    return "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that names what was probably meant."""
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"


def shown(value: Any) -> str:
    """Return a value as TOML would have it, roughly."""
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)


def one_of(*words: str) -> Callable[[Any], str]:
    """Return a check for one of ``words``."""

    def check(value: Any) -> str:
        if value not in words:
            near = difflib.get_close_matches(str(value), words, 1, 0.5)
            raise ValueError(f"did you mean {near[0]}?" if near else "")
        return str(value)

    return check


def whole(least: int, most: int) -> Callable[[Any], int]:
    """Return a check for a whole number from ``least`` to ``most``."""

    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError
        return value

    return check


def number(least: float, most: float) -> Callable[[Any], float]:
    """Return a check for a number from ``least`` to ``most``."""

    def check(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError
        return float(value)

    return check


def boolean(value: Any) -> bool:
    """Check for true or false."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def socket_path(value: Any) -> str:
    """Check for the absolute path of a UNIX socket."""
    if len(file_path(value).encode()) > _SUN_PATH_BYTES:
        raise ValueError(f"a socket's path has at most {_SUN_PATH_BYTES} bytes")
    return str(value)


def file_path(value: Any) -> str:
    """Check for an absolute path."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError
    return value


def text(value: Any) -> str:
    """Check for a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def texts(value: Any) -> tuple[str, ...]:
    """Check for a list of strings that are not empty."""
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError
    return tuple(value)
