"""Agents that do nothing but keep the mesh: real BIRDs, members over a real broker and in a file.

::

    broker (a UNIX socket) ── agent ── BIRD lb-1  ┐
                           ── agent ── BIRD node-2 ├── routed through a hub
                           ── agent ── BIRD node-3 ┘
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtagent.agent.asking import ask
from tests.lab import birds
from tests.lab.broker import Broker
from tests.lab.lab import Lab, Process, run, wait_for
from tests.lab.mesh import Mesh, MeshMember
from tests.meshes import mesh

HOLD_DOWN_S = 2


@pytest.fixture
def lab() -> Iterator[Lab]:
    if not birds.INSTALLED.present:
        pytest.skip(birds.INSTALLED.absence)
    with Lab() as made:
        yield made


class Agents:
    """One agent a member, each with its own configuration and control socket."""

    def __init__(self, lab: Lab, site: Mesh, sources: str) -> None:
        self._lab = lab
        self._site = site
        self._sources = sources
        self.running: dict[str, Process] = {}

    def start(self, one: MeshMember) -> None:
        """Start a member's BIRD with nothing of the mesh, and its agent."""
        if one.bird.process is None or not one.bird.process.running:
            for name in ("mesh.conf", "mesh-keys.conf"):
                (one.folder / name).touch()
            one.write(())
            one.bird.start()
        command = (sys.executable, "-m", "rtagent", "run", "--config", str(self._config(one)))
        self.running[one.member.id] = self._lab.start(command, log=f"agent-{one.member.id}")

    def stop(self, one: MeshMember) -> int:
        """Ask an agent to end; return its status."""
        return self.running.pop(one.member.id).stop()

    def status(self, one: MeshMember) -> dict[str, Any]:
        """Return what the agent says of itself, as soon as it answers."""
        self.running[one.member.id].wait_for(lambda: is_served(self.socket(one)), "the agent")
        return asyncio.run(_asked(self.socket(one), "status"))["status"]

    def let_go(self, one: MeshMember) -> list[str]:
        """Let those go that the brake holds."""
        return list(asyncio.run(_asked(self.socket(one), "mesh-let-go"))["let_go"])

    def wait(self, members: list[MeshMember], peers: int, timeout_s: float = 60) -> None:
        """Return when each of the members has so many sessions, all of them Established, and its agent is content."""

        def settled() -> bool:
            return all(
                len(one.sessions()) == peers and one.established() and self.status(one)["mesh"]["state"] == "settled"
                for one in members
            )

        wait_for(settled, f"{peers} sessions each", timeout_s)

    def socket(self, one: MeshMember) -> str:
        return str(self._lab.folder / f"{one.member.id}.ctl")

    def _config(self, one: MeshMember) -> Path:
        member = one.member
        config = self._lab.folder / f"{member.id}.toml"
        config.write_text(
            f"""
[dataplane]
kind = "none"
[control]
socket = "{self.socket(one)}"
[mesh]
id = "{member.id}"
asn = {member.asn}
role = "{member.role}"
address4 = "{member.address4}"
address6 = "{member.address6}"
pods = {json.dumps([str(prefix) for prefix in member.pods])}
[mesh.changes]
debounce_s = 0.1
hold_down_s = {HOLD_DOWN_S}
[mesh.bgp]
multihop = true
bfd = false
[mesh.bird]
socket = "{one.bird.socket}"
config = "{one.bird.config}"
directory = "{one.folder}"
{self._sources}"""
        )
        return config


def is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


async def _asked(path: str, command: str) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    async for message in ask(path, command):
        answer = message
    return answer


def over_mqtt(lab: Lab, broker: Broker) -> str:
    secret = lab.folder / "secret"
    secret.write_text("0123456789abcdef\n")
    return f'[mesh.mqtt]\nurl = "{broker.url}"\nsecret_file = "{secret}"\n'


def test_a_mesh_makes_itself_over_mqtt_and_follows_who_comes_and_goes(lab: Lab) -> None:
    broker = Broker(lab.folder)
    try:
        site = Mesh(lab, mesh(3))
        agents = Agents(lab, site, over_mqtt(lab, broker))
        *first, last = site.members.values()
        for one in first:
            agents.start(one)
        agents.wait(first, 2)
        before = {one.member.id: one.sessions() for one in first}

        agents.start(last)
        agents.wait([*first, last], 3)
        site.wait_for_routes()
        assert {one.member.id: set() for one in first} == {
            one.member.id: one.restarted(before[one.member.id]) for one in first
        }

        # The broker goes and comes back; nobody notices.
        before = {one.member.id: one.sessions() for one in site.members.values()}
        broker.stop()
        wait_for(lambda: agents.status(last)["mesh"]["sources"]["mqtt"]["state"] == "lost", "the loss of the broker")
        broker.start()
        wait_for(lambda: agents.status(last)["mesh"]["sources"]["mqtt"]["state"] == "heard", "the broker", 60)
        assert {name: set() for name in before} == {name: site[name].restarted(rows) for name, rows in before.items()}

        # An agent that ends leaves its BIRD as it is.
        assert 0 == agents.stop(last)
        assert last.established()

        # A machine dies: it stays configured for the hold-down, and no longer.
        agents.start(last)
        agents.wait([*first, last], 3)
        agents.running[last.member.id].kill()
        last.bird.kill()
        agents.wait(first, 2)
        assert {one.member.id: set() for one in first} == {
            one.member.id: one.restarted({k: v for k, v in before[one.member.id].items() if last.member.id not in k})
            for one in first
        }
    finally:
        broker.kill()


def test_a_file_that_loses_most_members_takes_a_person(lab: Lab) -> None:
    file = lab.folder / "members.json"
    site = Mesh(lab, mesh(4))
    rows = [
        {
            "id": one.id,
            "role": one.role.value,
            "address4": str(one.address4),
            "address6": str(one.address6),
            "pods": [str(prefix) for prefix in one.pods],
        }
        for one in site.everybody()
    ]
    file.write_text(json.dumps({"members": rows}))
    agents = Agents(lab, site, f'[mesh.file]\npath = "{file}"\n')
    everyone = list(site.members.values())
    for one in everyone:
        agents.start(one)
    agents.wait(everyone, 4)
    balancer = site["lb-1"]
    file.write_text(json.dumps({"members": [row for row in rows if row["id"] in ("lb-1", "node-2")]}))
    wait_for(lambda: agents.status(balancer)["mesh"]["braked"], "the brake")
    assert ["node-3", "node-4", "node-5"] == agents.status(balancer)["mesh"]["braked"]
    assert "degraded" == agents.status(balancer)["health"]
    assert 4 == len(balancer.sessions())
    assert ["node-3", "node-4", "node-5"] == agents.let_go(balancer)
    wait_for(lambda: set(balancer.sessions()) == {"mesh.node-2"}, "the removal", 30)


def test_an_agent_that_only_keeps_the_mesh_is_small(lab: Lab) -> None:
    broker = Broker(lab.folder)
    try:
        site = Mesh(lab, mesh(1))
        agents = Agents(lab, site, over_mqtt(lab, broker))
        for one in site.members.values():
            agents.start(one)
        agents.wait(list(site.members.values()), 1)
        for agent in agents.running.values():
            fields = dict(
                line.split(":", 1) for line in Path(f"/proc/{agent.pid}/status").read_text().splitlines() if ":" in line
            )
            assert int(fields["VmRSS"].split()[0]) <= 40 * 1024
            assert "numpy" not in Path(f"/proc/{agent.pid}/maps").read_text()
    finally:
        broker.kill()


def test_status_shows_the_mesh_to_people(lab: Lab) -> None:
    site = Mesh(lab, mesh(1))
    agents = Agents(lab, site, "")
    one = site["lb-1"]
    agents.start(one)
    wait_for(lambda: agents.status(one)["mesh"]["state"] == "settled", "it")
    said = run(sys.executable, "-m", "rtagent", "status", "--control", agents.socket(one))
    assert "settled, 1 members" in said
