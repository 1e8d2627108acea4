"""BIRD loads a full table into the kernel, and VPP has it, too.

When the kernel has all of it, only BIRD knows, and it answers nobody while it works. But it then has nothing left to
do: a process beside it looks every few milliseconds whether it still takes processor time.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path

from rtagent.agent.settings import load
from tests.bench.agent import GROUPS, running
from tests.lab.bird import Bird
from tests.lab.bulk import prefixes4
from tests.lab.lab import Lab
from tests.vpp.site import VppSite

_CONFIG = """router id 192.0.2.1;
protocol device {}
protocol kernel { scan time 3600; ipv4 { import none; export all; }; }
protocol static full { ipv4;
"""
_LOOK_S = 0.005
_WORK_S = 0.0003
"""As much processor time between two looks is work, however busy the machine is; timers take less."""


def bird_load(routes: int = 1_000_000) -> dict[str, float]:
    """BIRD starts beside an agent that is in sync, with a full table to give to the kernel."""
    with Lab() as lab:
        site = VppSite(lab, heap="3G", busy=True, bulk=True)
        site.start_vpp()
        config = lab.folder / "bird.conf"
        with config.open("w") as file:
            file.write(_CONFIG)
            for number, key in enumerate(prefixes4(routes)):
                file.write(f"route {key.text} via 10.0.0.{2 + number % GROUPS};\n")
            file.write("}\n")
        bird = Bird(lab, site.router, config)
        return asyncio.run(_loaded(site, bird, routes))


async def _loaded(site: VppSite, bird: Bird, routes: int) -> dict[str, float]:
    async with running(load(site.config)) as agent:
        await agent.source.settle()
        await agent.reconciler.wait_settled()
        before, cpu_s = agent.reconciler.writes, time.process_time()
        bird.launch()
        assert bird.process is not None
        activity = _Activity(bird.process.pid)
        while agent.reconciler.writes - before < routes:
            await agent.reconciler.progressed.wait()
        ended = time.monotonic()
        cpu_s = time.process_time() - cpu_s
        began, kernel_ended = await asyncio.to_thread(activity.end)
        return {
            "behind_ms": (ended - kernel_ended) * 1e3,
            "kernel_s": kernel_ended - began,
            "agent_cpu_s": cpu_s,
            "overflows": float(agent.source.overflows),
            "writes": float(agent.reconciler.writes - before),
        }


class _Activity:
    """Watches, from a process of its own, when another one works."""

    def __init__(self, pid: int) -> None:
        self._here, there = multiprocessing.get_context("fork").Pipe()
        multiprocessing.get_context("fork").Process(target=_watch, args=(pid, there), daemon=True).start()

    def end(self) -> tuple[float, float]:
        """Return when the process first worked, and when it last did, in the time of ``time.monotonic``."""
        time.sleep(10 * _LOOK_S)  # it may just have ended
        self._here.send("end")
        times: tuple[float, float] = self._here.recv()
        return times


def _watch(pid: int, parent: Connection) -> None:
    began = worked = time.monotonic()
    seen_s = _cpu_s(pid)
    while not parent.poll(_LOOK_S):
        cpu_s = _cpu_s(pid)
        if cpu_s - seen_s > _WORK_S:
            worked = time.monotonic()
        seen_s = cpu_s
    parent.send((began, worked))


def _cpu_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
