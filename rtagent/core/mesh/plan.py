"""What a change of the configuration costs each session, told beforehand.

BIRD compares the old and the new configuration of each protocol and does the least that it can: nothing, a route
refresh of a channel, or a restart of the session. ``COSTS`` says which statement leads to which (BIRD's proto.c and
bgp.c; ``tests/bird/test_mesh_plan.py`` asks each release). A statement that it does not have is taken to restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from rtagent.core.mesh.statements import Document, Statement


class Effect(IntEnum):
    """What happens to a session; the greater, the worse."""

    NONE = 0
    """It is reconfigured, and nobody can tell."""
    REFRESH = 1
    """Its routes are asked for, or sent, again; it stays Established."""
    ADDED = 2
    REMOVED = 3
    RESTART = 4
    """It goes down and comes up again: its routes are gone for a moment, at both ends."""


class Change(NamedTuple):
    """What happens to one session."""

    session: str
    """The name of its protocol."""
    effect: Effect
    why: tuple[str, ...]
    """The statements that make the difference, sorted, with the channel before them."""
    unrelated: bool = False
    """Whether it restarts although neither its peer's address nor its peer's role has changed."""
    mutual: bool = False
    """Whether the other end makes the same change, so that a second session can stand beside it (``rollout``)."""


class Plan(NamedTuple):
    """What happens when one configuration takes the place of another."""

    changes: tuple[Change, ...]
    """The sessions that are in only one of the two, or differ; sorted by name."""
    others: tuple[str, ...]
    """The other protocols that differ, such as ``protocol kernel 'mesh.kernel4'``."""

    @property
    def unrelated_restarts(self) -> tuple[str, ...]:
        """The sessions that would restart for no reason of their own; nothing is applied before that is allowed."""
        return tuple(change.session for change in self.changes if change.unrelated)

    @property
    def bridgeable(self) -> tuple[str, ...]:
        """The sessions beside which a second one can stand while they restart."""
        return tuple(change.session for change in self.changes if change.unrelated and change.mutual)

    def of(self, effect: Effect) -> tuple[str, ...]:
        """Return the names of the sessions with this effect."""
        return tuple(change.session for change in self.changes if change.effect is effect)


COSTS: Mapping[tuple[bool, str], Effect] = {
    (False, "description"): Effect.NONE,
    (False, "bfd"): Effect.NONE,
    (True, "receive limit"): Effect.NONE,
    (True, "import limit"): Effect.NONE,
    (True, "export limit"): Effect.NONE,
    (True, "import keep"): Effect.REFRESH,
    (True, "import"): Effect.REFRESH,
    (True, "export"): Effect.REFRESH,
}
"""(in a channel, how a statement begins) → what its change costs."""

_OF_THE_PAIR = frozenset({"neighbor", "passive", "rr client", "extended next hop", "channel"})
"""Statements that follow from who the peer is: a restart because of them alone is nobody else's."""

_OF_THIS_END = frozenset({"local", "router id", "next hop"})
"""Statements that only this end changes."""


def plan(old: Mapping[str, str], new: Mapping[str, str]) -> Plan:
    """Return what happens when the files ``new`` take the place of ``old``; both are name → text."""
    if old == new:
        return Plan((), ())
    before, after = Document(old), Document(new)
    both = ((name, before.statements(name) ^ after.statements(name)) for name in before.touched(after))
    changes = [
        *(Change(name, Effect.ADDED, ()) for name in after.sessions - before.sessions),
        *(Change(name, Effect.REMOVED, ()) for name in before.sessions - after.sessions),
        *(_change(name, differing) for name, differing in both if differing),
    ]
    differing = {head for head, _ in before.others.items() ^ after.others.items()}
    return Plan(tuple(sorted(changes)), tuple(sorted(differing)))


def _change(name: str, differing: Iterable[Statement]) -> Change:
    effect = max((_cost(statement) for statement in differing), default=Effect.NONE)
    why = {f"{statement.channel} {_beginning(statement)}".strip() for statement in differing}
    causes = {_beginning(statement) for statement in differing if _cost(statement) is Effect.RESTART}
    unrelated = not causes <= _OF_THE_PAIR
    return Change(name, effect, tuple(sorted(why)), unrelated, unrelated and not causes & _OF_THIS_END)


def _cost(statement: Statement) -> Effect:
    return COSTS.get((bool(statement.channel), _beginning(statement)), Effect.RESTART)


def _beginning(statement: Statement) -> str:
    """Return the words by which a statement is known: ``import limit``, ``neighbor``; ``channel`` for a whole one."""
    words = statement.text.split(" ")
    for length in (3, 2):
        if " ".join(words[:length]) in _LONG:
            return " ".join(words[:length])
    return words[0] or "channel"


_LONG = frozenset(
    {"receive limit", "import limit", "export limit", "import keep", "rr client", "extended next hop", "next hop"}
)
