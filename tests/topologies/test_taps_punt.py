"""Unicast to any local address, broadcast, multicast and frames that are not IP reach the taps; a flood harms nobody.

::

    left 192.0.2.2 ── p0 ┐     ┌ e0 192.0.2.1 ── bird ─┐
    right 198.51.100.2 ─ p1 ┤ VPP ├ e1 198.51.100.1      ├ router, with rtagent; lo 203.0.113.1
    silent ───────────── p2 ┘     └ e2 (no address)     ─┘
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.agent.site import RTAGENT
from tests.lab import frames, vpp
from tests.lab.bird import Bird
from tests.lab.lab import Lab, Process, wait_for
from tests.lab.packets import Capture
from tests.lab.vpp import Vpp
from tests.topologies.tap_speakers import seconds

pytestmark = [
    pytest.mark.kernel("vhost"),
    pytest.mark.vpp,
    pytest.mark.skipif(not vpp.INSTALLED, reason="vpp is not installed: NOT tested that the host gets what VPP punts"),
]

_HOSTS = {"left": ("p0", "192.0.2.2/24"), "right": ("p1", "198.51.100.2/24"), "silent": ("p2", None)}
_LOOPBACK = "203.0.113.1"
_HOLD_S = 9
"""Three keepalives that do not arrive, and the session is down."""
_BIRD = """
log stderr all;
router id {0};
protocol device {{ }}
protocol bgp peer {{
    local {0} as {1}; neighbor {2} as {3};
    hold time {hold}; connect delay time 1; connect retry time 1; error wait time 1, 2;
    ipv4 {{ import all; export none; }};
}}
"""


class Site:
    """The router, VPP, and the hosts around it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.router, namespace = lab.namespace("router"), lab.namespace("vpp")
        self.hosts = {name: lab.namespace(name) for name in _HOSTS}
        for name, (port, address) in _HOSTS.items():
            lab.veth(namespace, port, self.hosts[name], "eth0")
            if address:
                self.hosts[name].ip(f"addr add {address} dev eth0")
        self.vpp = Vpp(lab, namespace, plugins=("linux_cp", "tap", "policer", "osi", "ppp"), ping=False)
        self.vpp.start()
        pairs = ""
        for number, (port, _) in enumerate(_HOSTS.values()):
            self.vpp.ctl(f"lcp create {self.vpp.port(port)} host-if e{number} netns {self.router.name}")
            self.router.ip(f"link set e{number} up")
            pairs += f'[[pairs]]\nhost = "e{number}"\nvpp = "host-{port}"\n'
        self.router.ip("addr add 192.0.2.1/24 dev e0")
        self.router.ip("addr add 198.51.100.1/24 dev e1")
        self.router.ip(f"addr add {_LOOPBACK}/32 dev lo")
        self.router.ip("addr add 2001:db8::1/64 dev e0 nodad")
        self.router.ip("addr add 2001:db8:ff::1/128 dev lo")
        self.hosts["left"].ip("addr add 2001:db8::2/64 dev eth0 nodad")
        self.control = str(lab.folder / "control.sock")
        self.config = lab.folder / "rtagent.toml"
        self.config.write_text(
            f'[dataplane]\nsocket = "{self.vpp.api}"\nstats_socket = "{self.vpp.stats}"\n'
            f'[kernel]\nnetns = "{self.router.name}"\n[control]\nsocket = "{self.control}"\n{pairs}'
            '[punt]\nrate_kbps = 200\nframes = ["lldp", "lacp", "isis"]\n'
        )
        self.agent: Process = lab.start([*RTAGENT, "run", "--config", str(self.config)], log="agent.log")
        self.agent.wait_for(lambda: "agent.ready" in self.agent.text(), "the agent", 120)

    def rtagent(self, *arguments: str) -> str:
        return subprocess.run([*RTAGENT, *arguments], capture_output=True, text=True, check=False, timeout=120).stdout

    def punt(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.rtagent("punt", "--json", "--control", self.control))
        return found


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Lab() as lab:
        yield Site(lab)


def test_what_is_for_the_host_arrives_on_the_tap_of_its_port(site: Site) -> None:
    left, silent = site.hosts["left"], site.hosts["silent"]
    assert {"installed"} == {row["state"] for row in site.punt()["punted"]}
    left.ip("route add default via 192.0.2.1")
    left.ip("route add default via 2001:db8::1")
    for address in ("192.0.2.1", "198.51.100.1", _LOOPBACK, "2001:db8::1", "2001:db8:ff::1"):
        left.run("ping", "-q", "-c", "2", "-i", "0.2", "-W", "10", address)
    e0, e2 = Capture(site.router, "e0"), Capture(site.router, "e2")
    discover = frames.udp(68, 67, b"discover")
    frames.send(
        left, "eth0",
        frames.inet("192.0.2.2", "192.0.2.255", 17, frames.udp(1, 4242, b"subnet")),
        frames.inet("192.0.2.2", "224.0.0.5", 89, b"ospf hello"),
        frames.inet("192.0.2.2", "224.0.0.251", 17, frames.udp(5353, 5353, b"mdns")),
        frames.inet6("fe80::2", "ff02::5", 89, b"ospf3 hello"),
        frames.ethernet(bytes.fromhex("0180c200000e"), 0x88CC, b"lldp".rjust(50)),
        frames.ethernet(bytes.fromhex("0180c2000002"), 0x8809, b"lacp".rjust(50)),
        frames.ethernet(bytes.fromhex("0180c2000014"), 50, b"\xfe\xfe\x03\x83" + b"isis".rjust(46)),
    )  # fmt: skip
    frames.send(silent, "eth0", frames.inet("0.0.0.0", "255.255.255.255", 17, discover))
    for ending in (b"subnet", b"ospf hello", b"mdns", b"ospf3 hello", b"lldp", b"lacp", b"isis"):
        e0.frame(ending)
    e2.frame(discover)
    assert all(row["packets"] for row in site.punt()["hosts"] if row["host"] != "e1")


def test_a_flood_to_a_local_address_takes_no_session_down(site: Site) -> None:
    left, router = site.hosts["left"], site.router
    birds = []
    for namespace, ends in (
        (router, ("192.0.2.1", 64500, "192.0.2.2", 64501)),
        (left, ("192.0.2.2", 64501, "192.0.2.1", 64500)),
    ):
        config = site.lab.folder / f"{namespace.label}.conf"
        config.write_text(_BIRD.format(*ends, hold=_HOLD_S))
        birds.append(Bird(site.lab, namespace, config))
    for bird in birds:
        bird.start()
    wait_for(lambda: birds[0].established() and birds[1].established(), "the session", 60)
    before = site.punt()["policer"]
    mac = next(row["address"] for row in router.ip_json("link show e0"))
    attack = frames.inet("192.0.2.66", _LOOPBACK, 17, frames.udp(1, 9, b"!" * 8), bytes.fromhex(mac.replace(":", "")))
    attacker = frames.flood(left, "eth0", attack)
    try:
        since = [_since(bird) for bird in birds]
        wait_for(lambda: _kept(site, before) >= 4, "four keepalives under the flood", 60)
    finally:
        attacker.kill()
    assert since == pytest.approx([_since(bird) for bird in birds], abs=0.5), "no session has begun anew"
    after = site.punt()["policer"]
    passed, dropped = (after[name]["packets"] - before[name]["packets"] for name in ("passed", "dropped"))
    print(f"{dropped + passed} packets for the host, of which {passed} passed; keepalives all did")
    assert dropped > passed, (before, after)


def _since(bird: Bird) -> float:
    """Return since when the session is established, in seconds of the day: BIRD tells it to a thousandth or so."""
    row = bird.ctl("show protocols peer").splitlines()[-1].split()
    assert row[5] == "Established", row
    return seconds(row[4])


def _kept(site: Site, before: dict[str, Any]) -> int:
    """How many packets of the routing protocol have passed by the policer since."""
    return int(site.punt()["policer"]["exempt_packets"]) - int(before["exempt_packets"])
