"""Texts of ours are put in force in real BIRDs, one release after the other, and nothing that goes wrong costs more."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest

from rtagent.core.bird_apply import Applied, Outcome
from rtagent.core.sink import Disconnected
from rtagent.sinks.bird import BirdSink, Verify
from rtagent.sinks.birdc import BirdClient
from tests.bird.applying import Applying, pass_
from tests.lab.birds import INSTALLED, BirdRelease
from tests.lab.lab import Lab, run, wait_for


@pytest.fixture
def applying(bird_release: BirdRelease) -> Iterator[Applying]:
    with Lab() as lab:
        applying = Applying(lab, bird_release)
        applying.bird.start()
        yield applying


@pytest.fixture
def installed() -> Iterator[Applying]:
    """One release, for what does not depend on it."""
    if not INSTALLED.present:
        pytest.skip(INSTALLED.absence)
    with Lab() as lab:
        applying = Applying(lab, INSTALLED)
        applying.bird.start()
        yield applying


async def complain(bird: BirdClient) -> list[str]:
    names = sorted(protocol.name for protocol in await bird.protocols("*_*"))
    return [f"cut off, with {' '.join(names)}"]


def test_texts_are_put_in_force_and_kept(applying: Applying) -> None:
    files = applying.texts("new")
    assert Applied(Outcome.APPLIED, changed=tuple(files)) == applying.apply(files)
    assert applying.expected("new") == applying.found()
    assert {0o640} == {stat.S_IMODE(path.stat().st_mode) for path in files}
    assert {"bird"} == {path.group() for path in files}


def test_texts_that_are_there_already_are_not_worth_a_word_to_bird(installed: Applying) -> None:
    installed.bird.hang()
    assert Applied(Outcome.UNCHANGED) == installed.apply(installed.texts("old"))
    installed.bird.go_on()
    assert set() == installed.journal()


def test_only_what_differs_is_written(installed: Applying) -> None:
    before = installed.keys.stat().st_ino
    files = installed.texts("old", mesh="protocol static more { ipv4; }\n")
    assert Applied(Outcome.APPLIED, changed=(installed.mesh,)) == installed.apply(files)
    assert before == installed.keys.stat().st_ino


@pytest.mark.parametrize("where", ["mesh", "keys"])
def test_a_mistake_of_ours_is_refused_before_anything_is_written(applying: Applying, where: str) -> None:
    applied = applying.apply(applying.texts("new", **{where: "protocol statik {}\n"}))
    assert Outcome.REFUSED == applied.outcome
    assert applied.problem is not None
    assert (getattr(applying, where), 3 if where == "mesh" else 2) == (applied.problem.file, applied.problem.line)
    assert "syntax error" in applied.problem.message
    assert "rtagent wrote this file" in applied.problem.remedy
    assert applying.expected("old") == applying.found()


def test_a_mistake_of_the_operator_s_is_theirs_to_correct(applying: Applying) -> None:
    applying.bird.config.write_text(applying.bird.config.read_text() + "protocol statik {}\n")
    applied = applying.apply(applying.texts("new"))
    assert Outcome.REFUSED == applied.outcome
    assert applied.problem is not None
    assert (applying.bird.config, 5) == (applied.problem.file, applied.problem.line)
    assert f"correct {applying.bird.config}" in str(applied.problem)
    assert applying.expected("old") == applying.found()


def test_what_is_included_by_a_glob_is_checked_in_its_place_and_taken_back(applying: Applying) -> None:
    applying.bird.config.write_text('router id 192.0.2.1; protocol device {}\ninclude "ours/m*.conf";\n')
    applied = applying.apply(applying.texts("new", mesh="protocol statik {}\n"))
    assert Outcome.REFUSED == applied.outcome
    assert applied.problem is not None
    assert (applying.mesh, 3) == (applied.problem.file, applied.problem.line)
    assert applying.expected("old") == applying.found()
    assert Outcome.APPLIED == applying.apply(applying.texts("new")).outcome
    assert applying.expected("new") == applying.found()


def test_what_does_not_pass_is_undone_and_the_old_files_are_back(applying: Applying) -> None:
    applied = applying.apply(applying.texts("bad"), verify=complain)
    assert (Outcome.UNDONE, ("cut off, with keys_bad mesh_bad",)) == (applied.outcome, applied.reasons)
    assert applying.expected("old") == applying.found()


def test_a_bird_that_was_started_with_another_file_is_found_out(installed: Applying) -> None:
    meant = installed.bird.config.with_name("meant.conf")
    meant.write_text(installed.bird.config.read_text())
    installed.bird.config.write_text("router id 192.0.2.1; protocol device {}\n")
    sink = BirdSink(installed.bird.socket, meant, installed.state / "apply")
    applied = asyncio.run(sink.apply(installed.texts("new"), verify=complain))
    said = f"BIRD reads {installed.bird.config}, not {meant}: is ours included there?"
    assert (Outcome.UNDONE, said) == (applied.outcome, applied.reasons[-1])


def test_a_verification_that_does_not_end_is_undone(applying: Applying) -> None:
    async def wait(bird: BirdClient) -> list[str]:
        await asyncio.Event().wait()
        return []

    applied = applying.apply(applying.texts("bad"), verify=wait, timeout_s=4)
    assert (Outcome.UNDONE, ("the verification did not end in time",)) == (applied.outcome, applied.reasons)
    assert applying.expected("old") == applying.found()


def test_a_file_that_was_not_there_is_not_there_after_an_undo(applying: Applying) -> None:
    applying.bird.config.write_text(applying.bird.config.read_text() + 'include "ours/*.more";\n')
    added = applying.ours / "added.more"
    applied = applying.apply({added: "protocol static more_new { ipv4; }\n"}, verify=complain)
    assert (Outcome.UNDONE, ("cut off, with keys_old mesh_old more_new",)) == (applied.outcome, applied.reasons)
    assert applying.expected("old") == applying.found()


def test_without_a_bird_the_texts_are_checked_and_wait_for_one(applying: Applying) -> None:
    applying.bird.stop()
    refused = applying.apply(applying.texts("new", keys="protocol statik {}\n"))
    assert Outcome.REFUSED == refused.outcome
    assert refused.problem is not None
    assert (applying.keys, 2) == (refused.problem.file, refused.problem.line)
    assert applying.texts("old") == applying.files()
    assert Outcome.WRITTEN == applying.apply(applying.texts("new")).outcome
    applying.bird.start()
    assert applying.expected("new") == applying.found()


def test_a_bird_that_hangs_before_is_left_alone(applying: Applying) -> None:
    applying.bird.hang()
    applied = applying.apply(applying.texts("new"), answer_s=1)
    assert Outcome.FAILED == applied.outcome
    assert "said nothing for 1 s" in applied.reasons[0]
    assert applying.texts("old") == applying.files()
    applying.bird.go_on()
    assert applying.expected("old") == applying.found()


def test_a_bird_that_hangs_meanwhile_is_told_to_go_back_when_it_goes_on(applying: Applying) -> None:
    async def hang(bird: BirdClient) -> list[str]:
        applying.bird.hang()
        await bird.status()
        return []

    applied = applying.apply(applying.texts("new"), verify=hang, answer_s=1)
    assert Outcome.FAILED == applied.outcome
    assert applying.texts("old").items() <= applying.files().items()
    assert "apply.restored" in applying.journal()
    applying.bird.go_on()
    recovered = applying.recover()
    assert recovered is not None
    assert Outcome.UNDONE == recovered.outcome
    assert applying.expected("old") == applying.found()


def test_a_bird_that_dies_meanwhile_starts_with_the_old_files(applying: Applying) -> None:
    async def kill(bird: BirdClient) -> list[str]:
        applying.bird.kill()
        await bird.status()
        return []

    assert Outcome.FAILED == applying.apply(applying.texts("new"), verify=kill).outcome
    applying.bird.start()
    assert {"mesh_old", "keys_old"} == applying.in_force()
    assert None is not applying.recover()
    assert applying.expected("old") == applying.found()


def test_a_bird_that_is_restarted_meanwhile_is_told_once_more(applying: Applying) -> None:
    times = 0

    async def restart(bird: BirdClient) -> list[str]:
        nonlocal times
        times += 1
        if times == 1:
            applying.bird.kill()
            applying.bird.start()
            with suppress(Disconnected):  # the connection to the one before
                await bird.status()
        return await complain(bird) if times == 3 else []

    assert Outcome.APPLIED == applying.apply(applying.texts("new"), verify=restart).outcome
    assert 2 == times
    assert applying.expected("new") == applying.found()


@pytest.mark.parametrize("bad", [False, True], ids=["good", "bad"])
@pytest.mark.parametrize("how", ["configure", "SIGHUP", "mistaken configure", "configure timeout"])
def test_a_stranger_who_tells_bird_meanwhile_ends_our_timer_and_not_our_care(
    applying: Applying, how: str, bad: bool
) -> None:
    times = 0

    async def interfered(bird: BirdClient) -> list[str]:
        nonlocal times
        times += 1
        if times == 1:
            read_at = (await bird.status()).last_reconfiguration
            stranger = BirdClient(applying.bird.socket)
            if how == "SIGHUP":
                applying.bird.reread()
            elif how == "mistaken configure":
                with suppress(Exception):
                    await stranger.command('configure "/missing"')
            else:
                await stranger.command("configure timeout 60" if how == "configure timeout" else "configure")
            while how != "mistaken configure" and (await bird.status()).last_reconfiguration == read_at:
                await asyncio.sleep(0.01)
            while (await bird.configure_status()).state.name != "DONE":
                await asyncio.sleep(0.01)
            stranger.close()
        return ["bad"] if bad else []

    applied = applying.apply(applying.texts("new"), verify=interfered)
    assert (Outcome.UNDONE if bad else Outcome.APPLIED) == applied.outcome
    assert applying.expected("old" if bad else "new") == applying.found()


def test_a_stranger_s_unconfirmed_configuration_is_waited_for(applying: Applying) -> None:
    applying.bird.ctl("configure timeout 60")
    applied = applying.apply(applying.texts("new"), timeout_s=0.2)
    assert Outcome.BUSY == applied.outcome
    assert "undo in" in applying.bird.ctl("configure status")
    applying.bird.ctl("configure confirm")
    assert applying.expected("old") == applying.found()


def many(count: int = 100_000) -> str:
    """Return a protocol whose removal keeps BIRD busy for some tenths of a second."""
    routes = (f"route {20 + (i >> 16)}.{i >> 8 & 255}.{i & 255}.0/24 blackhole;" for i in range(count))
    return "protocol static many { ipv4; " + " ".join(routes) + " }\n"


def test_a_stranger_s_configuration_in_progress_is_waited_for(applying: Applying) -> None:
    operator = applying.bird.config.read_text()
    applying.bird.config.write_text(operator + many())
    applying.bird.configure()
    applying.bird.config.write_text(operator)
    assert "Reconfiguration in progress" in applying.bird.ctl("configure")
    assert Outcome.APPLIED == applying.apply(applying.texts("new")).outcome
    assert applying.expected("new") == applying.found()


@pytest.mark.parametrize("verify", [pass_, complain], ids=["good", "bad"])
def test_an_own_configuration_in_progress_is_waited_for(applying: Applying, verify: Verify) -> None:
    assert Outcome.APPLIED == applying.apply(applying.texts("many", mesh=many())).outcome
    applied = applying.apply(applying.texts("new"), verify=verify)
    assert (Outcome.APPLIED if verify is pass_ else Outcome.UNDONE) == applied.outcome
    names = {"mesh_new", "keys_new"} if verify is pass_ else {"mesh_many", "keys_many", "many"}
    assert names == applying.in_force()


def test_two_at_once_are_one(installed: Applying) -> None:
    async def both() -> list[Applied]:
        async def verify(bird: BirdClient) -> list[str]:
            second.append(await installed.sink().apply(installed.texts("other"), verify=verify))
            return []

        second: list[Applied] = []
        first = await installed.sink().apply(installed.texts("new"), verify=verify)
        return [first, *second]

    assert [Outcome.APPLIED, Outcome.BUSY] == [applied.outcome for applied in asyncio.run(both())]
    assert installed.expected("new") == installed.found()


def test_an_apply_that_is_cancelled_puts_the_old_files_back_and_bird_follows(applying: Applying) -> None:
    async def cancelled() -> None:
        reached = asyncio.Event()

        async def verify(bird: BirdClient) -> list[str]:
            reached.set()
            await asyncio.Event().wait()
            return []

        task = asyncio.create_task(applying.sink().apply(applying.texts("new"), verify=verify, timeout_s=1))
        await reached.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert applying.texts("old").items() <= applying.files().items()
    wait_for(lambda: {"mesh_old", "keys_old"} == applying.in_force(), "BIRD's own undo")
    assert None is not applying.recover()
    assert applying.expected("old") == applying.found()


def test_a_full_disk_leaves_everything_as_it_was(installed: Applying) -> None:
    run("mount", "-t", "tmpfs", "-o", "size=32k,mode=755", "none", str(installed.ours))
    try:
        for path, text in installed.texts("old").items():
            path.write_text(text)
        applied = installed.apply(installed.texts("new", mesh=f"# {'x' * 65536}\n"))
        why = f"{installed.ours}/.mesh.conf.rtagent-new: No space left on device"
        assert (Outcome.FAILED, (why,)) == (applied.outcome, applied.reasons)
        assert installed.expected("old") == installed.found()
        filling = installed.ours / "filling"
        with suppress(OSError):
            filling.write_bytes(bytes(65536))
        assert Outcome.FAILED == installed.apply(installed.texts("new")).outcome
        filling.unlink()
        assert installed.expected("old") == installed.found()
    finally:
        subprocess.run(["umount", "--lazy", str(installed.ours)], check=False)


def test_a_user_outside_of_bird_s_group_is_told_to_join_it() -> None:
    with Lab() as lab:
        applying = Applying(lab, INSTALLED)
        child = os.fork()
        if child == 0:
            try:
                lab.folder.chmod(0o755)
                for folder in (applying.ours, applying.state):
                    os.chown(folder, 65534, 65534)
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                applied = applying.apply(applying.texts("new"))
                os._exit(
                    applied.reasons[0].endswith("add this user to the group") and applied.outcome is Outcome.FAILED
                )
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        assert 1 == os.waitstatus_to_exitcode(status)
        assert applying.texts("old") == applying.files()


def test_a_journal_that_is_none_is_named(installed: Applying) -> None:
    (installed.state / "apply.unverified").write_text("[]")
    recovered = installed.recover()
    assert recovered is not None
    assert (Outcome.FAILED, True) == (recovered.outcome, "is no journal of an apply" in recovered.reasons[0])
    assert installed.texts("old") == installed.files()


def test_a_folder_that_is_not_there_is_named(installed: Applying) -> None:
    installed.state.rmdir()
    applied = installed.apply(installed.texts("new"))
    assert Outcome.FAILED == applied.outcome
    assert f"{installed.state}/apply.lock: No such file or directory" == applied.reasons[0]
    assert os.listdir(installed.ours)
    assert installed.texts("old") == installed.files()
