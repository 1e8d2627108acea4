"""What holds of the mesh whatever the sources say, and in whatever order."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from rtagent.core.mesh.membership import Membership, Pace
from rtagent.core.mesh.merge import merge
from rtagent.vector.claims import Claim
from rtagent.vector.members import Members, Role, lies_within
from tests.claims import ASN, anywhere

PREFIXES = ("10.0.0.0/23", "10.0.0.0/24", "10.0.0.128/25", "10.0.1.0/24", "10.0.2.0/24", "2001:db8::/64")
PACE = Pace(debounce_s=0.5, debounce_max_s=5, hold_down_s=60, brake_share=0.5, brake_least=3)


@st.composite
def made(draw: st.DrawFn) -> Claim:
    address = st.builds(IPv4Address, st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]))
    one = Claim(
        draw(st.sampled_from(["n1", "n2", "n3", "n4", "n5"])),
        claimant=draw(st.sampled_from(["", "", "m1", "m2"])),
        role=draw(st.sampled_from([Role.NODE, Role.NODE, Role.LB, None])),
        address4=draw(address | st.none()),
        router_id=draw(address | st.none()),
        pods=draw(st.none() | st.sets(st.sampled_from(PREFIXES), max_size=2).map(lambda p: tuple(map(ip_network, p)))),
        alive=draw(st.sampled_from([None, True, False])),
        left=draw(st.sampled_from([False, False, False, True])),
    )
    return one._replace(since=tuple((name, draw(st.sampled_from([1.0, 2.0, 3.0]))) for name in sorted(one.resources)))


REPORTS = st.lists(made(), max_size=6, unique_by=lambda claim: (claim.id, claim.claimant)).map(tuple)


def conflicts(members: Members) -> list[tuple[str, str]]:
    return [
        (one.id, other.id)
        for one, other in combinations(members, 2)
        if one.router_id == other.router_id
        or one.address4 == other.address4
        or any(lies_within(p, q) or lies_within(q, p) for p in one.pods for q in other.pods)
    ]


@given(REPORTS, REPORTS, st.randoms(use_true_random=False))
def test_the_order_in_which_claims_came_decides_nothing(one: tuple[Claim, ...], other: tuple[Claim, ...], rnd) -> None:  # type: ignore[no-untyped-def]
    shuffled = [tuple(rnd.sample(said, len(said))) for said in (one, other)]
    assert merge([one, other], ASN, anywhere) == merge(shuffled, ASN, anywhere)


@given(REPORTS, REPORTS)
def test_no_two_members_have_anything_that_only_one_may_have(one: tuple[Claim, ...], other: tuple[Claim, ...]) -> None:
    found = merge([one, other], ASN, anywhere)
    assert [] == conflicts(found.members)
    assert sorted({member.id for member in found.members}) == [member.id for member in found.members]


@given(REPORTS, REPORTS)
def test_whoever_is_claimed_is_a_member_or_waits_or_has_left(one: tuple[Claim, ...], other: tuple[Claim, ...]) -> None:
    found = merge([one, other], ASN, anywhere)
    whole = {row.id for row in found.waiting if not row.what}
    assert {claim.id for claim in one + other} == {member.id for member in found.members} | whole | found.left


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), REPORTS, st.floats(0, 100)), max_size=12))
def test_members_never_conflict_over_time(reports: list[tuple[str, tuple[Claim, ...], float]]) -> None:
    mesh = Membership(["a", "b"], PACE, ASN, anywhere)
    now = 0.0
    for source, claims, passed_s in reports:
        mesh.report(source, claims, now)
        now += passed_s
        decision = mesh.decide(now)
        assert [] == conflicts(decision.members)
        assert mesh.due() is None or mesh.due() > now  # type: ignore[operator]


@given(REPORTS, REPORTS, st.floats(0, 1e9))
def test_sources_that_fall_silent_empty_nothing(
    one: tuple[Claim, ...], other: tuple[Claim, ...], silent_s: float
) -> None:
    """What they said last counts however long ago it was; only who was dead already goes."""
    mesh = Membership(["a", "b"], PACE, ASN, anywhere)
    mesh.report("a", tuple(claim._replace(alive=None) for claim in one), 0)
    mesh.report("b", tuple(claim._replace(alive=None) for claim in other), 0)
    before = mesh.decide(1).members
    assert before == mesh.decide(1 + silent_s).members


@given(REPORTS, REPORTS)
def test_two_machines_that_heard_the_same_at_other_times_agree(
    one: tuple[Claim, ...], other: tuple[Claim, ...]
) -> None:
    there, here = (Membership(["a", "b"], PACE, ASN, anywhere) for _ in range(2))
    there.report("a", one, 0)
    there.report("b", other, 0)
    here.report("b", other, 0)
    here.decide(1)
    here.report("a", one, 30)
    for mesh in (there, here):
        mesh.decide(31)
        mesh.let_go(32)
    # After the hold-downs nothing of who came first is left but what a person has yet to let go.
    settled = [(mesh.decide(200), mesh.let_go(200), mesh.decide(300), mesh.decide(400))[-1] for mesh in (there, here)]
    assert settled[0].members == settled[1].members
    assert settled[0].waiting == settled[1].waiting
