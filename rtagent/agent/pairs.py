"""Pairs: which kernel interface stands for which interface of the data plane.

On VPP a pair is what the configuration says; on the memory FIB, which has no interfaces of its own, every link but
the loopback is its own pair unless the configuration names pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rtagent.vector.fib import Port
from rtagent.vector.links import IFF_LOOPBACK, Link


class Pair(NamedTuple):
    """A configured pair and how it stands."""

    host: str
    vpp: str
    state: str
    """"up", or what is missing."""


def memory_ports(links: Iterable[Link], configured: Mapping[str, str]) -> dict[str, Port]:
    """Return the ports of the memory FIB: each paired link under its data plane name, numbered by its ifindex."""
    return {
        configured.get(link.name, link.name): Port(configured.get(link.name, link.name), link.ifindex, up=link.up)
        for link in links
        if not link.flags & IFF_LOOPBACK and (not configured or link.name in configured)
    }


def join(
    links: Iterable[Link], ports: Mapping[str, Port], configured: Mapping[str, str]
) -> tuple[dict[int, int], list[Pair]]:
    """Return ifindex → data plane interface of every pair that stands, and a row for each pair."""
    by_name = {link.name: link for link in links}
    joined: dict[int, int] = {}
    rows: list[Pair] = []
    for host, vpp in configured.items():
        link, port = by_name.get(host), ports.get(vpp)
        if link is None:
            rows.append(Pair(host, vpp, f"no link {host} in the kernel"))
        elif port is None:
            rows.append(Pair(host, vpp, f"no interface {vpp} in the data plane"))
        else:
            joined[link.ifindex] = port.interface
            rows.append(Pair(host, vpp, "up" if port.up else f"{vpp} is down"))
    return joined, rows
