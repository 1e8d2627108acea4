"""Daemons in a VRF, BIRD with a kernel table and FRR with a VRF, into the memory FIB's table of the same number.

::

    n0 ──── e0 router, main table
    n1 ──── e1 ┐
    n2 ──── e2 ┘ router, VRF red (table 1001): BIRD or FRR → kernel → rtagent → memory FIB

The daemon's routes of the VRF stand beside others of the same prefixes in the main table, and neither touches the
other. Where this kernel has no VRFs it runs in a guest with one slow processor, where VPP alone would take minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import frr
from tests.lab.bird import Bird
from tests.lab.birds import INSTALLED
from tests.lab.frr import Frr
from tests.lab.lab import Lab
from tests.lab.routing import RoutingSite
from tests.topologies.speakers import P6, Q6, VIA, VIA6, P, Q, configure

pytestmark = pytest.mark.kernel("vrf")

TABLE = 1001

BIRD = f"""
ipv4 table red4;
ipv6 table red6;
protocol kernel {{ kernel table {TABLE}; scan time 2; merge paths on; ipv4 {{ table red4; export all; }}; }}
protocol kernel {{ kernel table {TABLE}; scan time 2; merge paths on; ipv6 {{ table red6; export all; }}; }}
protocol static {{
    vrf "red";
    ipv4 {{ table red4; }};
    route {P} via {VIA[1]} via {VIA[2]};
    route {Q} WAY;
}}
protocol static {{
    vrf "red";
    ipv6 {{ table red6; }};
    route {P6} via {VIA6[1]} via {VIA6[2]};
    route {Q6} WAY;
}}
"""

FRR = f"""
vrf red
 ip route {P} {VIA[1]}
 ip route {P} {VIA[2]}
 ip route {Q} blackhole
 ipv6 route {P6} {VIA6[1]}
 ipv6 route {P6} {VIA6[2]}
 ipv6 route {Q6} blackhole
exit-vrf
"""


@pytest.fixture
def site() -> Iterator[RoutingSite]:
    with Lab() as lab:
        site = RoutingSite(lab, "memory")
        site.router.ip(f"link add red type vrf table {TABLE}")
        site.router.ip("link set red up")
        for number in (1, 2):
            site.router.ip(f"link set e{number} master red")
        for prefix, via in ((P, VIA[0]), (P6, VIA6[0])):
            site.router.ip(f"route add {prefix} via {via}")
        site.tables = [254, TABLE]
        site.start()
        yield site


def expect(site: RoutingSite, p: list[int], q: list[str] | None) -> None:
    """Wait for P by these neighbours and for Q in the VRF, and see that it is so in both tables."""
    vias, vias6 = ([of[number] for number in p] or None for of in (VIA, VIA6))
    site.expect({P: vias, Q: q, P6: vias6, Q6: q}, f"table {TABLE}")
    assert ([VIA[0]], [VIA6[0]]) == (site.ways(P), site.ways(P6))


@pytest.mark.skipif(not INSTALLED.present, reason=INSTALLED.absence)
def test_bird_with_a_table_of_the_kernels(site: RoutingSite) -> None:
    router = Bird(site.lab, site.router, site.lab.folder / "router.conf")
    configure(router, 1, BIRD.replace("WAY", "blackhole"))
    router.start()
    expect(site, p=[1, 2], q=["blackhole"])
    configure(router, 1, BIRD.replace("WAY", "unreachable"))
    site.router.ip("link set e1 down")
    expect(site, p=[2], q=["unreachable"])
    router.kill()
    site.router.ip("link set e1 up")
    router.start()
    expect(site, p=[1, 2], q=["unreachable"])
    router.stop()
    expect(site, p=[], q=None)


@pytest.mark.skipif(not frr.INSTALLED, reason="frr is not installed: no VRF of a daemon's is mirrored")
def test_frr_with_a_vrf(site: RoutingSite) -> None:
    daemons = Frr(site.lab, site.router, "staticd")
    daemons.start(FRR)
    expect(site, p=[1, 2], q=["blackhole"])
    daemons.configure(f"vrf red\n no ip route {P} {VIA[1]}\n no ipv6 route {P6} {VIA6[1]}\nexit-vrf\n")
    expect(site, p=[2], q=["blackhole"])
    site.router.ip("link set e2 down")
    expect(site, p=[], q=["blackhole"])
