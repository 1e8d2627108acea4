"""Packets through a router with VRFs and with labels, from host to host: what the kernel says is what VPP does.

The site is that of tap_site.py, one for each test.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import vpp
from tests.topologies.tap_site import TapSite, reaches, running

pytestmark = [
    pytest.mark.vpp,
    pytest.mark.skipif(not vpp.INSTALLED, reason="vpp is not installed: NOT tested what it forwards"),
]

_SHARED = "10.66.0.1"
"""An address that two hosts have, each in a VRF of its own."""
_LABELLED = "10.77.0.1"


@pytest.fixture
def site() -> Iterator[TapSite]:
    with running() as site:
        yield site


def enslave(site: TapSite, number: int, vrf: str) -> None:
    """Move a port; the kernel takes its IPv6 addresses away, and they are given back."""
    site.router.ip(f"link set e{number} master {vrf}")
    site.router.ip(f"addr add 2001:db8:{number}::1/64 dev e{number} nodad")


@pytest.mark.kernel("vhost", "vrf")
def test_vrfs_may_have_the_same_prefixes(site: TapSite) -> None:
    left, right, far = site.hosts
    site.router.ip("link add blue up type vrf table 100")
    enslave(site, 3, "blue")
    for host in (right, far):
        host.ip(f"addr add {_SHARED}/32 dev lo")
        host.ip("addr add 2001:db8:66::1/128 dev lo")
    site.router.ip("route add 10.66.0.0/24 via 192.168.2.2")
    site.router.ip("-6 route add 2001:db8:66::/64 via 2001:db8:2::2")
    site.router.ip("route add 10.66.0.0/24 via 192.168.3.2 vrf blue")
    site.router.ip("-6 route add 2001:db8:66::/64 via 2001:db8:3::2 vrf blue")
    for address in (_SHARED, "2001:db8:66::1"):
        site.wait_for(lambda address=address: reaches(left, address), "the one in the main table")  # type: ignore[misc]
        site.router.run("ping", "-q", "-c", "1", "-W", "10", "-I", "blue", address)
        right.ip(f"addr del {address} dev lo")
        assert not reaches(left, address), "that is the other VRF's"
    enslave(site, 1, "blue")
    for address in (_SHARED, "2001:db8:66::1"):
        site.wait_for(lambda address=address: reaches(left, address), "the one in blue")  # type: ignore[misc]
    far.ip(f"addr del {_SHARED}/32 dev lo")
    right.ip(f"addr add {_SHARED}/32 dev lo")
    assert not reaches(left, _SHARED), "that is the main table's"
    site.router.ip("link del blue")
    site.router.ip("addr add 2001:db8:1::1/64 dev e1 nodad")
    site.wait_for(lambda: reaches(left, _SHARED), "the one in the main table again")


@pytest.mark.kernel("vhost", "mpls")
def test_labels_are_pushed_swapped_and_popped_under_real_packets(site: TapSite) -> None:
    left, right, _ = site.hosts
    for namespace, link in ((left, "h0"), (site.router, "e1"), (right, "h0")):
        namespace.sysctl("net.mpls.platform_labels", 1000)
        namespace.sysctl(f"net.mpls.conf.{link}.input", 1)
    right.sysctl("net.mpls.conf.lo.input", 1)
    right.ip(f"addr add {_LABELLED}/32 dev lo")
    for label in (200, 300):
        right.ip(f"-f mpls route add {label} dev lo")
    ways = {
        "swap": ("encap mpls 100 via 192.168.1.1", "-f mpls route add 100 as 200 via inet 192.168.2.2"),
        "pop": ("encap mpls 101 via 192.168.1.1", "-f mpls route add 101 via inet 192.168.2.2"),
        "push": ("via 192.168.1.1", f"route add {_LABELLED}/32 encap mpls 300 via 192.168.2.2"),
        "swap and push": ("encap mpls 102 via 192.168.1.1", "-f mpls route add 102 as 300/200 via inet 192.168.2.2"),
    }
    for name, (first, then) in ways.items():
        assert not reaches(left, _LABELLED)
        site.router.ip(then)
        left.ip(f"route add {_LABELLED}/32 {first}")
        site.wait_for(lambda: reaches(left, _LABELLED), name)
        left.ip(f"route del {_LABELLED}/32")
        site.router.ip(then.replace(" add ", " del "))
