"""What is punted, in words: what `rtagent punt` says, row by row."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rtagent.core.objects import Objects
from rtagent.core.punt import BROADCAST, broadcast_of
from rtagent.core.rows import Row
from rtagent.vector.interfaces import InterfaceAddress
from rtagent.vector.objects import ObjectKey
from rtagent.vector.punt import (
    ETHERTYPE_LLDP,
    ETHERTYPE_SLOW,
    OSI_CLNP,
    OSI_ESIS,
    OSI_ISIS,
    OTHERS,
    Count,
    Ethertype,
    LocalAddress,
    MulticastAccept,
    MulticastLocal,
    OsiProtocol,
    PolicerLimit,
    PuntCounts,
    PuntExempt,
    PuntPolicer,
    TakesInet,
)

_FRAMES = {
    Ethertype(ETHERTYPE_LLDP): "LLDP",
    Ethertype(ETHERTYPE_SLOW): "LACP",
    OsiProtocol(OSI_CLNP): "CLNP",
    OsiProtocol(OSI_ESIS): "ES-IS",
    OsiProtocol(OSI_ISIS): "IS-IS",
}
_KEYS = (MulticastLocal, LocalAddress, TakesInet, Ethertype, OsiProtocol)


def punted_text(key: ObjectKey) -> str:
    """Return what is punted by an object, without its interface; empty for an object of another kind."""
    match key:
        case MulticastLocal() | MulticastAccept():
            return key.group.text
        case LocalAddress():
            return str(ipaddress.ip_address(key.address))
        case TakesInet():
            return "IPv4 without an address"
        case Ethertype():
            name = _FRAMES.get(key)
            return f"{name} (0x{key.number:04x})" if name else f"ethertype 0x{key.number:04x}"
        case OsiProtocol():
            name = _FRAMES.get(key)
            return f"{name} (0x{key.number:02x})" if name else f"OSI protocol 0x{key.number:02x}"
        case PuntPolicer():
            return "policer of what is punted"
        case PuntExempt():
            return f"what passes by the policer, {'IPv4' if key.family == 2 else 'IPv6'}"
    return ""


def punt_rows(
    objects: Objects, interfaces: Mapping[int, str], refused: Mapping[ObjectKey, str], counts: PuntCounts | None
) -> Iterator[Row]:
    """Yield a row for each thing that is punted or should be.

    ``what``, ``kind``, ``table`` (null for frames), ``from`` (the interfaces, by name; null for all), ``state``
    (installed, missing, extra, rejected or others), ``reason``, ``packets`` and ``bytes`` (null where not counted).
    """
    accepts: defaultdict[tuple[int, object], set[MulticastAccept]] = defaultdict(set)
    for key in objects.of(MulticastAccept):
        assert isinstance(key, MulticastAccept)
        accepts[key.table, key.group].add(key)
    broadcasts = {broadcast_of(key) for key in objects.of(InterfaceAddress) if isinstance(key, InterfaceAddress)}
    keys = [key for kind in _KEYS for key in objects.of(kind)]
    for key in sorted(keys, key=_order):
        parts: set[ObjectKey] = {key}
        if isinstance(key, MulticastLocal):
            parts |= accepts[key.table, key.group]
        state, reason = _state(objects, parts, refused)
        if state == OTHERS and key not in objects.wanted and not _is_noted(key):
            continue
        count = counts.addresses.get(key) if counts is not None and isinstance(key, LocalAddress) else None
        yield {
            "what": punted_text(key),
            "kind": _kind(key, broadcasts),
            "table": getattr(key, "table", None),
            "from": _from(key, accepts, interfaces),
            "state": state,
            "reason": reason,
            "packets": count.packets if count else None,
            "bytes": count.bytes if count else None,
        }


def policer_row(objects: Objects, refused: Mapping[ObjectKey, str], counts: PuntCounts | None) -> Row | None:
    """Return the policer: limit, state, and what it has let through and not; None where there is none."""
    key = PuntPolicer()
    if key not in objects.wanted and key not in objects.held:
        return None
    held = objects.held[key].value if key in objects.held else None
    limit = held if isinstance(held, PolicerLimit) else objects.wanted.get(key)
    state, reason = _state(objects, {key}, refused)
    exempt = set(objects.of(PuntExempt))
    exempt_state, exempt_reason = _state(objects, exempt, refused) if exempt else ("none", "")
    return {
        "rate_kbps": limit.rate_kbps if isinstance(limit, PolicerLimit) else None,
        "burst_bytes": limit.burst_bytes if isinstance(limit, PolicerLimit) else None,
        "state": state,
        "reason": reason,
        "exempt": exempt_state,
        "exempt_reason": exempt_reason,
        "passed": _count_row(counts.passed if counts else None),
        "dropped": _count_row(counts.dropped if counts else None),
        "exempt_packets": counts.exempt_packets if counts else None,
    }


def _count_row(count: Count | None) -> dict[str, Any] | None:
    return None if count is None else count._asdict()


def _state(objects: Objects, parts: set[ObjectKey], refused: Mapping[ObjectKey, str]) -> tuple[str, str]:
    """Return in which state the worst of these is, and why."""
    for key in parts:
        if key in refused:
            return "rejected", _clearly(key, refused[key])
    held = {key: objects.held[key].value for key in parts if key in objects.held}
    if OTHERS in held.values():
        return OTHERS, "somebody else's, and left alone"
    if any(key in objects.wanted and held.get(key) != objects.wanted[key] for key in parts):
        return "missing", ""
    if any(key not in objects.wanted for key in held):
        stays = any(isinstance(key, Ethertype | OsiProtocol) for key in held)
        return "extra", "until VPP's next start: nothing takes this back" if stays else ""
    return "installed", ""


def _clearly(key: ObjectKey, reason: str) -> str:
    """Return VPP's word for a refusal with what it means here."""
    if isinstance(key, Ethertype):
        eater = {ETHERTYPE_LLDP: "lldp", ETHERTYPE_SLOW: "lacp"}.get(key.number, "other")
        return f"{reason}: VPP has a use for these frames; disable its {eater} plugin" if eater else reason
    if isinstance(key, OsiProtocol):
        return f"{reason}: VPP's osi plugin is not loaded, or has a use for these frames"
    return reason


def _kind(key: ObjectKey, broadcasts: Collection[LocalAddress | None]) -> str:
    match key:
        case MulticastLocal():
            return "multicast"
        case LocalAddress():
            return "broadcast" if key in broadcasts or key.address == BROADCAST else "address"
        case TakesInet():
            return "port"
    return "frames"


def _from(
    key: ObjectKey, accepts: Mapping[tuple[int, object], set[MulticastAccept]], interfaces: Mapping[int, str]
) -> list[str] | None:  # fmt: skip
    numbers: list[int] | None = None
    if isinstance(key, MulticastLocal):
        numbers = [each.interface for each in accepts.get((key.table, key.group), ())]
    elif isinstance(key, TakesInet):
        numbers = [key.interface]
    return None if numbers is None else sorted(interfaces.get(each, f"#{each}") for each in numbers)


def _is_noted(key: ObjectKey) -> bool:
    """Whether somebody else's entry is worth a row: those that VPP makes in every table are not."""
    return not isinstance(key, MulticastLocal)


def _order(key: ObjectKey) -> tuple[int, int, bytes]:
    place = next(number for number, kind in enumerate(_KEYS) if isinstance(key, kind))
    table: int = getattr(key, "table", 0)
    match key:
        case MulticastLocal():
            return place, table, bytes((len(key.group.address),)) + key.group.address + key.group.source
        case LocalAddress():
            return place, table, bytes((len(key.address),)) + key.address
        case TakesInet():
            return place, key.interface, b""
        case Ethertype() | OsiProtocol():
            return place, key.number, b""
    raise AssertionError(f"{key} is not punted")
