"""The loop: take what was touched, decide, write, record. About a page, and the only place that starts a write.

Connecting is the same path whether VPP restarted, the agent did, or both: read what the data plane holds, compare
everything, write the difference. Work is taken in slices and decided just before it is written, so that a prefix
which changes while it waits is written once, as it is then; several slices are under way, so that the data plane
never waits for us.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from rtagent.agent.failures import first_failure
from rtagent.core.interfaces import connected
from rtagent.core.keytable import Rows
from rtagent.core.ledger import Decision, Ledger
from rtagent.core.objects import Objects, Stages
from rtagent.core.sink import Disconnected, FibSink, Plan, VersionMismatch
from rtagent.core.store import Store
from rtagent.transport.tasks import end_if_cancelled
from rtagent.vector.fib import FibVector
from rtagent.vector.keys import Keys
from rtagent.vector.objects import ObjectAnswer, ObjectChange, ObjectKey

log = structlog.get_logger()

_SLICE_ROWS = 8_192
_PLANS_UNDER_WAY = 6
_FEW_ROWS = 128
"""So many are awaited within their round: to make a task of it would take longer."""
_OBJECTS_UNDER_WAY = 4096
_CONNECT_BACKOFF_S = (0.05, 0.5)
_RETRY_BACKOFF_S = (1.0, 60.0)
_SHADOW_CHECK_S = 5.0
_SHADOW_CHECK_ROWS = 1024
_LAGS_KEPT = 1000


class DecisionTap(Protocol):
    """Who looks on (journal.py): each method but ``decided`` is called before what it tells of takes effect."""

    def connected(self) -> None:
        """A session with the data plane began."""

    def held(self, rows: FibVector, own_source: int) -> None:
        """The data plane holds these rows."""

    def round_began(self) -> None:
        """What was touched is about to be taken."""

    def decided(self, plan: Plan) -> int:
        """A slice was decided; return the number of its plan."""

    def answered(self, plan: int, retval: NDArray[np.int32]) -> None:
        """The data plane answered a plan."""

    def retried(self) -> None:
        """Refused rows are about to be tried again."""

    def unshadowed(self, keys: Keys) -> None:
        """A stronger source has let go of these keys."""


class SinkState(Enum):
    """Where we stand with the data plane."""

    AWAITING = "awaiting"
    SYNCING = "syncing"
    SYNCED = "synced"


class Reconciler:
    """Makes the sink equal the store, for ever. ``wake`` it when the store has changed."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        objects: Objects,
        sink: FibSink,
        *,
        may_remove: Callable[[], bool],
        on_connected: Callable[[], None] = lambda: None,
        before_round: Callable[[], None] = lambda: None,
        on_round: Callable[[], None] = lambda: None,
        tap: DecisionTap | None = None,
    ) -> None:
        self.state = SinkState.AWAITING
        self.trouble = "not connected yet"
        """Why the data plane is not connected, empty where it is."""
        self.writes = 0
        """Route rows written and accepted since the start."""
        self.object_writes = 0
        """Objects besides routes written and accepted since the start."""
        self.errors: Counter[int] = Counter()
        """Refused rows and objects by their answer."""
        self.lags_s: deque[float] = deque(maxlen=_LAGS_KEPT)
        """From a change heard of to its answer from the data plane, the last rounds."""
        self.progressed = asyncio.Event()
        """Set, and cleared at once, whenever a round or a write has ended, or the data plane is asked."""
        self._store = store
        self._ledger = ledger
        self._objects = objects
        self._sink = sink
        self._may_remove = may_remove
        self._on_connected = on_connected
        self._before_round = before_round
        self._on_round = on_round
        self._tap = tap
        self._wake = asyncio.Event()
        self._heard_at: float | None = None
        self._rounds_begun = self._rounds_ended = 0
        self._asked = 0
        """Calls of the data plane that are under way."""
        self._free_plans = asyncio.Semaphore(_PLANS_UNDER_WAY)
        self._retry_backoff_s = _RETRY_BACKOFF_S[0]
        self._retry_timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Something was touched: decide soon."""
        if self._heard_at is None:
            self._heard_at = time.monotonic()
        self._wake.set()

    def retry(self) -> None:
        """What refused rows depend on may have changed: try them again."""
        self._ledger.retry()
        self._objects.retry()
        self.wake()

    async def run(self) -> None:
        """Connect, serve until the data plane is lost, connect again; for ever."""
        backoff_s = _CONNECT_BACKOFF_S[0]
        while True:
            try:
                await self._sink.connect()
                backoff_s = _CONNECT_BACKOFF_S[0]
                await self._serve()
            except* (Disconnected, VersionMismatch) as lost:
                self._disconnected(str(first_failure(lost)))
            end_if_cancelled()
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _CONNECT_BACKOFF_S[1])

    async def wait_settled(self) -> None:
        """Return when all that now waits for a write has been answered well, or is not to be written any more."""
        rows: Rows | None = None
        objects: set[ObjectKey] = set()
        while rows is None or len(rows) or objects:
            if self.state is not SinkState.SYNCED:
                rows = None
                await self.progressed.wait()
            elif rows is None:
                await self._wait_decided()
                if self.state is SinkState.SYNCED:
                    rows, objects = self._ledger.unsettled(), self._objects.unsettled()
            else:
                await self.progressed.wait()
                rows = self._ledger.unsettled(rows)
                objects &= self._objects.unsettled()

    async def wait_alive(self) -> None:
        """Return when a round that began after the call has ended, or where the loop waits for the data plane.

        How long that may keep silent is for the sink to say: it is no fault of ours.
        """
        self.wake()
        last = self._rounds_begun + 1
        while self._rounds_ended < last and not self._asked and self.state is SinkState.SYNCED:
            await self.progressed.wait()

    async def _wait_decided(self) -> None:
        """Return when every row that is touched now has been decided: a round in progress has only begun with its rows.

        Under steady churn there is always something touched, and always a round that began after the call.
        """
        more = self._store.has_touched or self._wake.is_set()
        last = self._rounds_begun + int(more)
        while self._rounds_ended < last and self.state is SinkState.SYNCED:
            await self.progressed.wait()

    def _disconnected(self, why: str) -> None:
        if self.trouble != why:
            log.warning("dataplane.session_lost", reason=why)
        self.state, self.trouble = SinkState.AWAITING, why
        self._free_plans = asyncio.Semaphore(_PLANS_UNDER_WAY)
        self._rounds_ended = self._rounds_begun
        self._note_progress()

    async def _serve(self) -> None:
        self.state = SinkState.SYNCING
        if self._tap:
            self._tap.connected()
        self._ledger.forget_installed()
        held_rows = 0
        async for held in self._sink.read():
            if self._tap:
                self._tap.held(held, self._sink.own_source)
            self._ledger.load(held, self._sink.own_source, self._sink.outranks, self._sink.source_name)
            held_rows += len(held)
        self._objects.load(await self._sink.objects())
        self.state, self.trouble = SinkState.SYNCED, ""
        log.info("dataplane.read", rows=held_rows)
        self._on_connected()
        self.wake()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_connection())
            group.create_task(self._watch_shadows())
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._round(group)

    async def _watch_connection(self) -> None:
        await self._sink.wait_lost()
        raise Disconnected("the data plane closed the connection")

    async def _watch_shadows(self) -> None:
        """Look now and then whether rows that a stronger source held are free."""
        while True:
            await asyncio.sleep(_SHADOW_CHECK_S)
            shadowed = self._ledger.shadowed_rows()
            for start in range(0, len(shadowed), _SHADOW_CHECK_ROWS):
                rows = shadowed[start : start + _SHADOW_CHECK_ROWS]
                held = await self._sink.lookup(self._store.rib.table.keys.take(rows))
                stronger = np.array([self._sink.outranks(int(source)) for source in held.source], bool)
                still = self._store.rib.table.find(held.keys.take(stronger))
                free = np.setdiff1d(rows, still)
                if len(free):
                    if self._tap:
                        self._tap.unshadowed(self._store.rib.table.keys.take(free))
                    self._ledger.unshadow(free.astype(np.int32))
                    self.wake()

    async def _round(self, group: asyncio.TaskGroup) -> None:
        heard_at, self._heard_at = self._heard_at, None
        self._rounds_begun += 1
        if self._tap:
            self._tap.round_began()
        if self._may_remove():
            self._ledger.release()
        touched = slices(self._store.take_touched(), self._store.rib.table.size)
        self._before_round()  # after the taking: what comes while objects are written may need others, and waits
        changes = self._objects.changes(may_remove=self._may_remove())
        await self._write_objects(changes.before_routes)
        await self._look_at_connected(changes.before_routes)
        for rows in touched:
            decision = self._ledger.decide(rows, may_remove=self._may_remove())
            number = self._tap.decided(decision.plan) if self._tap else 0
            if len(decision.rows):
                await self._free_plans.acquire()
                write = self._write(decision, number, heard_at, self._free_plans)
                if len(decision.rows) <= _FEW_ROWS:
                    await write
                else:
                    group.create_task(write)
            await asyncio.sleep(0)
        if changes.after_routes:
            await self._wait_written()
            await self._write_objects(changes.after_routes)
            await self._look_at_connected(changes.after_routes)
        if self._objects.has_touched and self._may_remove():
            self.wake()
        self._rounds_ended = self._rounds_begun
        self._on_round()
        self._note_progress()

    async def _write_objects(self, stages: Stages) -> None:
        """Write objects stage by stage; a refused one stops no other."""
        for stage in stages:
            for start in range(0, len(stage), _OBJECTS_UNDER_WAY):
                changes = stage[start : start + _OBJECTS_UNDER_WAY]
                with self._asking():
                    answers = await self._sink.write_all(changes)
                self._record_objects(changes, answers)

    async def _look_at_connected(self, stages: Stages) -> None:
        """Look at the routes that interfaces bring along: they shadow ours, and give way when they go."""
        keys = connected((change for stage in stages for change in stage), self._objects.held)
        if not len(keys):
            return
        with self._asking():
            held = await self._sink.lookup(keys)
        stronger = held.take(np.array([self._sink.outranks(int(source)) for source in held.source], bool))
        table = self._store.rib.table
        free = np.setdiff1d(table.find(keys), table.find(stronger.keys))
        free = free[free >= 0].astype(np.int32)
        if self._tap:
            self._tap.held(stronger, self._sink.own_source)
            self._tap.unshadowed(table.keys.take(free))
        self._ledger.load(stronger, self._sink.own_source, self._sink.outranks, self._sink.source_name)
        self._ledger.unshadow(free)
        self.wake()

    def _record_objects(self, changes: list[ObjectChange], answers: list[ObjectAnswer]) -> None:
        refused = []
        for change, answer in zip(changes, answers, strict=True):
            text = self._sink.error_text(answer.retval) if answer.retval else ""
            self._objects.record(change, answer, text)
            if answer.retval:
                self.errors[answer.retval] += 1
                refused.append((change.key, text))
        self.object_writes += len(changes) - len(refused)
        if refused:
            self._retry_later()
            first, text = refused[0]
            log.warning("objects.changes_refused", objects=len(refused), first=str(first), reason=text)

    async def _wait_written(self) -> None:
        """Return when no plan is under way."""
        for _ in range(_PLANS_UNDER_WAY):
            await self._free_plans.acquire()
        for _ in range(_PLANS_UNDER_WAY):
            self._free_plans.release()

    async def _write(
        self, decision: Decision, number: int, heard_at: float | None, slot: asyncio.Semaphore
    ) -> None:  # fmt: skip
        try:
            with self._asking():
                retval = await self._sink.apply(decision.plan)
        finally:
            slot.release()
        if self._tap:
            self._tap.answered(number, retval)
        refused = self._ledger.record(decision, retval, self._sink.error_text)
        self.writes += len(retval) - refused
        if refused:
            self.errors.update(retval[retval != 0].tolist())
            self._retry_later()
            log.warning("fib.rows_refused", rows=refused, first_retval=int(retval[retval != 0][0]))
        if heard_at is not None:
            self.lags_s.append(time.monotonic() - heard_at)
        if self._store.has_touched:
            self.wake()
        self._note_progress()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Say that the data plane owes an answer."""
        self._asked += 1
        if self._asked == 1:
            self._note_progress()
        try:
            yield
        finally:
            self._asked -= 1

    def _retry_later(self) -> None:
        if self._retry_timer is None:
            self._retry_timer = asyncio.get_running_loop().call_later(self._retry_backoff_s, self._retry_due)
            self._retry_backoff_s = min(2 * self._retry_backoff_s, _RETRY_BACKOFF_S[1])

    def _retry_due(self) -> None:
        self._retry_timer = None
        if self._ledger.refused_count or self._objects.refused:
            if self._tap:
                self._tap.retried()
            self.retry()
        else:
            self._retry_backoff_s = _RETRY_BACKOFF_S[0]

    def _note_progress(self) -> None:
        self.progressed.set()
        self.progressed.clear()


def slices(rows: Rows | None, size: int) -> Iterator[Rows]:
    """Yield the rows (None: all ``size`` of them) as they are decided together."""
    everything = np.arange(size, dtype=np.int32) if rows is None else rows
    for start in range(0, len(everything), _SLICE_ROWS):
        yield everything[start : start + _SLICE_ROWS]
