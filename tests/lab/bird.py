"""A real BIRD in a namespace, with its control socket in the lab's folder."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from tests.lab.lab import Lab, Namespace, Process, run, wait_for


class Bird:
    """One BIRD. ``start`` may be called again after ``stop`` or ``kill``."""

    def __init__(self, lab: Lab, namespace: Namespace, config: Path) -> None:
        self.namespace = namespace
        self.config = config
        """Read at each start and at ``configure``; what it includes is looked for beside it."""
        self.socket = lab.folder / f"bird-{namespace.label}.sock"
        self.process: Process | None = None

    def start(self) -> None:
        """Start it and return when it answers."""
        command = ("bird", "-f", "-c", str(self.config), "-s", str(self.socket))
        self.process = self.namespace.start(*command, log="bird")
        self.process.wait_for(self.socket.is_socket, "BIRD's control socket")

    def stop(self) -> None:
        """Ask it to end, and return when it has: it closes its sessions and withdraws its routes."""
        assert self.process is not None
        self.process.stop()

    def kill(self) -> None:
        """Kill it, as a crash would: its kernel routes stay."""
        assert self.process is not None
        self.process.kill()
        self.socket.unlink(missing_ok=True)

    def ctl(self, command: str, timeout_s: float = 120) -> str:
        """Run a command of BIRD's and return what it says, without the greeting."""
        said = run("birdc", "-s", str(self.socket), *command.split(), timeout_s=timeout_s)
        return said.partition("\n")[2]

    def configure(self) -> None:
        """Let it read its configuration again, and return when that is in force."""
        self.ctl("configure")
        wait_for(lambda: "up and running" in self.ctl("configure status"), "BIRD's reconfiguration", 120)

    def sessions(self) -> dict[str, str]:
        """Return each BGP protocol with its session's state in BIRD's words, ``Established`` for instance."""
        rows = (line.split() for line in self.ctl("show protocols").splitlines())
        return {row[0]: row[5] if len(row) > 5 else row[3] for row in rows if len(row) > 3 and row[1] == "BGP"}

    def established(self, protocols: Collection[str] | None = None) -> bool:
        """Whether these BGP sessions, or all there are, stand."""
        sessions = self.sessions()
        return all(sessions.get(name) == "Established" for name in protocols or sessions)


INSTALLED = all(shutil.which(program) for program in ("bird", "birdc"))
