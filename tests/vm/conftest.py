"""A router whose kernel has MPLS, VRFs and the rest, mirrored into memory, and one mirrored into a real VPP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.plane import VppPlane
from tests.kernel.mirror import Mirror
from tests.lab.lab import Lab, Namespace
from tests.lab.router import router_and_peer
from tests.lab.vpp import INSTALLED
from tests.vm.site import Site


@pytest.fixture
def network() -> Iterator[tuple[Namespace, Namespace]]:
    with Lab() as lab:
        router, peer = router_and_peer(lab)
        router.sysctl("net.mpls.platform_labels", 1000)
        yield router, peer


@pytest.fixture
def router(network: tuple[Namespace, Namespace]) -> Namespace:
    return network[0]


@pytest.fixture
def peer(network: tuple[Namespace, Namespace]) -> Namespace:
    return network[1]


@pytest.fixture
def mirror(router: Namespace) -> Iterator[Mirror]:
    with Mirror(router.name) as mirror:
        yield mirror


@pytest.fixture(scope="module")
def plane() -> Iterator[VppPlane]:
    """One VPP for the tests of a module: what one leaves behind, the mirror of the next prunes."""
    if not INSTALLED:
        pytest.skip("vpp is not installed: nothing proved on real VPP")
    with VppPlane() as plane:
        yield plane


@pytest.fixture
def site(plane: VppPlane, network: tuple[Namespace, Namespace]) -> Iterator[Site]:
    with Mirror(network[0].name, pairs=plane.ports, fib=plane.sink(), remember_writes=False) as mirror:
        yield Site(*network, mirror, plane)
