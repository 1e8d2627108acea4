"""Keeps an eye on the prefix limits: who exceeded one is told of, and is asked again, rarely, until it is well."""

from __future__ import annotations

import time
from collections.abc import Iterable

import structlog

from rtagent.agent.control import Message
from rtagent.agent.mesh_bird import MeshBird
from rtagent.core.mesh.limits import Breach, Retries
from rtagent.wire.birdc.protocols import Channel, Protocol, RouteLimit

log = structlog.get_logger()

_LOOK_EVERY_S = 30.0
"""At most: a look lists all sessions with all that is known of them."""


class MeshLimits:
    """The prefix limits of one member's sessions."""

    def __init__(self, bird: MeshBird, wait_s: int) -> None:
        """``wait_s`` is the time before a session is asked again for the first time; 0: never."""
        self._bird = bird
        self._retries = Retries(wait_s)
        self._every_s = min(wait_s or _LOOK_EVERY_S, _LOOK_EVERY_S)
        self._look_at = 0.0
        self._now = 0.0
        self._found: dict[str, Breach] = {}

    async def keep(self) -> float:
        """Look, if it is time, and ask those again whose time has come; return in how many seconds to look again.

        Raises what BirdClient raises.
        """
        self._now = time.monotonic()
        if self._now >= self._look_at:
            self._look_at = self._now + self._every_s
            lasting, due = self._retries.take(breaches(await self._bird.over_limits()), self._now)
            found = {breach.session: breach for breach in lasting}
            self._tell(found)
            self._found = found
            for breach in due:
                log.info("mesh.limit_retried", session=breach.session, how="enable" if breach.down else "reload")
                await self._bird.ask_again(breach)
        return self._look_at - self._now

    def _tell(self, found: dict[str, Breach]) -> None:
        for breach in found.values():
            if breach.session not in self._found:
                log.warning(
                    "mesh.limit_exceeded", session=breach.session, families=list(breach.families), limit=breach.limit,
                    action=breach.action, retry_s=self._retries.wait_s(breach, self._now),
                )  # fmt: skip
        for name in self._found.keys() - found.keys():
            log.info("mesh.limit_kept_again", session=name)

    def status(self) -> list[Message]:
        """Return the sessions whose peers have exceeded their limit, as of the last look."""
        return [
            {
                "session": breach.session,
                "families": list(breach.families),
                "limit": breach.limit,
                "action": breach.action,
                "down": breach.down,
                "retry_s": self._retries.wait_s(breach, self._now),
            }
            for breach in self._found.values()
        ]

    def reasons(self) -> list[str]:
        """Return what is wrong, for people."""
        return [
            f"mesh: {breach.session} has sent more than {breach.limit} {' and '.join(breach.families)} prefixes: "
            f"{'the session is disabled' if breach.down else 'rtagent mesh verify shows which are refused'}"
            for breach in self._found.values()
        ]


def breaches(protocols: Iterable[Protocol]) -> list[Breach]:
    """Return the breaches that BIRD remembers; with ``restart`` it takes care of them itself."""
    found = []
    for row in protocols:
        over = [(channel, limit) for channel in row.channels if (limit := _hit(channel)) is not None]
        if not over or over[0][1].action == "restart":
            continue
        limit, down = over[0][1], row.state == "down"
        room = not down and all(_count(channel) < limit.limit for channel, limit in over)
        families = tuple(channel.name for channel, _ in over)
        found.append(Breach(row.name, families, limit.limit, limit.action, down, room))
    return found


def _hit(channel: Channel) -> RouteLimit | None:
    return next((limit for limit in (channel.receive_limit, channel.import_limit) if limit and limit.hit), None)


def _count(channel: Channel) -> int:
    return (channel.imported or 0) + (channel.filtered or 0)
