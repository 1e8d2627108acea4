"""rtagent run: the agent itself, in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import os

from rtagent.agent import logs
from rtagent.agent.agent import Agent
from rtagent.agent.dataplane import make_sink
from rtagent.cli import options
from rtagent.transport.netlink import netns_path

NAME = "run"
HELP = "mirror the kernel into the data plane, in the foreground"
DESCRIPTION = """Mirror every kernel route into VPP (or the memory FIB) until SIGTERM or SIGINT. Ending the agent leaves
the data plane as it is: forwarding goes on. SIGHUP reads pairs, mirror.ignore and log again."""
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
    if settings.netns is not None and not os.path.exists(netns_path(settings.netns)):
        raise ValueError(f"there is no network namespace {settings.netns}; see ip netns list")
    logs.configure(settings.log_level, settings.log_format)
    agent = Agent(settings, make_sink, config_file=options.config_file(args), reload=lambda: options.settings_of(args))
    asyncio.run(agent.run())
    return 0
