"""Asks the kernel to look for neighbours (core/neighbors.py says which and why), a few hundred a second at most.

Each is an ARP request or a neighbour solicitation on somebody's wire, and a flush of a large table would be a flood.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from contextlib import closing

import structlog

from rtagent.core.neighbors import Neighbors, Probe
from rtagent.transport.netlink import NetlinkSocket
from rtagent.wire.netlink.requests import probe_request, refusal

log = structlog.get_logger()

_PROBES = 64
_PAUSE_S = 0.2
_TEND_S = 5.0


class NeighborProber:
    """Runs beside the loop; ``wake`` it when there may be somebody to look for."""

    def __init__(self, neighbors: Neighbors, *, netns: str | None, decide: Callable[[], None]) -> None:
        """``decide`` is called when neighbours are to be decided about anew."""
        self._neighbors = neighbors
        self._netns = netns
        self._decide = decide
        self._woken = asyncio.Event()
        self._refusals: set[int] = set()

    def wake(self) -> None:
        """Look whether the kernel is to look for anybody."""
        if self._neighbors.has_probes:
            self._woken.set()

    async def run(self) -> None:
        """Ask for ever. Raises OSError where the kernel cannot be asked at all."""
        loop = asyncio.get_running_loop()
        tended_at = loop.time()
        with closing(NetlinkSocket(netns=self._netns, slots=1)) as kernel:
            while True:
                decide = False
                if loop.time() - tended_at >= _TEND_S:
                    tended_at = loop.time()
                    decide = self._neighbors.tend(tended_at)
                for probe in self._neighbors.take_probes(_PROBES, loop.time()):
                    if not self._looks(kernel, probe):
                        decide |= self._neighbors.give_up(probe)
                if decide:
                    self._decide()
                if self._neighbors.has_probes:
                    await asyncio.sleep(_PAUSE_S)
                else:
                    await self._wait_woken()

    async def _wait_woken(self) -> None:
        try:
            async with asyncio.timeout(_TEND_S):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()

    def _looks(self, kernel: NetlinkSocket, probe: Probe) -> bool:
        """Ask; return whether the kernel looks. It answers only a refusal, and that before the request returns."""
        kernel.send(probe_request(probe.family, probe.ifindex, probe.address, 0))
        answer = kernel.receive()
        if answer is None:
            return True
        number = refusal(bytes(answer.buffer[answer.starts[0] :][: answer.lengths[0]]))
        if number not in self._refusals:  # each reason once: a full table refuses them all
            self._refusals.add(number)
            log.warning("neighbors.probe_refused", error=errno.errorcode.get(number), text=os.strerror(number))
        return False
