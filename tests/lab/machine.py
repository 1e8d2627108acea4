"""What boots in tests/lab/vm.py: a kernel that this machine can run beside its own, and how that is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout."""


@dataclass(frozen=True)
class Machine:
    """One kind of guest."""

    name: str
    missing: str
    """What is not installed, as a sentence; empty where it can boot."""
    lacks: frozenset[str]
    """What a test may need of its kernel (tests/lab/kernel.py), and this one has not."""
    modules: Path
    """The folder of this machine that holds ``modules/RELEASE``."""
    start: Callable[[Path, str], list[str]]
    """From a guest's folder and its memory ("2G"), the command that is the guest: its standard input and output are the
    guest's line, its standard error the console. What it needs beyond, it puts into the folder."""
    memory: str
    """What a guest has unless told."""
    boot_s: float
    """Within what time it boots at the very latest."""
    item_s: float
    """Within what time it runs one test at the very latest; from boot to collected tests, too."""

    @property
    def installed(self) -> bool:
        """Whether it can boot."""
        return not self.missing
