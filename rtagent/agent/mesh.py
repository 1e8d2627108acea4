"""The mesh as the running agent keeps it: sources → who is a member → the next step of BIRD's configuration, for ever.

Whatever goes wrong leaves BIRD as it is. The last decision is kept in a file, so that an agent that starts while a
source is out of reach takes nobody away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import structlog

from rtagent.agent.control import Answer, Message
from rtagent.agent.mesh_bird import MeshBird, MeshTrouble, options_of
from rtagent.agent.mesh_limits import MeshLimits
from rtagent.agent.mesh_settings import MeshSettings
from rtagent.agent.mesh_sources import SETTINGS, sources
from rtagent.core.bird_apply import Outcome
from rtagent.core.failures import Disconnected
from rtagent.core.mesh.membership import Decision, Membership, Pace
from rtagent.core.mesh.merge import merge
from rtagent.core.mesh.rollout import Step
from rtagent.core.mesh.template import TemplateError
from rtagent.core.mesh.text import MAIN_FILE, Unsupported
from rtagent.vector.claims import Claims
from rtagent.vector.members import Member, Members
from rtagent.wire.birdc.refusals import CommandRefused
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.members import document
from rtagent.wire.toml.schema import SettingsError

log = structlog.get_logger()

_MEMORY = "members.json"
"""In ``mesh.bird.directory``: the members of the last decision."""
_LOOK_EVERY_S = 10.0
"""How often the configuration in force is looked at when nothing has changed: a hand on the files, a new template."""
_WAIT_S = 0.5
"""How often a step that waits for sessions is looked at."""
_REFUSALS = 20
_TROUBLES = (MeshTrouble, TemplateError, Unsupported, Disconnected, CommandRefused, MalformedMessage, OSError)


class Mesh:
    """Keeps one member's part of the mesh. It is the sink of its sources."""

    def __init__(self, settings: MeshSettings, *, machine: str | None = None) -> None:
        """Raises SettingsError where a secret cannot be read."""
        self._settings = settings
        self._bird = MeshBird(settings)
        self._limits = MeshLimits(self._bird, settings.bgp.prefix_limit_retry_s)
        self._sources = sources(settings, machine)
        self._memory = Path(settings.bird.directory) / _MEMORY
        options, changes = options_of(settings), settings.changes
        pace = Pace(
            changes.debounce_s, changes.debounce_max_s, changes.hold_down_s, changes.brake_share, changes.brake_least
        )
        self._before = _remembered(self._memory, settings.asn)
        self._membership = Membership(self._sources.names, pace, settings.asn, options.allows, self._before)
        self._decision: Decision | None = None
        self._wake = asyncio.Event()
        self._troubles: dict[str, str] = {}
        self._refused: deque[tuple[str, str, str]] = deque(maxlen=_REFUSALS)
        self._refused_count = 0
        self._next: Step | None = None
        self._next_since = 0.0
        self._left = False
        self.state = "starting"
        """``starting``, ``settled``, ``changing``, ``waiting``, ``refused`` or ``trouble``."""
        self.why = ""
        self.applied = 0

    def report(self, source: str, claims: Claims) -> None:
        """Take what a source claims."""
        if self._troubles.pop(source, None) is not None:
            log.info("mesh.source_recovered", source=source, claims=len(claims))
        self._membership.report(source, claims, time.monotonic())
        self._wake.set()

    def trouble(self, source: str, text: str) -> None:
        """Note that a source is out of touch, or does not say what counts."""
        self._troubles[source] = text

    def refused(self, source: str, what: str, why: str) -> None:
        """Note that something told does not count."""
        self._refused_count += 1
        if (source, what, why) not in self._refused:
            self._refused.append((source, what, why))
            log.warning("mesh.claim_refused", source=source, what=what, reason=why)

    async def run(self) -> None:
        """Keep the mesh, for ever."""
        await self._recover()
        self.report(SETTINGS, (self._sources.own,))
        async with asyncio.TaskGroup() as group:
            for source in self._sources.running.values():
                group.create_task(source.run(self))
            group.create_task(self._follow())

    async def _recover(self) -> None:
        recovered = await self._bird.recover()
        if recovered is not None:
            log.warning("mesh.apply_recovered", outcome=recovered.outcome.value, reasons=list(recovered.reasons))

    async def _follow(self) -> None:
        look_at = time.monotonic()
        while True:
            now = time.monotonic()
            due = self._membership.due()
            if due is not None and due <= now:
                self._decided(self._membership.decide(now))
                look_at = now
            if look_at <= now and self._decision is not None:
                look_at = time.monotonic() + await self._advance(self._decision)
            due = self._membership.due()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(look_at, due or look_at) - time.monotonic())):
                    await self._wake.wait()

    def _decided(self, decision: Decision) -> None:
        before = self._before if self._decision is None else self._decision.members
        was, is_ = {member.id: member for member in before}, {member.id: member for member in decision.members}
        if was != is_:
            log.info(
                "mesh.members_changed", members=len(is_), joined=sorted(is_.keys() - was.keys())[:32],
                gone=sorted(was.keys() - is_.keys())[:32],
                changed=sorted(id_ for id_ in was.keys() & is_.keys() if was[id_] != is_[id_])[:32],
            )  # fmt: skip
        known = self._decision
        for row in decision.waiting:
            if known is None or row not in known.waiting:
                log.warning("mesh.claim_waits", id=row.id, what=row.what or "the whole member", reason=row.why)
        if decision.braked and (known is None or known.braked != decision.braked):
            log.error("mesh.removal_braked", members=list(decision.braked)[:32], remedy="rtagent mesh let-go")
        self._decision = decision
        if not decision.unheard:
            _remember(self._memory, decision.members)

    async def _advance(self, decision: Decision) -> float:
        """Take the next step if it is time; return in how many seconds to look again."""
        try:
            self._say()
            if decision.unheard and not self._before and self._bird.files[MAIN_FILE]:
                return self._stand("waiting", f"{', '.join(decision.unheard)} has not told its members yet", _WAIT_S)
            for row in decision.waiting:
                if row.id == self._settings.id and not row.what:
                    return self._stand("trouble", f"this member waits: {row.why}", _LOOK_EVERY_S)
            look = await self._bird.look()
            outlook = self._bird.outlook(decision.members, look)
            step = outlook.step
            if step is None:
                if not look.running:
                    return self._stand("waiting", "BIRD does not run", _WAIT_S * 4)
                return self._stand("settled", "", min(_LOOK_EVERY_S, await self._limits.keep()))
            if outlook.refused:
                return self._stand("refused", outlook.refused, _LOOK_EVERY_S)
            if step.files is None:
                return self._stand("waiting", f"{step.why}: {', '.join(step.waits_for[:8])}", _WAIT_S)
            if self._next is None or self._next.files != step.files:
                self._next, self._next_since = step, time.monotonic()
            if (left_s := self._next_since + step.settle_s - time.monotonic()) > 0:
                return self._stand("changing", step.why, left_s)
            self.state, self.why = "changing", step.why
            applied = await self._bird.take(step, look)
        except _TROUBLES as trouble:
            return self._stand("trouble", str(trouble) or type(trouble).__name__, _WAIT_S * 4)
        if applied.good:
            self.applied += applied.outcome is not Outcome.UNCHANGED
            return 0.0 if look.running else self._stand("waiting", "BIRD does not run", _WAIT_S * 4)
        why = "; ".join([*([str(applied.problem)] if applied.problem else []), *applied.reasons])
        busy = applied.outcome is Outcome.BUSY
        return self._stand("waiting" if busy else "trouble", why, _WAIT_S * 4 if busy else _LOOK_EVERY_S)

    def _stand(self, state: str, why: str, again_s: float) -> float:
        if (state, why) != (self.state, self.why):
            self.state, self.why = state, why
            tell = log.error if state in ("refused", "trouble") else log.info
            tell(f"mesh.{state}", **({"reason": why} if why else {}))
        return again_s

    def _say(self) -> None:
        """Tell the others whether this member has left."""
        left = self._bird.intent == "left"
        if left != self._left and self._sources.mqtt is not None:
            self._sources.mqtt.say(self._sources.own._replace(left=left))
        self._left = left

    def status(self) -> Message:
        """Return how the mesh stands; docs/reference.md has the words."""
        decision = self._decision
        unheard = self._sources.names if decision is None else decision.unheard
        return {
            "id": self._settings.id,
            "state": self.state,
            "why": self.why,
            "members": 0 if decision is None else len(decision.members),
            "sources": {
                name: {
                    "state": "unheard" if name in unheard else "lost" if name in self._troubles else "heard",
                    "trouble": self._troubles.get(name, ""),
                }
                for name in self._sources.running
            },
            "waiting": [] if decision is None else [row._asdict() for row in decision.waiting],
            "held": {} if decision is None else dict(decision.held),
            "braked": [] if decision is None else list(decision.braked),
            "refused": {
                "count": self._refused_count,
                "last": [{"source": source, "what": what, "why": why} for source, what, why in self._refused],
            },
            "limits": self._limits.status(),
            "applied": self.applied,
        }

    def reasons(self) -> list[str]:
        """Return what is wrong, for people."""
        found = [f"mesh: {self.why}"] if self.state in ("refused", "trouble") else []
        found += [f"mesh: {name}: {text}" for name, text in sorted(self._troubles.items())]
        found += self._limits.reasons()
        if self._decision is not None:
            if self._decision.braked:
                found.append(f"mesh: {len(self._decision.braked)} members would go at once: rtagent mesh let-go")
            found += [f"mesh: {row.id} {row.what}".rstrip() + f" waits: {row.why}" for row in self._decision.waiting]
        return found

    def commands(self) -> dict[str, Answer]:
        """Return the commands of the control socket by name."""
        return {"mesh": self._answer, "mesh-members": self._answer_members, "mesh-let-go": self._answer_let_go}

    async def _answer(self, request: Mapping[str, Any]) -> AsyncGenerator[Message]:
        yield {"mesh": self.status()}

    async def _answer_members(self, request: Mapping[str, Any]) -> AsyncGenerator[Message]:
        yield {"members": [] if self._decision is None else [written(member) for member in self._decision.members]}

    async def _answer_let_go(self, request: Mapping[str, Any]) -> AsyncGenerator[Message]:
        gone = self._membership.let_go(time.monotonic())
        if gone:
            log.warning("mesh.removal_let_go", members=list(gone)[:32])
        self._wake.set()
        yield {"let_go": list(gone)}


def written(member: Member) -> dict[str, Any]:
    """Return a member in the words of the members' file."""
    row = {
        "id": member.id,
        "role": member.role.value,
        "asn": member.asn,
        "router_id": str(member.router_id),
        "address4": None if member.address4 is None else str(member.address4),
        "address6": None if member.address6 is None else str(member.address6),
        "pods": [str(prefix) for prefix in member.pods],
        "labels": dict(member.labels),
    }
    return {name: value for name, value in row.items() if value is not None}


def _remember(path: Path, members: Members) -> None:
    text = json.dumps({"members": [written(member) for member in members]}, indent=1) + "\n"
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        log.error("mesh.members_not_kept", file=str(path), reason=error.strerror)


def _remembered(path: Path, asn: int) -> Members:
    """Return the members of the last decision; none where there is no file, or one that is broken."""
    try:
        claims = document.decode(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return ()
    except (OSError, SettingsError, UnicodeDecodeError) as error:
        log.error("mesh.members_forgotten", file=str(path), reason=str(error))
        return ()
    return merge([claims], asn, lambda prefix: True).members
