"""Delta debugging (Zeller and Hildebrandt, 2002): fewer lines that still show the same.

Parts of halving size are left out one after the other for as long as what is left still fails; a sequence from which
no single line can be left out is minimal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


def shrunk(lines: Sequence[str], fails: Callable[[list[str]], bool], may_go_on: Callable[[], bool]) -> list[str]:
    """Return a shorter sequence that fails; ``may_go_on`` is asked before each attempt."""
    kept = list(lines)
    size = max(1, len(kept) // 2)
    while may_go_on():
        shorter = _without_parts(kept, size, fails, may_go_on)
        if size == 1 and len(shorter) == len(kept):
            break
        kept, size = shorter, max(1, size // 2)
    return kept


def _without_parts(
    lines: list[str], size: int, fails: Callable[[list[str]], bool], may_go_on: Callable[[], bool]
) -> list[str]:
    """Return the lines without those parts of this size that a failure can do without, tried from the end."""
    end = len(lines)
    while end > 0 and may_go_on():
        start = max(0, end - size)
        rest = lines[:start] + lines[end:]
        if rest and fails(rest):
            lines = rest
        end = start
    return lines
