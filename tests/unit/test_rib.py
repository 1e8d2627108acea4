import pytest

from rtagent.core.rib import Rib
from rtagent.vector.keys import Key, Keys
from rtagent.vector.nexthops import NexthopGroups
from tests.rows import Route, delta, group

P4, P6 = "198.51.100.0/24", "2001:db8:f::/48"
A, B, C = group("10.0.0.2@1"), group("10.0.0.3@2"), group("10.0.0.4@3")
A6, B6, AB6 = group("fd00::2@1"), group("fd00::3@2"), group("fd00::2@1", "fd00::3@2")
DEV1, DEV2 = group("@1"), group("@2")


class World:
    """A Rib, and the groups that count as dead in it."""

    def __init__(self):
        self.groups = NexthopGroups()
        self.dead = set()
        self.rib = Rib(self.groups, lambda group: group in self.dead)

    def apply(self, *routes, generation=0):
        self.rib.apply(delta(self.groups, *routes), generation)

    def row(self, prefix):
        return int(self.rib.table.find(Keys.of([Key.parse(prefix)]))[0])

    def best(self, prefix):
        row = self.row(prefix)
        number = -1 if row < 0 else int(self.rib.group[row])
        return None if number < 0 else self.groups[number]

    def entries(self, prefix):
        return [(entry.metric, entry.tos, self.groups[entry.group]) for entry in self.rib.entries(self.row(prefix))]


@pytest.fixture
def world():
    return World()


def test_a_dead_best_entry_yields_to_the_next_when_everything_is_looked_at_again(world):
    world.apply(Route(P4, A, metric=10), Route(P4, B, metric=20))
    assert world.best(P4) == A
    world.dead.add(A)
    world.rib.touch_all()
    assert world.best(P4) == B
    assert world.entries(P4) == [(10, 0, A), (20, 0, B)]
