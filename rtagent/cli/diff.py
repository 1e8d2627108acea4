"""rtagent diff: whether the data plane forwards as the kernel says."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from rtagent.agent import snapshot
from rtagent.cli import options, output
from rtagent.core.compare import SIDES

NAME = "diff"
HELP = "what differs between the kernel and the data plane"
DESCRIPTION = """Compare two of kernel, desired and vpp (the data plane of either kind) on snapshots of the moment:
routes, and what the interfaces of pairs are set to. Reads only, and works while the agent is down. Each row says why:
missing, extra, other value, other next hops, shadowed by, parked, unsupported, rejected."""
EXAMPLES = """examples:
  rtagent diff                                       kernel and data plane
  rtagent diff --between desired,vpp                 only what the data plane should hold and does not, or the reverse
  rtagent diff --between kernel,desired --json       only what cannot be expressed, and why

exit status: 0 equal; 1 different; 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--between", metavar="A,B", type=_sides, default=("kernel", "vpp"), help="two of kernel, desired, vpp"
    )
    options.add_json(parser)
    options.add_config(parser)
    options.add_control(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    left, right = args.between
    with output.working("reading the kernel and the data plane"):
        rows = asyncio.run(_differences(args, left, right))
    if args.json:
        output.print_json_rows(rows)
    elif rows:
        columns = ("table", "prefix", "why", left, right, "reason")
        output.print_tables(rows, columns, lambda row: _cells(row, left, right))
    else:
        print(f"{left} and {right} are equal")
    return 1 if rows else 0


async def _differences(args: argparse.Namespace, left: str, right: str) -> list[dict[str, Any]]:
    settings = await options.settings_like_the_agent(args)
    return await snapshot.differences(settings, left, right)


def _cells(row: dict[str, Any], left: str, right: str) -> tuple[Any, ...]:
    if "object" in row:
        return "", row["object"], output.word(row["why"]), row[left] or "-", row[right] or "-", row["reason"]
    key = row.get("prefix") or (f"rule {row['rule']}" if "rule" in row else f"label {row['label']}")
    sides = output.paths_text(row[left]), output.paths_text(row[right])
    return str(row["table"]), key, output.word(row["why"]), *sides, row["reason"]


def _sides(text: str) -> tuple[str, str]:
    sides = text.split(",")
    if len(sides) != 2 or len(set(sides)) != 2 or not set(sides) <= set(SIDES):
        raise argparse.ArgumentTypeError(f"{text}: two different ones of {', '.join(SIDES)}, such as kernel,vpp")
    return sides[0], sides[1]
