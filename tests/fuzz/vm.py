"""The fuzzer in another kernel (tests/lab/vm.py): one process in one guest, which says what it does as it does it here.

What it finds lies in the guest's folder, and is kept here when it has ended: ``python -m tests.fuzz.vm``, see
``python -m tests.fuzz --help``.
"""

from __future__ import annotations

import shutil
import sys

from tests.fuzz.__main__ import FOUND, arguments
from tests.lab.vm import UML, Vm, show

_GRACE_S = 600
"""For what has begun when the time is over: a sequence, and shrinking it. A system call takes its time there."""


def main() -> int:
    """Run; return 0 where nothing differed, 1 where something did or the guest failed."""
    args = arguments()
    if not UML.installed:
        print(f"fuzz: {UML.missing}", file=sys.stderr)
        return 1
    options = ["--seconds", str(args.seconds), "--seed", str(args.seed), "--seeds", str(args.seeds)]
    options += ["--found", "/run/vm/found", *(["--vpp"] if args.vpp else [])]
    fuzz = [sys.executable, "-u", "-m", "tests.fuzz", *options]
    with Vm(["sh", "-c", '"$@" 2>&1 | cat; exec test ! -e /run/vm/found', "sh", *fuzz]) as vm:
        try:
            return show(vm, args.seconds + _GRACE_S)
        finally:
            for path in sorted((vm.folder / "found").glob("*.replay")):
                shutil.copy(path, FOUND)
                print(f"fuzz: kept {FOUND / path.name}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
