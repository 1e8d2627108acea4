"""The agent that mirrors nothing and only keeps the mesh (``dataplane.kind = "none"``): small, and started at once.

It answers on the control socket and feeds metrics and the service manager like the other one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import structlog

import rtagent
from rtagent.agent import logs, service
from rtagent.agent.control import ControlServer, Message
from rtagent.agent.mesh import Mesh
from rtagent.agent.settings import Settings
from rtagent.wire.toml.schema import SettingsError

log = structlog.get_logger()


class MeshAgent:
    """The running agent, without a mirror."""

    def __init__(self, settings: Settings, *, reload: Callable[[], Settings]) -> None:
        """``reload`` reads the configuration again. Raises SettingsError where a secret cannot be read."""
        assert settings.mesh is not None
        self.mesh = Mesh(settings.mesh)
        self._settings = settings
        self._reload = reload
        self._started_at = time.monotonic()
        self._control = ControlServer(
            settings.control, settings.control_group, {"status": self._status} | self.mesh.commands()
        )

    async def run(self) -> None:
        """Keep the mesh until SIGTERM or SIGINT. Raises OSError where a socket cannot be had."""
        log.info("agent.started", pid=os.getpid(), dataplane=self._settings.dataplane)
        metrics = self._settings.metrics
        parts = [
            self._control.run(),
            self.mesh.run(),
            service.feed_watchdog(lambda: asyncio.sleep(0), asyncio.sleep),
            *([_metrics(metrics, self.status)] if metrics else []),
            _ready(),
        ]
        await service.run_until_told(parts, self._reload_settings)
        log.info("agent.stopped", applied=self.mesh.applied)

    def status(self) -> Message:
        """Return how everything stands."""
        reasons = self.mesh.reasons()
        moving = self.mesh.state in ("starting", "changing", "waiting")
        return {
            "version": rtagent.__version__,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started_at, 3),
            "health": "degraded" if reasons else "starting" if moving else "ok",
            "reasons": reasons,
            "warnings": [],
            "dataplane": {"kind": self._settings.dataplane},
            "mesh": self.mesh.status(),
        }

    async def _status(self, request: Mapping[str, Any]) -> AsyncGenerator[Message]:
        yield {"status": self.status()}

    def _reload_settings(self) -> None:
        service.reloading()
        try:
            settings = self._reload()
        except SettingsError as error:
            log.error("agent.reload_refused", problems=[str(problem) for problem in error.problems])
        else:
            logs.configure(settings.log_level, settings.log_format)
            restart = [name for name in Settings.__slots__ if getattr(settings, name) != getattr(self._settings, name)]
            if kept := [name for name in restart if name not in ("log_level", "log_format")]:
                log.warning("agent.restart_needed", settings=kept)
        service.notify("READY=1")


async def _ready() -> None:
    """Whoever waits for this unit, such as BIRD, must not wait for the mesh, which may wait for BIRD."""
    service.notify("READY=1", "STATUS=keeping the mesh")


async def _metrics(address: str, status: Callable[[], Message]) -> None:
    from rtagent.agent.metrics import MetricsServer, StatusCollector  # not before it is wanted: it costs memory

    await MetricsServer(address, StatusCollector(status)).run()
