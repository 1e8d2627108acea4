"""The mesh on a load balancer with a real VPP: one agent keeps BIRD, and mirrors what it brings.

::

    node-2, node-3 ── hub ── eth0 lb-1's kernel, BIRD and agent
                              VPP (host-v0 stands for eth0)
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rtagent.vector.members import Member
from tests.agent.site import RTAGENT
from tests.lab import birds
from tests.lab.lab import Lab, wait_for
from tests.lab.mesh import Mesh, MeshMember
from tests.lab.mesh_agents import members_file, over_file
from tests.lab.vpp import Vpp
from tests.meshes import mesh
from tests.vpp import witness

PAIRS = {"eth0": "host-v0"}


class Balancer:
    """A mesh of three, and an agent that keeps it and mirrors at the balancer."""

    def __init__(self, lab: Lab) -> None:
        self.site = Mesh(lab, mesh(2))
        self.lb = self.site["lb-1"]
        self.wire, self.beyond = lab.namespace("wire"), lab.namespace("beyond")
        lab.veth(self.wire, "v0", self.beyond, "v0")
        self.vpp = Vpp(lab, self.wire)
        self.vpp.start()
        self.vpp.port("v0")
        self.nodes = [self.site["node-2"], self.site["node-3"]]
        for node in self.nodes:
            node.write(self.site.everybody())
            node.bird.start()
        self.lb.write(())
        self.lb.bird.start()
        self.config = lab.folder / "rtagent.toml"
        self.config.write_text(_settings(lab, self))
        self.agent = lab.start([*RTAGENT, "run", "--config", str(self.config)], log="agent")

    def held(self, member: Member) -> tuple[set[str], set[str]]:
        """Return which of a member's pod prefixes the kernel has, and which VPP has, by the kernel's next hop."""
        pods = {str(prefix) for prefix in member.pods}
        kernel = witness.kernel(self.lb.namespace, PAIRS)
        fib = witness.vpp(self.vpp, kernel)
        alike = {prefix for prefix in pods & fib.keys() if fib[prefix] == kernel.get(prefix, fib[prefix])}
        return pods & kernel.keys(), alike


def _settings(lab: Lab, balancer: Balancer) -> str:
    file = lab.folder / "members.json"
    file.write_text(members_file(balancer.site.everybody()))
    lb = balancer.lb
    return (
        f'[dataplane]\nkind = "vpp"\nsocket = "{balancer.vpp.api}"\n[kernel]\nnetns = "{lb.namespace.name}"\n'
        f'[control]\nsocket = "{lab.folder}/control.sock"\n[[pairs]]\nhost = "eth0"\nvpp = "{PAIRS["eth0"]}"\n'
        f'[mesh]\nid = "lb-1"\nasn = 64512\n{over_file(file)}[mesh.changes]\nhold_down_s = 1\n'
        f"[mesh.bgp]\nmultihop = true\nbfd = false\n"
        f'[mesh.bird]\nsocket = "{lb.bird.socket}"\nconfig = "{lb.bird.config}"\ndirectory = "{lb.folder}"\n'
    )


@pytest.fixture
def balancer() -> Iterator[Balancer]:
    if not birds.INSTALLED.present:
        pytest.skip(birds.INSTALLED.absence)
    with Lab() as lab:
        yield Balancer(lab)


def arrive(balancer: Balancer, node: MeshMember) -> None:
    pods = {str(prefix) for prefix in node.member.pods}
    wait_for(lambda: balancer.held(node.member) == (pods, pods), f"the pods of {node.member.id} in both", 60)


def vanish(balancer: Balancer, node: MeshMember) -> None:
    wait_for(lambda: balancer.held(node.member) == (set(), set()), f"{node.member.id} to be gone from both", 60)


def test_pod_routes_reach_the_kernel_and_vpp_and_vanish_from_both(balancer: Balancer) -> None:
    node, other = balancer.nodes
    for one in balancer.nodes:
        arrive(balancer, one)
    node.bird.stop()  # a machine that goes
    vanish(balancer, node)
    node.bird.start()
    arrive(balancer, node)
    (balancer.config.parent / "members.json").write_text(
        members_file(one for one in balancer.site.everybody() if one.id != node.member.id)
    )  # a member that is removed
    vanish(balancer, node)
    assert {"mesh.node-3"} == set(balancer.lb.sessions())
    arrive(balancer, other)
    assert balancer.agent.running
