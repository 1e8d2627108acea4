"""BIRD's static routes, OSPF, BGP and metrics into VPP (into the memory FIB where vpp is absent).

::

    host ── VPP ──── n0 ──── e0 router: BIRD → kernel → rtagent → VPP
                ──── n1 ──── e1         n0 and n1 announce P, n2 announces Q, by a BIRD each
                ──── n2 ──── e2         (tests/lab/routing.py says more)

After each event the kernel has the routes that it must have, ``rtagent diff`` is empty, vppctl shows what iproute2
shows, and a ping goes from the host through VPP to whoever announced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.lab import vpp
from tests.lab.bird import Bird
from tests.lab.birds import INSTALLED
from tests.lab.lab import Lab, Namespace, wait_for
from tests.lab.routing import RoutingSite
from tests.topologies.speakers import P6, Q6, R6, VIA, VIA6, Bgp, Ospf, P, Q, R, announced, configure, static

pytestmark = pytest.mark.skipif(not INSTALLED.present, reason=INSTALLED.absence)

DATAPLANE = pytest.param("vpp", marks=pytest.mark.vpp) if vpp.INSTALLED else "memory"

KERNEL = """
protocol kernel {{ scan time 2; merge paths on; metric {metric}; ipv4 {{ export where source != RTS_DEVICE; }}; }}
protocol kernel {{ scan time 2; merge paths on; metric {metric}; ipv6 {{ export where source != RTS_DEVICE; }}; }}
"""


class Routers:
    """A BIRD for the router and one for each neighbour, with texts that a test changes as it goes."""

    def __init__(self, site: RoutingSite) -> None:
        self.site = site
        self.router = self._bird(site.router)
        self.neighbors = [self._bird(neighbor) for neighbor in site.neighbors]

    def configure(self, router: Bird, text: str) -> None:
        """Give a BIRD its configuration, and let it take that if it runs."""
        configure(router, self.neighbors.index(router) + 2 if router in self.neighbors else 1, text)

    def _bird(self, namespace: Namespace) -> Bird:
        return Bird(self.site.lab, namespace, self.site.lab.folder / f"{namespace.label}.conf")


@pytest.fixture
def routers(request: pytest.FixtureRequest) -> Iterator[Routers]:
    with Lab() as lab:
        site = RoutingSite(lab, request.param)
        site.start()
        yield Routers(site)


@pytest.mark.parametrize("routers", [DATAPLANE], indirect=True)
def test_static_routes_of_every_type_with_weights(routers: Routers) -> None:
    site, router = routers.site, routers.router
    kernel = KERNEL.format(metric=32)
    before = {
        P: f"via {VIA[0]}", Q: f"via {VIA[0]} weight 3 via {VIA[1]} weight 5", R: "blackhole",
        P6: f"via {VIA6[0]}", Q6: f"via {VIA6[0]} via {VIA6[1]} via {VIA6[2]}", R6: "unreachable",
    }  # fmt: skip
    all_there: dict[str, list[str] | None] = {
        P: [VIA[0]], Q: [f"{VIA[0]}*3", f"{VIA[1]}*5"], R: ["blackhole"],
        P6: [VIA6[0]], Q6: VIA6, R6: ["unreachable"],
    }  # fmt: skip
    routers.configure(router, kernel + static(before))
    router.start()
    site.expect(all_there)

    routers.configure(router, kernel + static({
        P: "prohibit", Q: f"via {VIA[2]} weight 1 via {VIA[1]} weight 256", R: f"via {VIA[2]}",
        P6: "blackhole", Q6: f"via {VIA6[2]}", R6: f"via {VIA6[0]} via {VIA6[1]}",
    }))  # fmt: skip
    site.expect({
        P: ["prohibit"], Q: [VIA[2], f"{VIA[1]}*256"], R: [VIA[2]],
        P6: ["blackhole"], Q6: [VIA6[2]], R6: VIA6[:2],
    })  # fmt: skip
    routers.configure(router, kernel + static({Q: before[Q]}))
    site.expect({P: None, Q: all_there[Q], R: None, P6: None, Q6: None, R6: None})
    routers.configure(router, kernel + static(before))
    site.expect(all_there)

    site.router.ip("link set e0 down")
    site.expect({P: None, Q: [VIA[1]], R: ["blackhole"], P6: None, Q6: VIA6[1:], R6: ["unreachable"]})
    site.router.ip("link set e0 up")
    site.expect(all_there)

    router.kill()
    site.expect(all_there)
    site.router.ip("link set e0 down")
    site.expect({P: None, Q: [f"{VIA[1]}*5"], P6: None, Q6: VIA6[1:]})
    site.router.ip("link set e0 up")
    site.expect({P: None, Q: all_there[Q]})
    router.start()
    site.expect(all_there)
    router.stop()
    site.expect(dict.fromkeys(all_there))


@pytest.mark.parametrize("routers", [DATAPLANE], indirect=True)
def test_birds_routes_beside_an_operators_of_other_metrics(routers: Routers) -> None:
    site, router = routers.site, routers.router
    routes = static({P: f"via {VIA[0]}", P6: f"via {VIA6[0]}"})
    routers.configure(router, KERNEL.format(metric=32) + routes)
    router.start()
    by_bird: dict[str, list[str] | None] = {P: [VIA[0]], P6: [VIA6[0]]}
    by_operator: dict[str, list[str] | None] = {P: [VIA[1]], P6: [VIA6[1]]}
    site.expect(by_bird)
    for metric, expected in ((200, by_bird), (10, by_operator)):
        for prefix, via in ((P, VIA[1]), (P6, VIA6[1])):
            site.router.ip(f"route add {prefix} via {via} metric {metric} proto static")
        site.expect(expected)
    for prefix in (P, P6):
        site.router.ip(f"route del {prefix} metric 10")
    site.expect(by_bird)
    routers.configure(router, KERNEL.format(metric=500) + routes)
    site.expect(by_operator)
    site.router.ip("link set e1 down")
    site.expect(by_bird)
    site.router.ip("link set e1 up")
    site.expect(by_bird)
    router.kill()
    site.router.ip("link set e0 down")
    site.expect(dict.fromkeys((P, P6)))
    site.router.ip("link set e0 up")
    router.start()
    site.expect(by_bird)


@pytest.mark.parametrize("protocol", [Ospf, Bgp])
@pytest.mark.parametrize("routers", [DATAPLANE], indirect=True)
def test_what_neighbours_announce_in(protocol: type[Ospf | Bgp], routers: Routers) -> None:
    site, router = routers.site, routers.router
    speak = protocol(site)

    def learnt(p: list[int], q: list[int]) -> dict[str, list[str] | None]:
        """Return the routes by the numbers of those who announce them."""
        announcers = ((P, VIA, p), (Q, VIA, q), (P6, speak.vias6, p), (Q6, speak.vias6, q))
        return {prefix: [vias[number] for number in numbers] or None for prefix, vias, numbers in announcers}

    def announce(number: int, routes: Mapping[str, str]) -> None:
        routers.configure(routers.neighbors[number], speak.neighbor(number) + static(routes))

    def configure(passed_over: int | None = None) -> None:
        routers.configure(router, KERNEL.format(metric=32) + speak.router(passed_over))

    configure()
    router.start()
    for number in range(3):  # they come
        announce(number, announced(number))
        routers.neighbors[number].start()
    site.expect(learnt(p=[0, 1], q=[2]))

    announce(0, dict.fromkeys((Q, Q6), "blackhole"))  # one changes
    site.expect(learnt(p=[1], q=[0, 2]))
    announce(0, announced(0))
    site.expect(learnt(p=[0, 1], q=[2]))

    routers.neighbors[1].stop()  # one goes
    site.expect(learnt(p=[0], q=[2]))
    routers.neighbors[1].start()
    site.expect(learnt(p=[0, 1], q=[2]))

    site.router.ip("link set e0 down")
    site.expect(learnt(p=[1], q=[2]))
    site.router.ip("link set e0 up")
    site.expect(learnt(p=[0, 1], q=[2]))

    configure(passed_over=0)  # the router is given another mind
    site.expect(learnt(p=[1], q=[2]))
    configure()
    site.expect(learnt(p=[0, 1], q=[2]))

    router.kill()
    site.expect(learnt(p=[0, 1], q=[2]))
    site.router.ip("link set e2 down")  # nobody is there to tell the kernel anything
    site.expect(learnt(p=[0, 1], q=[]))
    site.router.ip("link set e2 up")
    router.start()
    wait_for(lambda: speak.established(router), "the router's neighbours")
    site.expect(learnt(p=[0, 1], q=[2]))
