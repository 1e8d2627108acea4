"""A router beside a real VPP; skipped, and said so, where VPP is not installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import plugin
from tests.lab.lab import Lab
from tests.lab.vpp import INSTALLED
from tests.vpp.site import VppSite

_HERE = "tests/vpp"
_REASON = "vpp is not installed: nothing proved on real VPP"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in str(item.path):
            item.add_marker(pytest.mark.vpp)
            item.add_marker(pytest.mark.skipif(not INSTALLED, reason=_REASON))


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[VppSite]:
    """A site; its VPP has our plugin where a test is parametrised (indirectly) with "bulk"."""
    bulk = getattr(request, "param", "stock") == "bulk"
    if bulk and not plugin.BUILDABLE:
        pytest.skip("no cmake or no VPP headers: our VPP plugin is NOT tested")
    with Lab() as lab:
        site = VppSite(lab, bulk=bulk)
        site.start_vpp()
        yield site
