"""Where in VPP an encapsulation is: what a path list says in order to leave through one, and what it means read back.

A **tunnel** is an interface, and a path through it is an attached one.

A **policy** is entered by a recursive path. VPP keeps the policies themselves in hidden tables that no API message can
name, and steers prefixes into them with entries of its own source (vnet/srv6/sr_steering.c). So each of our policies
has one address of either family steered into it, in a table that is there for nothing else, and routes resolve through
that address: they keep our source, are written whole, share path lists and mix with other next hops. Without the
policy they drop: there is no other way to that address.

Both numbers of a policy follow from what it is, so a restarted agent knows its own, and no order of making them
matters: the binding segment is ours by its first half, and a digest is the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np

from rtagent.vector.encaps import STEERING_TABLE, Encap, SrPolicy, Tunnel
from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.objects import Held, ObjectKey
from rtagent.vector.ports import NO_INTERFACE

_OURS = bytes.fromhex("fd72746167656e74")
"""fd72:7461:6765:6e74::/64, a unique local prefix (RFC 4193)."""
_STEERED = bytes.fromhex("fd72746167656e75")
NOWHERE = 0xFFFF_FFFE
"""An interface that VPP does not have: it refuses a path that should leave through what is not there."""


def is_ours(binding: bytes) -> bool:
    """Whether a binding segment is one of ours."""
    return binding.startswith(_OURS)


def binding_of(policy: SrPolicy) -> bytes:
    """Return the packed binding segment of a policy."""
    return _OURS + _digest(policy)


def steered(policy: SrPolicy) -> dict[int, bytes]:
    """Return the packed addresses in STEERING_TABLE that lead into a policy, by family.

    The four bytes of the IPv4 one avoid what VPP keeps for itself (0/8, 224/3); ``inline`` is for IPv6 alone.
    """
    digest = _digest(policy)
    addresses = {AF_INET6: _STEERED + digest}
    if not policy.inline:
        addresses[AF_INET] = bytes((1 + digest[0] % 223, *digest[1:4]))
    return addresses


def _digest(policy: SrPolicy) -> bytes:
    parts = (*policy.segments, policy.source.rjust(16, b"\0"), bytes((policy.inline,)), policy.table.to_bytes(4, "big"))
    return blake2b(b"".join(parts), digest_size=8).digest()


class EncapPaths:
    """The policies and tunnels that VPP is known to have. Whoever changes it forgets what was packed by it."""

    def __init__(self) -> None:
        self._interfaces: dict[Tunnel, int] = {}
        self._tunnels: dict[int, Tunnel] = {}
        self._policies: dict[bytes, SrPolicy] = {}

    def learn(self, held: Mapping[ObjectKey, Held]) -> None:
        """VPP holds these objects, and no other encapsulation."""
        for known in (self._interfaces, self._tunnels, self._policies):
            known.clear()
        for key, object_ in held.items():
            if isinstance(key, SrPolicy | Tunnel) and object_.value:
                self.add(key, object_.interface)

    def add(self, encap: Encap, interface: int) -> None:
        """An encapsulation was made."""
        if isinstance(encap, Tunnel):
            self._interfaces[encap], self._tunnels[interface] = interface, encap
        else:
            self._policies.update((address, encap) for address in steered(encap).values())

    def discard(self, encap: Encap) -> None:
        """An encapsulation was removed."""
        if isinstance(encap, Tunnel):
            self._tunnels.pop(self._interfaces.pop(encap, NO_INTERFACE), None)
        else:
            for address in steered(encap).values():
                self._policies.pop(address, None)

    def taken(self, encap: Encap) -> bool:
        """Whether another policy has an address of this one: the digests are short, but not that short."""
        if isinstance(encap, Tunnel):
            return False
        return any(self._policies.get(address, encap) != encap for address in steered(encap).values())

    def fill(self, slot: np.void, encap: Encap, family: int) -> None:
        """Have a path of a list leave through an encapsulation, or be refused where that is not there."""
        if isinstance(encap, Tunnel):
            slot["sw_if_index"] = self._interfaces.get(encap, NOWHERE)
            return
        address = steered(encap).get(family, b"")
        if self._policies.get(address) != encap:
            slot["sw_if_index"] = NOWHERE
            return
        slot["table_id"] = STEERING_TABLE
        slot["address"][: len(address)] = np.frombuffer(address, np.uint8)

    def of_path(self, interface: int, table: int, via: bytes) -> Encap | None:
        """Return what a path that was read leaves through, None where that is no encapsulation of ours."""
        if interface != NO_INTERFACE:
            return None if via else self._tunnels.get(interface)
        return self._policies.get(via) if table == STEERING_TABLE else None
