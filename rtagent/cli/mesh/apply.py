"""rtagent mesh apply: BIRD is told what it should be told, step by step, and each step proves itself or is undone."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

from rtagent.agent.mesh_bird import MeshBird
from rtagent.cli import options, output
from rtagent.cli.mesh import source
from rtagent.core.mesh.rollout import Step
from rtagent.vector.members import Members

NAME = "apply"
HELP = "put the mesh's configuration into force, without a session lost"
DESCRIPTION = """Bring BIRD to where `rtagent mesh plan` says: written beside, checked by BIRD, in force for a trial,
verified, confirmed, and undone with the old files back where it does not prove itself. Where sessions have to restart
(a new password, another hold time), second sessions carry the routes meanwhile; the other members have to make the same
change."""
EXAMPLES = """examples:
  rtagent mesh apply
  rtagent mesh apply --allow-restarts --timeout 600     a new password: waits until the other members have it too

exit status: 0 in force; 1 refused, undone, or not at the end in time; 2 trouble"""

_LOOK_EVERY_S = 0.5


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--allow-restarts", action="store_true", help="also restart sessions for no reason of their own"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=60.0, help="how long to wait for other members (default: 60)"
    )
    options.add_json(parser)
    source.add_source(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    settings = source.settings_of(args)
    members = asyncio.run(source.members_of(args, settings))
    bird = MeshBird(settings)
    return arrive(bird, members, allow_restarts=args.allow_restarts, timeout_s=args.timeout, as_json=args.json)


def arrive(bird: MeshBird, members: Members, *, allow_restarts: bool, timeout_s: float, as_json: bool) -> int:
    """Take step after step; say what was done, and return the command's status."""
    answer = asyncio.run(_steps(bird, members, allow_restarts=allow_restarts, timeout_s=timeout_s))
    if as_json:
        output.print_json(answer)
    else:
        for step in answer["steps"]:
            print(f"{step['outcome']}{': ' + step['why'] if step['why'] else ''}")
            for reason in step["reasons"]:
                print(f"  {reason}")
        if answer["left"]:
            print(answer["left"])
        elif not answer["steps"]:
            print("unchanged: BIRD's configuration of the mesh is what it should be")
    return 0 if answer["done"] else 1


async def _steps(bird: MeshBird, members: Members, *, allow_restarts: bool, timeout_s: float) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    until = time.monotonic() + timeout_s
    await bird.recover()
    before: Step | None = None
    since = 0.0
    while True:
        look = await bird.look()
        outlook = bird.outlook(members, look, allow_restarts=allow_restarts)
        step = outlook.step
        if step is None:
            return {"done": True, "steps": steps, "left": ""}
        if outlook.refused:
            return {"done": False, "steps": steps, "left": f"refused: {outlook.refused}"}
        now = time.monotonic()
        if before is None or before.files != step.files:
            before, since = step, now
        if step.files is not None and (now >= since + step.settle_s or not look.running):
            applied = await bird.take(step, look)
            reasons = [*applied.reasons, *([str(applied.problem)] if applied.problem else [])]
            steps.append({"outcome": applied.outcome.value, "why": step.why, "reasons": reasons})
            if not applied.good:
                return {"done": False, "steps": steps, "left": ""}
            if not look.running:
                return {"done": True, "steps": steps, "left": ""}
        elif now > until:
            return {"done": False, "steps": steps, "left": f"{step.why}: {', '.join(step.waits_for)}"}
        else:
            await asyncio.sleep(_LOOK_EVERY_S)
