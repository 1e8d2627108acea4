"""Puts texts of ours in force in BIRD: all of them or none, verified, and undone where they prove wrong.

One apply is one pass: are the texts new at all → journal → do they parse, together with the operator's own file → into
place → ``configure timeout`` → verified → ``configure confirm``. Whatever goes wrong on the way, the old files are put
back and BIRD is told; where that cannot be (it hangs, we die), its own timer takes it back, and ``recover`` brings the
rest in order at the next start. What BIRD must be told is decided in ``rtagent.core.bird_apply``.

There is one apply at a time, of all processes (a lock), and none while BIRD is still busy with another's configuration
or holds one that nobody has confirmed: its timer would end with ours.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from rtagent.core.bird_apply import Applied, Outcome, Phase
from rtagent.core.failures import Disconnected
from rtagent.sinks.bird_check import BirdCheck
from rtagent.sinks.bird_files import Journal, OwnFiles
from rtagent.sinks.bird_turns import BirdTurns
from rtagent.sinks.birdc import BirdClient, Unresponsive
from rtagent.wire.birdc.refusals import CommandRefused, ConfigurationRefused
from rtagent.wire.errors import MalformedMessage

log = structlog.get_logger()

Verify = Callable[[BirdClient], Awaitable[list[str]]]
"""Looks whether what is in force now is good: an empty list, or complaints. It may wait for sessions to come up."""

_VERIFYING = 0.8
"""The part of the time until BIRD's undo that the verification has; the rest is for what comes before and after."""
_ROUNDS = 3
"""So often is a configuration told when a stranger's gets in its way."""
_RECOVERY_S = 30.0
_TROUBLE = (Disconnected, CommandRefused, MalformedMessage, OSError, TimeoutError)


class BirdSink:
    """BIRD's configuration, of which some files are ours.

    ``config`` is the operator's file, which includes ours; ``journal`` a name in a folder that outlives a reboot;
    ``binary`` is needed only while BIRD does not run; ``group`` may read the files, where it exists; ``answer_s`` is
    how long BIRD may say nothing.
    """

    def __init__(
        self,
        socket: Path,
        config: Path,
        journal: Path,
        *,
        binary: str = "bird",
        group: str = "bird",
        answer_s: float = 10.0,
    ) -> None:
        self._socket = socket
        self._config = config
        self._journal = Journal(journal)
        self._files = OwnFiles(group)
        self._check = BirdCheck(config, binary, self._files)
        self._answer_s = answer_s

    async def apply(self, files: Mapping[Path, str], *, verify: Verify, timeout_s: float = 30.0) -> Applied:
        """Put texts in force; unless they are verified and confirmed within ``timeout_s``, BIRD goes back by itself.

        ``files`` are all of ours, by their absolute paths, so that they are checked together. What goes wrong is a
        value. Raises only what ``verify`` raises besides Disconnected and CommandRefused, and CancelledError; the old
        files are in their places again then, and BIRD goes back when its time is over.
        """
        try:
            if self._journal.phase is None and not self._changed(files):
                return Applied(Outcome.UNCHANGED)
        except OSError as error:
            return Applied(Outcome.FAILED, (_words(error),))
        return await self._admitted("bird.apply_ended", lambda client: self._apply(client, files, verify, timeout_s))

    async def recover(self) -> Applied | None:
        """Bring in order what an apply left that did not come to its end; None where there is nothing.

        To be called at each start. APPLIED: it had been verified, and is kept; UNDONE: what was before is back.
        """
        if self._journal.phase is None:
            return None
        return await self._admitted("bird.apply_recovered", self._recover)

    async def _admitted(self, event: str, work: Callable[[BirdClient], Awaitable[Applied]]) -> Applied:
        """Do what only one may do at a time."""
        try:
            with self._journal.locked() as admitted:
                if not admitted:
                    return Applied(Outcome.BUSY, ("another process applies a configuration",))
                client = BirdClient(self._socket, timeout_s=self._answer_s)
                try:
                    applied = await work(client)
                finally:
                    client.close()
        except OSError as error:
            applied = Applied(Outcome.FAILED, (_words(error),))
        tell = log.info if applied.good else log.warning
        tell(event, outcome=applied.outcome.value, reasons=list(applied.reasons), files=[*map(str, applied.changed)])
        return applied

    async def _apply(self, client: BirdClient, files: Mapping[Path, str], verify: Verify, timeout_s: float) -> Applied:
        if self._journal.phase is not None:
            recovered = await self._recover(client)
            if recovered.outcome is Outcome.FAILED:
                return recovered
        changed = self._changed(files)
        if not changed:
            return Applied(Outcome.UNCHANGED)
        bird = BirdTurns(client, timeout_s)
        try:
            running = client if await bird.idle() else None
        except TimeoutError:
            why = f"another's configuration is in progress, or unconfirmed, and was so for {timeout_s:g} s"
            return Applied(Outcome.BUSY, (why,))
        except _TROUBLE as error:
            return self._refusal(error, files)
        self._journal.begin({path: path.exists() for path in changed})
        try:
            self._files.stage(changed)
            checked = await self._check.beside(running, files)
        except _TROUBLE as error:
            self._end(changed)
            return self._refusal(error, files)
        except BaseException:
            self._end(changed)
            raise
        try:
            self._files.put(changed)
            if not checked:
                await self._check.in_place(running)
            if running is None and not await bird.idle():
                applied = Applied(Outcome.WRITTEN, ("BIRD does not run; it reads the files when it starts",))
            else:
                until = asyncio.get_running_loop().time() + timeout_s * _VERIFYING
                applied = await self._in_force(bird, lambda: _verified(client, verify, until))
        except _TROUBLE as error:
            applied = self._refusal(error, files)
        except BaseException:
            if self._journal.phase is Phase.UNVERIFIED:
                self._restore()
            raise
        if applied.good:
            self._end(changed)
        elif self._journal.phase is Phase.UNVERIFIED:
            applied = await self._back(bird, changed, applied)
        else:
            applied = applied._replace(reasons=(*applied.reasons, "it was verified, and will be kept"))
        return applied._replace(changed=tuple(changed))

    async def _in_force(self, bird: BirdTurns, verify: Callable[[], Awaitable[list[str]]]) -> Applied:
        """Tell BIRD of the files in place, and to keep them if they prove good."""
        for _ in range(_ROUNDS):
            await bird.configure()
            if complaints := await verify():
                return Applied(Outcome.UNDONE, (*complaints, *self._another_config(bird.config)))
            state = await bird.state()
            if state.ours:
                self._journal.enter(Phase.VERIFIED)
                await bird.settle(Phase.VERIFIED, state)
                return Applied(Outcome.APPLIED)
        return Applied(Outcome.FAILED, (f"others told BIRD to read its configuration {_ROUNDS} times meanwhile",))

    def _another_config(self, read: str) -> list[str]:
        """Say so if BIRD was started with another file of the operator's than we were told of."""
        try:
            same = not read or os.path.samefile(read, self._config)
        except OSError:
            same = False
        return [] if same else [f"BIRD reads {read}, not {self._config}: is ours included there?"]

    async def _back(self, bird: BirdTurns, changed: Mapping[Path, str], applied: Applied) -> Applied:
        """Put the old files back, and let BIRD go back; what cannot be told now is left to ``recover``."""
        self._restore()
        if applied.outcome is not Outcome.REFUSED or bird.configured:
            try:
                await bird.settle(Phase.RESTORED)
            except _TROUBLE as error:
                why = f"the old files are back, but BIRD could not be told: {_words(error)}"
                return applied._replace(outcome=Outcome.FAILED, reasons=(*applied.reasons, why))
        self._end(changed)
        return applied

    async def _recover(self, client: BirdClient) -> Applied:
        try:
            existed = self._journal.files()
        except ValueError as error:
            return Applied(Outcome.FAILED, (f"{error}; look after the files and remove it",))
        if self._journal.phase is Phase.UNVERIFIED:
            self._restore()
        verified = self._journal.phase is Phase.VERIFIED
        try:
            await BirdTurns(client, _RECOVERY_S).settle(Phase.VERIFIED if verified else Phase.RESTORED)
        except Unresponsive as error:
            return Applied(Outcome.FAILED, (_words(error),))
        except Disconnected:
            pass  # it reads the files, which are in order, when it starts
        except _TROUBLE as error:
            return self._refusal(error, {})._replace(outcome=Outcome.FAILED)
        self._end(existed)
        if verified:
            return Applied(Outcome.APPLIED, ("it broke off after it was verified",), changed=tuple(existed))
        return Applied(Outcome.UNDONE, ("it broke off before it was verified",), changed=tuple(existed))

    def _changed(self, files: Mapping[Path, str]) -> dict[Path, str]:
        present = self._files.texts(files)
        return {path: text for path, text in files.items() if present[path] != text}

    def _restore(self) -> None:
        self._files.restore(self._journal.files())
        self._journal.enter(Phase.RESTORED)

    def _end(self, paths: Mapping[Path, object]) -> None:
        self._files.clean(paths)
        self._journal.end()

    def _refusal(self, error: Exception, files: Mapping[Path, str]) -> Applied:
        if isinstance(error, ConfigurationRefused):
            return Applied(Outcome.REFUSED, (error.text,), self._check.problem(error, files))
        return Applied(Outcome.FAILED, (_words(error),))


async def _verified(client: BirdClient, verify: Verify, until: float) -> list[str]:
    try:
        async with asyncio.timeout_at(until):
            return await verify(client)
    except TimeoutError:
        return ["the verification did not end in time"]


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or "BIRD did not come to an end in time"
