"""Pairs: which kernel interface stands for which interface of the data plane.

On VPP a pair is what the configuration says, and a VLAN upon one is a pair by itself; on the memory FIB, which has no
interfaces of its own, every link but the loopback is its own pair unless the configuration names pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import NamedTuple

from rtagent.core.taps import tap_altname
from rtagent.core.vlans import sub_id, tag_stack
from rtagent.vector.links import IFF_LOOPBACK, Link
from rtagent.vector.ports import HostLink, Port

UP, DOWN = "up", "down"
"""The states of a pair with which nothing is wrong."""


class Pair(NamedTuple):
    """A configured pair, or a VLAN upon one, and how it stands."""

    host: str
    vpp: str
    state: str
    """UP, DOWN (as the kernel wants it), or what is missing."""


class Joined(NamedTuple):
    """The pairs as they stand."""

    interfaces: Mapping[int, int]
    """Kernel ifindex → data plane interface of every pair that stands, VLANs included."""
    links: Mapping[str, int]
    """Configured host name → ifindex of the link that was found for it."""
    ports: Mapping[int, Port]
    """The data plane's interfaces that follow a link, or are to: those of configured pairs, and of their VLANs."""
    rows: list[Pair]


def memory_ports(links: Iterable[Link], configured: Mapping[str, str]) -> dict[str, Port]:
    """Return the ports of the memory FIB: each paired link under its data plane name, numbered by its ifindex."""
    return {
        configured.get(link.name, link.name): Port(configured.get(link.name, link.name), link.ifindex, up=link.up)
        for link in links
        if not link.flags & IFF_LOOPBACK and (not configured or link.name in configured)
    }


def join(
    links: Mapping[int, Link], ports: Mapping[str, Port], configured: Mapping[str, str],
    found_before: Mapping[str, int] = MappingProxyType({}), *, vlans: bool = False,
    tapped: AbstractSet[str] = frozenset(), netns: str | None = None,
    refused: Mapping[str, str] = MappingProxyType({}),
) -> Joined:  # fmt: skip
    """Join links and interfaces by name, and (``vlans``) VLANs upon them by their tags.

    Before the name counts what says more: a pair that the data plane has (in ``netns``, its own where that is None),
    configured or not, and the mark of a link that was made for an interface. An interface of ``tapped`` is left as it
    is until its link is made; ``refused`` says why one is not, by the link's name. A link keeps its pair when it is
    renamed: ``found_before`` are the links of an earlier call.
    """
    joint = _Joint(links, ports, configured, found_before, netns)
    found: dict[str, int] = {}
    for host, vpp in configured.items():
        link, is_bound = joint.link_of(host, vpp, tapped)
        if link is not None and not is_bound:
            found[host] = link.ifindex
        waits = vpp in tapped
        joint.add(host, vpp, link, is_bound=is_bound, waits=waits, refused=refused.get(host, "") if waits else "")
    for name, ifindex in joint.bound.items():
        if name not in joint.joined and not ports[name].tags:
            joint.add(links[ifindex].name, name, links[ifindex], is_bound=True)
    if vlans:
        _join_vlans(links, ports, joint.interfaces, joint.owned, joint.rows)
    return Joined(joint.interfaces, found, joint.owned, joint.rows)


class _Joint:
    """What ``join`` puts together."""

    def __init__(
        self, links: Mapping[int, Link], ports: Mapping[str, Port], configured: Mapping[str, str],
        found_before: Mapping[str, int], netns: str | None,
    ) -> None:  # fmt: skip
        self.interfaces: dict[int, int] = {}
        self.owned: dict[int, Port] = {}
        self.rows: list[Pair] = []
        self.joined: set[str] = set()
        self.bound = {
            port.name: port.link.ifindex
            for port in ports.values()
            if port.link is not None and _is_bound(port.link, links, netns)
        }
        """Interface's name → ifindex, of the pairs that the data plane has."""
        self._links = links
        self._ports = ports
        self._configured = configured
        self._found_before = found_before
        self._by_name = {link.name: link for link in links.values()}
        self._by_altname = {altname: link for link in links.values() for altname in link.altnames}

    def link_of(self, host: str, vpp: str, tapped: AbstractSet[str]) -> tuple[Link | None, bool]:
        """Return the link of an interface, and whether more than its name says so."""
        if vpp in self.bound:
            return self._links[self.bound[vpp]], True
        marked = self._by_altname.get(tap_altname(vpp)) if vpp in tapped else None
        if marked is not None:
            return marked, True
        link = self._by_name.get(host) or self._links.get(self._found_before.get(host, 0))
        if link is None or (link.name != host and link.name in self._configured):
            return None, False
        return (None, False) if link.ifindex in self.bound.values() else (link, False)

    def add(
        self, host: str, vpp: str, link: Link | None, *, is_bound: bool, waits: bool = False, refused: str = ""
    ) -> None:  # fmt: skip
        """Join a link and an interface, where both are there."""
        port = self._ports.get(vpp)
        self.joined.add(vpp)
        if port is not None and (link is not None or not waits):
            self.owned[port.interface] = port
        if link is None and refused:
            self.rows.append(Pair(host, vpp, f"link {host} cannot be made: {refused}"))
        elif link is None:
            self.rows.append(Pair(host, vpp, f"no link {host} in the kernel"))
        elif port is None:
            self.rows.append(Pair(host, vpp, f"no interface {vpp} in the data plane"))
        else:
            self.interfaces[link.ifindex] = port.interface
            self.rows.append(Pair(link.name if is_bound else host, vpp, _state(None if is_bound else host, link, port)))


def _is_bound(host: HostLink, links: Mapping[int, Link], netns: str | None) -> bool:
    """Whether the kernel's side of a pair is a link that we see."""
    link = links.get(host.ifindex)
    if link is None or _netns_name(host.netns) != _netns_name(netns or ""):
        return False
    return link.tun is not None or link.kind == "vlan"


def _netns_name(netns: str) -> str:
    """Return the name of a network namespace that may be given as its file."""
    return netns.removeprefix("/var").removeprefix("/run/netns/")


def _state(host: str | None, link: Link, port: Port) -> str:
    if host is not None and link.name != host:
        return f"{host} is called {link.name} now: write that name into its [[pairs]] before the next start"
    if not port.up:
        return f"{port.name} is down" if link.up else DOWN
    return UP


def _join_vlans(
    links: Mapping[int, Link], ports: Mapping[str, Port], interfaces: dict[int, int], owned: dict[int, Port],
    rows: list[Pair],
) -> None:  # fmt: skip
    """Join every VLAN upon a paired link that has no pair of its own."""
    by_tags = {(port.parent, port.tags): port for port in ports.values() if port.tags}
    names = {port.interface: port.name for port in ports.values()}
    for link in sorted(links.values()):
        stack = tag_stack(link, links)
        if stack is None or link.ifindex in interfaces or stack.root not in interfaces:
            continue
        parent = interfaces[stack.root]
        port = by_tags.get((parent, stack.tags))
        if port is not None:
            interfaces[link.ifindex] = port.interface
            owned[port.interface] = port
            rows.append(Pair(link.name, port.name, _state(link.name, link, port)))
        else:
            name = f"{names[parent]}.{sub_id(stack.tags)}"
            rows.append(Pair(link.name, name, stack.unsupported or f"no interface {name} in the data plane"))
