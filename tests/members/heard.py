"""A sink that remembers what sources report, and on which a test can wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from rtagent.sources.members import ClaimSink
from rtagent.vector.claims import Claim, Claims


class Source(Protocol):
    async def run(self, sink: ClaimSink) -> None: ...


class Heard:
    """What was reported last, every trouble, and everything that was refused."""

    def __init__(self) -> None:
        self.claims: Claims | None = None
        self.reports: list[Claims] = []
        self.troubles: list[str] = []
        self.refusals: list[tuple[str, str]] = []
        self._news = asyncio.Event()

    def report(self, source: str, claims: Claims) -> None:
        self.claims = claims
        self.reports.append(claims)
        self._news.set()

    def trouble(self, source: str, text: str) -> None:
        self.troubles.append(text)
        self._news.set()

    def refused(self, source: str, what: str, why: str) -> None:
        self.refusals.append((what, why))
        self._news.set()

    def ids(self) -> list[str]:
        return sorted(claim.id for claim in self.claims or ())

    def claim(self, id_: str) -> Claim:
        return next(claim for claim in self.claims or () if claim.id == id_)

    async def until(self, condition: Callable[[], Any], timeout_s: float = 20) -> None:
        """Return when the condition holds after a piece of news."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def running(*sources: tuple[Source, Heard]) -> AsyncIterator[None]:
    """Run sources while the body lasts."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(source.run(heard)) for source, heard in sources]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
