"""What is done otherwise for a few rows than for many, tested both ways with the same few rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rtagent.core import ledger, rib


@pytest.fixture(scope="module", params=["as few", "as many"], autouse=True)
def size(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a module's tests twice: rows one by one, and all at once."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "as many":
            patch.setattr(rib, "_FEW", 0)
            patch.setattr(ledger, "_FEW", 0)
        yield
