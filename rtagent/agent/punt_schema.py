"""How ``[punt]`` is written: groups, frames and protocols by the names that people know them by."""

from __future__ import annotations

import ipaddress
from typing import Any

from rtagent.core.punt_matches import PROTOCOLS, Network
from rtagent.core.punt_settings import PuntSettings
from rtagent.vector.punt import ETHERTYPE_LLDP, ETHERTYPE_SLOW, OSI_CLNP, OSI_ESIS, OSI_ISIS, Group
from rtagent.wire.toml.schema import Key, Table, one_of, texts, whole

_ETHERTYPES = {"lldp": ETHERTYPE_LLDP, "lacp": ETHERTYPE_SLOW}
_OSI = {"clnp": OSI_CLNP, "esis": OSI_ESIS, "isis": OSI_ISIS}
_LEAST_ETHERTYPE = 0x600
"""Below, the field is a length (IEEE 802.3)."""
_LINK = (ipaddress.ip_network("224.0.0.0/24"), ipaddress.ip_network("ff00::/8"))
_MOST_KBPS = 100_000_000


def _groups(value: Any) -> tuple[Group, ...]:
    return tuple(_group(item) for item in texts(value))


def _group(text: str) -> Group:
    if text.startswith("("):
        source_text, comma, group_text = text.strip("()").partition(",")
        source, group = (ipaddress.ip_address(part.strip()) for part in (source_text, group_text))
        if not comma or source.version != group.version or source.is_multicast or not group.is_multicast:
            raise ValueError(f"{text} is no source and group")
        return Group(group.packed, group.max_prefixlen, source.packed)
    network = ipaddress.ip_network(text)
    if not network.is_multicast:
        raise ValueError(f"{text} is not multicast")
    if any(network.version == link.version and network.subnet_of(link) for link in _LINK):  # type: ignore[arg-type]
        raise ValueError(f"{text} is always punted")
    return Group(network.network_address.packed, network.prefixlen)


def _frames(value: Any) -> tuple[str | int, ...]:
    if not isinstance(value, list):
        raise ValueError
    return tuple(_frame(item) for item in value)


def _frame(item: Any) -> str | int:
    if isinstance(item, int):
        return whole(_LEAST_ETHERTYPE, 0xFFFF)(item)
    return one_of(*_ETHERTYPES, *_OSI)(item)


def _protocols(value: Any) -> tuple[str, ...]:
    return tuple(one_of(*PROTOCOLS)(item) for item in texts(value))


def _networks(value: Any) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(item) for item in texts(value))


def _make(frames: tuple[str | int, ...] = (), **rest: Any) -> PuntSettings:
    ethertypes = [_ETHERTYPES.get(item, 0) if isinstance(item, str) else item for item in frames]
    osi = [_OSI[item] for item in frames if isinstance(item, str) and item in _OSI]
    return PuntSettings(ethertypes=tuple(filter(None, ethertypes)), osi_protocols=tuple(osi), **rest)


def told(settings: PuntSettings) -> dict[str, Any]:
    """Return the settings as ``[punt]`` would have them, for JSON."""
    names = {number: name for name, number in _OSI.items()}
    return {
        "groups": [group.text for group in settings.groups],
        "frames": [*settings.ethertypes, *(names[number] for number in settings.osi_protocols)],
        "rate_kbps": settings.rate_kbps,
        "burst_ms": settings.burst_ms,
        "exempt": list(settings.exempt),
        "exempt_sources": [str(network) for network in settings.exempt_sources],
    }


def heard(values: dict[str, Any]) -> PuntSettings:
    """Return the settings that ``told`` has told."""
    return _make(**{PUNT.keys[name].field: PUNT.keys[name].check(value) for name, value in values.items()})


PUNT = Table(
    {
        "groups": Key("groups", _groups, 'a list such as ["239.0.0.0/8", "(192.0.2.1, 232.1.1.1)"]'),
        "frames": Key("frames", _frames, 'a list of "lldp", "lacp", "isis", "esis", "clnp" and ethertypes from 0x600'),
        "rate_kbps": Key("rate_kbps", whole(0, _MOST_KBPS), f"a number from 0 (no policer) to {_MOST_KBPS}"),
        "burst_ms": Key("burst_ms", whole(1, 1000), "a number of milliseconds from 1 to 1000"),
        "exempt": Key("exempt", _protocols, f"a list of {', '.join(sorted(PROTOCOLS))}"),
        "exempt_sources": Key("exempt_sources", _networks, 'a list of prefixes, such as ["192.0.2.0/24"]'),
    },
    make=_make,
)
