"""Whether BIRD would take texts, asked before they are in place: a BIRD that starts meanwhile meets none of them.

Copies of the operator's file and of all of ours, which include each other, are written beside ours and given to the
BIRD that runs, or to ``bird -p`` where none does. Where the operator includes ours through a glob or a file in between,
copies cannot stand for them, and the check comes after the texts are in place, and before BIRD is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from rtagent.core.bird_apply import Problem
from rtagent.sinks.bird_files import OwnFiles, beside
from rtagent.sinks.birdc import BirdClient
from rtagent.wire.birdc.includes import copies
from rtagent.wire.birdc.refusals import ConfigurationRefused

_PARSE_S = 30.0
_POSITION = re.compile(r"(/\S*:\d+:\d+ .*)")
_WRONG = 8002


class BirdCheck:
    """Checks the operator's configuration together with texts of ours. Raises ConfigurationRefused, and OSError."""

    def __init__(self, config: Path, binary: str, files: OwnFiles) -> None:
        self._config = config
        self._binary = binary
        self._files = files

    async def beside(self, client: BirdClient | None, files: Mapping[Path, str]) -> bool:
        """Check texts before they are in place, by a BIRD that runs or, without a client, by a new one.

        Returns False where that is not possible: they are not included by name, or the operator's file is not ours to
        read.
        """
        copy = self._copies(files)
        try:
            texts = copies(self._config, self._config.read_text("utf-8", "surrogateescape"), files, copy)
        except PermissionError:
            return False
        if texts is None:
            return False
        try:
            for path, text in texts.items():
                self._files.write(path, text, down_to_the_disk=False)  # gone in a moment
            await self._check(client, copy[self._config])
        finally:
            for path in texts:
                path.unlink(missing_ok=True)
        return True

    async def in_place(self, client: BirdClient | None) -> None:
        """Check what is in place."""
        await self._check(client, self._config)

    def problem(self, error: ConfigurationRefused, files: Mapping[Path, str]) -> Problem:
        """Return a mistake with the place where it will be found, and what to do."""
        original = {copy: file for file, copy in self._copies(files).items()}
        file = original.get(Path(error.file), Path(error.file))
        if file in files:
            remedy = "rtagent wrote this file: correct the setting or the piece of your own that this line comes from"
        else:
            remedy = f"correct {file}; until then BIRD takes no change of rtagent's"
        return Problem(file, error.line, error.column, error.message, remedy)

    def _copies(self, files: Mapping[Path, str]) -> dict[Path, Path]:
        folder = next(iter(files)).parent if files else self._config.parent
        main = beside(folder / self._config.name, "check-main")
        return {self._config: main} | {path: beside(path, "check") for path in files}

    async def _check(self, client: BirdClient | None, config: Path) -> None:
        if client is not None:
            await client.check(config)
            return
        command = [self._binary, "-p", "-c", str(config)]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_PARSE_S):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            *_, last = said.decode(errors="replace").strip().splitlines() or [f"status {process.returncode}"]
            place = _POSITION.search(last)
            raise ConfigurationRefused(" ".join(command), _WRONG, place[1] if place else last)
