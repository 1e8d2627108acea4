"""Objects wanted and held, and the changes that make the two one: the ledger of what is not a route.

As with routes, a notification only says which objects to look at again; the change is decided between what is wanted
and what is held when it is written. A refused object waits, with its answer, and stops no other.

An object that is held and not wanted is removed only if it is ours: what others made in the data plane is none of our
business. Of some kinds an object itself tells whose it is (``own``); of others, which the data plane makes by itself,
too, one is ours that was wanted since it is there (``own_wanted``), and once it is gone the next one of its key is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from typing import NamedTuple, Protocol, TypeAlias

from rtagent.core.store import RowKey
from rtagent.vector.interfaces import AdminState
from rtagent.vector.neighbors import NeighborKey
from rtagent.vector.objects import Held, ObjectAnswer, ObjectChange, ObjectKey, Stage
from rtagent.vector.ports import NO_INTERFACE

Stages: TypeAlias = list[list[ObjectChange]]
"""Changes in the order of writing; those of one stage depend on no other of their stage."""
ChangedRows: TypeAlias = Mapping[type, Set[RowKey]]
"""Rows of the store that came, went or changed, by their type."""

_REMOVED_AFTER_ROUTES = (Stage.INTERFACE, Stage.TABLE)


class Changes(NamedTuple):
    """What to write before the routes of a round, and what after them."""

    before_routes: Stages
    after_routes: Stages


def _shut(removals: dict[Stage, list[ObjectChange]], additions: dict[Stage, list[ObjectChange]]) -> Stages:
    """Take out and return what shuts interfaces, and forgets who is behind them, so that routes are moved before.

    Else VPP first walks all routes through them (fib_walk_sync), with its workers held: 0.6 s for a million. Whoever
    pairs an interface copies its state: where pairs are made, nothing is put off.
    """
    if additions.keys() & {Stage.PAIR, Stage.SUB_PAIR}:
        return []
    downs = [c for c in additions[Stage.SETTING] if isinstance(c.key, AdminState) and c.before and not c.after]
    interfaces = {change.key.interface for change in downs if isinstance(change.key, AdminState)}

    def is_behind(change: ObjectChange) -> bool:
        return isinstance(change.key, NeighborKey) and change.key.interface in interfaces

    behind = [change for change in removals[Stage.NEIGHBOR] if is_behind(change)]
    additions[Stage.SETTING] = [change for change in additions[Stage.SETTING] if change not in downs]
    removals[Stage.NEIGHBOR] = [change for change in removals[Stage.NEIGHBOR] if not is_behind(change)]
    return [changes for changes in (behind, downs) if changes]


class Wants(Protocol):
    """Says what objects of its kinds are wanted: a pure function of the store, brought up to date by what changed."""

    def update(self, objects: Objects, changed: ChangedRows | None) -> None:
        """Call ``objects.want`` for what the changed rows touch, or ``want_all`` (None: anything may have changed)."""


class Objects:
    """Everything about the objects of a data plane."""

    def __init__(self) -> None:
        self.wanted: dict[ObjectKey, object] = {}
        self.held: dict[ObjectKey, Held] = {}
        self.refused: dict[ObjectKey, str] = {}
        """Why the data plane does not take an object, in its words."""
        self._touched: set[ObjectKey] = set()
        self._owns: dict[type, Callable[[ObjectKey], bool]] = {}
        self._claimed: set[ObjectKey] = set()
        """What is wanted, or was and is held still."""

    def own(self, kind: type, owns: Callable[[ObjectKey], bool]) -> None:
        """Say which objects of a kind are ours to remove. Of a kind without an owner none is."""
        self._owns[kind] = owns

    def own_wanted(self, kind: type) -> None:
        """Objects of a kind are ours to remove if they were wanted since they are there."""
        self._owns[kind] = self._claimed.__contains__

    def want(self, key: ObjectKey, value: object | None) -> None:
        """From now on the object is wanted like this, or (None) not at all."""
        if value is None:
            before = self.wanted.pop(key, None)
        else:
            before = self.wanted.get(key)
            self.wanted[key] = value
            self._claimed.add(key)
        if before != value:
            self.refused.pop(key, None)
            self._touched.add(key)

    def want_all(self, kind: type, wanted: Mapping[ObjectKey, object]) -> None:
        """From now on these objects of a kind are wanted, and no others."""
        for key in [key for key in self.wanted if type(key) is kind and key not in wanted]:
            self.want(key, None)
        for key, value in wanted.items():
            self.want(key, value)
        self._touched |= {key for key in self.held if type(key) is kind and key not in wanted}

    def load(self, held: Mapping[ObjectKey, Held]) -> None:
        """The data plane holds these objects: decide about all of them."""
        self.held = dict(held)
        self.refused.clear()
        self._touched = {*self.wanted, *self.held}
        self._claimed.intersection_update(self.wanted)

    def heard(self, key: ObjectKey, held: Held | None) -> None:
        """The data plane says that it holds an object like this, or (None) no more."""
        if held is None:
            self._gone(key)
        else:
            self.held[key] = held
        self._touched.add(key)

    def changes(self, *, may_remove: bool) -> Changes:
        """Take what was touched, and return what to write. Without ``may_remove`` removals are put off."""
        if not self._touched:
            return Changes([], [])
        removals: dict[Stage, list[ObjectChange]] = defaultdict(list)
        additions: dict[Stage, list[ObjectChange]] = defaultdict(list)
        put_off: set[ObjectKey] = set()
        for key in self._touched:
            wanted, held = self.wanted.get(key), self.held.get(key)
            before = None if held is None else held.value
            if wanted is held is None:
                self._claimed.discard(key)
            if wanted == before or key in self.refused:
                continue
            if wanted is not None:
                additions[key.stage].append(ObjectChange(key, before, wanted))
            elif not self._is_ours(key):
                continue
            elif may_remove:
                interface = NO_INTERFACE if held is None else held.interface
                removals[key.stage].append(ObjectChange(key, before, None, interface))
            else:
                put_off.add(key)
        self._touched = put_off
        shut = _shut(removals, additions)
        late = [removals.pop(stage) for stage in _REMOVED_AFTER_ROUTES if stage in removals]
        first = [removals[stage] for stage in sorted(removals, reverse=True) if removals[stage]]
        return Changes([*first, *(additions[stage] for stage in sorted(additions) if additions[stage])], shut + late)

    def record(self, change: ObjectChange, answer: ObjectAnswer, error_text: str) -> None:
        """The data plane answered."""
        key, after = change.key, change.after
        if answer.retval:
            self.refused[key] = error_text
            return
        self.refused.pop(key, None)
        before = self.held.get(key, Held(None))
        made = answer.interface != NO_INTERFACE
        if after is None:
            self._gone(key)
            self._forget_on(before.interface)
        else:
            if made and answer.interface != before.interface:
                self._forget_on(answer.interface)
            self.held[key] = Held(after, answer.interface if made else before.interface)
        if self.wanted.get(key) != after:
            self._touched.add(key)

    def retry(self) -> None:
        """Try the refused ones again: what they depend on may have changed."""
        self._touched |= self.refused.keys()
        self.refused.clear()

    def unsettled(self) -> set[ObjectKey]:
        """Return what is wanted and not held so, or held and ours and not wanted."""
        keys = {key for key, value in self.wanted.items() if key not in self.held or self.held[key].value != value}
        return keys | {key for key in self.held if key not in self.wanted and self._is_ours(key)}

    def of(self, kind: type) -> Iterable[ObjectKey]:
        """Return the keys of a kind, wanted or held."""
        return (key for key in {**self.wanted, **self.held} if type(key) is kind)

    @property
    def has_touched(self) -> bool:
        """Whether there is anything to decide about."""
        return bool(self._touched)

    def _gone(self, key: ObjectKey) -> None:
        self.held.pop(key, None)
        if key not in self.wanted:
            self._claimed.discard(key)

    def _forget_on(self, interface: int) -> None:
        """What was set on an interface has gone with it: the next one of its number starts with nothing."""
        if interface != NO_INTERFACE:
            for key in [key for key in self.held if getattr(key, "interface", None) == interface]:
                self.heard(key, None)

    def _is_ours(self, key: ObjectKey) -> bool:
        owns = self._owns.get(type(key))
        return owns is not None and owns(key)
