"""An agent as a service: it runs until a signal ends it, and tells systemd of ready, reloading, stopping and alive.

The watchdog is fed by rounds of the reconcile loop, not by a timer: a loop that hangs is restarted, and forwarding
outlives that (man 3 sd_notify). One that waits for VPP does not hang: the session limits how long VPP may be silent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any


async def run_until_told(parts: Iterable[Coroutine[Any, Any, None]], reload: Callable[[], None]) -> None:
    """Run all parts until SIGTERM or SIGINT, which cancel them; SIGHUP calls ``reload``.

    A part that fails ends the others, and is raised in an ExceptionGroup.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
        await ended.wait()
        notify("STOPPING=1")
        for task in tasks:
            task.cancel()


def notify(*lines: str) -> None:
    """Tell the service manager, where there is one; what it does not take is not worth an error."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
        try:
            client.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            client.send("\n".join(lines).encode())
        except OSError:
            return


def reloading() -> None:
    """Say that a reload begins (Type=notify-reload wants the time with it)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_interval_s() -> float | None:
    """Return how often to feed the watchdog, None where it is not on."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdigit() and int(microseconds) else None


async def feed_watchdog(progress: Callable[[], Awaitable[None]], pause: Callable[[float], Awaitable[None]]) -> None:
    """Feed the watchdog each time that ``progress`` returns; returns at once where it is not on."""
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        await progress()
        notify("WATCHDOG=1")
        await pause(interval_s)
