"""The files that an apply replaces, and its journal: each step whole or not at all, also when the power fails.

A new text is written beside its file (``.NAME.rtagent-new``) and renamed over it; the old one stays as
``.NAME.rtagent-previous``, a second name of the same data, so that going back needs no room on a full disk. A glob in
BIRD's configuration sees no name that starts with a dot. The phase of an apply is the end of its journal's name, as a
rename needs no room either. Texts hold passwords: they are readable by their owner and BIRD's group only.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rtagent.core.bird_apply import Phase

_MODE = 0o640
_NEW, _PREVIOUS = "new", "previous"


class OwnFiles:
    """Files of ours that BIRD includes. Every method may raise OSError."""

    def __init__(self, group: str) -> None:
        """``group`` may read the files, where it exists."""
        self._group = group

    def texts(self, paths: Iterable[Path]) -> dict[Path, str | None]:
        """Return what files hold; None where there is none."""
        return {path: _text(path) for path in paths}

    def stage(self, files: Mapping[Path, str]) -> None:
        """Write texts beside their files, down to the disk, and keep the present ones under a second name."""
        for path, text in files.items():
            self.write(beside(path, _NEW), text)
            beside(path, _PREVIOUS).unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.link(path, beside(path, _PREVIOUS))
        _sync(path.parent for path in files)

    def write(self, path: Path, text: str, *, down_to_the_disk: bool = True) -> None:
        """Write a file anew."""
        path.unlink(missing_ok=True)
        try:
            with open(path, "xb", opener=_private) as file:
                self._give_to_group(file.fileno())
                file.write(text.encode())
                file.flush()
                if down_to_the_disk:
                    os.fsync(file.fileno())
        except OSError as error:  # what writing says names no file
            raise OSError(error.errno, error.strerror, str(path)) from error

    def _give_to_group(self, descriptor: int) -> None:
        try:
            os.fchown(descriptor, -1, grp.getgrnam(self._group).gr_gid)
        except KeyError:
            return  # no such group: a BIRD that runs as root
        except PermissionError as error:
            why = f"only a member of group {self._group} may give it files; add this user to the group"
            raise PermissionError(error.errno, why) from error
        os.fchmod(descriptor, _MODE)

    def put(self, paths: Iterable[Path]) -> None:
        """Put staged texts in place."""
        for path in paths:
            beside(path, _NEW).replace(path)
        _sync(path.parent for path in paths)

    def restore(self, existed: Mapping[Path, bool]) -> None:
        """Put the texts from before ``stage`` back; a file that was not there is removed. May be repeated."""
        for path, was_there in existed.items():
            if not was_there:
                path.unlink(missing_ok=True)
            elif beside(path, _PREVIOUS).exists():
                beside(path, _PREVIOUS).replace(path)
        _sync(path.parent for path in existed)

    def clean(self, paths: Iterable[Path]) -> None:
        """Remove what an apply, also one that broke off, leaves beside its files."""
        for folder in {path.parent for path in paths}:
            for left in folder.glob(beside(folder / "*", "*").name):
                left.unlink(missing_ok=True)


class Journal:
    """How far the apply under way has come, and which files were there before it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def phase(self) -> Phase | None:
        """The phase of an apply under way, or of one that broke off."""
        return next((phase for phase in Phase if self._named(phase).exists()), None)

    def begin(self, existed: Mapping[Path, bool]) -> None:
        """Write the journal, down to the disk. Raises OSError."""
        beside = self._path.with_name(f"{self._path.name}.new")
        with beside.open("w") as file:
            json.dump({str(path): was_there for path, was_there in existed.items()}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._named(Phase.UNVERIFIED))
        _sync([self._path.parent])

    def enter(self, phase: Phase) -> None:
        """Go on to another phase. Raises OSError."""
        before = self.phase
        if before is not None and before is not phase:
            self._named(before).replace(self._named(phase))
            _sync([self._path.parent])

    def files(self) -> dict[Path, bool]:
        """Return the files, and whether each was there before. Raises OSError; ValueError for what is no journal."""
        phase = self.phase
        assert phase is not None, "no apply is under way"
        told = json.loads(self._named(phase).read_text())
        if not isinstance(told, dict) or not all(isinstance(was_there, bool) for was_there in told.values()):
            raise ValueError(f"{self._named(phase)} is no journal of an apply")
        return {Path(name): was_there for name, was_there in told.items()}

    def end(self) -> None:
        """Remove the journal. Raises OSError."""
        for phase in Phase:
            self._named(phase).unlink(missing_ok=True)
        _sync([self._path.parent])

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock that admits one apply at a time, of all processes; yields False where another has it."""
        with self._path.with_name(f"{self._path.name}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True  # closing lets go of it, and so does dying

    def _named(self, phase: Phase) -> Path:
        return self._path.with_name(f"{self._path.name}.{phase.value}")


def beside(path: Path, kind: str) -> Path:
    """Return the name of a file's companion, such as ``new``."""
    return path.with_name(f".{path.name}.rtagent-{kind}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def _sync(folders: Iterable[Path]) -> None:
    """Bring renames within folders down to the disk."""
    for folder in sorted(set(folders)):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
