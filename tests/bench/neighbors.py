"""Neighbours: fifty thousand of the kernel's into VPP."""

from __future__ import annotations

import asyncio
import time

from rtagent.agent.settings import Settings, load
from tests.bench.agent import running
from tests.lab.bulk import add_neighbors
from tests.lab.lab import Lab
from tests.vpp.site import VppSite


def neighbors_sync(count: int = 50_000) -> dict[str, float]:
    """From the agent's start to the last answer, into a VPP that has none of them."""
    with Lab() as lab:
        site = VppSite(lab, busy=True)
        site.start_vpp()
        (link,) = site.router.ip_json("link show e0")
        add_neighbors(site.router, count, link["ifindex"])
        cpu_s = time.process_time()
        taken_s, writes = asyncio.run(_sync(load(site.config)))
        cpu_s = time.process_time() - cpu_s
    assert count <= writes
    return {"neighbors_per_s": count / taken_s, "seconds": taken_s, "agent_cpu_s": cpu_s}


async def _sync(settings: Settings) -> tuple[float, int]:
    began = time.perf_counter()
    async with running(settings) as agent:
        await agent.source.settle()
        await agent.reconciler.wait_settled()
        return time.perf_counter() - began, agent.reconciler.object_writes
