"""The mesh as BIRD's text: canonical, independent of strangers, and as it was recorded."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtagent.agent import templates
from rtagent.core.mesh.options import Options, PodRange, Reflection
from rtagent.core.mesh.secrets import no_room, pair_key
from rtagent.core.mesh.sessions import Topology, escaped, topology
from rtagent.core.mesh.template import Template, TemplateError, Templates
from rtagent.core.mesh.text import KEYS_FILE, MAIN_FILE, Unsupported, Written, configuration
from rtagent.vector.members import Role
from tests.golden.mesh.record import HERE, scenarios
from tests.meshes import NEW, OLD, SECRET, TEMPLATES, configured, member, members_of, mesh, named


def blocks(text: str) -> dict[str, str]:
    """Return the text of each session by the name of its protocol."""
    return dict(re.findall(r"^protocol bgp '(\S+)'(.*?)^}", text, re.MULTILINE | re.DOTALL))


def shared(text: str) -> dict[str, str]:
    """Return the text of each template by its name."""
    return dict(re.findall(r"^template bgp (\S+) {(.*?)^}", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", scenarios())
def test_the_text_is_as_it_was_recorded(name: str) -> None:
    recorded = {file.name: file.read_text() for file in (HERE / name).iterdir()}
    assert recorded == scenarios()[name].files


def test_every_recorded_scenario_is_still_made() -> None:
    assert {folder.name for folder in HERE.iterdir() if (folder / MAIN_FILE).exists()} == set(scenarios())


def test_a_member_that_joins_changes_no_other_session() -> None:
    few, many = mesh(5), mesh(9)
    for name in (one.id for one in few):
        before = blocks(configured(few, name).files[MAIN_FILE])
        after = blocks(configured(many, name).files[MAIN_FILE])
        assert before.items() <= after.items()
        assert len(before) + 4 == len(after)


def test_the_two_ends_of_a_pair_agree() -> None:
    members = mesh(4, reflectors=1)
    ends = {(one.id, session.peer.id): session for one in members for session in configured(members, one.id).sessions}
    assert len(members) * (len(members) - 1) == len(ends)
    for (one, other), session in ends.items():
        back = ends[other, one]
        assert (session.local, session.address) == (back.address, back.local)
        assert session.passive != back.passive
        assert [(c.family, c.here, c.there) for c in session.channels] == [
            (c.family, c.there, c.here) for c in back.channels
        ]


def test_the_side_that_connects_is_chosen_by_number_and_not_by_spelling() -> None:
    members = members_of([member(9), member(10)])
    assert [False] == [session.passive for session in configured(members, "node-9").sessions]
    assert [True] == [session.passive for session in configured(members, "node-10").sessions]


@given(st.text(min_size=1, max_size=70), st.text(min_size=1, max_size=70))
def test_names_of_protocols_fit_and_stay_different(one: str, other: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,50}", escaped(one))
    assert (one == other) == (escaped(one) == escaped(other))


def test_names_of_hosts_stay_readable() -> None:
    assert "node-1.example.net" == escaped("node-1.example.net")


def test_only_the_file_of_keys_holds_keys() -> None:
    files = configured(mesh(3), "node-2", Options(authentication="md5")).files
    keys = {pair_key(SECRET, "node-2", one.id) for one in mesh(3) if one.id != "node-2"}
    assert keys == set(re.findall(r'"(\w+)"', files[KEYS_FILE]))
    assert not [key for key in keys if key in files[MAIN_FILE]]


def test_the_key_of_a_pair_is_the_same_at_both_ends_and_no_other_pairs() -> None:
    assert pair_key(SECRET, "a", "b") == pair_key(SECRET, "b", "a")
    assert len({pair_key(SECRET, *pair) for pair in (("a", "b"), ("a", "c"), ("ab", "c"), ("a", "bc"))}) == 4
    key = pair_key(SECRET, "a", "b")
    assert (True, True) == (key.isalnum(), len(key) <= 80)


def test_passwords_that_the_kernel_has_no_room_for_are_told_with_the_sysctl() -> None:
    sessions = configured(mesh(151), "lb-1").sessions
    assert 151 == len(sessions)
    assert no_room(sessions[:150], 20480) is None
    assert "151 sessions with passwords need 20536 bytes" in str(no_room(sessions, 20480))
    assert "sysctl -w net.core.optmem_max=20536" in str(no_room(sessions, 20480))


def test_balancers_announce_nothing_and_believe_each_other_nothing() -> None:
    text = configured(mesh(1, balancers=2), "lb-1").files[MAIN_FILE]
    assert ["none"] * 2 == re.findall(r"export (.*);", shared(text)["mesh_session46"])
    assert ["none"] * 2 == re.findall(r"import (.*?);", blocks(text)["mesh.lb-2"])
    assert ["where mesh_accepts([ 10.128.3.0/24 ], 10.0.0.3)", "where mesh_accepts([ fd01:0:0:3::/64 ], fd00::3)"] == (
        re.findall(r"import (.*?);", blocks(text)["mesh.node-3"])
    )


def test_a_drained_node_announces_nothing_and_keeps_its_sessions() -> None:
    text = configured(mesh(2), "node-2", Options(drained=True)).files[MAIN_FILE]
    assert ["none"] * 2 == re.findall(r"export (.*);", shared(text)["mesh_session46"])
    assert {"mesh.lb-1", "mesh.node-3"} == set(blocks(text))


def test_sessions_share_a_template_with_those_of_their_kind() -> None:
    only4, only6 = member(7)._replace(address6=None), member(8)._replace(address4=None)
    text = configured(members_of([*mesh(2, reflectors=1), only4, only6]), "node-3").files[MAIN_FILE]
    kinds = dict(re.findall(r"protocol bgp 'mesh\.(\S+)' from (\w+) ", text))
    assert kinds == {
        "lb-1": "mesh_session46", "node-4": "mesh_session46", "node-7": "mesh_session4", "node-8": "mesh_session6",
        "reflector-2": "mesh_reflector46",
    }  # fmt: skip
    templates = shared(text)
    assert set(kinds.values()) == templates.keys()
    channels = {name: re.findall(r"^    (ipv[46]) {", body, re.MULTILINE) for name, body in templates.items()}
    assert channels == {name: ["ipv4"] if name == "mesh_session4" else ["ipv4", "ipv6"] for name in templates}
    assert ["mesh_session6"] == [name for name, body in templates.items() if "extended next hop on;" in body]
    assert ["mesh_reflector46"] == [name for name, body in templates.items() if "receive limit 65536 " in body]


def test_pods_outside_of_the_ranges_are_neither_announced_nor_accepted() -> None:
    ranges = (PodRange(ip_network("10.128.2.0/23"), 24, 26), PodRange(ip_network("fd02::/16"), 64, 64))
    text = configured(mesh(3), "node-2", Options(ranges=ranges)).files[MAIN_FILE]
    assert {"10.128.2.0/24", "10.128.3.0/24"} == set(re.findall(r"(10\.128\S+/\d+)", text))
    assert "fd01" not in text


def test_members_that_cannot_have_a_session_are_told_and_stop_nobody() -> None:
    odd = [
        member(7)._replace(id="other-as", asn=64513),
        member(8)._replace(id="same-router", router_id=IPv4Address("10.0.0.2")),
        member(9)._replace(id="no-address", address4=None, address6=None),
        member(2)._replace(id="same-address", router_id=IPv4Address("10.0.0.99")),
    ]
    made = configured(members_of([*mesh(2), *odd]), "node-2")
    assert ["lb-1", "node-3"] == [session.peer.id for session in made.sessions]
    assert {
        "other-as": "is in AS 64513, not in 64512",
        "same-router": "has the router id 10.0.0.2 too",
        "no-address": "has no address of a family that this member has",
        "same-address": "has the address 10.0.0.2 too",
    } == dict(made.impossible)


def test_tcp_ao_is_refused_for_a_bird_without_it() -> None:
    with pytest.raises(Unsupported, match=r"BIRD 2\.0\.12 has no TCP-AO"):
        configured(mesh(2), "node-2", Options(authentication="ao"))
    assert configured(mesh(2), "node-2", Options(authentication="ao"), version=NEW).sessions


def test_reflection_turns_on_and_off_at_different_sizes() -> None:
    options = Options(reflection=Reflection(6, 4))
    shape: Topology | None = None
    seen = []
    for nodes in (2, 3, 4, 3, 2, 1, 2, 3):
        shape = topology(mesh(nodes, reflectors=1), options, shape)
        seen.append((nodes + 2, shape.value))
    assert [
        (4, "mesh"), (5, "mesh"), (6, "reflectors"), (5, "reflectors"), (4, "reflectors"), (3, "mesh"), (4, "mesh"),
        (5, "mesh"),
    ] == seen  # fmt: skip
    assert Topology.MESH is topology(mesh(9), options, None), "nobody reflects"


def test_reflectors_keep_their_sessions_whatever_the_topology() -> None:
    members = mesh(4, reflectors=2)
    for name in ("node-4", "lb-1", "reflector-2"):
        in_a_mesh = blocks(configured(members, name).files[MAIN_FILE])
        reflected = blocks(configured(members, name, topology=Topology.REFLECTORS).files[MAIN_FILE])
        assert reflected.items() <= in_a_mesh.items()
        assert {n for n in in_a_mesh if "reflector" in n} <= set(reflected)
    assert {f"mesh.{one.id}" for one in members} - {"mesh.reflector-2"} == set(reflected), (
        "a reflector serves everybody"
    )


def test_the_order_of_what_was_learned_does_not_show() -> None:
    members = list(mesh(9))
    random.Random(1).shuffle(members)
    assert configured(mesh(9), "node-2").files == configured(members_of(members), "node-2").files


def test_what_was_written_before_shows_in_no_text() -> None:
    written = Written()
    few, many = mesh(3), mesh(5)
    moved = members_of(one._replace(address4=IPv4Address("10.9.9.9")) if one.id == "node-3" else one for one in many)
    promoted = members_of(one._replace(role=Role.ROUTER, pods=()) if one.id == "node-2" else one for one in many)
    md5 = Options(authentication="md5")
    other = Templates({**templates.shipped(), "own-session": "ttl security on;\n"})
    for members, options, texts, version, secret in (
        (few, Options(), TEMPLATES, OLD, SECRET),
        (many, Options(), TEMPLATES, OLD, SECRET),
        (moved, Options(), TEMPLATES, OLD, SECRET),
        (promoted, Options(), TEMPLATES, OLD, SECRET),
        (many, Options(), TEMPLATES, NEW, SECRET),
        (many, md5, TEMPLATES, NEW, SECRET),
        (many, md5, TEMPLATES, NEW, b"another"),
        (many, md5, other, NEW, b"another"),
        (few, Options(drained=True), TEMPLATES, OLD, SECRET),
    ):
        common = (members, named(members, "node-2"), options, texts, version, Topology.MESH, secret)
        assert configuration(*common) == configuration(*common, written)


def test_a_member_that_joins_is_the_only_one_that_is_written() -> None:
    written = Written()
    common = (Options(), TEMPLATES, OLD, Topology.MESH, SECRET, written)
    configuration(mesh(3), named(mesh(3), "node-2"), *common)
    before = dict(written.rows)
    configuration(mesh(4), named(mesh(4), "node-2"), *common)
    assert {"node-5"} == {peer for peer, row in written.rows.items() if before.get(peer) is not row}


def test_options_that_do_not_matter_here_change_nothing() -> None:
    options = Options()
    changed = replace(options, reflection=Reflection(100, 80), prefix_limit=64)
    assert configured(mesh(3), "node-2", options).files == configured(mesh(3), "node-2", changed).files


def test_the_operators_own_text_goes_where_it_belongs(tmp_path: Path) -> None:
    (tmp_path / "own-first.conf").write_text("# A comment for its reader.\n\ndefine MINE = 10.9.0.0/16;\n")
    (tmp_path / "own-import.conf").write_text("if net = MINE then return true;\n")
    (tmp_path / "own-session.conf").write_text("ttl security on;\n")
    (tmp_path / "own-last.conf").write_text("protocol static mine { ipv4; route MINE blackhole; }\n")
    text = configured(mesh(2), "node-2", templates=templates.load(tmp_path)).files[MAIN_FILE]
    assert "A comment" not in text
    assert text.index("define MINE") < text.index("function mesh_accepts")
    assert "{\n    if net = MINE then return true;\n    if net.len = 0" in text
    assert "    ttl security on;\n}" in text
    assert text.endswith("protocol static mine { ipv4; route MINE blackhole; }\n")


def test_a_template_of_the_operators_takes_the_place_of_ours(tmp_path: Path) -> None:
    shipped = templates.shipped()["bfd"]
    (tmp_path / "bfd.conf").write_text(shipped.replace("multihop {", "neighbor 10.0.0.1 {"))
    assert "neighbor 10.0.0.1 {" in configured(mesh(2), "node-2", templates=templates.load(tmp_path)).files[MAIN_FILE]


def test_a_file_that_is_no_template_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "own-imports.conf").write_text("")
    with pytest.raises(TemplateError, match=r"own-imports\.conf is no template; did you mean own-import\.conf\?"):
        templates.load(tmp_path)


def test_a_name_that_a_template_does_not_know_is_told_with_its_line() -> None:
    texts = {**templates.shipped(), "bfd": "# For the reader.\nprotocol bfd {\n    interval $interval;\n}\n"}
    with pytest.raises(TemplateError, match=r"bfd\.conf:3: \$interval is not known here; known are \$bfd_interval_ms"):
        configured(mesh(2), "node-2", templates=Templates(texts))


def test_a_block_is_indented_like_its_line_and_disappears_when_empty() -> None:
    template = Template("x", "# Comment.\na {\n    $rows\n    $nothing\n    price $$5 ${name}s;\n}\n")
    assert "a {\n    one;\n    two;\n    price $5 thing" in template.fill(
        {"rows": "one;\ntwo;", "nothing": "", "name": "thing"}
    )
