"""VPP's own mirror of kernel routes, linux-nl, and ours, fed alike: how VPP's table fills.

linux-nl mirrors what leaves through a pair of linux-cp's, and for that a port on a veth serves as well as a tap
(lcp_pair/lcp_pair.c). It has the plugins that it needs and no others. It dumps nothing at its start: its first
synchronisation is the one after an overflow, so both are fed a table faster than they can follow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rtagent.agent.settings import load
from rtagent.vector.keys import AF_INET
from tests.bench.agent import GROUPS, running
from tests.bench.feed import Feed
from tests.bench.plot import write_svg
from tests.lab.bulk import gateways, prefixes4, route_requests
from tests.lab.lab import Lab
from tests.lab.plugin import built
from tests.lab.vpp import Vpp
from tests.vpp.site import VppSite

_LOOK_S = 0.1
_TIMEOUT_S = 600
_LCP_PAIR = Path(__file__).parent / "lcp_pair"


class Curve(NamedTuple):
    """How a table filled: seconds from the first route fed, and routes in VPP by then."""

    name: str
    seconds: list[float]
    routes: list[int]
    fed_s: float
    """When the kernel had all of them."""
    overflows: int


def linux_nl_first_sync(routes: int = 1_000_000, plot: Path | None = None) -> dict[str, float]:
    """A table fed at full speed, and then whatever it takes until VPP has all of it; from the first route on."""
    ours, theirs = _ours(routes), _linux_nl(routes)
    if plot is not None:
        write_svg(plot, [ours, theirs], routes)
    return {
        "routes_per_s": routes / ours.seconds[-1],
        "linux_nl_routes_per_s": routes / theirs.seconds[-1],
        "ratio": theirs.seconds[-1] / ours.seconds[-1],
        "fed_s": ours.fed_s,
        "linux_nl_fed_s": theirs.fed_s,
        "overflows": float(ours.overflows),
        "linux_nl_overflows": float(theirs.overflows),
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
        before = agent.reconciler.writes
        seconds, rows = [], []
        feeding = asyncio.ensure_future(feed.go())
        began = time.monotonic()
        while not rows or rows[-1] < routes:
            await agent.reconciler.progressed.wait()
            seconds.append(time.monotonic() - began)
            rows.append(agent.reconciler.writes - before)
        _, fed = await feeding
        return Curve("rtagent", seconds, rows, fed - began, agent.source.overflows)


def _linux_nl(routes: int) -> Curve:
    with Lab() as lab:
        router, peer = lab.namespace("router"), lab.namespace("peer")
        lab.veth(router, "e0", router, "h0")
        lab.veth(router, "v0", peer, "v0")
        router.ip("addr add 10.0.0.1/16 dev e0")
        plugins = ("tap", "linux_cp", "linux_nl", "lcp_pair")
        vpp = Vpp(lab, router, heap="3G", busy=True, plugins=plugins, plugin_path=built(_LCP_PAIR))
        vpp.start()
        phy, host = vpp.port("v0"), vpp.port("h0")
        (link,) = router.ip_json("link show e0")
        vpp.ctl(f"set interface ip address {phy} 10.0.0.1/16")
        vpp.ctl(f"bench lcp pair {phy} {host} e0 {link['ifindex']}")
        with Feed(router.name, _requests(routes, link["ifindex"])) as feed:
            before = _rows(vpp)
            feeding = feed.start()
            began = time.monotonic()
            seconds, rows = [], []
            while not rows or rows[-1] < routes:
                time.sleep(_LOOK_S)
                rows.append(_rows(vpp) - before)
                seconds.append(time.monotonic() - began)
                assert seconds[-1] < _TIMEOUT_S, f"linux-nl holds {rows[-1]} of {routes} routes"
            _, fed = feeding()
        assert vpp.process is not None
        return Curve("linux-nl", seconds, rows, fed - began, vpp.process.text().count("Error reading netlink socket"))


def _rows(vpp: Vpp) -> int:
    """Return the IPv4 entries of table 0, by prefix length in ``show ip fib summary``."""
    lines = (line.split() for line in vpp.ctl("show ip fib table 0 summary").splitlines())
    return sum(int(line[1]) for line in lines if len(line) == 2 and line[0].isdigit())
