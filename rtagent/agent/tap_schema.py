"""The [taps] table of the configuration: for which interfaces of VPP a link is made, and what it is called."""

from __future__ import annotations

import re
from typing import Any

from rtagent.core.taps import TapRules
from rtagent.vector.ports import PortKind
from rtagent.wire.toml.schema import Key, Table, texts

_TYPES = (PortKind.PHYSICAL, PortKind.BOND, PortKind.LOOPBACK, PortKind.BVI, PortKind.TUNNEL)
"""Sub-interfaces follow the interface that they are of."""
_TEMPLATE = re.compile(r"[A-Za-z0-9_.-]*\{name\}[A-Za-z0-9_.-]*")
_GLOBS = 'a list of names or globs of VPP\'s interfaces, such as ["TenGigabitEthernet*", "loop0"]'


def tap_types(value: Any) -> tuple[PortKind, ...]:
    """Check a list of kinds of interfaces. Raises ValueError."""
    kinds = tuple(PortKind(each) for each in texts(value))
    if not set(kinds) <= set(_TYPES):
        raise ValueError("sub-interfaces follow the interface that they are of")
    return kinds


def tap_name(value: Any) -> str:
    """Check a template of links' names. Raises ValueError."""
    if not isinstance(value, str) or not _TEMPLATE.fullmatch(value):
        raise ValueError
    return value


TAPS = Table(
    keys={
        "interfaces": Key("interfaces", texts, _GLOBS),
        "types": Key("kinds", tap_types, f"a list of any of {', '.join(_TYPES)}"),
        "except": Key("excepted", texts, _GLOBS),
        "name": Key("name", tap_name, 'a text with {name} in it, such as "v-{name}"'),
    },
    make=TapRules,
)
