"""The fields of a member, checked: each function returns the value, or raises ValueError with what would be right."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import combinations
from typing import Any, TypeVar

from rtagent.vector.members import Prefix, lies_within, prefix_order

_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
"""A host name, which a Kubernetes node's name is (RFC 1123), or anything like it."""

_Address = TypeVar("_Address", IPv4Address, IPv6Address)


def is_id(value: str) -> bool:
    """Whether a member may be called so."""
    return _ID.fullmatch(value) is not None


def member_id(value: Any) -> str:
    """Check the id of a member. Raises ValueError."""
    if not isinstance(value, str) or not is_id(value):
        raise ValueError
    return value


def address4(value: Any) -> IPv4Address:
    """Check an IPv4 address that other members can reach."""
    address = _address(IPv4Address, value)
    if address.is_unspecified or address.is_multicast or address.is_loopback:
        raise ValueError("no other member can reach it")
    return address


def address6(value: Any) -> IPv6Address:
    """Check an IPv6 address that other members can reach; a link-local one needs an interface, so it is none."""
    address = _address(IPv6Address, value)
    if address.is_unspecified or address.is_multicast or address.is_loopback or address.is_link_local:
        raise ValueError("no other member can reach it")
    return address


def router_id(value: Any) -> IPv4Address:
    """Check a router id that BIRD takes and peers accept."""
    address = _address(IPv4Address, value)
    if address.packed[0] in (0, 127) or address.packed[0] >= 224:
        raise ValueError("peers refuse router ids in 0/8, 127/8 and from 224.0.0.0 on")
    return address


def _address(family: type[_Address], value: Any) -> _Address:
    if not isinstance(value, str):
        raise ValueError
    try:
        return family(value)
    except ValueError:
        raise ValueError from None


def prefix(value: Any) -> Prefix:
    """Check a prefix in full, its host bits zero."""
    if not isinstance(value, str) or "/" not in value:
        raise ValueError
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(str(error) if "host bits" in str(error) else "") from None


def prefixes(value: Any) -> tuple[Prefix, ...]:
    """Check a list of prefixes, none within another; they come back in the order that counts."""
    if not isinstance(value, list):
        raise ValueError
    found = tuple(sorted({prefix(item) for item in value}, key=prefix_order))
    for one, other in combinations(found, 2):
        if lies_within(other, one):
            raise ValueError(f"{other} lies within {one}")
    return found


def labels(value: Any) -> tuple[tuple[str, str], ...]:
    """Check labels, a table of strings; they come back sorted."""
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError
    return tuple(sorted(value.items()))
