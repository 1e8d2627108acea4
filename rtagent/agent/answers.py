"""What the running agent answers on its control socket; docs/reference.md has the words."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import rtagent
from rtagent.agent import punt_schema
from rtagent.agent.control import Answer, BadRequest, Message
from rtagent.agent.mirror import Mirror
from rtagent.agent.pairs import DOWN, UP
from rtagent.agent.reconciler import Reconciler, SinkState
from rtagent.agent.remote import packed
from rtagent.core.neighbors import NeighborCounts
from rtagent.core.object_rows import object_text
from rtagent.core.rows import Rows
from rtagent.core.rules import rule_row, unsupported_rules
from rtagent.sources.kernel import KernelSource
from rtagent.vector.fib import State
from rtagent.vector.keys import FAMILY_NAMES, FAMILY_NUMBERS, TABLE_MAIN, Key, Keys
from rtagent.vector.neighbors import NeighborKey

if TYPE_CHECKING:
    from rtagent.agent.mesh import Mesh

_ROWS_A_LINE = 256
_TOLD_EVERY_S = 1.0
_FULL = 0.9
"""A neighbour table that is filled to this share of its limit is trouble."""


class Answers:
    """The commands of the control socket."""

    def __init__(
        self, mirror: Mirror, source: KernelSource, reconciler: Reconciler, config_file: Path | None,
        mesh: Mesh | None = None,
    ) -> None:  # fmt: skip
        self._mirror = mirror
        self._source = source
        self._reconciler = reconciler
        self._config_file = config_file
        self._mesh = mesh
        self._started_at = time.monotonic()

    def commands(self) -> dict[str, Answer]:
        """Return the commands by name."""
        return {
            "status": self._status,
            "settings": self._settings,
            "wait": self._wait,
            "fib": self._fib,
            "rejected": self._rejected,
            "refused": self._refused,
            "ports": self._ports,
            "read": self._read,
            **(self._mesh.commands() if self._mesh else {}),
        }

    def status(self) -> Message:
        """Return how everything stands."""
        mirror, source, reconciler = self._mirror, self._source, self._reconciler
        lags_ms = np.array(reconciler.lags_s) * 1e3
        neighbors = self._neighbors()
        reasons = self._troubles(neighbors)
        starting = not source.in_sync or reconciler.state is not SinkState.SYNCED
        return {
            "version": rtagent.__version__,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started_at, 3),
            "health": "ok" if not reasons else "starting" if starting and not reconciler.trouble else "degraded",
            "reasons": reasons,
            "in_sync": source.in_sync,
            "sources": source.states(),
            "dataplane": {
                "kind": mirror.settings.dataplane,
                "bulk": mirror.sink.bulk,
                "state": reconciler.state.value,
                "trouble": reconciler.trouble,
            },
            "pairs": [pair._asdict() for pair in mirror.pairs],
            "tables": self._tables(),
            "rows": self._rows_by_state(),
            "neighbors": {FAMILY_NAMES[family]: counts._asdict() for family, counts in neighbors.items()},
            "objects": {
                "wanted": len(mirror.objects.wanted),
                "differing": len(mirror.objects.unsettled()),
                "refused": len(mirror.objects.refused),
                "writes": reconciler.object_writes,
            },
            "warnings": self._mirror.warnings,
            "rules": [rule_row(rule) for rule in unsupported_rules(mirror.store.rules.values())],
            "lag_ms": {
                "p50": round(float(np.percentile(lags_ms, 50)), 3) if len(lags_ms) else None,
                "p99": round(float(np.percentile(lags_ms, 99)), 3) if len(lags_ms) else None,
                "samples": len(lags_ms),
            },
            "resync": {
                "count": source.resyncs,
                "last_reason": source.last_resync_reason,
                "last_at": source.last_resync_at,
            },
            "overflows": source.overflows,
            "messages": source.messages,
            "malformed": source.malformed,
            "writes": reconciler.writes,
            "mesh": self._mesh.status() if self._mesh else None,
            "errors": {str(retval): count for retval, count in sorted(reconciler.errors.items())},
        }

    def _troubles(self, neighbors: Mapping[int, NeighborCounts]) -> list[str]:
        reasons = []
        if not self._source.in_sync:
            reasons.append("the kernel's state is not in sync yet")
        if self._reconciler.trouble:
            reasons.append(f"data plane: {self._reconciler.trouble}")
        if refused := self._mirror.ledger.refused_count:
            reasons.append(f"{refused} rows are refused by the data plane: see rtagent fib")
        for family, counts in neighbors.items():
            if counts.limit and counts.held > _FULL * counts.limit:
                reasons.append(
                    f"VPP holds {counts.held} of the {counts.limit} {FAMILY_NAMES[family]} neighbours that it takes"
                )
            if counts.refused:
                reasons.append(f"{counts.refused} {FAMILY_NAMES[family]} neighbours are refused by the data plane")
        if refused := sum(not isinstance(key, NeighborKey) for key in self._mirror.objects.refused):
            reasons.append(f"{refused} settings are refused by the data plane: see rtagent diff")
        reasons += [f"{port}: {trouble}" for port, trouble in self._mirror.choice.troubles.items()]
        reasons += [f"pair {pair.host}: {pair.state}" for pair in self._mirror.pairs if pair.state not in (UP, DOWN)]
        return reasons + (self._mesh.reasons() if self._mesh else [])

    def _neighbors(self) -> dict[int, NeighborCounts]:
        return self._mirror.neighbors.counts(self._mirror.objects)

    def _rows_by_state(self) -> dict[str, dict[str, int]]:
        rows: dict[str, dict[str, int]] = {}
        for (state, family), count in sorted(self._mirror.ledger.counts().items()):
            rows.setdefault(state, {})[family] = count
        for route in self._mirror.store.unsupported.values():
            families = rows.setdefault("unsupported", {})
            families[FAMILY_NAMES[route.family]] = families.get(FAMILY_NAMES[route.family], 0) + 1
        return rows

    def _tables(self) -> list[Message]:
        keys, ledger = self._mirror.store.rib.table.keys, self._mirror.ledger
        ledger.counts()  # brings the columns to the table's length
        shown = (ledger.state[: len(keys)] != State.ABSENT) & self._mirror.store.rib.table.live()
        numbers, counts = np.unique(keys.meta[shown] >> np.uint64(8), return_counts=True)
        return [
            {"table": number >> 8, "family": FAMILY_NAMES[number & 0xFF], "rows": count}
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
        ]

    async def _status(self, request: Mapping[str, Any]) -> AsyncGenerator[Message]:
        yield {"status": self.status()}

    async def _settings(self, request: Mapping[str, Any]) -> AsyncGenerator[Message]:
        """Yield what a one-shot command needs in order to look at the same kernel and data plane."""
        settings = self._mirror.settings
        yield {
            "settings": {
                "config": str(self._config_file) if self._config_file else None,
                "dataplane": settings.dataplane,
                "vpp_socket": settings.vpp_socket,
                "netns": settings.netns,
                "pairs": dict(settings.pairs),
                "taps": asdict(settings.taps),
                "ignore": list(settings.ignore),
                "interfaces": settings.interfaces,
                "srv6_source": settings.srv6_source.hex(),
                "vpp_stats_socket": settings.vpp_stats_socket,
                "punt": punt_schema.told(settings.punt),
            }
        }

    async def _wait(self, request: Mapping[str, Any]) -> AsyncGenerator[Message]:
        """End when all that the kernel holds now is installed; a line now and then says how many rows are waiting."""
        settled = asyncio.ensure_future(self._settle())  # not in a TaskGroup: the answer may be broken off at a yield
        try:
            while not settled.done():
                yield {"waiting": len(self._mirror.ledger.unsettled()), "reasons": self._troubles(self._neighbors())}
                await asyncio.wait([settled], timeout=_TOLD_EVERY_S)
            settled.result()
        finally:
            settled.cancel()
        yield {"synced": True}

    async def _settle(self) -> None:
        await self._source.settle()
        await self._reconciler.wait_settled()

    async def _fib(self, request: Mapping[str, Any]) -> AsyncGenerator[Message]:
        table, family, text = request.get("table"), request.get("family"), request.get("key")
        if not isinstance(table, int | None) or isinstance(table, bool):
            raise BadRequest(f"table: {table!r} is not a number")
        if family is not None and family not in FAMILY_NUMBERS:
            raise BadRequest(f"family: {family!r} is none of {', '.join(FAMILY_NUMBERS)}")
        key = None
        if text is not None:
            try:
                key = self._shown_key(str(text), TABLE_MAIN if table is None else table)
            except ValueError as error:
                raise BadRequest(str(error)) from None
        async for message in _batched(self._rows()(table=table, family=family, key=key)):
            yield message

    def _shown_key(self, text: str, table: int) -> Key:
        """Return the key that a person means: an address without a length, the longest prefix shown that covers it."""
        key = Key.parse(text, table)
        if "/" in text:
            return key
        states, covering = self._mirror.ledger.state, key.covering()
        rows = self._mirror.store.rib.table.find(Keys.of(covering)).tolist()
        shown = (found for found, row in zip(covering, rows, strict=True) if row >= 0 and states[row] != State.ABSENT)
        return next(shown, key)

    async def _rejected(self, request: Mapping[str, Any]) -> AsyncGenerator[Message]:
        """Yield the rows that the data plane has refused, each with its answer."""
        rows, ledger = self._rows(), self._mirror.ledger
        states = ledger.state[: self._mirror.store.rib.table.size]
        async for message in _batched(rows.row(row) for row in np.flatnonzero(states == State.REJECTED).tolist()):
            yield message

    async def _refused(self, request: Mapping[str, Any]) -> AsyncGenerator[Message]:
        """Yield the objects that the data plane has refused, each with its answer."""
        names, refused = self._mirror.interface_names, self._mirror.objects.refused
        rows = ({"object": object_text(key, names), "reason": reason} for key, reason in list(refused.items()))
        async for message in _batched(rows):
            yield message

    async def _ports(self, request: Mapping[str, Any]) -> AsyncGenerator[Message]:
        sink = self._sink_to_read()
        yield {
            "own_source": sink.own_source,
            "sources": {str(number): sink.source_name(number) for number in range(256)},
            "ports": [[name, port.interface, port.up] for name, port in sink.ports.items()],
        }

    async def _read(self, request: Mapping[str, Any]) -> AsyncGenerator[Message]:
        async for held in self._sink_to_read().read():
            yield packed(held, self._mirror.entries)
            await asyncio.sleep(0)

    def _sink_to_read(self) -> Any:
        if self._mirror.settings.dataplane != "memory":
            raise BadRequest("this agent has no memory FIB: ask VPP itself")
        return self._mirror.sink

    def _rows(self) -> Rows:
        mirror = self._mirror
        return Rows(mirror.store, mirror.ledger, mirror.entries, mirror.interface_names)


async def _batched(rows: Iterable[Message]) -> AsyncGenerator[Message]:
    """Yield rows, some hundreds a line, and let others run in between."""
    remaining = iter(rows)
    while batch := list(islice(remaining, _ROWS_A_LINE)):
        yield {"rows": batch}
        await asyncio.sleep(0)
