"""A real VPP in a namespace, where ``vpp`` is installed: no hugepages, no DPDK, ports on veth ends by af_packet."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from tests.lab.lab import Lab, Namespace, Process, run

INSTALLED = shutil.which("vpp") is not None

_PLUGINS = ("af_packet",)

_CONFIG = """
unix {{ nodaemon cli-listen {folder}/cli.sock runtime-dir {folder} {poll} }}
socksvr {{ socket-name {folder}/api.sock }}
api-segment {{ prefix {prefix} }}
statseg {{ socket-name {folder}/stats.sock page-size 4k size 256m }}
memory {{ main-heap-size {heap} main-heap-page-size 4k }}
buffers {{ page-size 4k buffers-per-numa 8192 }}
plugins {{ {path} plugin default {{ disable }} {plugins} }}
api-trace {{ on nitems {trace_items} }}
cpu {{ {workers} }}
{more}
"""


class Vpp:
    """One VPP. ``start`` may be called again after ``kill``.

    ``plugins`` come beside those that every lab needs; they are looked for in ``plugin_path``, too.
    """

    def __init__(
        self, lab: Lab, namespace: Namespace, *, heap: str = "1G", busy: bool = False,
        plugins: tuple[str, ...] = (), plugin_path: Path | None = None, trace_items: int = 65_536,
        workers: int = 0, ping: bool = True, more: str = "",
    ) -> None:  # fmt: skip
        """``ping``: with the plugin of this name, which answers echo requests; ``more`` sections of configuration."""
        self._lab = lab
        self.namespace = namespace
        self.folder = lab.folder / f"vpp-{namespace.label}"
        self.folder.mkdir()
        self.api = str(self.folder / "api.sock")
        self.stats = str(self.folder / "stats.sock")
        self._config = self.folder / "startup.conf"
        names = (*_PLUGINS, *(("ping",) if ping else ()), *plugins)
        self._config.write_text(
            _CONFIG.format(
                folder=self.folder,
                prefix=namespace.name,
                heap=heap,
                poll="" if busy else "poll-sleep-usec 100",
                path=f"add-path {plugin_path}" if plugin_path else "",
                plugins=" ".join(f"plugin {name}_plugin.so {{ enable }}" for name in names),
                trace_items=trace_items,
                workers=f"workers {workers}" if workers else "",
                more=more,
            )
        )
        self.process: Process | None = None

    def start(self) -> None:
        """Start it and return when it serves its CLI and its API."""
        for name in ("cli.sock", "api.sock", "stats.sock"):
            (self.folder / name).unlink(missing_ok=True)
        self.process = self.namespace.start("vpp", "-c", str(self._config), log="vpp")
        self.process.wait_for(lambda: _accepts(self.folder / "cli.sock"), "VPP's CLI", timeout_s=60)
        self.process.wait_for(lambda: _accepts(Path(self.api)), "VPP's API", timeout_s=60)

    def kill(self) -> None:
        """Kill it, as a crash would."""
        assert self.process is not None
        self.process.kill()

    def ctl(self, command: str, timeout_s: float = 120) -> str:
        """Run a CLI command and return its output."""
        return run("vppctl", "-s", str(self.folder / "cli.sock"), *command.split(), timeout_s=timeout_s)

    def cpu_s(self) -> float:
        """Return the processor time that its main thread has taken, idle polling included."""
        assert self.process is not None
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9

    def port(self, interface: str) -> str:
        """Make a port on a link of the namespace, set it up, return its name in VPP."""
        name = self.ctl(f"create host-interface name {interface}").strip()
        self.ctl(f"set interface state {name} up")
        return name


def _accepts(path: Path) -> bool:
    """Whether somebody listens on a UNIX socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True
