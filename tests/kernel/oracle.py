"""What a router without rtagent says: the FIB as ``ip -j`` shows it, read without any of rtagent's code.

The rules of the kernel that ``ip`` does not spell out: entries of a prefix are shown in the order in which they are
tried; a dead next hop is passed over, one without carrier only where ignore_routes_with_linkdown says so. The local
table comes before main prefix by prefix in IPv4 (both are one trie), as a whole in IPv6.
"""

from __future__ import annotations

import ipaddress
from math import gcd
from typing import Any

from tests.kernel.mirror import Fib, Forwarding, Mirror, Path
from tests.lab.lab import CommandFailed, Namespace

IPNetwork = Any  # ipaddress has no public type for "a network of either family"
TABLES = {"main": 254, "local": 255, "default": 253}
SHOWN = {"unicast", "local", "blackhole", "unreachable", "prohibit"}
FIRST = {"inet": "-4", "inet6": "-6"}
SAMPLES = 8
ELSEWHERE = {4: "100.64.0.1", 6: "3fff::1"}


def kernel_fib(namespace: Namespace) -> Fib:
    """Return what the kernel would forward by, table by table."""
    ignoring = {family: _ignoring_linkdown(namespace, family) for family in FIRST}
    nexthops = {row["id"]: row for row in namespace.ip_json("-d nexthop show")}
    fib: Fib = {}
    local: set[str] = set()
    for family, option in FIRST.items():
        for route in namespace.ip_json(f"{option} -d route show table all"):
            table = TABLES.get(str(route.get("table", "main"))) or int(route["table"])
            prefix = _prefix(route["dst"], family)
            if table == TABLES["local"]:
                table = TABLES["main"]
                local.add(prefix)
                if route["type"] != "local" or route["protocol"] == "kernel":
                    fib.pop((table, prefix), None)
                    continue
            elif (table, prefix) in fib or (table == TABLES["main"] and prefix in local):
                continue
            network = ipaddress.ip_network(prefix)
            if family == "inet6" and (network.subnet_of(_LINK_LOCAL) or network.subnet_of(_MULTICAST)):
                continue
            forwarding = _forwarding(route, nexthops, ignoring[family])
            if forwarding is not None and "from" not in route and not int(str(route.get("tos", "0")), 0):
                fib[table, prefix] = forwarding
    covers = [ipaddress.ip_network(prefix) for prefix in local if ":" in prefix]
    return {
        (table, prefix): forwarding
        for (table, prefix), forwarding in fib.items()
        if forwarding.type in SHOWN
        and not (table == TABLES["main"] and prefix not in local and _within(prefix, covers))
    }


def _within(prefix: str, covers: list[IPNetwork]) -> bool:
    network = ipaddress.ip_network(prefix)
    return any(cover.version == network.version and network.subnet_of(cover) for cover in covers)


def kernel_way(namespace: Namespace, address: str) -> tuple[str, str] | str:
    """Return (gateway, device) that the kernel picks for an address, or the word for why it picks none."""
    try:
        route = namespace.ip_json(f"route get {address}")[0]
    except CommandFailed as refused:
        text = str(refused)
        words = {"Invalid argument": "blackhole", "No route to host": "unreachable", "Permission denied": "prohibit",
                 "Network is unreachable": "unreachable"}  # fmt: skip
        return next(word for said, word in words.items() if said in text)
    if route.get("type", "unicast") in ("blackhole", "unreachable", "prohibit"):
        return str(route["type"])
    if route.get("type") == "local":
        return "local"
    return route.get("gateway") or route.get("via", {}).get("host", ""), route["dev"]


_LINK_LOCAL = ipaddress.ip_network("fe80::/10")
_MULTICAST = ipaddress.ip_network("ff00::/8")


def _prefix(text: str, family: str) -> str:
    if text == "default":
        return "0.0.0.0/0" if family == "inet" else "::/0"
    return str(ipaddress.ip_network(text))


def _forwarding(route: dict[str, Any], nexthops: dict[int, Any], ignoring: set[str]) -> Forwarding | None:
    """Return what an entry does, None where the kernel would try the next one."""
    if route["type"] != "unicast":
        return Forwarding(route["type"])
    ways = route.get("nexthops") or [route]
    known = nexthops.get(route.get("nhid"))
    if known is not None:
        if known.get("blackhole") is not None:
            return Forwarding("blackhole")
        members = known.get("group")
        ways = [
            nexthops[member["id"]] | {"weight": member.get("weight", 1)} for member in members or [{"id": known["id"]}]
        ]
        if any(way.get("blackhole") is not None for way in ways):
            return Forwarding("blackhole")
    weights: dict[tuple[str, str], int] = {}
    for way in ways:
        flags = set(way.get("flags") or [])
        if "dead" in flags or ("linkdown" in flags and way["dev"] in ignoring):
            continue
        pair = (way.get("gateway") or way.get("via", {}).get("host", ""), way["dev"])
        weights[pair] = weights.get(pair, 0) + int(way.get("weight", 1))
    if not weights or "lo" in {device for _, device in weights}:  # a gateway that is an address of the router itself
        return None if not weights else Forwarding("over no port")
    common = gcd(*weights.values())
    return Forwarding("unicast", frozenset(Path(*pair, weight // common) for pair, weight in weights.items()))


def _ignoring_linkdown(namespace: Namespace, family: str) -> set[str]:
    """Return the devices over which a route without carrier is passed over."""
    version = "ipv4" if family == "inet" else "ipv6"
    text = namespace.run("sh", "-c", f"grep -H . /proc/sys/net/{version}/conf/*/ignore_routes_with_linkdown")
    on = {line.split("/")[6] for line in text.splitlines() if line.endswith(":1")}
    everything = {row["ifname"] for row in namespace.ip_json("link show")}
    return everything if family == "inet" and "all" in on else on


def disagreements(mirror: Mirror, namespace: Namespace) -> list[str]:
    """Return where the mirror, once settled, differs from the kernel: entry by entry, and for packets."""
    held, wanted = mirror.fib(), kernel_fib(namespace)
    found = [
        f"table {table} {prefix}: FIB {held.get((table, prefix))}, kernel {wanted.get((table, prefix))}"
        for table, prefix in sorted(held.keys() | wanted.keys())
        if held.get((table, prefix)) != wanted.get((table, prefix))
    ]
    sampled = [prefix for table, prefix in sorted(wanted) if table == TABLES["main"]][:SAMPLES]
    for prefix in sampled:
        network = ipaddress.ip_network(prefix)
        address = (
            str(network[-2 if network.num_addresses > 1 else 0]) if network.prefixlen else ELSEWHERE[network.version]
        )
        ours, theirs = mirror.match(address), kernel_way(namespace, address)
        assert ours is not None
        if theirs not in ({(path.via, path.dev) for path in ours.paths} or {ours.type}):
            found.append(f"packet to {address}: FIB {ours}, kernel {theirs}")
    return found
