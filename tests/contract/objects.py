"""Objects on a data plane, as the contract's tests write and read them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from rtagent.core.sink import FibSink
from rtagent.vector.fib import FibEntries
from rtagent.vector.objects import Held, ObjectChange, ObjectKey
from tests.contract.planes import Plane


def run(plane: Plane, scenario: Callable[[FibSink], Awaitable[None]]) -> None:
    """Run a scenario with a sink that is connected to a fresh data plane, and end both."""

    async def started() -> None:
        await plane.start()
        try:
            async with asyncio.timeout(60):
                sink = plane.sink(FibEntries())
                await sink.connect()
                await scenario(sink)
                await sink.close()
        finally:
            await plane.stop()

    asyncio.run(started())


async def write(sink: FibSink, key: ObjectKey, after: object | None) -> int:
    """Give an object this value, None to remove it; return the data plane's retval."""
    held = (await sink.objects()).get(key, Held(None))
    return (await sink.write(ObjectChange(key, held.value, after, held.interface))).retval


async def value(sink: FibSink, key: ObjectKey) -> object | None:
    """Return what the data plane says an object is, None if it is not there."""
    held = (await sink.objects()).get(key)
    return held.value if held else None
