"""rtagent fib: the rows that the agent installs, as the data plane holds them."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from rtagent.agent.asking import ask
from rtagent.cli import errors, options, output
from rtagent.vector.keys import FAMILY_NUMBERS, Key

NAME = "fib"
HELP = "the installed rows, and those that are not, with the reason"
DESCRIPTION = """Show rows as the data plane holds them, each with its state: installed, pending, rejected, unsupported,
parked (no pair, no usable next hop) or shadowed (by a stronger source). A bare address shows the row that covers it."""
EXAMPLES = """examples:
  rtagent fib
  rtagent fib --table 100 --family inet6
  rtagent fib 192.0.2.0/24 --json
  rtagent fib 16001                                  an MPLS label

exit status: 0 shown; 1 no such row; 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("key", metavar="PREFIX|LABEL", nargs="?", help="only this row")
    parser.add_argument("--table", metavar="N", type=int, help="only this kernel table (main is 254)")
    parser.add_argument("--family", choices=tuple(FAMILY_NUMBERS), help="only this family")
    options.add_json(parser)
    options.add_control(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.key is not None:
        Key.parse(args.key)
    rows = asyncio.run(_ask(options.control_of(args), table=args.table, family=args.family, key=args.key))
    if args.json:
        count = output.print_json_rows(rows)
    else:
        columns = ("table", "prefix", "forwards", "state", "reason")
        count = output.print_tables(rows, columns, _cells)
    if args.key is not None and not count and not args.json:
        errors.tell(f"no row for {args.key}; rtagent explain {args.key} tells why")
    return 1 if args.key is not None and not count else 0


async def _ask(control: str, **selection: Any) -> list[dict[str, Any]]:
    with output.working("reading the rows"):
        return [row async for message in ask(control, "fib", **selection) for row in message["rows"]]


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    key = row.get("prefix", f"label {row.get('label')}")
    return str(row["table"]), key, output.paths_text(row), output.word(row["state"]), row["reason"]
