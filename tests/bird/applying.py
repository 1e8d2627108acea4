"""A BIRD whose operator includes two files of ours, one of which includes the other, and what applies them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from rtagent.core.bird_apply import Applied
from rtagent.sinks.bird import BirdSink, Verify
from rtagent.sinks.birdc import BirdClient
from tests.lab.bird import Bird
from tests.lab.birds import BirdRelease
from tests.lab.lab import Lab

OPERATOR = """
router id 192.0.2.1;
protocol device {}
include "ours/mesh.conf";
"""


async def pass_(bird: BirdClient) -> list[str]:
    """A verification that finds all well."""
    await bird.status()
    return []


class Applying:
    """The operator's bird.conf, and in the folder ``ours`` mesh.conf and keys.conf; each text makes a protocol."""

    def __init__(self, lab: Lab, release: BirdRelease) -> None:
        config = lab.folder / "bird.conf"
        config.write_text(OPERATOR)
        self.ours = lab.folder / "ours"
        self.state = lab.folder / "state"
        self.ours.mkdir()
        self.state.mkdir()
        self.mesh = self.ours / "mesh.conf"
        self.keys = self.ours / "keys.conf"
        self.bird = Bird(lab, lab.namespace("bird"), config, release)
        for path, text in self.texts("old").items():
            path.write_text(text)

    def texts(self, name: str, *, mesh: str = "", keys: str = "") -> dict[Path, str]:
        """Return both texts, with protocols mesh_NAME and keys_NAME, and what else is given."""
        return {
            self.mesh: f'include "keys.conf";\nprotocol static mesh_{name} {{ ipv4; }}\n{mesh}',
            self.keys: f"protocol static keys_{name} {{ ipv4; }}\n{keys}",
        }

    def sink(self, *, answer_s: float = 10.0) -> BirdSink:
        return BirdSink(
            self.bird.socket,
            self.bird.config,
            self.state / "apply",
            binary=self.bird.release.bird,
            answer_s=answer_s,
        )

    def apply(
        self,
        files: Mapping[Path, str],
        *,
        verify: Verify = pass_,
        timeout_s: float = 20.0,
        answer_s: float = 10.0,
    ) -> Applied:
        return asyncio.run(self.sink(answer_s=answer_s).apply(files, verify=verify, timeout_s=timeout_s))

    def recover(self) -> Applied | None:
        return asyncio.run(self.sink().recover())

    def files(self) -> dict[Path, str]:
        """Return what our folder holds; nothing must be left beside the two files."""
        return {path: path.read_text() for path in self.ours.iterdir()}

    def in_force(self) -> set[str]:
        """Return the protocols that BIRD runs, and an entry more if it would undo that, or is about to change it."""
        rows = (line.split() for line in self.bird.ctl("show protocols").splitlines()[1:])
        names = {row[0] for row in rows if row and row[0] != "device1"}
        status = self.bird.ctl("configure status")
        return names | ({status} if "up and running" not in status or "undo" in status else set())

    def journal(self) -> set[str]:
        """Return what the folder of the journal holds, besides the lock and a journal that was not begun yet."""
        return {path.name for path in self.state.iterdir()} - {"apply.lock", "apply.new"}

    def expected(self, name: str) -> tuple[dict[Path, str], set[str], set[str]]:
        """Return what ``found`` is after an apply of ``name`` that came to its end."""
        return self.texts(name), {f"mesh_{name}", f"keys_{name}"}, set()

    def found(self) -> tuple[dict[Path, str], set[str], set[str]]:
        """Return the files, what is in force, and what is left of a journal."""
        return self.files(), self.in_force(), self.journal()
