"""rtagent explain: why a destination is, or is not, forwarded."""

from __future__ import annotations

import argparse
import asyncio

from rtagent.agent import snapshot
from rtagent.cli import options, output
from rtagent.core.explain import Step, question
from rtagent.vector.keys import TABLE_MAIN, Key

NAME = "explain"
HELP = "why a destination is, or is not, forwarded"
DESCRIPTION = """Show the chain kernel route, best entry, resolution, data plane entry, adjacency, interface, up to its
first broken link. Reads only, and works while the agent is down."""
EXAMPLES = """examples:
  rtagent explain 198.51.100.7
  rtagent explain 2001:db8::/32 --table 100
  rtagent explain 16001 --json

exit status: 0 forwarded; 1 not forwarded; 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("destination", metavar="ADDRESS|PREFIX|LABEL")
    parser.add_argument(
        "--table", metavar="N", type=int, default=TABLE_MAIN, help="the kernel table (default: main, 254)"
    )
    options.add_json(parser)
    options.add_config(parser)
    options.add_control(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    key, exact = question(args.destination, args.table)
    with output.working("reading the kernel and the data plane"):
        steps = asyncio.run(_steps(args, key, exact))
    broken = next((step.name for step in steps if not step.holds), None)
    if args.json:
        output.print_json(
            {"destination": args.destination, "broken": broken, "steps": [step._asdict() for step in steps]}
        )
    else:
        shown = output.table("", "", "")
        shown.show_header = False
        for step in steps:
            shown.add_row(_mark(step), step.name, output.plain(step.text))
        output.console().print(shown)
        verdict = "is forwarded" if broken is None else f"is not forwarded as the kernel says: broken at {broken}"
        output.console().print(f"{args.destination} {verdict}")
    return 0 if broken is None else 1


async def _steps(args: argparse.Namespace, key: Key, exact: bool) -> list[Step]:
    settings = await options.settings_like_the_agent(args)
    return await snapshot.explain(settings, key, exact=exact)


def _mark(step: Step) -> str:
    return "[green]✓[/green]" if step.holds else "[red]✗[/red]"
