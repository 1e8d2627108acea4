"""The memory FIB of a running agent, as seen through its control socket."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rtagent.agent.asking import RequestRefused, Unreachable, ask
from rtagent.core.sink import Disconnected, Plan
from rtagent.vector.fib import FibEntries, FibVector
from rtagent.vector.keys import Keys
from rtagent.vector.objects import Held, ObjectAnswer, ObjectChange, ObjectKey
from rtagent.vector.ports import Port
from rtagent.vector.punt import LocalAddress
from rtagent.wire.journal import entry_fields, entry_of


def packed(held: FibVector, entries: FibEntries) -> dict[str, Any]:
    """Return FIB rows for the socket: columns in base64, and the entries that they refer to."""
    columns: dict[str, NDArray[Any]] = {
        "hi": held.keys.hi,
        "lo": held.keys.lo,
        "meta": held.keys.meta,
        "source": held.source,
    }
    used, entry = np.unique(held.entry, return_inverse=True)
    message = {name: _text(column) for name, column in columns.items()}
    message["entry"] = _text(entry.astype(np.int32))
    return message | {"entries": [entry_fields(entries[number]) for number in used.tolist()]}


def _text(column: NDArray[Any]) -> str:
    return base64.b64encode(column.tobytes()).decode()


def unpacked(message: Mapping[str, Any], entries: FibEntries) -> FibVector:
    """Return the rows of ``packed``, their entries interned in ``entries``."""

    def column(name: str, dtype: type) -> NDArray[Any]:
        return np.frombuffer(base64.b64decode(message[name]), dtype)

    known = np.array([entries.intern(entry_of(entry)) for entry in message["entries"]], np.int32)
    keys = Keys(column("hi", np.uint64), column("lo", np.uint64), column("meta", np.uint64))
    return FibVector(keys, known[column("entry", np.int32)], column("source", np.uint8))


class RemoteFib:
    """A FibSink that only reads: the memory FIB of a running agent."""

    def __init__(self, path: str, entries: FibEntries) -> None:
        self.entries = entries
        self.on_ports_changed: Callable[[], None] = lambda: None
        self.on_object_heard: Callable[[ObjectKey, Held | None], None] = lambda key, held: None
        self._path = path
        self._own_source = -1
        self._ports: dict[str, Port] = {}
        self._sources: dict[int, str] = {}

    @property
    def own_source(self) -> int:
        """The number that marks the agent's rows."""
        return self._own_source

    @property
    def plugins(self) -> frozenset[str]:
        """Whoever only reads punts nothing."""
        return frozenset()

    @property
    def bulk(self) -> bool:
        """Whether rows are written in bulk: none is written here."""
        return False

    @property
    def can_pair(self) -> bool:
        """Whether links of the kernel are taken over: its interfaces are no more than names."""
        return False

    @property
    def ports(self) -> Mapping[str, Port]:
        """The interfaces at the time of ``connect``."""
        return self._ports

    def source_name(self, source: int) -> str:
        """Return the name of a source number."""
        return self._sources.get(source, f"source {source}")

    def outranks(self, source: int) -> bool:
        """Every foreign source of a memory FIB is stronger than the agent's."""
        return source != self._own_source

    async def connect(self, *, read_only: bool = False) -> None:
        """Ask the agent for its ports. Raises Disconnected where no agent answers, or it has no memory FIB."""
        assert read_only
        async for message in self._ask("ports"):
            self._own_source = message["own_source"]
            self._sources = {int(number): name for number, name in message["sources"].items()}
            self._ports = {name: Port(name, interface, up) for name, interface, up in message["ports"]}

    async def wait_lost(self) -> None:
        """Nothing is held open: never returns."""
        await asyncio.Event().wait()

    async def refresh(self) -> None:
        """They stay what ``connect`` found."""

    async def read(self) -> AsyncIterator[FibVector]:
        """Yield every row."""
        async for message in self._ask("read"):
            yield unpacked(message, self.entries)

    async def apply(self, plan: Plan) -> NDArray[np.int32]:
        """Not from here: only the agent writes its FIB."""
        raise Disconnected("the memory FIB can only be read from outside the agent")

    async def objects(self) -> Mapping[ObjectKey, Held]:
        """None: a memory FIB takes every object as it is wanted, so there is nothing to compare."""
        return {}

    async def write(self, change: ObjectChange) -> ObjectAnswer:
        """Not from here, as with ``apply``."""
        raise Disconnected("the memory FIB can only be read from outside the agent")

    async def write_all(self, changes: Sequence[ObjectChange]) -> list[ObjectAnswer]:
        """Not from here, as with ``apply``."""
        return [await self.write(change) for change in changes]

    async def lookup(self, keys: Keys) -> FibVector:
        """Return the exact rows at ``keys``."""
        wanted = set(keys)
        parts = []
        async for held in self.read():
            parts.append(held.take(np.array([key in wanted for key in held.keys], bool)))
        return FibVector.concat(parts)

    async def neighbors(self, interfaces: Collection[int]) -> None:
        """There are none but the kernel's."""

    async def local_addresses(self, keys: Collection[LocalAddress]) -> set[LocalAddress]:
        """They are not told."""
        return set()

    async def punt_counts(self, addresses: Collection[LocalAddress]) -> None:
        """There are no packets to count."""

    def error_text(self, retval: int) -> str:
        """Nothing is written from here, so nothing is refused."""
        return f"error {retval}"

    async def close(self) -> None:
        """Nothing is held open."""

    async def _ask(self, command: str) -> AsyncIterator[dict[str, Any]]:
        try:
            async for message in ask(self._path, command):
                yield message
        except (Unreachable, RequestRefused) as error:
            raise Disconnected(f"the memory FIB lives in the agent. {error}") from None
