"""What all tests share: Hypothesis told to be quick and to find the same things everywhere; the releases of BIRD."""

import pytest
from hypothesis import settings

from tests.lab.birds import RELEASES, BirdRelease

pytest_plugins = ["tests.guest"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--routes", type=int, metavar="N", help="how many routes, where a topology has many")
    parser.addoption("--churn", type=int, metavar="N", help="how many links come and go twenty times, where some do")


settings.register_profile("rtagent", deadline=None, derandomize=True, max_examples=100, database=None)
settings.load_profile("rtagent")


@pytest.fixture(params=RELEASES, ids=lambda release: release.name)
def bird_release(request: pytest.FixtureRequest) -> BirdRelease:
    """Each release of BIRD in turn; one that is not here is skipped."""
    release: BirdRelease = request.param
    if not release.present:
        pytest.skip(release.absence)
    return release
