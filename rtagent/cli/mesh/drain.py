"""rtagent mesh drain: this member announces nothing any more, and keeps its sessions."""

from __future__ import annotations

import argparse
import asyncio

from rtagent.agent.mesh_bird import MeshBird
from rtagent.cli import options
from rtagent.cli.mesh import source
from rtagent.cli.mesh.apply import arrive

NAME = "drain"
HELP = "announce nothing any more, keep the sessions; --undo announces again"
DESCRIPTION = """Take this member's pod prefixes out of the mesh: its routes are withdrawn everywhere, its sessions
stay, so that it still sees the others. Lasts over restarts of the agent and of BIRD, until --undo."""
EXAMPLES = """examples:
  rtagent mesh drain
  rtagent mesh drain --undo

exit status: 0 in force; 1 not; 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--undo", action="store_true", help="announce again")
    options.add_json(parser)
    source.add_source(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    return settle(args, "joined" if args.undo else "drained")


def settle(args: argparse.Namespace, intent: str) -> int:
    """Note what this member wants, and bring it about; what does not come about is not noted."""
    settings = source.settings_of(args)
    bird = MeshBird(settings)
    members = asyncio.run(source.members_of(args, settings))
    before, bird.intent = bird.intent, intent
    try:
        status = arrive(bird, members, allow_restarts=False, timeout_s=30, as_json=args.json)
    except BaseException:
        bird.intent = before
        raise
    if status:
        bird.intent = before
    return status
