"""The router of tests/lab/router.py, and a mirror of it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeAlias

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

Mirroring: TypeAlias = Callable[..., AbstractContextManager[Mirror]]
"""Makes a mirror; takes what ``Mirror`` takes besides where it reads and writes."""


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
def mirroring(request: pytest.FixtureRequest, router: Namespace) -> Mirroring:
    """Makes mirrors, into memory or into a real VPP; there vppctl says at the end whether all is as it should be."""
    if request.param == "memory":
        return functools.partial(Mirror, router.name)
    plane: VppPlane = request.getfixturevalue("plane")

    @contextlib.contextmanager
    def into_vpp(**options: Any) -> Iterator[Mirror]:
        fib = WatchedVpp(FibEntries(), plane.vpp.api)
        with Mirror(router.name, pairs=plane.ports, fib=fib, by_host=True, **options) as mirror:
            yield mirror
            mirror.settle()
            assert plane.differences(router, mirror.ports()) == []

    return into_vpp


@pytest.fixture
def mirror(mirroring: Mirroring) -> Iterator[Mirror]:
    """A mirror into memory, and one into a real VPP."""
    with mirroring() as mirror:
        yield mirror
