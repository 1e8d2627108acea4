"""VPP's interfaces with taps of rtagent's in the kernel: each type, from either side, and nothing left behind.

The site is that of tap_site.py, one for all tests: each has interfaces of its own. ``--churn N`` says how many
sub-interfaces come and go, twenty times.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest

from tests.lab import vpp
from tests.lab.lab import Namespace
from tests.topologies.tap_site import TapSite, reaches, running

pytestmark = [
    pytest.mark.kernel("vhost", "vlan"),
    pytest.mark.vpp,
    pytest.mark.skipif(not vpp.INSTALLED, reason="vpp is not installed: NOT tested what is paired with its interfaces"),
]

TYPES = 'interfaces = ["host-*", "tap9"]\ntypes = ["loopback", "bvi", "bond", "tunnel"]\nexcept = ["loop99"]'


FALLBACK_TUNNELS = {"tunl0", "ip6tnl0"}
"""The kernel's own: in every namespace, once there is a tunnel anywhere."""


@pytest.fixture(scope="module")
def site() -> Iterator[TapSite]:
    with running(TYPES) as site:
        yield site


@pytest.fixture(scope="module")
def trunk(site: TapSite) -> Namespace:
    """A host whose link h0 is another interface of VPP's, tap9: its host interfaces take every tag for 802.1Q."""
    host = site.lab.namespace("trunk")
    site.vpp.ctl(f"create tap id 9 host-ns {host.name} host-if-name h0")
    site.vpp.ctl("set interface state tap9 up")
    host.ip("link set h0 up")
    site.wait_for(lambda: "tap9" in site.pairs(), "the pair of tap9")
    site.router.ip("link set tap9 up mtu 1500")
    return host


def links_of(namespace: Namespace) -> set[str]:
    return {link["ifname"] for link in namespace.ip_json("link show")}


def links(site: TapSite) -> set[str]:
    return links_of(site.router)


def interfaces(site: TapSite) -> set[str]:
    return set(re.findall(r"^(\S+) +\d+ +(?:up|down)", site.vpp.ctl("show interface"), re.MULTILINE))


def kind(site: TapSite, name: str) -> str:
    return str(site.link(name)["linkinfo"]["info_data"]["type"])


def test_each_port_has_a_tap_that_is_as_it_is_and_packets_go_both_ways(site: TapSite) -> None:
    for number in (1, 2, 3):
        link = site.link(f"e{number}")
        assert f"e{number}" == site.pairs()[f"host-p{number}"]
        assert [f"rtagent.host-p{number}"] == link["altnames"]
        assert link["linkinfo"]["info_data"]["persist"]
        assert link["address"] in site.vpp.ctl(f"show hardware-interfaces host-p{number}")
        assert reaches(site.router, f"192.168.{number}.2")
    assert reaches(site.hosts[0], "192.168.2.2")


def test_loopback_bvi_bond_and_tunnel_that_come_later_get_theirs_and_lose_them(site: TapSite) -> None:
    before = links(site), interfaces(site)
    made = [
        site.vpp.ctl(command).strip()
        for command in (
            "create loopback interface instance 5",
            "bvi create instance 6",
            "create bond mode active-backup id 7",
            "create ipip tunnel src 192.168.1.1 dst 192.168.1.2 instance 8",
        )
    ]
    assert ["loop5", "bvi6", "BondEthernet7", "ipip8"] == made
    site.wait_for(lambda: set(made) <= site.pairs().keys(), f"pairs of {made}")
    assert ["tap", "tap", "tap", "tun"] == [kind(site, name) for name in made]
    assert {"loop5": "loop5", "bvi6": "bvi6"}.items() <= site.pairs().items()
    assert {"down"} == {site.states()[name] for name in made}
    site.router.ip("addr add 10.5.0.1/32 dev loop5")
    site.router.ip("link set loop5 up")
    site.wait_for(lambda: "10.5.0.1/32" in site.vpp.ctl("show interface addr loop5"), "the address of loop5")
    for command in (
        "delete loopback interface intfc loop5", "bvi delete bvi6", "delete bond BondEthernet7",
        "delete ipip tunnel sw_if_index " + re.findall(r"^ipip8 +(\d+)", site.vpp.ctl("show interface"), re.M)[0],
    ):  # fmt: skip
        site.vpp.ctl(command)
    site.wait_for(lambda: (links(site), interfaces(site)) == before, "nothing of them")
    site.wait_for(lambda: not site.states().keys() & set(made), "the agent to forget them")
    assert before[0] == links(site)


def test_a_bond_is_reached_through_its_member(site: TapSite) -> None:
    before = links(site), interfaces(site)
    host = site.lab.namespace("bonded")
    site.vpp.ctl(f"create tap id 8 host-ns {host.name} host-if-name h0")
    site.vpp.ctl("create bond mode active-backup id 8")
    site.vpp.ctl("bond add BondEthernet8 tap8")
    site.vpp.ctl("set interface state tap8 up")
    host.ip("link set h0 up")
    host.ip("addr add 10.8.0.2/24 dev h0")
    site.wait_for(lambda: "BondEthernet8" in site.pairs(), "the bond's pair")
    assert "tap8" not in site.pairs()
    site.router.ip("link set BondEthernet8 up mtu 1500")
    site.router.ip("addr add 10.8.0.1/24 dev BondEthernet8")
    site.wait_for(lambda: reaches(host, "10.8.0.1"), "the router")
    assert reaches(site.router, "10.8.0.2")
    for command in ("bond del tap8", "delete bond BondEthernet8", "delete tap tap8"):
        site.vpp.ctl(command)
    site.wait_for(lambda: (links(site), interfaces(site)) == before, "nothing of it")


@pytest.mark.kernel("ipip")
def test_a_tunnel_is_reached_through_its_tun_and_forwarded_through(site: TapSite) -> None:
    before = links(site), interfaces(site)
    left, right = site.hosts[:2]
    left.ip("link add t0 type ipip local 192.168.1.2 remote 192.168.1.1")
    left.ip("link set t0 up")
    left.ip("addr add 10.7.0.2/30 dev t0")
    left.ip("route add 192.168.2.9/32 dev t0")
    right.ip("addr add 192.168.2.9/32 dev h0")
    site.vpp.ctl("create ipip tunnel src 192.168.1.1 dst 192.168.1.2 instance 7")
    site.wait_for(lambda: "ipip7" in site.pairs(), "the tunnel's pair")
    site.router.ip("link set ipip7 up")
    site.router.ip("addr add 10.7.0.1/30 dev ipip7")
    site.router.ip("route add 192.168.2.9/32 via 192.168.2.2 dev e2")
    site.wait_for(lambda: reaches(left, "10.7.0.1"), "the router's end of the tunnel")
    assert reaches(site.router, "10.7.0.2")
    received = _received(left)
    site.wait_for(lambda: reaches(left, "192.168.2.9"), "a host beyond the router, through the tunnel")
    assert reaches(right, "10.7.0.2")
    assert received < _received(left)
    left.ip("link del t0")
    site.router.ip("route del 192.168.2.9/32")
    tunnel = re.findall(r"^ipip7 +(\d+)", site.vpp.ctl("show interface"), re.M)[0]
    site.vpp.ctl(f"delete ipip tunnel sw_if_index {tunnel}")
    site.wait_for(lambda: (links(site), interfaces(site)) == before, "nothing of it")


def _received(host: Namespace) -> int:
    """Return how many packets a host got through its end of the tunnel."""
    return int(host.ip_json("-s link show dev t0")[0]["stats64"]["rx"]["packets"])


def test_what_no_rule_chooses_gets_none_and_a_pair_of_others_is_followed_and_left(site: TapSite) -> None:
    site.vpp.ctl("create loopback interface instance 99")
    site.vpp.ctl(f"lcp create loop99 host-if theirs netns {site.router.name}")
    site.wait_for(lambda: "theirs" in site.states(), "the pair of others")
    site.router.ip("addr add 10.99.0.1/32 dev theirs")
    site.router.ip("link set theirs up")
    site.wait_for(lambda: "10.99.0.1/32" in site.vpp.ctl("show interface addr loop99"), "the address")
    rows = {row["vpp"]: row for row in json.loads(site.rtagent("pairs", "--json", "--control", site.control).out)}
    expected = {"vpp": "loop99", "type": "loopback", "host": "theirs", "by": "others", "chosen": True, "state": "up"}
    assert expected == rows["loop99"]
    assert ("rtagent", "e1", "physical") == tuple(rows["host-p1"][name] for name in ("by", "host", "type"))
    site.vpp.ctl("delete loopback interface intfc loop99")
    site.wait_for(lambda: "theirs" not in links(site), "the end of it")


def add_vlan(namespace: Namespace, link: str, tags: str) -> str:
    """Put VLANs upon a link, ``802.1ad 9/802.1q 5`` for instance, outermost first; return the name of the last."""
    for tag in tags.split("/"):
        protocol, number = tag.split()
        below, link = link, f"{link}-{number}"
        namespace.ip(f"link add link {below} name {link} up type vlan proto {protocol} id {number}")
    return link


VLANS = {
    "dot1q": ("dot1q 9", "802.1q 9"),
    "dot1ad": ("dot1ad 9", "802.1ad 9"),
    "QinQ": ("dot1ad 9 inner-dot1q 5", "802.1ad 9/802.1q 5"),
}
"""Each as VPP and as Linux say it."""


@pytest.mark.parametrize("tags", [tags for _, tags in VLANS.values()], ids=VLANS)
def test_vlans_made_in_linux_become_sub_interfaces(site: TapSite, trunk: Namespace, tags: str) -> None:
    before = links(site), interfaces(site)
    ends = site.router, trunk
    names = [add_vlan(site.router, "tap9", tags), add_vlan(trunk, "h0", tags)]
    for number, (end, name) in enumerate(zip(ends, names, strict=True), 1):
        end.ip(f"addr add 10.7.1.{number}/24 dev {name}")
        end.ip(f"addr add 2001:db8:7::{number}/64 dev {name} nodad")
    for address in ("10.7.1.1", "2001:db8:7::1"):
        site.wait_for(lambda address=address: reaches(trunk, address), address)  # type: ignore[misc]
    assert reaches(site.router, "10.7.1.2")
    assert f"rtv.{site.link(names[0])['ifindex']}" in site.pairs().values()
    for end in ends:
        for link in [link for link in links_of(end) if link.startswith(("tap9-", "h0-")) and "-5" not in link]:
            end.ip(f"link del {link}")
    site.wait_for(lambda: (links(site), interfaces(site)) == before, "nothing of it")


@pytest.mark.parametrize(("match", "tags"), VLANS.values(), ids=VLANS)
def test_sub_interfaces_made_in_vpp_get_their_vlans(site: TapSite, trunk: Namespace, match: str, tags: str) -> None:
    before = links(site), interfaces(site)
    site.vpp.ctl(f"create sub-interfaces tap9 7 {match} exact-match")
    site.wait_for(lambda: "tap9.7" in site.pairs(), "its pair")
    assert "down" == site.states()["tap9.7"]
    site.router.ip("link set tap9.7 up")
    site.router.ip("addr add 10.7.1.1/24 dev tap9.7")
    trunk.ip(f"addr add 10.7.1.2/24 dev {add_vlan(trunk, 'h0', tags)}")
    site.wait_for(lambda: reaches(trunk, "10.7.1.1"), "the router")
    assert reaches(site.router, "10.7.1.2")
    trunk.ip("link del h0-9")
    site.vpp.ctl("delete sub tap9.7")
    site.wait_for(lambda: "tap9.7" not in links(site) and "tap9.7" not in site.states(), "the agent to forget it")
    for left in links(site) - before[0]:
        site.router.ip(f"link del {left}")
    site.wait_for(lambda: (links(site), interfaces(site)) == before, "nothing of it")


def test_a_tap_that_somebody_deletes_is_made_again(site: TapSite) -> None:
    ifindex = site.link("e3")["ifindex"]
    site.router.ip("link del e3")
    site.wait_for(lambda: site.link("e3").get("ifindex", ifindex) != ifindex, "another e3")
    site.router.ip("addr add 192.168.3.1/24 dev e3")
    site.router.ip("link set e3 up")
    site.wait_for(lambda: reaches(site.router, "192.168.3.2"), "a pair of it")
    site.wait_for(lambda: has_link_local(site, "e3"), "its own IPv6 address")


def has_link_local(site: TapSite, name: str) -> bool:
    """Whether a link's own address may be used: it comes some seconds after the link."""
    rows = [row for link in site.router.ip_json(f"-6 addr show dev {name} scope link") for row in link["addr_info"]]
    return bool(rows) and not any(row.get("tentative") for row in rows)


def test_of_many_sub_interfaces_that_come_and_go_nothing_is_left(site: TapSite, pytestconfig: pytest.Config) -> None:
    churn = pytestconfig.getoption("--churn")
    vlans, times = (churn, 20) if churn else (10, 3)

    def left() -> tuple[set[str], set[str], int, int, int]:
        status = site.ask("status")["status"]
        objects, neighbors = status["objects"], status["neighbors"].values()
        assert site.vpp.process is not None
        descriptors = len(os.listdir(f"/proc/{site.vpp.process.pid}/fd"))
        groups = len(site.vpp.ctl("show ip mfib").splitlines())
        wanted = objects["wanted"] - objects["differing"] - sum(family["wanted"] for family in neighbors)
        return links(site), interfaces(site), wanted, descriptors, groups

    numbers = range(1000, 1000 + vlans)
    before: tuple[object, ...] | None = None

    def is_as_before() -> bool:
        return before is None or left() == before

    for _ in range(times):
        site.router.ip_batch(
            [
                line
                for number in numbers
                for line in (
                    f"link add link e3 name v{number} up type vlan id {number}",
                    f"addr add 10.{number // 256}.{number % 256}.1/24 dev v{number}",
                )
            ]
        )
        site.wait_for(lambda: sum(name.startswith("host-p3.") for name in site.pairs()) == vlans, "all pairs", 600)
        site.router.ip_batch([f"link del v{number}" for number in numbers])
        site.wait_for(lambda: "host-p3." not in site.vpp.ctl("show interface"), "no sub-interface", 600)
        try:
            site.wait_for(is_as_before, "what there was before")
        except TimeoutError:
            assert before == left()
            raise
        before = before or left()


def test_a_renamed_tap_keeps_its_pair_over_every_restart(site: TapSite) -> None:
    site.router.ip("link set e2 down")
    site.router.ip("link set e2 name wan0")
    site.router.ip("link set wan0 up")
    assert site.agent is not None
    site.agent.kill()
    site.vpp.kill()
    site.start_vpp()
    site.start()
    site.wait_for(lambda: reaches(site.router, "192.168.2.2"), "a pair of wan0")
    assert ("wan0", "up") == (site.pairs()["host-p2"], site.states()["wan0"])
    assert "e2" not in links(site)


def test_flush_takes_the_pairs_along_when_it_is_told_to(site: TapSite) -> None:
    assert site.agent is not None
    site.agent.stop()
    pairs = len(site.pairs())
    said = site.rtagent("flush", "--yes", "--json", "--config", str(site.config))
    assert (0, pairs) == (said.status, json.loads(said.out)["kept_pairs"]), said
    assert {"e1", "wan0", "e3"} <= links(site)
    said = site.rtagent("flush", "--yes", "--pairs", "--json", "--config", str(site.config))
    assert (0, 0) == (said.status, json.loads(said.out)["kept_pairs"]), said
    assert {"lo"} == links(site) - FALLBACK_TUNNELS
    assert {} == site.pairs()
    assert "192.168.1.1" not in site.vpp.ctl("show interface addr")
