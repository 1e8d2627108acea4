"""The router of tests/lab/router.py, and a mirror of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.kernel.mirror import Mirror
from tests.lab.lab import Lab, Namespace
from tests.lab.router import router_and_peer


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


@pytest.fixture
def mirror(router: Namespace) -> Iterator[Mirror]:
    with Mirror(router.name) as mirror:
        yield mirror
