"""How plans and sessions of the mesh are shown."""

from __future__ import annotations

from typing import Any

from rtagent.core.mesh.plan import Plan
from rtagent.core.mesh.rollout import Step


def effects(plan: Plan) -> list[dict[str, Any]]:
    """Return a row for each session that is touched."""
    return [
        {
            "session": change.session,
            "effect": change.effect.name.lower(),
            "why": list(change.why),
            "unrelated": change.unrelated,
        }
        for change in plan.changes
    ]


def step_of(step: Step | None, refused: str) -> dict[str, Any] | None:
    """Return a step as JSON has it, None at the end of the way."""
    if step is None:
        return None
    return {
        "now": step.files is not None,
        "why": step.why,
        "waits_for": list(step.waits_for),
        "refused": refused or None,
        "sessions": effects(step.plan),
        "protocols": list(step.plan.others),
    }
