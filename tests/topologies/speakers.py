"""What the BIRDs of the topologies say: configurations as text, and the prefixes and next hops in them."""

from __future__ import annotations

from collections.abc import Mapping

from tests.lab.bird import Bird
from tests.lab.routing import RoutingSite, gateway

P, Q, R = "198.18.1.0/24", "198.18.2.0/24", "198.18.3.0/24"
P6, Q6, R6 = "2001:db8:f001::/48", "2001:db8:f002::/48", "2001:db8:f003::/48"
VIA = [gateway(number).inet for number in range(3)]
VIA6 = [gateway(number).inet6 for number in range(3)]

COMMON = """
log stderr all;
router id {id};
protocol device {{ scan time 1; }}
protocol direct {{ ipv4; ipv6; interface "e*", "eth0"; }}
"""

OSPF = """
protocol ospf {version} ospf{version} {{
    merge external yes;
    {family} {{ export where source = RTS_STATIC; }};
    area 0 {{
        interface "{costly}" {{ type ptp; hello 1; retransmit 2; dead 4; cost 20; }};
        interface "*" {{ type ptp; hello 1; retransmit 2; dead 4; cost 10; }};
    }};
}}
"""

BGP = """
protocol bgp {name} {{
    local as {own_as};
    neighbor {neighbor} as {as};
    direct; check link;
    connect delay time 1; connect retry time 1; error wait time 1, 2;
    ipv4 {{ import where {wanted}; export where source = RTS_STATIC; }};
    ipv6 {{ import where {wanted}; export where source = RTS_STATIC; next hop address {own6}; }};
}}
"""


def configure(router: Bird, number: int, text: str) -> None:
    """Give the BIRD of this number its configuration, and let it take that if it runs."""
    router.config.write_text(COMMON.format(id=f"192.0.2.{number}") + text)
    if router.process and router.process.running:
        router.configure()


def static(routes: Mapping[str, str]) -> str:
    """Return static protocols for both families; a route is what comes behind its prefix."""
    text = ""
    for family, mark in (("ipv4", "."), ("ipv6", ":")):
        lines = "".join(f"    route {prefix} {way};\n" for prefix, way in routes.items() if mark in prefix)
        text += f"protocol static static_{family} {{\n    {family};\n{lines}}}\n"
    return text


def announced(number: int) -> dict[str, str]:
    """Return what a neighbour announces."""
    return dict.fromkeys((P, P6) if number < 2 else (Q, Q6), "blackhole")


class Ospf:
    """OSPFv2 and OSPFv3 on every link."""

    def __init__(self, site: RoutingSite) -> None:
        self.vias6 = [site.link_local(number) for number in range(3)]  # OSPFv3 sends packets to link-local addresses

    def router(self, passed_over: int | None = None) -> str:
        """Return the router's configuration; what one neighbour announces it may like less than what others do."""
        return self._text("none" if passed_over is None else f"e{passed_over}")

    def neighbor(self, number: int) -> str:
        """Return a neighbour's."""
        return self._text("none")

    def established(self, router: Bird) -> bool:
        """Whether a router has all of its neighbours."""
        said = router.ctl("show ospf neighbors ospfv2") + router.ctl("show ospf neighbors ospfv3")
        return said.count("Full/") == 6

    def _text(self, costly: str) -> str:
        return "".join(
            OSPF.format(version=version, family=family, costly=costly)
            for version, family in (("v2", "ipv4"), ("v3", "ipv6"))
        )


class Bgp:
    """External BGP, both families in one session."""

    def __init__(self, site: RoutingSite) -> None:
        self.vias6 = VIA6

    def router(self, passed_over: int | None = None) -> str:
        """Return the router's configuration; what one neighbour announces it may refuse."""
        return "".join(
            BGP.format(
                name=f"n{number}", own_as=64500, neighbor=VIA[number], wanted=str(number != passed_over).lower(),
                own6=f"2001:db8:{number}::1", **{"as": 64501 + number},
            )
            for number in range(3)
        )  # fmt: skip

    def neighbor(self, number: int) -> str:
        """Return a neighbour's."""
        return BGP.format(
            name="uplink", own_as=64501 + number, neighbor=f"10.{number}.0.1", wanted="true", own6=VIA6[number],
            **{"as": 64500},
        )  # fmt: skip

    def established(self, router: Bird) -> bool:
        """Whether a router has all of its neighbours."""
        return router.established()
