"""BGP, BFD, OSPF, RIP and Babel on the taps: neighbours meet through VPP, and what they learn is where packets go.

The site is that of tap_site.py. Two hosts announce an address each, the router's BIRD tells each of the other; they
ping each other by it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import birds, vpp
from tests.lab.bird import Bird
from tests.lab.lab import CommandFailed, Lab, Namespace
from tests.topologies.tap_site import TapSite, running

pytestmark = [
    pytest.mark.kernel("vhost"),
    pytest.mark.vpp,
    pytest.mark.skipif(not vpp.INSTALLED, reason="vpp is not installed: NOT tested what is learned through its taps"),
    pytest.mark.skipif(not birds.INSTALLED.present, reason=birds.INSTALLED.absence),
]

_COMMON = """
log stderr all;
router id 10.0.0.{number};
protocol device {{ scan time 1; }}
protocol direct {{ ipv4; ipv6; interface "lo"; }}
protocol kernel {{ ipv4 {{ import none; export where source != RTS_DEVICE; }}; }}
protocol kernel {{ ipv6 {{ import none; export where source != RTS_DEVICE; }}; }}
"""
_BGP = """
protocol bgp {family}_{number} {{
    local {own} as {own_as}; neighbor {other} as {other_as}; direct; {bfd}
    connect delay time 1; connect retry time 1; error wait time 1, 2;
    {family} {{ import all; export all; next hop self; }};
}}
"""
_BFD = 'protocol bfd { interface "*" { interval 300 ms; multiplier 5; }; }\n'
_ROUTER = 9


def bgp(number: int, *, bfd: bool = False) -> str:
    """Return BGP sessions in both families, of host 1 or 2 with the router, or of the router with both."""

    def ends(peer: int) -> Iterator[str]:
        for family, net in (("ipv4", f"192.168.{peer}."), ("ipv6", f"2001:db8:{peer}::")):
            own, other = (net + "1", net + "2") if number == _ROUTER else (net + "2", net + "1")
            numbers = (65000, 65000 + peer) if number == _ROUTER else (65000 + peer, 65000)
            yield _BGP.format(
                number=peer, family=family, own=own, other=other, own_as=numbers[0], other_as=numbers[1],
                bfd="bfd on;" if bfd else "",
            )  # fmt: skip

    return (_BFD if bfd else "") + "".join(
        text for peer in ((1, 2) if number == _ROUTER else (number,)) for text in ends(peer)
    )


def bgp_with_bfd(number: int) -> str:
    return bgp(number, bfd=True)


def ospf(number: int) -> str:
    text = """
protocol ospf {version} {{ {family} {{ import all; export all; }}; area 0 {{
    interface "e*", "h0" {{ hello 1; retransmit 2; dead 4; wait 2; }};
}}; }}
"""
    return text.format(version="v2", family="ipv4") + text.format(version="v3", family="ipv6")


def rip(number: int) -> str:
    text = """
protocol rip {version} {{ {family} {{ import all; export all; }};
    interface "e*", "h0" {{ update time 2; }};
}}
"""
    return text.format(version="", family="ipv4") + text.format(version="ng", family="ipv6")


def babel(number: int) -> str:
    return """
protocol babel { ipv4 { import all; export all; }; ipv6 { import all; export all; };
    interface "e*", "h0" { type wired; hello interval 1 s; };
}
"""


@pytest.fixture(scope="module")
def site() -> Iterator[TapSite]:
    with running() as site:
        for number, host in enumerate(site.hosts, 1):
            host.ip("route del default")
            host.ip("-6 route del default")
            host.ip(f"addr add 172.31.0.{number}/32 dev lo")
            host.ip(f"addr add 2001:db8:f::{number}/128 dev lo")
        yield site


@pytest.mark.parametrize("protocol", [bgp, bgp_with_bfd, ospf, rip, babel])
def test_hosts_reach_what_the_other_announces(site: TapSite, protocol) -> None:  # type: ignore[no-untyped-def]
    with Lab() as lab:
        speakers = []
        for number, namespace in ((_ROUTER, site.router), (1, site.hosts[0]), (2, site.hosts[1])):
            config = lab.folder / f"{namespace.label}.conf"
            config.write_text(_COMMON.format(number=number) + protocol(number))
            speakers.append(Bird(lab, namespace, config))
        try:
            for bird in speakers:
                bird.start()
            left, right = site.hosts[:2]
            for source, destination in (("172.31.0.1", "172.31.0.2"), ("2001:db8:f::1", "2001:db8:f::2")):
                site.wait_for(lambda ends=(source, destination): pings(left, *ends), f"{destination} from {source}")  # type: ignore[misc]
                assert pings(right, destination, source)
            if protocol is bgp_with_bfd:
                said = speakers[0].ctl("show bfd sessions")
                assert 4 == said.count(" Up "), said
            for table, addresses in (("ip", ("172.31.0.1/32", "172.31.0.2/32")),
                                     ("ip6", ("2001:db8:f::1/128", "2001:db8:f::2/128"))):  # fmt: skip
                for address, port in zip(addresses, ("host-p1", "host-p2"), strict=True):
                    said = site.vpp.ctl(f"show {table} fib {address}")
                    assert address in said, said
                    assert f" {port}" in said, said
        finally:
            for bird in speakers:
                bird.stop()
    site.wait_for(lambda: "172.31.0.1" not in site.vpp.ctl("show ip fib 172.31.0.1/32"), "its withdrawal")


def pings(host: Namespace, source: str, destination: str) -> bool:
    """Whether an address answers a ping from another one, three times in a row."""
    try:
        host.run("ping", "-q", "-c", "3", "-i", "0.2", "-W", "2", "-I", source, destination)
    except CommandFailed:
        return False
    return True
