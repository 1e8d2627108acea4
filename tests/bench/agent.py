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
from rtagent.sinks.vpp import VppFib
from rtagent.vector.fib import FibEntries, State
from rtagent.vector.keys import AF_INET, Key, Keys
from tests.bench.vapi import prepared_routes_per_s
from tests.lab.bulk import add_routes, gateways, prefixes4
from tests.lab.lab import Lab, Namespace
from tests.vpp.site import VppSite

GROUPS = 200
_LONE_CHANGES = 2000


def first_sync_vpp(routes: int = 1_000_000) -> dict[str, float]:
    """Kernel routes into an empty stock VPP, from the agent's start to the last answer; a restart; prepared buffers."""
    with Lab() as lab:
        site = VppSite(lab, heap="3G", busy=True)
        site.start_vpp()
        (link,) = site.router.ip_json("link show e0")
        add_routes(site.router, prefixes4(routes), gateways(AF_INET, GROUPS), link["ifindex"])
        settings = load(site.config)
        first_s, writes = asyncio.run(sync(settings))
        again_s, again_writes = asyncio.run(sync(settings))
        interface, source = asyncio.run(_numbers(settings))
        site.vpp.kill()
        site.start_vpp()  # as empty as it was for us
        asyncio.run(_numbers(settings))
        prepared = prepared_routes_per_s(site.vpp.api, interface, source, routes)
    return {
        "routes_per_s": routes / first_s,
        "prepared_routes_per_s": prepared,
        "ratio": routes / first_s / prepared,
        "writes": float(writes),
        "restart_s": again_s,
        "restart_writes": float(again_writes),
    }


def lone_change_memory() -> dict[str, float]:
    """One route added in the kernel until it is in the memory FIB, many times."""
    with Lab() as lab:
        router, peer = lab.namespace("router"), lab.namespace("peer")
        lab.veth(router, "e0", peer, "e0")
        router.ip("addr add 10.0.0.1/16 dev e0")
        settings = Settings(dataplane="memory", netns=router.name, control=str(lab.folder / "c.sock"))
        return _percentiles(asyncio.run(_lone_changes(settings, router)))


def lone_change_vpp() -> dict[str, float]:
    """One route added in the kernel until VPP has answered for it, many times."""
    with Lab() as lab:
        site = VppSite(lab, busy=True)
        site.start_vpp()
        return _percentiles(asyncio.run(_lone_changes(load(site.config), site.router)))


async def _numbers(settings: Settings) -> tuple[int, int]:
    """Return VPP's numbers of the first port and of our source, which is made where it is missing."""
    fib = VppFib(FibEntries(), settings.vpp_socket)
    await fib.connect()
    try:
        return fib.ports["host-v0"].interface, fib.own_source
    finally:
        await fib.close()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Agent]:
    """Run the agent in this process."""
    logs.configure("error", "auto")
    agent = Agent(settings, make_sink, config_file=None, reload=lambda: settings)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(agent.run())
        await asyncio.sleep(0)
        yield agent
        task.cancel()


async def sync(settings: Settings) -> tuple[float, int]:
    start = time.perf_counter()
    async with running(settings) as agent:
        await agent.source.settle()
        await agent.reconciler.wait_settled()
        return time.perf_counter() - start, agent.reconciler.writes


async def _lone_changes(settings: Settings, router: Namespace) -> list[float]:
    """Return the seconds of each: from writing the line to ``ip -batch`` to the row being installed."""
    taken = []
    async with running(settings) as agent:
        await agent.source.settle()
        await agent.reconciler.wait_settled()
        mirror, reconciler = agent.mirror, agent.reconciler
        command = ["ip", "-n", router.name, "-batch", "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1) as ip:  # noqa: ASYNC220
            assert ip.stdin is not None
            for number in range(_LONE_CHANGES):
                writes = reconciler.writes
                start = time.perf_counter()
                ip.stdin.write(f"route add {_lone(number)} via 10.0.0.2\n")
                while reconciler.writes == writes:
                    await reconciler.progressed.wait()
                taken.append(time.perf_counter() - start)
            ip.stdin.close()
        rows = mirror.store.rib.table.find(Keys.of(Key.parse(_lone(number)) for number in range(_LONE_CHANGES)))
        assert (mirror.ledger.state[rows] == State.INSTALLED).all()
    return taken


def _lone(number: int) -> str:
    return f"198.{number >> 8}.{number & 0xFF}.0/24"


def _percentiles(taken: list[float]) -> dict[str, float]:
    p50, p99 = (float(value) * 1e3 for value in np.percentile(taken, (50, 99)))
    return {"p50_ms": p50, "p99_ms": p99}
