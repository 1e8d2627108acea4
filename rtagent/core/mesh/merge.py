"""Claims of several sources to members: whose word counts for each field, and who of two claimants has to wait.

The result is a function of the claims alone, never of the order in which they came: every machine that heard the same
claims keeps the same members waiting. Who waits is decided pair by pair. Of two that want one name, address, router id
or pod prefix (or one prefix within the other's) the one that has it longer keeps it, and the other one waits, whether
or not the first one waits for somebody else: to wait is safe, and two that swap what they have never flap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rtagent.vector.claims import NAME, Claim, Claims
from rtagent.vector.members import Member, Members, Prefix, Role, canonical, lies_within, prefix_order

_FIELDS = ("role", "asn", "router_id", "address4", "address6", "pods")


class Waiting(NamedTuple):
    """Something that is claimed and does not count."""

    id: str
    what: str
    """The pod prefix that the member has to do without, or nothing: the whole member waits."""
    why: str


class Merged(NamedTuple):
    """Who is claimed to be a member."""

    members: Members
    waiting: tuple[Waiting, ...]
    left: frozenset[str]
    """Those that said good-bye; they are no members."""


class _Candidate(NamedTuple):
    claim: Claim
    since: Mapping[str, float]

    def age(self, resource: str) -> tuple[float, str]:
        """Sorts by who has it longer; the id decides between equals."""
        return self.since.get(resource, 0.0), self.claim.id


def merge(sources: Sequence[Claims], asn: int, allowed: Callable[[Prefix], bool]) -> Merged:
    """Return what the claims of ``sources`` come to; an earlier source's word counts before a later one's.

    ``asn`` is the mesh's: a member that names none has it, one that names another waits. ``allowed`` says whether a
    pod prefix lies where pod prefixes may lie.
    """
    waiting: list[Waiting] = []
    whole: list[_Candidate] = []
    left = set()
    for id_, claims in sorted(_by_id(sources).items()):
        standing = [claim for claim in claims if not claim.left]
        if not standing:
            left.add(id_)
            continue
        standing = _of_one_machine(standing, waiting)
        candidate = _joined(id_, standing, asn)
        if flaw := _flaw(candidate.claim, asn):
            waiting.append(Waiting(id_, "", flaw))
        else:
            whole.append(candidate)
    losers, lost = _losers(whole), _lost_prefixes(whole)
    members = []
    for claim, _ in whole:
        if claim.id in losers:
            waiting.append(Waiting(claim.id, "", losers[claim.id]))
            continue
        whys = {
            prefix: lost.get((claim.id, prefix)) or _not_allowed(claim, prefix, allowed) for prefix in claim.pods or ()
        }
        waiting += [Waiting(claim.id, str(prefix), why) for prefix, why in whys.items() if why]
        members.append(_member(claim, tuple(prefix for prefix, why in whys.items() if not why)))
    return Merged(tuple(members), tuple(sorted(waiting)), frozenset(left))


def _by_id(sources: Sequence[Claims]) -> dict[str, list[Claim]]:
    """Return the claims of each id, the first source's first."""
    found: dict[str, list[Claim]] = {}
    for claims in sources:
        for claim in sorted(claims, key=lambda claim: claim.claimant):
            found.setdefault(claim.id, []).append(claim)
    return found


def _of_one_machine(claims: list[Claim], waiting: list[Waiting]) -> list[Claim]:
    """Return the claims of the machine that has the name longest, and those of sources that speak for everyone."""
    since: dict[str, float] = {}
    for claim in claims:
        if claim.claimant:
            at = dict(claim.since).get(NAME, 0.0)
            since[claim.claimant] = max(at, since.get(claim.claimant, at))
    if len(since) < 2:
        return claims
    first = min(since, key=lambda machine: (since[machine], machine))
    for other in sorted(since.keys() - {first}):
        waiting.append(Waiting(claims[0].id, "", f"machine {other} wants the name that machine {first} has"))
    return [claim for claim in claims if claim.claimant in ("", first)]


def _joined(id_: str, claims: list[Claim], asn: int) -> _Candidate:
    """Return one claim made of several, field by field, and since when it has each of its resources."""
    fields: dict[str, Any] = {
        name: next((value for claim in claims if (value := getattr(claim, name)) is not None), None) for name in _FIELDS
    }
    labels: dict[str, str] = {}
    for claim in reversed(claims):
        labels |= dict(claim.labels)
    joined = Claim(id_, labels=tuple(sorted(labels.items())))._replace(**fields)
    joined = joined._replace(
        asn=asn if joined.asn is None else joined.asn,
        router_id=joined.address4 if joined.router_id is None else joined.router_id,
    )
    since: dict[str, float] = {}
    for claim in claims:
        stated = dict(claim.since)
        if not claim.claimant:
            stated = dict.fromkeys(claim.resources, 0.0) | stated
        for resource, at in stated.items():
            since[resource] = min(at, since.get(resource, at))
    since.setdefault(f"router id {joined.address4}", since.get(f"address {joined.address4}", 0.0))
    return _Candidate(joined, since)


def _flaw(claim: Claim, asn: int) -> str:
    """Return why the claim is no member's, nothing if it is one's."""
    missing = ["role"] if claim.role is None else []
    if claim.address4 is None and claim.address6 is None:
        missing.append("address")
    elif claim.router_id is None:
        missing.append("router id")
    if missing:
        return f"no source tells its {' or its '.join(missing)}"
    return "" if claim.asn == asn else f"its AS is {claim.asn}, the mesh's is {asn}"


def _losers(candidates: Iterable[_Candidate]) -> dict[str, str]:
    """Return the members that want an address or a router id that another one has longer, and why they wait."""
    wanted: dict[str, list[_Candidate]] = {}
    for candidate in candidates:
        for resource in candidate.claim.identity:
            wanted.setdefault(resource, []).append(candidate)
    losers: dict[str, str] = {}
    for resource, claimants in sorted(wanted.items()):
        first = min(claimants, key=lambda candidate: candidate.age(resource))
        for candidate in claimants:
            if candidate is not first:
                losers.setdefault(candidate.claim.id, f"{first.claim.id} has {resource}")
    return losers


def _lost_prefixes(candidates: Iterable[_Candidate]) -> dict[tuple[str, Prefix], str]:
    """Return each (member, prefix) that another member has longer, or a part of it, or what it is a part of."""
    lost: dict[tuple[str, Prefix], str] = {}
    around: list[tuple[Prefix, _Candidate]] = []
    rows = ((prefix, candidate) for candidate in candidates for prefix in candidate.claim.pods or ())
    for prefix, candidate in sorted(rows, key=lambda row: (prefix_order(row[0]), row[1].claim.id)):
        while around and not lies_within(prefix, around[-1][0]):
            around.pop()
        for other, holder in around:
            if holder is not candidate:
                sides = ((prefix, candidate), (other, holder))
                first, second = sorted(sides, key=lambda side: side[1].age(f"pods {side[0]}"))
                lost.setdefault((second[1].claim.id, second[0]), f"{first[1].claim.id} has {first[0]}")
        around.append((prefix, candidate))
    return lost


def _not_allowed(claim: Claim, prefix: Prefix, allowed: Callable[[Prefix], bool]) -> str:
    if claim.role is not Role.NODE:
        return f"a {claim.role} owns no pod prefixes"
    return "" if allowed(prefix) else "it lies in none of [[mesh.ranges]], or has a length that they do not allow"


def _member(claim: Claim, pods: tuple[Prefix, ...]) -> Member:
    assert claim.role is not None
    assert claim.asn is not None
    assert claim.router_id is not None
    return canonical(
        Member(claim.id, claim.role, claim.asn, claim.router_id, claim.address4, claim.address6, pods, claim.labels)
    )
