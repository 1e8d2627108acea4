"""Who speaks with whom: members to sessions, as one member sees them.

A session depends on its two ends and the options, never on a third member; so nobody's session changes when a stranger
joins. Who is there decides only which sessions there are: everybody with everybody, or, from a configured size on,
everybody with the reflectors. A reflector reflects always, in a mesh too, so that whoever changes over, early or late,
breaks nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from rtagent.core.mesh.options import Options
from rtagent.vector.members import Member, Members, Prefix, Role

Address: TypeAlias = IPv4Address | IPv6Address
Family = Literal[4, 6]

_LONGEST_ESCAPED = 50
"""BIRD's symbols have at most 64 characters (conf/conf.h, SYM_MAX_LEN); ``mesh:next.key.`` takes 14."""
_VERBATIM = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class Topology(StrEnum):
    """Which sessions there are."""

    MESH = "mesh"
    REFLECTORS = "reflectors"


class Channel(NamedTuple):
    """One address family of a session."""

    family: Family
    here: Address
    """The next hop of what is announced."""
    there: Address
    """The next hop of what the other end announces itself."""


class Session(NamedTuple):
    """One BGP session, from this member's side."""

    peer: Member
    name: str
    """Of the protocol in BIRD."""
    local: Address
    address: Address
    passive: bool
    """Whether the other end connects: one of the two does, so that connections never collide."""
    reflects: bool
    """Whether this end reflects to the other (RFC 4456)."""
    channels: tuple[Channel, ...]
    kind: str
    """``session`` or, with a peer that reflects, ``reflector``, and the families that both ends have: ``session46``."""

    @property
    def with_reflector(self) -> bool:
        """Whether one of the ends is a reflector."""
        return self.reflects or self.peer.role is Role.REFLECTOR


class Impossible(NamedTuple):
    """A member with whom there can be no session, and why."""

    id: str
    why: str


def topology(members: Members, options: Options, before: Topology | None) -> Topology:
    """Return which sessions there should be. Between the two sizes it stays as it was ``before``.

    A member that does not know (None) takes the mesh there: the reflectors connect it even to those who do not.
    """
    if not options.reflection.from_members or not any(member.role is Role.REFLECTOR for member in members):
        return Topology.MESH
    if len(members) >= options.reflection.from_members:
        return Topology.REFLECTORS
    stays = before is Topology.REFLECTORS and len(members) >= options.reflection.off_below
    return Topology.REFLECTORS if stays else Topology.MESH


def sessions(
    members: Members, me: Member, options: Options, shape: Topology, known: Mapping[str, Session] = MappingProxyType({})
) -> tuple[tuple[Session, ...], tuple[Impossible, ...]]:
    """Return this member's sessions in the order of the members, and those that cannot be.

    ``known`` only saves time: sessions made before for the same member and options, by the ids of their peers.
    """
    found: list[Session] = []
    impossible: list[Impossible] = []
    for peer in members:
        if peer.id == me.id:
            continue
        if shape is Topology.REFLECTORS and Role.REFLECTOR not in (me.role, peer.role):
            continue
        before = known.get(peer.id)
        session = before if before is not None and before.peer == peer else _session(me, peer, options)
        if isinstance(session, str):
            impossible.append(Impossible(peer.id, session))
        else:
            found.append(session)
    return tuple(found), tuple(impossible)


def protocol(member_id: str) -> str:
    """Return the name of the protocol in BIRD for a member, different for different ids."""
    return f"mesh.{escaped(member_id)}"


@lru_cache(4096)
def escaped(member_id: str) -> str:
    """Return the id with characters of a BIRD symbol only; different ids stay different.

    What a quoted symbol may not hold is written ``:`` and two hexadecimal digits a byte; a long id ends in its hash.
    """
    text = "".join(c if c in _VERBATIM else "".join(f":{byte:02x}" for byte in c.encode()) for c in member_id)
    if len(text) <= _LONGEST_ESCAPED:
        return text
    digest = hashlib.sha256(member_id.encode()).hexdigest()[:16]
    return f"{text[: _LONGEST_ESCAPED - 18]}::{digest}"


def next_hop(member: Member, prefix: Prefix) -> Address:
    """Return the next hop by which a member announces its prefix to whoever has all of its families."""
    own = member.address4 if prefix.version == 4 else member.address6
    other = own or member.address6 or member.address4
    assert other is not None, f"{member.id} has no address"
    return other


def _session(me: Member, peer: Member, options: Options) -> Session | str:
    if me.asn != peer.asn:
        return f"is in AS {peer.asn}, not in {me.asn}"
    if me.router_id == peer.router_id:
        return f"has the router id {peer.router_id} too"
    ends4 = (me.address4, peer.address4) if me.address4 and peer.address4 else None
    ends6 = (me.address6, peer.address6) if me.address6 and peer.address6 else None
    chosen: tuple[Address, Address] | None = ends6 or ends4 if options.transport == "ipv6" else ends4 or ends6
    if chosen is None:
        return "has no address of a family that this member has"
    local, address = chosen
    if local == address:
        return f"has the address {address} too"
    channels: list[Channel] = []
    # Without an IPv4 address at both ends, IPv4 routes get IPv6 next hops (RFC 8950).
    channels.append(Channel(4, *(ends4 or chosen)))
    if ends6 is not None:
        channels.append(Channel(6, *ends6))
    families = "4" * (ends4 is not None) + "6" * (ends6 is not None)
    return Session(
        peer=peer,
        name=protocol(peer.id),
        local=local,
        address=address,
        passive=int(local) > int(address),
        reflects=me.role is Role.REFLECTOR and peer.role is not Role.REFLECTOR,
        channels=tuple(channels),
        kind=f"{'reflector' if peer.role is Role.REFLECTOR else 'session'}{families}",
    )
