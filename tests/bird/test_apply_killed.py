"""An apply is killed (SIGKILL) before each of its steps; ``recover`` finds all old or all new, and leaves nothing else.

Steps are what the outside sees: each rename, link, removal and sync of a file, and each command that changes BIRD. A
child process counts them and kills itself at the one that is due; the next one goes a step further, until one comes to
its end.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from rtagent.core.bird_apply import Outcome
from rtagent.sinks.bird import Verify
from rtagent.sinks.birdc import BirdClient
from rtagent.transport.birdc import BirdStream
from tests.bird.applying import Applying, pass_
from tests.lab.birds import INSTALLED, RELEASES, BirdRelease
from tests.lab.lab import Lab

FILE_STEPS = ("replace", "link", "unlink", "fsync")
SOME = [INSTALLED, next(release for release in RELEASES if release.suite == "trixie-backports")]


async def fail(bird: BirdClient) -> list[str]:
    return ["bad"]


def killed_at(step: int, applying: Applying, name: str, verify: Verify) -> bool:
    """Apply in a child that is killed before a step; return whether it was."""
    child = os.fork()
    if child == 0:
        try:
            _count_down(step)
            applying.apply(applying.texts(name), verify=verify)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _count_down(step: int) -> None:
    steps = itertools.count()

    def die_when_due() -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            die_when_due()
            return call(*arguments, **named)

        return wrapped

    for name in FILE_STEPS:
        setattr(os, name, counted(getattr(os, name)))
    write = BirdStream.write

    async def written(stream: BirdStream, data: bytes, timeout_s: float) -> None:
        changes = data.startswith(b"configure") and not data.startswith(b"configure status")
        if changes:
            die_when_due()
        await write(stream, data, timeout_s)
        if changes:
            die_when_due()

    BirdStream.write = written  # type: ignore[method-assign]


@pytest.mark.parametrize("release", SOME, ids=lambda release: release.name)
@pytest.mark.parametrize("verify", [pass_, fail], ids=["good", "bad"])
def test_an_apply_that_is_killed_at_any_step_is_brought_in_order(release: BirdRelease, verify: Verify) -> None:
    if not release.present:
        pytest.skip(release.absence)
    outcomes = set()
    with Lab() as lab:
        applying = Applying(lab, release)
        applying.bird.start()
        present = "old"
        for step in itertools.count():
            name = f"n{step}"
            killed = killed_at(step, applying, name, verify)
            recovered = applying.recover()
            outcomes.add(recovered and recovered.outcome)
            if applying.files() == applying.texts(name):
                present = name
            assert applying.expected(present) == applying.found(), f"killed before step {step}"
            if not killed:
                break
    assert step > 30
    assert {None, Outcome.UNDONE} | ({Outcome.APPLIED} if verify is pass_ else set()) == outcomes
    assert (name if verify is pass_ else "old") == present
