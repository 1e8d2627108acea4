"""Tasks that run beside each other, where the end of one and a cancellation may come together.

Before Python 3.13 a TaskGroup loses a cancellation of its owner that comes with a failure of one of its tasks
(https://github.com/python/cpython/issues/116720): whoever handles the failure and goes on would never end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def until_one_fails(*parts: Coroutine[Any, Any, None]) -> None:
    """Run what never ends by itself until one of them fails; raise what it did, once all have ended."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def end_if_cancelled() -> None:
    """Raise CancelledError in a task that was told to end: a failure at the same time may have taken its place."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
