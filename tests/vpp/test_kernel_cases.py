"""What the kernel does to routes without, or with less than, a word: after each command VPP forwards as it routes.

The same cases are followed message by message in tests/kernel, into the memory FIB; here nothing but the outcome
counts, ``ip -j route`` beside ``vppctl show ip fib``.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.lab.lab import Process
from tests.lab.site import Control
from tests.vpp import witness
from tests.vpp.site import VppSite

P, Q = "198.51.100.0/24", "203.0.113.0/24"
P6, Q6 = "2001:db8:f::/48", "2001:db8:e::/48"
E0, E1, E2 = (f"10.{number}.0.2" for number in range(3))
F0, F1, F2 = "2001:db8::2", "2001:db8:1::2", "2001:db8:2::2"
ECMP = [f"route add {P} nexthop via {E0} nexthop via {E1}", f"route add {P6} nexthop via {F0} nexthop via {F1}"]
SINGLE = [f"route add {Q} via {E0}", f"route add {Q6} via {F0}"]
OBJECTS = [f"nexthop add id {number + 1} via 10.{number}.0.2 dev e{number}" for number in range(3)]
OBJECTS6 = [f"nexthop add id {number + 11} via {via} dev e{number}" for number, via in enumerate((F0, F1, F2))]
GROUPS = [
    *OBJECTS, *OBJECTS6, "nexthop add id 10 group 1,3/2,5", "nexthop add id 20 group 11,2/12",
    f"route add {P} nhid 10", f"route add {Q} nhid 1", f"route add {P6} nhid 20",
]  # fmt: skip

CASES = {
    "a link goes down and up": [*ECMP, *SINGLE, "link set e0 down", "link set e0 up"],
    "the last address of a link goes, and comes back": [
        *ECMP, *SINGLE, "addr del 10.0.0.1/16 dev e0", "addr add 10.0.0.1/16 dev e0",
    ],
    "one of two addresses goes": [
        "addr add 192.0.2.1/24 dev e0", f"route add {Q} via 192.0.2.2", "addr del 192.0.2.1/24 dev e0",
    ],
    "a source address goes": [
        "addr add 192.0.2.1/24 dev e0", f"route add {Q} via {E0} src 192.0.2.1", "addr del 192.0.2.1/24 dev e0",
        "addr add 2001:db8:a::1/64 dev e0 nodad", f"route add {Q6} via {F0} src 2001:db8:a::1",
        "addr del 2001:db8:a::1/64 dev e0",
    ],
    "metrics": [
        f"route add {P} via {E1} metric 20", f"route add {P} via {E0} metric 10", f"route add {P} via {E2} metric 30",
        f"route del {P} metric 10", f"route replace {P} via {E0} metric 20", f"route del {P} metric 20",
        f"route add {P6} via {F1}", f"route add {P6} via {F0} metric 20", f"route del {P6} metric 20",
    ],
    "types": [
        command
        for prefix, via in ((P, E0), (P6, F0))
        for command in (
            f"route add {prefix} via {via}", f"route replace blackhole {prefix}", f"route replace unreachable {prefix}",
            f"route replace prohibit {prefix}", f"route replace {prefix} via {via}",
        )
    ],
    "ipv4 append, prepend, change": [
        f"route add {P} via {E0}", f"route append {P} via {E1}", f"route prepend {P} via {E2}",
        f"route change {P} dev e2 scope link", f"route del {P} dev e2", f"route del {P} via {E0}",
        f"route replace {P} nexthop via {E0} nexthop via {E2}",
    ],
    "ipv6 nexthop by nexthop": [
        f"route add {P6} via {F0}", f"route append {P6} via {F1}",
        f"route append {P6} nexthop via {F2} nexthop via 2001:db8:2::3", f"route del {P6} via {F1}",
        f"route del {P6} nexthop via {F0} nexthop via {F2} nexthop via 2001:db8:2::3",
    ],
    "weights": [
        f"route add {P} nexthop via {E0} weight 3 nexthop via {E1} weight 5",
        f"route replace {P} nexthop via {E0} weight 1 nexthop via {E1} weight 256",
    ],
    "nexthop objects are replaced": [
        *GROUPS, "nexthop replace id 1 via 10.2.0.9 dev e2", "nexthop replace id 10 group 2/3",
        f"nexthop replace id 11 via {F2} dev e2",
    ],
    "nexthop objects are deleted": [*GROUPS, "nexthop del id 1", "nexthop del id 12", "nexthop del id 10"],
    "a link of nexthop objects goes down": [*GROUPS, "link set e0 down", "link set e0 up"],
    "a blackhole object": [
        "nexthop add id 30 blackhole", f"route add {P} nhid 30", f"nexthop replace id 30 via {E0} dev e0",
    ],
    "a resilient group": [
        *OBJECTS, "nexthop add id 10 group 1/2 type resilient buckets 8", f"route add {P} nhid 10",
    ],
    "an ipv6 next hop of an ipv4 route": [f"route add {P} via inet6 {F0} dev e0", "link set e0 down"],
    "a link is deleted": [*ECMP, *SINGLE, "link del e0"],
}  # fmt: skip


def started(site: VppSite) -> Process:
    """Start an agent and return when it can be asked."""
    agent = site.start()
    agent.wait_for(Path(site.control).is_socket, "rtagent's control socket")
    assert [] == differing(site)
    return agent


def differing(site: VppSite) -> list[str]:
    """Return where kernel and VPP are not alike, once rtagent says that they are."""
    expected = None
    while expected != (expected := witness.kernel(site.router, site.pairs)):  # a link's carrier comes a moment later
        with contextlib.closing(Control(site.control)) as control:
            assert {"rtagent": 1, "synced": True} == list(control.ask("wait"))[-1]
        found = witness.differences(expected, witness.vpp(site.vpp, expected))
    return [line for line in found if not line.startswith("192.168.")]


@pytest.mark.parametrize("compatible", [1, 0], ids=["compatible", "not-compatible"])
def test_each_case_of_the_kernels_is_followed_into_vpp(site: VppSite, compatible: int) -> None:
    site.router.sysctl("net.ipv4.nexthop_compat_mode", compatible)
    start = ["addr add 10.0.0.1/16 dev e0", "addr add 2001:db8::1/64 dev e0 nodad", "link set e0 up"]
    forget = [f"route del {prefix}" for prefix in (P, Q, P6, Q6) for _ in range(3)]
    started(site)
    for name, commands in CASES.items():
        if not compatible and OBJECTS[0] not in commands:
            continue  # the mode is about nexthop objects only
        for command in commands:
            site.router.ip(command)
            assert [] == differing(site), (name, command)
        site.router.ip_batch(["nexthop flush", *start, *forget], force=True)
        assert [] == differing(site), name


def test_a_prefix_that_changes_a_hundred_times_in_one_batch_is_written_once(site: VppSite) -> None:
    agent = started(site)
    site.forget_writes()
    os.kill(agent.pid, signal.SIGSTOP)
    site.router.ip_batch([f"route replace {P} via 10.{number % 3}.0.{number + 2}" for number in range(100)])
    os.kill(agent.pid, signal.SIGCONT)
    assert [] == differing(site)
    assert 1 == site.count_writes()
