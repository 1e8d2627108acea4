"""Kernel and real VPP agree, through whatever happens to either or to the agent; a witness without our code says so."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Iterable

import pytest

from tests.lab.lab import Process, run, wait_for
from tests.lab.routes import RandomRoutes
from tests.vpp import witness
from tests.vpp.site import LINKS, VppSite

ON_BOTH_PATHS = pytest.mark.parametrize("site", ["stock", "bulk"], indirect=True)

FOREIGN = "203.0.113.0/24"
NOT_OURS = (FOREIGN, "192.168.")
"""The foreign route, and what VPP knows of the hosts beyond its own two ports."""


def disagreements(site: VppSite) -> list[str]:
    expected = witness.kernel(site.router, site.pairs)
    found = witness.differences(expected, witness.vpp(site.vpp, expected))
    return [line for line in found if not line.startswith(NOT_OURS)]


def assert_agreement(site: VppSite) -> None:
    site.wait()
    assert site.diff() == []
    assert disagreements(site)[:20] == []


def add_foreign(site: VppSite) -> None:
    """An operator's own static route, made in VPP."""
    site.vpp.ctl(f"ip route add {FOREIGN} via 10.0.0.99 host-v0")


def assert_foreign_stays(site: VppSite) -> None:
    assert "via 10.0.0.99 host-v0" in site.vpp.ctl(f"show ip fib {FOREIGN}")


class Churn:
    """``ip -batch`` that is fed line by line, so that something may happen between two lines."""

    def __init__(self, site: VppSite) -> None:
        self._site = site
        self._popen = subprocess.Popen(
            ["ip", "-n", site.router.name, "-force", "-batch", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )

    def feed(self, lines: Iterable[str]) -> None:
        assert self._popen.stdin is not None
        for line in lines:
            self._popen.stdin.write(line + "\n")

    def settle(self, turn: int) -> None:
        """Return when the kernel has taken every line that was fed."""
        marker = f"192.0.2.{turn}/32"
        self.feed([f"route add {marker} via 10.0.0.2"])
        wait_for(lambda: self._site.router.ip(f"route show {marker}"), f"the kernel's {marker}")

    def end(self) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.close()
        self._popen.wait()


@ON_BOTH_PATHS
@pytest.mark.slow
def test_a_hundred_thousand_prefixes_and_twenty_thousand_changes_while_vpp_forwards(site: VppSite) -> None:
    site.join_hosts()
    routes = RandomRoutes(1, links=LINKS, groups=200)
    add_foreign(site)
    site.start()
    site.wait()
    stream = site.left.start("ping", "-q", "-i", "0.02", "192.168.9.2", log="ping")
    site.router.ip_batch(list(routes.add(100_000)))
    assert_agreement(site)
    site.router.ip_batch(list(routes.change(20_000)), force=True)
    assert_agreement(site)
    assert_foreign_stays(site)
    run("kill", "-INT", str(stream.pid))
    stream.wait()
    sent, received = (int(text) for text in re.findall(r"(\d+) (?:packets transmitted|received)", stream.text()))
    assert sent > 100
    assert sent - received <= 1, stream.text()  # the last one may be under way when ping is told to end


@pytest.mark.slow
def test_an_agent_killed_a_hundred_times_under_churn_is_exact_each_time(site: VppSite) -> None:
    chance = random.Random(2)
    routes = RandomRoutes(2, links=LINKS, groups=50)
    add_foreign(site)
    site.router.ip_batch(list(routes.add(1000)))
    churn = Churn(site)
    agent = site.start()
    for turn in range(100):
        churn.feed(routes.change(chance.randrange(1, 200)))
        agent.kill()
        churn.feed(routes.change(chance.randrange(1, 200)))
        agent = site.start()
        if chance.random() < 0.5:
            agent.wait_for(lambda: "kernel.synced" in agent.text(), "sync")  # noqa: B023 - called within the turn
        churn.feed(routes.change(chance.randrange(1, 200)))
        churn.settle(turn)
        site.wait()
        assert disagreements(site) == []
    churn.end()
    assert_agreement(site)
    assert_foreign_stays(site)


def restart(site: VppSite, agent: Process) -> Process:
    agent.kill()
    again = site.start()
    site.wait()
    return again


@ON_BOTH_PATHS
def test_a_restart_with_nothing_changed_writes_nothing(site: VppSite) -> None:
    routes = RandomRoutes(3, links=LINKS, groups=100)
    site.router.ip_batch(list(routes.add(5000)))
    agent = site.start()
    site.wait()
    assert site.count_writes() == 5000
    assert site.count_interface_writes() > 0
    site.forget_writes()
    agent = restart(site, agent)
    assert site.json("status")["writes"] == 0
    assert site.count_writes() == site.count_interface_writes() == 0
    site.router.ip("route add 192.0.2.0/24 via 10.0.0.2")
    site.wait()
    assert site.count_writes() == 1


@ON_BOTH_PATHS
def test_a_killed_vpp_gets_its_fib_back_without_help(site: VppSite) -> None:
    routes = RandomRoutes(5, links=LINKS, groups=50)
    site.router.ip_batch(list(routes.add(5000)))
    agent = site.start()
    site.wait()
    site.vpp.kill()
    agent.wait_for(lambda: "dataplane.session_lost" in agent.text(), "the loss")
    site.router.ip_batch(list(routes.change(500)), force=True)
    site.start_vpp()
    add_foreign(site)
    assert_agreement(site)
    assert_foreign_stays(site)


def test_an_overflow_is_exact_and_touches_no_unchanged_prefix(site: VppSite) -> None:
    site.write_config()
    site.config.write_text(site.config.read_text().replace("[kernel]\n", "[kernel]\nreceive_buffer_bytes = 4096\n"))
    moving = [f"198.51.{number}.0/24" for number in range(100)]
    still = [f"192.0.{number}.0/24" for number in range(100)]
    site.router.ip_batch([f"route add {prefix} via 10.0.0.2" for prefix in (*moving, *still)])
    site.start()
    site.wait()
    site.forget_writes()
    for turn in range(30):
        via = f"10.{turn % 2 + 1}.0.2"
        site.router.ip_batch([f"route replace {prefix} via {via}" for prefix in moving])
    site.wait()
    assert site.json("status")["overflows"] > 0
    assert_agreement(site)
    trace = site.vpp.ctl("api trace dump")
    assert "198.51.7.0/24" in trace
    assert [prefix for prefix in still if prefix in trace] == []


@ON_BOTH_PATHS
def test_a_foreign_route_shadows_ours_and_gives_way_when_it_goes(site: VppSite) -> None:
    add_foreign(site)
    site.router.ip(f"route add {FOREIGN} via 10.1.0.2")
    site.start()
    site.wait()
    (row,) = site.json("fib", FOREIGN)
    assert (row["state"], row["reason"]) == ("shadowed", "shadowed by CLI")
    (difference,) = site.diff()
    assert (difference["prefix"], difference["why"]) == (FOREIGN, "shadowed by CLI")
    site.vpp.ctl(f"ip route del {FOREIGN}")
    site.wait_installed(FOREIGN)
    assert_agreement(site)


@ON_BOTH_PATHS
def test_flush_removes_ours_and_nothing_else(site: VppSite) -> None:
    add_foreign(site)
    routes = RandomRoutes(6, links=LINKS, groups=20)
    site.router.ip_batch(list(routes.add(500)))
    agent = site.start()
    site.wait()
    agent.stop()
    done = site.rtagent("flush", "--yes", "--json", "--config", str(site.config))
    answer = json.loads(done.out)
    assert (done.status, answer["removed"] == answer["held"], answer["held"] >= 500) == (0, True, True)
    assert {row["why"] for row in site.diff()} == {"missing"}
    assert_foreign_stays(site)
