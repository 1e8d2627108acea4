"""What the operator wants: one TOML file, checked as a whole.

A problem names file, line and key, says what is wrong and what would be right; all problems are told at once. The
schema is a table (``_SCHEMA``), so that the error texts, the reference and ``rtagent check`` cannot drift apart.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from rtagent.agent.mesh_schema import MESH
from rtagent.agent.mesh_settings import MeshSettings
from rtagent.agent.punt_schema import PUNT
from rtagent.agent.tap_schema import TAPS
from rtagent.core.punt_settings import PuntSettings
from rtagent.core.taps import NO_TAPS, TapRules
from rtagent.wire.toml.lines import Lines
from rtagent.wire.toml.schema import (
    Key,
    Problem,
    Reader,
    SettingsError,
    Table,
    boolean,
    document,
    file_path,
    nearest,
    one_of,
    shown,
    socket_path,
    text,
    texts,
    whole,
)

DEFAULT_FILE = Path("/etc/rtagent/rtagent.toml")
DEFAULT_CONTROL = "/run/rtagent/control.sock"
VPP_SOCKET = "/run/vpp/api.sock"
VPP_STATS_SOCKET = "/run/vpp/stats.sock"
"""Where VPP of the packages listens."""

_IFNAMSIZ = 16
"""linux/if.h: an interface name has at most 15 characters."""
_VPP_NAME_BYTES = 64
"""vnet/interface.api: interface_name[64]."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be configured, with its defaults."""

    dataplane: str = "vpp"
    """``none``: nothing is mirrored, for an agent that only keeps the mesh."""
    vpp_socket: str = VPP_SOCKET
    vpp_stats_socket: str = VPP_STATS_SOCKET
    pairs: Mapping[str, str] = field(default_factory=dict)
    """Kernel link name → data plane interface name."""
    taps: TapRules = NO_TAPS
    """For which interfaces of the data plane a link is made, and what it is called where ``pairs`` does not say it."""
    ignore: tuple[str, ...] = ()
    """Globs of links whose routes are not mirrored."""
    interfaces: bool = True
    """Whether the data plane's interfaces follow the links that they are paired with, not only routes."""
    punt: PuntSettings = field(default_factory=PuntSettings)
    srv6_source: bytes = b""
    """The packed source of segment routing headers; empty: as the kernel chooses it."""
    netns: str | None = None
    receive_buffer_bytes: int = 128 * 1024 * 1024
    """The default holds some 320 000 queued route notifications."""
    control: str = DEFAULT_CONTROL
    control_group: str | None = None
    metrics: str | None = None
    """HOST:PORT on loopback, or unix:PATH; None: off."""
    journal: str | None = None
    """Where to record what is heard and decided; None: nowhere."""
    journal_max_bytes: int = 256 * 1024 * 1024
    log_level: str = "info"
    log_format: str = "auto"
    mesh: MeshSettings | None = None
    """None: no mesh."""

    def ignores(self, link: str) -> bool:
        """Whether the routes over this link are none of our business."""
        return any(fnmatchcase(link, pattern) for pattern in self.ignore)

    def keeping(self, before: Settings, names: Iterable[str]) -> Settings:
        """Return these settings with the named ones as they were before."""
        return replace(self, **{name: getattr(before, name) for name in names})


def load(path: Path) -> Settings:
    """Read and check a configuration file. Raises SettingsError."""
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise SettingsError([Problem(str(path), line, "", "not UTF-8 text: save the file as UTF-8")]) from None
    except OSError as error:
        raise SettingsError([Problem(str(path), 1, "", f"cannot be read: {error.strerror}")]) from None
    return parse(content, str(path))


def parse(content: str, file: str = "configuration") -> Settings:
    """Check the text of a configuration file. Raises SettingsError."""
    given = document(content, file)
    reader = Reader(file, Lines(content))
    values: dict[str, Any] = {}
    for name, table in given.items():
        if name == "pairs":
            values["pairs"] = _pairs(reader, table)
        elif name in _TABLES:
            values[name] = reader.read((name,), _TABLES[name], table)
        elif name not in _SCHEMA:
            reader.problem((name,), f"unknown table{nearest(name, [*_SCHEMA, *_TABLES, 'pairs'])}")
        else:
            values |= reader.read((name,), Table(_SCHEMA[name]), table) or {}
    if reader.problems:
        raise SettingsError(sorted(reader.problems, key=lambda problem: problem.line))
    return Settings(**values)


def _pairs(reader: Reader, tables: Any) -> dict[str, str]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        reader.problem(("pairs",), "is a list of tables: write [[pairs]] once for each pair")
        return {}
    pairs: dict[str, str] = {}
    for index, table in enumerate(tables):
        names = {}
        for key in table:
            if key not in ("host", "vpp"):
                reader.problem(("pairs", index, key), f"unknown key{nearest(key, ('host', 'vpp'))}")
        for key, example, longest in (("host", "e0", _IFNAMSIZ - 1), ("vpp", "host-vpp0", _VPP_NAME_BYTES - 1)):
            name = table.get(key)
            where = ("pairs", index, key)
            if name is None:
                reader.problem(where, f'is missing; write the interface\'s name, such as {key} = "{example}"')
            elif not isinstance(name, str) or not name:
                reader.problem(where, f'{shown(name)} is not valid; write a name, such as "{example}"')
            elif len(name.encode()) > longest:
                reader.problem(where, f"{shown(name)} is longer than the {longest} bytes that a name may have")
            else:
                names[key] = name
        if len(names) == 2:
            if names["host"] in pairs:
                reader.problem(("pairs", index, "host"), f"{names['host']} has a pair already; remove one of the two")
            elif names["vpp"] in pairs.values():
                reader.problem(("pairs", index, "vpp"), f"{names['vpp']} has a pair already; remove one of the two")
            else:
                pairs[names["host"]] = names["vpp"]
    return pairs


def listen_address(value: Any) -> str:
    """Check a metrics address: a loopback address and port, or ``unix:`` and a path. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError
    if value.startswith("unix:"):
        return f"unix:{socket_path(value[5:])}"
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


def inet6_source(value: Any) -> bytes:
    """Check an IPv6 address that packets may come from; return it packed. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        raise ValueError from None
    if address.is_unspecified or address.is_multicast or address.is_link_local or address.is_loopback:
        raise ValueError("packets cannot come from there")
    return address.packed


_TABLES = {"mesh": MESH, "punt": PUNT, "taps": TAPS}
"""Tables that become one value each."""
_SCHEMA: dict[str, dict[str, Key]] = {
    "dataplane": {
        "kind": Key("dataplane", one_of("vpp", "memory", "none"), '"vpp", "memory" or "none"'),
        "socket": Key("vpp_socket", socket_path, f'an absolute path, such as "{VPP_SOCKET}"'),
        "stats_socket": Key("vpp_stats_socket", socket_path, f'an absolute path, such as "{VPP_STATS_SOCKET}"'),
    },
    "mirror": {
        "interfaces": Key("interfaces", boolean, "true or false"),
        "ignore": Key("ignore", texts, 'a list of link names or globs, such as ["docker0", "cali*"]'),
        "srv6_source": Key("srv6_source", inet6_source, 'an IPv6 address of this router, such as "2001:db8::1"'),
    },
    "kernel": {
        "netns": Key("netns", text, 'a network namespace\'s name or path, such as "dataplane"'),
        "receive_buffer_bytes": Key(
            "receive_buffer_bytes", whole(4096, 1073741823), "a number of bytes from 4096 to 1073741823"
        ),
    },
    "control": {
        "socket": Key("control", socket_path, f'an absolute path, such as "{DEFAULT_CONTROL}"'),
        "group": Key("control_group", text, 'the name of a group, such as "rtagent"'),
    },
    "metrics": {
        "listen": Key("metrics", listen_address, '"127.0.0.1:9101", "[::1]:9101" or "unix:/run/rtagent/metrics.sock"'),
    },
    "journal": {
        "file": Key("journal", file_path, 'an absolute path, such as "/var/lib/rtagent/journal"'),
        "max_bytes": Key("journal_max_bytes", whole(65_536, sys.maxsize), "a number of bytes, 65536 or more"),
    },
    "log": {
        "level": Key("log_level", one_of("debug", "info", "warning", "error"), '"debug", "info", "warning" or "error"'),
        "format": Key("log_format", one_of("auto", "json", "console"), '"auto", "json" or "console"'),
    },
}
