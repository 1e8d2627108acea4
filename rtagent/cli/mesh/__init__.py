"""rtagent mesh: the iBGP mesh of load balancers and nodes, one module a command."""

from __future__ import annotations

import argparse

from rtagent.cli.mesh import apply, drain, init, leave, let_go, matrix, plan, status, verify

NAME = "mesh"
HELP = "the iBGP mesh: what is configured, what stands, what every pair thinks"
DESCRIPTION = """Set up, look at and change this machine's part of the iBGP mesh. `rtagent run` does plan and apply by
itself where [mesh] is configured; these commands work without it too."""
EXAMPLES = """examples:
  rtagent mesh init --role node --asn 64512 --address4 192.0.2.7 --pods 10.244.7.0/24
  rtagent mesh plan --diff
  rtagent mesh matrix --sockets /run/rtagent/members
  rtagent mesh --help, rtagent mesh COMMAND --help"""

_COMMANDS = (init, plan, apply, status, matrix, verify, drain, leave, let_go)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the commands."""
    commands = parser.add_subparsers(dest="mesh_command", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        command = commands.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add(command)
        command.set_defaults(run_mesh=module.run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    status_: int = args.run_mesh(args)
    return status_
