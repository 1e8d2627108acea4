"""Has the kernel's missing links made (core/taps.py says which), one after the other, and again where that failed.

When an interface of VPP goes, VPP removes the link before it tells of the interface: so a link is only made once the
interfaces have been read anew, after the kernel said that it is not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from rtagent.agent.mirror import Mirror
from rtagent.core.sink import Disconnected
from rtagent.core.taps import AddName, MakeTap, MakeVlan, Making
from rtagent.sinks.host_links import HostLinks

log = structlog.get_logger()

_AGAIN_S = 5.0
_MADE_AT_ONCE = 64


class LinkMaker:
    """Runs beside the loop; ``wake`` it when links or interfaces have changed."""

    def __init__(
        self, mirror: Mirror, *, may_make: Callable[[], bool], on_made: Callable[[], None],
        on_refused: Callable[[], None],
    ) -> None:  # fmt: skip
        """``may_make``: whether the kernel's links are known; ``on_refused`` is called when reasons have changed."""
        self._mirror = mirror
        self._may_make = may_make
        self._on_made = on_made
        self._on_refused = on_refused
        self._host = HostLinks(mirror.settings.netns)
        self._woken = asyncio.Event()
        self._waits = False
        self._made: set[Making] = set()
        """What has been made and not been heard of yet."""

    def wake(self) -> None:
        """Look whether a link is missing."""
        self._woken.set()

    async def run(self) -> None:
        """Make links for ever."""
        while True:
            await self._wait_woken()
            self._waits = not self._may_make()
            if self._waits or not self._missing():
                continue
            try:
                await self._mirror.sink.refresh()
            except Disconnected:
                continue
            missing = self._missing()
            for number, making in enumerate(missing):
                self._make(making)
                if number % _MADE_AT_ONCE == 0:
                    await asyncio.sleep(0)
            if self._made:
                self._on_made()

    def _missing(self) -> list[Making]:
        missing = self._mirror.missing_links()
        self._made &= set(missing)
        return [making for making in missing if making not in self._made]

    async def _wait_woken(self) -> None:
        try:
            async with asyncio.timeout(_AGAIN_S if self._waits or self._mirror.refused_links else None):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()

    def _make(self, making: Making) -> None:
        refused, name = self._mirror.refused_links, _name(making)
        before = refused.get(name)
        try:
            self._host.make(making)
        except OSError as error:
            refused[name] = error.strerror or str(error)
            if refused[name] != before:
                log.warning("link.refused", link=name, reason=refused[name])
                self._on_refused()
            return
        self._made.add(making)
        if refused.pop(name, None):
            self._on_refused()
        if not isinstance(making, AddName):
            log.info("link.made", link=name)


def _name(making: Making) -> str:
    return making.name if isinstance(making, MakeTap | MakeVlan) else making.altname
