"""Run random sequences for a while; what differs is shrunk and kept under tests/fuzz/found. See ``--help``."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from tests.fuzz.grammar import Grammar
from tests.fuzz.grammar_more import FEATURES
from tests.fuzz.plane import MemoryPlane, Plane, VppPlane
from tests.fuzz.shrink import shrunk
from tests.fuzz.world import play
from tests.lab.kernel import lacking

FOUND = Path(__file__).parent / "found"
_SETTLES = 30
_SAY_EVERY_S = 10.0
_SHRINK_S = 180.0
_WIDTH = 120


class Fuzzer:
    """Counts what was done, says how far it is, keeps what it finds."""

    def __init__(self, plane: Plane, deadline: float, found: Path) -> None:
        self._plane = plane
        self._more = not lacking(FEATURES)
        self._deadline = deadline
        self._found = found
        self._said_at = self._began = time.monotonic()
        self.steps = self.settles = self.sequences = 0
        self.saved: list[Path] = []

    def run(self, seeds: Sequence[int]) -> None:
        """Go round the seeds, a sequence of each, until the time is over."""
        for turn in itertools.count():
            for seed in seeds:
                if time.monotonic() >= self._deadline:
                    return
                self._sequence(f"{seed}.{turn}")

    def _sequence(self, name: str) -> None:
        lines = Grammar(name, more=self._more).sequence(_SETTLES)
        steps = settles = 0
        for outcome in play(lines, self._plane):
            self.steps += outcome.steps - steps
            self.settles += outcome.settles - settles
            steps, settles = outcome.steps, outcome.settles
            if outcome.differences:
                self._keep(name, _until(lines, settles), outcome.differences)
            elif time.monotonic() >= self._deadline:
                break
            self._say(f"sequence {name}")
        self.sequences += 1

    def _keep(self, name: str, lines: list[str], differences: list[str]) -> None:
        _line(f"sequence {name} differs: {differences[0]}")
        last = differences
        until = time.monotonic() + _SHRINK_S
        tried = 0

        def fails(fewer: list[str]) -> bool:
            nonlocal last, tried
            tried += 1
            self._say(f"shrinking {name}: {len(fewer)} lines, attempt {tried}")
            *_, outcome = play(fewer, self._plane, last_only=True)
            last = outcome.differences or last
            return bool(outcome.differences)

        repeats = fails(lines)
        fewest = shrunk(lines, fails, lambda: time.monotonic() < until) if repeats else lines
        self._found.mkdir(parents=True, exist_ok=True)
        path = self._found / f"{re.sub(r'[^0-9a-z]+', '-', name)}.replay"
        comments = [f"kernel: {' '.join(FEATURES)}"] if self._more else []
        comments += [f"Sequence {name}." + ("" if repeats else " It did not differ again, so it is not shrunk.")]
        path.write_text("".join(f"# {line}\n" for line in [*comments, *last[:3]]) + "\n".join(fewest) + "\n")
        self.saved.append(path)
        _line(f"kept {len(fewest)} of {len(lines)} lines in {path}")

    def _say(self, what: str) -> None:
        now = time.monotonic()
        text = f"{now - self._began:.0f} s, {self.steps} steps, {self.settles} settles, {len(self.saved)} found; {what}"
        if sys.stderr.isatty():
            print(f"\r{text:{_WIDTH}.{_WIDTH}}", end="", file=sys.stderr, flush=True)
        elif now - self._said_at >= _SAY_EVERY_S:
            self._said_at = now
            print(f"fuzz: {text}", file=sys.stderr, flush=True)


def _until(lines: list[str], settles: int) -> list[str]:
    """Return the lines up to the settle of that number, which is left out: every sequence ends with one."""
    ends = [number for number, line in enumerate(lines) if line == "settle"]
    return lines[: ends[settles - 1]]


def _line(text: str) -> None:
    print(f"{chr(13) if sys.stderr.isatty() else ''}fuzz: {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long (60)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 16), help="the first seed (a random one)")
    parser.add_argument("--seeds", type=int, default=8, help="how many seeds take turns (8)")
    parser.add_argument("--vpp", action="store_true", help="mirror into a real VPP, with vppctl as the witness")
    parser.add_argument("--found", type=Path, default=FOUND, help="where to keep what differs (tests/fuzz/found)")
    return parser.parse_args()


def main() -> int:
    """Run; return 0 where nothing differed, 1 where something did."""
    args = arguments()
    structlog.configure(processors=[_drop])
    seeds = range(args.seed, args.seed + args.seeds)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        plane: Plane = stack.enter_context(VppPlane()) if args.vpp else MemoryPlane()
        fuzzer = Fuzzer(plane, began + args.seconds, args.found)
        with contextlib.suppress(KeyboardInterrupt):
            fuzzer.run(seeds)
    _line(
        f"{fuzzer.steps} steps, {fuzzer.settles} settles, {fuzzer.sequences} sequences, "
        f"seeds {seeds[0]} to {seeds[-1]}, {time.monotonic() - began:.0f} s: {len(fuzzer.saved)} differences"
    )
    return 1 if fuzzer.saved else 0


def _drop(*_: object) -> str:
    raise structlog.DropEvent


if __name__ == "__main__":
    sys.exit(main())
