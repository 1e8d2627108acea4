"""User-mode Linux: Debian's ``user-mode-linux`` (6.1), an ordinary process with the machine's files as its root.

It boots in some three seconds, and programs run in it as fast as here, whatever processor they were built for. It has
one processor, and a system call costs some hundred times what it costs here.

Debian builds it without vhost-net, which VPP's taps need. That is three modules of the same source: ``python -m
tests.lab.uml`` (which ``./dev test`` and ``./dev lab`` run first) fetches the very release that Debian's was built
from, ``linux-source-6.1``, takes the configuration out of the kernel itself, and builds them into ~/.cache/rtagent/uml,
beside a link to the modules that are installed. What is there already is left alone.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lab.lab import CommandFailed, run
from tests.lab.machine import Machine

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rtagent" / "uml"
_INSTALLED = Path("/usr/lib/uml")
_VHOST = ("vhost_iotlb", "vhost", "vhost_net")
_RELEASE = next((path.name for path in (_INSTALLED / "modules").glob("*")), "none")
_BUILT = CACHE / "modules" / _RELEASE
_PARTS = (
    "Makefile", "Kbuild", "Kconfig", "*/Kconfig*", "*/Makefile*", "*/Kbuild*", "arch/um/*", "arch/x86/*", "certs/*",
    "drivers/vhost/*", "include/*", "init/*", "kernel/*", "lib/*", "scripts/*", "security/*", "tools/*", "usr/*",
)  # fmt: skip
"""What of the kernel's source it takes to build a module."""


def _start(folder: Path, memory: str) -> list[str]:
    return [
        "linux.uml", f"mem={memory}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet",
        f"init={folder}/init", f"VM_SCRATCH={folder}", "VM_LINE=/dev/ttyS0", f"uml_dir={folder}/", "umid=uml",
        "con=null", "con0=null,fd:2", "ssl=null", "ssl0=fd:0,fd:1",
    ]  # fmt: skip


UML = Machine(
    name="user-mode Linux",
    missing="" if shutil.which("linux.uml") else "user-mode-linux is not installed",
    lacks=frozenset() if _BUILT.is_dir() else frozenset({"vhost"}),
    modules=CACHE if _BUILT.is_dir() else _INSTALLED,
    start=_start,
    memory="2G",
    boot_s=60,
    item_s=180,
)


def _build() -> None:
    """Build what Debian left out. Raises CommandFailed."""
    with tempfile.TemporaryDirectory(prefix=".building-", dir=CACHE) as name:
        work = Path(name)
        tree = _source(work)
        config = run("linux.uml", "--showconfig").replace("# CONFIG_VHOST_NET is not set", "CONFIG_VHOST_NET=m")
        (tree / ".config").write_text(config)
        make = ["make", "-C", str(tree), f"-j{os.cpu_count()}", "ARCH=um"]
        run(*make, "olddefconfig", "modules_prepare", timeout_s=600)
        # The kernel's own list of symbols is not at hand; it says itself at loading whether it has them.
        run(*make, "M=drivers/vhost", "KBUILD_MODPOST_WARN=1", "modules", timeout_s=600)
        root = work / "root"
        modules = root / "lib" / "modules" / _RELEASE
        (modules / "extra").mkdir(parents=True)
        for module in _VHOST:
            run("strip", "--strip-debug", "-o", f"{modules}/extra/{module}.ko", f"{tree}/drivers/vhost/{module}.ko")
        (modules / "kernel").symlink_to(_INSTALLED / "modules" / _RELEASE / "kernel")
        run("depmod", "--basedir", str(root), _RELEASE)
        _BUILT.parent.mkdir(exist_ok=True)
        modules.rename(_BUILT)


def _source(work: Path) -> Path:
    """Return the source that the installed kernel was built from, as much of it as is needed."""
    built_using = run("dpkg-query", "--show", "--showformat", "${Built-Using}", "user-mode-linux")
    version = re.search(r"\blinux \(= (\S+)\)", built_using)
    if version is None:
        raise CommandFailed(f"user-mode-linux does not say what it was built from: {built_using!r}")
    series = ".".join(_RELEASE.split(".")[:2])
    download = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", f"linux-source-{series}={version[1]}"]
    done = subprocess.run(download, cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"{' '.join(download)}: {done.stdout}{done.stderr}")
    run("dpkg-deb", "--extract", str(next(work.glob("*.deb"))), str(work))
    archive = next(work.glob("usr/src/*.tar.xz"))
    wanted = [f"linux-source-{series}/{part}" for part in _PARTS]
    run("tar", "-C", str(work), "-xJf", str(archive), "--wildcards", *wanted, timeout_s=600)
    return work / f"linux-source-{series}"


def main() -> None:
    """Build the modules unless they are there; where that fails it is said: their tests are skipped, and say so."""
    if not UML.installed or "vhost" not in UML.lacks:
        return
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _BUILT.is_dir():
                print(f"building vhost-net for user-mode Linux {_RELEASE}", file=sys.stderr)
                _build()
    except (CommandFailed, OSError, subprocess.SubprocessError) as error:
        print(f"vhost-net for user-mode Linux cannot be built: {str(error)[-2000:]}", file=sys.stderr)


if __name__ == "__main__":
    main()
