"""What runs beside each other ends together, and a cancellation is not lost to a failure at the same time."""

import asyncio

import pytest

from rtagent.transport.tasks import end_if_cancelled, until_one_fails


async def _rest() -> None:
    await asyncio.Event().wait()


async def _fail_when(event: asyncio.Event) -> None:
    await event.wait()
    raise OSError("it failed")


async def _fail_when_cancelled() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise OSError("it failed, too")


def test_the_first_failure_ends_all():
    async def test() -> None:
        failing = asyncio.Event()
        failing.set()
        with pytest.raises(OSError, match=r"^it failed$"):
            await until_one_fails(_rest(), _fail_when(failing), _fail_when_cancelled())
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(test())


@pytest.mark.parametrize("fails", [False, True])
def test_a_cancellation_is_told_whatever_fails_with_it(fails):
    async def test() -> None:
        failing = asyncio.Event()
        running = asyncio.create_task(until_one_fails(_rest(), _fail_when(failing), _fail_when_cancelled()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if fails:
            failing.set()
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(test())


def test_who_handles_a_failure_that_took_the_place_of_a_cancellation_ends():
    async def go_on() -> None:
        try:
            await _fail_when_cancelled()
        except OSError:
            end_if_cancelled()
        raise AssertionError

    async def test() -> None:
        running = asyncio.create_task(go_on())
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()

    asyncio.run(test())
