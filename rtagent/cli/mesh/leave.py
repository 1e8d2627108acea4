"""rtagent mesh leave: this member ends its sessions."""

from __future__ import annotations

import argparse

from rtagent.cli import options
from rtagent.cli.mesh import source
from rtagent.cli.mesh.drain import settle

NAME = "leave"
HELP = "end all sessions of the mesh; --undo joins again"
DESCRIPTION = """End this member's sessions and take its routes out of the kernel. The other members keep their ends
until their sources no longer tell them of this one. Lasts until --undo. Drain first where traffic is to move away
before."""
EXAMPLES = """examples:
  rtagent mesh drain && rtagent mesh leave
  rtagent mesh leave --undo

exit status: 0 in force; 1 not; 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--undo", action="store_true", help="join again")
    options.add_json(parser)
    source.add_source(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    return settle(args, "joined" if args.undo else "left")
