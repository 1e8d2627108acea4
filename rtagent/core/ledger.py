"""What is installed, row by row, beside what is wanted: the decision, its plan, and the answers.

The ledger's columns stand beside the Rib's, joined by row number. ``decide`` compares wanted with installed for the
touched rows or for all of them; it is one function for a lone route, an overflow and a restart. What the data plane
answers goes into ``record``; what it holds when we connect goes into ``load``.

A row of the data plane that belongs to a stronger source (an interface's own prefix, an operator's static route)
*shadows* ours: we do not write under it, and look again now and then whether it is still there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rtagent.core.keytable import Rows, grown
from rtagent.core.resolve import Resolver
from rtagent.core.rib import Rib
from rtagent.core.sink import Plan
from rtagent.vector.fib import NO_ENTRY, RESERVED_TABLES, FibVector, State
from rtagent.vector.keys import AF_INET6, FAMILY_NAMES, Keys
from rtagent.vector.nexthops import NO_GROUP
from rtagent.vector.routes import RTPROT_KERNEL, TOS_LOCAL_TABLE

_NOT_REFUSED = -2
"""In the column of refused entries: no write of this row was refused (NO_ENTRY there: a removal was)."""

_FIRST_RESERVED = min(RESERVED_TABLES) << 16
"""No key of a table before the first reserved one is as great (``Keys.meta``)."""
_FEW = 32
"""So many rows are sooner decided one by one."""
_ABSENT, _PENDING, _INSTALLED = int(State.ABSENT), int(State.PENDING), int(State.INSTALLED)

Wanted: TypeAlias = tuple[int, int, int]
"""What a row is to hold (NO_ENTRY: nothing), its state and its reason by number."""
_NOTHING: Wanted = (NO_ENTRY, _ABSENT, 0)


class Decision(NamedTuple):
    """Rows to write and the plan for them, in the same order: changes and additions first, then removals."""

    rows: Rows
    plan: Plan


class Foreign(NamedTuple):
    """A row of a source that is stronger than ours."""

    source: str
    entry: int


class Ledger:
    """Installed entries with state and reason per row of the Rib's table."""

    def __init__(self, rib: Rib, resolver: Resolver) -> None:
        self._rib = rib
        self._resolver = resolver
        self.installed = np.empty(16, np.int32)
        self.state = np.empty(16, np.uint8)
        self.foreign: dict[int, Foreign] = {}
        """Rows that a stronger source holds, as far as we know."""
        self._reason = np.empty(16, np.int32)
        self._refused = np.empty(16, np.int32)
        self._in_flight = np.empty(16, bool)
        self._again = np.empty(16, bool)
        self._shadowed = np.empty(16, bool)
        self._initialised = 0
        self._withheld: list[Rows] = []

    def forget_installed(self) -> None:
        """The connection is gone: nothing is known to be installed, nothing is in flight."""
        self._initialise()
        self.installed[:] = NO_ENTRY
        self._refused[:] = _NOT_REFUSED
        self._in_flight[:] = self._again[:] = self._shadowed[:] = False
        self.foreign.clear()
        self._withheld = []
        self._rib.touch_all()

    def load(
        self, held: FibVector, own_source: int, outranks: Callable[[int], bool], source_name: Callable[[int], str]
    ) -> None:
        """Take what the data plane holds: our rows as installed, those of stronger sources as shadows."""
        own = held.source == own_source
        rows = self._rows(held, own)
        self.installed[rows] = held.entry[own]
        stronger = np.zeros(256, bool)
        for source in np.unique(held.source[~own]).tolist():
            stronger[source] = outranks(source)
        shadows = ~own & stronger[held.source]
        rows = self._rows(held, shadows)
        self._shadowed[rows] = True
        self._rib.touch(rows)
        for row, source, entry in zip(
            rows.tolist(), held.source[shadows].tolist(), held.entry[shadows].tolist(), strict=True
        ):
            self.foreign[row] = Foreign(source_name(source), entry)

    def forget(self, rows: Rows) -> None:
        """What the data plane holds of these rows is not known any more: look, and ``load`` them again."""
        self.installed[rows] = NO_ENTRY
        self._shadowed[rows] = self._in_flight[rows] = False
        for row in rows.tolist():
            self.foreign.pop(row, None)

    def unshadow(self, rows: Rows) -> None:
        """The stronger source has let go of these rows."""
        self._shadowed[rows] = False
        for row in rows.tolist():
            self.foreign.pop(row, None)
        self._rib.touch(rows)

    def decide(self, rows: Rows | None, *, may_remove: bool) -> Decision:
        """Return what to write so that these rows (None: all) hold what is wanted, and set their states.

        Rows in flight wait for their answer; a refused row waits until another entry is wanted or ``retry``; a removal
        that is not allowed yet waits for ``release``.
        """
        self._initialise()
        if rows is None:
            rows = np.arange(self._rib.table.size, dtype=np.int32)
        elif len(rows) <= _FEW and may_remove and (plain := self._plainly_wanted(rows)) is not None:
            return self._decide_one_by_one(rows, plain)
        wanted, state, reason = self.wanted(rows)
        differs, removal = wanted != self.installed[rows], wanted == NO_ENTRY
        refused = differs & (self._refused[rows] == wanted)
        write = differs & ~refused
        in_flight = self._in_flight[rows]
        if in_flight.any():
            self._again[rows[in_flight]] = True  # also where nothing differs: the answer under way may change that
            write &= ~in_flight
        removes = bool(removal.any())
        if removes and not may_remove:
            self._withheld.append(rows[write & removal])
            write &= ~removal

        state[~(removal | differs)] = State.INSTALLED
        if removes:
            state[differs & removal & (state == State.ABSENT)] = State.PENDING
        if refused.any():
            decided = ~refused
            self.state[rows[decided]], self._reason[rows[decided]] = state[decided], reason[decided]
        else:
            self.state[rows], self._reason[rows] = state, reason

        chosen = np.flatnonzero(write)
        if removes:
            chosen = chosen[np.argsort(removal[chosen], kind="stable")]
        target = rows[chosen]
        self._refused[target], self._in_flight[target] = _NOT_REFUSED, True
        return Decision(target, Plan(self._rib.table.keys.take(target), wanted[chosen]))

    def _plainly_wanted(self, rows: Rows) -> list[Wanted] | None:
        """Return what ``wanted`` does, one by one; None unless all are ordinary routes with nothing in their way.

        A few rows nearly always are, and are sooner looked at than columns of them are made (decision 0015).
        """
        rib, resolve, local_entry = self._rib, self._resolver.resolve_row, self._resolver.local_entry
        group_of, tos_of, meta_of = rib.group.item, rib.tos.item, rib.table.keys.meta.item
        refused, in_flight, shadowed = self._refused.item, self._in_flight.item, self._shadowed.item
        found: list[Wanted] = []
        for row in rows.tolist():
            if in_flight(row) or shadowed(row) or refused(row) != _NOT_REFUSED:
                return None
            group, meta = group_of(row), meta_of(row)
            if group == NO_GROUP:
                found.append(_NOTHING)
                continue
            family = meta >> 8 & 0xFF
            if tos_of(row) or meta >= _FIRST_RESERVED or (family == AF_INET6 and (rib.covers or rib.divided)):
                return None
            wanted = resolve(family, group)
            if wanted[0] == local_entry:
                return None
            found.append(wanted)
        return found

    def _decide_one_by_one(self, rows: Rows, plain: list[Wanted]) -> Decision:
        """Return the decision on rows of which no more is to be considered, and set their states."""
        installed = self.installed.item
        changes, removals, states = [], [], []
        for row, (entry, state, _) in zip(rows.tolist(), plain, strict=True):
            differs = entry != installed(row)
            if entry != NO_ENTRY:
                states.append(state if differs else _INSTALLED)
                if differs:
                    changes.append((row, entry))
            else:
                states.append(_PENDING if differs and state == _ABSENT else state)
                if differs:
                    removals.append((row, entry))
        self.state[rows], self._reason[rows] = states, [reason for _, _, reason in plain]
        chosen = np.array(changes + removals, np.int32).reshape(-1, 2)
        target = chosen[:, 0]
        self._in_flight[target] = True
        return Decision(target, Plan(self._rib.table.keys.take(target), chosen[:, 1]))

    def release(self) -> None:
        """Removals are allowed from now on: have the rows decided again whose removal was held back."""
        for rows in self._withheld:
            self._rib.touch(rows)
        self._withheld = []

    def record(self, decision: Decision, retval: NDArray[np.int32], error_text: Callable[[int], str]) -> int:
        """Note the answers to a plan; return how many rows were refused."""
        rows, entry = decision.rows, decision.plan.entry
        self._in_flight[rows] = False
        again, gone = self._again[rows], entry == NO_ENTRY
        if not (retval.any() or again.any()):
            self.installed[rows] = entry
            self.state[rows] = np.where(gone, _ABSENT, _INSTALLED)
            if gone.any():
                self._rib.touch(rows[gone])
            return 0
        done = retval == 0
        self.installed[rows[done]] = entry[done]
        settled = done & ~again
        self.state[rows[settled]] = np.where(gone[settled], _ABSENT, _INSTALLED)
        self.state[rows[again]] = State.PENDING  # whatever it was decided to be, that was beside the older write
        self._rib.touch(rows[again | (done & gone)])
        self._again[rows] = False
        refused = np.flatnonzero(~done)
        for at in refused.tolist():
            row = int(rows[at])
            self._refused[row] = entry[at]
            self.state[row] = State.REJECTED
            text = f"{int(retval[at])}: {error_text(int(retval[at]))}"
            self._reason[row] = self._resolver.reason_number(f"rejected {text}")
        return len(refused)

    def retry(self) -> None:
        """Write refused rows again: what they depend on may have changed, or their time has come."""
        self._initialise()
        rows = np.flatnonzero(self._refused[: self._rib.table.size] != _NOT_REFUSED).astype(np.int32)
        self._refused[rows] = _NOT_REFUSED
        self._rib.touch(rows)

    @property
    def refused_count(self) -> int:
        """How many rows wait after a refusal."""
        self._initialise()
        return int(np.count_nonzero(self._refused[: self._rib.table.size] != _NOT_REFUSED))

    def shadowed_rows(self) -> Rows:
        """Return the rows that the kernel wants and a stronger source holds."""
        self._initialise()
        size = self._rib.table.size
        return np.flatnonzero(self._shadowed[:size] & (self._rib.group[:size] != NO_GROUP)).astype(np.int32)

    def unsettled(self, rows: Rows | None = None) -> Rows:
        """Return which of these rows (None: all) still wait for a write or an answer, refused ones included."""
        self._initialise()
        if rows is None:
            rows = np.arange(self._rib.table.size, dtype=np.int32)
        state = self.state[rows]
        waiting: Rows = rows[(state == State.PENDING) | (state == State.REJECTED) | self._in_flight[rows]]
        return waiting

    def reason(self, row: int) -> str:
        """Return why a row is in its state, empty where there is nothing to say."""
        return self._resolver.reasons[int(self._reason[row])]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of rows by (state, family), in the words of the contract."""
        self._initialise()
        size = self._rib.table.size
        both = self.state[:size].astype(np.int64) << 8 | self._rib.table.keys.family.astype(np.int64)
        numbers, counts = np.unique(both[self._rib.table.live()], return_counts=True)
        return {
            (State(number >> 8).name.lower(), FAMILY_NAMES[number & 0xFF]): count
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
            if number >> 8 != State.ABSENT
        }

    def forget_absent(self) -> None:
        """Free the rows that nobody wants and nobody holds, when they are many. Nothing may be touched or in flight."""
        self._initialise()
        size = self._rib.table.size
        used = self._rib.group[:size] != NO_GROUP
        used |= (self.installed[:size] != NO_ENTRY) | self._in_flight[:size] | self._shadowed[:size]
        if 4 * np.count_nonzero(used) < 3 * len(self._rib.table):
            self._rib.table.keep(used)
            self.state[:size][~used] = State.ABSENT
            self._refused[:size][~used] = _NOT_REFUSED

    def wanted(self, rows: Rows) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int32]]:
        """Return what these rows are to hold (NO_ENTRY: nothing), with state and reason number."""
        self._initialise()
        group = self._rib.group[rows]
        present = group != NO_GROUP
        if present.all():
            return self._wanted(rows, group)
        wanted = np.full(len(rows), NO_ENTRY, np.int32)
        state = np.full(len(rows), State.ABSENT, np.uint8)
        reason = np.zeros(len(rows), np.int32)
        if present.any():
            wanted[present], state[present], reason[present] = self._wanted(rows[present], group[present])
        return wanted, state, reason

    def _wanted(
        self, rows: Rows, group: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.int32]]:  # fmt: skip
        """Return what rows are to hold for which the kernel has routes."""
        rib = self._rib
        meta, tos = rib.table.keys.meta[rows], rib.tos[rows]
        family = (meta >> np.uint64(8)) & np.uint64(0xFF)
        wanted, state, reason = self._resolver.resolve_rows(family, group)
        own = wanted == self._resolver.local_entry
        if own.any():
            own &= rib.protocol[rows] == RTPROT_KERNEL
            wanted[own], state[own] = NO_ENTRY, State.ABSENT  # the address of an interface: its pair has it, too
        for cover in rib.covers if (family == AF_INET6).any() else ():
            hidden = (tos != TOS_LOCAL_TABLE) & cover.covered(rib.table.keys.take(rows))
            wanted[hidden], state[hidden] = NO_ENTRY, State.SHADOWED
            reason[hidden] = self._resolver.reason_number(f"shadowed by the local route {cover.text}")
        if rib.divided:
            hidden = (tos != TOS_LOCAL_TABLE) & np.isin(rows, rib.table.find(Keys.of(rib.divided)))
            wanted[hidden], state[hidden] = NO_ENTRY, State.SHADOWED
            reason[hidden] = self._resolver.reason_number("shadowed by a source-specific route of the same prefix")
        if tos.any():
            by_tos = (tos != 0) & (tos != TOS_LOCAL_TABLE)
            wanted[by_tos], state[by_tos] = NO_ENTRY, State.UNSUPPORTED
            for at in np.flatnonzero(by_tos).tolist():
                reason[at] = self._resolver.reason_number(f"only for tos {int(tos[at]):#04x}")
        reserved = meta >= np.uint64(_FIRST_RESERVED)
        if reserved.any():
            for table, meaning in RESERVED_TABLES.items():
                there = reserved & (meta >> np.uint64(16) == table)
                wanted[there], state[there] = NO_ENTRY, State.UNSUPPORTED
                reason[there] = self._resolver.reason_number(f"table {table} is {meaning}")
        shadowed = self._shadowed[rows]
        if shadowed.any():
            shadowed &= wanted != NO_ENTRY
            wanted[shadowed], state[shadowed] = NO_ENTRY, State.SHADOWED
            for at in np.flatnonzero(shadowed).tolist():
                source = self.foreign[int(rows[at])].source
                reason[at] = self._resolver.reason_number(f"shadowed by {source}")
        return wanted, state, reason

    def _rows(self, held: FibVector, which: NDArray[np.bool_]) -> Rows:
        rows = self._rib.rows_of(held.keys.take(which))
        self._initialise()
        return rows

    def _initialise(self) -> None:
        size = self._rib.table.size
        if size == self._initialised:
            return
        if size > len(self.installed):
            self.installed, self._refused = grown(self.installed, size), grown(self._refused, size)
            self.state, self._reason = grown(self.state, size), grown(self._reason, size)
            self._in_flight, self._again = grown(self._in_flight, size), grown(self._again, size)
            self._shadowed = grown(self._shadowed, size)
        new = slice(self._initialised, size)
        self.installed[new], self._refused[new] = NO_ENTRY, _NOT_REFUSED
        self.state[new], self._reason[new] = State.ABSENT, 0
        self._in_flight[new] = self._again[new] = self._shadowed[new] = False
        self._initialised = max(size, self._initialised)
