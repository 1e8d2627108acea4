"""Repeats a journal without kernel and data plane: decode, store, decide; and tells where a decision is another one.

The same parts as in the running agent (Mirror, Intake, Ledger) are told the same in the same order; the clock, the
sockets and the tasks, which made that order, are not needed any more. Decisions depend on nothing else, so a difference
means that the code has changed, or that the journal does not tell everything: a bug of ours either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rtagent.agent.journal import SETTINGS, port_of
from rtagent.agent.mirror import Mirror
from rtagent.agent.reconciler import slices
from rtagent.agent.settings import Settings
from rtagent.core.explain import entry_text
from rtagent.core.keytable import Rows
from rtagent.core.ledger import Decision
from rtagent.core.rows import key_row
from rtagent.core.sink import FibSink, Plan
from rtagent.core.taps import NO_TAPS, TapRules
from rtagent.sinks.memory import MemoryFib
from rtagent.sources.intake import Intake
from rtagent.transport.netlink import Datagrams
from rtagent.vector.batch import Dump
from rtagent.vector.fib import EMPTY_FIB, NO_ENTRY, FibEntries, FibVector
from rtagent.vector.keys import Key, Keys
from rtagent.vector.ports import Port
from rtagent.wire import journal as wire
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.journal import Kind, Reader, Record


@dataclass(frozen=True, slots=True)
class Difference:
    """The first decision that came out another way."""

    record: int
    """The number of the record, from 0."""
    at_s: float
    """Seconds since the journal began."""
    row: Mapping[str, Any]
    """Family, table and prefix (or label)."""
    recorded: str
    """What was decided then: an entry, "removed", or "left alone"."""
    replayed: str


@dataclass(slots=True)
class Verdict:
    """What became of a journal."""

    same: bool = True
    records: int = 0
    plans: int = 0
    rows: int = 0
    """Rows of all plans."""
    spans_s: float = 0.0
    torn: bool = False
    """Its last record was cut off: what stands before it was replayed."""
    full: bool = False
    """It ends because it had reached its size."""
    difference: Difference | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the verdict for scripts."""
        return asdict(self)


class ReplayedPorts(MemoryFib):
    """The interfaces of a data plane as a journal tells of them; nothing is written to it."""

    def set_ports(self, ports: Mapping[str, Port]) -> None:
        """The journal alone says which interfaces there are."""

    def told(self, ports: Mapping[str, Port]) -> None:
        """The journal says which interfaces there are."""
        super().set_ports(ports)


def replay(data: bytes) -> Verdict:
    """Repeat a journal. Raises MalformedMessage where it is none, or breaks the rules of its format."""
    reader = Reader(data)
    records = iter(reader)
    first = next(records, None)
    verdict = Verdict()
    if first is not None:
        if first.kind is not Kind.SETTINGS:
            raise MalformedMessage(f"a journal begins with settings, not with {first.kind.name}")
        verdict.records = 1
        repeated = _Replay(_settings(Settings(), first), verdict)
        for record in records:
            verdict.spans_s = record.at_ms / 1000
            try:
                repeated.handlers[record.kind](record)
            except (ValueError, LookupError, TypeError, AssertionError) as error:
                raise MalformedMessage(f"record {verdict.records} ({record.kind.name}): {error!r}") from error
            verdict.records += 1
            if verdict.difference is not None:
                break
    verdict.torn = reader.torn
    return verdict


class _Replay:
    def __init__(self, settings: Settings, verdict: Verdict) -> None:
        self._verdict = verdict
        self._mirror = Mirror(settings, _make_sink)
        self._mirror.store.on_links_changed = self._join
        self._intake = Intake(self._mirror.store, self._mirror.groups)
        self._entries: dict[int, int] = {NO_ENTRY: NO_ENTRY}
        """The journal's numbers of entries → ours."""
        self._decisions: list[Decision] = []
        self._slices: Iterator[Rows] = iter(())
        ledger = self._mirror.ledger
        self.handlers: dict[Kind, Callable[[Record], None]] = {
            Kind.SETTINGS: self._configured,
            Kind.PORTS: self._ports,
            Kind.JOINED: lambda _: self._join(),
            Kind.NOTIFIED: lambda record: _none(self._intake.notified(_datagrams(record))),
            Kind.DUMP_BEGAN: lambda record: self._intake.begin(Dump(record.body.decode())),
            Kind.DUMPED: lambda record: _none(self._intake.dumped(_datagrams(record))),
            Kind.DUMP_ENDED: self._dump_ended,
            Kind.LOST: lambda _: self._intake.lost(),
            Kind.CONNECTED: self._connected,
            Kind.ENTRIES: self._entries_told,
            Kind.HELD: self._held,
            Kind.ROUND: self._round,
            Kind.DECIDED: self._decided,
            Kind.ANSWERED: self._answered,
            Kind.RETRIED: lambda _: ledger.retry(),
            Kind.UNSHADOWED: lambda record: ledger.unshadow(self._find(wire.decode_keys(record.body))),
            Kind.HOUSE_KEPT: self._house_kept,
            Kind.FULL: self._full,
        }

    def _configured(self, record: Record) -> None:
        self._mirror.settings = _settings(self._mirror.settings, record)

    def _ports(self, record: Record) -> None:
        if isinstance(self._mirror.sink, ReplayedPorts):
            told = wire.decode_json(record.body)
            self._mirror.sink.told({name: port_of(name, fields) for name, fields in told.items()})

    def _join(self) -> None:
        if self._mirror.join_pairs():
            self._mirror.ledger.retry()

    def _dump_ended(self, record: Record) -> None:
        if record.body == b"whole":
            self._intake.finish()
        else:
            self._intake.abandon()

    def _connected(self, _: Record) -> None:
        self._slices = iter(())
        self._decisions_end_with_the_session()
        self._mirror.ledger.forget_installed()

    def _decisions_end_with_the_session(self) -> None:
        """Answers of an earlier session do not come any more; plans are numbered on."""
        nothing = Decision(np.empty(0, np.int32), Plan(EMPTY_FIB.keys, EMPTY_FIB.entry))
        self._decisions = [nothing] * len(self._decisions)

    def _entries_told(self, record: Record) -> None:
        for number, *fields in wire.decode_json(record.body):
            self._entries[number] = self._mirror.entries.intern(wire.entry_of(fields))

    def _held(self, record: Record) -> None:
        start = 4 + int.from_bytes(record.body[:4], "little")
        sources = {number: fields for number, *fields in wire.decode_json(record.body[4:start])}
        rows = (len(record.body) - start) // 29  # keys and entries of 28 bytes, sources of one
        keys, entry = wire.decode_rows(record.body[start : start + 28 * rows])
        source = np.frombuffer(record.body, np.uint8, rows, start + 28 * rows)
        own = next((number for number, (_, is_own, _) in sources.items() if is_own), 255)
        self._mirror.ledger.load(
            FibVector(keys, self._ours(entry), source), own, lambda number: sources[number][2],
            lambda number: sources[number][0],
        )  # fmt: skip

    def _round(self, record: Record) -> None:
        for rows in self._slices:  # the recorded round had fewer
            self._compare(rows, Plan(EMPTY_FIB.keys, EMPTY_FIB.entry), record)
        if self._intake.in_sync:
            self._mirror.ledger.release()
        rib = self._mirror.store.rib
        touched = self._mirror.store.take_touched()
        self._slices = iter(list(slices(touched, rib.table.size)))

    def _decided(self, record: Record) -> None:
        keys, entry = wire.decode_rows(record.body)
        plan = Plan(keys, self._ours(entry))
        self._compare(next(self._slices, np.empty(0, np.int32)), plan, record)
        self._decisions.append(Decision(self._find(keys), plan))
        self._verdict.plans += bool(len(plan))
        self._verdict.rows += len(plan)

    def _compare(self, rows: Rows, recorded: Plan, record: Record) -> None:
        decided = self._mirror.ledger.decide(rows, may_remove=self._intake.in_sync).plan
        if self._verdict.difference is not None:
            return
        then, now = _by_key(recorded), _by_key(decided)
        unlike = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
        if unlike:
            first = unlike[0]
            self._verdict.same = False
            self._verdict.difference = Difference(
                self._verdict.records,
                record.at_ms / 1000,
                key_row(first),
                self._text(then, first),
                self._text(now, first),
            )

    def _answered(self, record: Record) -> None:
        decision = self._decisions[int.from_bytes(record.body[:4], "little")]
        retval = np.frombuffer(record.body, "<i4", offset=4).astype(np.int32)
        if not len(retval):
            retval = np.zeros(len(decision.rows), np.int32)
        self._mirror.ledger.record(decision, retval, self._mirror.sink.error_text)

    def _house_kept(self, _: Record) -> None:
        if self._mirror.store.forget_unused():
            self._intake.forget()
        self._mirror.ledger.forget_absent()

    def _full(self, _: Record) -> None:
        self._verdict.full = True

    def _ours(self, numbers: np.ndarray[Any, np.dtype[np.int32]]) -> np.ndarray[Any, np.dtype[np.int32]]:
        return np.array([self._entries[number] for number in numbers.tolist()], np.int32)

    def _find(self, keys: Keys) -> Rows:
        return self._mirror.store.rib.table.find(keys)

    def _text(self, plan: Mapping[Key, int], key: Key) -> str:
        if key not in plan:
            return "left alone"
        if plan[key] == NO_ENTRY:
            return "removed"
        ports = {port.interface: port for port in self._mirror.sink.ports.values()}
        return entry_text(self._mirror.entries[plan[key]], ports)


def _make_sink(settings: Settings, entries: FibEntries) -> FibSink:
    return MemoryFib(entries) if settings.dataplane == "memory" else ReplayedPorts(entries)


def _settings(before: Settings, record: Record) -> Settings:
    told = wire.decode_json(record.body)
    kept = {name: getattr(before, name) for name in Settings.__slots__}
    given = {name: told[name] for name in SETTINGS if name in told}
    source = bytes.fromhex(told.get("srv6_source", ""))  # a journal of an earlier version does not tell it
    taps = TapRules.of(told["taps"]) if "taps" in told else NO_TAPS
    return Settings(**kept | given | {"ignore": tuple(told["ignore"]), "srv6_source": source, "taps": taps})


def _datagrams(record: Record) -> Datagrams:
    return Datagrams(*wire.decode_datagrams(record.body), truncated=False)


def _by_key(plan: Plan) -> dict[Key, int]:
    return dict(zip(plan.keys, plan.entry.tolist(), strict=True))


def _none(_: object) -> None:
    """What was received has been applied; nothing else follows from it here."""
