"""Faults, each with what is to come of it, and nobody else's session disturbed; docs/mesh.md has the list.

::

    agent ── BIRD lb-1  ┐
             BIRD node-2 ├── routed through a hub; the others' BIRDs have the same texts, some an agent, too
             BIRD node-3 ┘
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest

from rtagent.agent.mesh_bird import has_tcp_ao
from rtagent.vector.members import Member, Members
from tests.lab import birds
from tests.lab.birds import BirdRelease
from tests.lab.broker import Broker
from tests.lab.lab import CommandFailed, Lab, Namespace, wait_for
from tests.lab.mesh import Mesh, MeshMember
from tests.lab.mesh_agents import Agents, members_file, over_file, over_mqtt
from tests.meshes import member, members_of, mesh


@pytest.fixture
def lab() -> Iterator[Lab]:
    if not birds.INSTALLED.present:
        pytest.skip(birds.INSTALLED.absence)
    with Lab() as made:
        yield made


@contextmanager
def unnoticed(one: MeshMember, *besides: str) -> Iterator[None]:
    """Check that meanwhile no session restarts at this member but those ``besides``, protocols by name."""
    before = {name: row for name, row in one.sessions().items() if name not in besides}
    yield
    assert set() == one.restarted(before)


def tell(lab: Lab, members: Members) -> str:
    """Write the members' file; return the table of the source."""
    file = lab.folder / "members.json"
    file.write_text(members_file(members))
    return over_file(file)


def flooded(node: MeshMember) -> str:
    """Return the text with which a node announces nine prefixes more than it should."""
    flood = "".join(f"    route 10.99.{number}.0/24 blackhole;\n" for number in range(9))
    text = re.sub(r"^    route 10\.128\.", f"{flood}    route 10.128.", node.files["mesh.conf"], flags=re.MULTILINE)
    return re.sub(r"where mesh_announces\(\[ 10[^)]+\)", 'where proto = "mesh.pods4"', text)


def exceeded_and_recovered(lab: Lab, release: BirdRelease, action: str) -> None:
    site = Mesh(lab, mesh(2), release)
    limit = f'prefix_limit = 3\nprefix_limit_action = "{action}"\nprefix_limit_retry_s = 1'
    agents = Agents(lab, tell(lab, site.everybody()), limit)
    lb, other, node = (site[name] for name in ("lb-1", "node-2", "node-3"))
    node.write(site.everybody())
    good = node.files["mesh.conf"]
    (node.folder / "mesh.conf").write_text(flooded(node))
    other.write(site.everybody())
    node.bird.start()
    other.bird.start()
    agents.start(lb)
    wait_for(lambda: agents.status(lb)["mesh"]["limits"], "the breach in the status", 30)
    (told,) = agents.status(lb)["mesh"]["limits"]
    assert ("mesh.node-3", ["ipv4"], 3) == (told["session"], told["families"], told["limit"])
    assert "degraded" == agents.status(lb)["health"]
    assert not [prefix for prefix in lb.kernel() if prefix.startswith("10.99.")]
    wait_for(lambda: lb.sessions()["mesh.node-2"][0] == "Established", "the other session")
    with unnoticed(lb, *(["mesh.node-3"] if action == "disable" else [])):
        wait_for(lambda: agents.says(lb, "mesh.limit_retried"), "a try that does not help", 30)
        (node.folder / "mesh.conf").write_text(good)
        node.bird.configure()
        wait_for(lambda: "10.128.3.0/24" in lb.kernel(), "the good route", 60)
        wait_for(lambda: not agents.status(lb)["mesh"]["limits"], "the end of the breach", 60)
    assert "ok" == agents.status(lb)["health"]
    assert "mesh.limit_exceeded" in agents.running["lb-1"].text()


def test_who_sends_too_much_is_kept_out_and_asked_again_until_it_is_well(lab: Lab, bird_release: BirdRelease) -> None:
    exceeded_and_recovered(lab, bird_release, "block")


def test_a_session_that_its_limit_has_ended_is_tried_again_until_it_is_well(lab: Lab) -> None:
    exceeded_and_recovered(lab, birds.INSTALLED, "disable")


def test_a_bird_that_stops_restarts_or_hangs_is_waited_for(lab: Lab) -> None:
    site = Mesh(lab, mesh(2))
    agents = Agents(lab, tell(lab, site.everybody()))
    members = list(site.members.values())
    for one in members:
        agents.start(one)
    agents.wait(members, 2)
    lb, node = site["lb-1"], site["node-3"]
    with unnoticed(node, "mesh.lb-1"):
        lb.bird.hang()
        tell(lab, members_of([*site.everybody(), member(4)]))  # something to do for the agent
        wait_for(lambda: agents.status(lb)["mesh"]["state"] in ("trouble", "waiting"), "trouble", 40)
        lb.bird.go_on()
        agents.wait([lb], 3, stand=2)
        lb.bird.stop()
        tell(lab, site.everybody())
        wait_for(lambda: agents.status(lb)["mesh"]["why"] == "BIRD does not run", "the agent to notice", 40)
        lb.bird.start()
        agents.wait([lb], 2)


def test_an_address_that_changes_restarts_its_own_session_only(lab: Lab) -> None:
    site = Mesh(lab, mesh(3))
    agents = Agents(lab, tell(lab, site.everybody()))
    lb, node, moving = (site[name] for name in ("lb-1", "node-2", "node-4"))
    for one in (node, moving, site["node-3"]):
        one.write(site.everybody())
        one.bird.start()
    agents.start(lb)
    agents.wait([lb], 3)
    moved = moving.member._replace(address4=IPv4Address("10.0.0.44"))
    site.hub.ip("route add 10.0.0.44 dev h4")
    moving.namespace.ip("addr add 10.0.0.44/32 dev eth0")
    members = members_of(moved if one.id == moved.id else one for one in site.everybody())
    with unnoticed(lb, "mesh.node-4"), unnoticed(node, "mesh.node-4"):
        moving.member = moved
        moving.write(members)
        moving.bird.configure()
        tell(lab, members)
        wait_for(lambda: "10.0.0.44" in lb.files["mesh.conf"], "the new address", 30)
        agents.wait([lb], 3)


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        (lambda one: one._replace(router_id=IPv4Address("10.0.0.2")), "node-2 has router id 10.0.0.2"),
        (lambda one: one._replace(address4=IPv4Address("10.0.0.2")), "node-2 has address 10.0.0.2"),
        (lambda one: one._replace(asn=64999), "its AS is 64999, the mesh's is 64512"),
        (lambda one: one._replace(pods=member(2).pods), "node-2 has 10.128.2.0/24"),
    ],
    ids=["router id", "address", "ASN", "pod prefix"],
)
def test_what_two_claim_stays_with_who_has_it_and_the_other_waits(lab: Lab, claim, why: str) -> None:  # type: ignore[no-untyped-def]
    site = Mesh(lab, mesh(2))
    sound: Member = member(4)
    agents = Agents(lab, tell(lab, members_of([*site.everybody(), sound])))
    for name in ("node-2", "node-3"):
        site[name].write(site.everybody())
        site[name].bird.start()
    lb = site["lb-1"]
    agents.start(lb)
    agents.wait([lb], 3, stand=2)
    with unnoticed(lb, "mesh.node-4"):
        tell(lab, members_of([*site.everybody(), claim(sound)]))
        wait_for(lambda: agents.status(lb)["mesh"]["waiting"], "the claim that waits", 30)
    assert why in {row["why"] for row in agents.status(lb)["mesh"]["waiting"]}
    assert {"node-4"} == {row["id"] for row in agents.status(lb)["mesh"]["waiting"]}


def test_where_half_of_the_members_see_one_source_only_what_both_know_stands(lab: Lab) -> None:
    broker = Broker(lab.folder)
    try:
        site = Mesh(lab, mesh(4))
        lb, two, three, four, new = site.members.values()
        file = tell(lab, tuple(one.member for one in (lb, two, three, four)))
        seeing, blind = Agents(lab, file + over_mqtt(lab, broker)), Agents(lab, file)
        for one in (lb, two):
            seeing.start(one)
        for one in (three, four):
            blind.start(one)
        seeing.wait([lb, two], 3)
        blind.wait([three, four], 3)
        with unnoticed(lb), unnoticed(two), unnoticed(three), unnoticed(four):
            seeing.start(new)  # only the broker knows it
            seeing.wait([lb, two], 4)
            seeing.wait([new], 4, stand=2)  # three and four are known to it, and do not know it
            assert {"mesh.lb-1", "mesh.node-2", "mesh.node-4"} == set(three.sessions())
        with unnoticed(lb), unnoticed(two), unnoticed(three, "mesh.node-5"):
            tell(lab, site.everybody())
            blind.wait([three, four], 4)
            seeing.wait([new], 4)
    finally:
        broker.kill()


def test_a_partition_between_members_and_broker_takes_nobody_away(lab: Lab) -> None:
    broker = Broker(lab.folder)
    try:
        site = Mesh(lab, mesh(2))
        agents = Agents(lab, over_mqtt(lab, broker, keepalive_s=1))
        members = list(site.members.values())
        for one in members:
            agents.start(one)
        agents.wait(members, 2)
        lb = site["lb-1"]
        with unnoticed(lb):
            broker.hang()  # connections stand, nothing comes
            wait_for(lambda: agents.status(lb)["mesh"]["sources"]["mqtt"]["state"] == "lost", "the loss", 60)
            assert 3 == agents.status(lb)["mesh"]["members"]
            broker.go_on()
            wait_for(lambda: agents.status(lb)["mesh"]["sources"]["mqtt"]["state"] == "heard", "the broker", 90)
            agents.wait(members, 2)
    finally:
        broker.go_on()
        broker.kill()


def test_passwords_that_the_kernel_has_no_room_for_are_refused_before_anything_changes(lab: Lab) -> None:
    site = Mesh(lab, mesh(1))
    one = site["lb-1"]
    if not has_own_optmem(one.namespace):
        pytest.skip("this kernel's net.core.optmem_max is one for all namespaces (Linux 6.8 has one for each)")
    (lab.folder / "secret").write_text("x" * 32)
    one.write(())
    one.bird.start()
    config = lab.folder / "rtagent.toml"
    config.write_text(
        f'[mesh]\nid = "lb-1"\nasn = 64512\n{tell(lab, mesh(151))}[mesh.bird]\nsocket = "{one.bird.socket}"\n'
        f'config = "{one.bird.config}"\ndirectory = "{one.folder}"\n'
        f'[mesh.bgp]\nmultihop = true\nbfd = false\nsecret_file = "{lab.folder}/secret"\n'
    )
    command = (sys.executable, "-m", "rtagent", "mesh", "apply", "--config", str(config))

    def apply() -> tuple[int, str]:
        done = one.namespace.start(*command, log="apply")
        return done.wait(60), done.text()

    files = one.files
    status, said = apply()
    assert (1, True, files) == (status, "sysctl -w net.core.optmem_max=20536" in said, one.files)
    assert {} == one.sessions()
    one.namespace.sysctl("net.core.optmem_max", 20536)
    assert 0 == apply()[0]
    assert 151 == len(one.sessions())
    assert one.bird.process is not None
    assert "MD5 auth failed" not in one.bird.process.text()


def with_tcp_ao(lab: Lab) -> tuple[Mesh, Agents]:
    """Start two members of a release that knows TCP-AO, and their agents."""
    release = next((one for one in birds.RELEASES[1:] if one.present), None)
    if release is None:
        pytest.skip(birds.RELEASES[1].absence)
    (lab.folder / "secret").write_text("x" * 32)
    site = Mesh(lab, mesh(1), release)
    ao = f'authentication = "ao"\nsecret_file = "{lab.folder}/secret"'
    agents = Agents(lab, tell(lab, site.everybody()), ao)
    for one in site.members.values():
        agents.start(one)
    return site, agents


@pytest.mark.skipif(has_tcp_ao(), reason="this kernel has TCP-AO")
def test_tcp_ao_is_refused_where_the_kernel_has_none(lab: Lab) -> None:
    site, agents = with_tcp_ao(lab)
    lb = site["lb-1"]
    wait_for(lambda: agents.status(lb)["mesh"]["state"] == "refused", "the refusal")
    assert "needs a kernel with TCP-AO (CONFIG_TCP_AO, Linux 6.7)" in agents.status(lb)["mesh"]["why"]
    assert {} == lb.sessions()


@pytest.mark.skipif(not has_tcp_ao(), reason="this kernel has no TCP-AO (CONFIG_TCP_AO)")
def test_sessions_with_tcp_ao_stand(lab: Lab) -> None:
    site, agents = with_tcp_ao(lab)
    agents.wait(list(site.members.values()), 1)


def has_own_optmem(namespace: Namespace) -> bool:
    """Whether option memory is limited for each namespace by itself."""
    try:
        namespace.sysctl("net.core.optmem_max", 20480)
    except CommandFailed:
        return False
    return True
