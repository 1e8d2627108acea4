"""An agent that does nothing but keep the mesh: how soon it answers, and what it takes of memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from tests.lab.broker import Broker
from tests.lab.lab import Lab, wait_for
from tests.lab.memory import memory
from tests.lab.mesh import Mesh
from tests.lab.mesh_agents import Agents, is_served, over_mqtt
from tests.meshes import mesh

_STARTS = 9
_REFERENCE = "import asyncio, ssl, aiomqtt, structlog"
"""What a program in Python that speaks MQTT cannot do without."""


def mesh_agent(starts: int = _STARTS) -> dict[str, float]:
    """Start an agent with members over MQTT, again and again, until it answers; against an interpreter's own start."""
    with Lab() as lab:
        broker = Broker(lab.folder)
        try:
            agents = Agents(lab, over_mqtt(lab, broker))
            one = next(iter(Mesh(lab, mesh(0)).members.values()))
            agents.start(one)  # and its BIRD
            agents.wait([one], 0)
            resident_mb = memory(agents.running[one.member.id].pid).resident
            took_s, reference_s = [], []
            for _ in range(starts):
                agents.stop(one)
                reference_s.append(_reference_s())
                began = time.perf_counter()
                agents.start(one)
                wait_for(lambda: is_served(agents.socket(one)), "the agent")
                took_s.append(time.perf_counter() - began)
        finally:
            broker.kill()
    start_s, least_s = statistics.median(took_s), statistics.median(reference_s)
    return {"start_s": start_s, "python_start_s": least_s, "ratio": least_s / start_s, "rss_mb": resident_mb}


def _reference_s() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", _REFERENCE], check=True)
    return time.perf_counter() - began
