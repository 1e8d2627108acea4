"""upstream router, load balancer, two nodes: ``./dev demo`` itself, to its end and to sudden ones."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import vpp
from tests.lab.lab import run, wait_for

ROOT = Path(__file__).parents[2]
DEMO = (sys.executable, "-m", "tests.lab.demo")

DATAPLANES = [
    "memory",
    pytest.param("vpp", marks=[pytest.mark.vpp, pytest.mark.skipif(not vpp.INSTALLED, reason="vpp is not installed")]),
]


def start_demo() -> subprocess.Popen[bytes]:
    """Start a demo, and return when its namespaces are there."""
    command = [*DEMO, "--dataplane", "memory"]
    demo = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(namespaces_of(demo.pid)) == 4, "the demo's namespaces")
    return demo


def namespaces_of(pid: int) -> list[str]:
    return [line for line in run("ip", "netns", "list").splitlines() if line.startswith(f"rtlab-{pid}-")]


@pytest.mark.parametrize("dataplane", DATAPLANES)
def test_the_demo_verifies_all_that_it_claims(dataplane: str) -> None:
    demo = subprocess.run(
        [*DEMO, "--dataplane", dataplane, "--routes", "2000"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (0, "") == (demo.returncode, demo.stderr), demo.stdout
    for claim in (
        "4 sessions Established",
        "all of the 2,000 prefixes",
        "node1 lost its link",
        "node1 is back",
        "cleaned up",
    ):
        assert claim in demo.stdout
    assert "\x1b" not in demo.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_nothing_behind(number: signal.Signals) -> None:
    demo = start_demo()
    demo.send_signal(number)
    assert 130 == demo.wait(30)
    assert [] == namespaces_of(demo.pid)


def test_a_killed_demo_is_swept_by_the_next_lab() -> None:
    demo = start_demo()
    demo.kill()
    demo.wait()
    run(sys.executable, "-c", "from tests.lab.lab import sweep; sweep()")
    assert [] == namespaces_of(demo.pid)


def test_a_wrong_option_is_refused() -> None:
    demo = subprocess.run([*DEMO, "--routes", "-5"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert 2 == demo.returncode
