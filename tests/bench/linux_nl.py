"""VPP's own mirror of kernel routes, linux-nl, and ours: how VPP's table fills.

linux-nl mirrors what leaves through a pair of linux-cp's, and for that a port on a veth serves as well as a tap
(lcp_pair/lcp_pair.c). It has the plugins that it needs and no others. It dumps nothing at its start: its first
synchronisation is the one after an overflow, so it is given a small receive buffer, and that is made to overflow.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rtagent.agent.agent import Agent
from rtagent.agent.settings import load
from rtagent.vector.keys import AF_INET
from tests.bench.agent import GROUPS, running
from tests.bench.feed import Feed
from tests.bench.plot import write_svg
from tests.lab.bulk import add_routes, gateways, prefixes4, route_requests, send
from tests.lab.lab import Lab, Namespace, wait_for
from tests.lab.plugin import built
from tests.lab.vpp import Vpp
from tests.vpp.site import VppSite

_LOOK_S = 0.1
_TIMEOUT_S = 600
_LCP_PAIR = Path(__file__).parent / "lcp_pair"
_SMALL_BUFFER = "linux-nl { nl-rx-buffer-size 4096 }"
_BURST = 5000
"""Routes that are written anew at once, which is more than a small buffer holds."""
_OVERFLOWED = re.compile("Error (?:polling|reading) netlink socket")


class Curve(NamedTuple):
    """How a table filled: seconds from the beginning, and routes in VPP by then."""

    name: str
    seconds: list[float]
    routes: list[int]
    fed_s: float = 0.0
    """When the kernel had all of them."""
    overflows: int = 0


def linux_nl_first_sync(routes: int = 1_000_000, plot: Path | None = None) -> dict[str, float]:
    """The kernel has a table, VPP has nothing: until it has all, ours from its start, linux-nl from an overflow on."""
    ours, theirs = _ours_from_start(routes), _linux_nl_from_overflow(routes)
    if plot is not None:
        write_svg(plot, [ours, theirs], routes)
    return {
        "routes_per_s": routes / ours.seconds[-1],
        "linux_nl_routes_per_s": routes / theirs.seconds[-1],
        "ratio": theirs.seconds[-1] / ours.seconds[-1],
        "sync_s": ours.seconds[-1],
        "linux_nl_sync_s": theirs.seconds[-1],
    }


def linux_nl_live(routes: int = 100_000) -> dict[str, float]:
    """Routes that come at once, but few enough for the receive buffer of either: nothing is lost, all is followed."""
    ours, theirs = _ours(routes), _linux_nl(routes)
    assert (ours.overflows, theirs.overflows) == (0, 0)
    return {
        "routes_per_s": routes / ours.seconds[-1],
        "linux_nl_routes_per_s": routes / theirs.seconds[-1],
        "ratio": theirs.seconds[-1] / ours.seconds[-1],
        "fed_s": ours.fed_s,
        "linux_nl_fed_s": theirs.fed_s,
    }


def _requests(routes: int, ifindex: int) -> Iterable[bytes]:
    return route_requests(prefixes4(routes), gateways(AF_INET, GROUPS), ifindex)


def _ours_from_start(routes: int) -> Curve:
    with Lab() as lab:
        site = VppSite(lab, heap="3G", busy=True, bulk=True)
        site.start_vpp()
        (link,) = site.router.ip_json("link show e0")
        add_routes(site.router, prefixes4(routes), gateways(AF_INET, GROUPS), link["ifindex"])
        return asyncio.run(_start(site, routes))


async def _start(site: VppSite, routes: int) -> Curve:
    began = time.monotonic()
    async with running(load(site.config)) as agent:
        seconds, rows = await _filled(agent, routes, began)
    return Curve("rtagent", seconds, rows)


def _ours(routes: int) -> Curve:
    with Lab() as lab:
        site = VppSite(lab, heap="3G", busy=True, bulk=True)
        site.start_vpp()
        (link,) = site.router.ip_json("link show e0")
        with Feed(site.router.name, _requests(routes, link["ifindex"])) as feed:
            return asyncio.run(_follow(site, feed, routes))


async def _follow(site: VppSite, feed: Feed, routes: int) -> Curve:
    async with running(load(site.config)) as agent:
        await agent.source.settle()
        await agent.reconciler.wait_settled()
        feeding = asyncio.ensure_future(feed.go())
        began = time.monotonic()
        seconds, rows = await _filled(agent, routes, began)
        _, fed = await feeding
        return Curve("rtagent", seconds, rows, fed - began, agent.source.overflows)


async def _filled(agent: Agent, routes: int, began: float) -> tuple[list[float], list[int]]:
    """Return the curve's points when so many more routes are written."""
    before = agent.reconciler.writes
    seconds, rows = [0.0], [0]
    while rows[-1] < routes:
        await agent.reconciler.progressed.wait()
        seconds.append(time.monotonic() - began)
        rows.append(agent.reconciler.writes - before)
    return seconds, rows


def _linux_nl_from_overflow(routes: int) -> Curve:
    with Lab() as lab:
        site = _LinuxNl(lab, _SMALL_BUFFER)
        table = prefixes4(routes)
        add_routes(site.router, table, gateways(AF_INET, GROUPS), site.ifindex)
        site.start()
        began = time.monotonic()
        first, *others = gateways(AF_INET, GROUPS)
        send(site.router.name, route_requests(table[:_BURST], [*others, first], site.ifindex, replace=True))
        wait_for(lambda: site.overflows, "an overflow")
        return site.filled(routes, began)


def _linux_nl(routes: int) -> Curve:
    with Lab() as lab:
        site = _LinuxNl(lab)
        site.start()
        with Feed(site.router.name, _requests(routes, site.ifindex)) as feed:
            feeding = feed.start()
            began = time.monotonic()
            curve = site.filled(routes, began)
            _, fed = feeding()
        return curve._replace(fed_s=fed - began, overflows=site.overflows)


class _LinuxNl:
    """A router whose VPP mirrors by itself."""

    def __init__(self, lab: Lab, configuration: str = "") -> None:
        """``configuration`` are further sections of VPP's."""
        self.router: Namespace = lab.namespace("router")
        peer = lab.namespace("peer")
        lab.veth(self.router, "e0", self.router, "h0")
        lab.veth(self.router, "v0", peer, "v0")
        self.router.ip("addr add 10.0.0.1/16 dev e0")
        (link,) = self.router.ip_json("link show e0")
        self.ifindex: int = link["ifindex"]
        plugins = ("tap", "linux_cp", "linux_nl", "lcp_pair")
        self.vpp = Vpp(
            lab, self.router, heap="3G", busy=True, plugins=plugins, plugin_path=built(_LCP_PAIR), more=configuration
        )

    def start(self) -> None:
        """Start VPP, and pair the port with the link."""
        self.vpp.start()
        phy, host = self.vpp.port("v0"), self.vpp.port("h0")
        self.vpp.ctl(f"set interface ip address {phy} 10.0.0.1/16")
        self.vpp.ctl(f"bench lcp pair {phy} {host} e0 {self.ifindex}")
        self._before = _rows(self.vpp)

    def filled(self, routes: int, began: float) -> Curve:
        """Return the curve when VPP has so many more routes."""
        seconds, rows = [0.0], [0]
        while rows[-1] < routes:
            time.sleep(_LOOK_S)
            rows.append(_rows(self.vpp) - self._before)
            seconds.append(time.monotonic() - began)
            assert seconds[-1] < _TIMEOUT_S, f"linux-nl holds {rows[-1]} of {routes} routes"
        return Curve("linux-nl", seconds, rows)

    @property
    def overflows(self) -> int:
        """How often its receive buffer has overflowed, as far as VPP's log goes back."""
        return len(_OVERFLOWED.findall(self.vpp.ctl("show log")))


def _rows(vpp: Vpp) -> int:
    """Return the IPv4 entries of table 0, by prefix length in ``show ip fib summary``."""
    lines = (line.split() for line in vpp.ctl("show ip fib table 0 summary").splitlines())
    return sum(int(line[1]) for line in lines if len(line) == 2 and line[0].isdigit())
