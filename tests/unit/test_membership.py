"""What time makes of claims: debounce, hold-down, brake, and sources that are gone."""

from __future__ import annotations

from rtagent.core.mesh.membership import Decision, Membership, Pace
from rtagent.vector.claims import Claim
from tests.claims import ASN, anywhere, claim

PACE = Pace(debounce_s=0.5, debounce_max_s=5, hold_down_s=60, brake_share=0.3, brake_least=3)


def membership(*sources: str, before: Membership | None = None) -> Membership:
    members = before.decide(0).members if before else ()
    return Membership(sources or ("file",), PACE, ASN, anywhere, members)


def ids(decision: Decision) -> list[str]:
    return [member.id for member in decision.members]


def nodes(count: int) -> tuple[Claim, ...]:
    return tuple(claim(f"n{number}") for number in range(1, count + 1))


def test_a_decision_waits_until_the_sources_are_quiet() -> None:
    mesh = membership()
    assert mesh.due() is None
    mesh.report("file", nodes(1), 10.0)
    assert mesh.due() == 10.5
    mesh.report("file", nodes(2), 10.3)
    assert mesh.due() == 10.8


def test_a_source_that_never_is_quiet_is_waited_for_no_longer_than_the_limit() -> None:
    mesh = membership()
    for tenth in range(100):
        mesh.report("file", nodes(tenth + 1), 10 + tenth / 10)
    assert mesh.due() == 15


def test_the_same_claims_again_are_no_change() -> None:
    mesh = membership()
    mesh.report("file", nodes(2), 0)
    mesh.decide(1)
    mesh.report("file", nodes(2)[::-1], 2)
    assert mesh.due() is None


def test_a_member_that_nobody_claims_any_more_stays_for_the_hold_down() -> None:
    mesh = membership()
    mesh.report("file", nodes(3), 0)
    mesh.decide(1)
    mesh.report("file", nodes(2), 2)
    decision = mesh.decide(3)
    assert (["n1", "n2", "n3"], (("n3", 60.0),)) == (ids(decision), decision.held)
    assert mesh.due() == 63
    assert ["n1", "n2", "n3"] == ids(mesh.decide(62))
    assert ["n1", "n2"] == ids(mesh.decide(63))
    assert mesh.due() is None


def test_a_member_that_comes_back_within_the_hold_down_was_never_away() -> None:
    mesh = membership()
    mesh.report("file", nodes(3), 0)
    before = mesh.decide(1).members
    mesh.report("file", nodes(2), 2)
    mesh.decide(3)
    mesh.report("file", nodes(3), 40)
    decision = mesh.decide(41)
    assert (before, ()) == (decision.members, decision.held)
    mesh.report("file", nodes(2), 50)
    assert ["n1", "n2", "n3"] == ids(mesh.decide(64)), "the hold-down begins anew"


def test_one_who_held_an_address_yields_it_at_once_to_who_has_it_now() -> None:
    mesh = membership()
    mesh.report("file", nodes(2), 0)
    mesh.decide(1)
    mesh.report("file", (claim("n1"), claim("n7", "192.0.2.2")), 2)
    assert ["n1", "n7"] == ids(mesh.decide(3))


def test_a_member_that_does_not_answer_stays_as_it_is_for_the_hold_down_and_no_longer() -> None:
    mesh = membership("mqtt")
    claims = tuple(claim(f"n{number}", claimant=f"m{number}", alive=True) for number in (1, 2))
    mesh.report("mqtt", claims, 0)
    before = mesh.decide(1).members
    mesh.report("mqtt", (claims[0], claims[1]._replace(alive=False)), 2)
    decision = mesh.decide(3)
    assert (before, (("n2", 60.0),)) == (decision.members, decision.held)
    assert ["n1"] == ids(mesh.decide(63))
    mesh.report("mqtt", claims, 70)
    assert ["n1", "n2"] == ids(mesh.decide(71))


def test_the_address_of_one_that_is_dead_for_good_is_free_again() -> None:
    mesh = membership("mqtt")
    old = claim("n1", since=100, claimant="m1", alive=False)
    new = claim("n2", "192.0.2.1", since=200, claimant="m2", alive=True)
    mesh.report("mqtt", (old, new), 0)
    assert ["n1"] == ids(mesh.decide(1))
    assert ["n2"] == ids(mesh.decide(61))


def test_a_machine_that_was_replaced_gives_its_name_to_the_new_one_after_the_hold_down() -> None:
    mesh = membership("file", "mqtt")
    mesh.report("file", (claim("n1", None),), 0)
    old = claim("n1", "192.0.2.1", since=100, claimant="m1", alive=False)
    new = claim("n1", "192.0.2.7", since=200, claimant="m2", alive=True)
    mesh.report("mqtt", (old, new), 0)
    assert ["192.0.2.1"] == [str(member.address4) for member in mesh.decide(1).members]
    assert ["192.0.2.7"] == [str(member.address4) for member in mesh.decide(61).members]


def test_whoever_is_in_the_file_is_not_removed_for_being_dead() -> None:
    mesh = membership("file", "mqtt")
    mesh.report("file", (claim("n1", None),), 0)
    mesh.report("mqtt", (claim("n1", claimant="m1", alive=False),), 0)
    mesh.decide(1)
    decision = mesh.decide(1000)
    assert (["n1"], ()) == (ids(decision), decision.held)


def test_a_good_bye_takes_no_hold_down() -> None:
    mesh = membership("mqtt")
    claims = tuple(claim(f"n{number}", claimant=f"m{number}", alive=True) for number in (1, 2))
    mesh.report("mqtt", claims, 0)
    mesh.decide(1)
    mesh.report("mqtt", (claims[0], claims[1]._replace(left=True)), 2)
    assert ["n1"] == ids(mesh.decide(3))


def test_nobody_goes_before_every_source_has_been_heard() -> None:
    first = membership()
    first.report("file", nodes(4), 0)
    mesh = membership("file", "kubernetes", before=first)
    mesh.report("file", nodes(2), 0)
    decision = mesh.decide(1000)
    assert (["n1", "n2", "n3", "n4"], ("kubernetes",)) == (ids(decision), decision.unheard)
    mesh.report("kubernetes", (claim("n3"),), 1001)
    assert ["n1", "n2", "n3", "n4"] == ids(mesh.decide(1002))
    assert ["n1", "n2", "n3"] == ids(mesh.decide(1062))


def test_when_too_many_go_at_once_nobody_goes_until_a_person_lets_them() -> None:
    mesh = membership()
    mesh.report("file", nodes(10), 0)
    mesh.decide(1)
    mesh.report("file", nodes(6), 2)
    decision = mesh.decide(1000)
    assert (10, ("n10", "n7", "n8", "n9")) == (len(decision.members), decision.braked)
    assert 10 == len(mesh.decide(2000).members)
    assert ("n10", "n7", "n8", "n9") == mesh.let_go(2001)
    assert mesh.due() == 2001.5
    assert 6 == len(mesh.decide(2001.5).members)


def test_who_goes_one_by_one_within_a_hold_down_is_braked_just_the_same() -> None:
    mesh = membership()
    mesh.report("file", nodes(10), 0)
    mesh.decide(1)
    for count in range(9, 5, -1):
        mesh.report("file", nodes(count), 10 - count + 2)
        decision = mesh.decide(10 - count + 3)
    assert ("n10", "n7", "n8", "n9") == decision.braked


def test_the_brake_lets_go_by_itself_when_the_members_are_back() -> None:
    mesh = membership()
    mesh.report("file", nodes(10), 0)
    mesh.decide(1)
    mesh.report("file", nodes(1), 2)
    mesh.decide(3)
    mesh.report("file", nodes(10), 4)
    decision = mesh.decide(5)
    assert ((), ()) == (decision.braked, decision.held)


def test_a_few_may_go_from_a_small_mesh() -> None:
    mesh = membership()
    mesh.report("file", nodes(3), 0)
    mesh.decide(1)
    mesh.report("file", nodes(1), 2)
    mesh.decide(3)
    assert ["n1"] == ids(mesh.decide(63))


def test_good_byes_of_too_many_are_braked() -> None:
    mesh = membership("mqtt")
    claims = tuple(claim(f"n{number}", claimant=f"m{number}") for number in range(1, 5))
    mesh.report("mqtt", claims, 0)
    mesh.decide(1)
    mesh.report("mqtt", tuple(one._replace(left=True) for one in claims), 2)
    assert 4 == len(mesh.decide(3).members)


def test_those_who_hear_only_one_of_two_sources_agree_on_everybody_whom_both_know() -> None:
    file = (claim("n1"), claim("n2", None, pods="10.2.0.0/24"))
    announced = tuple(
        claim(f"n{number}", claimant=f"m{number}", since=100.0 + number, alive=True) for number in (1, 2, 3)
    )
    both, one = membership("file", "mqtt"), membership("file", "mqtt")
    for mesh in (both, one):
        mesh.report("mqtt", announced, 0)
    both.report("file", file, 0)
    known = {member.id: member._replace(pods=()) for member in both.decide(1).members}
    assert known == {member.id: member._replace(pods=()) for member in one.decide(1).members}
    assert ("file",) == one.decide(2).unheard
