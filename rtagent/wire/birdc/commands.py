"""BIRD's commands as text, with names checked: what a user gives cannot become another command.

A protocol's or table's name goes between apostrophes, as the name may also be one of BIRD's words.
"""

from __future__ import annotations

import re
from pathlib import PurePath

_NAME = re.compile(r"[A-Za-z0-9_.:-]+")  # conf/cf-lex.l, what may stand between apostrophes


def symbol(name: str) -> str:
    """Return the name of a protocol, channel or table for a command. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name of BIRD's: {name!r}")
    return f"'{name}'"


def text(value: str | PurePath) -> str:
    """Return a text, a path for instance, for a command. Raises ValueError: BIRD knows no way to write a quote."""
    quoted = str(value)
    if any(character in quoted for character in '"\n\r\0'):
        raise ValueError(f"BIRD cannot read this in a command: {quoted!r}")
    return f'"{quoted}"'


def show_protocols(pattern: str) -> str:
    """Return the command that lists the protocols that a pattern (``*``, ``?``) matches."""
    return f"show protocols all {text(pattern)}"


def show_routes(
    *,
    prefix: str = "",
    covering: str = "",
    table: str = "",
    protocol: str = "",
    export_to: str = "",
    filtered: bool = False,
    best_only: bool = False,
    attributes: bool = False,
    where: str = "",
) -> str:
    """Return a ``show route``. ``where`` is a filter expression and goes to BIRD as it is. Raises ValueError."""
    words = ["show route"]
    if prefix:
        words.append(_address(prefix))
    if covering:
        words.append(f"for {_address(covering)}")
    if table:
        words.append(f"table {'all' if table == 'all' else symbol(table)}")
    if filtered:
        words.append("filtered")
    if best_only:
        words.append("primary")
    if attributes:
        words.append("all")
    if export_to:
        words.append(f"export {symbol(export_to)}")
    if protocol:
        words.append(f"protocol {symbol(protocol)}")
    if where:
        words.append(f"where {where}")
    return " ".join(words)


def configure(path: PurePath | None = None, *, undo_after_s: int | None = None) -> str:
    """Return a ``configure``, which BIRD undoes by itself after a time, where one is given."""
    words = ["configure"]
    if path is not None:
        words.append(text(path))
    if undo_after_s is not None:
        words.append(f"timeout {undo_after_s}")
    return " ".join(words)


def reload_in(name: str, *, filters: bool) -> str:
    """Return the command that has a protocol's routes sent and judged again; from 3.0 on with ``filters``."""
    return f"reload {'filters ' if filters else ''}in {symbol(name)}"


def enable(name: str) -> str:
    """Return the command that starts a protocol which is disabled."""
    return f"enable {symbol(name)}"


def check(path: PurePath | None = None) -> str:
    """Return the command that checks a configuration."""
    return "configure check" if path is None else f"configure check {text(path)}"


def _address(given: str) -> str:
    if not re.fullmatch(r"[0-9A-Fa-f:./]+", given):
        raise ValueError(f"not a prefix or address: {given!r}")
    return given
