"""Every test that asks for a ``plane`` runs on each of them; real VPP where ``vpp`` is on PATH."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.planes import FakePlane, MemoryPlane, Plane, VppPlane
from tests.lab import plugin
from tests.lab.lab import Lab
from tests.lab.vpp import INSTALLED

_NEEDS_VPP = [pytest.mark.vpp, pytest.mark.skipif(not INSTALLED, reason="vpp is not on PATH: real VPP is NOT tested")]
_NEEDS_PLUGIN = [
    *_NEEDS_VPP,
    pytest.mark.skipif(not plugin.BUILDABLE, reason="no cmake or no VPP headers: our VPP plugin is NOT tested"),
]
_WITH_PLUGIN = "vpp with our plugin"


@pytest.fixture(
    params=[
        "memory",
        "fake",
        pytest.param("vpp", marks=_NEEDS_VPP),
        pytest.param(_WITH_PLUGIN, marks=_NEEDS_PLUGIN),
    ]
)
def plane(request: pytest.FixtureRequest) -> Iterator[Plane]:
    if request.param == "memory":
        yield MemoryPlane()
        return
    with Lab() as lab:
        if request.param == "fake":
            yield FakePlane(str(lab.folder / "api.sock"))
        else:
            yield VppPlane(lab, plugin=request.param == _WITH_PLUGIN)


@pytest.fixture(params=["fake", pytest.param("real", marks=_NEEDS_VPP)])
def wire(request: pytest.FixtureRequest) -> FakePlane | VppPlane:
    """A plane that is reached over VPP's API: it outlives a session, and takes several."""
    plane: FakePlane | VppPlane = request.getfixturevalue(request.param)
    return plane


@pytest.fixture
def fake() -> Iterator[FakePlane]:
    with Lab() as lab:
        yield FakePlane(str(lab.folder / "api.sock"))


@pytest.fixture
def real() -> Iterator[VppPlane]:
    if not INSTALLED:
        pytest.skip("vpp is not on PATH: real VPP is NOT tested")
    with Lab() as lab:
        yield VppPlane(lab)
