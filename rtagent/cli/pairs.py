"""rtagent pairs: VPP's interfaces, the link that each is paired with, by whom, and why not."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from rtagent.agent import snapshot
from rtagent.agent.pairs import DOWN, UP
from rtagent.cli import options, output

NAME = "pairs"
HELP = "which of VPP's interfaces are paired, by whom, and why not"
DESCRIPTION = """Show VPP's interfaces and the link that each is paired with. The pair was made by rtagent, as [taps]
says; by others (lcp create), and then rtagent follows it and never removes it; or it is only a name: a link that
stands beside the interface, as [[pairs]] says. Reads only, and works while the agent is down."""
EXAMPLES = """examples:
  rtagent pairs
  rtagent pairs --config new.toml                    what a new configuration would choose
  rtagent pairs --json | jq -r '.[] | select(.by == null) | "\\(.vpp): \\(.state)"'

exit status: 0 all that are chosen are paired; 1 one is not; 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_json(parser)
    options.add_config(parser)
    options.add_control(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with output.working("reading the kernel and VPP"):
        rows = asyncio.run(_pairs(args))
    if args.json:
        output.print_json_rows(rows)
    elif rows:
        output.print_tables(rows, ("vpp", "type", "host", "by", "state"), _cells)
    else:
        print("VPP has no interfaces")
    return 1 if any(row["chosen"] and row["state"] not in (UP, DOWN) for row in rows) else 0


async def _pairs(args: argparse.Namespace) -> list[dict[str, Any]]:
    return await snapshot.pairs(await options.settings_like_the_agent(args))


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["vpp"], row["type"] or "-", row["host"] or "-", row["by"] or "-", output.word(row["state"])
