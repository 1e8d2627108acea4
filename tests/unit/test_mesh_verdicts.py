"""Verdicts about pairs of members, and about pod prefixes."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from rtagent.core.mesh.sessions import next_hop
from rtagent.core.mesh.verdicts import Finding, Report, SeenRoute, SessionView, Verdict, matrix, verify
from tests.meshes import mesh

UP = SessionView("Established")
CONNECT = SessionView("Connect")
HEALTHY = {"lb-1": UP}


def verdict(a: SessionView | str | None, b: SessionView | str | None, authentication: bool = True) -> Verdict:
    """Judge a pair of which the ends show this; a text: the member could not be asked."""
    reports = {}
    for here, there, end in (("a", "b", a), ("b", "a", b)):
        if not isinstance(end, str):
            reports[here] = Report({**HEALTHY, **({there: end} if end else {})})
    return matrix([("a", "b")], reports, authentication=authentication)[0].verdict


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (UP, UP, Verdict.UP),
        (UP, "not asked", Verdict.UP),
        (UP, None, Verdict.ONE_SIDED),
        (None, CONNECT, Verdict.ONE_SIDED),
        (UP, CONNECT, Verdict.ONE_SIDED),
        (None, None, Verdict.NOT_CONFIGURED),
        ("not asked", "not asked", Verdict.UNKNOWN),
        (SessionView("Idle", "Error: Bad peer AS"), CONNECT, Verdict.ASN),
        (CONNECT, SessionView("Active", "Received: Bad BGP identifier"), Verdict.ROUTER_ID),
        (CONNECT, CONNECT, Verdict.AUTHENTICATION),
        (SessionView("Active", "Socket: No route to host"), CONNECT, Verdict.UNREACHABLE),
        (CONNECT, "not asked", Verdict.UNREACHABLE),
    ],
)  # fmt: skip
def test_a_pair_is_judged_by_both_of_its_ends(a: Any, b: Any, expected: Verdict) -> None:
    assert expected == verdict(a, b)


def test_without_passwords_silence_is_no_wrong_password() -> None:
    assert Verdict.UNREACHABLE == verdict(CONNECT, CONNECT, authentication=False)


def test_a_member_that_reaches_nobody_is_unreachable_rather_than_without_the_password() -> None:
    reports = {"a": Report({"b": CONNECT}), "b": Report({"a": CONNECT, "lb-1": UP})}
    assert [Verdict.UNREACHABLE] == [pair.verdict for pair in matrix([("a", "b")], reports, authentication=True)]


MEMBERS = mesh(2)
LB, NODE2, NODE3 = MEMBERS
RIGHT = tuple(
    SeenRoute(prefix, owner.id, next_hop(owner, prefix), True) for owner in (NODE2, NODE3) for prefix in owner.pods
)


def findings(*routes: SeenRoute, sessions: dict[str, SessionView] | None = None) -> list[Finding]:
    return list(verify(MEMBERS, {"lb-1": Report(sessions or {"node-2": UP, "node-3": UP}, routes)}))


def seen(prefix: str, peer: str = "node-2", hop: str = "10.0.0.2", accepted: bool = False) -> SeenRoute:
    return SeenRoute(ip_network(prefix), peer, ip_address(hop), accepted)


def test_every_prefix_by_its_owner_is_as_it_should_be() -> None:
    assert [] == findings(*RIGHT)


@pytest.mark.parametrize(
    ("route", "why"),
    [
        (seen("0.0.0.0/0"), "a default route"),
        (seen("::/0", hop="fd00::2"), "a default route"),
        (seen("10.128.3.0/24"), "it belongs to node-3"),
        (seen("10.128.3.128/25"), "it is a part of 10.128.3.0/24, which belongs to node-3"),
        (seen("10.128.0.0/16"), "it covers 10.128.2.0/24, which belongs to node-2"),
        (seen("192.0.2.0/24"), "no member owns it"),
        (seen("10.128.2.0/24", hop="10.0.0.3"), "its next hop 10.0.0.3 is not node-2"),
    ],
)
def test_what_was_refused_names_the_offender_and_why(route: SeenRoute, why: str) -> None:
    assert [Finding("lb-1", route.prefix, "refused", "node-2", why)] == findings(*RIGHT, route)
    assert not findings(*RIGHT, route)[0].harmful


def test_a_foreign_prefix_that_is_believed_is_found_though_the_right_one_is_there() -> None:
    stolen = seen("10.128.3.0/24", accepted=True)
    assert [Finding("lb-1", stolen.prefix, "foreign", "node-2", "it belongs to node-3")] == findings(*RIGHT, stolen)


def test_a_missing_prefix_says_why() -> None:
    first, *rest = RIGHT
    missing = Finding("lb-1", first.prefix, "missing", "node-2", "node-2 does not announce it")
    assert [missing] == findings(*rest)
    down = {"node-2": CONNECT, "node-3": UP}
    assert [missing._replace(why="the session with node-2 is Connect")] == findings(*rest, sessions=down)
    assert [missing._replace(why="there is no session with node-2")] == findings(*rest, sessions={"node-3": UP})


def test_a_reflector_may_tell_the_prefixes_of_others_by_their_next_hops() -> None:
    members = mesh(2, reflectors=1)
    owners = [one for one in members if one.pods]
    routes = tuple(SeenRoute(p, "reflector-2", next_hop(one, p), True) for one in owners for p in one.pods)
    assert () == verify(members, {"lb-1": Report({"reflector-2": UP}, routes)})
