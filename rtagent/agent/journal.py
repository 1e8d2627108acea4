"""The journal: what the agent hears and decides, appended to a file, so that ``rtagent replay`` can repeat it.

It looks on (KernelTap, DecisionTap) and decides nothing; off, it does not exist, and costs one comparison a batch. What
goes wrong with the file is said once and ends the journal, never the mirroring: a gap would make what follows
worthless. So does its size, with a record that says so; an earlier journal of the name is kept as FILE.1.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import structlog
from numpy.typing import NDArray

import rtagent
from rtagent.agent.settings import Settings
from rtagent.core.sink import FibSink, Plan
from rtagent.transport.netlink import Datagrams
from rtagent.vector.batch import Dump
from rtagent.vector.fib import FibVector
from rtagent.vector.keys import Keys
from rtagent.vector.links import VlanTag
from rtagent.vector.ports import HostLink, Port, PortKind
from rtagent.wire import journal as wire
from rtagent.wire.journal import Kind, Record

log = structlog.get_logger()

SETTINGS = ("dataplane", "netns", "pairs", "taps", "ignore", "interfaces", "srv6_source")
"""What of the settings bears on decisions."""
_END_BYTES = 64
"""Kept free for the record that says that the journal is full."""


class Journal:
    """Writes records until the file is full or fails."""

    def __init__(self, path: Path, max_bytes: int, settings: Settings, sink: FibSink) -> None:
        """Begin a journal. Raises OSError."""
        self._path = path
        self._left_bytes = max_bytes
        self._sink = sink
        self._began = time.monotonic()
        self._ports: Mapping[str, Port] = {}
        self._known_entries = np.zeros(0, bool)
        self._plans = 0
        if path.is_file():
            path.replace(path.with_name(f"{path.name}.1"))
        self._file: BinaryIO | None = open(path, "wb", buffering=0, opener=_for_the_group)  # noqa: SIM115 - see close
        self._append(wire.VERSION_LINE)
        self.configured(settings)

    def configured(self, settings: Settings) -> None:
        """The mirror has these settings from now on."""
        told = {name: value for name, value in asdict(settings).items() if name in SETTINGS}
        told["srv6_source"] = settings.srv6_source.hex()
        self._write(Kind.SETTINGS, wire.encode_json(told | {"version": rtagent.__version__}))

    def joined(self) -> None:
        """Ports or settings have changed, and pairs are about to be joined anew."""
        self._write(Kind.JOINED)

    def notified(self, datagrams: Datagrams) -> None:
        """Notifications came."""
        self._write_datagrams(Kind.NOTIFIED, datagrams)

    def dump_began(self, dump: Dump) -> None:
        """A dump starts."""
        self._write(Kind.DUMP_BEGAN, dump.value.encode())

    def dumped(self, datagrams: Datagrams) -> None:
        """A part of the dump under way came."""
        self._write_datagrams(Kind.DUMPED, datagrams)

    def dump_ended(self, *, whole: bool) -> None:
        """The dump under way came through whole, or broke off."""
        self._write(Kind.DUMP_ENDED, b"whole" if whole else b"broken off")

    def lost(self) -> None:
        """Notifications were lost."""
        self._write(Kind.LOST)

    def connected(self) -> None:
        """A session with the data plane began."""
        self._write(Kind.CONNECTED)

    def held(self, rows: FibVector, own_source: int) -> None:
        """The data plane holds these rows."""
        if self._file is None:
            return
        self._write_entries(rows.entry)
        names = [
            [source, self._sink.source_name(source), source == own_source, self._sink.outranks(source)]
            for source in np.unique(rows.source).tolist()
        ]
        sources = wire.encode_json(names)
        body = len(sources).to_bytes(4, "little") + sources + wire.encode_rows(rows.keys, rows.entry)
        self._write(Kind.HELD, body + rows.source.tobytes())

    def round_began(self) -> None:
        """What was touched is about to be taken."""
        self._write(Kind.ROUND)

    def decided(self, plan: Plan) -> int:
        """A slice was decided; return the number of its plan."""
        if self._file is not None:
            self._write_entries(plan.entry)
            self._write(Kind.DECIDED, wire.encode_rows(plan.keys, plan.entry))
        self._plans += 1
        return self._plans - 1

    def answered(self, plan: int, retval: NDArray[np.int32]) -> None:
        """The data plane answered a plan."""
        answers = retval.astype("<i4").tobytes() if retval.any() else b""
        self._write(Kind.ANSWERED, plan.to_bytes(4, "little") + answers)

    def retried(self) -> None:
        """Refused rows are about to be tried again."""
        self._write(Kind.RETRIED)

    def unshadowed(self, keys: Keys) -> None:
        """A stronger source has let go of these keys."""
        self._write(Kind.UNSHADOWED, wire.encode_keys(keys))

    def house_kept(self) -> None:
        """What nobody refers to is about to be freed."""
        self._write(Kind.HOUSE_KEPT)

    def close(self) -> None:
        """End the journal."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write_datagrams(self, kind: Kind, datagrams: Datagrams) -> None:
        if self._file is not None:
            self._write(kind, wire.encode_datagrams(datagrams.buffer, datagrams.starts, datagrams.lengths))

    def _write_entries(self, numbers: NDArray[np.int32]) -> None:
        """Tell of entries before their numbers are used."""
        entries = self._sink.entries
        used = np.unique(numbers[numbers >= 0])
        if len(entries) > len(self._known_entries):
            self._known_entries = np.pad(self._known_entries, (0, 2 * len(entries) - len(self._known_entries)))
        new = used[~self._known_entries[used]]
        if len(new):
            self._known_entries[new] = True
            told = [[number, *wire.entry_fields(entries[number])] for number in new.tolist()]
            self._write(Kind.ENTRIES, wire.encode_json(told))

    def _write(self, kind: Kind, body: bytes = b"") -> None:
        """Append a record, and before it the ports, where they have changed."""
        if self._file is None:
            return
        if self._sink.ports != self._ports:
            self._ports = dict(self._sink.ports)
            told = {name: _fields(port) for name, port in self._ports.items()}
            self._append_record(Kind.PORTS, wire.encode_json(told))
        self._append_record(kind, body)

    def _append_record(self, kind: Kind, body: bytes) -> None:
        at_ms = int((time.monotonic() - self._began) * 1000)
        data = wire.encode(Record(kind, at_ms, body))
        if len(data) + _END_BYTES <= self._left_bytes:
            self._append(data)
        elif self._file is not None:
            self._append(wire.encode(Record(Kind.FULL, at_ms)))
            log.warning("journal.filled", file=str(self._path))
            self.close()

    def _append(self, data: bytes) -> None:
        if self._file is None:
            return
        self._left_bytes -= len(data)
        try:
            written = self._file.write(data)
            if written != len(data):
                raise OSError(f"{written} of {len(data)} bytes were taken")
        except OSError as error:
            log.error("journal.write_failed", file=str(self._path), reason=str(error))
            self.close()


def _for_the_group(path: str, flags: int) -> int:
    return os.open(path, flags, 0o640)


def _fields(port: Port) -> list[Any]:
    return [
        port.interface, port.up, port.link_up, port.mac.hex(), port.mtu, port.parent, port.tags, port.kind, port.owner,
        port.link,
    ]  # fmt: skip


def port_of(name: str, fields: list[Any]) -> Port:
    """Return a port as the journal tells of it."""
    interface, up, link_up, mac, mtu, parent, tags, *more = fields  # a journal of an earlier version has no more
    kind, owner, link = more or (PortKind.PHYSICAL, "", None)
    stack = tuple(VlanTag(*tag) for tag in tags)
    host = None if link is None else HostLink(*link)
    return Port(name, interface, up, link_up, bytes.fromhex(mac), mtu, parent, stack, PortKind(kind), owner, host)
