"""Kernel routes from a process of their own, encoded before it is told to go: the kernel alone says how fast it is."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from tests.lab.bulk import send

_FORK = multiprocessing.get_context("fork")


class Feed:
    """A child that has requests ready; they are made in it. Make it before the event loop runs: it is a fork."""

    def __init__(self, netns: str, requests: Iterable[bytes]) -> None:
        self._here, there = _FORK.Pipe()
        self._process = _FORK.Process(target=_serve, args=(netns, requests, there), daemon=True)
        self._process.start()
        assert self._here.recv() == "ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.join()

    def start(self) -> Callable[[], tuple[float, float]]:
        """Feed; return what waits until the kernel has all, and says when that began and ended (time.monotonic)."""
        self._here.send("go")
        return self._here.recv

    async def go(self) -> tuple[float, float]:
        """Feed and return when that began and ended."""
        return await asyncio.to_thread(self.start())


def _serve(netns: str, requests: Iterable[bytes], parent: Connection) -> None:
    prepared = list(requests)
    parent.send("ready")
    parent.recv()
    began = time.monotonic()
    send(netns, prepared)
    parent.send((began, time.monotonic()))
