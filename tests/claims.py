"""Claims and members, as short as a test wants them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

from rtagent.vector.claims import Claim
from rtagent.vector.members import Prefix, Role

ASN = 64512


def anywhere(prefix: Prefix) -> bool:
    return True


def claim(id_: str, address: str | None = "", *, since: float | dict[str, float] | None = None, **fields: Any) -> Claim:
    """A node at 192.0.2.N for an id that ends in N. ``since`` a number: since when it has everything that it wants."""
    if address == "":
        address = f"192.0.2.{''.join(c for c in id_ if c.isdigit())}"
    if isinstance(pods := fields.pop("pods", None), str):
        fields["pods"] = tuple(ip_network(prefix) for prefix in pods.split())
    if isinstance(router_id := fields.get("router_id"), str):
        fields["router_id"] = IPv4Address(router_id)
    if isinstance(address6 := fields.get("address6"), str):
        fields["address6"] = IPv6Address(address6)
    made = Claim(id_, **{"role": Role.NODE, "address4": IPv4Address(address) if address else None} | fields)
    if isinstance(since, dict):
        return made._replace(since=tuple(sorted(since.items())))
    return made if since is None else made._replace(since=tuple((name, since) for name in sorted(made.resources)))
