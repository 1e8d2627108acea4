"""FRR's static and BGP routes, nexthop objects in the kernel, into VPP (into the memory FIB where vpp is absent).

::

    host ── VPP ──── n0 ──── e0 router: zebra, staticd, bgpd → kernel → rtagent → VPP
                ──── n1 ──── e1         n0 and n1 announce P, n2 announces Q, by a BIRD each
                ──── n2 ──── e2         (tests/lab/routing.py says more)

After each event the kernel has the routes that it must have, ``rtagent diff`` is empty, vppctl shows what iproute2
shows, and a ping goes from the host through VPP to whoever announced. Both ways in which the kernel tells of a changed
nexthop object are tried: with a message for each route through it (net.ipv4.nexthop_compat_mode 1), and without.

When a link goes down the kernel takes its next hops out of their groups. When it comes back zebra 8.4 takes such a
group for whole, and leaves it as it is: what FRR shows and what the kernel has differ from then on, and it is the
kernel that VPP must follow. Hence after a link's return nothing is said of groups, but that VPP agrees with the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.lab import frr, vpp
from tests.lab.bird import Bird
from tests.lab.birds import INSTALLED
from tests.lab.frr import Frr
from tests.lab.lab import Lab, wait_for
from tests.lab.routing import RoutingSite
from tests.topologies.speakers import P6, Q6, R6, VIA, VIA6, Bgp, P, Q, R, announced, configure, static

pytestmark = [
    pytest.mark.skipif(not frr.INSTALLED, reason="frr is not installed: no nexthop objects of a daemon are mirrored"),
    pytest.mark.skipif(not INSTALLED.present, reason=INSTALLED.absence),
]

DATAPLANE = "vpp" if vpp.INSTALLED else "memory"
IN_EITHER_MODE = [
    pytest.param((DATAPLANE, mode), marks=[pytest.mark.vpp] if vpp.INSTALLED else [], id=f"{DATAPLANE}-{name}")
    for mode, name in ((1, "compatible"), (0, "not-compatible"))
]

BGP = """
router bgp 64500
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 bgp bestpath as-path multipath-relax
 neighbor all peer-group
 neighbor all advertisement-interval 0
 neighbor all timers connect 1
 neighbor 10.0.0.2 remote-as 64501
 neighbor 10.0.0.2 peer-group all
 neighbor 10.1.0.2 remote-as 64502
 neighbor 10.1.0.2 peer-group all
 neighbor 10.2.0.2 remote-as 64503
 neighbor 10.2.0.2 peer-group all
 address-family ipv6 unicast
  neighbor all activate
  neighbor all route-map global in
route-map global permit 10
 set ipv6 next-hop prefer-global
"""


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[RoutingSite]:
    dataplane, compatible = request.param
    with Lab() as lab:
        site = RoutingSite(lab, dataplane)
        site.router.sysctl("net.ipv4.nexthop_compat_mode", compatible)
        site.start()
        yield site


@pytest.mark.parametrize("site", IN_EITHER_MODE, indirect=True)
def test_static_routes_through_nexthop_groups(site: RoutingSite) -> None:
    daemons = Frr(site.lab, site.router, "staticd")
    groups = [(4, Q, via) for via in VIA] + [(6, Q6, via) for via in VIA6]
    others = [(4, P, VIA[0]), (4, R, "blackhole"), (6, P6, VIA6[0]), (6, R6, "reject")]
    routes = "".join(
        f"ip{'' if family == 4 else 'v6'} route {prefix} {way}\n" for family, prefix, way in groups + others
    )
    all_there: dict[str, list[str] | None] = {
        P: [VIA[0]], Q: VIA, R: ["blackhole"], P6: [VIA6[0]], Q6: VIA6, R6: ["unreachable"],
    }  # fmt: skip
    daemons.start(routes)
    site.expect(all_there)
    assert site.router.ip_json("nexthop show")  # what this test is about

    daemons.configure(f"no ip route {Q} {VIA[2]}\nno ipv6 route {Q6} {VIA6[2]}\nno ip route {R} blackhole\n")
    site.expect({**all_there, Q: VIA[:2], Q6: VIA6[:2], R: None})
    daemons.configure(routes)
    site.expect(all_there)

    site.router.ip("link set e0 down")
    site.expect({**all_there, P: None, Q: VIA[1:], P6: None, Q6: VIA6[1:]})
    site.router.ip("link set e0 up")
    site.expect({P: [VIA[0]], P6: [VIA6[0]]})  # of Q see the text above

    daemons.kill()
    site.router.ip("link set e1 down")  # nobody is there to tell the kernel anything
    site.expect({P: [VIA[0]], P6: [VIA6[0]]})
    site.router.ip("link set e1 up")
    site.expect({P: [VIA[0]], P6: [VIA6[0]]})
    daemons.start(routes)
    site.expect(all_there)


@pytest.mark.parametrize("site", IN_EITHER_MODE[:1], indirect=True)
def test_bgp_from_neighbours_that_come_change_and_go(site: RoutingSite) -> None:
    daemons = Frr(site.lab, site.router, "bgpd")
    neighbors = [Bird(site.lab, namespace, site.lab.folder / f"{namespace.label}.conf") for namespace in site.neighbors]
    speak = Bgp(site)

    def announce(number: int, routes: Mapping[str, str]) -> None:
        configure(neighbors[number], number + 2, speak.neighbor(number) + static(routes))

    def learnt(p: list[int], q: list[int]) -> dict[str, list[str] | None]:
        """Return the routes by the numbers of those who announce them."""
        announcers = ((P, VIA, p), (Q, VIA, q), (P6, VIA6, p), (Q6, VIA6, q))
        return {prefix: [vias[number] for number in numbers] or None for prefix, vias, numbers in announcers}

    daemons.start(BGP)
    for number, neighbor in enumerate(neighbors):  # they come
        announce(number, announced(number))
        neighbor.start()
    site.expect(learnt(p=[0, 1], q=[2]))

    announce(0, dict.fromkeys((Q, Q6), "blackhole"))  # one changes
    site.expect(learnt(p=[1], q=[0, 2]))
    announce(0, announced(0))
    site.expect(learnt(p=[0, 1], q=[2]))

    neighbors[1].stop()  # one goes
    site.expect(learnt(p=[0], q=[2]))
    neighbors[1].start()
    site.expect(learnt(p=[0, 1], q=[2]))

    daemons.configure(f"router bgp 64500\n neighbor {VIA[0]} shutdown\n")  # the router is given another mind
    site.expect(learnt(p=[1], q=[2]))
    daemons.configure(f"router bgp 64500\n no neighbor {VIA[0]} shutdown\n")
    site.expect(learnt(p=[0, 1], q=[2]))

    site.router.ip("link set e0 down")
    site.expect(learnt(p=[1], q=[2]))
    site.router.ip("link set e0 up")
    wait_for(neighbors[0].established, "n0's session", 60)
    site.expect({Q: [VIA[2]], Q6: [VIA6[2]]})  # of P see the text above

    daemons.kill()
    site.router.ip("link set e2 down")  # nobody is there to tell the kernel anything
    site.expect({Q: None, Q6: None})
    site.router.ip("link set e2 up")
    daemons.start(BGP)
    wait_for(lambda: all(neighbor.established() for neighbor in neighbors), "the neighbours' sessions", 60)
    site.expect(learnt(p=[0, 1], q=[2]))
