"""Members of the mesh: who speaks iBGP with whom, as values.

A source reports members, the merge decides which of them count, the configuration is a function of the result. So two
machines with the same members write the same text: ``Members`` is sorted by id, and every field has one spelling.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple, TypeAlias

Prefix: TypeAlias = IPv4Network | IPv6Network


class Role(StrEnum):
    """What a member does in the mesh."""

    LB = "lb"
    """A load balancer: sees every pod prefix, announces none."""
    NODE = "node"
    """A Kubernetes node: announces its own pod prefixes and nothing else."""
    ROUTER = "router"
    """A router that speaks in the mesh like a load balancer."""
    REFLECTOR = "reflector"
    """A route reflector (RFC 4456), from a configurable size of the mesh on."""


class Member(NamedTuple):
    """One member. ``id`` never changes while the member lives: the names of its sessions are made from it."""

    id: str
    role: Role
    asn: int
    router_id: IPv4Address
    address4: IPv4Address | None = None
    """Where its BGP listens; at least one of the two addresses is set."""
    address6: IPv6Address | None = None
    pods: tuple[Prefix, ...] = ()
    """The pod prefixes it owns, IPv4 before IPv6, each family in order, none within another."""
    labels: tuple[tuple[str, str], ...] = ()
    """(name, value), sorted by name."""


Members: TypeAlias = tuple[Member, ...]
"""Sorted by id, ids unique."""


def prefix_order(prefix: Prefix) -> tuple[int, int, int]:
    """Return the sort key of prefixes: IPv4 before IPv6, then by address, the shorter first."""
    return prefix.version, int(prefix.network_address), prefix.prefixlen


def lies_within(prefix: Prefix, other: Prefix) -> bool:
    """Whether ``prefix`` is ``other`` or a part of it."""
    return prefix.version == other.version and prefix.subnet_of(other)  # type: ignore[arg-type]


def canonical(member: Member) -> Member:
    """Return the member with its prefixes and labels in the one order that counts."""
    return member._replace(pods=tuple(sorted(set(member.pods), key=prefix_order)), labels=tuple(sorted(member.labels)))
