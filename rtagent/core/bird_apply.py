"""How a configuration of BIRD's is put in force, so that a wrong one, a crash or a stranger costs nothing.

BIRD undoes by itself what nobody confirms, but only in its memory: the files are ours to put back. A journal on disk
says how far an apply has come, and what BIRD must still be told follows from that and from what BIRD says of itself,
whether the apply has failed, or its process died, at whatever point. Nothing here touches BIRD or a file.

    UNVERIFIED  the new files may be in place, BIRD may have read them   ──► put the old ones back: RESTORED
    VERIFIED    the new files are in place and proved good               ──► BIRD is to keep them
    RESTORED    the old files are back                                   ──► BIRD is to go back
"""

from __future__ import annotations

from enum import Enum
from pathlib import PurePath
from typing import NamedTuple


class Phase(Enum):
    """How far an apply has come; the value is the end of its journal's name."""

    UNVERIFIED = "unverified"
    VERIFIED = "verified"
    RESTORED = "restored"


class BirdState(NamedTuple):
    """What BIRD says of its configuration."""

    in_progress: bool
    """Something is still being put in force, ours or another's."""
    undo_pending: bool
    ours: bool | None
    """Whether what is in force is what this apply told it to read; None where nobody remembers."""


class Step(Enum):
    """What to tell BIRD next."""

    WAIT = "nothing until it is idle: 3.3.2 aborts when it is told to configure while it does"
    CONFIRM = "keep what is in force"
    UNDO = "go back to what was in force"
    REREAD = "read the files again, which changes nothing where they are what is in force"
    DONE = "nothing more"


def next_step(phase: Phase, bird: BirdState) -> Step:
    """Return what BIRD must be told, once the files are those of the phase. UNVERIFIED is not an end."""
    assert phase is not Phase.UNVERIFIED, "put the files back first"
    if bird.in_progress:
        return Step.WAIT
    if phase is Phase.VERIFIED:
        if bird.undo_pending and bird.ours is not False:
            return Step.CONFIRM
        return Step.DONE if bird.ours else Step.REREAD
    # An undo goes back by one: if a stranger has told BIRD to read since, that is not where we came from.
    return Step.UNDO if bird.undo_pending and bird.ours else Step.REREAD


class Outcome(Enum):
    """How an apply ended."""

    UNCHANGED = "unchanged"
    """The files hold these texts already; nothing was done."""
    APPLIED = "applied"
    """In force, verified, confirmed."""
    WRITTEN = "written"
    """BIRD does not run: checked and put in place, in force when it starts."""
    REFUSED = "refused"
    """BIRD cannot take the texts; all is as it was."""
    UNDONE = "undone"
    """It was in force and did not pass; the configuration before is back."""
    BUSY = "busy"
    """Somebody else's is in progress, or unconfirmed; nothing was done. Try again."""
    FAILED = "failed"
    """It could not be done: the disk is full, BIRD hangs. The files are as before; try again, or call ``recover``."""


class Problem(NamedTuple):
    """A mistake in a configuration, where BIRD sees it."""

    file: PurePath
    line: int
    """0 where BIRD names no line."""
    column: int
    message: str
    """BIRD's words."""
    remedy: str

    def __str__(self) -> str:
        place = ":".join(map(str, (self.file, self.line, self.column) if self.line else (self.file,)))
        return f"{place}: {self.message}; {self.remedy}"


class Applied(NamedTuple):
    """What became of an apply."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()
    """Why not APPLIED: what the verification complained of, what went wrong; for people."""
    problem: Problem | None = None
    """Of REFUSED: the mistake."""
    changed: tuple[PurePath, ...] = ()
    """The files whose text differed."""

    @property
    def good(self) -> bool:
        """Whether the texts are in force, or will be when BIRD starts."""
        return self.outcome in (Outcome.UNCHANGED, Outcome.APPLIED, Outcome.WRITTEN)
