"""The memory FIB: VPP's semantics in this process, for routers without VPP (shadow mode) and as the fast sink of tests.

Sources, their priorities and the errors are VPP's (vnet/fib/fib_source.h, vnet/api_errno.h): a prefix may be held by
several sources, the strongest one forwards; a path through an interface that does not exist is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rtagent.core.keytable import KeyTable, Rows, grown
from rtagent.core.sink import Disconnected, Plan
from rtagent.vector.fib import EMPTY_FIB, NO_ENTRY, FibEntries, FibEntry, FibVector
from rtagent.vector.keys import ADDRESS_BITS, Key, Keys
from rtagent.vector.objects import Held, ObjectAnswer, ObjectChange, ObjectKey, Stage
from rtagent.vector.ports import NO_INTERFACE, Port
from rtagent.vector.punt import LocalAddress

SOURCES = {3: "interface", 8: "API", 9: "CLI"}
"""Numbers and names of foreign sources, all stronger than ours."""
OWN_SOURCE = 24

NO_MATCHING_INTERFACE = -2
_FIRST_MADE_INTERFACE = 1 << 30
"""Interfaces that are made as objects are numbered from here on, far from any ifindex."""
_READ_ROWS = 65_536


class MemoryFib:
    """A FibSink in memory. It starts without ports: ``set_ports`` says which interfaces exist."""

    def __init__(self, entries: FibEntries) -> None:
        self.entries = entries
        self.on_ports_changed: Callable[[], None] = lambda: None
        self.on_object_heard: Callable[[ObjectKey, Held | None], None] = lambda key, held: None
        self._ports: Mapping[str, Port] = {}
        self._table = KeyTable()
        self._entry = np.empty(16, np.int32)
        self._initialised = 0
        self._foreign: dict[Key, tuple[int, int]] = {}
        self._usable: list[bool] = []
        self._removed = 0
        self._objects: dict[ObjectKey, Held] = {}
        self._made_interfaces = 0
        self._lost = asyncio.Event()

    @property
    def own_source(self) -> int:
        """The number that marks our rows."""
        return OWN_SOURCE

    @property
    def bulk(self) -> bool:
        """Whether rows go thousands at a time over a wire: there is none."""
        return False

    @property
    def can_pair(self) -> bool:
        """Whether links of the kernel are taken over: its interfaces are no more than names."""
        return False

    @property
    def plugins(self) -> frozenset[str]:
        """Those of a VPP that can do all that is asked of it."""
        return frozenset(("linux_cp", "policer"))

    @property
    def ports(self) -> Mapping[str, Port]:
        """The interfaces that exist."""
        return self._ports

    def set_ports(self, ports: Mapping[str, Port]) -> None:
        """Say which interfaces exist from now on."""
        self._ports = ports
        self._usable = []

    def source_name(self, source: int) -> str:
        """Return the name of a source number."""
        return SOURCES.get(source, "rtagent" if source == OWN_SOURCE else f"source {source}")

    def outranks(self, source: int) -> bool:
        """Every foreign source here is stronger than ours."""
        return source != OWN_SOURCE

    async def connect(self, *, read_only: bool = False) -> None:
        """There is nothing to connect to."""
        self._lost = asyncio.Event()

    async def wait_lost(self) -> None:
        """Return once ``close`` was called."""
        await self._lost.wait()

    async def refresh(self) -> None:
        """They are what ``set_ports`` said."""

    async def read(self) -> AsyncIterator[FibVector]:
        """Yield every row, ours and others'."""
        rows = np.flatnonzero(self._held()).astype(np.int32)
        for start in range(0, len(rows), _READ_ROWS):
            yield self._winning(rows[start : start + _READ_ROWS])
        alone = [key for key in self._foreign if not self._holds(key)]
        if alone:
            yield self._foreign_rows(alone)

    async def apply(self, plan: Plan) -> NDArray[np.int32]:
        """Install the plan; a path through an interface that does not exist is refused with -2."""
        if self._lost.is_set():
            raise Disconnected("the memory FIB was closed")
        self._update_usable()
        usable = np.array([*self._usable, True], bool)  # NO_ENTRY is -1: removals are always possible
        accepted = usable[plan.entry]
        adding = accepted & (plan.entry != NO_ENTRY)
        rows = self._rows(plan.keys.take(adding))
        self._entry[rows] = plan.entry[adding]
        removed = self._table.find(plan.keys.take(accepted & ~adding))
        self._entry[removed[removed >= 0]] = NO_ENTRY
        self._removed += len(removed)
        if 2 * self._removed > len(self._table) + 1024:
            self._table.keep(self._held())
            self._removed = 0
        return np.where(accepted, 0, NO_MATCHING_INTERFACE).astype(np.int32)

    async def objects(self) -> Mapping[ObjectKey, Held]:
        """Return every object that was written."""
        return dict(self._objects)

    async def write(self, change: ObjectChange) -> ObjectAnswer:
        """Take the change; there is nothing that could refuse it."""
        if self._lost.is_set():
            raise Disconnected("the memory FIB was closed")
        self._usable = []
        before = self._objects.pop(change.key, Held(None))
        if change.after is None:
            gone = before.interface
            if gone != NO_INTERFACE:
                self._objects = {key: held for key, held in self._objects.items() if _interface(key) != gone}
            return ObjectAnswer(0)
        interface = before.interface
        if change.key.stage is Stage.INTERFACE and interface == NO_INTERFACE:
            interface = _FIRST_MADE_INTERFACE + self._made_interfaces
            self._made_interfaces += 1
        self._objects[change.key] = Held(change.after, interface)
        return ObjectAnswer(0, interface)

    async def write_all(self, changes: Sequence[ObjectChange]) -> list[ObjectAnswer]:
        """Take the changes."""
        return [await self.write(change) for change in changes]

    async def lookup(self, keys: Keys) -> FibVector:
        """Return the exact rows at ``keys``."""
        rows = self._table.find(keys)
        present = rows >= 0
        present[present] &= self._held()[rows[present]]
        alone = [key for key in keys if key in self._foreign and not self._holds(key)]
        return FibVector.concat([self._winning(rows[present]), self._foreign_rows(alone)])

    def match(self, table: int, family: int, bits: int) -> tuple[Key, FibEntry] | None:
        """Return the longest prefix that covers an address (left-aligned ``bits``), and its entry."""
        keys = Key(table, family, bits, ADDRESS_BITS[family]).covering()
        rows = self._table.find(Keys.of(keys)).tolist()
        for key, row in zip(keys, rows, strict=True):
            if key in self._foreign:
                return key, self.entries[self._foreign[key][1]]
            if row >= 0 and self._entry[row] != NO_ENTRY:
                return key, self.entries[int(self._entry[row])]
        return None

    async def neighbors(self, interfaces: Collection[int]) -> None:
        """There are none but the kernel's."""

    async def local_addresses(self, keys: Collection[LocalAddress]) -> set[LocalAddress]:
        """Return which of these were written."""
        return {key for key in keys if key in self._objects}

    async def punt_counts(self, addresses: Collection[LocalAddress]) -> None:
        """There are no packets to count."""

    def error_text(self, retval: int) -> str:
        """Return VPP's words for a negative answer."""
        return "no matching interface" if retval == NO_MATCHING_INTERFACE else "unknown error"

    async def close(self) -> None:
        """Let go."""
        self._lost.set()

    def add_foreign(self, key: Key, entry: FibEntry, source: int) -> None:
        """Install a row of another source, as an operator or an interface would."""
        self._foreign[key] = (source, self.entries.intern(entry))

    def remove_foreign(self, key: Key) -> None:
        """Remove the row of another source; ours, if there is one, forwards again."""
        del self._foreign[key]

    def _update_usable(self) -> None:
        interfaces = {port.interface for port in self._ports.values()} | {NO_INTERFACE}
        interfaces |= {held.interface for held in self._objects.values()}
        for number in range(len(self._usable), len(self.entries)):
            paths = self.entries[number].paths
            self._usable.append(
                all(
                    path.interface in interfaces and (path.encap is None or path.encap in self._objects)
                    for path in paths
                )
            )

    def _holds(self, key: Key) -> bool:
        row = int(self._table.find(Keys.of([key]))[0])
        return row >= 0 and bool(self._entry[row] != NO_ENTRY)

    def _held(self) -> NDArray[np.bool_]:
        held: NDArray[np.bool_] = (self._entry[: self._table.size] != NO_ENTRY) & self._table.live()
        return held

    def _winning(self, rows: Rows) -> FibVector:
        keys, entry = self._table.keys.take(rows), self._entry[rows]
        source = np.full(len(rows), OWN_SOURCE, np.uint8)
        if self._foreign:
            for at, key in enumerate(keys):
                if key in self._foreign:
                    source[at], entry[at] = self._foreign[key]
        return FibVector(keys, entry, source)

    def _foreign_rows(self, keys: list[Key]) -> FibVector:
        if not keys:
            return EMPTY_FIB
        held = [self._foreign[key] for key in keys]
        return FibVector(
            Keys.of(keys),
            np.array([entry for _, entry in held], np.int32),
            np.array([source for source, _ in held], np.uint8),
        )

    def _rows(self, keys: Keys) -> Rows:
        rows = self._table.intern(keys)
        size = self._table.size
        if size > len(self._entry):
            self._entry = grown(self._entry, size)
        self._entry[self._initialised : size] = NO_ENTRY
        self._initialised = max(self._initialised, size)
        return rows


def _interface(key: ObjectKey) -> int | None:
    """Return the interface that an object is set on."""
    interface: int | None = getattr(key, "interface", None)
    return interface
