"""The kernel's neighbours in VPP, ``vppctl show ip neighbors`` being the witness.

router e9 ── k0 right h0 ── v9 VPP v8 ── h0 left

``right`` is one station on two wires: k0 and h0 have one address and one MAC, and only k0 answers ARP. So the kernel
can find it and VPP cannot; VPP forwards to it only as long as the agent keeps it there.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import pytest

from tests.lab.lab import Process, run, wait_for
from tests.lab.vpp import Vpp
from tests.vpp.site import VppSite

M1, M2, M3 = (f"02:00:00:00:00:0{number}" for number in (1, 2, 3))
_LINE = re.compile(r"^\s*[\d.]+\s+(\S+)\s+([DS])\s+(\S+) (host-\w+)", re.MULTILINE)

HOST = "192.168.9.2"


class Shown(NamedTuple):
    """A neighbour as vppctl shows it."""

    mac: str
    flag: str = "D"


def shown(vpp: Vpp, interface: str = "host-v0") -> dict[str, Shown]:
    """Return the neighbours of an interface by address."""
    lines = _LINE.findall(vpp.ctl("show ip neighbors"))
    return {address: Shown(mac, flag) for address, flag, mac, where in lines if where == interface}


def start(site: VppSite) -> Process:
    agent = site.start()
    site.wait()
    return agent


def test_a_neighbour_follows_whatever_the_kernel_makes_of_it(site: VppSite) -> None:
    start(site)
    addresses = ("10.0.0.7", "2001:db8::7", "fe80::7")
    for family in (4, 6):
        site.router.sysctl(f"net.ipv{family}.neigh.e0.retrans_time_ms", 100)  # soon convinced that nobody answers
    for change, expected in (
        (f"lladdr {M1} nud permanent", Shown(M1, "S")),
        (f"lladdr {M2} nud reachable", Shown(M2)),
        (f"lladdr {M3} nud permanent", Shown(M3, "S")),
        (f"lladdr {M3} nud stale", Shown(M3)),
        (f"lladdr {M1} nud noarp", Shown(M1, "S")),
        (f"lladdr {M1} nud reachable extern_learn", Shown(M1)),
        (f"lladdr {M2} nud permanent", Shown(M2, "S")),
    ):
        site.router.ip_batch([f"neigh replace {address} dev e0 {change}" for address in addresses])
        site.wait()
        assert shown(site.vpp) == dict.fromkeys(addresses, expected), change
    site.router.ip_batch([f"neigh del {address} dev e0" for address in addresses])
    wait_for(lambda: shown(site.vpp) == {}, "the neighbours gone")


def test_what_is_no_station_on_the_wire_is_not_mirrored(site: VppSite) -> None:
    site.router.ip_batch(
        [
            "neigh add proxy 10.0.0.20 dev e0",
            "neigh add 224.0.0.9 lladdr 01:00:5e:00:00:09 dev e0 nud noarp",
            "neigh add 10.0.255.255 lladdr ff:ff:ff:ff:ff:ff dev e0 nud noarp",
            "neigh add ff02::9 lladdr 33:33:00:00:00:09 dev e0 nud noarp",
            "neigh add 10.0.0.21 lladdr 00:00:00:00:00:00 dev e0 nud permanent",
            "neigh add 10.0.0.22 dev e0 nud none",
            f"neigh add 10.0.0.23 lladdr {M1} dev e0 nud permanent",
        ]
    )
    start(site)
    assert shown(site.vpp) == {"10.0.0.23": Shown(M1, "S")}


def test_what_vpp_has_learned_is_left_alone(site: VppSite) -> None:
    site.vpp.ctl(f"set ip neighbor host-v0 10.0.0.30 {M1}")
    agent = start(site)
    site.vpp.ctl(f"set ip neighbor host-v0 10.0.0.31 {M1}")
    site.router.ip(f"neigh add 10.0.0.32 lladdr {M2} dev e0 nud permanent")
    site.wait()
    agent.stop()
    start(site)
    learned = {"10.0.0.30": Shown(M1), "10.0.0.31": Shown(M1)}
    assert shown(site.vpp) == learned | {"10.0.0.32": Shown(M2, "S")}


def test_of_two_addresses_the_later_word_counts(site: VppSite) -> None:
    start(site)
    site.router.ip(f"neigh add 10.0.0.40 lladdr {M1} dev e0 nud stale")
    site.wait()
    site.vpp.ctl(f"set ip neighbor host-v0 10.0.0.40 {M2}")  # as VPP does when it hears an ARP request
    site.wait()
    assert shown(site.vpp)["10.0.0.40"] == Shown(M2)
    site.router.ip(f"neigh replace 10.0.0.40 lladdr {M1} dev e0 nud reachable")
    wait_for(lambda: shown(site.vpp)["10.0.0.40"] == Shown(M1), "the kernel's confirmed address")
    site.vpp.ctl(f"set ip neighbor host-v0 10.0.0.40 {M2}")
    site.router.ip(f"neigh replace 10.0.0.40 lladdr {M3} dev e0 nud stale")
    wait_for(lambda: shown(site.vpp)["10.0.0.40"] == Shown(M3), "the kernel's new address")


def test_what_vpp_flushes_comes_back(site: VppSite) -> None:
    site.router.ip(f"neigh add 10.0.0.50 lladdr {M1} dev e0 nud reachable")
    start(site)
    site.vpp.ctl("set interface state host-v0 down")
    site.vpp.ctl("set interface state host-v0 up")
    wait_for(lambda: shown(site.vpp) == {"10.0.0.50": Shown(M1)}, "the neighbour back")


def test_a_killed_vpp_gets_its_neighbours_back(site: VppSite) -> None:
    site.router.ip(f"neigh add 10.0.0.60 lladdr {M1} dev e0 nud permanent")
    agent = start(site)
    site.vpp.kill()
    agent.wait_for(lambda: "dataplane.session_lost" in agent.text(), "the loss")
    site.start_vpp()
    site.wait()
    assert shown(site.vpp) == {"10.0.0.60": Shown(M1, "S")}


def test_a_link_that_goes_down_takes_its_neighbours_along(site: VppSite) -> None:
    site.router.ip(f"neigh add 10.0.0.70 lladdr {M1} dev e0 nud reachable")
    start(site)
    assert shown(site.vpp) == {"10.0.0.70": Shown(M1)}
    site.router.ip("link set e0 down")
    site.wait()
    assert shown(site.vpp) == {}


def test_room_is_made_for_neighbours(site: VppSite) -> None:
    site.vpp.ctl("set ip neighbor-config ip6 limit 0")
    start(site)
    site.router.ip_batch(
        [f"neigh add {address} lladdr {M1} dev e0 nud permanent" for address in ("10.0.0.80", "fe80::8")]
    )
    site.wait()
    assert re.findall(r"limit:(\d+)", site.vpp.ctl("show ip neighbor-config")) == ["131072", "0"]


def explained(site: VppSite, destination: str) -> tuple[str | None, str]:
    """Return the broken link of the chain, and what is said of the neighbour."""
    answer = json.loads(site.rtagent("explain", destination, "--json", "--config", str(site.config)).out)
    (said,) = (step["text"] for step in answer["steps"] if step["name"] == "adjacency")
    return answer["broken"], said


def test_explain_goes_on_to_the_neighbour(site: VppSite) -> None:
    site.router.ip("route add 198.51.100.0/24 via 10.0.0.8")
    site.router.ip(f"neigh add 10.0.0.7 lladdr {M1} dev e0 nud permanent")
    start(site)
    assert site.diff() == []
    unresolved = "10.0.0.9 dev host-v0 not resolved yet: asked for with the first packet"
    assert explained(site, "10.0.0.7") == (None, f"10.0.0.7 dev host-v0 at {M1}")
    assert explained(site, "10.0.0.9") == (None, unresolved)

    def is_told_that_it_failed() -> bool:
        site.router.ip("neigh replace 10.0.0.8 dev e0 nud failed")  # as long as the kernel remembers
        return explained(site, "198.51.100.1") == ("adjacency", "via 10.0.0.8 does not answer (failed)")

    wait_for(is_told_that_it_failed, "the reason")


@pytest.fixture
def station(site: VppSite) -> VppSite:
    """A site with ``right`` on two wires; see above."""
    site.join_hosts()
    site.lab.veth(site.router, "e9", site.right, "k0")
    mac = site.right.ip_json("link show h0")[0]["address"]
    site.right.ip(f"link set k0 address {mac}")
    site.router.ip("addr add 192.168.9.1/24 dev e9")
    site.router.sysctl("net.ipv4.neigh.e9.retrans_time_ms", 100)
    site.pairs["e9"] = "host-v9"
    site.write_config()
    gateway = site.router.ip_json("link show e9")[0]["address"]  # soon VPP's, too
    site.right.ip("link set h0 arp off")
    site.right.ip(f"neigh replace 192.168.9.1 lladdr {gateway} dev h0 nud permanent")
    site.router.ip(f"neigh replace {HOST} dev e9 use")
    wait_for(lambda: kernel_state(site) == ["REACHABLE"], "the kernel to find the station")
    return site


def kernel_state(site: VppSite) -> list[str]:
    """Return the state of the station's entry in the kernel."""
    return [state for row in site.router.ip_json(f"neigh show {HOST}") for state in row["state"]]


def test_a_neighbour_that_the_kernel_lets_go_is_looked_for_and_no_packet_is_lost(station: VppSite) -> None:
    site = station
    agent = start(site)
    known = shown(site.vpp, "host-v9")[HOST]
    stream = site.left.start("ping", "-q", "-i", "0.005", HOST, log="ping")
    for letting_go in (
        f"neigh replace {HOST} dev e9 nud stale",
        f"neigh replace {HOST} dev e9 nud failed",
        f"neigh del {HOST} dev e9",  # the same messages as when it is collected
        "neigh flush dev e9",
    ):
        site.router.ip(letting_go)
        if "stale" not in letting_go:
            wait_for(lambda: kernel_state(site) == ["REACHABLE"], f"the kernel to look again after {letting_go}")
        site.wait()
    run("kill", "-INT", str(stream.pid))
    stream.wait()
    sent, received = (int(text) for text in re.findall(r"(\d+) (?:packets transmitted|received)", stream.text()))
    assert sent > 50
    assert sent - received <= 1, stream.text()  # the last one may be under way when ping is told to end
    assert shown(site.vpp, "host-v9")[HOST] == known
    assert agent.running


def test_a_neighbour_that_answers_nobody_is_let_go(station: VppSite) -> None:
    site = station
    start(site)
    site.right.ip("link set k0 arp off")
    site.router.ip(f"neigh replace {HOST} dev e9 nud failed")
    wait_for(lambda: HOST not in shown(site.vpp, "host-v9"), "VPP to forget it")


def test_a_stale_gateway_is_looked_for(station: VppSite) -> None:
    site = station
    site.router.sysctl("net.ipv4.neigh.e9.delay_first_probe_time", 0)
    site.router.ip(f"route add 198.51.100.0/24 via {HOST}")
    start(site)
    site.router.ip(f"neigh replace {HOST} dev e9 nud stale")
    wait_for(lambda: kernel_state(site) == ["REACHABLE"], "the kernel to look")
