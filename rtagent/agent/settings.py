"""What the operator wants: one TOML file, checked as a whole.

A problem names file, line and key, says what is wrong and what would be right; all problems are told at once. The
schema is a table (``_SCHEMA``), so that the error texts, the reference and ``rtagent check`` cannot drift apart.
"""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from rtagent.agent.lines import Lines
from rtagent.sinks.vpp import SOCKET_PATH
from rtagent.sources.kernel import DEFAULT_RECEIVE_BUFFER_BYTES

DEFAULT_FILE = Path("/etc/rtagent/rtagent.toml")
DEFAULT_CONTROL = "/run/rtagent/control.sock"

_IFNAMSIZ = 16
"""linux/if.h: an interface name has at most 15 characters."""
_VPP_NAME_BYTES = 64
"""vnet/interface.api: interface_name[64]."""


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


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be configured, with its defaults."""

    dataplane: str = "vpp"
    vpp_socket: str = SOCKET_PATH
    pairs: Mapping[str, str] = field(default_factory=dict)
    """Kernel link name → data plane interface name."""
    ignore: tuple[str, ...] = ()
    """Globs of links whose routes are not mirrored."""
    netns: str | None = None
    receive_buffer_bytes: int = DEFAULT_RECEIVE_BUFFER_BYTES
    control: str = DEFAULT_CONTROL
    control_group: str | None = None
    metrics: str | None = None
    """HOST:PORT on loopback, or unix:PATH; None: off."""
    journal: str | None = None
    """Where to record what is heard and decided; None: nowhere."""
    journal_max_bytes: int = 256 * 1024 * 1024
    log_level: str = "info"
    log_format: str = "auto"

    def ignores(self, link: str) -> bool:
        """Whether the routes over this link are none of our business."""
        return any(fnmatchcase(link, pattern) for pattern in self.ignore)

    def keeping(self, before: Settings, names: Iterable[str]) -> Settings:
        """Return these settings with the named ones as they were before."""
        return replace(self, **{name: getattr(before, name) for name in names})


class _Key(NamedTuple):
    field: str
    check: Callable[[Any], Any]
    """Returns the value to keep, or raises ValueError with what would be right."""
    wanted: str


def load(path: Path) -> Settings:
    """Read and check a configuration file. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise SettingsError([Problem(str(path), line, "", "not UTF-8 text: save the file as UTF-8")]) from None
    except OSError as error:
        raise SettingsError([Problem(str(path), 1, "", f"cannot be read: {error.strerror}")]) from None
    return parse(text, str(path))


def parse(text: str, file: str = "configuration") -> Settings:
    """Check the text of a configuration file. Raises SettingsError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([_syntax_problem(file, text, str(error))]) from None
    reader = _Reader(file, Lines(text))
    values = reader.document(document)
    if reader.problems:
        raise SettingsError(sorted(reader.problems, key=lambda problem: problem.line))
    return Settings(**values)


class _Reader:
    def __init__(self, file: str, lines: Lines) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._lines = lines

    def document(self, document: dict[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, table in document.items():
            if name == "pairs":
                values["pairs"] = self._pairs(table)
            elif name not in _SCHEMA:
                self._problem((name,), f"unknown table{_nearest(name, [*_SCHEMA, 'pairs'])}")
            elif not isinstance(table, dict):
                self._problem((name,), f"is a table: write [{name}] and its keys below")
            else:
                values |= self._table(name, table)
        return values

    def _table(self, name: str, table: dict[str, Any]) -> dict[str, Any]:
        values = {}
        for key, value in table.items():
            known = _SCHEMA[name].get(key)
            if known is None:
                self._problem((name, key), f"unknown key{_nearest(key, _SCHEMA[name])}")
                continue
            try:
                values[known.field] = known.check(value)
            except ValueError as error:
                said = f" ({error})" if str(error) else ""
                self._problem((name, key), f"{_shown(value)} is not valid{said}; write {known.wanted}")
        return values

    def _pairs(self, tables: Any) -> dict[str, str]:
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._problem(("pairs",), "is a list of tables: write [[pairs]] once for each pair")
            return {}
        pairs: dict[str, str] = {}
        for index, table in enumerate(tables):
            names = {}
            for key in table:
                if key not in ("host", "vpp"):
                    self._problem(("pairs", index, key), f"unknown key{_nearest(key, ('host', 'vpp'))}")
            for key, example, longest in (("host", "e0", _IFNAMSIZ - 1), ("vpp", "host-vpp0", _VPP_NAME_BYTES - 1)):
                name = table.get(key)
                where = ("pairs", index, key)
                if name is None:
                    self._problem(where, f'is missing; write the interface\'s name, such as {key} = "{example}"')
                elif not isinstance(name, str) or not name:
                    self._problem(where, f'{_shown(name)} is not valid; write a name, such as "{example}"')
                elif len(name.encode()) > longest:
                    self._problem(where, f"{_shown(name)} is longer than the {longest} bytes that a name may have")
                else:
                    names[key] = name
            if len(names) == 2:
                if names["host"] in pairs:
                    self._problem(
                        ("pairs", index, "host"), f"{names['host']} has a pair already; remove one of the two"
                    )
                elif names["vpp"] in pairs.values():
                    self._problem(("pairs", index, "vpp"), f"{names['vpp']} has a pair already; remove one of the two")
                else:
                    pairs[names["host"]] = names["vpp"]
        return pairs

    def _problem(self, path: tuple[str | int, ...], text: str) -> None:
        key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        self.problems.append(Problem(self._file, self._lines.of(path), key, text))


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)


def _syntax_problem(file: str, text: str, said: str) -> Problem:
    """Turn tomllib's ``… (at line 3, column 5)`` into a problem."""
    message, _, position = said.rpartition(" (at ")
    digits = "".join(c if c.isdigit() else " " for c in position).split()
    line = int(digits[0]) if digits else len(text.splitlines()) or 1
    return Problem(file, line, "", f"not TOML: {message or said}")


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in words:
            near = difflib.get_close_matches(str(value), words, 1, 0.5)
            raise ValueError(f"did you mean {near[0]}?" if near else "")
        return str(value)

    return check


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError
    if len(value.encode()) > 107:
        raise ValueError("a socket's path has at most 107 bytes")  # linux/un.h, UNIX_PATH_MAX
    return value


def _file(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError
    return value


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 65_536:
        raise ValueError
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _globs(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError
    return tuple(value)


def _buffer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 4096 <= value < 1 << 30:
        raise ValueError
    return value


def listen_address(value: Any) -> str:
    """Check a metrics address: a loopback address and port, or ``unix:`` and a path. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError
    if value.startswith("unix:"):
        return f"unix:{_path(value[5:])}"
    host, _, port = value.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        raise ValueError from None
    if not loopback:
        raise ValueError("only loopback: there is no authentication")
    return value


_LEVELS = ("debug", "info", "warning", "error")

_SCHEMA: dict[str, dict[str, _Key]] = {
    "dataplane": {
        "kind": _Key("dataplane", _one_of("vpp", "memory"), '"vpp" or "memory"'),
        "socket": _Key("vpp_socket", _path, f'an absolute path, such as "{SOCKET_PATH}"'),
    },
    "mirror": {
        "ignore": _Key("ignore", _globs, 'a list of link names or globs, such as ["docker0", "cali*"]'),
    },
    "kernel": {
        "netns": _Key("netns", _name, 'a network namespace\'s name or path, such as "dataplane"'),
        "receive_buffer_bytes": _Key("receive_buffer_bytes", _buffer, "a number of bytes from 4096 to 1073741823"),
    },
    "control": {
        "socket": _Key("control", _path, f'an absolute path, such as "{DEFAULT_CONTROL}"'),
        "group": _Key("control_group", _name, 'the name of a group, such as "rtagent"'),
    },
    "metrics": {
        "listen": _Key("metrics", listen_address, '"127.0.0.1:9101", "[::1]:9101" or "unix:/run/rtagent/metrics.sock"'),
    },
    "journal": {
        "file": _Key("journal", _file, 'an absolute path, such as "/var/lib/rtagent/journal"'),
        "max_bytes": _Key("journal_max_bytes", _size, "a number of bytes, 65536 or more"),
    },
    "log": {
        "level": _Key(
            "log_level", _one_of("debug", "info", "warning", "error"), '"debug", "info", "warning" or "error"'
        ),
        "format": _Key("log_format", _one_of("auto", "json", "console"), '"auto", "json" or "console"'),
    },
}
