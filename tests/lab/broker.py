"""A real mosquitto at a UNIX socket of its own, in no network at all."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.lab.lab import Process


class Broker:
    """One broker, with the retained messages in a file, so that it may be killed and come back."""

    def __init__(self, folder: Path) -> None:
        if (program := shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")) is None:
            pytest.skip("mosquitto is not installed")
        self._program = program
        self._folder = folder
        self.socket = folder / "mqtt.sock"
        self.config = folder / "mosquitto.conf"
        self.config.write_text(
            f"listener 0 {self.socket}\nallow_anonymous true\nuser root\npersistence true\n"
            f"persistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
        )
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix:{self.socket}"

    def start(self) -> None:
        """Start it; returns when it listens."""
        self.socket.unlink(missing_ok=True)
        self._process = Process([self._program, "-c", str(self.config)], self._folder / "mosquitto.log")
        self._process.wait_for(lambda: "running" in self._process.text(), "mosquitto runs")

    def stop(self) -> None:
        """Stop it; what it retains stays in its file."""
        self._process.stop()

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()

    def hang(self) -> None:
        """Let it do nothing, until ``go_on``: connections stand, nothing comes and nobody is told."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it do what it has missed."""
        os.kill(self._process.pid, signal.SIGCONT)

    def forget(self) -> None:
        """Have it retain nothing; only while it is stopped."""
        (self._folder / "mosquitto.db").unlink(missing_ok=True)
