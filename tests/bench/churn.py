"""Steady churn beside a table: how late VPP is, what the agent takes of a processor, and whether it grows.

A process of its own replaces routes at a steady pace, some each millisecond, and now and then the one route that is
followed: each time through another gateway, so that VPP's answer to it cannot be mistaken for an older one.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import numpy as np

from rtagent.agent.agent import Agent
from rtagent.agent.settings import load
from rtagent.transport.netlink import NetlinkSocket
from rtagent.vector.fib import NO_ENTRY
from rtagent.vector.keys import AF_INET, Key, Keys
from tests.bench.agent import GROUPS, running
from tests.lab.bulk import add_routes, gateways, prefixes4, route_requests
from tests.lab.lab import Lab
from tests.lab.memory import memory
from tests.vpp.site import VppSite

_FOLLOWED = Key.parse("10.99.0.0/24")
_TURN_S = 0.001
_TURNS_BETWEEN_FOLLOWED = 47
_FORK = multiprocessing.get_context("fork")


def churn(seconds: int = 60, rate: int = 10_000, routes: int = 200_000) -> dict[str, float]:
    """Replace ``rate`` routes a second for so long, in a table of ``routes``."""
    with Lab() as lab:
        site = VppSite(lab, heap="3G", busy=True, bulk=True)
        site.start_vpp()
        (link,) = site.router.ip_json("link show e0")
        keys = prefixes4(routes)
        add_routes(site.router, [*keys, _FOLLOWED], gateways(AF_INET, GROUPS), link["ifindex"])
        here, there = _FORK.Pipe()
        turns = _turns(keys, link["ifindex"], int(rate * _TURN_S))
        arguments = (site.router.name, turns, link["ifindex"], seconds, there)
        child = _FORK.Process(target=_replace, args=arguments, daemon=True)
        child.start()
        assert here.recv() is None
        try:
            return asyncio.run(_followed(site, here))
        finally:
            child.kill()
            child.join()


async def _followed(site: VppSite, feed: Connection) -> dict[str, float]:
    async with running(load(site.config)) as agent:
        await agent.source.settle()
        await agent.reconciler.wait_settled()
        gc.collect()
        changes: asyncio.Queue[tuple[bytes, float] | None] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(feed.fileno(), lambda: changes.put_nowait(feed.recv()))
        resident_mb, writes, cpu_s = memory().resident, agent.reconciler.writes, time.process_time()
        began = time.monotonic()
        feed.send(None)
        lags_s = await _lags(agent, changes)
        cpu_s, taken_s = time.process_time() - cpu_s, time.monotonic() - began
        asyncio.get_running_loop().remove_reader(feed.fileno())
        await agent.source.settle()
        await agent.reconciler.wait_settled()
        gc.collect()
        p50, p99 = (float(value) * 1e3 for value in np.percentile(lags_s, (50, 99)))
        return {
            "p50_ms": p50,
            "p99_ms": p99,
            "max_ms": max(lags_s) * 1e3,
            "cpu_percent": 100 * cpu_s / taken_s,
            "rss_start_mb": resident_mb,
            "rss_end_mb": memory().resident,
            "changes_per_s": (agent.reconciler.writes - writes) / taken_s,
            "seconds": taken_s,
            "overflows": float(agent.source.overflows),
        }


async def _lags(agent: Agent, changes: asyncio.Queue[tuple[bytes, float] | None]) -> list[float]:
    """Return how long each change of the followed route took, until the last one (None) has come."""
    lags_s: list[float] = []
    due: list[tuple[bytes, float]] = []
    more = True
    while more or due:
        while more and not (due and changes.empty()):
            change = await changes.get()
            more = change is not None
            due += [] if change is None else [change]
        answered = _answered(agent, due)
        lags_s += [time.monotonic() - sent for _, sent in due[:answered]]
        del due[:answered]
        if due:
            await agent.reconciler.progressed.wait()
    return lags_s


def _answered(agent: Agent, changes: list[tuple[bytes, float]]) -> int:
    """Return how many of the changes VPP has answered: a later one stands for those before it."""
    (row,) = agent.mirror.store.rib.table.find(Keys.of([_FOLLOWED])).tolist()
    entry = int(agent.mirror.ledger.installed[row])
    via = b"" if entry == NO_ENTRY else agent.mirror.entries[entry].paths[0].via
    return 1 + max((at for at, (gateway, _) in enumerate(changes) if gateway == via), default=-1)


def _turns(keys: list[Key], ifindex: int, rows: int) -> Iterator[bytes]:
    """Yield what is to be replaced each turn, for ever; each route goes to and fro between two gateways."""
    ways = [gateways(AF_INET, GROUPS + 1)[1:], gateways(AF_INET, GROUPS)]
    rounds = [
        [
            b"".join(route_requests(keys[at : at + rows], way[at % GROUPS :] + way, ifindex, replace=True))
            for at in range(0, len(keys), rows)
        ]
        for way in ways
    ]
    yield b""  # prepared
    yield from itertools.cycle(itertools.chain(*rounds))


def _replace(netns: str, turns: Iterator[bytes], ifindex: int, seconds: int, parent: Connection) -> None:
    netlink = NetlinkSocket(netns=netns, slots=1)
    next(turns)
    parent.send(None)
    parent.recv()
    due = time.monotonic()
    for turn, requests in zip(range(int(seconds / _TURN_S)), turns, strict=False):
        netlink.send(requests)
        if turn % _TURNS_BETWEEN_FOLLOWED == 0:
            gateway = gateways(AF_INET, GROUPS)[turn // _TURNS_BETWEEN_FOLLOWED % GROUPS]
            (request,) = route_requests([_FOLLOWED], [gateway], ifindex, replace=True)
            sent = time.monotonic()
            netlink.send(request)
            parent.send((gateway, sent))
        due += _TURN_S
        time.sleep(max(0.0, due - time.monotonic()))
    parent.send(None)
