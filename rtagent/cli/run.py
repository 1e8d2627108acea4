"""rtagent run: the agent itself, in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import os

from rtagent.agent import logs
from rtagent.agent.settings import Settings
from rtagent.cli import options

NAME = "run"
HELP = "mirror the kernel into the data plane, in the foreground"
DESCRIPTION = """Mirror every kernel route into VPP (or the memory FIB) until SIGTERM or SIGINT. Ending the agent leaves
the data plane as it is: forwarding goes on. SIGHUP reads pairs, mirror.ignore and log again. With [mesh] in the
configuration it keeps this machine's part of the iBGP mesh in BIRD, too."""
EXAMPLES = """examples:
  rtagent run                                        configuration in /etc/rtagent/rtagent.toml, if there
  rtagent run --dataplane memory                     shadow mode: shows what would be programmed, on any Linux router
  rtagent run --journal /var/tmp/rtagent.journal     for a report: rtagent replay repeats every decision
  rtagent run --config lb.toml --netns lb --control /run/lb.sock

exit status: 0 ended by a signal; 2 trouble (configuration, a socket that cannot be had)"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_config(parser)
    options.add_control(parser)
    parser.add_argument(
        "--journal", metavar="FILE", type=os.path.abspath, help="record what is heard and decided, for rtagent replay"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    settings = options.settings_of(args)
    logs.configure(settings.log_level, settings.log_format)
    if settings.dataplane == "none":
        _keep_mesh(args, settings)
    else:
        _mirror(args, settings)
    return 0


def _keep_mesh(args: argparse.Namespace, settings: Settings) -> None:
    from rtagent.agent.mesh_agent import MeshAgent

    if settings.mesh is None:
        raise ValueError('dataplane.kind = "none" and no [mesh]: there is nothing to do; configure one of the two')
    asyncio.run(MeshAgent(settings, reload=lambda: options.settings_of(args)).run())


def _mirror(args: argparse.Namespace, settings: Settings) -> None:
    # Imported here: an agent that just keeps the mesh has no need of numpy, and starts in a tenth of the time.
    from rtagent.agent.agent import Agent
    from rtagent.agent.dataplane import make_sink
    from rtagent.transport.netns import netns_path

    if settings.netns is not None and not os.path.exists(netns_path(settings.netns)):
        raise ValueError(f"there is no network namespace {settings.netns}; see ip netns list")
    agent = Agent(settings, make_sink, config_file=options.config_file(args), reload=lambda: options.settings_of(args))
    asyncio.run(agent.run())
