"""Objects in words: what `rtagent diff`, `rtagent interfaces` and `rtagent explain` say of what is not a route."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from rtagent.core.interfaces import KINDS
from rtagent.core.objects import Objects
from rtagent.core.punt import PUNT_KINDS
from rtagent.core.punt_rows import punted_text
from rtagent.core.rows import Row
from rtagent.vector.interfaces import (
    AdminState,
    InterfaceAddress,
    LinkLocal,
    Mac,
    Membership,
    Mtu,
    PairKey,
    SubInterface,
    Table,
    TakesLabels,
)
from rtagent.vector.keys import FAMILY_NAMES
from rtagent.vector.links import ETH_P_8021AD, VlanTag
from rtagent.vector.neighbors import NeighborKey, NeighborLimitKey
from rtagent.vector.objects import ObjectKey
from rtagent.vector.ports import HostLink
from rtagent.vector.punt import LocalAddress, MulticastAccept, MulticastLocal, PolicerLimit, PuntExempt, TakesInet

_SHOWN = (*KINDS, PairKey, *PUNT_KINDS)


def object_text(key: ObjectKey, interfaces: Mapping[int, str]) -> str:
    """Return what an object is, in a few words."""
    match key:
        case Table():
            return f"table {key.table} {FAMILY_NAMES[key.family]}"
        case SubInterface():
            return f"{_name(key.parent, interfaces)} VLAN {tags_text(key.tags)}"
        case InterfaceAddress():
            where = f"{_name(key.interface, interfaces)} address {ipaddress.ip_address(key.address)}/{key.length}"
            return f"{where} in table {key.table}"
        case AdminState():
            return f"{_name(key.interface, interfaces)} state"
        case Mtu():
            return f"{_name(key.interface, interfaces)} MTU"
        case Mac():
            return f"{_name(key.interface, interfaces)} hardware address"
        case Membership():
            return f"{_name(key.interface, interfaces)} table {FAMILY_NAMES[key.family]}"
        case TakesLabels():
            return f"{_name(key.interface, interfaces)} labelled packets"
        case LinkLocal():
            return f"{_name(key.interface, interfaces)} link-local address"
        case PairKey():
            return f"{_name(key.interface, interfaces)} pair"
        case NeighborKey():
            return f"{_name(key.interface, interfaces)} neighbour {ipaddress.ip_address(key.address)}"
        case NeighborLimitKey():
            return f"limit of {FAMILY_NAMES[key.family]} neighbours"
        case MulticastAccept() | TakesInet():
            return f"{_name(key.interface, interfaces)} {punted_text(key)}"
        case MulticastLocal() | LocalAddress():
            return f"punt {punted_text(key)} in table {key.table}"
    return punted_text(key) or str(key)


def value_text(key: ObjectKey, value: object | None) -> str | None:
    """Return a value in words, None where there is no object."""
    match key, value:
        case _, None:
            return None
        case AdminState(), bool():
            return "up" if value else "down"
        case Mac(), bytes():
            return value.hex(":")
        case LinkLocal(), bytes():
            return str(ipaddress.IPv6Address(value))
        case TakesLabels(), _:
            return "taken"
        case PairKey(), HostLink():
            return f"{value.name} (ifindex {value.ifindex})"
        case InterfaceAddress(), _:
            return "present"
        case _, PolicerLimit():
            return f"{value.rate_kbps} kbit/s"
        case PuntExempt(), tuple():
            return f"{len(value)} patterns"
        case _, True:
            return "punted"
    return str(value)


def tags_text(tags: tuple[VlanTag, ...]) -> str:
    """Return tags as people write them, outermost first: ``7``, ``7.100``, ``802.1ad 7.100``."""
    provider = "802.1ad " if tags and tags[0].protocol == ETH_P_8021AD else ""
    return provider + ".".join(str(tag.vlan) for tag in tags)


def object_of(key: ObjectKey) -> int | None:
    """Return the interface that an object belongs to, None where it belongs to none."""
    interface: int | None = getattr(key, "interface", getattr(key, "parent", None))
    return interface


def differing_objects(
    objects: Objects, interfaces: Mapping[int, str], refused: Mapping[str, str], left: str, right: str
) -> Iterator[Row]:
    """Yield a row for each object that is not held as it is wanted: ``object``, ``why``, ``reason``, both sides.

    ``refused`` are the answers that a running agent got, by the object's text; ``right`` is the data plane's side.
    """
    rows = []
    for key in objects.unsettled():
        if not isinstance(key, _SHOWN):
            continue  # neighbours come and go by themselves
        text = object_text(key, interfaces)
        wanted, held = objects.wanted.get(key), objects.held.get(key)
        before = None if held is None else held.value
        reason = objects.refused.get(key) or refused.get(text, "")
        sides = {left: value_text(key, wanted), right: value_text(key, before)}
        rows.append({"object": text, "why": _why(wanted, before, reason), "reason": reason, **sides})
    yield from sorted(rows, key=lambda row: str(row["object"]))


def left_out_rows(
    left_out: Mapping[int, list[str]], interfaces: Mapping[int, str], left: str, right: str
) -> Iterator[Row]:
    """Yield a row for each thing that the kernel's links have and the data plane's interfaces cannot have."""
    for interface, texts in sorted(left_out.items()):
        for text in texts:
            what, _, reason = text.partition(": ")
            where = f"{_name(interface, interfaces)} {what}"
            yield {"object": where, "why": "unsupported", "reason": reason, left: "present", right: None}


def _why(wanted: object | None, held: object | None, reason: str) -> str:
    if reason:
        return "rejected"
    return "missing" if held is None else "extra" if wanted is None else "other value"


def _name(interface: int, interfaces: Mapping[int, str]) -> str:
    return interfaces.get(interface, f"#{interface}")
