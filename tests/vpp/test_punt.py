"""An agent beside a real VPP with linux-cp: what is punted, counted, kept over restarts, flushed. There is no host."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.lab import Lab, wait_for
from tests.vpp.site import VppSite

pytestmark = pytest.mark.vpp

_PUNT = """
[punt]
groups = ["239.1.0.0/16", "(192.0.2.9, 232.1.1.1)"]
frames = ["lldp", "isis", 0x0800]
rate_kbps = 8000
exempt = ["bgp", "ospf"]
"""


@pytest.fixture
def site() -> Iterator[VppSite]:
    with Lab() as lab:
        site = VppSite(lab, plugins=("linux_cp", "tap", "policer"))
        site.write_config(_PUNT)
        site.start_vpp()
        yield site


def punt(site: VppSite) -> dict[str, Any]:
    found: dict[str, Any] = site.json("punt", "--config", str(site.config))
    return found


def states(site: VppSite) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in punt(site)["punted"]:
        found.setdefault(row["state"], set()).add(row["what"])
    return found


_SEND = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to:
    to.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    to.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"v0")
    for _ in range(int(sys.argv[1])):
        to.sendto(b"?", (sys.argv[2], 4242))
"""


def send(site: VppSite, packets: int, destination: str) -> None:
    """Send some by v0; echo requests would be VPP's own to answer."""
    site.peer.run(sys.executable, "-c", _SEND, f"{packets}", destination)


BROADCASTS = {"255.255.255.255", *(f"10.{number}.255.255" for number in range(4))}
INSTALLED = BROADCASTS | {"224.0.0.0/24", "ff00::/8", "239.1.0.0/16", "(192.0.2.9, 232.1.1.1)", "LLDP (0x88cc)"}
REJECTED = {"IS-IS (0x83)", "ethertype 0x0800"}
EXPECTED = {"installed": INSTALLED, "rejected": REJECTED}


def test_what_is_punted_arrives_is_counted_and_outlives_restarts(site: VppSite) -> None:
    agent = site.start()
    wait_for(lambda: states(site) == EXPECTED, "everything punted")
    found = punt(site)
    assert ["VPP's ping plugin is loaded: it answers echo requests itself, and keeps the replies to the host's"] == [
        *found["warnings"]
    ]
    assert found["warnings"] == site.json("status")["warnings"]
    assert "punt.hindered" in agent.text()
    link = next(row for row in found["punted"] if row["what"] == "224.0.0.0/24")
    assert [f"host-v{number}" for number in range(4)] == link["from"]
    reason = next(row["reason"] for row in found["punted"] if row["what"] == "ethertype 0x0800")
    assert reason.startswith("Invalid registration: VPP has a use for these frames")

    site.peer.ip("addr add 10.0.0.2/16 dev v0")
    send(site, 3, "10.0.255.255")
    send(site, 4, "224.0.0.5")
    counted = punt(site)
    assert 3 == next(row["packets"] for row in counted["punted"] if row["what"] == "10.0.255.255")
    assert 7 <= counted["policer"]["passed"]["packets"], "the kernel of the peer has its own, too"
    assert "installed" == counted["policer"]["state"] == counted["policer"]["exempt"]

    agent.stop()
    site.forget_writes()
    agent = site.start()
    agent.wait_for(lambda: "agent.ready" in agent.text(), "the agent")
    assert EXPECTED == states(site)
    assert {"rejected"} == {row["state"] for row in punt(site)["punted"] if row["what"] in REJECTED}
    assert (0, 0, 0) == (site.count_punt_writes(), site.count_writes(), site.count_interface_writes())

    site.vpp.kill()
    site.start_vpp()
    wait_for(lambda: states(site) == EXPECTED, "everything punted again")
    agent.stop()


def test_a_flush_takes_ours_and_leaves_an_operators(site: VppSite) -> None:
    site.vpp.ctl("ip mroute add 239.1.0.0/16 via host-v0 Forward")
    agent = site.start()
    wait_for(lambda: "224.0.0.0/24" in states(site).get("installed", ()), "punting")
    assert "239.1.0.0/16 in table 254: somebody else has an entry for it in VPP" in site.json("status")["warnings"]
    site.write_config()
    os.kill(agent.pid, signal.SIGHUP)
    gone = {"(192.0.2.9, 232.1.1.1)"}
    wait_for(lambda: not gone & {*states(site).get("installed", ()), *states(site).get("extra", ())}, "another group")
    agent.stop()
    assert 0 == site.rtagent("flush", "--yes", "--config", str(site.config)).status
    shown = site.vpp.ctl("show ip mfib")
    assert "239.1.0.0/16" in shown
    assert "224.0.0.0/24" not in shown
    assert "dpo-drop" in site.vpp.ctl("show ip fib 10.0.255.255/32").splitlines()[-1]
    assert "policer" not in site.vpp.ctl("show interface features local0")
    assert "punt-acl" not in site.vpp.ctl("show interface features local0")
