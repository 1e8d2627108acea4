"""Our VPP plugin beside what VPP does by itself (``vppctl ip route add count``) and beside its own API, in one run."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import closing
from statistics import median

import numpy as np

from rtagent.agent.settings import load
from rtagent.core.sink import Plan
from rtagent.sinks.vpp import VppFib
from rtagent.transport.netlink import NetlinkSocket
from rtagent.vector.batch import Dump
from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibPath
from rtagent.vector.keys import AF_INET, AF_INET6, Key, Keys
from rtagent.wire.netlink.requests import dump_request
from tests.bench.agent import GROUPS, sync
from tests.bench.vapi import prepared_routes_per_s, route_plan, timed_apply
from tests.lab.bulk import add_routes, gateways, prefixes4, prefixes6, prefixes_of_vppctl
from tests.lab.lab import Lab
from tests.lab.plugin import NAME, built
from tests.lab.vpp import Vpp
from tests.vpp.site import VppSite

_FEW = 200_000
"""Routes for the stock API, which takes its time."""


def bulk_apply(routes: int = 1_000_000, rounds: int = 3) -> dict[str, float]:
    """Return routes a second through the plugin, added, moved to other next hops, removed and read; medians."""
    with Lab() as lab:
        router, peer = lab.namespace("router"), lab.namespace("peer")
        lab.veth(router, "e0", peer, "e0")
        vpp = Vpp(lab, router, heap="3G", busy=True, plugins=(NAME,), plugin_path=built())
        vpp.start()
        vpp.port("e0")
        vppctl_s = median(vppctl_seconds(vpp, routes, "host-e0") for _ in range(rounds))
        found = asyncio.run(_bulk_apply(vpp.api, routes, rounds))
    vppctl = routes / vppctl_s
    return found | {"vppctl_routes_per_s": vppctl, "ratio": found["routes_per_s"] / vppctl}


def first_sync_bulk(routes: int = 1_000_000, rounds: int = 5) -> dict[str, float]:
    """The routes of ``vppctl ip route add count``, from the kernel into an empty VPP with the plugin; medians."""
    seen: dict[str, list[float]] = defaultdict(list)
    with Lab() as lab:
        site = VppSite(lab, heap="3G", busy=True, bulk=True)
        (link,) = site.router.ip_json("link show e0")
        add_routes(site.router, prefixes_of_vppctl(routes), gateways(AF_INET, 1), link["ifindex"])
        for _ in range(rounds):
            site.start_vpp()
            idle_s = site.vpp.cpu_s()
            seen["vppctl_s"].append(vppctl_seconds(site.vpp, routes, "host-v0", remove=False))
            seen["vppctl_cpu_s"].append(site.vpp.cpu_s() - idle_s)
            site.vpp.kill()
            site.start_vpp()
            for name, value in _synced(site).items():
                seen[name].append(value)
            again_s, again_writes = asyncio.run(sync(load(site.config)))
            seen["restart_s"].append(again_s)
            seen["restart_writes"].append(float(again_writes))
            site.vpp.kill()
    found = {name: median(values) for name, values in seen.items()}
    return {
        "routes_per_s": routes / found["sync_s"],
        "vppctl_routes_per_s": routes / found["vppctl_s"],
        "ratio": found["vppctl_s"] / found["sync_s"],
        "dump_alone_s": _dump_seconds(routes),
    } | found


def first_sync_table(routes: int = 1_000_000) -> dict[str, float]:
    """A table of mixed lengths over 200 gateways; the same rows from prepared vectors: what VPP is good for."""
    return _first_sync_table(prefixes4(routes), AF_INET)


def first_sync_inet6(routes: int = 250_000) -> dict[str, float]:
    """The same of an IPv6 table."""
    return _first_sync_table(prefixes6(routes), AF_INET6)


def _first_sync_table(keys: list[Key], family: int) -> dict[str, float]:
    with Lab() as lab:
        site = VppSite(lab, heap="3G", busy=True, bulk=True)
        site.router.sysctl("net.ipv6.route.max_size", 2**31 - 1)
        site.start_vpp()
        (link,) = site.router.ip_json("link show e0")
        add_routes(site.router, keys, gateways(family, GROUPS), link["ifindex"])
        found = _synced(site)
        site.vpp.kill()
        site.start_vpp()
        ready_s = asyncio.run(_prepared(site.vpp.api, keys, family))
    routes = len(keys)
    return {
        "routes_per_s": routes / found["sync_s"],
        "prepared_routes_per_s": routes / ready_s,
        "ratio": ready_s / found["sync_s"],
    } | found


def _synced(site: VppSite) -> dict[str, float]:
    """Sync once; return the seconds, and what both processes took of a processor."""
    vpp_s, agent_s = site.vpp.cpu_s(), time.process_time()
    taken_s, writes = asyncio.run(sync(load(site.config)))
    agent_s, vpp_s = time.process_time() - agent_s, site.vpp.cpu_s() - vpp_s
    return {"sync_s": taken_s, "writes": float(writes), "agent_cpu_s": agent_s, "vpp_cpu_s": vpp_s}


async def _prepared(path: str, keys: list[Key], family: int) -> float:
    """Return the seconds that VPP takes for these rows, in the order of their keys, when the plan lies ready."""
    entries = FibEntries()
    fib = VppFib(entries, path)
    await fib.connect()
    interface = fib.ports["host-v0"].interface
    numbers = [
        entries.intern(FibEntry(FibKind.UNICAST, (FibPath(gateway, interface),)))
        for gateway in gateways(family, GROUPS)
    ]
    column = Keys.of(keys)
    plan = Plan(column, np.resize(np.array(numbers, np.int32), len(keys)))
    taken_s = await timed_apply(fib, plan.take(column.order()))
    await fib.close()
    return taken_s


def _dump_seconds(routes: int) -> float:
    """Return what the kernel alone takes to tell of its routes: nothing is decoded."""
    with Lab() as lab:
        router = lab.namespace("router")
        lab.veth(router, "e0", lab.namespace("peer"), "e0")
        router.ip("addr add 10.0.0.1/16 dev e0")
        (link,) = router.ip_json("link show e0")
        add_routes(router, prefixes_of_vppctl(routes), gateways(AF_INET, 1), link["ifindex"])
        with closing(NetlinkSocket(netns=router.name, slots=8)) as netlink:
            netlink.send(dump_request(Dump.ROUTES_INET, 1))
            began = time.perf_counter()
            while netlink.receive() is not None:
                pass
            return time.perf_counter() - began


def vppctl_seconds(vpp: Vpp, routes: int, port: str, *, remove: bool = True) -> float:
    """Return the seconds that VPP takes to add so many routes by itself."""
    began = time.perf_counter()
    vpp.ctl(f"ip route add 1.0.0.0/24 count {routes} via 10.0.0.2 {port}")
    taken = time.perf_counter() - began
    if remove:
        vpp.ctl(f"ip route del 1.0.0.0/24 count {routes} via 10.0.0.2 {port}")
    return taken


async def _bulk_apply(path: str, routes: int, rounds: int) -> dict[str, float]:
    entries = FibEntries()
    fib = VppFib(entries, path)
    await fib.connect()
    assert fib.bulk
    interface = fib.ports["host-e0"].interface
    plan = route_plan(routes, entries, interface)
    moved = Plan(plan.keys, np.roll(plan.entry, 1))
    removal = Plan(plan.keys, np.full(routes, NO_ENTRY, np.int32))
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        seconds["routes_per_s"].append(await timed_apply(fib, plan))
        seconds["moved_per_s"].append(await timed_apply(fib, moved))
        seconds["read_rows_per_s"].append(await _timed_read(fib, routes))
        seconds["removed_per_s"].append(await timed_apply(fib, removal))
    source = fib.own_source
    await fib.close()
    stock = await asyncio.to_thread(prepared_routes_per_s, path, interface, source, _FEW)
    return {name: routes / median(taken) for name, taken in seconds.items()} | {"stock_routes_per_s": stock}


async def _timed_read(fib: VppFib, at_least: int) -> float:
    began = time.perf_counter()
    rows = sum([len(batch) async for batch in fib.read()])
    assert rows >= at_least
    return time.perf_counter() - began
