"""rtagent mesh matrix: every pair of members, both ends, and a verdict."""

from __future__ import annotations

import argparse
import asyncio
from itertools import combinations
from typing import Any

from rtagent.agent.mesh_bird import MeshBird, options_of
from rtagent.cli import options, output
from rtagent.cli.mesh import source
from rtagent.core.mesh.sessions import Topology, topology
from rtagent.core.mesh.text import topology_of
from rtagent.core.mesh.verdicts import Pair, SessionView, Verdict, matrix
from rtagent.vector.members import Role

NAME = "matrix"
HELP = "every pair of members, both ends, with a verdict"
DESCRIPTION = """Ask the BIRDs of members and judge every pair that should have a session: up, one-sided, ASN, router
id, authentication suspected, unreachable, not configured, unknown. Both ends together tell more than one: where the
socket of a member is given, its end counts too; otherwise the pair is judged by the other end alone."""
EXAMPLES = """examples:
  rtagent mesh matrix                                  what this member sees
  rtagent mesh matrix --sockets /run/rtagent/members   all that have a socket there, forwarded for instance by
      ssh -fN -L /run/rtagent/members/n1:/run/bird/bird.ctl n1
  rtagent mesh matrix --member n1=/tmp/n1.ctl --json

exit status: 0 every pair that could be judged is up; 1 not so; 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--all", action="store_true", help="show the pairs that are up, too")
    options.add_json(parser)
    source.add_source(parser)
    source.add_sockets(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    pairs = asyncio.run(_pairs(args))
    wrong = [pair for pair in pairs if pair.verdict not in (Verdict.UP, Verdict.UNKNOWN)]
    if args.json:
        output.print_json_rows(map(_row, pairs))
    else:
        shown = pairs if args.all else wrong
        if shown:
            columns = ("member", "member", "verdict", "one end", "other end")
            output.print_tables(map(_row, shown), columns, _cells)
        up = sum(pair.verdict is Verdict.UP for pair in pairs)
        unknown = sum(pair.verdict is Verdict.UNKNOWN for pair in pairs)
        print(f"{len(pairs)} pairs: {up} up, {len(wrong)} not, {unknown} unknown")
    return 1 if wrong else 0


async def _pairs(args: argparse.Namespace) -> tuple[Pair, ...]:
    settings = source.settings_of(args)
    members = await source.members_of(args, settings)
    found = await source.reports(source.sockets_of(args, settings, members), members)
    bird = MeshBird(settings)
    shape = topology(members, options_of(settings), topology_of(bird.files))
    pairs = (
        (one.id, other.id)
        for one, other in combinations(members, 2)
        if shape is Topology.MESH or Role.REFLECTOR in (one.role, other.role)
    )
    return matrix(pairs, found, authentication=settings.bgp.secret_file is not None)


def _row(pair: Pair) -> dict[str, Any]:
    one, other = (end and end._asdict() for end in pair.ends)
    return {"one": pair.one, "other": pair.other, "verdict": pair.verdict.value, "ends": [one, other]}


def _cells(row: dict[str, Any]) -> list[Any]:
    ends = [_end(end and SessionView(**end)) for end in row["ends"]]
    return [row["one"], row["other"], output.word(row["verdict"]), *ends]


def _end(view: SessionView | None) -> str:
    return "-" if view is None else f"{view.state} {view.error}".strip()
