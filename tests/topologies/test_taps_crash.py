"""VPP dies, or the agent, or both, under three BGP sessions: they stand, no route is lost, and forwarding is back.

The site is that of tap_site.py, with a BIRD on each host; VPP has our plugin where a test is for "bulk". ``--routes N``
says how many routes there are. One host pings another all the while: said in the end is how long after VPP's own start
(the agent's, where only that was killed) the first answer came, and after how long VPP held everything.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab import birds, plugin, vpp
from tests.lab.lab import Lab, Namespace
from tests.topologies.tap_site import TapSite, reaches
from tests.topologies.tap_speakers import BEHIND, Speakers

ROUTES = 2000

pytestmark = [
    pytest.mark.kernel("vhost", "vlan"),
    pytest.mark.vpp,
    pytest.mark.skipif(not vpp.INSTALLED, reason="vpp is not installed: NOT tested what its crash leaves of the taps"),
    pytest.mark.skipif(
        not birds.INSTALLED.present, reason="bird is not installed: NOT tested which sessions outlive VPP"
    ),
]


class Pings:
    """One stream of pings: an emulated processor has better things to do than to start a process for each."""

    def __init__(self, host: Namespace, address: str) -> None:
        self._process = host.start("ping", "-D", "-n", "-i", "0.2", address, log=f"pings-{id(self)}")

    def answered(self, since: float) -> list[float]:
        """Return when answers came, in Unix time, after ``since``."""
        times = re.findall(r"^\[([\d.]+)\] \d+ bytes from", self._process.text(), re.MULTILINE)
        return [at for at in map(float, times) if at > since]

    def stop(self) -> None:
        """Send no more."""
        self._process.stop()


class Running:
    """A router with everything up."""

    def __init__(self, lab: Lab, routes: int, *, bulk: bool) -> None:
        self.routes = routes
        self.site = TapSite(lab, plugin_path=plugin.built() if bulk else None)
        self.site.start_vpp()
        self.site.start()
        self.site.address()
        self.speakers = Speakers(self.site, routes)
        self.speakers.start()
        self.site.wait_for(lambda: reaches(self.site.hosts[1], BEHIND), "forwarding")

    def survives(self, what: Callable[[], float]) -> tuple[float, float]:
        """Have something happen that ends at a time; sessions, addresses and routes must not notice.

        Return how long after that, in seconds, packets were forwarded again, and VPP held what the kernel holds.
        """
        since = self.speakers.since()
        before = self.addresses(), self.speakers.kernel_routes()
        watched = self.speakers.watch_routes()
        pings = Pings(self.site.hosts[1], BEHIND)
        ended = what()
        self.site.wait_for(lambda: pings.answered(ended), "forwarding")
        self.site.wait_for(self._is_synced, "a FIB that is complete")
        forwarding_s, synced_s = pings.answered(ended)[0] - ended, time.time() - ended
        pings.stop()
        assert since == pytest.approx(self.speakers.since(), abs=0.5)
        assert before == (self.addresses(), self.speakers.kernel_routes())
        assert [] == [line for line in watched.text().splitlines() if line.startswith("Deleted")]
        watched.stop()
        assert {"e1": "up", "e2": "up", "e3": "up"} == self.site.states()
        return forwarding_s, synced_s

    def addresses(self) -> list[list[str]]:
        """Return addresses and hardware addresses of the taps."""
        return [
            [link["address"], *(f"{row['local']}/{row['prefixlen']}" for row in link["addr_info"])]
            for link in self.site.router.ip_json("addr show")
            if link["ifname"] != "lo"
        ]

    def _is_synced(self) -> bool:
        status = self.site.ask("status")["status"]
        rows = status["rows"].get("installed", {}).get("inet", 0)
        return status["health"] == "ok" and rows > self.routes and set(status["rows"]) <= {"installed", "shadowed"}


@pytest.fixture(scope="module", params=["stock", "bulk"])
def running(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Iterator[Running]:
    bulk = request.param == "bulk"
    if bulk and not plugin.BUILDABLE:
        pytest.skip("no cmake or no VPP headers: our VPP plugin is NOT tested")
    with Lab() as lab:
        yield Running(lab, pytestconfig.getoption("--routes") or ROUTES, bulk=bulk)


def kill_vpp(running: Running) -> float:
    running.site.vpp.kill()
    running.site.wait_for(lambda: "NO-CARRIER" in running.site.link("e1")["flags"], "the loss of the carrier")
    assert running.speakers.stand()
    running.site.start_vpp()
    return time.time()


def restart_vpp(running: Running) -> float:
    assert running.site.vpp.process is not None
    running.site.vpp.process.stop(60)
    running.site.start_vpp()
    return time.time()


def kill_agent(running: Running) -> float:
    assert running.site.agent is not None
    running.site.agent.kill()
    assert reaches(running.site.hosts[1], BEHIND)
    running.site.start()
    return time.time()


def kill_both(running: Running) -> float:
    assert running.site.agent is not None
    running.site.agent.kill()
    running.site.vpp.kill()
    running.site.launch()  # both at once, as systemd does
    running.site.start_vpp()
    return time.time()


@pytest.mark.parametrize("what", [kill_vpp, restart_vpp, kill_agent, kill_both])
def test_sessions_addresses_and_routes_outlive(
    running: Running, what: Callable[[Running], float], record_property: Callable[[str, object], None]
) -> None:
    forwarding_s, synced_s = running.survives(lambda: what(running))
    print(f"{what.__name__}: forwarding after {forwarding_s:.1f} s, {running.routes} routes after {synced_s:.1f} s")
    record_property("forwarding_s", forwarding_s)
    record_property("synced_s", synced_s)
