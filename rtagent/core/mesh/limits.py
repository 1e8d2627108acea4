"""Members that have sent more prefixes than they may, and when to ask them again.

BIRD never finds out by itself that a breach is over (nest/proto.c): a session that was blocked keeps good prefixes out
until all are asked for again, one that was disabled stays down. To ask costs a route refresh, or a session that comes
up, and tells. As long as it does not help, it is asked less and less often; where BIRD holds fewer prefixes than the
limit allows, the cause seems to be gone, and the wait is short again. Who was asked then and still has fewer is well,
whatever BIRD says: BIRD 3 remembers a breach for as long as the session stands.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import NamedTuple

_MOST_DOUBLINGS = 5
"""From 30 s on: 16 min."""


class Breach(NamedTuple):
    """A session whose peer has sent more than it may."""

    session: str
    families: tuple[str, ...]
    """Of which: ``ipv4``, ``ipv6``."""
    limit: int
    action: str
    """``warn``, ``block`` or ``disable``; of ``restart`` BIRD takes care."""
    down: bool
    """Whether BIRD has disabled it."""
    room: bool
    """Whether it has fewer prefixes now than it may."""


@dataclass(slots=True)
class _Tried:
    times: int
    at: float
    """When it was asked last, or seen first."""
    well: bool = False
    """Whether it had few enough prefixes when it was asked."""
    clean_since: float | None = None


class Retries:
    """Decides when a session is asked again. Times are seconds of a clock that never jumps."""

    def __init__(self, wait_s: float) -> None:
        """``wait_s`` is the time before the first try; it doubles with each. 0: never."""
        self._wait_s = wait_s
        self._tried: dict[str, _Tried] = {}

    def take(self, found: Iterable[Breach], now: float) -> tuple[list[Breach], list[Breach]]:
        """Take what BIRD says now; return the breaches that last, and those to ask again now, which counts as done."""
        by_name = {breach.session: breach for breach in found}
        self._forget(by_name, now)
        lasting, due = [], []
        for breach in by_name.values():
            tried = self._tried.setdefault(breach.session, _Tried(0, now))
            if tried.well and breach.room:
                continue
            if tried.well and now - tried.at >= self._pause_s(tried):
                tried.times, tried.at = 0, now  # a new breach
            tried.well, tried.clean_since = False, None
            lasting.append(breach)
            if self._wait_s and now >= self._next(breach, tried):
                tried.times, tried.at, tried.well = tried.times + 1, now, breach.room
                due.append(breach)
        return lasting, due

    def _forget(self, found: Container[str], now: float) -> None:
        """Forget the tries of those that have been well for a while: right after a try one may not be up again yet."""
        for name, tried in [row for row in self._tried.items() if row[0] not in found]:
            if tried.clean_since is None:
                tried.clean_since = now
            elif now - tried.clean_since >= self._pause_s(tried):
                del self._tried[name]

    def wait_s(self, breach: Breach, now: float) -> float | None:
        """Return in how many seconds a session will be asked again; None: not at all."""
        tried = self._tried.get(breach.session, _Tried(0, now))
        at = self._next(breach, tried)
        return max(0.0, at - now) if self._wait_s and at != float("inf") else None

    def _next(self, breach: Breach, tried: _Tried) -> float:
        if breach.room:
            return tried.at + self._wait_s
        return float("inf") if breach.action == "warn" else tried.at + self._pause_s(tried)

    def _pause_s(self, tried: _Tried) -> float:
        return self._wait_s * 2.0 ** min(tried.times, _MOST_DOUBLINGS)
