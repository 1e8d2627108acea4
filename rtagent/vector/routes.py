"""Routes in columns, and changes to them: a batch of any size is one value.

A ``RouteDelta`` is an ordered batch of operations on entries; ``fold`` appends a later batch and drops what it
makes invisible. Entries, not prefixes, are what the kernel talks about: a prefix can hold several, told apart by
tos and metric (and, rarely, only by their order).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.keys import EMPTY_KEYS, Keys, Selection

RTPROT_KERNEL = 2
RTPROT_RA = 9
"""linux/rtnetlink.h: routes that the kernel made of an address, and of a router advertisement."""

TOS_LOCAL_TABLE = 0xFF
"""In the column of tos: an entry of the local table, which the kernel looks up before main.

Its key is that of main, and it ranks before all of main's entries. No route can have this tos: the kernel refuses one
with ECN bits."""


class Op(IntEnum):
    """What a row of a delta does to the entries of its rank, that is of one (key, tos, metric)."""

    SET = 1
    """The rank holds exactly this entry (NLM_F_EXCL: there was none before)."""
    REPLACE = 2
    """This entry replaces the first one of its rank, or is added (NLM_F_REPLACE)."""
    APPEND = 3
    """Added behind the others of its rank (NLM_F_APPEND; IPv6: the full new set of nexthops)."""
    PREPEND = 4
    """Added before the others of its rank (NLM_F_CREATE alone)."""
    REMOVE = 5
    """This entry is gone (IPv4), or these nexthops of it are (IPv6)."""
    SEEN = 6
    """A dump shows this entry: it exists, and stays when the snapshot closes."""


@dataclass(frozen=True, slots=True)
class RouteVector:
    """Route entries in columns, all of one length."""

    keys: Keys
    metric: NDArray[np.uint32]
    tos: NDArray[np.uint8]
    protocol: NDArray[np.uint8]
    """rtm_protocol: who installed it (linux/rtnetlink.h, RTPROT_*)."""
    group: NDArray[np.int32]
    """Ids into the NexthopGroups that the batch was decoded with."""

    def __len__(self) -> int:
        return len(self.group)

    def take(self, rows: Selection) -> RouteVector:
        """Return the entries at ``rows`` (indices or a mask)."""
        return RouteVector(
            self.keys.take(rows), self.metric[rows], self.tos[rows], self.protocol[rows], self.group[rows]
        )

    @classmethod
    def concat(cls, parts: list[RouteVector]) -> RouteVector:
        """Return the parts one after the other."""
        if not parts:
            return EMPTY_ROUTES
        return cls(
            Keys.concat([part.keys for part in parts]),
            np.concatenate([part.metric for part in parts]),
            np.concatenate([part.tos for part in parts]),
            np.concatenate([part.protocol for part in parts]),
            np.concatenate([part.group for part in parts]),
        )


EMPTY_ROUTES = RouteVector(
    EMPTY_KEYS, np.empty(0, np.uint32), np.empty(0, np.uint8), np.empty(0, np.uint8), np.empty(0, np.int32)
)


@dataclass(frozen=True, slots=True)
class RouteDelta:
    """An ordered batch of operations; ``op[i]`` applies to ``routes`` row i."""

    routes: RouteVector
    op: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.op)

    def fold(self, later: RouteDelta) -> RouteDelta:
        """Return one delta with the effect of this one and then ``later``. Associative."""
        return self.folded([self, later])

    @classmethod
    def folded(cls, parts: Sequence[RouteBatch]) -> RouteDelta:
        """Return one delta with the effect of all parts, in their order.

        A ``SET`` says all there is to say about its rank, so whatever stands before it at that rank is dropped.
        """
        if not parts:
            return EMPTY_DELTA
        routes = RouteVector.concat([part.routes for part in parts])
        return cls(routes, np.concatenate([part.op for part in parts]))._without_overwritten()

    def _without_overwritten(self) -> RouteDelta:
        settled = self.op == Op.SET
        if len(self) < 2 or not settled.any():
            return self
        routes, keys = self.routes, self.routes.keys
        position = np.arange(len(self))
        order = np.lexsort((position, routes.metric, routes.tos, keys.lo, keys.hi, keys.meta))
        same = np.ones(len(self), bool)
        same[0] = False
        for column in (keys.meta, keys.hi, keys.lo, routes.tos, routes.metric):
            ordered = column[order]
            same[1:] &= ordered[1:] == ordered[:-1]
        rank = np.cumsum(~same) - 1
        last_set = np.full(int(rank[-1]) + 1, -1)
        settled_rows = settled[order]
        np.maximum.at(last_set, rank[settled_rows], position[order][settled_rows])
        kept = np.empty(len(self), bool)
        kept[order] = position[order] >= last_set[rank]
        return RouteDelta(routes.take(kept), self.op[kept])

    def one_by_one(self) -> FewRoutes:
        """Return the same in plain numbers."""
        keys, routes = self.routes.keys, self.routes
        columns = (keys.meta, routes.metric, routes.tos, routes.protocol, routes.group, self.op)
        operations = map(Operation, *(column.tolist() for column in columns))
        return FewRoutes([*zip(keys.hi.tolist(), keys.lo.tolist(), operations, strict=True)])


class Operation(NamedTuple):
    """What is done to an entry, whatever its address bits: the other columns of a row, as plain numbers."""

    meta: int
    metric: int
    tos: int
    protocol: int
    group: int
    op: int


class FewRoutes:
    """What a ``RouteDelta`` is, for a few rows that are met one by one: plain numbers instead of columns.

    ``rows`` are (upper address bits, lower address bits, operation). Who wants columns has them made.
    """

    __slots__ = ("rows",)

    def __init__(self, rows: list[tuple[int, int, Operation]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def routes(self) -> RouteVector:
        """The entries."""
        operations = [operation for _, _, operation in self.rows]
        keys = Keys(
            np.array([hi for hi, _, _ in self.rows], np.uint64),
            np.array([lo for _, lo, _ in self.rows], np.uint64),
            np.array([each.meta for each in operations], np.uint64),
        )
        return RouteVector(
            keys,
            np.array([each.metric for each in operations], np.uint32),
            np.array([each.tos for each in operations], np.uint8),
            np.array([each.protocol for each in operations], np.uint8),
            np.array([each.group for each in operations], np.int32),
        )

    @property
    def op(self) -> NDArray[np.uint8]:
        """What is done to each."""
        return np.array([operation.op for _, _, operation in self.rows], np.uint8)


RouteBatch: TypeAlias = RouteDelta | FewRoutes
"""An ordered batch of operations."""

EMPTY_DELTA = RouteDelta(EMPTY_ROUTES, np.empty(0, np.uint8))
