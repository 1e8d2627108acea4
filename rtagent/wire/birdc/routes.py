"""``show route`` as values, of which there may be millions: taken line by line, given out as they are complete.

A route is a line with prefix, kind, protocol and rank, followed by its next hops and, where asked for, its attributes
(nest/rt-show.c, nest/rt-attr.c of BIRD). A further route to the same prefix leaves the prefix out. Attributes are
named as filters name them, and as 3.x prints them: ``bgp_path`` is 2.x's ``BGP.as_path``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from rtagent.wire.birdc.session import LINE_OVERFLOW, Line
from rtagent.wire.errors import MalformedMessage


class NextHop(NamedTuple):
    """A next hop. ``gateway`` is empty for a link that is reached directly."""

    gateway: str
    interface: str
    """Empty where BIRD names none (a next hop that is yet to be resolved)."""
    weight: int = 1
    labels: tuple[int, ...] = ()
    onlink: bool = False


class Route(NamedTuple):
    """A route of a table of BIRD's."""

    table: str
    prefix: str
    """As BIRD writes it; also VPN, SADR and flow specifications."""
    kind: str
    """unicast, blackhole, unreachable, prohibited, recursive, none."""
    protocol: str
    since: str
    learned_from: str
    """The neighbour that told of it, where that is not its next hop; empty otherwise."""
    best: bool
    """Whether it is the first among those to its prefix."""
    unsynced: bool
    """Whether it is the best, and yet the kernel did not take it."""
    info: str
    """What follows: preference and metrics in parentheses, and a word of the protocol's."""
    next_hops: tuple[NextHop, ...]
    source: str
    """static, BGP, device, ...; empty unless attributes were asked for."""
    attributes: Mapping[str, str]
    """By their names in filters; those of 2.x that have no such name keep theirs."""

    @property
    def preference(self) -> int:
        """Its preference, by which BIRD compares routes of several protocols; 0 where it is not told."""
        match = _PREFERENCE.search(self.info)
        return int(match[1]) if match else 0


_HEAD = re.compile(r"(.*?) +(\w*) \[(\S+) ([^]]*?)(?: from ([^] ]+))?\](?: ([*!]))?(?: (.*))?")
_PREFERENCE = re.compile(r"\((\d+)")
_NEXT_HOP = re.compile(r"\t(?:via (\S+)(?: on (\S+))?|dev (\S+))(?: mpls ([\d/]+))?( onlink)?(?: weight (\d+))?")
_ROUTE, _KIND, _ATTRIBUTE = 1007, 1008, 1012
_NO_ATTRIBUTES: Mapping[str, str] = {}
_FAMILIES = {"BGP": "bgp", "Kernel": "krt", "OSPF": "ospf", "RIP": "rip", "Babel": "babel", "RAdv": "ra"}
_RENAMED = {"BGP.as_path": "bgp_path"}
_KNOWN_HOPS = 4096


class RouteParser:
    """Takes the lines of an answer in runs of any size."""

    def __init__(self) -> None:
        self._table = ""
        self._prefix = ""
        self._head: re.Match[str] | None = None
        self._next_hops: list[NextHop] = []
        self._source = ""
        self._attributes: dict[str, str] = {}
        self._last_attribute = ""
        self._lost = False
        """Whether a line was too long for BIRD, and nothing more is known of the route that it belonged to."""
        self._known_hops: dict[str, NextHop] = {}
        """Next hops are few and routes many: each is parsed once, and shared."""

    def take(self, lines: list[Line]) -> list[Route]:
        """Take lines; return the routes that are complete. Raises MalformedMessage."""
        routes: list[Route] = []
        for code, text in lines:
            if code == _ROUTE:
                if text[:1] == "\t":
                    if self._head is None:
                        self._stray(text)
                        continue
                    self._next_hops.append(self._known_hops.get(text) or self._next_hop(text))
                    continue
                if self._head is not None:
                    routes.append(self._complete())
                if text[:6] == "Table " and text[-1:] == ":":
                    self._table = text[6:-1]
                elif text:
                    self._begin(text)
            elif code in (_KIND, _ATTRIBUTE):
                self._detail(text)
            elif code == LINE_OVERFLOW:
                if self._head is not None:
                    routes.append(self._complete())
                self._lost = True
            elif text:
                raise MalformedMessage(f"not of a list of routes: {code} {text!r}")
        return routes

    def end(self) -> list[Route]:
        """Return the last route, if there is one."""
        return [self._complete()] if self._head is not None else []

    def _begin(self, text: str) -> None:
        head = _HEAD.fullmatch(text)
        if head is None:
            raise MalformedMessage(f"not a route: {text!r}")
        self._lost = False
        self._prefix = head[1] or self._prefix
        if not self._prefix:
            raise MalformedMessage(f"a route to nowhere: {text!r}")
        self._head = head

    def _stray(self, text: str) -> None:
        """Pass over what follows a line that BIRD had no room for; it may belong to a route that we were not told."""
        if not self._lost:
            raise MalformedMessage(f"of no route: {text!r}")

    def _complete(self) -> Route:
        assert self._head is not None
        _, kind, protocol, since, learned_from, mark, info = self._head.groups("")
        route = Route(
            self._table,
            self._prefix,
            kind,
            protocol,
            since,
            learned_from,
            mark != "",
            mark == "!",
            info,
            tuple(self._next_hops),
            self._source,
            self._attributes or _NO_ATTRIBUTES,
        )
        self._head = None
        self._next_hops = []
        self._source = self._last_attribute = ""
        self._attributes = {}
        return route

    def _next_hop(self, text: str) -> NextHop:
        match = _NEXT_HOP.fullmatch(text)
        if match is None:
            raise MalformedMessage(f"not a next hop: {text!r}")
        gateway, on, dev, labels, onlink, weight = match.groups("")
        stack = tuple(map(int, filter(None, labels.split("/"))))
        hop = NextHop(gateway, on or dev, int(weight or 1), stack, bool(onlink))
        if len(self._known_hops) < _KNOWN_HOPS:
            self._known_hops[text] = hop
        return hop

    def _detail(self, text: str) -> None:
        """Take a line such as ``Type: BGP univ`` (2.x) or ``bgp_path: 65001``; two tabs continue the one before."""
        if self._head is None:
            self._stray(text)
            return
        if text[:2] == "\t\t":
            if self._last_attribute:
                self._attributes[self._last_attribute] += f" {text.strip()}"
            return
        name, colon, value = text.strip().partition(":")
        value = value.strip()
        if not colon or name == "Internal route handling values":
            return
        if name == "Type":  # "BGP univ": the source, and a scope
            self._source = value.rpartition(" ")[0]
        elif name == "source":
            self._source = value
        else:
            self._last_attribute = _filter_name(name)
            self._attributes[self._last_attribute] = value


def _filter_name(name: str) -> str:
    """Return a 2.x attribute's name as filters, and 3.x, have it."""
    family, dot, rest = name.partition(".")
    if not dot or family not in _FAMILIES:
        return name
    return _RENAMED.get(name) or f"{_FAMILIES[family]}_{rest}"
