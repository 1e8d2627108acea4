"""Another kernel on this machine, over the machine's own files, for what this kernel lacks.

The kernel that development runs on may have neither MPLS routing nor VRFs, VLANs or dummy devices, nor vhost-net, which
VPP's taps need. Two kinds of guest have: user-mode Linux (tests/lab/uml.py) is the light one, QEMU (tests/lab/qemu.py)
has everything. The root of either is the machine's file system under a layer in memory: everything installed here is
installed there, checkout and virtual environment too, and nothing that happens there is seen here, but for one folder
(``/run/vm`` in the guest). There is no way out of it: no network but its own.

Three ways to use it, from the most to the least convenient:

* A test says what it needs of its kernel, ``@pytest.mark.kernel("mpls", "vrf")`` or ``"vhost"``, and nothing else: it
  runs here where this kernel has it, else in a guest that all such tests of the process share (tests/guest.py).
  ``pytest --vm`` has every test run in one.
* ``python -m tests.lab.vm [--qemu] [--memory 2G] [--seconds 600] COMMAND...`` runs a command, and ends with its status.
* ``with Vm(command) as vm`` is a process like any other: ``vm.stdin``, ``vm.stdout``, ``vm.wait()``.

Labs (tests/lab/lab.py), BIRD, FRR and VPP run in it as they do here. Modules come by themselves where the kernel asks
for them; MPLS, tun and vhost-net are there from the start.

A guest belongs to the process that started it and ends with it, whatever happens to either: it runs in a PID namespace
whose first process is killed, and with it all that the guest is made of.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

from tests.lab.lab import PREFIX, CommandFailed, die_with_parent
from tests.lab.machine import ROOT, Machine
from tests.lab.qemu import QEMU
from tests.lab.uml import UML

MACHINES = (UML, QEMU)
"""The lighter one first."""

_INIT = Path(__file__).with_name("vm_init.sh")
_MODPROBE = '#!/bin/sh\nexec modprobe -d /run/vm "$@"\n'
_KEPT_ENV = ("PYTHONPATH", "CI")


def machine_for(needs: Collection[str]) -> Machine:
    """Return the lightest kind of guest that has what a test needs of its kernel; QEMU's kernel lacks nothing."""
    able = [machine for machine in MACHINES if machine.lacks.isdisjoint(needs)]
    return next((machine for machine in able if machine.installed), able[-1])


class Done(NamedTuple):
    """How a command in a guest ended."""

    status: int
    output: str


class Vm:
    """A guest that runs one command and then is gone; use it in a ``with`` statement.

    Made, it has booted; raises CommandFailed where it does not.
    ``folder`` is the guest's /run/vm. What the command writes to standard error stands in ``console()``, among what the
    kernel says.
    """

    def __init__(
        self, command: Sequence[str], *, machine: Machine = UML, memory: str = "", cwd: Path = ROOT,
        env: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{os.getpid()}-vm-"))
        self._command = command
        self._machine = machine
        kept = {name: os.environ[name] for name in _KEPT_ENV if name in os.environ}
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in {**kept, **(env or {})}.items())
        (self.folder / "command").write_text(f"cd {shlex.quote(str(cwd))}\n{exports}{shlex.join(command)}\n")
        (self.folder / "lib").symlink_to(machine.modules)
        modprobe = self.folder / "modprobe"
        modprobe.write_text(_MODPROBE)
        modprobe.chmod(0o755)
        shutil.copy(_INIT, self.folder / "init")
        (self.folder / "init").chmod(0o755)
        with (self.folder / "console").open("ab") as console:
            self._popen = subprocess.Popen(
                _isolated(machine.start(self.folder, memory or machine.memory)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=console,
                preexec_fn=die_with_parent,
                cwd="/",
            )
        try:
            self._wait_booted()
        except CommandFailed:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def stdin(self) -> IO[bytes]:
        """The command's standard input, unbuffered by the guest; it has no end but the guest's."""
        assert self._popen.stdin is not None
        return self._popen.stdin

    @property
    def stdout(self) -> BufferedReader:
        """The command's standard output; it ends with the guest."""
        assert isinstance(self._popen.stdout, BufferedReader)
        return self._popen.stdout

    def console(self) -> str:
        """Return what the guest's kernel and the command's standard error have said."""
        return (self.folder / "console").read_text(errors="replace")

    def wait(self, timeout_s: float = 60) -> int:
        """Return the command's status once the guest has ended.

        Raises CommandFailed, with the console, where it ended without one (a panic), or had to be ended.
        """
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise CommandFailed(self._failure(f"still ran after {timeout_s:g} s")) from None
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self.folder / "status").read_text())
        raise CommandFailed(self._failure("ended without a status"))

    def kill(self) -> None:
        """End the guest at once, as a power cut would."""
        self._popen.kill()
        self._popen.wait()

    def close(self) -> None:
        """End the guest if it still runs, and remove its folder."""
        self.kill()
        for pipe in (self.stdin, self.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_booted(self) -> None:
        """Return when the guest's terminal is one byte for one byte (vm_init.sh says so): what came earlier is lost."""
        limit_s = self._machine.boot_s
        readable, _, _ = select.select([self.stdout], [], [], limit_s)
        if not readable or not self.stdout.read(1):
            raise CommandFailed(self._failure("did not boot" if readable else f"did not boot within {limit_s:g} s"))

    def _failure(self, how: str) -> str:
        return f"guest {how}: {shlex.join(self._command)}\n{self.console()[-8000:]}"


def run(command: Sequence[str], *, machine: Machine = UML, stdin: bytes = b"", timeout_s: float = 120) -> Done:
    """Run a command in a guest of its own to its end. Raises CommandFailed where the guest itself fails."""
    with Vm(command, machine=machine) as vm:
        vm.stdin.write(stdin)
        vm.stdin.flush()
        parts: list[bytes] = []
        reader = threading.Thread(target=lambda: parts.extend(iter(vm.stdout.read1, b"")), daemon=True)
        reader.start()
        status = vm.wait(timeout_s)
        reader.join()
        return Done(status, b"".join(parts).decode(errors="replace"))


def _isolated(command: Sequence[str]) -> list[str]:
    """Return the command as the only child of the first process of a PID namespace, which dies with its parent.

    User-mode Linux is several processes, and more for each address space of its guest, QEMU has virtiofsd beside it;
    none outlives the namespace.
    """
    shell = ["sh", "-c", 'ulimit -c 0; "$@"; exit', "sh"]
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *shell, *command]


def main() -> int:
    """Run a command in a guest; its output is ours, its status, too."""
    parser = argparse.ArgumentParser(prog="vm", description="Run a command in another kernel on this machine.")
    parser.add_argument("--qemu", action="store_true", help="in QEMU, not in user-mode Linux")
    parser.add_argument("--memory", default="", help="the guest's memory (2G, in QEMU 4G)")
    parser.add_argument("--seconds", type=float, default=600, help="how long it may take (600)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND...")
    args = parser.parse_args()
    if not args.command:
        parser.error("which command?")
    machine = QEMU if args.qemu else UML
    if not machine.installed:
        print(f"vm: {machine.missing}", file=sys.stderr)
        return 1
    with Vm(["sh", "-c", 'exec "$@" 2>&1', "sh", *args.command], machine=machine, memory=args.memory) as vm:
        return show(vm, args.seconds)


def show(vm: Vm, timeout_s: float) -> int:
    """Show what a guest's command says as it says it, and return its status; 1 where the guest fails."""
    reader = threading.Thread(target=_copy, args=[vm], daemon=True)
    reader.start()
    try:
        status = vm.wait(timeout_s)
    except CommandFailed as error:
        print(f"vm: {error}", file=sys.stderr)
        return 1
    reader.join()
    return status


def _copy(vm: Vm) -> None:
    for part in iter(vm.stdout.read1, b""):
        sys.stdout.buffer.write(part)
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
