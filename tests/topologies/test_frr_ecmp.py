"""FRR with many routes through one 64-way nexthop group, of which one next hop is withdrawn.

::

    n0: a BIRD announces N routes (iBGP), all with next hop 192.0.2.1
     └── e0 router: bgpd, zebra → kernel → rtagent → VPP
    192.0.2.1 has 64 static next hops, 16 on each of e0 to e3: zebra resolves each route through them

The kernel holds one nexthop group of 64; then of 63. Said in the end: how many messages the kernel sent, how many rows
rtagent wrote, how many writes VPP counted itself, and how long it all took. ``--routes N`` says how many routes.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import frr, plugin, vpp
from tests.lab.bird import Bird
from tests.lab.birds import INSTALLED
from tests.lab.frr import Frr
from tests.lab.lab import Lab
from tests.lab.routing import RoutingSite, gateway
from tests.topologies.speakers import configure
from tests.vpp.witness import nexthops

pytestmark = [
    pytest.mark.skipif(not frr.INSTALLED, reason="frr is not installed: no nexthop objects of a daemon are mirrored"),
    pytest.mark.skipif(not INSTALLED.present, reason=INSTALLED.absence),
]

ROUTES = 2000
WHOLE, SAMPLES = 5000, 500
"""Up to how many routes all of VPP's are read; of more, a sample. Stock VPP sends 64 next hops in 11 kB, and moves all
that is left of a dump, or of what a CLI command says, whenever its socket has taken 200 kB of it
(vl_socket_write_ready in vlibmemory/socket_api.c): half a gigabyte takes it minutes."""
TIMEOUT_S = 900
LINKS, GATEWAYS = 4, 16
WAYS = [gateway(link, number).inet for link in range(LINKS) for number in range(GATEWAYS)]
WITHDRAWN = WAYS[20]

DATAPLANE = "vpp" if vpp.INSTALLED else "memory"
CASES = [
    pytest.param((DATAPLANE, mode, bulk), marks=[pytest.mark.vpp] if vpp.INSTALLED else [], id=name)
    for mode, bulk, name in ((1, False, "compatible"), (0, False, "not-compatible"), (1, True, "compatible-bulk"))
    if not bulk or plugin.BUILDABLE
]

FRR = """
router bgp 64500
 bgp router-id 192.0.2.2
 neighbor 10.0.0.2 remote-as 64500
 neighbor 10.0.0.2 timers connect 1
"""

BIRD = """
protocol bgp uplink {{
    local as 64500;
    neighbor 10.0.0.1 as 64500;
    connect delay time 1; connect retry time 1; error wait time 1, 2;
    ipv4 {{ import none; export where source = RTS_STATIC; next hop address 192.0.2.1; }};
}}
protocol static {{
    ipv4;
{routes}}}
"""


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[RoutingSite]:
    dataplane, mode, bulk = request.param
    plugins = {"plugins": (plugin.NAME,), "plugin_path": plugin.built()} if bulk else {}
    with Lab() as lab:
        site = RoutingSite(lab, dataplane, links=LINKS, gateways=GATEWAYS)
        site.router.sysctl("net.ipv4.nexthop_compat_mode", mode)
        site.start(heap="3G", **plugins)
        yield site


def routes_through(site: RoutingSite, gateways: list[str]) -> int:
    """Return how many routes of the kernel go through a nexthop group of exactly these gateways.

    They are counted without being kept: a compatible kernel shows each route with all of its next hops.
    """
    objects = nexthops(site.router)
    groups = {number: [objects[member["id"]]["gateway"] for member in row["group"]]
              for number, row in objects.items() if "group" in row}  # fmt: skip
    wanted = [f"nhid {number} " for number, members in groups.items() if sorted(members) == sorted(gateways)]
    if not wanted:
        return 0
    show = subprocess.Popen(["ip", "-n", site.router.name, "route", "show"], stdout=subprocess.PIPE)
    patterns = [argument for text in wanted for argument in ("-e", text)]
    done = subprocess.run(["grep", "-cF", *patterns], stdin=show.stdout, capture_output=True, text=True, check=False)
    show.communicate()
    return int(done.stdout)


def settle(site: RoutingSite, routes: int, gateways: list[str]) -> None:
    """Wait until so many routes go through these gateways in the kernel, and the data plane has followed."""
    deadline = time.monotonic() + TIMEOUT_S
    heard, found = None, 0
    while heard != (heard := site.status()["messages"]) or routes != (found := routes_through(site, gateways)):
        assert time.monotonic() < deadline, found
        site.wait_synced(TIMEOUT_S)  # the kernel is asked only when it had nothing new to say for as long as this takes
    site.wait_synced(TIMEOUT_S)


def forget_writes(site: RoutingSite) -> None:
    """Let VPP count anew."""
    if site.vpp:
        site.vpp.ctl("api trace free")
        site.vpp.ctl("api trace on nitems 1000000")


def vpp_messages(site: RoutingSite) -> int:
    """Return how many messages VPP's API has received since ``forget_writes``, by its own trace."""
    return int(site.vpp.ctl("api trace status").split()[3]) if site.vpp else 0


def sampled(site: RoutingSite, routes: int) -> set[frozenset[str]]:
    """Return the sets of next hops by which VPP forwards some of the prefixes, by vppctl."""
    if site.vpp is None:
        return set()
    found = set()
    for number in range(0, routes, routes // SAMPLES):
        said = site.vpp.ctl(f"show ip fib {prefix(number)}")
        assert f"\n{prefix(number)} fib:" in said, said
        forwarding = said.partition(" forwarding:")[2]
        found.add(frozenset(re.findall(r"^ +\[[\d-]+\] \[@\d+\]: ipv4 via (\S+) ", forwarding, re.MULTILINE)))
    return found


def prefix(number: int) -> str:
    """Return one of the prefixes that are announced."""
    return f"16.{number >> 8 & 255}.{number & 255}.{number >> 16}/32"


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize("site", CASES, indirect=True)
def test_one_of_64_next_hops_of_many_routes_is_withdrawn(site: RoutingSite, pytestconfig: pytest.Config) -> None:
    routes = pytestconfig.getoption("--routes") or ROUTES
    assert site.agent
    daemons = Frr(site.lab, site.router, "staticd", "bgpd")
    daemons.start(FRR + "".join(f"ip route 192.0.2.1/32 {way}\n" for way in WAYS))
    announced = "".join(f"    route {prefix(number)} blackhole;\n" for number in range(routes))
    bird = Bird(site.lab, site.neighbors[0], site.lab.folder / "n0.conf")
    configure(bird, 3, BIRD.format(routes=announced))
    bird.start()
    for words, change, ways in (
        (f"{routes} routes come", "", WAYS),
        ("one next hop of 64 goes", f"no ip route 192.0.2.1/32 {WITHDRAWN}\n", [w for w in WAYS if w != WITHDRAWN]),
    ):
        before, agent_s, started = site.status(), cpu_s(site.agent.pid), time.monotonic()
        forget_writes(site)
        daemons.configure(change)
        settle(site, routes + 1, ways)
        took_s, after = time.monotonic() - started, site.status()
        print(
            f"{words}: {after['messages'] - before['messages']} messages of the kernel, "
            f"{after['writes'] - before['writes']} rows written, {vpp_messages(site)} messages in VPP's API trace; "
            f"{took_s:.1f} s, of which rtagent took {cpu_s(site.agent.pid) - agent_s:.1f} s of processor time"
        )
        assert after["overflows"] == 0
        if routes <= WHOLE:
            site.assert_agreement()
        else:
            assert sampled(site, routes) == {frozenset(ways)} or site.vpp is None
    assert after["writes"] - before["writes"] <= routes + 1
    site.assert_forwards("16.0.7.0/32")
