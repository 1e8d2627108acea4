"""rtagent mesh verify: whether each pod prefix is where it should be, and nowhere else."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from rtagent.cli import options, output
from rtagent.cli.mesh import source
from rtagent.core.mesh.verdicts import Finding, verify

NAME = "verify"
HELP = "whether each pod prefix is visible where it should be, and nowhere else"
DESCRIPTION = """Ask the BIRDs of members for the routes that they have from the mesh. Each pod prefix must be visible
at each other member, from its owner, by its owner's next hop. Told are prefixes that are missing, foreign ones that are
believed all the same, and those that were refused, with the offender; what was refused does no harm."""
EXAMPLES = """examples:
  rtagent mesh verify                                  at this member
  rtagent mesh verify --sockets /run/rtagent/members   at all that have a socket there
  rtagent mesh verify --json

exit status: 0 all is where it should be (something may have been refused); 1 something is missing or foreign;
2 trouble, a member that does not answer among them"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_json(parser)
    source.add_source(parser)
    source.add_sockets(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    findings, silent, prefixes = asyncio.run(_findings(args))
    if args.json:
        output.print_json({"findings": [_row(finding) for finding in findings], "silent": silent})
    else:
        columns = ("at", "prefix", "kind", "peer", "why")
        if findings:
            output.print_tables(map(_row, findings), columns, lambda row: [row[column] for column in columns])
        for member in silent:
            print(f"{member} does not answer")
        harmful = sum(finding.harmful for finding in findings)
        print(f"{prefixes} pod prefixes: {harmful} missing or foreign, {len(findings) - harmful} refused")
    if silent:
        return 2
    return 1 if any(finding.harmful for finding in findings) else 0


async def _findings(args: argparse.Namespace) -> tuple[tuple[Finding, ...], list[str], int]:
    settings = source.settings_of(args)
    members = await source.members_of(args, settings)
    sockets = source.sockets_of(args, settings, members)
    found = await source.reports(sockets, members, routes=True)
    silent = sorted(sockets.keys() - found.keys())
    return verify(members, found), silent, sum(len(member.pods) for member in members)


def _row(finding: Finding) -> dict[str, Any]:
    return {**finding._asdict(), "prefix": str(finding.prefix)}
