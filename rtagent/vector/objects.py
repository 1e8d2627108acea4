"""What a data plane holds besides routes: tables, tunnels, interfaces' settings, addresses, neighbours, policies.

They are counted in thousands, so each is a key and a value, not a row of columns (docs/decisions/0001). A kind of
object is a class of keys, whose ``stage`` says when it is written. Keys of two kinds are never equal: frozen
dataclasses are not, named tuples of the same fields would be. A value is anything that compares.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import IntEnum
from typing import NamedTuple, Protocol

from rtagent.vector.ports import NO_INTERFACE


class Stage(IntEnum):
    """When an object is written: what others stand on comes first. Removal goes the other way round."""

    TABLE = 1
    INTERFACE = 2
    """What routes leave through: tunnels, sub-interfaces. Removed only when no route uses it any more."""
    SETTING = 3
    PAIR = 4
    """After the settings: who pairs an interface copies its state, and that must be the link's by then."""
    SUB_PAIR = 5
    """Pairs upon pairs."""
    ADDRESS = 6
    NEIGHBOR = 7
    POLICY = 8


class ObjectKey(Hashable, Protocol):
    """What tells an object from all others."""

    @property
    def stage(self) -> Stage:
        """When objects of this kind are written."""


class Held(NamedTuple):
    """An object as the data plane holds it."""

    value: object
    interface: int = NO_INTERFACE
    """The data plane's number of the interface that the object is, where it is one."""


class ObjectChange(NamedTuple):
    """An object to write: ``before`` None makes it, ``after`` None removes it. The two are never equal."""

    key: ObjectKey
    before: object | None
    after: object | None
    interface: int = NO_INTERFACE
    """Of what is removed: the data plane's number of the interface that it is, where it is one."""


class ObjectAnswer(NamedTuple):
    """What became of a change: 0, or the data plane's negative answer, and then nothing has changed."""

    retval: int
    interface: int = NO_INTERFACE
    """The number of the interface that was made."""
