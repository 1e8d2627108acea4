"""rtagent mesh plan: what an apply would do now, and what that costs each session."""

from __future__ import annotations

import argparse
import asyncio
import difflib

from rtagent.agent.mesh_bird import MeshBird, Outlook
from rtagent.cli import options, output
from rtagent.cli.mesh import shown, source
from rtagent.core.mesh.text import MAIN_FILE

NAME = "plan"
HELP = "what an apply would do, and what that costs each session"
DESCRIPTION = """Compare BIRD's configuration of the mesh on disk with what it should be, and say for each session what
the next step costs: none, refresh (of routes; the session stays), added, removed or restart. Changes nothing."""
EXAMPLES = """examples:
  rtagent mesh plan
  rtagent mesh plan --diff                        with the text that changes; keys are never shown
  rtagent mesh plan --members after.toml --json   what if these were the members

exit status: 0 nothing to do; 1 something to do, or to wait for; 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--diff", action="store_true", help="show the text that changes")
    options.add_json(parser)
    source.add_source(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    settings = source.settings_of(args)
    bird = MeshBird(settings)
    disk = bird.files
    outlook = asyncio.run(_outlook(args))
    step = outlook.step
    impossible = {row.id: row.why for row in outlook.target.final.impossible}
    if args.json:
        topology = outlook.target.final.topology.value
        answer = {"topology": topology, "step": shown.step_of(step, outlook.refused), "impossible": impossible}
        output.print_json(answer)
    else:
        _show(outlook)
        for member, why in impossible.items():
            print(f"no session with {member}: it {why}")
        if args.diff and step is not None and step.files is not None:
            before, after = (files[MAIN_FILE].splitlines(keepends=True) for files in (disk, step.files))
            print("".join(difflib.unified_diff(before, after, "in force", "planned")), end="")
    return 0 if step is None else 1


async def _outlook(args: argparse.Namespace) -> Outlook:
    settings = source.settings_of(args)
    bird = MeshBird(settings)
    return bird.outlook(await source.members_of(args, settings), await bird.look())


def _show(outlook: Outlook) -> None:
    step = outlook.step
    if step is None:
        print("nothing to do: BIRD's configuration of the mesh is what it should be")
        return
    if step.why:
        print(step.why)
    if step.waits_for:
        print(f"waits for {', '.join(step.waits_for)}")
    rows = shown.effects(step.plan)
    if rows:
        output.print_tables(
            rows,
            ("session", "effect", "because of"),
            lambda row: (row["session"], row["effect"], ", ".join(row["why"])),
        )
    for protocol in step.plan.others:
        print(f"changes {protocol}")
    if outlook.refused:
        print(f"refused: {outlook.refused}")
