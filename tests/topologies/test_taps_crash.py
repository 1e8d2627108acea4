"""VPP dies, or the agent, or both, under three BGP sessions: they stand, no route is lost, and forwarding is back.

The site is that of tap_site.py, with a BIRD on each host. ``--routes N`` says how many routes there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.lab import birds, vpp
from tests.lab.lab import Lab
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


class Running:
    """A router with everything up."""

    def __init__(self, lab: Lab, routes: int) -> None:
        self.routes = routes
        self.site = TapSite(lab)
        self.site.start_vpp()
        self.site.start()
        self.site.address()
        self.speakers = Speakers(self.site, routes)
        self.speakers.start()
        self.wait_forwarding()

    def wait_forwarding(self) -> float:
        """Return when a host reaches what another one announces; return how long that took, in seconds."""
        began = time.monotonic()
        self.site.wait_for(lambda: reaches(self.site.hosts[1], BEHIND), "forwarding")
        return time.monotonic() - began

    def wait_synced(self) -> float:
        """Return when VPP holds what the kernel holds; return how long that took, in seconds."""
        began = time.monotonic()
        self.site.wait_for(self._is_synced, "a FIB that is complete")
        return time.monotonic() - began

    def survives(self, what: Callable[[], None]) -> tuple[float, float]:
        """Have something happen; sessions, addresses and routes must not notice. Return how long it took to be back."""
        since = self.speakers.since()
        before = self.addresses(), self.speakers.kernel_routes()
        watched = self.speakers.watch_routes()
        what()
        forwarding_s, synced_s = self.wait_forwarding(), self.wait_synced()
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


@pytest.fixture(scope="module")
def running(pytestconfig: pytest.Config) -> Iterator[Running]:
    with Lab() as lab:
        yield Running(lab, pytestconfig.getoption("--routes") or ROUTES)


def kill_vpp(running: Running) -> None:
    running.site.vpp.kill()
    running.site.wait_for(lambda: "NO-CARRIER" in running.site.link("e1")["flags"], "the loss of the carrier")
    assert running.speakers.stand()
    running.site.start_vpp()


def restart_vpp(running: Running) -> None:
    assert running.site.vpp.process is not None
    running.site.vpp.process.stop(60)
    running.site.start_vpp()


def kill_agent(running: Running) -> None:
    assert running.site.agent is not None
    running.site.agent.kill()
    assert reaches(running.site.hosts[1], BEHIND)
    running.site.start()


def kill_both(running: Running) -> None:
    assert running.site.agent is not None
    running.site.agent.kill()
    running.site.vpp.kill()
    running.site.start_vpp()
    running.site.start()


@pytest.mark.parametrize("what", [kill_vpp, restart_vpp, kill_agent, kill_both])
def test_sessions_addresses_and_routes_outlive(
    running: Running, what: Callable[[Running], None], record_property: Callable[[str, object], None]
) -> None:
    forwarding_s, synced_s = running.survives(lambda: what(running))
    took = f"forwarding after {forwarding_s:.1f} s, complete {synced_s:.1f} s later"
    print(f"{what.__name__}: {took}, {running.routes} routes")
    record_property("forwarding_s", forwarding_s)
