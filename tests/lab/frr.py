"""FRR's daemons in a namespace: zebra, and the protocols beside it, each with its sockets in a folder of the lab.

Debian builds FRR so that a daemon must run as a member of the group frrvty: user frr it is, and the folder is frr's.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab.lab import Lab, Namespace, Process, run

_DAEMONS = Path("/usr/lib/frr")

INSTALLED = shutil.which("vtysh") is not None and (_DAEMONS / "zebra").exists()


class Frr:
    """zebra and other daemons of FRR. ``start`` may be called again after ``kill``."""

    def __init__(self, lab: Lab, namespace: Namespace, *daemons: str) -> None:
        """``daemons`` run beside zebra: "staticd", "bgpd", "ospfd", "ldpd", …"""
        self.namespace = namespace
        self.daemons = ("zebra", *daemons)
        self.processes: dict[str, Process] = {}
        self._folder = lab.folder / f"frr-{namespace.label}"
        self._folder.mkdir()
        lab.folder.chmod(0o711)
        shutil.chown(self._folder, "frr", "frr")

    def start(self, config: str, *options: str) -> None:
        """Start them and return when zebra and all others have taken the configuration; ``options`` are for zebra."""
        for name in self.daemons:
            self._start(name, *(options if name == "zebra" else ()))
        self.configure(config)

    def configure(self, lines: str) -> None:
        """Add these lines to the configuration."""
        self._vtysh("-f", str(self._written("lines.conf", lines)))

    def ctl(self, command: str) -> str:
        """Run a command of vtysh's and return what it prints."""
        return self._vtysh("-c", command)

    def kill(self) -> None:
        """Kill them all, as a crash would: their kernel routes stay."""
        for process in reversed(self.processes.values()):
            process.kill()

    def _start(self, name: str, *options: str) -> None:
        folder = self._folder
        vty = folder / f"{name}.vty"
        vty.unlink(missing_ok=True)
        command = [str(_DAEMONS / name), "-u", "frr", "-g", "frr", "-f", str(self._written(f"{name}.conf", ""))]
        command += ["-z", str(folder / "zserv"), "-i", str(folder / f"{name}.pid"), "--vty_socket", str(folder)]
        process = self.namespace.start(*command, "-P", "0", "--log", "stdout", *options, log=name)
        process.wait_for(vty.is_socket, f"{name}'s terminal socket")
        self.processes[name] = process

    def _vtysh(self, *arguments: str) -> str:
        return run("vtysh", "--vty_socket", str(self._folder), *arguments, timeout_s=600)

    def _written(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        shutil.chown(path, "frr", "frr")
        return path
