"""A real mosquitto at a UNIX socket of its own, in no network at all; or at a port of the loopback, with TLS."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.lab.lab import Process, run


class Tls:
    """A port of the loopback, an authority made for the occasion, and one user with a password."""

    user, password = "rtagent", "only for tests"

    def __init__(self, folder: Path, *, name: str = "IP:127.0.0.1", client_certificates: bool = False) -> None:
        """``name`` is what the broker's certificate is for; it may ask its clients for theirs."""
        self._folder = folder
        self.ca = folder / "ca.crt"
        _openssl(f"req -x509 -newkey ed25519 -nodes -days 2 -subj /CN=test -keyout {folder}/ca.key -out {self.ca}")
        certificate, key = self.issue("broker", name)
        passwords = folder / "passwords"
        run("mosquitto_passwd", "-b", "-c", str(passwords), self.user, self.password)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"mqtts://127.0.0.1:{port}"
        self.listener = (
            f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\ncafile {self.ca}\n"
            f"certfile {certificate}\nkeyfile {key}\nrequire_certificate {str(client_certificates).lower()}\n"
        )

    def issue(self, common_name: str, name: str = "") -> tuple[Path, Path]:
        """Return the files of a new certificate and its key."""
        ends = ("crt", "key", "csr", "ext")
        certificate, key, request, names = (self._folder / f"{common_name}.{end}" for end in ends)
        names.write_text(f"subjectAltName={name}\n" if name else "")
        _openssl(f"req -newkey ed25519 -nodes -subj /CN={common_name} -keyout {key} -out {request}")
        authority = f"-CA {self.ca} -CAkey {self._folder}/ca.key -CAcreateserial -days 2"
        _openssl(f"x509 -req -in {request} {authority} -extfile {names} -out {certificate}")
        return certificate, key


def _openssl(arguments: str) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    run("openssl", *arguments.split())


class Broker:
    """One broker, with the retained messages in a file, so that it may be killed and come back."""

    def __init__(self, folder: Path, *, tls: Tls | None = None) -> None:
        if (program := shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")) is None:
            pytest.skip("mosquitto is not installed")
        self._program = program
        self._folder = folder
        self.socket = folder / "mqtt.sock"
        self.config = folder / "mosquitto.conf"
        self.url = tls.url if tls else f"unix:{self.socket}"
        """Where it listens."""
        listener = tls.listener if tls else f"listener 0 {self.socket}\nallow_anonymous true\n"
        self.config.write_text(
            f"{listener}user root\npersistence true\n"
            f"persistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\n"
        )
        self.start()

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
