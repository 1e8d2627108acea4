"""Agents that do nothing but keep the mesh: real BIRDs, members over a real broker and in a file.

::

    broker (a UNIX socket) ── agent ── BIRD lb-1  ┐
                           ── agent ── BIRD node-2 ├── routed through a hub
                           ── agent ── BIRD node-3 ┘
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import birds
from tests.lab.broker import Broker
from tests.lab.lab import Lab, run, wait_for
from tests.lab.memory import memory
from tests.lab.mesh import Mesh
from tests.lab.mesh_agents import Agents, members_file, over_file, over_mqtt
from tests.meshes import mesh


@pytest.fixture
def lab() -> Iterator[Lab]:
    if not birds.INSTALLED.present:
        pytest.skip(birds.INSTALLED.absence)
    with Lab() as made:
        yield made


def test_a_mesh_makes_itself_over_mqtt_and_follows_who_comes_and_goes(lab: Lab) -> None:
    broker = Broker(lab.folder)
    try:
        site = Mesh(lab, mesh(3))
        agents = Agents(lab, over_mqtt(lab, broker))
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
    file.write_text(members_file(site.everybody()))
    agents = Agents(lab, over_file(file))
    everyone = list(site.members.values())
    for one in everyone:
        agents.start(one)
    agents.wait(everyone, 4)
    balancer = site["lb-1"]
    file.write_text(members_file(one for one in site.everybody() if one.id in ("lb-1", "node-2")))
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
        agents = Agents(lab, over_mqtt(lab, broker))
        for one in site.members.values():
            agents.start(one)
        agents.wait(list(site.members.values()), 1)
        for agent in agents.running.values():
            assert memory(agent.pid).resident <= 40
            assert "numpy" not in Path(f"/proc/{agent.pid}/maps").read_text()
    finally:
        broker.kill()


def test_status_shows_the_mesh_to_people(lab: Lab) -> None:
    site = Mesh(lab, mesh(1))
    agents = Agents(lab, "")
    one = site["lb-1"]
    agents.start(one)
    wait_for(lambda: agents.status(one)["mesh"]["state"] == "settled", "it")
    said = run(sys.executable, "-m", "rtagent", "status", "--control", agents.socket(one))
    assert "settled, 1 members" in said
