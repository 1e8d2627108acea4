"""A real BIRD in a namespace, with its control socket in the lab's folder."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Collection
from pathlib import Path

from tests.lab import birds
from tests.lab.birds import BirdRelease
from tests.lab.lab import Lab, Namespace, Process, run, wait_for


class Bird:
    """One BIRD, of the installed release or of another. ``start`` may be called again after ``stop`` or ``kill``."""

    def __init__(self, lab: Lab, namespace: Namespace, config: Path, release: BirdRelease = birds.INSTALLED) -> None:
        self.namespace = namespace
        self.config = config
        """Read at each start and at ``configure``; what it includes is looked for beside it."""
        self.release = release
        self.socket = lab.folder / f"bird-{namespace.label}.sock"
        self.process: Process | None = None

    def start(self, *options: str) -> None:
        """Start it and return when it answers."""
        self.launch(*options)
        self.wait()

    def launch(self, *options: str) -> None:
        """Start it and return at once."""
        command = (self.release.bird, "-f", "-c", str(self.config), "-s", str(self.socket), *options)
        self.process = self.namespace.start(*command, log="bird")

    def wait(self) -> None:
        """Return when it answers."""
        assert self.process is not None
        self.process.wait_for(self._answers, "BIRD's control socket", 120)

    def stop(self) -> None:
        """Ask it to end, and return when it has: it closes its sessions and withdraws its routes."""
        assert self.process is not None
        self.process.stop()

    def kill(self) -> None:
        """Kill it, as a crash would: its kernel routes stay."""
        assert self.process is not None
        self.process.kill()
        self.socket.unlink(missing_ok=True)

    def hang(self) -> None:
        """Let it do nothing, until ``go_on``: connections to its socket succeed, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it do what it has missed."""
        self._signal(signal.SIGCONT)

    def reread(self) -> None:
        """Send SIGHUP: it reads its configuration again, and nobody is told how that went."""
        self._signal(signal.SIGHUP)

    def ctl(self, command: str, timeout_s: float = 120) -> str:
        """Run a command of BIRD's and return what it says, without the greeting."""
        said = run(self.release.birdc, "-s", str(self.socket), *command.split(), timeout_s=timeout_s)
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

    def _answers(self) -> bool:
        """Whether it greets: 3.3 listens before it has read its configuration, and a killed BIRD leaves its socket."""
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(1)
            try:
                peer.connect(str(self.socket))
                return peer.recv(4) == b"0001"
            except OSError:
                return False

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)
