"""The releases of BIRD that tests run against: the installed one, and Debian's later ones unpacked aside.

Debian 12 has 2.0.12; what BIRD says, and what it takes, has changed since. ``python -m tests.lab.birds`` (which
``./dev test`` and ``./dev lab`` run first) fetches the packages of later suites, with the C library they want, into
~/.cache/rtagent/birds: each with its own loader and libraries, and a script ``bird`` and ``birdc`` to start them.
apt is asked with a state directory and a sources list of its own, so that the machine's packages and lists stay as they
are; the archive is the one that the machine's own sources name. What is there already is left alone.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.lab.lab import CommandFailed, run

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rtagent" / "birds"

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SHARED = {"trixie-backports": "trixie"}
"""Where a suite does not hold the libraries of its packages: the suite that does."""
_NOTHING_ELSE = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]


class BirdRelease(NamedTuple):
    """A release: ``bird`` and ``birdc`` are what to start. ``suite`` is empty for the installed one."""

    package: str
    suite: str = ""

    @property
    def name(self) -> str:
        """What tests and their reports call it."""
        return f"{self.package}-{self.suite or 'installed'}"

    @property
    def folder(self) -> Path:
        """Where it is unpacked."""
        return CACHE / self.name

    @property
    def bird(self) -> str:
        """The daemon."""
        return str(self.folder / "bird") if self.suite else "bird"

    @property
    def birdc(self) -> str:
        """The client."""
        return str(self.folder / "birdc") if self.suite else "birdc"

    @property
    def present(self) -> bool:
        """Whether it can be started here."""
        return all(shutil.which(program) for program in (self.bird, self.birdc))

    @property
    def absence(self) -> str:
        """Why a test of it is skipped."""
        how = "python -m tests.lab.birds fetches it" if self.suite else "Debian's bird2 is not installed"
        return f"BIRD {self.name} is not here: {how}"

    @property
    def version(self) -> tuple[int, ...]:
        """The version that it says, such as (2, 0, 12)."""
        said = subprocess.run([self.bird, "--version"], capture_output=True, text=True, check=True)
        found = re.search(r"version (\d+(?:\.\d+)+)", said.stdout + said.stderr)
        assert found, said
        return tuple(map(int, found[1].split(".")))


INSTALLED = BirdRelease("bird2")
RELEASES = (
    INSTALLED,  # 2.0.12 on Debian 12
    BirdRelease("bird2", "trixie"),  # 2.17.6
    BirdRelease("bird3", "trixie"),  # 3.1.8
    BirdRelease("bird3", "trixie-backports"),  # 3.3.2, which aborts when it is configured twice at once
    BirdRelease("bird2", "forky"),  # 2.20 or later
    BirdRelease("bird3", "forky"),  # 3.4 or later
)


class Unreachable(Exception):
    """A release cannot be fetched; the text says why."""


def fetch(release: BirdRelease) -> None:
    """Fetch a release, unless it is present. Raises Unreachable."""
    if release.present:
        return
    try:
        with _alone():
            if not release.present:
                _fetch(release)
    except (CommandFailed, OSError, subprocess.SubprocessError) as error:
        raise Unreachable(str(error)) from error


def _fetch(release: BirdRelease) -> None:
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=CACHE) as name:
        work = Path(name)
        apt = _Apt(work / "apt", [release.suite, *filter(None, [_SHARED.get(release.suite)])])
        wanted = apt.dependencies(release.package)
        libraries = [package for package in apt.dependencies(*wanted, deep=True) if package.startswith("lib")]
        packages = apt.download(f"{release.package}/{release.suite}", *sorted({*wanted, *libraries}))
        unpacked = work / "root"
        for package in packages:
            run("dpkg-deb", "--extract", str(package), str(unpacked))
        for program in ("bird", "birdc"):
            _write_starter(unpacked, release.folder, program)
        shutil.rmtree(release.folder, ignore_errors=True)
        unpacked.rename(release.folder)


def _write_starter(unpacked: Path, folder: Path, program: str) -> None:
    """Write a script that starts a program with the loader and the libraries beside it."""
    loader = next(path for path in unpacked.glob("**/ld-linux*.so*") if not path.is_symlink())
    libraries = next(unpacked.glob("usr/lib/*-linux-gnu*"))
    parts = [loader, libraries, next(unpacked.glob(f"usr/sbin/{program}"))]
    loader_at, libraries_at, program_at = (folder / part.relative_to(unpacked) for part in parts)
    starter = unpacked / program
    starter.write_text(f'#!/bin/sh\nexec "{loader_at}" --library-path "{libraries_at}" "{program_at}" "$@"\n')
    starter.chmod(0o755)


class _Apt:
    """apt over some of Debian's suites, with lists and a state of its own."""

    def __init__(self, folder: Path, suites: list[str]) -> None:
        self._archives = folder / "archives"
        for path in (folder / "lists" / "partial", self._archives / "partial"):
            path.mkdir(parents=True)
        (folder / "status").touch()
        sources = folder / "sources.list"
        archive = _archive()
        sources.write_text("".join(f"deb [signed-by={_KEYRING}] {archive} {suite} main\n" for suite in suites))
        settings = {
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::Cache": folder,
            "APT::Sandbox::User": "root",  # the folder is of the user who runs this
            "APT::Update::Post-Invoke": "",
            "APT::Update::Post-Invoke-Success": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": 1,
            "Acquire::http::Timeout": 15,
            "Acquire::https::Timeout": 15,
        }
        self._options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        run("apt-get", *self._options, "--error-on=any", "-q", "update")

    def dependencies(self, *packages: str, deep: bool = False) -> list[str]:
        """Return the libraries that packages need, themselves included where ``deep``."""
        how = ["--recurse"] if deep else []
        said = run("apt-cache", *self._options, "depends", *how, *_NOTHING_ELSE, *packages)
        pattern = r"^(lib\S+)$" if deep else r"^ +Depends: (lib\S+)$"
        return sorted(set(re.findall(pattern, said, re.MULTILINE)))

    def download(self, *packages: str) -> list[Path]:
        """Download packages."""
        command = ["apt-get", *self._options, "-q", "download", *packages]
        done = subprocess.run(command, cwd=self._archives, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise CommandFailed(f"apt-get download: {done.stdout}{done.stderr}")
        return sorted(self._archives.glob("*.deb"))


def _archive() -> str:
    """Return the address of Debian's archive, as the machine's own sources have it."""
    codename = dict(re.findall(r'^(\w+)="?([^"\n]*)', Path("/etc/os-release").read_text(), re.MULTILINE))
    wanted = codename.get("VERSION_CODENAME", "")
    said = run("apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(REPO_URI)", "Created-By: Packages")
    for line in said.splitlines():
        origin, suite, address = line.split(maxsplit=2)
        if (origin, suite) == ("Debian", wanted):
            return address
    raise CommandFailed(f"no source of apt is Debian's {wanted or 'archive'}")


@contextmanager
def _alone() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Fetch what is missing; what cannot be had is said, and is no failure: its tests are skipped, and say so."""
    for release in RELEASES[1:]:
        try:
            if not release.present:
                print(f"fetching BIRD {release.name}", file=sys.stderr)
                fetch(release)
        except Unreachable as error:
            print(f"BIRD {release.name} cannot be fetched: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
