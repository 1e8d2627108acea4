"""A full table changes its next hops, and VPP has followed: the ISP at the other end of one of them is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from rtagent.agent.settings import load
from rtagent.vector.keys import AF_INET
from tests.bench.agent import GROUPS, running
from tests.bench.feed import Feed
from tests.lab.bulk import add_routes, gateways, prefixes4, route_requests, route_requests_through, send
from tests.lab.lab import Lab
from tests.vpp.site import VppSite

_NHID = 77


def failover_object(routes: int = 1_000_000) -> dict[str, float]:
    """All routes go through one nexthop object, and that is replaced: one message, and every entry is another."""
    with Lab() as lab:
        site = _site(lab)
        site.router.sysctl("net.ipv4.nexthop_compat_mode", 0)
        site.router.ip(f"nexthop add id {_NHID} via 10.0.0.2 dev e0")
        send(site.router.name, route_requests_through(prefixes4(routes), _NHID))
        return asyncio.run(
            _moved(site, routes, lambda: site.router.ip(f"nexthop replace id {_NHID} via 10.1.0.2 dev e1"))
        )


def failover_replaced(routes: int = 1_000_000) -> dict[str, float]:
    """All routes through one link are replaced, one by one, by routes through another, as BIRD does it."""
    with Lab() as lab:
        site = _site(lab)
        (first,), (second,) = (site.router.ip_json(f"link show {link}") for link in ("e0", "e1"))
        keys = prefixes4(routes)
        add_routes(site.router, keys, gateways(AF_INET, GROUPS), first["ifindex"])
        others = [b"\x0a\x01" + gateway[2:] for gateway in gateways(AF_INET, GROUPS)]
        with Feed(site.router.name, route_requests(keys, others, second["ifindex"], replace=True)) as feed:
            return asyncio.run(_moved(site, routes, lambda: feed.start()()))


def _site(lab: Lab) -> VppSite:
    site = VppSite(lab, heap="3G", busy=True, bulk=True)
    site.start_vpp()
    return site


async def _moved(site: VppSite, routes: int, move: Callable[[], object]) -> dict[str, float]:
    async with running(load(site.config)) as agent:
        await agent.source.settle()
        await agent.reconciler.wait_settled()
        before, cpu_s, began = agent.reconciler.writes, time.process_time(), time.perf_counter()
        await asyncio.to_thread(move)
        moved_s = time.perf_counter() - began
        await agent.source.settle()
        await agent.reconciler.wait_settled()
        taken_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
        assert routes <= agent.reconciler.writes - before
    return {
        "routes_per_s": routes / taken_s,
        "kernel_s": moved_s,
        "seconds": taken_s,
        "agent_cpu_s": cpu_s,
        "writes": float(agent.reconciler.writes - before),
        "overflows": float(agent.source.overflows),
    }
