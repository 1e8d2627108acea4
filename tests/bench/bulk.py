"""Our VPP plugin beside what VPP does by itself (``vppctl ip route add count``) and beside its own API, in one run."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from statistics import median

import numpy as np

from rtagent.agent.settings import load
from rtagent.core.sink import Plan
from rtagent.sinks.vpp import VppFib
from rtagent.vector.fib import NO_ENTRY, FibEntries
from rtagent.vector.keys import AF_INET
from tests.bench.agent import GROUPS, sync
from tests.bench.vapi import prepared_routes_per_s, route_plan, timed_apply
from tests.lab.bulk import add_routes, gateways, prefixes4
from tests.lab.lab import Lab
from tests.lab.plugin import NAME, built, counters
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


def first_sync_bulk(routes: int = 1_000_000) -> dict[str, float]:
    """Return how fast kernel routes come into an empty VPP with the plugin, and a restart with nothing changed."""
    with Lab() as lab:
        site = VppSite(lab, heap="3G", busy=True, bulk=True)
        site.start_vpp()
        idle_s = site.vpp.cpu_s()
        vppctl_s = vppctl_seconds(site.vpp, routes, "host-v0", remove=False)
        vppctl_cpu_s = site.vpp.cpu_s() - idle_s
        site.vpp.kill()
        site.start_vpp()
        (link,) = site.router.ip_json("link show e0")
        add_routes(site.router, prefixes4(routes), gateways(AF_INET, GROUPS), link["ifindex"])
        settings = load(site.config)
        began_vpp_s, began_s = site.vpp.cpu_s(), time.process_time()
        first_s, writes = asyncio.run(sync(settings))
        vpp_cpu_s, cpu_s = site.vpp.cpu_s() - began_vpp_s, time.process_time() - began_s
        again_s, again_writes = asyncio.run(sync(settings))
        slices = counters(site.vpp)
    return {
        "routes_per_s": routes / first_s,
        "vppctl_routes_per_s": routes / vppctl_s,
        "ratio": vppctl_s / first_s,
        "agent_cpu_s": cpu_s,
        "vpp_cpu_s": vpp_cpu_s,
        "vppctl_cpu_s": vppctl_cpu_s,
        "writes": float(writes),
        "restart_s": again_s,
        "restart_writes": float(again_writes),
        "longest_read_slice_ms": slices["read: longest slice, ms"],
    }


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
