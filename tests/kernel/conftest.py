"""The router of tests/lab/router.py, and a mirror of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from rtagent.vector.fib import FibEntries
from tests.fuzz.plane import VppPlane
from tests.kernel.mirror import Mirror, WatchedVpp
from tests.lab.lab import Lab, Namespace
from tests.lab.router import router_and_peer
from tests.lab.vpp import INSTALLED

VPP = [
    pytest.mark.vpp,
    pytest.mark.skipif(not INSTALLED, reason="vpp is not installed: the kernel's cases are NOT tested with it"),
]


class Network(NamedTuple):
    lab: Lab
    router: Namespace
    peer: Namespace


@pytest.fixture
def network() -> Iterator[Network]:
    with Lab() as lab:
        yield Network(lab, *router_and_peer(lab))


@pytest.fixture
def router(network: Network) -> Namespace:
    return network.router


@pytest.fixture
def peer(network: Network) -> Namespace:
    return network.peer


@pytest.fixture(scope="module")
def plane() -> Iterator[VppPlane]:
    """One VPP for the tests of a module: what one leaves behind, the mirror of the next prunes."""
    with VppPlane() as plane:
        yield plane


@pytest.fixture(params=["memory", pytest.param("vpp", marks=VPP)])
def mirror(request: pytest.FixtureRequest, router: Namespace) -> Iterator[Mirror]:
    """A mirror into memory, and one into a real VPP; there vppctl says at the end whether all is as it should be."""
    if request.param == "memory":
        with Mirror(router.name) as mirror:
            yield mirror
        return
    plane: VppPlane = request.getfixturevalue("plane")
    fib = WatchedVpp(FibEntries(), plane.vpp.api)
    with Mirror(router.name, pairs=plane.ports, fib=fib, by_host=True) as mirror:
        yield mirror
        mirror.settle()
        assert plane.differences(router, mirror.ports()) == []
