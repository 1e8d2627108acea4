"""Kubernetes nodes as claims: what of a ``v1.Node`` in JSON is a member's."""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from rtagent.vector.claims import Claim
from rtagent.vector.members import Role
from rtagent.wire.members import fields

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z")
"""metav1.Time is written in UTC, to the second."""


def decode(node: Mapping[str, Any], roles: Sequence[tuple[str, Role]]) -> Claim:
    """Return a node's claim. Raises ValueError where it holds what no member has.

    ``roles`` are (label or label=value, role): the first that the node has decides, and without one it is a node. Its
    addresses are the first of each family among its ``InternalIP``. What it has, it has since it was created: the API
    server gave it its pod prefixes then, and says of nothing since when it is so.
    """
    try:
        metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
        labels = fields.labels(metadata.get("labels") or {})
        internal = [entry["address"] for entry in status.get("addresses") or [] if entry["type"] == "InternalIP"]
        prefixes = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else None)
        role = next((role for label, role in roles if _has(labels, label)), Role.NODE)
        by_family = {address.version: str(address) for address in map(ip_address, reversed(internal))}
        claim = Claim(
            id=fields.member_id(metadata["name"]),
            role=role,
            address4=fields.address4(by_family[4]) if 4 in by_family else None,
            address6=fields.address6(by_family[6]) if 6 in by_family else None,
            pods=fields.prefixes(prefixes) if prefixes and role is Role.NODE else None,
            labels=labels,
        )
        created = _seconds(metadata["creationTimestamp"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a node without {error}") from None
    return claim._replace(since=tuple((name, created) for name in sorted(claim.resources)))


def _has(labels: Sequence[tuple[str, str]], wanted: str) -> bool:
    name, is_pair, value = wanted.partition("=")
    return any(name == own and (not is_pair or value == said) for own, said in labels)


def _seconds(text: str) -> float:
    """Return seconds since 1970."""
    if (parts := _TIME.fullmatch(text)) is None:
        raise ValueError(f"created at {text}, which is no time")
    return float(timegm((*map(int, parts.groups()), 0, 0, 0)))
