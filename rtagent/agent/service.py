"""What systemd is told: ready, reloading, stopping, and that the loop is alive (man 3 sd_notify).

The watchdog is fed by rounds of the reconcile loop, not by a timer: a loop that hangs is restarted, and forwarding
outlives that.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Awaitable, Callable


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
