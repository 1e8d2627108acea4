"""rtagent mesh status: how this member stands in the mesh."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from rtagent.agent.mesh_bird import MeshBird
from rtagent.cli import options, output
from rtagent.cli.mesh import shown, source

NAME = "status"
HELP = "how this member stands in the mesh"
DESCRIPTION = """Show BIRD's version, the topology, this member's sessions and what is still to be done."""
EXAMPLES = """examples:
  rtagent mesh status
  rtagent mesh status --json | jq '.sessions[] | select(.state != "Established")'

exit status: 0 every session stands and nothing is to be done; 1 not so; 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_json(parser)
    source.add_source(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    status = asyncio.run(_status(args))
    if args.json:
        output.print_json(status)
    else:
        _show(status)
    standing = all(session["state"] == "Established" for session in status["sessions"])
    return 0 if status["running"] and standing and status["step"] is None else 1


async def _status(args: argparse.Namespace) -> dict[str, Any]:
    settings = source.settings_of(args)
    bird = MeshBird(settings)
    members = await source.members_of(args, settings)
    look = await bird.look(counting=True)
    outlook = bird.outlook(members, look)
    final = outlook.target.final
    return {
        "id": settings.id,
        "intent": bird.intent,
        "running": look.running,
        "bird": ".".join(map(str, look.version)),
        "topology": final.topology.value,
        "members": len(members),
        "sessions": [
            {
                "session": row.name,
                "state": row.bgp.state,
                "since": row.since,
                "imported": sum(channel.imported or 0 for channel in row.channels),
                "refused": sum(channel.filtered or 0 for channel in row.channels),
                "error": row.bgp.last_error if row.bgp.state != "Established" else "",
            }
            for row in look.protocols
            if row.bgp is not None
        ],
        "impossible": {row.id: row.why for row in final.impossible},
        "step": shown.step_of(outlook.step, outlook.refused),
    }


def _show(status: dict[str, Any]) -> None:
    sessions = status["sessions"]
    up = sum(session["state"] == "Established" for session in sessions)
    running = "" if status["running"] else " (not running)"
    print(f"{status['id']} ({status['intent']}): {status['members']} members, topology {status['topology']}")
    print(f"BIRD {status['bird']}{running}: {up} of {len(sessions)} sessions Established")
    if sessions:
        columns = ("session", "state", "since", "imported", "refused", "error")
        output.print_tables(sessions, columns, lambda row: [str(row[column]) for column in columns])
    for member, why in status["impossible"].items():
        print(f"no session with {member}: it {why}")
    if status["step"] is not None:
        print("something is to be done: rtagent mesh plan")
