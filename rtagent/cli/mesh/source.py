"""Where the commands about the mesh take their facts from: settings, members, and the BIRDs of members.

Another member's BIRD is asked over a socket of its own, like this machine's: a socket is what a lab has anyway, and
what ssh forwards from anywhere (``ssh -L FOLDER/ID:/run/bird/bird.ctl ID``). Nothing listens for it on a network.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path

from rtagent.agent.asking import RequestRefused, Unreachable, ask
from rtagent.agent.mesh_bird import MeshTrouble, options_of
from rtagent.agent.mesh_settings import MeshSettings
from rtagent.cli import options
from rtagent.core.failures import Disconnected
from rtagent.core.mesh.merge import merge
from rtagent.core.mesh.sessions import protocol
from rtagent.core.mesh.text import bridge_of
from rtagent.core.mesh.verdicts import Report, SeenRoute, SessionView
from rtagent.sinks.birdc import BirdClient
from rtagent.vector.claims import Claim, Claims
from rtagent.vector.members import Members
from rtagent.wire.members import document

_DOWN = "down"


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add --config, --members and --control."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="configuration with [mesh]")
    parser.add_argument(
        "--members",
        metavar="FILE",
        type=Path,
        help="the members (default: what the agent knows, else the file of [mesh.file])",
    )
    options.add_control(parser)


def add_sockets(parser: argparse.ArgumentParser) -> None:
    """Add --sockets and --member."""
    parser.add_argument(
        "--sockets", metavar="FOLDER", type=Path, help="holds a control socket of BIRD's for each member, named like it"
    )
    parser.add_argument(
        "--member",
        metavar="ID=SOCKET",
        action="append",
        default=[],
        type=_named_socket,
        help="the control socket of one member's BIRD; may be repeated",
    )


def settings_of(args: argparse.Namespace) -> MeshSettings:
    """Return [mesh]. Raises MeshTrouble, SettingsError."""
    settings = options.settings_of(args).mesh
    if settings is None:
        raise MeshTrouble("there is no [mesh] in the configuration; rtagent mesh init writes one")
    return settings


async def members_of(args: argparse.Namespace, settings: MeshSettings) -> Members:
    """Return the members as the running agent knows them, else as the file and [mesh] tell them.

    Raises MeshTrouble, SettingsError, OSError.
    """
    if args.members is None:
        with contextlib.suppress(Unreachable, RequestRefused):
            async for message in ask(options.control_of(args), "mesh-members"):
                if message["members"]:
                    return _merged((), document.decode(json.dumps(message), "the agent's members.json"), settings)
    return _of_file(args.members, settings)


def _of_file(given: Path | None, settings: MeshSettings) -> Members:
    file = given or (Path(settings.file.path) if settings.file else None)
    if file is None:
        raise MeshTrouble("who is a member? no agent tells, and there is no [mesh.file]: name a file with --members")
    own = Claim(
        settings.id,
        role=settings.role,
        asn=settings.asn,
        router_id=settings.router_id,
        address4=settings.address4,
        address6=settings.address6,
        pods=settings.pods or None,
        labels=settings.labels,
    )
    return _merged((own,), document.decode(file.read_text(encoding="utf-8"), str(file)), settings)


def _merged(own: Claims, told: Claims, settings: MeshSettings) -> Members:
    return merge([own, told], settings.asn, options_of(settings).allows).members


def sockets_of(args: argparse.Namespace, settings: MeshSettings, members: Members) -> dict[str, str]:
    """Return id → socket of the members that can be asked, this one among them. Raises MeshTrouble."""
    sockets = {settings.id: settings.bird.socket}
    ids = {member.id for member in members}
    if args.sockets is not None:
        if not args.sockets.is_dir():
            raise MeshTrouble(f"{args.sockets}: no folder of sockets")
        sockets |= {path.name: str(path) for path in args.sockets.iterdir() if path.name in ids}
    for name, path in args.member:
        if name not in ids:
            raise MeshTrouble(f"--member {name}={path}: {name} is no member")
        sockets[name] = path
    return sockets


async def reports(sockets: Mapping[str, str], members: Members, *, routes: bool = False) -> dict[str, Report]:
    """Ask the members' BIRDs, all at once; one that does not answer has no report."""
    found = await asyncio.gather(*(_report(path, members, routes=routes) for path in sockets.values()))
    return {name: report for name, report in zip(sockets, found, strict=True) if report is not None}


async def _report(path: str, members: Members, *, routes: bool) -> Report | None:
    peers = {protocol(member.id): member.id for member in members}
    peers |= {bridge_of(name): peer for name, peer in peers.items()}
    try:
        async with BirdClient(path, restricted=True) as client:
            sessions: dict[str, SessionView] = {}
            for row in await client.protocols("mesh*"):
                peer = peers.get(row.name)
                if peer is None or row.bgp is None or sessions.get(peer, SessionView(_DOWN)).state == "Established":
                    continue
                sessions[peer] = SessionView(row.bgp.state, row.bgp.last_error)
            seen = [
                route
                for filtered in (False, True)
                if routes
                for route in await _routes(client, peers, filtered=filtered)
            ]
    except Disconnected:
        return None
    return Report(sessions, tuple(seen))


async def _routes(client: BirdClient, peers: Mapping[str, str], *, filtered: bool) -> list[SeenRoute]:
    seen = []
    async for route in client.routes(table="all", filtered=filtered, attributes=True):
        peer = peers.get(route.protocol)
        if peer is not None:
            hop = route.attributes.get("bgp_next_hop", "").split(" ")[0]
            seen.append(SeenRoute(ip_network(route.prefix), peer, ip_address(hop), not filtered))
    return seen


def _named_socket(text: str) -> tuple[str, str]:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"{text}: write a member and its socket, such as n1=/run/members/n1")
    return name, path
