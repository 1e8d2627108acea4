"""A lab: network namespaces, the links between them and the processes in them, all gone when it ends.

Every name carries the process id and a counter, so labs run side by side. Processes die with the process that
started them (PR_SET_PDEATHSIG), even if that is killed; ``sweep`` removes what a killed one left behind.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PREFIX = "rtlab"
"""Namespaces of labs are called rtlab-PID-NUMBER-NAME, their folders rtlab-PID-RANDOM."""

_SHARED_MEMORY = Path("/dev/shm")
"""Where a VPP keeps its API segments, by the name of its namespace; a killed one leaves them."""

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.02
_libc = ctypes.CDLL(None)
_numbers = itertools.count()


class CommandFailed(Exception):
    """A command ended with another status than 0; the text holds what it said."""


def run(*command: str, stdin: str | None = None, timeout_s: float = 120) -> str:
    """Run a command to its end and return its standard output. Raises CommandFailed."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 30, *, looks: int = 1) -> Any:
    """Return the condition's first true value; for what offers no event to wait on. Raises TimeoutError.

    It is looked at so many times at least, however long a look takes.
    """
    deadline = time.monotonic() + timeout_s
    looked = 0
    while not (value := condition()):
        looked += 1
        if looked >= looks and time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(_POLL_S)
    return value


class Process:
    """A process of the lab; its output goes to ``log``."""

    def __init__(self, command: Sequence[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.command = command
        self.log = log
        with log.open("ab") as output:
            self._said_before = output.tell()
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self) -> int:
        """Its process id (``ip netns exec`` replaces itself, so this is the program's own)."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def text(self) -> str:
        """Return what it has said so far; what an earlier process wrote to the same log is left out."""
        return self.log.read_bytes()[self._said_before :].decode(errors="replace")

    def wait_for(self, condition: Callable[[], Any], what: str, timeout_s: float = 30) -> Any:
        """Like ``wait_for``, but a process that ends first is an error that shows what it said."""

        def checked() -> Any:
            if not self.running:
                raise CommandFailed(f"{' '.join(self.command)} ended while waiting for {what}:\n{self.text()[-4000:]}")
            return condition()

        return wait_for(checked, what, timeout_s)

    def kill(self) -> None:
        """Kill it (SIGKILL) and wait until it is gone."""
        self._popen.kill()
        self._popen.wait()

    def stop(self, timeout_s: float = 10) -> int:
        """Ask it to end (SIGTERM), insist after the timeout, return its status."""
        self._popen.terminate()
        return self.wait(timeout_s)

    def wait(self, timeout_s: float = 10) -> int:
        """Wait for its end, kill it after the timeout, return its status."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._popen.returncode


class Namespace:
    """A network namespace, with its loopback up."""

    def __init__(self, lab: Lab, label: str) -> None:
        self._lab = lab
        self.label = label
        self.name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}-{label}"

    def make(self) -> None:
        """Make it; the lab knows of it by now, and removes it even if this is interrupted."""
        run("ip", "netns", "add", self.name)
        self.ip("link set lo up")

    def ip(self, arguments: str) -> str:
        """Run ``ip`` in the namespace; the arguments are split at spaces."""
        return run("ip", "-n", self.name, *arguments.split())

    def ip_json(self, arguments: str) -> Any:
        """Run ``ip -j`` in the namespace and return what it printed."""
        return _parsed(run("ip", "-n", self.name, "-j", *arguments.split()) or "[]")

    def ip_batch(self, lines: Sequence[str], *options: str, force: bool = False) -> None:
        """Run many ``ip`` commands in one process (``ip -batch``); ``force`` goes on after one that is refused."""
        command = ["ip", "-n", self.name, *options, *(["-force"] if force else []), "-batch", "-"]
        text = "\n".join(lines) + "\n"
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode not in (0, 1 if force else 0):  # 255: a line that ip does not understand ends the batch
            raise CommandFailed(f"ip -batch: status {done.returncode}\n{done.stderr[-2000:]}")

    def ip_answers(self, lines: Sequence[str], *options: str) -> list[Any]:
        """Ask many questions in one process (``ip -j -batch``); a refused one is answered with the error's text."""
        command = ["ip", "-n", self.name, "-j", *options, "-force", "-batch", "-"]
        text = "\n".join(lines) + "\n"
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=600, check=False)
        refused: dict[int, str] = {}
        said = ""
        for line in done.stderr.splitlines():
            if line.startswith("Command failed -:"):
                refused[int(line.rpartition(":")[2])] = said
                said = ""
            else:
                said += line
        given = iter(done.stdout.splitlines())
        return [refused[number] if number in refused else _parsed(next(given)) for number in range(1, len(lines) + 1)]

    def run(self, *command: str, stdin: str | None = None, timeout_s: float = 120) -> str:
        """Run a command in the namespace and return its output. Raises CommandFailed."""
        return run(*self._inside(command), stdin=stdin, timeout_s=timeout_s)

    def start(self, *command: str, log: str = "", env: dict[str, str] | None = None) -> Process:
        """Start a process in the namespace; it ends with the lab."""
        return self._lab.start(self._inside(command), log=f"{self.label}-{log or Path(command[0]).name}.log", env=env)

    def sysctl(self, name: str, value: str | int) -> None:
        """Set a sysctl of the namespace."""
        self.run("sysctl", "-qw", f"{name}={value}")

    def delete(self) -> None:
        """Remove the namespace; interfaces in it go with it."""
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)

    def _inside(self, command: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", self.name, *command]


class Lab:
    """Namespaces and processes with one end: use it in a ``with`` statement."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{os.getpid()}-"))
        """Sockets, configuration and logs; removed at the end."""
        self._namespaces: list[Namespace] = []
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def namespace(self, label: str) -> Namespace:
        """Make a namespace."""
        namespace = Namespace(self, label)
        self._namespaces.append(namespace)
        namespace.make()
        return namespace

    def veth(self, left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
        """Join two namespaces (or one with itself) by a veth pair, both ends up."""
        left.ip(f"link add name {left_name} type veth peer name {right_name} netns {right.name}")
        left.ip(f"link set {left_name} up")
        right.ip(f"link set {right_name} up")

    def start(self, command: Sequence[str], *, log: str, env: dict[str, str] | None = None) -> Process:
        """Start a process that ends with the lab."""
        process = Process(command, self.folder / log, env)
        self._processes.append(process)
        return process

    def close(self) -> None:
        """Kill the processes, remove the namespaces, what a VPP has left in shared memory, and the folder."""
        for process in reversed(self._processes):
            if process.running:
                process.kill()
        for namespace in reversed(self._namespaces):
            namespace.delete()
            for segment in _SHARED_MEMORY.glob(f"{namespace.name}-*"):
                segment.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _parsed(text: str) -> Any:
    """Parse what ``ip -j`` prints. Of a route that pushes labels it says "dst" twice: these are its "encap dst"."""

    def told_apart(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            found[f"encap {name}" if name in found else name] = value
        return found

    return json.loads(text, object_pairs_hook=told_apart)


def sweep() -> list[str]:
    """Remove the namespaces, folders and shared memory of labs whose process is gone; return the names."""
    names = [line.split()[0] for line in run("ip", "netns", "list").splitlines()]
    folders = [path for path in Path(tempfile.gettempdir()).iterdir() if path.is_dir()]
    dead_names = [name for name in names if _is_of_a_dead_lab(name)]
    dead_folders = [folder for folder in folders if _is_of_a_dead_lab(folder.name)]
    for name in dead_names:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    for folder in dead_folders:
        shutil.rmtree(folder, ignore_errors=True)
    dead_segments = [path for path in _SHARED_MEMORY.glob(f"{PREFIX}-*") if _is_of_a_dead_lab(path.name)]
    for segment in dead_segments:
        segment.unlink(missing_ok=True)
    return [*dead_names, *map(str, [*dead_folders, *dead_segments])]


def _is_of_a_dead_lab(name: str) -> bool:
    prefix, _, rest = name.partition("-")
    pid = rest.partition("-")[0]
    return prefix == PREFIX and pid.isdigit() and not Path(f"/proc/{pid}").exists()


def die_with_parent() -> None:
    """Have the process about to be started be killed when its parent ends (a ``preexec_fn``)."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
