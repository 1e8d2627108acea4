"""Agents that do nothing but keep the mesh, one for each member of it, with real BIRDs."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rtagent.agent.asking import ask
from rtagent.vector.members import Member
from tests.lab.broker import Broker
from tests.lab.lab import Lab, Process, wait_for
from tests.lab.mesh import MeshMember

_HOLD_DOWN_S = 2


class Agents:
    """One agent a member, each with its own configuration and control socket."""

    def __init__(self, lab: Lab, sources: str, bgp: str = "") -> None:
        """``sources`` are tables of the configuration, ``bgp`` is what [mesh.bgp] gets besides."""
        self._lab = lab
        self.sources = sources
        self._bgp = bgp
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

    def says(self, one: MeshMember, event: str) -> bool:
        """Whether the agent has logged an event."""
        return event in self.running[one.member.id].text()

    def wait(self, members: list[MeshMember], peers: int, *, stand: int | None = None, timeout_s: float = 60) -> None:
        """Return when each of the members has so many sessions, and its agent is content.

        So many of them ``stand`` then, if told, else all.
        """

        def settled() -> bool:
            return all(
                [peers, peers if stand is None else stand] == counted(one)
                and self.status(one)["mesh"]["state"] == "settled"
                for one in members
            )

        def counted(one: MeshMember) -> list[int]:
            states = [state for state, _ in one.sessions().values()]
            return [len(states), states.count("Established")]

        wait_for(settled, f"{peers} sessions each", timeout_s)

    def socket(self, one: MeshMember) -> str:
        """Return where its agent answers."""
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
hold_down_s = {_HOLD_DOWN_S}
[mesh.bgp]
multihop = true
bfd = false
{self._bgp}
[mesh.bird]
socket = "{one.bird.socket}"
config = "{one.bird.config}"
directory = "{one.folder}"
{self.sources}"""
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


def over_mqtt(lab: Lab, broker: Broker, keepalive_s: int = 15) -> str:
    """Return the table of a source: members over MQTT."""
    secret = lab.folder / "secret"
    secret.write_text("0123456789abcdef\n")
    return f'[mesh.mqtt]\nurl = "{broker.url}"\nsecret_file = "{secret}"\nkeepalive_s = {keepalive_s}\n'


def over_file(path: Path) -> str:
    """Return the table of a source: members in a file."""
    return f'[mesh.file]\npath = "{path}"\n'


def members_file(members: Iterable[Member]) -> str:
    """Return the text of a members' file, in JSON."""
    return json.dumps({"members": [_row(one) for one in members]})


def _row(one: Member) -> dict[str, Any]:
    addresses = {name: str(getattr(one, name)) for name in ("router_id", "address4", "address6")}
    pods = [str(prefix) for prefix in one.pods]
    return {"id": one.id, "role": one.role.value, "asn": one.asn, **addresses, "pods": pods}
