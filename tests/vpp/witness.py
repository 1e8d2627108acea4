"""Does VPP forward as the kernel routes? Told without rtagent's code: ``ip -j route`` beside ``vppctl show ip fib``.

Both sides become the same plain value: prefix → (type, {(gateway, interface): share of the flows}).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.lab.lab import Namespace
from tests.lab.vpp import Vpp

_PREFIX = re.compile(r"^([0-9a-f.:]+/\d+)$")
_BUCKETS = re.compile(r"^ {4}\[(\d+)(?:-(\d+))?\] (.*)$")
_VIA = re.compile(r"via ([0-9a-f.:]+?) (host-\w+)")
_GLEAN = re.compile(r"ipv[46]-glean: .*? (host-\w+): ")
_RECEIVE = "dpo-receive"
_WORDS = (("send-unreachable", "unreachable"), ("send-prohibit", "prohibit"), (_RECEIVE, "local"), ("dpo-drop", "drop"))

TABLE_MAIN = 254

_TOLERANCE = 0.1
"""VPP spreads flows over a power of two of buckets, as few as keep the error within a tenth (vnet/dpo/load_balance.c,
multipath_next_hop_error_tolerance)."""


class Way(NamedTuple):
    """A next hop: a gateway ("" where attached) and an interface."""

    gateway: str
    interface: str


Fib = dict[str, tuple[str, dict[Way, float]]]


def kernel(namespace: Namespace, pairs: Mapping[str, str], table: int = TABLE_MAIN) -> Fib:
    """Return what the kernel would do: the first entry of each prefix of a table, interfaces by VPP's names."""
    found: Fib = {}
    for family in ("-4", "-6"):
        routes, objects = _routes_and_nexthops(namespace, family, table)
        for route in sorted(routes, key=lambda route: route.get("metric", 0)):
            prefix = _prefix(route["dst"], family)
            if prefix not in found and not _link_local(prefix) and not _interface_s_own(route):
                found[prefix] = _kernel_entry(route, pairs, objects)
    return found


def _routes_and_nexthops(
    namespace: Namespace, family: str, table: int
) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
    """Return routes and the objects that they name; a daemon may replace some between the two readings."""
    while True:
        routes, objects = namespace.ip_json(f"{family} route show table {table}"), nexthops(namespace)
        if all(route["nhid"] in objects for route in routes if "nhid" in route):
            return routes, objects


def nexthops(namespace: Namespace) -> dict[int, dict[str, Any]]:
    """Return the kernel's nexthop objects by their numbers, for ``ways``."""
    return {row["id"]: row for row in namespace.ip_json("nexthop show")}


def ways(route: dict[str, Any], objects: Mapping[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the living next hops of a route of ``ip -j route``; none where it is of another type than unicast.

    With net.ipv4.nexthop_compat_mode 0 the kernel shows the number of a nexthop object only.
    """
    if route.get("type", "unicast") != "unicast":
        return []
    hops = route.get("nexthops", [route])
    if hops == [route] and "dev" not in route:
        row = objects[route["nhid"]]
        hops = [objects[m["id"]] | {"weight": m.get("weight", 1)} for m in row.get("group", [])] or [row]
    return [hop for hop in hops if not {"dead", "linkdown"} & set(hop.get("flags", []))]


def vpp(router: Vpp, mine: Mapping[str, Any], table: int = TABLE_MAIN) -> Fib:
    """Return what VPP does for the prefixes that are asked about, and for any other that leaves by a next hop."""
    found: Fib = {}
    vrf = 0 if table == TABLE_MAIN else table
    for family in ("ip", "ip6"):
        prefix = ""
        for line in router.ctl(f"show {family} fib table {vrf}", timeout_s=600).splitlines():
            if match := _PREFIX.match(line):
                prefix = match[1]
            elif line.startswith("ipv") and "table" not in line:
                if not line.split(",")[0].endswith(f"VRF:{vrf}"):
                    break
            elif (match := _BUCKETS.match(line)) and prefix:
                first, last = int(match[1]), int(match[2] or match[1])
                _add(found, prefix, match[3], last - first + 1)
            elif (match := _VIA.search(line)) and prefix in found:  # below a stack of labels
                found[prefix][1][Way(match[1], match[2])] = 1.0
    return {
        prefix: (kind, _shares(ways))
        for prefix, (kind, ways) in found.items()
        if prefix in mine or any(way.gateway for way in ways)
    }


def differences(expected: Fib, held: Fib) -> list[str]:
    """Return a line for each prefix that the two do not hold alike."""
    return [
        f"{prefix}: kernel {expected.get(prefix)}, VPP {held.get(prefix)}"
        for prefix in sorted(expected.keys() | held.keys())
        if not _alike(expected.get(prefix), held.get(prefix))
    ]


def _kernel_entry(
    route: dict[str, Any], pairs: Mapping[str, str], objects: Mapping[int, dict[str, Any]]
) -> tuple[str, dict[Way, float]]:
    kind = route.get("type", "unicast")
    if kind != "unicast":
        return ("drop" if kind == "blackhole" else kind), {}
    held: dict[Way, float] = {}
    for hop in ways(route, objects):
        if hop["dev"] in pairs:
            gateway = hop.get("gateway") or hop.get("via", {}).get("host", "")
            way = Way(gateway, pairs[hop["dev"]])
            held[way] = held.get(way, 0) + hop.get("weight", 1)
    return "unicast", _shares(held)


def _add(found: Fib, prefix: str, text: str, buckets: int) -> None:
    kind = next((kind for word, kind in _WORDS if word in text), "unicast")
    _, ways = found.setdefault(prefix, (kind, {}))
    if match := _VIA.search(text):
        attached = match[1] == prefix.partition("/")[0]  # a single address without a gateway: VPP shows it as its own
        way = Way("" if attached else match[1], match[2])
    elif match := _GLEAN.search(text):
        way = Way("", match[1])
    else:
        return
    ways[way] = ways.get(way, 0) + buckets


def _shares(ways: Mapping[Way, float]) -> dict[Way, float]:
    total = sum(ways.values())
    return {way: weight / total for way, weight in ways.items()}


def _alike(left: tuple[str, dict[Way, float]] | None, right: tuple[str, dict[Way, float]] | None) -> bool:
    if left is None or right is None:
        return left == right
    return (
        left[0] == right[0]
        and left[1].keys() == right[1].keys()
        and all(abs(share - right[1][way]) <= _TOLERANCE for way, share in left[1].items())
    )


def _prefix(text: str, family: str) -> str:
    if text == "default":
        return "0.0.0.0/0" if family == "-4" else "::/0"
    return str(ipaddress.ip_network(text))


def _interface_s_own(route: dict[str, Any]) -> bool:
    """Whether the kernel made this route of an address; outside a VRF such routes stand in the local table."""
    return (
        route.get("type", "unicast") in ("local", "broadcast", "anycast", "multicast") and route["protocol"] == "kernel"
    )


def _link_local(prefix: str) -> bool:
    network = ipaddress.ip_network(prefix)
    return network.version == 6 and (network.is_link_local or network.is_multicast)
