"""What an MQTT broker has told of the members, without the broker: which announcement counts, and who is alive.

The newest of what a machine says of itself counts, by boot and then by sequence; anything older is refused. What a
broker forgot stays known until its time to live has passed with the broker in reach. Times are seconds of a clock that
never jumps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rtagent.vector.claims import Claims
from rtagent.wire.members.announcement import Announcement, Liveness, Refused, decode, decode_liveness

Name = tuple[str, str]
"""(id, machine)."""
_MOST_MEMBERS = 10_000
"""What a broker that has gone mad may cost: no mesh is that large."""


@dataclass(slots=True)
class _Known:
    announcement: Announcement
    heard_at: float
    emptied: bool = False


class Retained:
    """Takes messages and says what they come to."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._known: dict[Name, _Known] = {}
        self._alive: dict[Name, Liveness] = {}

    def announced(self, name: Name, payload: bytes, now: float) -> Announcement | None:
        """Take a member's message; return what is new. Raises Refused.

        An empty one is how an announcement is removed. It cannot be signed, so the member is only not claimed any more.
        """
        if not payload:
            if (known := self._known.get(name)) is not None:
                known.emptied = True
            return None
        announcement = decode(payload, self._secret)
        if (announcement.claim.id, announcement.claim.claimant) != name:
            raise Refused("it stands under the name of somebody else")
        if (known := self._known.get(name)) is None:
            if len(self._known) >= _MOST_MEMBERS:
                raise Refused(f"there are {_MOST_MEMBERS} announcements already")
        else:
            older, newer = _version(announcement), _version(known.announcement)
            if older < newer:
                raise Refused(f"it is stale: boot and sequence {_shown(older)}, known are {_shown(newer)}")
            if older == newer:
                if announcement != known.announcement:
                    raise Refused("another one has the same boot and sequence")
                known.emptied = False
                return None
        self._known[name] = _Known(announcement, now)
        return announcement

    def told_alive(self, name: Name, payload: bytes) -> Liveness | None:
        """Take a message on whether a member is connected; return it if it counts. Raises Refused."""
        if not payload:
            self._alive.pop(name, None)
            return None
        liveness = decode_liveness(payload, self._secret)
        if (liveness.id, liveness.machine) != name:
            raise Refused("it stands under the name of somebody else")
        before = self._alive.get(name)
        if before is not None and liveness.boot < before.boot:
            raise Refused(f"it is stale: boot {liveness.boot}, known is {before.boot}")
        if before is None and len(self._alive) >= _MOST_MEMBERS:
            raise Refused(f"there are {_MOST_MEMBERS} members already")
        self._alive[name] = liveness
        return liveness

    def own(self, name: Name) -> Announcement | None:
        """Return the newest announcement under a name."""
        known = self._known.get(name)
        return None if known is None else known.announcement

    def newest_since(self) -> float:
        """Return the latest moment from which on anybody has anything; whoever wants something now comes after that."""
        return max((at for known in self._known.values() for _, at in known.announcement.claim.since), default=0.0)

    def in_touch(self, now: float) -> None:
        """The broker is in reach again: nobody's time has passed while it was not."""
        for known in self._known.values():
            known.heard_at = now

    def expires(self) -> float | None:
        """When the next announcement's time has passed."""
        return min((_end(known) for known in self._known.values() if not known.emptied), default=None)

    def claims(self, now: float, *, is_alive: Callable[[Name], bool] = lambda name: False) -> Claims:
        """Return everybody's claim. ``is_alive`` knows better than the broker: of this machine itself."""
        claims = []
        for name, known in self._known.items():
            if known.emptied and not known.announcement.claim.left:
                continue
            liveness = self._alive.get(name)
            gone = (liveness is not None and not liveness.alive and liveness.boot >= known.announcement.boot) or _end(
                known
            ) <= now
            claims.append(known.announcement.claim._replace(alive=is_alive(name) or not gone))
        return tuple(claims)


def _end(known: _Known) -> float:
    return known.heard_at + known.announcement.ttl_s


def _version(announcement: Announcement) -> tuple[int, int]:
    return announcement.boot, announcement.sequence


def _shown(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
