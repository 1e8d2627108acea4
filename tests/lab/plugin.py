"""Our VPP plugin, built from this checkout where VPP's headers and CMake are installed."""

from __future__ import annotations

import fcntl
import shutil
from functools import cache
from pathlib import Path

from tests.lab.lab import run
from tests.lab.vpp import INSTALLED, Vpp

NAME = "fibbulk"
_CHECKOUT = Path(__file__).parents[2]

BUILDABLE = INSTALLED and None not in map(shutil.which, ("cmake", "cc", "vppapigen"))


@cache
def built(source: Path = _CHECKOUT / "vpp-plugin") -> Path:
    """Build the plugin, or the one at ``source``, unless that is done; return the folder to look for it in."""
    build = _CHECKOUT / "build" / source.name
    build.mkdir(parents=True, exist_ok=True)
    with (build / ".lock").open("w") as lock:  # several test processes share the folder
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("cmake", "-S", str(source), "-B", str(build), timeout_s=120)
        run("cmake", "--build", str(build), timeout_s=300)
    return build / "lib" / "vpp_plugins"


def counters(vpp: Vpp) -> dict[str, float]:
    """Return the counters of ``show fibbulk``, by their text."""
    lines = (line.rsplit(maxsplit=1) for line in vpp.ctl(f"show {NAME}").splitlines() if line.strip())
    return {text.strip(): float(value) for text, value in lines}
