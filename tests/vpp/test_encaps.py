"""Encapsulated packets out of VPP: what is around them, beside what the kernel itself sends; and who takes it off.

left ── v8 ── VPP ── v1 ── peer, the end of the segments ── far, behind it
kernel (router) ─── e1 ─── peer, for comparison
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress

import numpy as np
import pytest

from rtagent.core.sink import Plan
from rtagent.sinks.vpp import VppFib
from rtagent.vector.encaps import Tunnel
from rtagent.vector.fib import FibEntries, FibEntry, FibKind, FibPath
from rtagent.vector.keys import AF_INET, Key, Keys
from rtagent.vector.objects import ObjectChange
from tests.lab.lab import CommandFailed, Namespace, Process, wait_for
from tests.lab.packets import Capture, Outer
from tests.vpp.site import VppSite

IPV4, IPV6, ICMPV6 = 4, 41, 58
END, DX4, DX6 = "2001:db8:a::1", "2001:db8:a::4", "2001:db8:a::6"


@pytest.fixture
def far(site: VppSite) -> Namespace:
    """A host behind ``peer``."""
    return site.lab.namespace("far")


@pytest.fixture
def agent(site: VppSite, far: Namespace) -> Process:
    """An agent; the end of the segments is in ``peer``, and there is IPv6 on the left."""
    peer, left = site.peer, site.left
    site.lab.veth(peer, "h1", far, "h0")
    for namespace, links in ((peer, ("all", "v1", "h1")), (far, ("all", "h0"))):
        namespace.sysctl("net.ipv4.ip_forward", 1)
        namespace.sysctl("net.ipv6.conf.all.forwarding", 1)
        for link in links:
            namespace.sysctl(f"net.ipv6.conf.{link}.seg6_enabled", 1)
    mac = peer.ip_json("link show e1")[0]["address"]
    peer.ip(f"link set v1 address {mac}")  # one neighbour, for the kernel on e1 and for VPP on v1
    for namespace, link, addresses in (
        (peer, "e1", ("2001:db8:1::2/64",)), (peer, "v1", ("2001:db8:1::2/64", "10.1.0.2/16")),
        (peer, "h1", ("10.200.0.254/24", "2001:db8:f::fe/64", "2001:db8:e::fe/64")),
        (far, "h0", ("10.200.0.1/24", "2001:db8:f::1/64", "2001:db8:e::1/64")),
    ):  # fmt: skip
        for address in addresses:
            namespace.ip(f"addr add {address} dev {link}{' nodad' if ':' in address else ''}")
    peer.ip(f"-6 route add {END}/128 encap seg6local action End dev h1")
    peer.ip(f"-6 route add {DX4}/128 encap seg6local action End.DX4 nh4 10.200.0.1 dev h1")
    peer.ip(f"-6 route add {DX6}/128 encap seg6local action End.DX6 nh6 2001:db8:f::1 dev h1")
    for command in (
        "enable ip6 interface host-v1", f"set ip neighbor static host-v1 2001:db8:1::2 {mac}",
        f"set ip neighbor static host-v1 10.1.0.2 {mac}", "set interface ip address host-v8 fd00:8::1/64",
    ):  # fmt: skip
        site.vpp.ctl(command)
    site.join_hosts()
    left.ip("addr add fd00:8::2/64 dev h0 nodad")
    left.ip("route add default via 192.168.8.1")
    left.ip("-6 route add default via fd00:8::1")
    site.router.ip("-6 route add 2001:db8:a::/48 via 2001:db8:1::2 dev e1")
    return site.start()


def send(namespace: Namespace, address: str, tos: int = 0) -> None:
    """Send a packet that nobody need answer."""
    with contextlib.suppress(CommandFailed):
        namespace.run("ping", "-q", "-c", "1", "-W", "0.2", "-Q", str(tos), address)


def arrives(site: VppSite, far: Namespace, address: str) -> bool:
    """Whether what the left sends to an address of far comes out there: the kernel there counts it."""
    counter = "Icmp6InEchos" if ":" in address else "IcmpInEchos"

    def echoes() -> int:
        lines = far.run("nstat", "-asz", counter).splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(counter)))

    before = echoes()
    send(site.left, address)
    return echoes() > before


def test_segments_are_put_around_as_the_kernel_puts_them_and_taken_off_at_the_end(site, far, agent):
    cases = (
        ("10.200.0.0/24", "10.200.0.1", f"mode encap segs {END},{DX4}", IPV4),
        ("2001:db8:f::/48", "2001:db8:f::1", f"mode encap segs {END},{DX6}", IPV6),
        ("2001:db8:e::/48", "2001:db8:e::1", f"mode inline segs {END}", ICMPV6),
    )
    for prefix, _, encap, _ in cases:
        site.router.ip(f"route add {prefix} encap seg6 {encap} dev e0")
    site.wait()
    of_vpp, of_kernel = Capture(site.peer, "v1"), Capture(site.peer, "e1")
    for prefix, host, _, payload in cases:
        assert [row["state"] for row in site.json("fib", prefix)] == ["installed"]
        wait_for(lambda host=host: arrives(site, far, host), f"a packet to {host} beyond the segments")
        send(site.router, host)
        ours, theirs = of_vpp.segments(payload), of_kernel.segments(payload)
        if payload == ICMPV6:  # in that mode the source is the sender
            ours, theirs = ours._replace(source=""), theirs._replace(source="")
        assert theirs == ours
        assert (END, 1, END) == (ours.destination, ours.segments_left, ours.segments[-1])
    assert site.diff() == []
    site.router.ip(f"route replace 10.200.0.0/24 encap seg6 mode encap segs {DX4} dev e0")  # which needs no header
    site.wait()
    wait_for(lambda: arrives(site, far, "10.200.0.1"), "a packet beyond a single segment")


def test_a_policy_goes_with_its_last_route_and_outlives_the_agent(site, agent):
    for number in range(3):
        site.router.ip(f"route add 10.20{number}.0.0/24 encap seg6 mode encap segs {END},{DX4} dev e0")
    site.router.ip(f"-6 route add 2001:db8:f::/48 encap seg6 mode encap segs {END},{DX4} dev e0")
    site.wait()
    assert site.vpp.ctl("show sr policies").count("BSID") == 1
    agent.stop()
    site.forget_writes()
    site.start()
    site.wait()
    assert site.count_writes() == 0
    assert "sr_policy_add" not in site.vpp.ctl("api trace dump")
    site.router.ip_batch([f"route del 10.20{number}.0.0/24" for number in range(3)])
    site.wait()
    assert site.vpp.ctl("show sr policies").count("BSID") == 1
    site.router.ip("-6 route del 2001:db8:f::/48")
    wait_for(lambda: "BSID" not in site.vpp.ctl("show sr policies"), "the policy's removal")
    assert site.diff() == []


def test_explain_and_fib_say_what_is_put_around(site, agent):
    site.router.ip(f"route add 10.200.0.0/24 encap seg6 mode encap segs {END},{DX4} dev e0")
    site.wait()
    said = site.rtagent("explain", "10.200.0.1", "--config", str(site.config)).out
    assert f"encap seg6 mode encap segs [ {END} {DX4} ] dev e0" in said
    ((path,),) = [row["paths"] for row in site.json("fib", "10.200.0.0/24")]
    assert path["encap"] == f"seg6 mode encap segs [ {END} {DX4} ] src 2001:db8::1"


def test_what_vpp_does_not_express_is_kept_out(site, far, agent):
    site.router.ip("-6 route add 2001:db8:f::/48 encap seg6 mode l2encap segs 2001:db8:a::1 dev e0")
    site.router.ip("route add 10.200.0.0/24 encap ip id 1 dst 10.1.0.2 src 10.1.0.1 dev e0")
    site.wait()
    assert ["unsupported"] == [row["state"] for row in site.json("fib", "2001:db8:f::/48")]
    assert ["unsupported"] == [row["state"] for row in site.json("fib", "10.200.0.0/24")]
    assert not arrives(site, far, "10.200.0.1")


def test_a_tunnel_puts_an_address_around_a_packet(site, agent):
    """VPP counts itself as a hop once more behind the tunnel: the outer TTL leaves one smaller than the inner one."""
    cases = [
        (Tunnel(packed("10.1.0.1"), packed("10.1.9.1")), 62, 0),
        (Tunnel(packed("10.1.0.1"), packed("10.1.9.2"), copies_ttl=False, dscp=46), 63, 46 << 2),
        (Tunnel(packed("10.1.0.1"), packed("10.1.9.3"), copies_dscp=True), 62, 0x28),
    ]
    site.router.ip("route add 10.1.9.0/24 via 10.1.0.2 dev e1")
    site.wait()
    capture = Capture(site.peer, "v1")
    asyncio.run(_through(site, [tunnel for tunnel, _, _ in cases]))
    for number, (_, ttl, tos) in enumerate(cases, 1):
        send(site.left, f"10.201.{number}.1", tos=0x28 if number == 3 else 0)
        seen = capture.tunnelled(IPV4, f"10.1.9.{number}")
        assert Outer("10.1.0.1", f"10.1.9.{number}", IPV4, ttl, tos, f"10.201.{number}.1", 63) == seen


async def _through(site: VppSite, tunnels: list[Tunnel]) -> None:
    """Have 10.201.N.0/24 leave through the Nth tunnel, by a sink of another name: the agent has its own rows."""
    sink = VppFib(FibEntries(), site.vpp.api, "tunnels")
    await sink.connect()
    for number, tunnel in enumerate(tunnels, 1):
        assert (await sink.write(ObjectChange(tunnel, None, True))).retval == 0
        entry = sink.entries.intern(FibEntry(FibKind.UNICAST, (FibPath(family=AF_INET, encap=tunnel),)))
        plan = Plan(Keys.of([Key.parse(f"10.201.{number}.0/24")]), np.array([entry], np.int32))
        assert (await sink.apply(plan)).tolist() == [0]
    await sink.close()


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed
