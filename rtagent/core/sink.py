"""What the agent asks of a data plane: read what is there, install a plan, answer per row.

Every sink (the memory FIB, VPP) passes one contract suite (tests/contract). A refused row is a value in the answer,
a lost connection is an exception, and nothing in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rtagent.core.failures import Disconnected as Disconnected
from rtagent.core.failures import VersionMismatch as VersionMismatch
from rtagent.vector.fib import FibEntries, FibVector
from rtagent.vector.keys import Keys, Selection
from rtagent.vector.links import Neighbor
from rtagent.vector.objects import Held, ObjectAnswer, ObjectChange, ObjectKey
from rtagent.vector.ports import Port
from rtagent.vector.punt import LocalAddress, PuntCounts


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows to write: for each key the entry it is to have, NO_ENTRY to remove it. Keys are unique within a plan."""

    keys: Keys
    entry: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.entry)

    def take(self, rows: Selection) -> Plan:
        """Return these rows, in this order."""
        return Plan(self.keys.take(rows), self.entry[rows])


class FibSink(Protocol):
    """A data plane. Entry ids are ids in ``entries``; tables are the kernel's numbers (the sink maps main to VPP's 0).

    ``apply`` and ``read`` may be in flight several at a time; plans take effect in the order of their calls.
    """

    entries: FibEntries
    on_ports_changed: Callable[[], None]
    """Called when an interface came, went or changed; whoever connects may set it."""
    on_object_heard: Callable[[ObjectKey, Held | None], None]
    """Called with an object that the data plane says it holds so, or (None) no more; after writes of ours, too."""

    @property
    def own_source(self) -> int:
        """The number in ``FibVector.source`` that marks our own rows."""

    @property
    def bulk(self) -> bool:
        """Whether the connected data plane takes rows by the thousand, not one by one (VPP with our plugin)."""

    @property
    def can_pair(self) -> bool:
        """Whether the data plane that we were last connected to takes over links of the kernel (VPP with linux_cp)."""

    @property
    def plugins(self) -> frozenset[str]:
        """The plugins of the connected data plane that punting depends on or suffers from, by VPP's names."""

    @property
    def ports(self) -> Mapping[str, Port]:
        """The data plane's interfaces by name, as they were when we connected; ``wait_lost`` keeps them up to date."""

    def source_name(self, source: int) -> str:
        """Return the name of a source number ("interface", "CLI", …)."""

    def outranks(self, source: int) -> bool:
        """Whether rows of this source win over ours for the same prefix."""

    async def connect(self, *, read_only: bool = False) -> None:
        """Connect, check versions, find our source, or make it unless ``read_only``.

        Raises Disconnected or VersionMismatch; may be retried.
        """

    async def wait_lost(self) -> None:
        """Follow interfaces and objects, and return when the connection is lost."""

    async def refresh(self) -> None:
        """Read the interfaces anew: afterwards ``ports`` are no older than the call. Raises Disconnected."""

    def read(self) -> AsyncIterator[FibVector]:
        """Yield every row of every table that a route may forward by, ours and others', in batches."""

    async def apply(self, plan: Plan) -> NDArray[np.int32]:
        """Install the plan; return 0 or a negative error per row, in the plan's order. Raises Disconnected."""

    async def objects(self) -> Mapping[ObjectKey, Held]:
        """Return every object of the kinds that this data plane knows, ours and others'. Raises Disconnected."""

    async def write(self, change: ObjectChange) -> ObjectAnswer:
        """Make, change or remove an object. Several may be in flight. Raises Disconnected."""

    async def write_all(self, changes: Sequence[ObjectChange]) -> list[ObjectAnswer]:
        """Write changes none of which depends on another, faster than one by one. Raises Disconnected."""

    async def lookup(self, keys: Keys) -> FibVector:
        """Return the exact rows at ``keys`` as the data plane holds them now; keys that are not there are left out."""

    async def neighbors(self, interfaces: Collection[int]) -> Mapping[tuple[int, bytes], Neighbor] | None:
        """Return the data plane's neighbours on these interfaces, by (interface, address).

        Their ``ifindex`` is the data plane's interface. None where it has no neighbours of its own: the kernel's count.
        """

    async def local_addresses(self, keys: Collection[LocalAddress]) -> set[LocalAddress]:
        """Return which of these the data plane holds for us: cheap, where ``objects`` knows them after a ``read`` only.

        Raises Disconnected.
        """

    async def punt_counts(self, addresses: Collection[LocalAddress]) -> PuntCounts | None:
        """Return how much was punted, to these addresses and in all; None where that is not counted, or not told.

        Raises Disconnected.
        """

    def error_text(self, retval: int) -> str:
        """Return the data plane's own words for a negative answer."""

    async def close(self) -> None:
        """Let go of the connection; the data plane keeps forwarding."""
