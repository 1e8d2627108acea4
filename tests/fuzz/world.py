"""Where lines happen: a router under a mirror, its peer, a namespace to move links to; and the four readings compared.

A replay file is such lines, one command each; ``#`` begins a comment.

=============================  ==================================================================
``router …``, ``peer …``,      ``ip …`` there; what ``ip`` refuses changes nothing. After the word
``away …``                     ``netns`` stands one of these three names.
``labels …``                   ``ip -f mpls …`` in the router
``sysctl NAME=VALUE``          in the router
``settle``                     wait until the mirror has followed, and compare
``buffer BYTES``               the mirror's receive buffer, from the start
``live``                       the mirror follows while commands run, from the start, and dumps race with them; else it
                               looks when they have all run
=============================  ==================================================================
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Self

from rtagent.vector.links import IFF_LOWER_UP, IFF_UP, OPER_UNKNOWN, OPER_UP
from tests.fuzz.grammar import SAMPLED
from tests.fuzz.plane import MemoryPlane, Plane
from tests.fuzz.state import differences, state
from tests.kernel.mirror import Mirror
from tests.kernel.oracle import disagreements
from tests.lab.lab import CommandFailed, Lab, wait_for
from tests.lab.router import router_and_peer

_BUFFER_BYTES = 16 << 20
_PATIENCE_S = 2.5
"""The kernel tells of carrier up to a second later (net/core/link_watch.c)."""
_LOOKS = 4
"""So often at least, however long a look takes: on a busy machine a second is not much of anybody's work."""


class World:
    """One router and one mirror of it; use it in a ``with`` statement."""

    def __init__(self, plane: Plane, *, buffer_bytes: int = _BUFFER_BYTES, live: bool = False) -> None:
        self._plane = plane
        self._buffer_bytes = buffer_bytes
        self._live = live
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            lab = stack.enter_context(Lab())
            self.router, peer = router_and_peer(lab)
            self._places = {"router": self.router, "peer": peer, "away": lab.namespace("away")}
            self.mirror = stack.enter_context(
                Mirror(self.router.name, receive_buffer_bytes=self._buffer_bytes, pairs=self._plane.ports,
                       fib=self._plane.sink(), remember_writes=False)
            )  # fmt: skip
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def do(self, lines: Sequence[str]) -> None:
        """Run commands, in their order, as fast as they go."""
        if self._live:
            self.mirror.follow_while(lambda: self._do(lines))
        else:
            self._do(lines)

    def _do(self, lines: Sequence[str]) -> None:
        for (place, alone), together in groupby(lines, key=_process):
            rest = [self._placed(line.partition(" ")[2]) for line in together]
            if alone:
                for line in rest:
                    with contextlib.suppress(CommandFailed):
                        self._alone(place, line)
            elif place == "labels":
                self.router.ip_batch(rest, "-f", "mpls", force=True)
            else:
                self._places[place].ip_batch(rest, force=True)

    def _alone(self, place: str, line: str) -> None:
        if place == "sysctl":
            name, _, value = line.partition("=")
            self.router.sysctl(name, value)
        elif place == "labels":
            self.router.ip(f"-f mpls {line}")
        else:
            self._places[place].ip(line)

    def follow(self) -> None:
        """Return when the mirror has taken everything, without a comparison."""
        self.mirror.settle()

    def compare(self) -> list[str]:
        """Return what differs between the readings, and goes on to differ."""
        found: list[str] = []

        def agree() -> bool:
            found[:] = self._differences()
            return not found

        with contextlib.suppress(TimeoutError):
            wait_for(agree, "agreement", _PATIENCE_S, looks=_LOOKS)
        return found

    def _differences(self) -> list[str]:
        self.follow()
        if not self._is_quiet():
            return ["the kernel has not finished: a link's state does not follow its carrier"]
        ports = self.mirror.ports() if self._plane.ports else {}
        pairs = ports or self._plane.ports  # with none at all, a mirror takes every link for a port
        with Mirror(self.router.name, remember_writes=False, pairs=pairs) as fresh:
            found = differences(state(self.mirror), state(fresh))
            followed, anew = self.mirror.fib(), fresh.fib()
        found += [
            f"table {key[0]} {key[1]}: FIB from notifications {followed.get(key)}, from a fresh dump {anew.get(key)}"
            for key in sorted(followed.keys() | anew.keys())
            if followed.get(key) != anew.get(key)
        ]
        found += disagreements(self.mirror, self.router, SAMPLED, ports if self._plane.ports else None)
        return found + self._plane.differences(self.router, ports)

    def _is_quiet(self) -> bool:
        """Whether the kernel has drawn its conclusions from every link's carrier."""
        links = self.mirror.store.topology.links.values()
        return all(
            bool(link.flags & IFF_LOWER_UP) == (link.operstate in (OPER_UP, OPER_UNKNOWN))
            for link in links
            if link.flags & IFF_UP
        )

    def _placed(self, line: str) -> str:
        words = line.split()
        return " ".join(
            self._places[word].name if before == "netns" else word
            for before, word in zip(["", *words], words, strict=False)
        )


def _process(line: str) -> tuple[str, bool]:
    """Return where a line runs, and whether alone: what is wrong with some ends ``ip -batch`` with all that follows."""
    place, *words = line.split()
    return place, words[0] not in ("route", "addr") or not {"nexthop", "vrf"}.isdisjoint(words)


def commands(text: str) -> list[str]:
    """Return the lines of a replay file."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


class Outcome:
    """How far a sequence went: lines done, how often it settled, and what differed then."""

    def __init__(self) -> None:
        self.steps = 0
        self.settles = 0
        self.differences: list[str] = []


def play(lines: Sequence[str], plane: Plane | None = None, *, last_only: bool = False) -> Iterator[Outcome]:
    """Run a sequence in a fresh world and yield its outcome at each ``settle`` and at the end; a difference ends it.

    ``last_only``: compare nowhere but at the end.
    """
    outcome = Outcome()
    steps = [line for line in lines if line != "live" and not line.startswith("buffer ")]
    buffers = [int(line.split()[1]) for line in lines if line.startswith("buffer ")]
    if not steps or steps[-1] != "settle":
        steps.append("settle")
    buffer_bytes = buffers[0] if buffers else _BUFFER_BYTES
    with World(plane or MemoryPlane(), buffer_bytes=buffer_bytes, live="live" in lines) as world:
        waiting: list[str] = []
        for number, line in enumerate(steps, 1):
            if line != "settle":
                waiting.append(line)
                continue
            world.do(waiting)
            outcome.steps += len(waiting)
            outcome.settles += 1
            waiting = []
            if last_only and number < len(steps):
                world.follow()
            else:
                outcome.differences = world.compare()
            yield outcome
            if outcome.differences:
                return
