"""Members in a file, followed as it changes.

Looked at by stat on a timer: that also sees symbolic links that are swapped (a ConfigMap) and remote file systems, of
which inotify says nothing. A file counts when two looks in a row found it the same, so half of one is rarely read; and
one with mistakes in it changes nothing, since the last good content stays.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import structlog

from rtagent.sources.members import ClaimSink
from rtagent.wire.members import document
from rtagent.wire.toml.schema import SettingsError

log = structlog.get_logger()

NAME = "file"
_LOOK_EVERY_S = 0.5
_Stamp = tuple[int, int, int, int]


class MembersFile:
    """Reports the members in one file."""

    def __init__(self, path: str, look_every_s: float = _LOOK_EVERY_S) -> None:
        self._path = Path(path)
        self._look_every_s = look_every_s

    async def run(self, sink: ClaimSink) -> None:
        """Report the file's members whenever it has changed, for ever."""
        read: _Stamp | None = None
        seen: _Stamp | None = None
        first = True
        while True:
            try:
                now = _stamp(self._path)
                if now != read and (first or now == seen):
                    self._read(sink)
                    read = now
                seen = now
            except OSError as error:
                if read is not None or first:
                    self._complain(sink, [f"{self._path}: cannot be read: {error.strerror}"])
                read = seen = None
            first = False
            await asyncio.sleep(self._look_every_s)

    def _read(self, sink: ClaimSink) -> None:
        try:
            claims = document.decode(self._path.read_text(encoding="utf-8"), str(self._path))
        except UnicodeDecodeError:
            self._complain(sink, [f"{self._path}: not UTF-8 text"])
        except SettingsError as error:
            self._complain(sink, [str(problem) for problem in error.problems])
        else:
            log.info("mesh.file_read", file=str(self._path), members=len(claims))
            sink.report(NAME, claims)

    def _complain(self, sink: ClaimSink, problems: list[str]) -> None:
        log.error("mesh.file_refused", problems=problems, remedy="the last good content stays until it is mended")
        sink.trouble(NAME, problems[0])


def _stamp(path: Path) -> _Stamp:
    found = os.stat(path)
    return found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns
