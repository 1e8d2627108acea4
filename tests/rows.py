"""Short ways to write routes down: what unit and property tests are made of."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

import numpy as np

from rtagent.vector.encaps import KernelEncap
from rtagent.vector.keys import TABLE_MAIN, Key, Keys
from rtagent.vector.nexthops import Kind, Nexthop, NexthopGroup, NexthopGroups
from rtagent.vector.routes import Op, RouteDelta, RouteVector


class Route(NamedTuple):
    """One operation on one entry, as a person would write it down."""

    prefix: str
    group: NexthopGroup
    op: Op = Op.SET
    metric: int = 0
    tos: int = 0
    table: int = TABLE_MAIN
    protocol: int = 4


def group(
    *ways: str, kind: Kind = Kind.UNICAST, nhid: int = 0, unsupported: str = "", encap: KernelEncap | None = None
) -> NexthopGroup:
    """Return the group of ways written as ``gateway@ifindex*weight`` (``@3``, ``10.0.0.2@2*3``, …); ``!`` is dead.

    All of them encapsulate alike.
    """
    return NexthopGroup(kind, tuple(way(text)._replace(encap=encap) for text in ways), nhid, unsupported)


def way(text: str) -> Nexthop:
    """Return the nexthop of ``gateway@ifindex*weight``, with ``!`` at its end where it is dead."""
    dead = text.endswith("!")
    via, _, rest = text.removesuffix("!").partition("@")
    ifindex, _, weight = rest.partition("*")
    packed = ipaddress.ip_address(via).packed if via else b""
    return Nexthop(packed, int(ifindex), int(weight or 1), flags=int(dead))


def delta(groups: NexthopGroups, *routes: Route) -> RouteDelta:
    """Return the delta of these operations, in their order."""
    return RouteDelta(
        RouteVector(
            Keys.of(Key.parse(route.prefix, route.table) for route in routes),
            np.array([route.metric for route in routes], np.uint32),
            np.array([route.tos for route in routes], np.uint8),
            np.array([route.protocol for route in routes], np.uint8),
            np.array([groups.intern(route.group) for route in routes], np.int32),
        ),
        np.array([route.op for route in routes], np.uint8),
    )
