"""``show protocols all`` as values: protocols, their channels, and what BGP says of its session.

Formats: nest/proto.c and proto/bgp/bgp.c of BIRD. What a release adds to them is passed over. Of a BGP session that is
not up, ``last_error`` is the error before, which may be long past: BIRD keeps it until the session stands again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

from rtagent.wire.birdc.session import Line
from rtagent.wire.errors import MalformedMessage


class RouteLimit(NamedTuple):
    """A limit of a channel."""

    limit: int
    hit: bool
    action: str
    """warn, block, restart or disable."""


class Channel(NamedTuple):
    """A channel of a protocol. Counts are of routes, and None while the channel is down."""

    name: str
    state: str = ""
    """UP, DOWN, START, STOP, ..."""
    table: str = ""
    preference: int = 0
    input_filter: str = ""
    output_filter: str = ""
    imported: int | None = None
    filtered: int | None = None
    """None also where filtered routes are not kept (``import keep filtered``)."""
    exported: int | None = None
    preferred: int | None = None
    receive_limit: RouteLimit | None = None
    import_limit: RouteLimit | None = None
    export_limit: RouteLimit | None = None
    next_hop: tuple[str, ...] = ()
    """Of BGP: what is announced as next hop; in IPv6 followed by the link-local one."""


class BgpSession(NamedTuple):
    """What BGP says of its session."""

    state: str
    """Established, Idle, Connect, Active, OpenSent, OpenConfirm, Down, Close, Passive."""
    neighbor_address: str = ""
    """An address, followed by ``%`` and the interface where it is link-local; a prefix for a range of neighbours."""
    neighbor_as: int = 0
    """0 where the configuration leaves it open and nobody is there."""
    local_as: int = 0
    neighbor_id: str = ""
    source_address: str = ""
    session: tuple[str, ...] = ()
    """internal or external, multihop, route-reflector, route-server, AS4."""
    last_error: str = ""


class Protocol(NamedTuple):
    """A protocol, that is: an instance of one."""

    name: str
    proto: str
    """BGP, Kernel, Static, ..."""
    table: str
    """Empty where it has none, or several."""
    state: str
    """up, start, stop or down."""
    since: str
    info: str
    """The last column: of BGP the state of the session, and an error where there is one."""
    description: str = ""
    message: str = ""
    """Why it was disabled or restarted."""
    vrf: str = ""
    channels: tuple[Channel, ...] = ()
    bgp: BgpSession | None = None

    def channel(self, name: str) -> Channel | None:
        """Return the channel of a name, such as ``ipv4``."""
        return next((channel for channel in self.channels if channel.name == name), None)


_ROW_CODE, _DETAIL_CODE = 1002, 1006
_STANDING_WORDS = 7
"""Name, protocol, table, state, day, time, Established; an error that was comes after those."""
_FIELD = re.compile(r" +([A-Z][^:]*?): *(.*)")
_CHANNEL = re.compile(r"  Channel (\S+)")
_COUNT = re.compile(r"(\d+) (imported|filtered|exported|preferred)")
_LIMIT = re.compile(r"(\d+)( \[HIT\])?")
_LIMITS = {"Receive limit": "receive_limit", "Import limit": "import_limit", "Export limit": "export_limit"}
_CHANNEL_TEXTS = {
    "State": "state",
    "Table": "table",
    "Input filter": "input_filter",
    "Output filter": "output_filter",
}
_PROTOCOL_TEXTS = {"Description": "description", "Message": "message", "VRF": "vrf"}
_BGP_TEXTS = {
    "Neighbor address": "neighbor_address",
    "Neighbor range": "neighbor_address",
    "Neighbor ID": "neighbor_id",
    "Source address": "source_address",
    "Last error": "last_error",
}
_BGP_NUMBERS = {"Neighbor AS": "neighbor_as", "Local AS": "local_as"}


def parse_protocols(lines: list[Line]) -> list[Protocol]:
    """Parse the answer to ``show protocols``, with ``all`` or without. Raises MalformedMessage."""
    protocols: list[Protocol] = []
    details: list[str] = []
    for code, text in lines:
        if code == _ROW_CODE:
            if protocols:
                protocols[-1] = _detailed(protocols[-1], details)
            protocols.append(_row(text))
            details = []
        elif code == _DETAIL_CODE:
            details.append(text)
    if protocols:
        protocols[-1] = _detailed(protocols[-1], details)
    elif details:
        raise MalformedMessage(f"of no protocol: {details[0]!r}")
    return protocols


def established(lines: list[Line]) -> set[str]:
    """Return the names of the BGP sessions that stand, of an answer to ``show protocols``."""
    rows = (text.split() for code, text in lines if code == _ROW_CODE)
    return {row[0] for row in rows if row[1:2] == ["BGP"] and row[-1] == "Established" and len(row) <= _STANDING_WORDS}


def _row(text: str) -> Protocol:
    try:
        name, proto, table, state, rest = text.split(None, 4)
    except ValueError:
        raise MalformedMessage(f"not a protocol: {text!r}") from None
    since, _, info = rest.partition("  ")
    return Protocol(name, proto, "" if table == "---" else table, state, since, info.strip())


def _detailed(protocol: Protocol, details: list[str]) -> Protocol:
    """Add what the lines below a protocol say: first of itself, then of each channel."""
    if not details:
        return protocol
    at = [number for number, text in enumerate(details) if _CHANNEL.fullmatch(text)]
    own = list(_fields(details[: at[0]] if at else details))
    told: dict[str, str] = {_PROTOCOL_TEXTS[key]: value for key, value in own if key in _PROTOCOL_TEXTS}
    channels = tuple(_channel(details[start:end]) for start, end in pairwise([*at, len(details)]))
    return protocol._replace(**told, channels=channels, bgp=_bgp(own))


def _fields(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for text in lines:
        if match := _FIELD.fullmatch(text):
            yield match[1], match[2].rstrip()


def _bgp(fields: list[tuple[str, str]]) -> BgpSession | None:
    told = dict(fields)
    if "BGP state" not in told:
        return None
    values: dict[str, Any] = {_BGP_TEXTS[key]: value for key, value in fields if key in _BGP_TEXTS}
    values |= {_BGP_NUMBERS[key]: _number(value) for key, value in fields if key in _BGP_NUMBERS}
    return BgpSession(told["BGP state"], session=tuple(told.get("Session", "").split()), **values)


def _channel(lines: list[str]) -> Channel:
    values: dict[str, Any] = {}
    limited = ""
    for key, value in _fields(lines[1:]):
        if key in _CHANNEL_TEXTS:
            values[_CHANNEL_TEXTS[key]] = value
        elif key == "Preference":
            values["preference"] = _number(value)
        elif key == "Routes":
            values |= {name: int(count) for count, name in _COUNT.findall(value)}
        elif key == "BGP Next hop":
            values["next_hop"] = tuple(value.split())
        elif key in _LIMITS:
            match = _LIMIT.fullmatch(value)
            if match is None:
                raise MalformedMessage(f"not a limit: {value!r}")
            limited = _LIMITS[key]
            values[limited] = RouteLimit(int(match[1]), bool(match[2]), "")
        elif key == "Action" and limited:
            values[limited] = values[limited]._replace(action=value)
    return Channel(lines[0].split()[1], **values)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise MalformedMessage(f"not a number: {text!r}")
    return int(text)
