"""What a process takes of memory, as the kernel counts it (proc_pid_status(5))."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """In MB (a million bytes)."""

    resident: float
    peak: float
    """The most that was ever resident."""


def memory(pid: int | str = "self") -> Memory:
    """Return what a process takes, this one unless told."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    kib = {words[0]: int(words[1]) for words in lines if words[0] in ("VmRSS:", "VmHWM:")}
    return Memory(kib["VmRSS:"] * 1024 / 1e6, kib["VmHWM:"] * 1024 / 1e6)
