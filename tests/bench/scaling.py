"""What a first synchronisation costs by the number of routes: the exponent by which it grows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np

from rtagent.agent.settings import load
from rtagent.vector.keys import AF_INET
from tests.bench.agent import GROUPS, sync
from tests.lab.bulk import add_routes, gateways, prefixes4
from tests.lab.lab import Lab
from tests.vpp.site import VppSite

_SIZES = (1_000, 10_000, 100_000, 500_000, 1_000_000, 2_000_000)
_LEAST = 10_000
"""Below, what is paid once counts for more than the routes."""


def scaling(sizes: Sequence[int] = _SIZES) -> dict[str, float]:
    """Sync tables of several sizes into an empty VPP with the plugin; exponents of time, and of the agent's work."""
    found: dict[str, float] = {}
    seconds, work_s = [], []
    with Lab() as lab:
        site = VppSite(lab, heap="6G", busy=True, bulk=True)
        (link,) = site.router.ip_json("link show e0")
        keys, there = prefixes4(max(sizes)), 0
        for size in sorted(sizes):
            add_routes(site.router, keys[there:size], gateways(AF_INET, GROUPS), link["ifindex"])
            there = size
            site.start_vpp()
            began_s = time.process_time()
            taken_s, writes = asyncio.run(sync(load(site.config)))
            seconds.append(taken_s)
            work_s.append(time.process_time() - began_s)
            site.vpp.kill()
            assert size == writes
            found[f"seconds_{size}"], found[f"agent_cpu_s_{size}"] = seconds[-1], work_s[-1]
    chosen = [number for number, size in enumerate(sorted(sizes)) if size >= _LEAST]
    return {
        "exponent": _exponent(sorted(sizes), seconds, chosen),
        "agent_cpu_exponent": _exponent(sorted(sizes), work_s, chosen),
    } | found


def _exponent(sizes: Sequence[int], costs: Sequence[float], chosen: Sequence[int]) -> float:
    """Return the slope of a straight line through the logarithms."""
    slope, _ = np.polyfit(np.log(np.array(sizes)[chosen]), np.log(np.array(costs)[chosen]), 1)
    return float(slope)
