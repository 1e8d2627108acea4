"""Pairs: which kernel interface stands for which interface of the data plane.

On VPP a pair is what the configuration says, and a VLAN upon one is a pair by itself; on the memory FIB, which has no
interfaces of its own, every link but the loopback is its own pair unless the configuration names pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from rtagent.core.vlans import sub_id, tag_stack
from rtagent.vector.links import IFF_LOOPBACK, Link
from rtagent.vector.ports import Port

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
) -> Joined:  # fmt: skip
    """Join links and interfaces by name, and (``vlans``) VLANs upon them by their tags.

    A link keeps its pair when it is renamed: ``found_before`` are the links of an earlier call.
    """
    by_name = {link.name: link for link in links.values()}
    found: dict[str, int] = {}
    interfaces: dict[int, int] = {}
    owned: dict[int, Port] = {}
    rows: list[Pair] = []
    for host, vpp in configured.items():
        link, port = by_name.get(host), ports.get(vpp)
        if link is None:
            link = links.get(found_before.get(host, 0))
            if link is not None and link.name in configured:
                link = None
        if link is not None:
            found[host] = link.ifindex
        if port is not None:
            owned[port.interface] = port
        if link is None:
            rows.append(Pair(host, vpp, f"no link {host} in the kernel"))
        elif port is None:
            rows.append(Pair(host, vpp, f"no interface {vpp} in the data plane"))
        else:
            interfaces[link.ifindex] = port.interface
            rows.append(Pair(host, vpp, _state(host, link, port)))
    if vlans:
        _join_vlans(links, ports, interfaces, owned, rows)
    return Joined(interfaces, found, owned, rows)


def _state(host: str, link: Link, port: Port) -> str:
    if link.name != host:
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
