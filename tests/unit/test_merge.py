"""Claims of several sources become members, and the newer of two claimants waits."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import pytest

from rtagent.core.mesh.merge import Merged, Waiting, merge
from rtagent.vector.claims import Claim
from rtagent.vector.members import Member, Role, lies_within
from tests.claims import ASN, anywhere, claim


def merged(*sources: list[Claim]) -> Merged:
    return merge([tuple(source) for source in sources], ASN, anywhere)


def ids(*sources: list[Claim]) -> list[str]:
    return [member.id for member in merged(*sources).members]


def test_what_one_source_does_not_know_another_one_tells() -> None:
    file = [Claim("n1", role=Role.LB, labels=(("zone", "a"),))]
    nodes = [claim("n1", "192.0.2.1", labels=(("zone", "b"), ("disk", "ssd")))]
    labels = (("disk", "ssd"), ("zone", "a"))
    expected = Member("n1", Role.LB, ASN, IPv4Address("192.0.2.1"), IPv4Address("192.0.2.1"), labels=labels)
    assert (expected,) == merged(file, nodes).members


def test_a_member_that_no_source_knows_enough_of_waits() -> None:
    found = merged([Claim("n1", asn=ASN), claim("n2", None, address6="2001:db8::2")])
    assert found.members == ()
    assert found.waiting == (
        Waiting("n1", "", "no source tells its role or its address"),
        Waiting("n2", "", "no source tells its router id"),
    )


def test_a_member_of_another_as_waits() -> None:
    assert merged([claim("n1", asn=65000)]).waiting == (Waiting("n1", "", "its AS is 65000, the mesh's is 64512"),)


@pytest.mark.parametrize(
    ("resource", "wanted"),
    [
        ("address 192.0.2.1", {"address": "192.0.2.1"}),
        ("router id 192.0.2.1", {"router_id": "192.0.2.1"}),
    ],
)
def test_the_newer_of_two_waits(resource: str, wanted: dict[str, str]) -> None:
    first = claim("n1", since=100, router_id="192.0.2.1")
    second = claim("n2", **{"router_id": "192.0.2.2"} | wanted)
    second = second._replace(since=tuple((name, 200.0) for name in second.resources))
    for claims in ([first, second], [second, first]):
        assert ["n1"] == ids(claims)
        assert (Waiting("n2", "", f"n1 has {resource}"),) == merged(claims).waiting


def test_who_has_the_one_address_longer_keeps_it_however_old_the_rest_is() -> None:
    moved = claim("n1", "192.0.2.9", since={"name": 1, "router id 192.0.2.9": 500, "address 192.0.2.9": 500})
    there = claim("n9", since=100)
    assert ["n9"] == ids([moved, there])


def test_of_two_as_old_as_each_other_the_first_in_the_alphabet_stays() -> None:
    assert ["n1"] == ids([claim("n2", "192.0.2.1", since=5), claim("n1", "192.0.2.1", since=5)])


@pytest.mark.parametrize("part", ["10.0.0.0/24", "10.0.0.0/25", "10.0.0.128/26", "10.0.0.0/16"])
def test_of_two_that_want_one_prefix_or_part_of_it_the_newer_does_without(part: str) -> None:
    found = merged([claim("n1", since=100, pods="10.0.0.0/24"), claim("n2", since=200, pods=f"{part} 10.2.0.0/24")])
    assert [(ip_network("10.0.0.0/24"),), (ip_network("10.2.0.0/24"),)] == [member.pods for member in found.members]
    assert (Waiting("n2", part, "n1 has 10.0.0.0/24"),) == found.waiting


def test_a_prefix_where_none_may_be_or_of_one_who_owns_none_does_not_count() -> None:
    allowed = ip_network("10.0.0.0/16")
    claims = (claim("n1", pods="10.1.0.0/24"), claim("n2", pods="10.0.2.0/24", role=Role.LB))
    found = merge([claims], ASN, lambda prefix: lies_within(prefix, allowed))
    assert [(), ()] == [member.pods for member in found.members]
    assert [("n1", "10.1.0.0/24"), ("n2", "10.0.2.0/24")] == [row[:2] for row in found.waiting]


def test_of_two_machines_with_one_name_the_newer_waits() -> None:
    old = claim("n1", since=100, claimant="m2")
    new = claim("n1", "192.0.2.7", since=200, claimant="m1")
    found = merged([new, old])
    assert [IPv4Address("192.0.2.1")] == [member.address4 for member in found.members]
    assert (Waiting("n1", "", "machine m1 wants the name that machine m2 has"),) == found.waiting


def test_a_member_that_said_good_bye_is_none() -> None:
    found = merged([claim("n1", left=True, claimant="m1"), claim("n2")])
    assert (["n2"], frozenset({"n1"})) == ([member.id for member in found.members], found.left)


def test_one_that_is_in_the_file_does_not_leave_by_saying_so() -> None:
    assert ["n1"] == ids([claim("n1")], [claim("n1", left=True, claimant="m1")])
