"""rtagent interfaces: the pairs, both sides of each, and what differs."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from rtagent.agent import snapshot
from rtagent.cli import options, output

NAME = "interfaces"
HELP = "the pairs: both sides of each, and what differs"
DESCRIPTION = """Show each pair of a kernel link and a VPP interface, VLANs upon them included: state, MTU, hardware
address, table and addresses of both sides, and why the two are not alike where they are not. Reads only, and works
while the agent is down: what it shows as extra, the agent would remove."""
EXAMPLES = """examples:
  rtagent interfaces
  rtagent interfaces --json
  rtagent interfaces --config new.toml               before the agent is started with it

exit status: 0 alike; 1 something differs; 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_json(parser)
    options.add_config(parser)
    options.add_control(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with output.working("reading the kernel and the data plane"):
        rows = asyncio.run(_interfaces(args))
    if args.json:
        output.print_json_rows(rows)
    elif rows:
        output.print_tables(rows, ("host", "vpp", "state", "kernel", "data plane", "differs"), _cells)
    else:
        print("no pairs are configured")
    return 1 if any(row["differences"] or row["state"] not in ("up", "down") for row in rows) else 0


async def _interfaces(args: argparse.Namespace) -> list[dict[str, Any]]:
    return await snapshot.interfaces(await options.settings_like_the_agent(args))


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    differences = "\n".join(_difference(each) for each in row["differences"])
    return (
        row["host"],
        row["vpp"],
        output.word(row["state"]),
        _side(row["kernel"]),
        _side(row["dataplane"]),
        differences,
    )


def _side(side: dict[str, Any] | None) -> str:
    if side is None:
        return "-"
    words = ["up" if side["up"] else "down", f"mtu {side['mtu']}", *([side["mac"]] if side["mac"] else [])]
    return "\n".join([f"{' '.join(words)} table {side['table']}", *side["addresses"]])


def _difference(row: dict[str, Any]) -> str:
    return f"{row['object'].partition(' ')[2]}: {row['why']}" + (f" ({row['reason']})" if row["reason"] else "")
