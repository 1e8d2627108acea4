"""Which links the kernel is to have for the data plane's interfaces: a pure function of both sides and of the rules.

A tap is made for each interface that the rules choose, a tun where an interface carries packets without frames; a VLAN
link for each sub-interface of a paired one that is not itself there for a VLAN link. Links are found again by what they
are called, so nothing has to be remembered:

* a tap of ours has ``rtagent.INTERFACE`` as another name (``ip link property``): it keeps its interface when it is
  renamed, over every restart, and is known as ours;
* a VLAN link has ``rtv.IFINDEX``: whoever pairs it calls it by a name that means no other link, ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

from rtagent.core.vlans import tag_stack
from rtagent.vector.interfaces import OURS
from rtagent.vector.links import Link, VlanTag
from rtagent.vector.ports import NO_INTERFACE, Port, PortKind

LONGEST_NAME = 15
"""linux/if.h: IFNAMSIZ with its final zero."""
_DIGEST_DIGITS = 6
_OUR_TAP = "rtagent."
_OTHER_THAN_NAMES = re.compile(r"[^A-Za-z0-9_.-]")
_WORDS = re.compile(r"^(?:[A-Z][a-z]*){2,}(?=\d)")


@dataclass(frozen=True, slots=True)
class TapRules:
    """Which interfaces get a link in the kernel, and what it is called."""

    interfaces: tuple[str, ...] = ()
    """Names or globs; an interface is chosen by any of them, or by its kind."""
    kinds: tuple[PortKind, ...] = ()
    excepted: tuple[str, ...] = ()
    """Names or globs of those that are not, whatever chose them."""
    name: str = "{name}"
    """What links are called; ``{name}`` is the interface's name, as far as the kernel takes it."""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> TapRules:
        """Return the rules of which ``dataclasses.asdict`` told."""
        kinds = tuple(PortKind(kind) for kind in told["kinds"])
        return cls(tuple(told["interfaces"]), kinds, tuple(told["excepted"]), told["name"])

    def choose(self, port: Port) -> bool:
        """Whether this interface gets a link. Sub-interfaces follow the interface that they are of."""
        if port.kind in (PortKind.INTERNAL, PortKind.SUB) or _matches(port.name, self.excepted):
            return False
        return port.kind in self.kinds or _matches(port.name, self.interfaces)


NO_TAPS = TapRules()


class Choice(NamedTuple):
    """What the rules come to with the interfaces that there are."""

    hosts: dict[str, str]
    """Link's name → interface's name, those of the configuration first."""
    tapped: frozenset[str]
    """The interfaces for which a link is made where there is none."""
    troubles: dict[str, str]
    """Why an interface that is chosen gets none."""


class MakeTap(NamedTuple):
    """A tap or tun, with what its interface has: from then on the interface follows the link."""

    name: str
    altname: str
    is_tap: bool
    mac: bytes
    mtu: int
    up: bool


class MakeVlan(NamedTuple):
    """A VLAN link."""

    name: str
    parent: int
    """The ifindex of the link below."""
    tag: VlanTag
    up: bool


class AddName(NamedTuple):
    """Another name for a link."""

    ifindex: int
    altname: str


Making: TypeAlias = MakeTap | MakeVlan | AddName


def tap_altname(interface: str) -> str:
    """Return the other name of the link that we make for an interface."""
    return f"{_OUR_TAP}{_OTHER_THAN_NAMES.sub('-', interface)}"


def is_our_tap(link: Link) -> bool:
    """Whether we made this tap or tun, for an interface that may be there no more."""
    return link.tun is not None and any(name.startswith(_OUR_TAP) for name in link.altnames)


def vlan_altname(ifindex: int) -> str:
    """Return the other name of a VLAN link by which it is paired: no longer than a name may be."""
    return f"rtv.{ifindex}"


def host_name(interface: str, template: str) -> str:
    """Return the name of an interface's link, 15 characters at most; the same for ever.

    ``TenGigabitEthernet3/0/0`` is ``tge3-0-0``: characters that a link's name may not have become hyphens, and where
    that is too long, the words of the name their initials. What is still too long ends in a digest of it.
    """
    for short in (interface, _WORDS.sub(_initials, interface)):
        name = _OTHER_THAN_NAMES.sub("-", template.replace("{name}", short))
        if len(name) <= LONGEST_NAME:
            return name
    return _cut(name)


def choose(ports: Iterable[Port], rules: TapRules, configured: Mapping[str, str]) -> Choice:
    """Choose interfaces, and name their links. ``configured`` names come first (link's name → interface's name)."""
    hosts, tapped, troubles = dict(configured), set(), {}
    named = {interface: host for host, interface in configured.items()}
    for port in sorted(ports, key=lambda port: port.name):
        if not rules.choose(port):
            continue
        host = named.get(port.name) or host_name(port.name, rules.name)
        other = hosts.setdefault(host, port.name)
        if other == port.name:
            tapped.add(port.name)
        else:
            troubles[port.name] = f"its link would be called {host}, as that of {other}: name one of them in [[pairs]]"
    return Choice(hosts, frozenset(tapped), troubles)


def missing(
    links: Mapping[int, Link], ports: Mapping[str, Port], choice: Choice, pairs: Mapping[int, int], *, vlans: bool
) -> list[Making]:
    """Return what the kernel lacks. ``pairs`` are the interfaces that have a link, by its ifindex."""
    taken = {name for link in links.values() for name in (link.name, *link.altnames)}
    paired = set(pairs.values())
    makings: list[Making] = [
        MakeTap(host, tap_altname(interface), _has_frames(port), port.mac, port.mtu, port.up)
        for host, interface in choice.hosts.items()
        if interface in choice.tapped and (port := ports[interface]).interface not in paired
        if host not in taken and tap_altname(interface) not in taken
    ]
    if vlans:
        makings += _vlans(links, ports, choice, pairs)
    return makings


def pairs_links(port: Port, tapped: AbstractSet[str]) -> bool:
    """Whether an interface is paired in the data plane, or is to be: VLAN links upon its link are, too."""
    return port.link is not None or port.name in tapped


def _vlans(
    links: Mapping[int, Link], ports: Mapping[str, Port], choice: Choice, pairs: Mapping[int, int]
) -> Iterator[Making]:
    by_number = {port.interface: port for port in ports.values()}
    roots = {
        interface: ifindex
        for ifindex, interface in pairs.items()
        if interface in by_number and pairs_links(by_number[interface], choice.tapped)
    }
    found: dict[tuple[int, tuple[VlanTag, ...]], Link] = {}
    for link in links.values():
        stack = tag_stack(link, links)
        if stack is not None and pairs.get(stack.root, NO_INTERFACE) in roots:
            found[stack.root, stack.tags] = link
            altname = vlan_altname(link.ifindex)
            if link.ifindex in pairs and by_number[pairs[link.ifindex]].link is None and altname not in link.altnames:
                yield AddName(link.ifindex, altname)
    making: set[tuple[int, tuple[VlanTag, ...]]] = set()
    for port in sorted(ports.values()):
        root = links.get(roots.get(port.parent, 0))
        if root is None or not port.tags or port.owner == OURS:
            continue
        for depth in range(1, len(port.tags) + 1):
            at = root.ifindex, port.tags[:depth]
            if at in found:
                continue
            if at not in making:
                making.add(at)
                below = root if depth == 1 else found[root.ifindex, port.tags[: depth - 1]]
                whole = depth == len(port.tags)
                suffix = port.name.rpartition(".")[2] if whole else str(port.tags[0].vlan)
                name = _cut(f"{root.name}.{suffix}")
                yield MakeVlan(name, below.ifindex, port.tags[depth - 1], port.up or not whole)
            break  # what stands upon it follows when it is there


def _has_frames(port: Port) -> bool:
    return bool(port.mac)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _initials(words: re.Match[str]) -> str:
    return "".join(letter for letter in words[0] if letter.isupper()).lower()


def _cut(name: str) -> str:
    if len(name) <= LONGEST_NAME:
        return name
    digest = blake2b(name.encode(), digest_size=8).hexdigest()[:_DIGEST_DIGITS]
    return f"{name[: LONGEST_NAME - 1 - _DIGEST_DIGITS]}-{digest}"
