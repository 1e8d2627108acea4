"""What BIRD must be told, by how far an apply has come; how copies of texts include each other; whose turn it was."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from rtagent.core.bird_apply import Applied, BirdState, Outcome, Phase, Problem, Step, next_step
from rtagent.sinks.bird_turns import same_configuration
from rtagent.wire.birdc.includes import copies
from rtagent.wire.birdc.replies import Status

BUSY = BirdState(in_progress=True, undo_pending=True, ours=True)


@pytest.mark.parametrize(
    ("phase", "undo_pending", "ours", "step"),
    [
        (Phase.VERIFIED, True, True, Step.CONFIRM),
        (Phase.VERIFIED, True, None, Step.CONFIRM),  # we died, and find it as we left it
        (Phase.VERIFIED, True, False, Step.REREAD),  # a stranger's, which we must not confirm
        (Phase.VERIFIED, False, True, Step.DONE),
        (Phase.VERIFIED, False, None, Step.REREAD),  # kept or undone: nobody knows
        (Phase.VERIFIED, False, False, Step.REREAD),
        (Phase.RESTORED, True, True, Step.UNDO),
        (Phase.RESTORED, True, None, Step.REREAD),
        (Phase.RESTORED, True, False, Step.REREAD),  # an undo would lead to what does not pass
        (Phase.RESTORED, False, True, Step.REREAD),  # a stranger ended our timer
        (Phase.RESTORED, False, None, Step.REREAD),
        (Phase.RESTORED, False, False, Step.REREAD),
    ],
)
def test_what_bird_is_told_follows_from_phase_and_state(
    phase: Phase, undo_pending: bool, ours: bool | None, step: Step
) -> None:
    assert step == next_step(phase, BirdState(False, undo_pending, ours))
    assert Step.WAIT == next_step(phase, BirdState(True, undo_pending, ours))


def test_an_unverified_apply_has_its_files_put_back_first() -> None:
    with pytest.raises(AssertionError, match="put the files back first"):
        next_step(Phase.UNVERIFIED, BUSY)


@pytest.mark.parametrize("outcome", Outcome)
def test_an_apply_is_good_if_its_texts_are_or_will_be_in_force(outcome: Outcome) -> None:
    good = {Outcome.UNCHANGED, Outcome.APPLIED, Outcome.WRITTEN}
    assert (outcome in good) == Applied(outcome).good


def test_a_problem_reads_as_compilers_write_it() -> None:
    assert "/b.conf:3:9: syntax error; correct it" == str(
        Problem(PurePath("/b.conf"), 3, 9, "syntax error", "correct it")
    )
    assert "/b.conf: No such file; make it" == str(Problem(PurePath("/b.conf"), 0, 0, "No such file", "make it"))


MAIN, MESH, KEYS = Path("/etc/bird/bird.conf"), Path("/etc/bird/ours/mesh.conf"), Path("/etc/bird/ours/keys.conf")
COPY = {MAIN: Path("/etc/bird/ours/.main"), MESH: Path("/etc/bird/ours/.mesh"), KEYS: Path("/etc/bird/ours/.keys")}


def test_copies_include_each_other_and_the_rest_by_its_full_path() -> None:
    main = (
        '# mine\ninclude "ours/mesh.conf";\n  include\t"conf.d/*.conf" ; # all\n'
        'include "/usr/x.conf";\nx "ours/keys.conf";\n'
    )
    files = {MESH: 'include "../ours/keys.conf";\n', KEYS: "keys\n"}
    assert {
        COPY[MAIN]: (
            '# mine\ninclude "/etc/bird/ours/.mesh";\n  include\t"/etc/bird/conf.d/*.conf" ; # all\n'
            'include "/usr/x.conf";\nx "ours/keys.conf";\n'
        ),
        COPY[MESH]: 'include "/etc/bird/ours/.keys";\n',
        COPY[KEYS]: "keys\n",
    } == copies(MAIN, main, files, COPY)


@pytest.mark.parametrize("include", ["", 'include "ours/*.conf";\n', 'include "between.conf";\n'])
def test_what_is_not_included_by_its_name_has_no_copies(include: str) -> None:
    assert None is copies(MAIN, include, {MESH: "", KEYS: ""}, COPY)


def status(started: str, read: str) -> Status:
    return Status("2.0.12", "192.0.2.1", "host", "", started, read, "Daemon is up and running", False)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (("2026-11-25 10:00:00.000", "2026-11-25 10:05:00.500"), True),
        (("2026-11-25 10:00:00.001", "2026-11-25 10:05:00.500"), True),  # rounded another way
        (("2026-11-25 12:00:00.000", "2026-11-25 12:05:00.500"), True),  # the clock was set
        (("2026-11-25 10:00:00.000", "2026-11-25 10:05:00.512"), False),
        (("2026-11-25 10:06:00.000", "2026-11-25 10:06:00.000"), False),  # started anew
        (("25 Nov", "25 Nov"), False),
    ],
)
def test_a_configuration_is_known_by_when_it_was_read(other: tuple[str, str], same: bool) -> None:
    one = status("2026-11-25 10:00:00.000", "2026-11-25 10:05:00.500")
    assert same == same_configuration(one, status(*other))


def test_times_in_a_format_of_the_operator_s_are_compared_as_they_are() -> None:
    assert same_configuration(status("25 Nov", "26 Nov"), status("25 Nov", "26 Nov"))
    assert not same_configuration(status("25 Nov", "26 Nov"), status("25 Nov", "27 Nov"))
