"""BIRD's routes over its control socket: how fast they come as values, and that their number costs no memory."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import time

from rtagent.sinks.birdc import BirdClient
from tests.lab import birds
from tests.lab.bird import Bird
from tests.lab.lab import Lab


def bird_routes(routes: int = 1_000_000) -> dict[str, float]:
    """All routes of a BIRD's table as values, against birdc, which prints them."""
    with Lab() as lab:
        config = lab.folder / "bird.conf"
        with config.open("w") as file:
            file.write("router id 192.0.2.1; protocol device {}\nprotocol static many { ipv4;\n")
            for i in range(routes):
                file.write(f"route {20 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/24 blackhole;\n")
            file.write("}\n")
        bird = Bird(lab, lab.namespace("bird"), config, birds.INSTALLED)
        bird.start()
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        count = asyncio.run(_count(bird))
        took_s = time.perf_counter() - began
        grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
        began = time.perf_counter()
        with (lab.folder / "printed").open("wb") as printed:
            subprocess.run(["birdc", "-s", bird.socket, "show", "route"], stdout=printed, check=True)
        birdc_s = time.perf_counter() - began
    assert routes == count
    return {
        "routes_per_s": routes / took_s,
        "birdc_routes_per_s": routes / birdc_s,
        "ratio": birdc_s / took_s,
        "grown_mb": grown_kb / 1024,
    }


async def _count(bird: Bird) -> int:
    async with BirdClient(bird.socket, timeout_s=60) as client:
        count = 0
        async for _ in client.routes():
            count += 1
        return count
