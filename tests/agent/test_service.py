"""What the service manager is told."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from rtagent.agent.service import feed_watchdog, notify, reloading, watchdog_interval_s


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(5)
    manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return manager


def test_lines_arrive_as_one_datagram(manager: socket.socket) -> None:
    notify("READY=1", "STATUS=mirroring")
    assert manager.recv(1000) == b"READY=1\nSTATUS=mirroring"


def test_a_reload_carries_its_time(manager: socket.socket) -> None:
    reloading()
    first, second = manager.recv(1000).split(b"\n")
    assert first == b"RELOADING=1"
    assert second.removeprefix(b"MONOTONIC_USEC=").isdigit()


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_manager_that_is_gone_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify("READY=1")


def test_the_watchdog_is_fed_twice_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert watchdog_interval_s() == 1.5


def test_a_watchdog_for_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_interval_s() is None


def test_the_watchdog_is_fed_by_progress_and_by_nothing_else(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    manager.setblocking(False)

    async def rounds() -> list[str]:
        heard: list[str] = []
        progress = iter([True, True])

        async def one_round() -> None:
            if next(progress, None) is None:
                with pytest.raises(BlockingIOError):
                    manager.recv(100)
                raise asyncio.CancelledError

        async def pause(seconds: float) -> None:
            heard.append(manager.recv(100).decode())

        with pytest.raises(asyncio.CancelledError):
            await feed_watchdog(one_round, pause)
        return heard

    assert asyncio.run(rounds()) == ["WATCHDOG=1", "WATCHDOG=1"]
