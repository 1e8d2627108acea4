"""BIRD's short answers as values: its status, interfaces, BFD sessions, and what a ``configure`` did.

Times are text, as BIRD writes them: ``timeformat`` in its configuration says how. The formats are those of
sysdep/unix/main.c and sysdep/unix/cmds.c (status, configure), nest/iface.c and proto/bfd/bfd.c. A line that says
something else, of a later release, is passed over; an answer without what makes it one is a MalformedMessage.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple

from rtagent.wire.birdc.session import Line
from rtagent.wire.errors import MalformedMessage


class Status(NamedTuple):
    """``show status``."""

    version: str
    router_id: str
    hostname: str
    server_time: str
    last_reboot: str
    last_reconfiguration: str
    state: str
    """``Daemon is up and running``, or what else it does."""
    recovering: bool
    """Whether a graceful restart is still going on: routes are not published yet."""


_STATUS = {
    "version": re.compile(r"BIRD (\S+)"),
    "router_id": re.compile(r"Router ID is (\S+)"),
    "hostname": re.compile(r"Hostname is (.*)"),
    "server_time": re.compile(r"Current server time is (.*)"),
    "last_reboot": re.compile(r"Last reboot on (.*)"),
    "last_reconfiguration": re.compile(r"Last reconfiguration on (.*)"),
}
_STATE = 13
_RECOVERY = 24


def parse_status(lines: list[Line]) -> Status:
    """Parse the answer to ``show status``. Raises MalformedMessage."""
    found = dict.fromkeys(_STATUS, "")
    state, recovering = "", False
    for code, text in lines:
        if code == _STATE:
            state = text
        elif code == _RECOVERY:
            recovering = True
        else:
            for field, pattern in _STATUS.items():
                if match := pattern.fullmatch(text):
                    found[field] = match[1]
    if not found["version"] or not state:
        raise MalformedMessage("a status without version or state")
    return Status(**found, state=state, recovering=recovering)


class InterfaceAddress(NamedTuple):
    """An address of an interface; ``peer`` is the other end's, where there is one."""

    address: str
    """With its length, such as ``192.0.2.1/24``."""
    scope: str
    peer: str
    preferred: bool
    """Whether BIRD would choose it among those of its family."""


class Interface(NamedTuple):
    """An interface as BIRD sees it."""

    name: str
    up: bool
    ifindex: int
    master: str
    flags: tuple[str, ...]
    """In BIRD's words: MultiAccess, Broadcast, AdminUp, LinkUp, Loopback, ..."""
    mtu: int
    addresses: tuple[InterfaceAddress, ...]


_INTERFACE = re.compile(r"(\S+) (up|down) \(index=(\d+)(?: master=(\S+))?\)")
_ADDRESS = re.compile(r"\t(\S+) \((Preferred, |Tentative, )?(?:opposite (\S+), )?scope (\w+)\)")


def parse_interfaces(lines: list[Line]) -> list[Interface]:
    """Parse the answer to ``show interfaces``. Raises MalformedMessage."""
    interfaces: list[Interface] = []
    for code, text in lines:
        if code == 1001:
            match = _INTERFACE.fullmatch(text)
            if match is None:
                raise MalformedMessage(f"not an interface: {text!r}")
            interfaces.append(Interface(match[1], match[2] == "up", int(match[3]), match[4] or "", (), 0, ()))
        elif code in (1003, 1004):
            if not interfaces:
                raise MalformedMessage(f"of no interface: {text!r}")
            interfaces[-1] = _with_detail(interfaces[-1], code, text)
    return interfaces


def _with_detail(interface: Interface, code: int, text: str) -> Interface:
    if code == 1004:
        words, _, mtu = text.strip().rpartition(" MTU=")
        if not mtu.isdecimal():
            raise MalformedMessage(f"no MTU: {text!r}")
        return interface._replace(flags=tuple(words.split()), mtu=int(mtu))
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise MalformedMessage(f"not an address: {text!r}")
    address = InterfaceAddress(match[1], match[4], match[3] or "", (match[2] or "").startswith("Preferred"))
    return interface._replace(addresses=(*interface.addresses, address))


class BfdSession(NamedTuple):
    """A BFD session."""

    protocol: str
    address: str
    interface: str
    """Empty for a multihop session."""
    state: str
    """Up, Down, Init or AdminDown."""
    since: str
    interval_s: float
    timeout_s: float
    """0 until the neighbour has said how often it speaks."""


_BFD = re.compile(r"(\S+) +(\S+) +(\S+) +(\S.*?) +([\d.]+) +([\d.]+)")
_BFD_CODE = 1020


def parse_bfd_sessions(lines: list[Line]) -> list[BfdSession]:
    """Parse the answer to ``show bfd sessions``, of one protocol or of several. Raises MalformedMessage."""
    sessions: list[BfdSession] = []
    protocol = ""
    for code, text in lines:
        if code != _BFD_CODE or not text or text.startswith("IP address"):
            continue
        if text.endswith(": is not up"):
            continue
        if text.endswith(":") and " " not in text:
            protocol = text[:-1]
            continue
        match = _BFD.fullmatch(text)
        if match is None or not protocol:
            raise MalformedMessage(f"not a BFD session: {text!r}")
        address, interface, state, since, interval_s, timeout_s = match.groups()
        there = "" if interface == "---" else interface
        sessions.append(BfdSession(protocol, address, there, state, since, _seconds(interval_s), _seconds(timeout_s)))
    return sessions


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise MalformedMessage(f"not seconds: {text!r}") from None


class Configuring(IntEnum):
    """Where BIRD stands with its configuration: the codes that end a ``configure`` (doc/reply_codes)."""

    DONE = 3
    IN_PROGRESS = 4
    """A protocol must stop first; 3.x says so even when nothing is left to do. Ask ``configure_status``."""
    QUEUED = 5
    SHUTTING_DOWN = 6
    UNQUEUED = 17
    CONFIRMED = 18
    NOTHING_TO_DO = 19


class ConfigureStatus(NamedTuple):
    """``configure status``."""

    state: Configuring
    undo_in_s: float | None
    """Seconds until BIRD goes back to the configuration before, unless this one is confirmed."""


_READING = "Reading configuration from "
_UNDO_IN = re.compile(r"Configuration unconfirmed, undo in ([\d.]+) s")


def parse_configured(lines: list[Line]) -> Configuring:
    """Parse the answer to ``configure``, ``configure confirm`` or ``configure undo``. Raises MalformedMessage."""
    return _configuring(lines[-1])


def parse_configuration_file(lines: list[Line]) -> str:
    """Return the file that the answer to a ``configure`` says BIRD has read; empty where it says none."""
    return next((text.removeprefix(_READING) for _, text in lines if text.startswith(_READING)), "")


def parse_configure_status(lines: list[Line]) -> ConfigureStatus:
    """Parse the answer to ``configure status``. Raises MalformedMessage."""
    undo_in_s = None
    for _, text in lines:
        if match := _UNDO_IN.fullmatch(text):
            undo_in_s = _seconds(match[1])
    return ConfigureStatus(_configuring(lines[0]), undo_in_s)


def _configuring(line: Line) -> Configuring:
    code, text = line
    try:
        return Configuring(code)
    except ValueError:
        raise MalformedMessage(f"not the state of a configuration: {code} {text!r}") from None
