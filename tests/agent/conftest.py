"""An agent with a memory FIB beside a namespace of two links, driven as a user would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agent.site import Site
from tests.lab.lab import Lab


@pytest.fixture
def site() -> Iterator[Site]:
    with Lab() as lab:
        yield Site(lab)
