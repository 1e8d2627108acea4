"""Whether the mesh is what it should be: a verdict for each pair, and for each pod prefix at each member.

One end of a session knows little: a wrong password looks like silence there. Both ends together tell more, so the
verdicts are about pairs. What a member reports is given; how it was asked is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from rtagent.core.mesh.sessions import next_hop
from rtagent.vector.members import Member, Members, Prefix, Role


class Verdict(StrEnum):
    """What is the matter with a pair."""

    UP = "up"
    ONE_SIDED = "one-sided"
    """Only one end has the session configured, or only one believes that it stands."""
    ASN = "ASN"
    ROUTER_ID = "router id"
    AUTHENTICATION = "authentication suspected"
    """Both ends try, both reach others, and neither hears anything: what a wrong password looks like."""
    UNREACHABLE = "unreachable"
    NOT_CONFIGURED = "not configured"
    """Both ends were asked and neither has the session."""
    UNKNOWN = "unknown"
    """Neither end could be asked."""


class SessionView(NamedTuple):
    """One end of a session, as its BIRD shows it."""

    state: str
    """``Established``, ``Connect``, ``Active``, …"""
    error: str = ""
    """BIRD's last error. It stands until the next one, so it may be an old one."""


class SeenRoute(NamedTuple):
    """A route that a member has from a session of the mesh."""

    prefix: Prefix
    peer: str
    """The id of the member at the other end."""
    next_hop: IPv4Address | IPv6Address
    accepted: bool
    """False: refused by the import filter, and kept to be seen."""


class Report(NamedTuple):
    """What one member says."""

    sessions: Mapping[str, SessionView]
    """Id of the peer → its end of the session."""
    routes: tuple[SeenRoute, ...] = ()


class Pair(NamedTuple):
    """The verdict about two members, and what each end shows (None: it has no such session, or was not asked)."""

    one: str
    other: str
    verdict: Verdict
    ends: tuple[SessionView | None, SessionView | None]


class Finding(NamedTuple):
    """Something about a pod prefix that is not as it should be."""

    at: str
    """The member where it was seen, or is missing."""
    prefix: Prefix
    kind: str
    """``missing``; ``foreign``: believed though its sender may not tell it; ``refused``: sent, but not believed."""
    peer: str
    """The member that should have sent it, or has: the offender."""
    why: str

    @property
    def harmful(self) -> bool:
        """Whether packets go astray because of it; what was refused harms nobody."""
        return self.kind != "refused"


_UNREACHABLE = ("no route to host", "network is unreachable", "connection refused", "connection timed out",
                "hold timer expired", "bfd session down", "neighbor lost")  # fmt: skip
_AUTHENTICATION = ("md5", "authentication")


def matrix(
    pairs: Iterable[tuple[str, str]], reports: Mapping[str, Report], *, authentication: bool
) -> tuple[Pair, ...]:
    """Return a verdict for each of the ``pairs`` that should have a session.

    ``reports`` has those members that could be asked; ``authentication`` says whether the mesh has passwords.
    """
    up = {name for name, report in reports.items() if any(map(_stands, report.sessions.values()))}
    return tuple(_pair(one, other, reports, up, authentication) for one, other in pairs)


def _pair(one: str, other: str, reports: Mapping[str, Report], up: set[str], authentication: bool) -> Pair:
    asked = [name in reports for name in (one, other)]
    ends = tuple(
        reports[here].sessions.get(there) if here in reports else None for here, there in ((one, other), (other, one))
    )
    known = [end for end in ends if end is not None]
    standing = [end for end in known if _stands(end)]
    said = " ".join(end.error.lower() for end in known if not _stands(end))
    if standing and len(standing) == len(known) and (len(known) == 2 or not all(asked)):
        verdict = Verdict.UP
    elif not known:
        verdict = Verdict.NOT_CONFIGURED if any(asked) else Verdict.UNKNOWN
    elif (all(asked) and len(known) == 1) or standing:
        verdict = Verdict.ONE_SIDED
    elif "bad peer as" in said:
        verdict = Verdict.ASN
    elif "bad bgp identifier" in said:
        verdict = Verdict.ROUTER_ID
    elif any(text in said for text in _AUTHENTICATION):
        verdict = Verdict.AUTHENTICATION
    elif any(text in said for text in _UNREACHABLE) or not authentication or not {one, other} <= up:
        verdict = Verdict.UNREACHABLE
    else:
        verdict = Verdict.AUTHENTICATION
    return Pair(one, other, verdict, (ends[0], ends[1]))


def verify(members: Members, reports: Mapping[str, Report]) -> tuple[Finding, ...]:
    """Return where a pod prefix is missing, believed wrongly, or was refused; sorted by member and prefix."""
    found: list[Finding] = []
    owners = {prefix: member for member in members for prefix in member.pods}
    by_id = {member.id: member for member in members}
    for name, report in reports.items():
        visible: set[Prefix] = set()
        for route in report.routes:
            why = refusal(members, owners, by_id.get(route.peer), route)
            if route.accepted and not why:
                visible.add(route.prefix)
            else:
                kind = "foreign" if route.accepted else "refused"
                found.append(Finding(name, route.prefix, kind, route.peer, why or "the filter in BIRD refuses it"))
        found += [
            Finding(name, prefix, "missing", owner.id, _why_missing(report, owner))
            for prefix, owner in owners.items()
            if owner.id != name and prefix not in visible and _can_carry(by_id.get(name), owner, prefix)
        ]
    return tuple(sorted(found, key=lambda row: (row.at, row.prefix.version, row.prefix, row.kind, row.peer)))


def refusal(members: Members, owners: Mapping[Prefix, Member], peer: Member | None, route: SeenRoute) -> str:
    """Return why nobody may believe this route, in words that name whose prefix it is; empty where it is right."""
    if route.prefix.prefixlen == 0:
        return "a default route"
    owner = owners.get(route.prefix)
    if owner is None:
        return next(_related(members, route.prefix), "no member owns it")
    if peer is None or (peer.id != owner.id and peer.role is not Role.REFLECTOR):
        return f"it belongs to {owner.id}"
    right = {next_hop(owner, route.prefix), owner.address6}
    if route.next_hop not in right:
        return f"its next hop {route.next_hop} is not {owner.id}"
    return ""


def _related(members: Members, prefix: Prefix) -> Iterator[str]:
    for member in members:
        for owned in member.pods:
            if owned.version != prefix.version:
                continue
            if prefix.subnet_of(owned):  # type: ignore[arg-type]
                yield f"it is a part of {owned}, which belongs to {member.id}"
            elif owned.subnet_of(prefix):  # type: ignore[arg-type]
                yield f"it covers {owned}, which belongs to {member.id}"


def _why_missing(report: Report, owner: Member) -> str:
    view = report.sessions.get(owner.id)
    if view is None:
        return f"there is no session with {owner.id}"
    return f"{owner.id} does not announce it" if _stands(view) else f"the session with {owner.id} is {view.state}"


def _can_carry(here: Member | None, owner: Member, prefix: Prefix) -> bool:
    return here is not None and (prefix.version == 4 or (here.address6 is not None and owner.address6 is not None))


def _stands(view: SessionView) -> bool:
    return view.state == "Established"
