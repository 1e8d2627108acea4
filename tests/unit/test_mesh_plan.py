"""What a change of the mesh costs, read from two texts."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest

from rtagent.agent import templates
from rtagent.core.mesh.options import Options
from rtagent.core.mesh.plan import Change, Effect, Plan, plan
from rtagent.core.mesh.template import Templates
from tests.meshes import NEW, configured, member, members_of, mesh, named


def test_equal_texts_cost_nothing() -> None:
    files = configured(mesh(3), "node-2").files
    assert Plan((), ()) == plan(files, files)


def test_a_member_that_joins_is_one_session_more() -> None:
    few, many = (configured(mesh(nodes), "lb-1", Options(authentication="md5")).files for nodes in (3, 4))
    assert Plan((Change("mesh.node-5", Effect.ADDED, ()),), ()) == plan(few, many)
    assert Plan((Change("mesh.node-5", Effect.REMOVED, ()),), ()) == plan(many, few)


def test_another_layout_and_other_comments_cost_nothing() -> None:
    files = dict(configured(mesh(3), "node-2").files)
    text = files["mesh.conf"].replace("    ", "\t").replace(";\n", "; # here\n\n")
    assert Plan((), ()) == plan(files, {**files, "mesh.conf": text})


@pytest.mark.parametrize(
    "change",
    [
        {"secret": b"another"},
        {"options": Options(authentication="md5", hold_time_s=31, bfd=False)},
        {"templates": Templates({**templates.shipped(), "own-import": "if net.len = 3 then return false;\n"})},
        {"members": mesh(20)},
        {"members": mesh(30, balancers=2)},
    ],
)
def test_sessions_that_are_not_taken_apart_are_judged_like_those_that_are(change: dict[str, Any]) -> None:
    given: dict[str, Any] = {"options": Options(authentication="md5"), "members": mesh(30)}
    old, new = (
        configured(values.pop("members"), "lb-1", **values).files for values in (dict(given), {**given, **change})
    )
    # A brace on a line of its own is no layout of a generated session.
    apart = [
        {name: text.replace("from mesh_session {", "from mesh_session\n{") for name, text in files.items()}
        for files in (old, new)
    ]
    assert plan(*apart) == plan(old, new)
    assert plan(old, new).changes


def test_new_pod_prefixes_of_a_member_are_a_refresh_of_its_session() -> None:
    before = mesh(3)
    more = named(before, "node-3")
    after = members_of(
        [*(one for one in before if one is not more), more._replace(pods=(*more.pods, ip_network("10.200.0.0/24")))]
    )
    found = plan(configured(before, "lb-1").files, configured(after, "lb-1").files)
    assert (Change("mesh.node-3", Effect.REFRESH, ("ipv4 import",)),) == found.changes


def test_another_secret_restarts_everybody_and_is_not_their_own_doing() -> None:
    options = Options(authentication="md5")
    old = configured(mesh(2), "lb-1", options).files
    found = plan(old, configured(mesh(2), "lb-1", options, secret=b"new").files)
    assert ("mesh.node-2", "mesh.node-3") == found.unrelated_restarts == found.of(Effect.RESTART)
    assert {("password",)} == {change.why for change in found.changes}


def test_another_kind_of_authentication_is_a_restart_that_second_sessions_bridge() -> None:
    md5, ao = (configured(mesh(2), "lb-1", Options(authentication=kind), version=NEW).files for kind in ("md5", "ao"))
    found = plan(md5, ao)
    assert ("mesh.node-2", "mesh.node-3") == found.unrelated_restarts == found.bridgeable
    assert {("authentication", "keys", "password")} == {change.why for change in found.changes}


def test_another_secret_of_tcp_ao_is_one_too() -> None:
    options = Options(authentication="ao")
    old, new = (configured(mesh(2), "lb-1", options, version=NEW, secret=secret).files for secret in (b"old", b"new"))
    assert ("mesh.node-2", "mesh.node-3") == plan(old, new).bridgeable


def test_the_hold_time_in_the_template_restarts_everybody() -> None:
    found = plan(configured(mesh(2), "lb-1").files, configured(mesh(2), "lb-1", Options(hold_time_s=30)).files)
    assert ("mesh.node-2", "mesh.node-3") == found.unrelated_restarts


def test_a_member_that_moves_restarts_its_own_session_only() -> None:
    moved = members_of([*mesh(1), member(3)._replace(address4=IPv4Address("10.0.0.33"))])
    found = plan(configured(mesh(2), "lb-1").files, configured(moved, "lb-1").files)
    assert [("mesh.node-3", Effect.RESTART, False)] == [change[:2] + change[3:4] for change in found.changes]


def test_a_new_address_of_its_own_is_a_restart_that_must_be_allowed() -> None:
    moved = members_of([mesh(0)[0]._replace(address4=IPv4Address("10.0.0.77")), *mesh(2)[1:]])
    found = plan(configured(mesh(2), "lb-1").files, configured(moved, "lb-1").files)
    assert ("mesh.node-2", "mesh.node-3") == found.unrelated_restarts


def test_a_changed_function_is_a_refresh_of_all_that_call_it_directly_or_not() -> None:
    own = {"own-first": "define LIMIT = 24;\nfunction short() { return net.len < LIMIT; }\n",
           "own-import": "if short() then return false;\n"}  # fmt: skip
    old, new = (
        configured(mesh(2, balancers=2), "lb-1", templates=Templates({**templates.shipped(), **texts})).files
        for texts in (own, {**own, "own-first": own["own-first"].replace("24", "25")})
    )
    found = plan(old, new)
    assert [("mesh.node-3", Effect.REFRESH), ("mesh.node-4", Effect.REFRESH)] == [row[:2] for row in found.changes]


def test_statements_that_are_not_known_are_taken_to_restart() -> None:
    own = Templates({**templates.shipped(), "own-session": "ttl security on;\n"})
    found = plan(configured(mesh(1), "lb-1").files, configured(mesh(1), "lb-1", templates=own).files)
    assert (Change("mesh.node-2", Effect.RESTART, ("ttl",), True, True),) == found.changes


def test_protocols_that_are_no_sessions_are_told_apart() -> None:
    found = plan(configured(mesh(1), "lb-1").files, configured(mesh(1), "lb-1", Options(kernel_metric=40)).files)
    assert Plan((), ("protocol kernel 'mesh.kernel4'", "protocol kernel 'mesh.kernel6'")) == found


def test_sets_with_lengths_in_braces_are_no_blocks() -> None:
    session = (
        "protocol bgp a { neighbor 10.0.0.1 as 1; ipv4 { import where net ~ [ 10.0.0.0/8{8,%d}, 11.0.0.0/8+ ]; }; }"
    )
    found = plan({"a": session % 24}, {"a": session % 25})
    assert (Change("a", Effect.REFRESH, ("ipv4 import",)),) == found.changes
