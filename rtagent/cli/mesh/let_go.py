"""rtagent mesh let-go: members that the brake holds may go."""

from __future__ import annotations

import argparse
import asyncio

from rtagent.agent.asking import ask
from rtagent.cli import options, output

NAME = "let-go"
HELP = "let the members go that the agent holds because too many went at once"
DESCRIPTION = """When a large share of the members disappears at once, the running agent keeps them until a person says
that they are really gone. rtagent status shows whom it holds."""
EXAMPLES = """examples:
  rtagent mesh let-go

exit status: 0 some went; 1 nobody was held; 2 no agent answers"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_json(parser)
    options.add_control(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    gone = asyncio.run(_let_go(options.control_of(args)))
    if args.json:
        output.print_json(gone)
    else:
        print(f"let go: {', '.join(gone)}" if gone else "nobody is held")
    return 0 if gone else 1


async def _let_go(control: str) -> list[str]:
    gone: list[str] = []
    async for message in ask(control, "mesh-let-go"):
        gone = message["let_go"]
    return gone
