import numpy as np
import pytest

from rtagent.core.resolve import Resolver, Topology, scaled_weights
from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibPath, State
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS
from rtagent.vector.links import IFF_LOWER_UP, IFF_UP, Link
from rtagent.vector.nexthops import Kind, Nexthop, NexthopGroups, NexthopObject
from tests.rows import group, way

UP = IFF_UP | IFF_LOWER_UP


class World:
    """Links e1, e2 and e3; the first two are paired with 101 and 102."""

    def __init__(self):
        self.topology = Topology()
        self.topology.links = {n: Link(n, f"e{n}", UP) for n in (1, 2, 3)}
        self.topology.pairs = {1: 101, 2: 102}
        self.groups, self.entries = NexthopGroups(), FibEntries()
        self.resolver = Resolver(self.topology, self.groups, self.entries)

    def resolve(self, *ways, family=AF_INET, **options):
        return self.of(group(*ways, **options), family)

    def of(self, wanted, family=AF_INET):
        found = self.resolver.resolve(wanted, family)
        if found.entry == NO_ENTRY:
            return found.state, found.reason
        assert found.state is State.PENDING
        entry = self.entries[found.entry]
        return entry.kind if entry.kind is not FibKind.UNICAST else list(entry.paths)

    def link(self, ifindex, flags):
        self.topology.links[ifindex] = self.topology.links[ifindex]._replace(flags=flags)


@pytest.fixture
def world():
    return World()


def path(text, *, labels=(), family=0):
    made = way(text)
    return FibPath(made.via, made.ifindex, made.weight, labels, family)


def test_nexthops_leave_through_the_pairs_of_their_links(world):
    assert world.resolve("10.0.0.2@1*3", "10.0.1.2@2*5") == [path("10.0.0.2@101*3"), path("10.0.1.2@102*5")]


def test_an_attached_path_carries_the_family_of_its_route(world):
    assert world.resolve("@1") == [path("@101", family=AF_INET)]
    assert world.resolve("@1", family=AF_INET6) == [path("@101", family=AF_INET6)]
    assert world.resolve("@1", family=AF_MPLS) == [path("@101", family=AF_INET)]


@pytest.mark.parametrize(("kind", "expected"), [
    (Kind.BLACKHOLE, FibKind.BLACKHOLE), (Kind.UNREACHABLE, FibKind.UNREACHABLE), (Kind.PROHIBIT, FibKind.PROHIBIT),
    (Kind.LOCAL, FibKind.LOCAL), (Kind.THROW, (State.UNSUPPORTED, "throw routes have no counterpart")),
    (Kind.BROADCAST, (State.ABSENT, "")), (Kind.ANYCAST, (State.ABSENT, "")), (Kind.MULTICAST, (State.ABSENT, "")),
])  # fmt: skip
def test_each_kind_has_its_counterpart_or_none(world, kind, expected):
    assert world.resolve(kind=kind) == expected


def test_a_dead_nexthop_does_not_count(world):
    assert world.resolve("10.0.0.2@1!", "10.0.1.2@2") == [path("10.0.1.2@102")]
    world.link(2, 0)
    assert world.resolve("10.0.0.2@1", "10.0.1.2@2") == [path("10.0.0.2@101")]


def test_a_route_without_any_usable_nexthop_is_parked_and_says_why(world):
    world.link(2, 0)
    assert world.resolve("10.0.0.2@1!", "10.0.1.2@2", "10.0.9.2@9") == (
        State.PARKED,
        "no usable next hop: e2 is down; its interface (ifindex 9) is gone; the kernel regards it as dead on e1",
    )
    assert world.resolve() == (State.PARKED, "no usable next hop: it has no next hop")


@pytest.mark.parametrize("where", [(AF_INET, 1), (AF_INET, -1)])
def test_a_link_without_carrier_counts_unless_it_is_to_be_ignored_in_the_family(world, where):
    world.link(1, IFF_UP)
    assert world.resolve("10.0.0.2@1") == [path("10.0.0.2@101")]
    world.topology.ignores_linkdown.add(where)
    assert world.resolve("10.0.0.2@1") == (State.PARKED, "no usable next hop: e1 has no carrier")
    assert world.resolve("fd00::2@1", family=AF_INET6) == [path("fd00::2@101")]


def test_in_ipv6_the_policy_of_a_link_alone_counts(world):
    world.link(1, IFF_UP)
    world.topology.ignores_linkdown.add((AF_INET6, -1))
    assert world.resolve("fd00::2@1", family=AF_INET6) == [path("fd00::2@101")]
    world.topology.ignores_linkdown.add((AF_INET6, 1))
    assert world.resolve("fd00::2@1", family=AF_INET6) == (State.PARKED, "no usable next hop: e1 has no carrier")


def test_a_route_with_one_unpaired_nexthop_is_parked_whole(world):
    assert world.resolve("10.0.0.2@1", "10.0.2.2@3") == (State.PARKED, "no pair for e3")


def test_routes_over_links_that_are_left_alone_are_none_of_ours(world):
    world.topology.left_alone = frozenset({3})
    assert world.resolve("10.0.2.2@3") == (State.ABSENT, "")


def test_what_is_unsupported_says_why(world):
    assert world.resolve("10.0.0.2@1", unsupported="seg6 encapsulation") == (State.UNSUPPORTED, "seg6 encapsulation")


def test_equal_paths_share_their_weights(world):
    assert world.resolve("10.0.0.2@1*2", "10.0.0.2@1", "10.0.1.2@2") == [path("10.0.0.2@101*3"), path("10.0.1.2@102")]


def test_paths_that_differ_only_in_labels_are_unsupported(world):
    ways = tuple(Nexthop(b"\n\0\0\2", 1, labels=(label,)) for label in (100, 200))
    assert world.of(group()._replace(nexthops=ways)) == (
        State.UNSUPPORTED, "two next hops differ only in their labels",
    )  # fmt: skip


def test_labels_are_kept_up_to_what_fits(world):
    def labelled(count):
        return world.of(group()._replace(nexthops=(Nexthop(b"\n\0\0\2", 1, labels=tuple(range(16, 16 + count))),)))

    assert labelled(2) == [path("10.0.0.2@101", labels=(16, 17))]
    assert labelled(17) == (State.UNSUPPORTED, "more than 16 labels")


class TestNexthopObjects:
    @pytest.fixture
    def world(self, world):
        world.topology.nexthops = {
            1: NexthopObject(1, way("10.0.0.9@1")),
            2: NexthopObject(2, way("10.0.1.9@2")),
            3: NexthopObject(3, blackhole=True),
            4: NexthopObject(4, way("10.0.0.9@1"), unsupported="seg6 encapsulation"),
            10: NexthopObject(10, members=((1, 3), (2, 5))),
            11: NexthopObject(11, members=((1, 1), (3, 1))),
            12: NexthopObject(12, members=((1, 1), (99, 1))),
            13: NexthopObject(13, members=((1, 1), (4, 1))),
        }
        return world

    @pytest.mark.parametrize(("nhid", "expected"), [
        (1, [path("10.0.0.9@101")]),
        (3, FibKind.BLACKHOLE),
        (4, (State.UNSUPPORTED, "seg6 encapsulation")),
        (10, [path("10.0.0.9@101*3"), path("10.0.1.9@102*5")]),
        (11, FibKind.BLACKHOLE),
        (12, [path("10.0.0.9@101")]),
        (13, (State.UNSUPPORTED, "seg6 encapsulation")),
        (99, [path("10.0.0.2@101")]),
    ])  # fmt: skip
    def test_the_object_says_what_the_route_does_where_it_is_known(self, world, nhid, expected):
        assert world.resolve("10.0.0.2@1", nhid=nhid) == expected

    def test_an_object_that_was_a_blackhole_is_what_it_is_now(self, world):
        assert world.resolve(nhid=1, kind=Kind.BLACKHOLE) == [path("10.0.0.9@101")]


def test_columns_resolve_like_single_groups_and_only_once(world):
    ways = [group("10.0.0.2@1"), group("10.0.2.2@3"), group(kind=Kind.BLACKHOLE)]
    numbers = np.array([world.groups.intern(each) for each in ways] * 2, np.int32)
    family = np.array([AF_INET] * 3 + [AF_INET6] * 3, np.uint64)
    entry, state, reason = world.resolver.resolve_rows(family, numbers)
    found = [world.resolver.resolve(world.groups[n], int(f)) for n, f in zip(numbers, family, strict=True)]
    assert entry.tolist() == [each.entry for each in found]
    assert state.tolist() == [each.state for each in found]
    assert [world.resolver.reasons[n] for n in reason] == [each.reason for each in found]


def test_columns_follow_the_growth_of_the_groups(world):
    for count in (10, 100, 1000, 5000):
        numbers = np.array([world.groups.intern(group(f"10.0.{n // 250}.{n % 250}@1")) for n in range(count)], np.int32)
        entry, _, _ = world.resolver.resolve_rows(np.full(count, AF_INET, np.uint64), numbers)
        assert [world.entries[number].paths[0].via for number in entry] == [
            bytes([10, 0, n // 250, n % 250]) for n in range(count)
        ]


def test_invalidate_forgets_what_was_resolved(world):
    number = np.array([world.groups.intern(group("10.0.0.2@1"))], np.int32)
    family = np.array([AF_INET], np.uint64)
    assert world.resolver.resolve_rows(family, number)[0].tolist() != [NO_ENTRY]
    world.topology.pairs = {}
    world.resolver.invalidate()
    assert world.resolver.resolve_rows(family, number)[0].tolist() == [NO_ENTRY]


@pytest.mark.parametrize(("weights", "expected"), [
    ([1], [1]), ([256], [1]), ([3, 5], [3, 5]), ([2, 4], [1, 2]), ([1, 256], [1, 255]), ([512, 256], [2, 1]),
    ([1, 1000], [1, 255]), ([300, 200, 1], [255, 170, 1]),
])  # fmt: skip
def test_weights_keep_their_proportion_within_a_byte(weights, expected):
    assert scaled_weights(weights) == expected


def test_entries_with_the_same_paths_in_another_order_are_one():
    entries = FibEntries()
    a, b = path("10.0.0.2@101"), path("10.0.1.2@102")
    assert entries.intern(FibEntry(FibKind.UNICAST, (a, b))) == entries.intern(FibEntry(FibKind.UNICAST, (b, a)))
    assert len(entries) == 1
