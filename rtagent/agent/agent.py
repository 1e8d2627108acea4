"""All wiring on one page: who tells whom, and which tasks run. The decisions are elsewhere.

Whatever ends the agent leaves the data plane as it is: forwarding outlives it (invariant 7).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from rtagent.agent import logs, service
from rtagent.agent.answers import Answers
from rtagent.agent.control import ControlServer
from rtagent.agent.journal import Journal
from rtagent.agent.link_maker import LinkMaker
from rtagent.agent.mirror import Mirror
from rtagent.agent.prober import NeighborProber
from rtagent.agent.reconciler import Reconciler, SinkState
from rtagent.agent.settings import Settings
from rtagent.core.sink import FibSink
from rtagent.sources.kernel import KernelSource
from rtagent.vector.fib import FibEntries
from rtagent.vector.objects import Held, ObjectKey
from rtagent.wire.toml.schema import SettingsError

if TYPE_CHECKING:
    from rtagent.agent.mesh import Mesh
    from rtagent.agent.metrics import MetricsServer

log = structlog.get_logger()

_HOUSEKEEPING_S = 5.0
_MOST_SAID = 32
"""Pairs in one line of the log."""
_RELOADED = ("pairs", "taps", "ignore", "interfaces", "punt", "srv6_source", "log_level", "log_format")
"""Settings that a reload changes; the others take a restart, which costs forwarding nothing."""


class Agent:
    """The running agent."""

    def __init__(
        self, settings: Settings, make_sink: Callable[[Settings, FibEntries], FibSink], *,
        config_file: Path | None, reload: Callable[[], Settings],
    ) -> None:  # fmt: skip
        """``reload`` reads the configuration again, command line included. It may raise SettingsError."""
        self.mirror = Mirror(settings, make_sink)
        mirror = self.mirror
        self.journal = (
            Journal(Path(settings.journal), settings.journal_max_bytes, settings, mirror.sink)
            if settings.journal
            else None
        )
        self.source = KernelSource(
            mirror.store,
            mirror.groups,
            netns=settings.netns,
            receive_buffer_bytes=settings.receive_buffer_bytes,
            on_change=lambda: self.reconciler.wake(),
            tap=self.journal,
        )
        self.reconciler = Reconciler(
            mirror.store,
            mirror.ledger,
            mirror.objects,
            mirror.sink,
            may_remove=lambda: self.source.in_sync,
            on_connected=self._ports_changed,
            before_round=self._want_objects,
            on_round=self._keep_house,
            tap=self.journal,
        )
        mirror.store.on_links_changed = self._pairs_changed
        mirror.sink.on_ports_changed = self._ports_changed
        mirror.sink.on_object_heard = self._object_heard
        self._link_maker = LinkMaker(
            mirror, may_make=self._may_make_links, on_made=self.source.reread_links, on_refused=self._pairs_changed
        )
        self._prober = NeighborProber(mirror.neighbors, netns=settings.netns, decide=self.reconciler.wake)
        self._mesh = _mesh(settings)
        answers = Answers(mirror, self.source, self.reconciler, config_file, self._mesh)
        self._control = ControlServer(settings.control, settings.control_group, answers.commands())
        self._metrics = _metrics(settings, answers)
        self._reload = reload
        self._is_ready = False
        self._warned: list[str] = []
        self._pairs_said: dict[str, str] = {}
        self._house_kept_at = time.monotonic()

    async def run(self) -> None:
        """Mirror until SIGTERM or SIGINT. Raises OSError where a socket cannot be had."""
        settings = self.mirror.settings
        log.info("agent.started", pid=os.getpid(), dataplane=settings.dataplane, netns=settings.netns)
        parts = [
            self._control.run(),
            self.source.run(),
            self.reconciler.run(),
            *([self._prober.run(), self._link_maker.run()] if settings.dataplane == "vpp" else []),
            service.feed_watchdog(self.reconciler.wait_alive, asyncio.sleep),
            *([self._metrics.run()] if self._metrics else []),
            *([self._mesh.run()] if self._mesh else []),
        ]
        await service.run_until_told(parts, self._reload_settings)
        await self.mirror.sink.close()
        if self.journal:
            self.journal.close()
        log.info("agent.stopped", writes=self.reconciler.writes)

    def _ports_changed(self) -> None:
        """Ports came, went or changed, or settings did: what follows from neither a link nor anything else heard."""
        if self.journal:
            self.journal.joined()
        self.mirror.saw_ports()
        self._pairs_changed()
        self.reconciler.wake()

    def _pairs_changed(self) -> None:
        """Links or ports came, went or were renamed."""
        if self.mirror.join_pairs():
            self._say_pairs()
            self.reconciler.retry()
        self._link_maker.wake()

    def _say_pairs(self) -> None:
        """Log the pairs that stand otherwise than they did, and those that are gone."""
        stand = {pair.host: pair.state for pair in self.mirror.pairs}
        changed = dict(sorted(stand.items() - self._pairs_said.items())[:_MOST_SAID])
        gone = sorted(self._pairs_said.keys() - stand.keys())[:_MOST_SAID]
        self._pairs_said = stand
        if changed or gone:
            log.info("pairs.joined", pairs=changed, **({"gone": gone} if gone else {}))

    def _may_make_links(self) -> bool:
        return self.source.in_sync and self.reconciler.state is SinkState.SYNCED

    def _object_heard(self, key: ObjectKey, held: Held | None) -> None:
        self.mirror.object_heard(key, held)
        self.reconciler.wake()
        self._prober.wake()

    def _want_objects(self) -> None:
        if self.mirror.want_objects():
            warnings = self.mirror.warnings
            for warning in [each for each in warnings if each not in self._warned]:
                log.warning("punt.hindered", reason=warning)
            self._warned = warnings
        self._prober.wake()

    def _keep_house(self) -> None:
        """Between two rounds: free what nobody refers to any more, and tell the service manager how we stand."""
        if not self._is_ready and self.source.in_sync and self.reconciler.state is SinkState.SYNCED:
            self._is_ready = True
            self._link_maker.wake()
            service.notify("READY=1", "STATUS=mirroring")
            log.info("agent.ready", writes=self.reconciler.writes)
        now = time.monotonic()
        if now - self._house_kept_at >= _HOUSEKEEPING_S and not self.source.is_dumping:
            self._house_kept_at = now
            if self.journal:
                self.journal.house_kept()
            if self.mirror.store.forget_unused():
                self.source.forget()
            self.mirror.ledger.forget_absent()

    def _reload_settings(self) -> None:
        service.reloading()
        try:
            settings = self._reload()
        except SettingsError as error:
            log.error("agent.reload_refused", problems=[str(problem) for problem in error.problems])
        else:
            self._adopt(settings)
        service.notify("READY=1")

    def _adopt(self, settings: Settings) -> None:
        before = self.mirror.settings
        fixed = [name for name in Settings.__slots__ if name not in _RELOADED]
        restart = [name for name in fixed if getattr(settings, name) != getattr(before, name)]
        changed = [name for name in _RELOADED if getattr(settings, name) != getattr(before, name)]
        self.mirror.settings = settings.keeping(before, fixed)
        logs.configure(settings.log_level, settings.log_format)
        log.info("agent.reloaded", changed=changed)
        if restart:
            log.warning("agent.restart_needed", settings=restart)
        if self.journal:
            self.journal.configured(self.mirror.settings)
        self._ports_changed()
        self.reconciler.wake()


# What few agents do is imported by those that do it: a restart waits for every import.


def _mesh(settings: Settings) -> Mesh | None:
    if settings.mesh is None:
        return None
    from rtagent.agent.mesh import Mesh

    return Mesh(settings.mesh)


def _metrics(settings: Settings, answers: Answers) -> MetricsServer | None:
    if not settings.metrics:
        return None
    from rtagent.agent.metrics import MetricsServer, StatusCollector

    return MetricsServer(settings.metrics, StatusCollector(answers.status))
