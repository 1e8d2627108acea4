"""Labelled packets in a real VPP: taken from an interface if and only if the kernel takes them from its link."""

from __future__ import annotations

import pytest

from tests.vpp.site import VppSite

pytestmark = pytest.mark.kernel("mpls")


def taking(site: VppSite) -> set[str]:
    """Return the interfaces that take labelled packets, by vppctl's word."""
    return {line for line in site.vpp.ctl("show mpls interface").splitlines() if line.startswith("host-")}


def test_labelled_packets_are_taken_where_the_kernel_takes_them(site: VppSite) -> None:
    site.router.sysctl("net.mpls.platform_labels", 1000)
    site.router.sysctl("net.mpls.conf.e1.input", 1)
    site.router.ip("-f mpls route add 100 as 200 via inet 10.0.0.2")
    site.vpp.ctl("mpls table add 0")
    site.vpp.ctl("set interface mpls host-v8 enable")
    agent = site.start()
    site.wait()
    assert {"host-v1", "host-v8"} == taking(site)
    site.router.sysctl("net.mpls.conf.e0.input", 1)
    site.router.sysctl("net.mpls.conf.e1.input", 0)
    agent.wait_for(lambda: {"host-v0", "host-v8"} == taking(site), "the interfaces that take labels")
    agent.kill()
    site.router.sysctl("net.mpls.conf.e0.input", 0)
    site.start()
    site.wait()
    assert {"host-v8"} == taking(site)
    assert [] == site.diff()


@pytest.mark.parametrize("site", ["bulk"], indirect=True)
def test_by_the_plugin_labels_are_ours_from_start_to_flush(site: VppSite) -> None:
    site.router.sysctl("net.mpls.platform_labels", 1000)
    site.router.ip("-f mpls route add 100 as 200 via inet 10.0.0.2")
    site.router.ip("-f mpls route add 101 via inet 10.0.0.2")
    agent = site.start()
    site.wait()
    for label in ("100", "101"):
        assert 2 == site.vpp.ctl(f"show mpls fib {label}").count("rtagent refs:1")
    site.router.ip("-f mpls route change 101 via inet6 2001:db8::2")
    agent.wait_for(lambda: "arp-ipv6" in site.vpp.ctl("show mpls fib 101"), "IPv6 below label 101")
    agent.kill()
    site.forget_writes()
    again = site.start()
    site.wait()
    assert (0, []) == (site.count_writes(), site.diff())
    again.kill()
    assert 0 == site.rtagent("flush", "--yes", "--config", str(site.config)).status
    assert "rtagent" not in site.vpp.ctl("show mpls fib")
