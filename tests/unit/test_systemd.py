"""The files in systemd/: accepted by systemd's own tools, least privileges, a reason beside each setting."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "systemd"


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(tool), reason=f"{tool} is not installed (apt-get install systemd)")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, its program replaced by one that is here: that it is installed is not the question."""
    text = (FOLDER / "rtagent.service").read_text().replace("/usr/bin/rtagent", sys.executable)
    path = tmp_path / "rtagent.service"
    path.write_text(text)
    return path


def settings(name: str) -> list[tuple[str, str]]:
    """Each Key=Value of a unit file, in order."""
    lines = (FOLDER / name).read_text().splitlines()
    return [
        (key, value) for key, is_set, value in (line.partition("=") for line in lines if line[:1].isalpha()) if is_set
    ]


def run(*command: str | Path) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@needs("systemd-analyze")
def test_the_unit_is_accepted_without_a_word(unit: Path) -> None:
    assert (0, "") == run("systemd-analyze", "verify", "--man=no", unit)


@needs("systemd-analyze")
@pytest.mark.parametrize("dropin", ["netns.conf", "mesh.conf", "taps.conf", "cpus.conf"])
def test_the_unit_is_accepted_with_each_dropin(unit: Path, dropin: str) -> None:
    folder = unit.parent / "rtagent.service.d"
    folder.mkdir()
    shutil.copy(FOLDER / dropin, folder)
    assert (0, "") == run("systemd-analyze", "verify", "--man=no", unit)


@needs("systemd-analyze")
def test_the_unit_is_well_confined(unit: Path) -> None:
    status, said = run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
    assert 0 == status, said


def test_the_unit_asks_for_one_capability_and_the_dropin_for_the_one_that_setns_takes() -> None:
    wanted = [("CapabilityBoundingSet", "CAP_NET_ADMIN"), ("AmbientCapabilities", "CAP_NET_ADMIN")]
    assert wanted == [pair for pair in settings("rtagent.service") if "Capabilit" in pair[0]]
    wanted = [("CapabilityBoundingSet", "CAP_SYS_ADMIN"), ("AmbientCapabilities", "CAP_SYS_ADMIN")]
    assert wanted == [pair for pair in settings("netns.conf") if "Capabilit" in pair[0]]


def test_the_watchdog_is_on_and_readiness_may_take_its_time() -> None:
    unit = dict(settings("rtagent.service"))
    expected = {"Type": "notify", "WatchdogSec": "30", "TimeoutStartSec": "infinity", "Restart": "on-failure"}
    assert expected == {key: unit[key] for key in expected}


@needs("systemd-sysusers")
def test_sysusers_makes_the_user_and_puts_it_into_vpps_group(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    status, said = run("systemd-sysusers", f"--root={tmp_path}", FOLDER / "rtagent.sysusers")
    assert 0 == status, said
    assert re.search(r"^rtagent:", (tmp_path / "etc/passwd").read_text(), re.MULTILINE)
    assert re.search(r"^vpp:[^:]*:\d+:rtagent$", (tmp_path / "etc/group").read_text(), re.MULTILINE)


@needs("systemd-tmpfiles")
def test_tmpfiles_makes_the_directories(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nrtagent:x:0:0::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nrtagent:x:0:\n")
    status, said = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", FOLDER / "rtagent.tmpfiles")
    assert 0 == status, said
    assert [0o755, 0o755] == [(tmp_path / name).stat().st_mode & 0o777 for name in ("run/rtagent", "etc/rtagent")]


def test_each_group_of_sysctls_begins_with_its_reason() -> None:
    groups = (FOLDER / "60-rtagent.sysctl.conf").read_text().split("\n\n")[1:]
    assert [] == [group for group in groups if not group.startswith("# ")]
    names = re.findall(r"^([a-z0-9_.]+) = \d+$", "\n".join(groups), re.MULTILINE)
    assert len(names) == sum(1 for group in groups for line in group.splitlines() if not line.startswith("#") and line)


def test_the_sysctls_exist() -> None:
    names = re.findall(r"^([a-z0-9_.]+) =", (FOLDER / "60-rtagent.sysctl.conf").read_text(), re.MULTILINE)
    assert [] == [name for name in names if not Path("/proc/sys", *name.split(".")).exists()]
