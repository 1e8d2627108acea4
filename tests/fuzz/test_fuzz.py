"""What the fuzzer found stays found; and a short run of it, so that it itself keeps working."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import FOUND
from tests.fuzz.grammar import Grammar
from tests.fuzz.grammar_more import FEATURES
from tests.fuzz.shrink import shrunk
from tests.fuzz.world import commands, play

SETTLES = 12


def needs(replay: Path) -> list[str]:
    """What a replay needs of its kernel, as its first line says it: ``# kernel: vrf``."""
    words = replay.read_text().partition("\n")[0].split()
    return words[2:] if words[:2] == ["#", "kernel:"] else []


@pytest.mark.parametrize(
    "replay",
    [
        pytest.param(path, id=path.stem, marks=pytest.mark.kernel(*needs(path)))
        for path in sorted(FOUND.glob("*.replay"))
    ],
)
def test_what_was_found_once_does_not_differ_again(replay: Path) -> None:
    *_, outcome = play(commands(replay.read_text()))
    assert outcome.differences == []


@pytest.mark.parametrize("seed", range(8))
def test_every_random_sequence_ends_exact(seed: int) -> None:
    *_, outcome = play(Grammar(f"{seed}.0").sequence(SETTLES))
    assert outcome.differences == []
    assert outcome.settles == SETTLES


@pytest.mark.kernel(*FEATURES)
@pytest.mark.parametrize("seed", range(2))
def test_every_random_sequence_with_labels_and_vrfs_ends_exact(seed: int) -> None:
    *_, outcome = play(Grammar(f"{seed}.0", more=True).sequence(SETTLES // 2))
    assert outcome.differences == []
    assert outcome.settles == SETTLES // 2


def test_a_seed_gives_the_same_lines_again() -> None:
    assert Grammar("4711").sequence(5) == Grammar("4711").sequence(5)


def test_a_failing_sequence_is_shrunk_to_the_lines_that_make_it_fail() -> None:
    lines = [str(number) for number in range(100)]
    assert shrunk(lines, lambda fewer: {"17", "71"} <= set(fewer), lambda: True) == ["17", "71"]


def test_shrinking_ends_when_its_time_is_over() -> None:
    attempts = iter([True] * 3)
    assert shrunk(["a", "b", "c", "d"], lambda fewer: "d" in fewer, lambda: next(attempts, False)) == ["c", "d"]
