"""VPP's own taps, made by linux-cp: what the kernel says by one, the wire hears, and the other way round."""

from __future__ import annotations

import pytest

from tests.lab import vpp
from tests.lab.lab import Lab
from tests.lab.vpp import Vpp

pytestmark = [
    pytest.mark.kernel("vhost"),
    pytest.mark.vpp,
    pytest.mark.skipif(not vpp.INSTALLED, reason="vpp is not installed: NOT tested what goes through its taps"),
]


def test_a_ping_goes_through_a_pair_both_ways() -> None:
    with Lab() as lab:
        router, host, namespace = (lab.namespace(label) for label in ("router", "host", "vpp"))
        lab.veth(namespace, "p0", host, "eth0")
        host.ip("addr add 10.0.0.2/24 dev eth0")
        dataplane = Vpp(lab, namespace, plugins=("linux_cp", "tap"))
        dataplane.start()
        port = dataplane.port("p0")
        dataplane.ctl(f"lcp create {port} host-if e0 netns {router.name}")
        dataplane.ctl(f"set interface ip address {port} 10.0.0.1/24")
        router.ip("addr add 10.0.0.1/24 dev e0")
        router.ip("link set e0 up")
        host.run("ping", "-c", "3", "-i", "0.2", "-W", "5", "10.0.0.1")
        router.run("ping", "-c", "3", "-i", "0.2", "-W", "5", "10.0.0.2")
