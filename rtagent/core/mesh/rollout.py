"""How a new configuration gets into force without a route being lost: one step at a time, each safe by itself.

What is on disk and which sessions stand is all that is asked; nothing is remembered, so an agent that dies between two
steps goes on where it was, and members that take their steps at different times get along.

*Restarts.* A password or a hold time cannot change while a session stands, so a second session, with the new values and
at another port, is put beside each (a *bridge*). Once these stand, the first ones restart, and once those stand again,
the second ones go. The other end does the same in its own time: until then the second session does not stand, and
everything waits as it is.

*Reflectors.* Sessions with reflectors are there in a mesh too. The others go only when those stand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, TypeAlias

from rtagent.core.mesh.plan import Effect, Plan, plan
from rtagent.core.mesh.text import Configuration, bridge_of, without_bridge
from rtagent.vector.members import Role

Files: TypeAlias = Mapping[str, str]


class Target(NamedTuple):
    """Where to go, and what there is to go through."""

    final: Configuration
    mesh: Configuration
    """The same members with sessions between all of them; equal to ``final`` unless reflectors are to do."""
    bridge: Callable[[Configuration, Collection[str]], Files]
    """Returns what the files get at their end to have second sessions beside those of these names."""


class Carries(NamedTuple):
    """What a session carries."""

    established: bool
    imported: tuple[int, int] = (0, 0)
    """Routes that were believed, IPv4 and IPv6."""
    exported: tuple[int, int] = (0, 0)
    """Routes that were sent."""

    def for_all_of(self, others: Collection[Carries]) -> bool:
        """Whether this session stands and carries as many routes as the others together."""
        return self.established and all(
            mine >= sum(other.imported[family] for other in others) for family, mine in enumerate(self.imported)
        )

    def replaces(self, other: Carries) -> bool:
        """Whether this session does all that the other one does, in both directions."""
        return self.for_all_of([other]) and all(map(int.__ge__, self.exported, other.exported))


class Step(NamedTuple):
    """What to put in force now, or what has to happen before that."""

    files: Files | None
    """None: nothing yet."""
    plan: Plan
    """What putting it in force costs; where there is nothing to put, what the rest of the way would cost."""
    why: str
    """What this step is for, in words; empty where it leads straight to the end."""
    waits_for: tuple[str, ...] = ()
    """The sessions that have to stand first."""
    restarts: tuple[str, ...] = ()
    """The sessions that would restart on the rest of the way for no reason of their own: not without permission."""
    settle_s: float = 0.0
    """So long must this have been the next step before it is taken: what one end has sent, the other has to read."""


Sessions: TypeAlias = Mapping[str, Carries]
_DOWN = Carries(False)
_SETTLE_S = 1.0


def step(disk: Files, target: Target, sessions: Sessions) -> Step | None:
    """Return the next step from the files on ``disk``, None at the end of the way.

    ``sessions`` are those of BIRD by the names of their protocols.
    """
    base = without_bridge(disk)
    goal, missing = _goal(base, target, sessions)
    ahead = plan(base, goal.files)
    if ahead.bridgeable:
        return _towards_restart(disk, base, goal, target, ahead, sessions)
    if disk != base and (down := _not_yet_replaced(plan(base, disk), goal, sessions)):
        return Step(None, ahead, "the restarted sessions have to stand before their second ones go", down)
    if disk != goal.files:
        why = "all sessions with the reflectors first" if missing else ""
        cost = ahead if disk == base else plan(disk, goal.files)
        settle_s = _SETTLE_S if cost.of(Effect.REMOVED) else 0.0
        return Step(goal.files, cost, why, missing, cost.unrelated_restarts, settle_s)
    if missing:
        rest = plan(base, target.final.files)
        return Step(None, rest, "the sessions with the reflectors have to stand before the others go", missing)
    return None


def bridged(disk: Files) -> bool:
    """Whether a restart is under way, so that somebody has allowed it."""
    return disk != without_bridge(disk)


def _not_yet_replaced(second: Plan, goal: Configuration, sessions: Sessions) -> tuple[str, ...]:
    added = set(second.of(Effect.ADDED))
    first = [session.name for session in goal.sessions if bridge_of(session.name) in added]
    return tuple(name for name in first if not _replaces(name, bridge_of(name), sessions))


def _goal(base: Files, target: Target, sessions: Sessions) -> tuple[Configuration, tuple[str, ...]]:
    """Return the final configuration, or the whole mesh as long as these sessions with reflectors do not stand."""
    if target.final.files == target.mesh.files or base == target.final.files:
        return target.final, ()
    removed = set(plan(base, target.final.files).of(Effect.REMOVED))
    if not removed & {session.name for session in target.mesh.sessions}:
        return target.final, ()
    reflectors = [session.name for session in target.final.sessions if session.peer.role is Role.REFLECTOR]
    direct = [sessions[name] for name in removed if name in sessions]
    missing = tuple(name for name in reflectors if not sessions.get(name, _DOWN).for_all_of(direct))
    return (target.mesh, missing) if missing else (target.final, ())


def _towards_restart(
    disk: Files, base: Files, goal: Configuration, target: Target, ahead: Plan, sessions: Sessions
) -> Step:
    bridge = target.bridge(goal, ahead.bridgeable)
    beside = _joined(base, bridge)
    restarts = ahead.unrelated_restarts
    if disk != beside:
        return Step(beside, plan(disk, beside), "second sessions beside those that have to restart", (), restarts)
    down = tuple(bridge_of(name) for name in ahead.bridgeable if not _replaces(bridge_of(name), name, sessions))
    if down:
        why = "the second sessions have to stand before the first ones restart"
        return Step(None, ahead, why, down, restarts)
    return Step(_joined(goal.files, bridge), ahead, "the first ones restart", (), restarts, _SETTLE_S)


def _replaces(one: str, other: str, sessions: Sessions) -> bool:
    return sessions.get(one, _DOWN).replaces(sessions.get(other, _DOWN))


def _joined(files: Files, bridge: Files) -> dict[str, str]:
    return {name: text + bridge.get(name, "") for name, text in files.items()}
