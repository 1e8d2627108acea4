"""Who is a member now: claims, and what time makes of them.

A change counts when the sources have been quiet for a moment (debounce). A member that nobody claims any more, that is
dead or that waits stays as it was for the hold-down, unless it said good-bye or somebody else needs its address. Nobody
goes before every source has been heard once, and what a source said counts until it says something else: a source that
is gone never empties the mesh. When too many would go at once, nobody goes until a person lets them.

Time comes in as an argument, in seconds of a clock that never jumps; claims carry wall-clock times, which are only
compared with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from rtagent.core.mesh.merge import Waiting, merge
from rtagent.vector.claims import Claim, Claims
from rtagent.vector.members import Member, Members, Prefix, lies_within


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the mesh follows its members; ``[mesh.changes]`` of the settings."""

    debounce_s: float
    debounce_max_s: float
    hold_down_s: float
    brake_share: float
    brake_least: int


class Decision(NamedTuple):
    """Who is a member, and who is not and why."""

    members: Members
    waiting: tuple[Waiting, ...]
    held: tuple[tuple[str, float | None], ...]
    """Members that are gone and still count, with the seconds that they have left; None while a source has not been
    heard or the brake holds them."""
    braked: tuple[str, ...]
    """Those that only a person can let go: too many at once."""
    unheard: tuple[str, ...]
    """The sources that have not told their members yet."""


class Membership:
    """Takes reports of sources, and decides."""

    def __init__(
        self, sources: Sequence[str], pace: Pace, asn: int, allowed: Callable[[Prefix], bool], before: Members = ()
    ) -> None:
        """``sources`` are names, the one whose word counts most first; ``before`` is the last decision's members."""
        self._said: dict[str, Claims | None] = dict.fromkeys(sources)
        self._pace = pace
        self._asn = asn
        self._allowed = allowed
        self._members: dict[str, Member] = {member.id: member for member in before}
        self._gone_at: dict[str, float] = {}
        self._dead_at: dict[tuple[str, str], float] = {}
        self._let_go: frozenset[str] = frozenset()
        self._braked: frozenset[str] = frozenset()
        self._changed_at: float | None = None
        """When the first change came that no decision has seen."""
        self._settled_at: float | None = None
        self._expires_at: float | None = None

    def report(self, source: str, claims: Claims, now: float) -> None:
        """``source`` claims these members and no others. The same claims again are no change."""
        ordered = tuple(sorted(claims, key=_claim_order))
        if self._said[source] != ordered:
            self._said[source] = ordered
            self._change(now)

    def let_go(self, now: float) -> tuple[str, ...]:
        """A person lets those go that the brake holds; return their ids."""
        self._let_go |= self._braked
        if self._braked:
            self._change(now)
        return tuple(sorted(self._braked))

    def due(self) -> float | None:
        """When to decide next; None: not before the next report."""
        times = [at for at in (self._settled_at, self._expires_at) if at is not None]
        return min(times) if times else None

    def decide(self, now: float) -> Decision:
        """Decide, with everything reported so far."""
        self._changed_at = self._settled_at = None
        unheard = tuple(name for name, said in self._said.items() if said is None)
        claims = [said for said in self._said.values() if said is not None]
        dead = self._dead(claims, now)
        gone = self._members.keys() - {
            claim.id for said in claims for claim in said if not claim.left and (claim.id, claim.claimant) not in dead
        }
        self._brake(gone, wait=bool(unheard))
        over = {key for key, at in dead.items() if not unheard and self._is_over(key[0], at, now)}
        merged = merge(
            [tuple(claim for claim in said if (claim.id, claim.claimant) not in over) for said in claims],
            self._asn,
            self._allowed,
        )
        standing = {member.id: member for member in merged.members}
        held = self._held(standing, merged.left | {id_ for id_, _ in over}, now, wait=bool(unheard))
        self._members = standing | held
        ends = {id_: at for (id_, claimant), at in dead.items() if (id_, claimant) not in over} | self._gone_at
        left_s = {
            id_: None if unheard or id_ in self._braked else at + self._pace.hold_down_s - now
            for id_, at in sorted(ends.items())
        }
        waits_s = [seconds for seconds in left_s.values() if seconds is not None]
        self._expires_at = now + min(waits_s) if waits_s else None
        return Decision(
            members=tuple(self._members[id_] for id_ in sorted(self._members)),
            waiting=merged.waiting,
            held=tuple((id_, seconds) for id_, seconds in left_s.items() if id_ in gone | self._gone_at.keys()),
            braked=tuple(sorted(self._braked)),
            unheard=unheard,
        )

    def _dead(self, sources: Sequence[Claims], now: float) -> dict[tuple[str, str], float]:
        """Return the (id, claimant) that do not answer and that nobody else vouches for, with since when.

        Somebody else is a source that cannot tell who answers, or another machine that has the name and does answer.
        """
        claims = [claim for said in sources for claim in said if not claim.left]
        answers = {(claim.id, claim.claimant) for claim in claims if claim.alive is not False}
        vouched = {id_ for id_, _ in answers}
        replaced = {id_ for id_, claimant in answers if claimant}
        self._dead_at = {
            key: self._dead_at.get(key, now)
            for claim in claims
            if (key := (claim.id, claim.claimant)) not in answers and (claim.id not in vouched or claim.id in replaced)
        }
        return self._dead_at

    def _held(
        self, standing: Mapping[str, Member], over: AbstractSet[str], now: float, *, wait: bool
    ) -> dict[str, Member]:
        """Return the members that are claimed no more and still count, as they were."""
        gone = {id_: member for id_, member in self._members.items() if id_ not in standing}
        self._gone_at = {id_: self._gone_at.get(id_, now) for id_ in gone}
        taken = _Taken(standing.values())
        held = {
            id_: member
            for id_, member in gone.items()
            if (wait or id_ in self._braked or not (id_ in over or self._is_over(id_, self._gone_at[id_], now)))
            and not taken.conflicts(member)
        }
        self._gone_at = {id_: self._gone_at[id_] for id_ in held}
        return held

    def _is_over(self, id_: str, gone_at: float, now: float) -> bool:
        return id_ not in self._braked and now - gone_at >= self._pace.hold_down_s

    def _brake(self, gone: AbstractSet[str], *, wait: bool) -> None:
        """Hold everybody who is gone or dead, if they are too many and no person has let them go."""
        self._let_go &= gone
        asked = gone - self._let_go
        too_many = len(asked) >= self._pace.brake_least and len(asked) > self._pace.brake_share * len(self._members)
        self._braked = frozenset(asked) if too_many and not wait else frozenset()

    def _change(self, now: float) -> None:
        self._changed_at = now if self._changed_at is None else self._changed_at
        self._settled_at = min(now + self._pace.debounce_s, self._changed_at + self._pace.debounce_max_s)


class _Taken:
    """What the members that are wanted have, and nobody who is only held may keep."""

    def __init__(self, members: Collection[Member]) -> None:
        self._identities = {value for member in members for value in _identity(member)}
        self._pods = [prefix for member in members for prefix in member.pods]

    def conflicts(self, member: Member) -> bool:
        """Whether somebody has what ``member`` had."""
        return not self._identities.isdisjoint(_identity(member)) or any(
            lies_within(prefix, other) or lies_within(other, prefix) for prefix in member.pods for other in self._pods
        )


def _identity(member: Member) -> list[tuple[str, object]]:
    values = (("router id", member.router_id), ("address", member.address4), ("address", member.address6))
    return [(kind, value) for kind, value in values if value is not None]


def _claim_order(claim: Claim) -> tuple[str, str]:
    return claim.id, claim.claimant
