"""The guest itself: what runs in it, what it leaves alone, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import kernel, vm
from tests.lab.lab import PREFIX, CommandFailed, run, wait_for

pytestmark = pytest.mark.skipif(
    not vm.UML.installed, reason=f"{vm.UML.missing}: NOT tested that a guest can be relied on"
)

EVERY_FEATURE = ("mpls", "vrf", "dummy", "vlan", "bond")


def guest_processes(of: int) -> list[str]:
    """The processes of user-mode Linux whose command line names the folder of a guest of that process."""
    name = f"{PREFIX}-{of}-vm-"
    return [line for line in run("ps", "-ewwo", "pid,args").splitlines() if name in line and "uml" in line]


def wait_gone(guest: vm.Vm) -> None:
    """Await the end of every process of a guest: the last ones of its namespace may go after it."""
    wait_for(lambda: not any(guest.folder.name in line for line in guest_processes(os.getpid())), "all of it to end")


def test_a_command_is_told_by_its_output_and_status() -> None:
    assert (3, "heard: hello\n") == vm.run(["sh", "-c", "read line; echo heard: $line; exit 3"], stdin=b"hello\n")


def test_a_long_output_arrives_whole() -> None:
    expected = "".join(f"{number}\n" for number in range(1, 100_001))
    assert (0, expected) == vm.run(["seq", "100000"])


def test_what_is_written_in_a_guest_stays_there(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("as it was")
    script = f"echo other >{tmp_path}/kept && echo new >{tmp_path}/new && cat {tmp_path}/kept {tmp_path}/new"
    assert (0, "other\nnew\n") == vm.run(["sh", "-c", script])
    assert {"kept": "as it was"} == {path.name: path.read_text() for path in tmp_path.iterdir()}


def test_the_folder_is_the_way_out_for_files() -> None:
    with vm.Vm(["sh", "-c", "cat /run/vm/in >/run/vm/out"]) as guest:
        (guest.folder / "in").write_text("there and back")
        assert 0 == guest.wait()
        assert "there and back" == (guest.folder / "out").read_text()


def test_two_run_side_by_side() -> None:
    with vm.Vm(["cat"]) as left, vm.Vm(["cat"]) as right:
        for guest, text in ((left, b"left\n"), (right, b"right\n")):
            guest.stdin.write(text)
            guest.stdin.flush()
        assert [b"left\n", b"right\n"] == [left.stdout.readline(), right.stdout.readline()]


def test_one_that_hangs_is_ended_and_shows_its_console() -> None:
    with vm.Vm(["sh", "-c", "echo here I hang >&2; echo; sleep 1000"]) as guest:
        guest.stdout.readline()
        with pytest.raises(CommandFailed, match=r"(?s)still ran after 0\.1 s.*here I hang"):
            guest.wait(0.1)
        wait_gone(guest)


def test_one_that_panics_shows_its_console() -> None:
    with vm.Vm(["sh", "-c", "echo c >/proc/sysrq-trigger"]) as guest:
        with pytest.raises(CommandFailed, match=r"(?s)ended without a status.*Kernel panic"):
            guest.wait()
        wait_gone(guest)


def test_one_whose_owner_is_killed_goes_with_it() -> None:
    command = [sys.executable, "-m", "tests.lab.vm", "sh", "-c", "echo up; sleep 1000"]
    owner = subprocess.Popen(command, cwd=vm.ROOT, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert b"up\n" == owner.stdout.readline()
    assert [] != guest_processes(owner.pid)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    wait_for(lambda: not guest_processes(owner.pid), "the end of the guest")


@pytest.mark.kernel(*EVERY_FEATURE)
@pytest.mark.parametrize("feature", EVERY_FEATURE)
def test_a_kernel_has_what_a_test_asks_for(feature: str) -> None:
    assert kernel.has(feature)


TESTS = """
import os, pytest

@pytest.fixture(scope="module")
def once():
    return os.getpid()

@pytest.mark.parametrize("number", range(2))
def test_fine(once, number):
    assert os.getpid() == once
    assert os.uname().release.startswith("6.1.")

def test_wrong(once):
    assert "expected" == "actual"

@pytest.mark.skip(reason="on Sundays")
def test_skipped(): ...

@pytest.mark.kernel("mpls", "vrf")
def test_needy(): ...

def test_panic():
    open("/proc/sysrq-trigger", "w").write("c")

def test_after_it(): ...
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_each_test_in_a_guest_is_reported_by_itself_and_none_passes_that_was_not_run(
    tmp_path: Path, workers: str
) -> None:
    (tmp_path / "test_there.py").write_text(TESTS)
    options = ["-p", "tests.guest", "--vm", "-v", "-rs", "-n", workers, "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=vm.ROOT)
    assert "2 failed, 4 passed, 1 skipped" in done.stdout
    for said in ("assert 'expected' == 'actual'", "on Sundays", "Kernel panic", "the guest ended before"):
        assert said in done.stdout, said
