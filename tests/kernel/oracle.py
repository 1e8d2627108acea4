"""What a router without rtagent says: the FIB as ``ip -j`` shows it, read without any of rtagent's code.

The rules of the kernel that ``ip`` does not spell out: entries of a prefix are shown in the order in which they are
tried; a dead next hop is passed over, one without carrier only where ignore_routes_with_linkdown says so. The local
table comes before main prefix by prefix in IPv4 (both are one trie), as a whole in IPv6. An IPv6 prefix but ::/0 with a
source-specific route is not used for other sources.

One answer of ``ip route get`` is not believed: that there is no route, where ``ip route show`` has an IPv6 one through
a nexthop object. All routes through an object share the destination that a processor has cached in it (rt6i_pcpu of
struct fib6_nh, net/ipv6/route.c), which belongs to the route that a packet took first. When that one is deleted, the
cached destination loses its route (__fib6_drop_pcpu_from) and goes on to forward the packets of all others; but
inet6_rtm_getroute, which looks at the route, says ENETUNREACH for them on that processor until an IPv6 route is added.
test_nexthop_objects.py shows both.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import gcd
from typing import Any, NamedTuple

from tests.kernel.around import NOT_EXPRESSED, around, is_around, own_tos, without_source
from tests.kernel.mirror import Fib, Forwarding, Mirror, Path, matching, matching_key
from tests.lab.kernel import has
from tests.lab.lab import Namespace

IPNetwork = Any  # ipaddress has no public type for "a network of either family"
TABLES = {"main": 254, "local": 255, "default": 253}
SHOWN = {"unicast", "local", "blackhole", "unreachable", "prohibit"}
NOT_MIRRORED = {"local", "broadcast", "anycast", "multicast"}
FAMILIES = {"inet": 4, "inet6": 6}
SAMPLES = 8
ELSEWHERE = {4: "100.64.0.1", 6: "3fff::1"}

_REFUSALS = {"Invalid argument": "blackhole", "No route to host": "unreachable", "Permission denied": "prohibit",
             "Network is unreachable": "no route"}  # fmt: skip
_NO_LINK: Mapping[str, Any] = {"flags": []}
_LINK_LOCAL = ipaddress.ip_network("fe80::/10")
_MULTICAST = ipaddress.ip_network("ff00::/8")


class Kernel(NamedTuple):
    """What a namespace's kernel says."""

    fib: Fib
    """All of it, also what no data plane is given: throw routes, and routes over no port."""
    passed_over: set[tuple[int, str]]
    """(IP version, device): over which routes are passed over, for want of a carrier."""
    vrfs: dict[str, int]
    """The table of each VRF that is up."""
    hidden: Fib
    """Entries of prefixes with source-specific ones: a packet takes one only on its way back from a longer prefix whose
    entries are all dead (fib6_backtrack), which is passed over."""
    by_object: set[tuple[int, str]]
    """The keys whose best IPv6 entry is through a nexthop object."""


class Way(NamedTuple):
    """The way that a packet takes."""

    via: str
    dev: str
    around: str = ""
    """What is put around it, ``ip`` or ``seg6``; then it is no matter where that goes."""


class _Ground(NamedTuple):
    """What the next hops of a family's routes are looked at against."""

    family: str
    links: Mapping[str, Any]
    objects: Mapping[int, Any]
    ignoring: set[str] | None
    """As for ``_is_dead``."""
    sourced: bool
    """Whether there is an address that segment routing headers can be sent from."""


def kernel_fib(namespace: Namespace, ports: Mapping[str, str] | None = None) -> Fib:
    """Return what the kernel would forward by, table by table; ``ports``: the devices that count, and their names."""
    named = _named(_kernel(namespace).fib, ports)
    return {key: forwarding for key, forwarding in named.items() if forwarding.type in SHOWN}


def encapsulated(fib: Fib) -> set[tuple[int, str]]:
    """Return the keys of the routes that put something around a packet."""
    return {key for key, forwarding in fib.items() if any(is_around(path.dev) for path in forwarding.paths)}


def _kernel(namespace: Namespace) -> Kernel:
    links, nexthops, addresses = namespace.ip_answers(["link show", "nexthop show", "addr show"], "-d")
    (inet,) = namespace.ip_answers(["route show table all"], "-d", "-4")
    (inet6,) = namespace.ip_answers(["route show table all"], "-d", "-6")
    ignoring = _ignoring_linkdown(namespace, {row["ifname"] for row in links})
    objects = {row["id"]: row for row in nexthops}
    by_name = {row["ifname"]: row for row in links}
    sourced = any(_usable(row) for link in addresses for row in link.get("addr_info", []))
    by_object: set[tuple[int, str]] = set()
    fib: Fib = {}
    local: set[str] = set()
    divided: set[tuple[int, str]] = set()
    for family, routes in (("inet", inet), ("inet6", inet6)):
        ground = _Ground(family, by_name, objects, ignoring[family], sourced)
        for route in routes:
            table = TABLES.get(str(route.get("table", "main"))) or int(route["table"])
            prefix = _prefix(route["dst"], family)
            if _is_dead(route, ignoring[family]) and route["type"] not in ("unicast", "local"):
                continue
            if table == TABLES["local"]:
                table = TABLES["main"]
                if prefix in local:
                    continue
                local.add(prefix)
                if route["type"] != "local" or route["protocol"] == "kernel":
                    fib.pop((table, prefix), None)
                    continue
            elif (table, prefix) in fib or (table == TABLES["main"] and prefix in local):
                continue
            network = ipaddress.ip_network(prefix)
            if family == "inet6" and (network.subnet_of(_LINK_LOCAL) or network.subnet_of(_MULTICAST)):
                continue
            forwarding = _forwarding(route, ground)
            if "from" in route and network.prefixlen:
                divided.add((table, prefix))
            if forwarding is not None and "from" not in route and not own_tos(route):
                fib[table, prefix] = forwarding
                if "nhid" in route and family == "inet6":
                    by_object.add((table, prefix))
    fib |= _labels(namespace, by_name)
    without_carrier = {row["ifname"] for row in links if "LOWER_UP" not in row["flags"]}
    passed_over = {(FAMILIES[family], device) for family in FAMILIES for device in ignoring[family] & without_carrier}
    covers = [ipaddress.ip_network(prefix) for prefix in local if ":" in prefix]
    covered = {
        prefix for table, prefix in fib if table == TABLES["main"] and prefix not in local and _within(prefix, covers)
    }
    hidden = divided - {(TABLES["main"], prefix) for prefix in local} | {(TABLES["main"], prefix) for prefix in covered}
    vrfs = {
        row["ifname"]: int(row["linkinfo"]["info_data"]["table"])
        for row in links
        if row.get("linkinfo", {}).get("info_kind") == "vrf" and "UP" in row["flags"]
    }
    shown = {key: forwarding for key, forwarding in fib.items() if key not in hidden}
    return Kernel(shown, passed_over, vrfs, {key: fib[key] for key in hidden & fib.keys()}, by_object)


def _named(fib: Fib, ports: Mapping[str, str] | None) -> Fib:
    """Return the FIB with devices by the names of their ports, and without what leaves through any other."""
    if ports is None:
        return fib
    return {
        key: Forwarding(kind, frozenset(path._replace(dev=ports.get(path.dev, path.dev)) for path in paths))
        for key, (kind, paths) in fib.items()
        if all(path.dev in ports or is_around(path.dev) for path in paths)
    }


def _within(prefix: str, covers: list[IPNetwork]) -> bool:
    network = ipaddress.ip_network(prefix)
    return any(cover.version == network.version and network.subnet_of(cover) for cover in covers)


def kernel_ways(namespace: Namespace, addresses: Sequence[str]) -> list[Way | str]:
    """Return the way that the kernel picks for each address, or the word for why it picks none."""
    return [_way(answer) for answer in namespace.ip_answers([f"route get {address}" for address in addresses])]


def _way(answer: Any) -> Way | str:
    if isinstance(answer, str):
        return next(word for said, word in _REFUSALS.items() if said in answer)
    route = answer[0]
    if route.get("type", "unicast") != "unicast":
        return str(route["type"])
    if route.get("encap", "mpls") != "mpls":
        return Way("", route["dev"], route["encap"])
    return Way(route.get("gateway") or route.get("via", {}).get("host", ""), route["dev"])


def _prefix(text: str, family: str) -> str:
    if text == "default":
        return "0.0.0.0/0" if family == "inet" else "::/0"
    return str(ipaddress.ip_network(text))


def _forwarding(route: dict[str, Any], ground: _Ground) -> Forwarding | None:
    """Return what an entry does, None where the kernel would try the next one."""
    if route["type"] == "local" and route["protocol"] == "kernel":
        return Forwarding("own address")  # in a VRF's table these are beside the others
    if route["type"] != "unicast":
        return Forwarding(route["type"])
    ways = route.get("nexthops") or [route]
    nexthops = ground.objects
    known = nexthops.get(route.get("nhid"))
    if known is not None:
        if "blackhole" in known:
            return Forwarding("blackhole")
        members = known.get("group")
        ways = [
            nexthops[member["id"]] | {"weight": member.get("weight", 1)} for member in members or [{"id": known["id"]}]
        ]
        if any("blackhole" in way for way in ways):
            return Forwarding("blackhole")
    return _forwarding_over(ways, ground)


def _forwarding_over(ways: Sequence[dict[str, Any]], ground: _Ground) -> Forwarding | None:
    """Return what ways out amount to."""
    weights: dict[tuple[str, str, str], int] = {}
    for way in ways:
        if _is_dead(way, ground.ignoring):
            continue
        wrapped = around(way, ground.family, ground.links, sourced=ground.sourced)
        plain = (way.get("gateway") or way.get("via", {}).get("host", ""), way["dev"], _pushed(way))
        out = ("", wrapped, "") if wrapped else plain
        weights[out] = weights.get(out, 0) + int(way.get("weight", 1))
    devices = {device for _, device, _ in weights}
    if NOT_EXPRESSED in devices:
        return Forwarding(NOT_EXPRESSED)
    if not weights or "lo" in devices:  # a gateway that is an address of the router itself
        return None if not weights else Forwarding("over no port")
    if len({(via, device) for via, device, _ in weights}) < len(weights):
        return Forwarding("ways that differ only in their labels")
    return Forwarding("unicast", _reduced(Path(*out[:2], weight, out[2]) for out, weight in weights.items()))


def _reduced(paths: Iterable[Path]) -> frozenset[Path]:
    """Return paths with the smallest weights of the same proportion; the same way out twice is one."""
    weights: Counter[Path] = Counter()
    for path in paths:
        weights[path._replace(weight=0)] += path.weight
    common = gcd(*weights.values())
    return frozenset(path._replace(weight=weight // common) for path, weight in weights.items())


def _pushed(way: dict[str, Any]) -> str:
    """Return the labels that a way pushes, or that a label is swapped to."""
    if way.get("encap") == "mpls":
        return str(way.get("encap dst") or way["dst"])
    return str(way.get("to", ""))


def _usable(address: Mapping[str, Any]) -> bool:
    """Whether an address is one to send segment routing headers from."""
    is_global = address.get("family") == "inet6" and address["scope"] == "global"
    return is_global and not {"tentative", "dadfailed"} & address.keys()


def _labels(namespace: Namespace, links: Mapping[str, Any]) -> Fib:
    """Return what the kernel does with labels; a way without carrier is never used (net/mpls/af_mpls.c).

    But for one made while its link was down: mpls_nh_assign_dev marks it dead alone, so the kernel takes it from when
    the link is up, and what it sends there without carrier is lost. That is not asked of anybody.
    """
    if not has("mpls"):
        return {}
    (routes,) = namespace.ip_answers(["route show"], "-f", "mpls")
    ground = _Ground("mpls", links, {}, None, sourced=False)
    with_carrier = {
        (0, route["dst"]): [
            way for way in route.get("nexthops") or [route] if "LOWER_UP" in links.get(way["dev"], _NO_LINK)["flags"]
        ]
        for route in routes
    }
    found = {key: _forwarding_over(ways, ground) for key, ways in with_carrier.items()}
    return {key: forwarding for key, forwarding in found.items() if forwarding is not None}


def _is_dead(way: dict[str, Any], ignoring: set[str] | None) -> bool:
    """Whether a way is passed over; ``ignoring``: over which devices a lost carrier counts, None for all."""
    flags = set(way.get("flags") or [])
    return "dead" in flags or ("linkdown" in flags and (ignoring is None or way.get("dev") in ignoring))


def _ignoring_linkdown(namespace: Namespace, devices: set[str]) -> dict[str, set[str]]:
    """Return by family the devices over which a route without carrier is passed over."""
    text = namespace.run("sh", "-c", "grep -H . /proc/sys/net/ipv[46]/conf/*/ignore_routes_with_linkdown")
    on = [line.split("/") for line in text.splitlines() if line.endswith(":1")]
    ignoring = {family: {parts[6] for parts in on if parts[4] == f"ipv{FAMILIES[family]}"} for family in FAMILIES}
    if "all" in ignoring["inet"]:
        ignoring["inet"] |= devices
    return ignoring


def disagreements(
    mirror: Mirror, namespace: Namespace, addresses: Sequence[str] = (), ports: Mapping[str, str] | None = None
) -> list[str]:
    """Return where the mirror, once settled, differs from the kernel: entry by entry, and for packets."""
    held, kernel = _without_sources(mirror.fib()), _kernel(namespace)
    wanted = {key: forwarding for key, forwarding in _named(kernel.fib, ports).items() if forwarding.type in SHOWN}
    found = [
        f"table {table} {prefix}: FIB {held.get((table, prefix))}, kernel {wanted.get((table, prefix))}"
        for table, prefix in sorted(held.keys() | wanted.keys())
        if held.get((table, prefix)) != wanted.get((table, prefix))
    ]
    sampled = [_within_prefix(prefix) for table, prefix in sorted(wanted) if table == TABLES["main"]][:SAMPLES]
    sampled += addresses
    for address, theirs in zip(sampled, kernel_ways(namespace, sampled), strict=True):
        key = matching_key(kernel.fib, address)
        if key is not None and not _is_given(kernel.fib[key], ports):
            continue  # packets take what covers it
        if theirs == "no route" and key in kernel.by_object:
            continue
        if isinstance(theirs, Way) and (ipaddress.ip_address(address).version, theirs.dev) in kernel.passed_over:
            continue  # a policy that is set after a multipath route does not share out its flows anew
        theirs = _by_port(theirs, ports)
        ours = matching(held, address)
        if not _agree(ours, theirs) and not _goes_back(kernel, address, theirs, ports):
            found.append(f"packet to {address}: FIB {ours}, kernel {theirs}")
    return found + _disagreements_in_vrfs(held, kernel, namespace, ports)


def _disagreements_in_vrfs(
    held: Fib, kernel: Kernel, namespace: Namespace, ports: Mapping[str, str] | None
) -> list[str]:
    """Return where packets of a VRF take another way. What its table has no route for is a matter of the rules."""
    asked = [
        (name, table, _within_prefix(prefix))
        for name, table in kernel.vrfs.items()
        for of_table, prefix in sorted(kernel.fib)
        if of_table == table
    ]
    found = []
    answers = namespace.ip_answers([f"route get {address} vrf {name}" for name, _, address in asked]) if asked else []
    for (name, table, address), answer in zip(asked, answers, strict=True):
        key, theirs = matching_key(kernel.fib, address, table), _way(answer)
        if key is None or not _is_given(kernel.fib[key], ports) or (theirs == "no route" and key in kernel.by_object):
            continue
        if isinstance(theirs, Way) and (ipaddress.ip_address(address).version, theirs.dev) in kernel.passed_over:
            continue
        theirs = _by_port(theirs, ports)
        ours = matching(held, address, table)
        if not _agree(ours, theirs) and not _goes_back(kernel, address, theirs, ports, table):
            found.append(f"packet to {address} in {name}: FIB {ours}, kernel {theirs}")
    return found


def _agree(ours: Forwarding | None, theirs: Way | str) -> bool:
    """Whether a packet takes a way that the FIB has."""
    if theirs in NOT_MIRRORED:
        return True
    if isinstance(theirs, str):
        return theirs.replace("no route", "unreachable") == (ours.type if ours else "unreachable")
    if ours is None:
        return False
    if theirs.around:
        return theirs.around in {path.dev.split()[0] for path in ours.paths if is_around(path.dev)}
    return theirs in {Way(path.via, path.dev) for path in ours.paths}


def _goes_back(
    kernel: Kernel, address: str, theirs: Way | str, ports: Mapping[str, str] | None, table: int = TABLES["main"]
) -> bool:
    """Whether a packet takes an entry that a source-specific one hides from all others."""
    hidden = matching(_named(kernel.hidden, ports), address, table)
    return hidden is not None and _agree(hidden, theirs)


def _by_port(theirs: Way | str, ports: Mapping[str, str] | None) -> Way | str:
    """Return a packet's way with its device by the name of its port."""
    if isinstance(theirs, str) or ports is None or theirs.around:
        return theirs
    return theirs._replace(dev=ports.get(theirs.dev, "no port"))


def _without_sources(fib: Fib) -> Fib:
    return {
        key: Forwarding(
            kind, _reduced(path._replace(dev=without_source(path.dev)) for path in paths) if paths else paths
        )
        for key, (kind, paths) in fib.items()
    }


def _is_given(forwarding: Forwarding, ports: Mapping[str, str] | None) -> bool:
    """Whether a data plane is given that route."""
    return forwarding.type in SHOWN and (
        ports is None or all(path.dev in ports or is_around(path.dev) for path in forwarding.paths)
    )


def _within_prefix(prefix: str) -> str:
    network = ipaddress.ip_network(prefix)
    if not network.prefixlen:
        return ELSEWHERE[network.version]
    return str(network[-2 if network.num_addresses > 1 else 0])
