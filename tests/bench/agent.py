"""The whole agent, in this process, as it is wired for service: first sync, restart, and one route's way to the FIB."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from rtagent.agent import logs
from rtagent.agent.agent import Agent
from rtagent.agent.dataplane import make_sink
from rtagent.agent.settings import Settings, load
from rtagent.vector.fib import State
from rtagent.vector.keys import Key, Keys
from tests.lab.feeder import Feeder, prefixes
from tests.lab.lab import Lab, Namespace
from tests.vpp.site import VppSite

_LONE_CHANGES = 2000


def first_sync_vpp(routes: int = 1_000_000) -> dict[str, float]:
    """Kernel routes into stock VPP over its API, from the agent's start to the last answer; then a restart."""
    with Lab() as lab:
        site = VppSite(lab, heap="3G", busy=True)
        site.start_vpp()
        feeder = Feeder(site.router)
        feeder.replace(prefixes(routes), "10.0.0.2", "e0")
        feeder.close()
        settings = load(site.config)
        first_s, first_writes = asyncio.run(_sync(settings))
        again_s, again_writes = asyncio.run(_sync(settings))
    return {
        "first_sync_vpp_routes_per_s": routes / first_s,
        "first_sync_vpp_s": first_s,
        "first_sync_vpp_writes": float(first_writes),
        "restart_vpp_s": again_s,
        "restart_vpp_writes": float(again_writes),
    }


def lone_change_memory() -> dict[str, float]:
    """One route added in the kernel until it is in the memory FIB, many times."""
    with Lab() as lab:
        router, peer = lab.namespace("router"), lab.namespace("peer")
        lab.veth(router, "e0", peer, "e0")
        router.ip("addr add 10.0.0.1/16 dev e0")
        settings = Settings(dataplane="memory", netns=router.name, control=str(lab.folder / "c.sock"))
        return _named("memory", asyncio.run(_lone_changes(settings, router)))


def lone_change_vpp() -> dict[str, float]:
    """One route added in the kernel until VPP has answered for it, many times."""
    with Lab() as lab:
        site = VppSite(lab, busy=True)
        site.start_vpp()
        return _named("vpp", asyncio.run(_lone_changes(load(site.config), site.router)))


@asynccontextmanager
async def _running(settings: Settings) -> AsyncIterator[Agent]:
    logs.configure("error", "auto")
    agent = Agent(settings, make_sink, config_file=None, reload=lambda: settings)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        await asyncio.sleep(0)
        yield agent
        task.cancel()


async def _sync(settings: Settings) -> tuple[float, int]:
    start = time.perf_counter()
    async with _running(settings) as agent:
        await agent.source.settle()
        await agent.reconciler.wait_settled()
        return time.perf_counter() - start, agent.reconciler.writes


async def _lone_changes(settings: Settings, router: Namespace) -> list[float]:
    """Return the seconds of each: from writing the line to ``ip -batch`` to the row being installed."""
    taken = []
    async with _running(settings) as agent:
        await agent.source.settle()
        await agent.reconciler.wait_settled()
        mirror, reconciler = agent.mirror, agent.reconciler
        command = ["ip", "-n", router.name, "-batch", "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1) as ip:  # noqa: ASYNC220
            assert ip.stdin is not None
            for number in range(_LONE_CHANGES):
                prefix = f"198.{number >> 8 & 0xFF}.{number & 0xFF}.0/24"
                keys = Keys.of([Key.parse(prefix)])
                start = time.perf_counter()
                ip.stdin.write(f"route add {prefix} via 10.0.0.2\n")
                while True:
                    await reconciler.progressed.wait()
                    (row,) = mirror.store.rib.table.find(keys).tolist()
                    if row >= 0 and mirror.ledger.state[row] == State.INSTALLED:
                        break
                taken.append(time.perf_counter() - start)
            ip.stdin.close()
    return taken


def _named(where: str, taken: list[float]) -> dict[str, float]:
    p50, p99 = (float(value) * 1e3 for value in np.percentile(taken, (50, 99)))
    return {f"lone_change_{where}_p50_ms": p50, f"lone_change_{where}_p99_ms": p99}
