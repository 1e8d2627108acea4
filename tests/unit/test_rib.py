import pytest

from rtagent.core.rib import Rib
from rtagent.vector.keys import AF_INET, AF_INET6, Key, Keys
from rtagent.vector.nexthops import Kind, NexthopGroups
from rtagent.vector.routes import RTPROT_RA, TOS_LOCAL_TABLE, Op
from tests.rows import Route, delta, group
from tests.sizes import size  # noqa: F401

P4, P6 = "198.51.100.0/24", "2001:db8:f::/48"
A, B, C = group("10.0.0.2@1"), group("10.0.0.3@2"), group("10.0.0.4@3")
A6, B6, AB6 = group("fd00::2@1"), group("fd00::3@2"), group("fd00::2@1", "fd00::3@2")
DEV1, DEV2 = group("@1"), group("@2")


class World:
    """A Rib, and the groups that count as dead in it."""

    def __init__(self):
        self.groups = NexthopGroups()
        self.dead = set()
        self.rib = Rib(self.groups, lambda group, family: {group, (group, family)} & self.dead)

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


def test_the_local_table_comes_before_main(world):
    local = group(kind=Kind.LOCAL)
    world.apply(Route(P4, A), Route(P4, local, tos=TOS_LOCAL_TABLE), Route(P4, B, Op.REPLACE))
    assert world.best(P4) == local
    world.apply(Route(P4, local, Op.REMOVE, tos=TOS_LOCAL_TABLE))
    assert world.best(P4) == B


def test_an_entry_can_be_dead_in_one_family_only(world):
    for prefix in (P4, P6):
        world.apply(Route(prefix, DEV1, metric=10), Route(prefix, DEV2, metric=20))
    world.dead.add((DEV1, AF_INET6))
    world.rib.touch_all()
    assert (world.best(P4), world.best(P6)) == (DEV1, DEV2)


def test_an_advertised_default_route_stands_beside_a_static_one(world):
    world.apply(Route("::/0", A6, metric=1024, protocol=RTPROT_RA), Route("::/0", B6, Op.PREPEND, metric=1024))
    assert world.entries("::/0") == [(1024, 0, A6), (1024, 0, B6)]
    world.apply(Route("::/0", A6, Op.REMOVE, metric=1024, protocol=RTPROT_RA))
    assert world.entries("::/0") == [(1024, 0, B6)]


def test_ipv4_entries_stand_in_the_order_of_metric_then_of_coming(world):
    world.apply(Route(P4, B, metric=20), Route(P4, A, metric=10), Route(P4, C, Op.APPEND, metric=10))
    assert world.entries(P4) == [(10, 0, A), (10, 0, C), (20, 0, B)]
    world.apply(Route(P4, DEV1, Op.PREPEND, metric=10))
    assert world.entries(P4) == [(10, 0, DEV1), (10, 0, A), (10, 0, C), (20, 0, B)]
    assert world.best(P4) == DEV1


def test_a_removed_metric_yields_to_the_next_without_a_word(world):
    for prefix, first, second in ((P4, A, B), (P6, A6, B6)):
        world.apply(Route(prefix, first, metric=10), Route(prefix, second, metric=20))
        world.apply(Route(prefix, first, Op.REMOVE, metric=10))
        assert world.best(prefix) == second
        assert world.rib.several == {}


def test_a_replace_changes_the_first_entry_of_its_rank(world):
    world.apply(Route(P4, A, metric=10), Route(P4, B, Op.APPEND, metric=10), Route(P4, C, Op.REPLACE, metric=10))
    assert world.entries(P4) == [(10, 0, C), (10, 0, B)]


def test_a_replace_of_what_is_not_known_adds_it(world):
    world.apply(Route(P4, A, Op.REPLACE, metric=10), Route(P4, B, Op.REPLACE, metric=20))
    assert world.entries(P4) == [(10, 0, A), (20, 0, B)]


def test_a_set_leaves_nothing_else_at_its_rank(world):
    world.apply(Route(P4, A, metric=10), Route(P4, B, Op.APPEND, metric=10), Route(P4, B, metric=20))
    world.apply(Route(P4, C, metric=10))
    assert world.entries(P4) == [(10, 0, C), (20, 0, B)]


def test_ipv6_gateways_of_one_metric_are_one_route_and_each_message_carries_all(world):
    world.apply(Route(P6, A6, metric=1024), Route(P6, AB6, Op.APPEND, metric=1024))
    assert world.entries(P6) == [(1024, 0, AB6)]
    world.apply(Route(P6, A6, Op.REMOVE, metric=1024))
    assert world.entries(P6) == [(1024, 0, B6)]
    world.apply(Route(P6, B6, Op.REMOVE, metric=1024))
    assert world.entries(P6) == []


def test_ipv6_devices_of_one_metric_stand_side_by_side(world):
    world.apply(Route(P6, DEV1, metric=256), Route(P6, DEV2, Op.PREPEND, metric=256))
    assert world.entries(P6) == [(256, 0, DEV1), (256, 0, DEV2)]
    world.apply(Route(P6, DEV1, Op.REMOVE, metric=256))
    assert world.entries(P6) == [(256, 0, DEV2)]


def test_an_ipv6_replace_prefers_an_entry_of_its_own_sort(world):
    world.apply(
        Route(P6, DEV1, metric=256), Route(P6, A6, Op.PREPEND, metric=256), Route(P6, B6, Op.REPLACE, metric=256)
    )
    assert world.entries(P6) == [(256, 0, DEV1), (256, 0, B6)]


def test_a_removal_finds_its_entry_whatever_the_flags_of_its_nexthops_were(world):
    world.apply(Route(P4, A, metric=10), Route(P4, group("10.0.0.3@2!"), Op.APPEND, metric=10))
    world.apply(Route(P4, B, Op.REMOVE, metric=10))
    assert world.entries(P4) == [(10, 0, A)]


def test_a_removal_of_what_is_not_known_does_nothing(world):
    world.apply(Route(P4, A, Op.REMOVE), Route(P6, A6, Op.REMOVE))
    world.apply(Route(P4, A, metric=10), Route(P4, B, metric=20), Route(P4, C, Op.REMOVE, metric=30))
    assert world.entries(P4) == [(10, 0, A), (20, 0, B)]
    assert world.best(P6) is None


def test_a_route_without_tos_forwards_before_one_with_it(world):
    world.apply(Route(P4, A, tos=0x10), Route(P4, B, metric=50))
    assert world.entries(P4) == [(0, 0x10, A), (50, 0, B)]
    assert world.best(P4) == B


def test_a_dump_shows_all_entries_and_takes_the_others_away(world):
    world.apply(Route(P4, A, metric=10), Route(P4, B, metric=20), Route("10.0.0.0/8", A), Route(P6, A6))
    world.apply(Route(P4, B, Op.SEEN, metric=20), Route(P4, C, Op.SEEN, metric=30), generation=7)
    assert world.rib.sweep(AF_INET, 7) == 1
    assert world.entries(P4) == [(20, 0, B), (30, 0, C)]
    assert (world.best("10.0.0.0/8"), world.best(P6)) == (None, A6)


def test_touched_rows_are_told_once(world):
    world.apply(Route(P4, A), Route(P6, A6), Route("::/0", A6))
    world.rib.take_touched()
    world.apply(Route(P6, A6, Op.REPLACE), Route(P4, A, Op.REPLACE), Route(P4, B, Op.REPLACE))
    assert world.rib.take_touched().tolist() == [0, 1]
    assert world.rib.take_touched().tolist() == []
    world.rib.touch_all()
    assert world.rib.take_touched() is None


def test_a_changed_nexthop_object_replaces_its_own_entry_not_the_first_of_the_rank(world):
    before, after = group("10.0.0.5@1", nhid=12), group(kind=Kind.BLACKHOLE, nhid=12)
    world.apply(Route(P4, A, metric=10), Route(P4, before, Op.APPEND, metric=10))
    world.apply(Route(P4, after, Op.REPLACE, metric=10))
    assert world.entries(P4) == [(10, 0, A), (10, 0, after)]


def test_a_dump_shows_an_entry_as_often_as_it_is_there(world):
    throw = group(kind=Kind.THROW)
    world.apply(Route(P6, DEV1), Route(P6, throw, Op.APPEND), Route(P6, throw, Op.REPLACE))
    assert world.entries(P6) == [(0, 0, throw), (0, 0, throw)]
    for generation in (1, 2):
        world.apply(*[Route(P6, throw, Op.SEEN)] * 2, generation=generation)
        assert world.entries(P6) == [(0, 0, throw), (0, 0, throw)]
    world.apply(Route(P6, throw, Op.REMOVE))
    assert world.entries(P6) == [(0, 0, throw)]


def test_what_comes_between_two_parts_of_a_dump_is_not_counted_twice(world):
    world.apply(Route(P6, DEV1, Op.SEEN), generation=1)
    world.apply(Route(P6, DEV2, Op.APPEND))
    world.apply(Route(P6, DEV2, Op.SEEN), generation=1)
    assert world.entries(P6) == [(0, 0, DEV1), (0, 0, DEV2)]
