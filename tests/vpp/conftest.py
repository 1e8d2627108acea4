"""A router beside a real VPP; skipped, and said so, where VPP is not installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
def site() -> Iterator[VppSite]:
    with Lab() as lab:
        site = VppSite(lab)
        site.start_vpp()
        yield site
