"""Members for tests: a mesh of any size, every value a function of the member's number."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from rtagent.agent import templates
from rtagent.core.mesh.options import Options, Version
from rtagent.core.mesh.sessions import Topology
from rtagent.core.mesh.template import Templates
from rtagent.core.mesh.text import Configuration, configuration
from rtagent.vector.members import Member, Members, Role

SECRET = b"known to every member"
OLD: Version = (2, 0, 12)
NEW: Version = (2, 17, 6)
TEMPLATES = Templates(templates.shipped())


def member(number: int, role: Role = Role.NODE) -> Member:
    """Member 3 is node-3, 10.0.0.3, fd00::3, and has the pods 10.128.3.0/24 and fd01:0:0:3::/64."""
    address = IPv4Address("10.0.0.0") + number
    pods4 = IPv4Network((int(IPv4Address("10.128.0.0")) + (number << 8), 24))
    pods6 = IPv6Network((int(IPv6Address("fd01::")) + (number << 64), 64))
    pods = (pods4, pods6) if role is Role.NODE else ()
    return Member(f"{role.value}-{number}", role, 64512, address, address, IPv6Address("fd00::") + number, pods)


def mesh(nodes: int, balancers: int = 1, reflectors: int = 0) -> Members:
    """Balancers, then reflectors, then nodes, numbered from 1; sorted by id."""
    roles = [Role.LB] * balancers + [Role.REFLECTOR] * reflectors + [Role.NODE] * nodes
    return members_of(member(number, role) for number, role in enumerate(roles, 1))


def members_of(members: Iterable[Member]) -> Members:
    """Return them as members come: sorted by id."""
    return tuple(sorted(members, key=lambda one: one.id))


def named(members: Members, name: str) -> Member:
    """Return the member of that id."""
    return next(one for one in members if one.id == name)


def configured(
    members: Members,
    name: str,
    options: Options | None = None,
    *,
    version: Version = OLD,
    topology: Topology = Topology.MESH,
    templates: Templates = TEMPLATES,
    secret: bytes = SECRET,
) -> Configuration:
    """Return the configuration of the member of that id."""
    return configuration(members, named(members, name), options or Options(), templates, version, topology, secret)
