"""Many routes through one link, which is set down while others forward: how soon VPP agrees, and what a ping notices.

::

    host ── VPP ──── n0 ──── e0 router: N routes through e0, one through e1 → kernel → rtagent → VPP
      ping ~~~~~~~~~ n1 ──── e1

The kernel drops them without a word about any, and lets nobody else have that processor until it is done: the thread of
VPP's that forwards is kept off it, as in production. VPP polls without a pause, as there: all on one thread, and with a
worker for the packets beside the main thread for the API. Before it lets go of an entry VPP waits until each worker has
been around its loop (vlib_worker_wait_one_loop), so the worker's ports are polled, too: one that sleeps until a packet
comes makes each removal wait for that packet. Our plugin removes many at a time.

Said in the end: the seconds from ``ip link set e0 down`` until the kernel was done, and until VPP held none of them by
its own count; the pings lost, the slowest, and the longest time without an answer, beside the longest before anything
happened. ``--routes N`` says how many routes; the aim is five seconds for a million.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path

import pytest

from rtagent.vector.keys import AF_INET, Key
from tests.lab import plugin, vpp
from tests.lab.bulk import add_routes, gateways, prefixes4
from tests.lab.lab import Lab
from tests.lab.routing import RoutingSite, gateway
from tests.lab.vpp import Vpp

pytestmark = [pytest.mark.vpp, pytest.mark.skipif(not vpp.INSTALLED, reason="vpp is not installed: no forwarding")]

ROUTES = 20_000
TIMEOUT_S = 600
SURVIVOR = "198.18.1.0/24"
NOT_FED = (ip_network("192.168.0.0/16"), ip_network("198.18.0.0/15"), ip_network("169.254.0.0/16"))
"""What the site itself uses."""


@pytest.fixture(params=["stock", "stock-worker", "bulk", "bulk-worker"])
def site(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Iterator[RoutingSite]:
    """A site whose agent and VPP have taken all routes; its VPP has our plugin where a test is for "bulk"."""
    plane, _, worker = request.param.partition("-")
    if plane == "bulk" and not plugin.BUILDABLE:
        pytest.skip("no cmake or no VPP headers: our VPP plugin is NOT tested")
    plugins = {"plugins": (plugin.NAME,), "plugin_path": plugin.built()} if plane == "bulk" else {}
    with Lab() as lab:
        site = RoutingSite(lab, "vpp", links=2, gateways=8)
        site.router.ip(f"route add {SURVIVOR} via {gateway(1).inet}")
        (link,) = site.router.ip_json("link show e0")
        add_routes(
            site.router, fed(pytestconfig.getoption("--routes") or ROUTES), gateways(AF_INET, 8), link["ifindex"]
        )
        site.start(heap="3G", busy=True, workers=1 if worker else 0, **plugins)
        for port in (*site.pairs.values(), "host-v8") if worker and site.vpp else ():
            site.vpp.ctl(f"set interface rx-mode {port} polling")
        site.wait_synced(TIMEOUT_S)
        yield site


def processor_apart(router: Vpp) -> int:
    """Keep the thread that forwards, VPP's worker or its only one, on one processor, and return another, if any."""
    assert router.process
    names = {int(task.name): (task / "comm").read_text() for task in Path(f"/proc/{router.process.pid}/task").iterdir()}
    thread = next((thread for thread, name in names.items() if name.startswith("vpp_wk")), router.process.pid)
    its_own = max(os.sched_getaffinity(thread))
    os.sched_setaffinity(thread, {its_own})
    return min(os.sched_getaffinity(0) - {its_own}, default=its_own)


def fed(count: int) -> list[Key]:
    """Return prefixes that are nobody else's."""
    keys = prefixes4(count + count // 100 + 1000)
    return [key for key in keys if not any(network.overlaps(ip_network(key.text)) for network in NOT_FED)][:count]


def fib_entries(router: Vpp) -> int:
    """Return how many entries VPP's IPv4 FIB has, by its own count."""
    lines = (line.split() for line in router.ctl("show ip fib summary", timeout_s=600).splitlines())
    return sum(int(words[1]) for words in lines if len(words) == 2 and words[0].isdigit() and words[1].isdigit())


def longest_gap(said: str) -> tuple[float, float]:
    """Return the longest time between two answers that ``ping -D`` tells of, in ms, and when that began."""
    answered = [float(text) for text in re.findall(r"^\[([\d.]+)\] .*time=", said, re.MULTILINE)]
    return max((1000 * (later - earlier), earlier) for earlier, later in pairwise(answered))


def test_a_million_routes_go_with_their_link_and_the_others_go_on(
    site: RoutingSite, pytestconfig: pytest.Config
) -> None:
    routes = pytestconfig.getoption("--routes") or ROUTES
    assert site.vpp
    site.assert_forwards(SURVIVOR)
    before = fib_entries(site.vpp)
    assert before > routes
    stream = site.host.start("ping", "-D", "-i", "0.002", "198.18.1.9", log="ping")
    stream.wait_for(lambda: stream.text().count("time=") > 500, "pings")

    quiet = stream.text()
    processor = str(processor_apart(site.vpp))
    started, started_at = time.monotonic(), time.time()
    site.router.run("taskset", "--cpu-list", processor, "ip", "link", "set", "e0", "down")
    kernel_s = time.monotonic() - started
    site.wait_synced(TIMEOUT_S)
    agent_s = time.monotonic() - started
    left = fib_entries(site.vpp)
    vpp_s = time.monotonic() - started

    replies = stream.text().count("time=")
    stream.wait_for(lambda: stream.text().count("time=") > replies + 500, "pings")
    os.kill(stream.pid, signal.SIGINT)
    stream.wait()
    sent, received = (int(text) for text in re.findall(r"(\d+) (?:packets transmitted|received)", stream.text()))
    slowest_ms = max(float(text) for text in re.findall(r"time=([\d.]+) ms", stream.text()))
    gap_ms, gap_at = longest_gap(stream.text())
    print(
        f"{routes} routes: the kernel took {kernel_s:.2f} s, rtagent had agreement after {agent_s:.2f} s, and VPP "
        f"said so after {vpp_s:.2f} s; {sent - received} of {sent} pings lost, the slowest took {slowest_ms:.1f} ms, "
        f"{gap_ms:.1f} ms without an answer from {gap_at - started_at:.2f} s on ({longest_gap(quiet)[0]:.1f} ms before)"
    )
    assert before - left >= routes
    assert sent - received <= 1, stream.text()[-500:]  # the last one may be under way when ping is told to end
    site.assert_agreement()
    site.assert_forwards(SURVIVOR)
