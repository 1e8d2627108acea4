import pytest

from rtagent.core.ledger import Ledger
from rtagent.core.store import Store
from rtagent.vector.batch import Change, Dump, KernelBatch, UnsupportedRoute
from rtagent.vector.fib import FibEntries
from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.links import IFF_LOWER_UP, IFF_RUNNING, IFF_UP, Address, Link, LinkdownPolicy, Neighbor, Rule
from rtagent.vector.nexthops import Nexthop, NexthopGroups, NexthopObject
from rtagent.vector.routes import Op
from tests.rows import Route, delta, group
from tests.sizes import size  # noqa: F401

UP = IFF_UP | IFF_LOWER_UP | IFF_RUNNING
E1, E2 = Link(1, "e1", UP), Link(2, "e2", UP)
IP_ROUTES = {Dump.ROUTES_INET, Dump.ROUTES_INET6}
ROUTES = IP_ROUTES | {Dump.ROUTES_MPLS}


class World:
    def __init__(self):
        self.groups = NexthopGroups()
        self.store = Store(self.groups, FibEntries())
        self.say(E1, E2)
        self.store.take_dump_requests()

    def say(self, *rows, gone=False, dump=None):
        self.store.apply(KernelBatch(changes=tuple(Change(row, gone) for row in rows)), dump)

    def routes(self, *routes, dump=None):
        self.store.apply(KernelBatch(delta(self.groups, *routes)), dump)

    def dump(self, dump, *rows, routes=()):
        self.store.begin(dump)
        self.store.apply(KernelBatch(delta(self.groups, *routes), tuple(map(Change, rows))), dump)
        self.store.finish(dump)

    @property
    def requests(self):
        return self.store.take_dump_requests()


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize("lost", [IFF_UP, IFF_LOWER_UP, IFF_RUNNING])
def test_a_link_that_loses_its_state_calls_for_all_routes(world, lost):
    world.routes(Route("198.51.100.0/24", group("10.0.0.2@1")))
    world.say(E1._replace(flags=UP & ~lost))
    assert world.requests == ROUTES | ({Dump.ADDRESSES} if lost == IFF_UP else set())


def test_a_link_that_no_route_uses_calls_for_nothing(world):
    world.routes(Route("198.51.100.0/24", group("10.0.0.2@1")))
    world.say(E2, gone=True)
    assert world.requests == set()
    world.store.begin(Dump.ROUTES_INET)
    world.say(E2)
    world.say(E2, gone=True)
    assert world.requests == {Dump.ROUTES_INET}


def test_a_link_that_goes_calls_for_all_routes(world):
    world.routes(Route("198.51.100.0/24", group("10.0.0.2@1")))
    world.say(E1, gone=True)
    assert world.requests == ROUTES


def test_a_link_that_goes_calls_for_the_nexthops_where_there_are_any(world):
    world.say(NexthopObject(10, Nexthop(b"\n\0\0\2", 1)))
    world.say(E1, gone=True)
    assert world.requests == ROUTES | {Dump.NEXTHOPS}


def test_down_and_up_in_one_batch_calls_for_all_routes(world):
    world.routes(Route("198.51.100.0/24", group("10.0.0.2@1")))
    world.say(E1._replace(flags=0), E1)
    assert world.requests == ROUTES | {Dump.ADDRESSES}


def test_a_link_that_changes_otherwise_calls_for_nothing(world):
    world.say(E1._replace(mtu=9000), E2._replace(name="wan2"))
    assert world.requests == set()


def test_a_link_that_is_down_and_gets_another_master_calls_for_its_routes(world):
    world.say(E1._replace(flags=0))
    world.routes(Route("192.0.2.1/32", group("@1!")))
    world.store.take_dump_requests()
    world.say(E1._replace(flags=0, master=9))
    assert world.requests == ROUTES


def test_a_link_whose_mtu_the_kernel_sets_afterwards_is_read_once_more(world):
    world.say(Link(3, "gre0", 0, mtu=0))
    assert world.requests == {Dump.LINKS}
    world.dump(Dump.LINKS, E1, E2, Link(3, "gre0", 0, mtu=1476))
    assert world.requests == set()


@pytest.mark.parametrize("gained", [IFF_UP, IFF_LOWER_UP, IFF_RUNNING])
def test_a_link_that_regains_its_state_calls_for_routes_that_were_dead_through_it(world, gained):
    world.say(E1._replace(flags=UP & ~gained), E2._replace(flags=UP & ~gained))
    world.routes(Route("198.51.100.0/24", group("10.0.0.2@1!", "10.0.1.2@2")))
    world.store.take_dump_requests()
    world.say(E2)
    assert world.requests == set()
    world.say(E1)
    assert world.requests == {*IP_ROUTES, Dump.ROUTES_MPLS}


def test_a_link_that_revives_during_a_dump_has_it_repeated(world):
    world.say(E1._replace(flags=0))
    world.store.take_dump_requests()
    world.store.begin(Dump.ROUTES_INET6)
    world.say(E1)
    assert world.requests == {Dump.ROUTES_INET6}


def test_an_address_that_goes_calls_for_the_routes_of_its_family(world):
    address = Address(AF_INET, 1, b"\n\0\0\1", 24)
    world.say(address)
    assert world.requests == set()
    world.say(address, gone=True)
    assert world.requests == {Dump.ROUTES_INET}


def test_an_address_that_comes_calls_for_routes_that_were_dead_through_its_link(world):
    world.routes(Route("198.51.100.0/24", group("10.0.0.2@1!", "10.0.1.2@2")))
    world.say(Address(AF_INET, 2, b"\n\0\1\1", 24))
    assert world.requests == set()
    world.say(Address(AF_INET, 1, b"\n\0\0\1", 24))
    assert world.requests == {Dump.ROUTES_INET}


def test_a_nexthop_that_goes_calls_for_routes_and_nexthops(world):
    nexthop = NexthopObject(10, Nexthop(b"\n\0\0\2", 1))
    world.say(nexthop)
    world.say(nexthop, gone=True)
    assert world.requests == IP_ROUTES | {Dump.NEXTHOPS}


def test_what_a_complete_dump_does_not_show_is_gone(world):
    world.say(Neighbor(AF_INET, 1, b"\n\0\0\2"), Rule(AF_INET, 100, 1, 100))
    world.dump(Dump.NEIGHBORS, Neighbor(AF_INET, 1, b"\n\0\0\3"))
    assert [neighbor.address for neighbor in world.store.neighbors.values()] == [b"\n\0\0\3"]
    world.dump(Dump.RULES)
    assert world.store.rules == {}
    world.dump(Dump.LINKS, E2)
    assert list(world.store.topology.links) == [2]


def test_what_an_abandoned_dump_does_not_show_stays(world):
    world.routes(Route("198.51.100.0/24", group("10.0.0.2@1")))
    for dump in Dump:
        world.store.begin(dump)
        world.store.abandon(dump)
    assert sorted(world.store.topology.links) == [1, 2]
    assert world.store.rib.entries(0) != []


def test_a_dump_of_one_family_leaves_the_other_alone(world):
    world.routes(Route("198.51.100.0/24", group("10.0.0.2@1")), Route("2001:db8::/32", group("fd00::2@1")))
    lost = UnsupportedRoute(AF_INET6, 254, "2001:db8:1::/48", "from ::/1 metric 0")
    world.say(lost)
    world.dump(Dump.ROUTES_INET, routes=[Route("203.0.113.0/24", group("10.0.0.2@1"), Op.SEEN)])
    held = {
        key.text for key, number in zip(world.store.rib.table.keys, world.store.rib.group, strict=False) if number >= 0
    }
    assert held == {"203.0.113.0/24", "2001:db8::/32"}
    assert list(world.store.unsupported.values()) == [lost]
    world.dump(Dump.ROUTES_INET6)
    assert world.store.unsupported == {}


def test_a_carrier_policy_is_forgotten_with_its_link(world):
    world.say(LinkdownPolicy(AF_INET, 1, True))
    assert world.store.topology.ignores_linkdown == {(AF_INET, 1)}
    world.say(LinkdownPolicy(AF_INET, 1, False), gone=True)
    assert world.store.topology.ignores_linkdown == set()


def test_a_carrier_policy_that_a_dump_does_not_show_is_forgotten(world):
    world.say(LinkdownPolicy(AF_INET, 1, True))
    world.say(LinkdownPolicy(AF_INET, 2, True))
    world.dump(Dump.NETCONF, LinkdownPolicy(AF_INET, 2, True))
    assert world.store.topology.ignores_linkdown == {(AF_INET, 2)}


def test_pairs_are_told_of_links_that_come_go_or_are_renamed(world):
    told = []
    world.store.on_links_changed = lambda: told.append(
        sorted(link.name for link in world.store.topology.links.values())
    )
    world.say(E1._replace(flags=0))
    assert told == []
    world.say(E1._replace(name="wan1"))
    world.say(E2, gone=True)
    assert told == [["e2", "wan1"], ["wan1"]]


def test_groups_that_no_entry_uses_are_freed(world):
    a, b, c = group("10.0.0.2@1"), group("10.0.0.3@1"), group("10.0.0.4@1")
    world.routes(
        Route("198.51.100.0/24", a, metric=1), Route("198.51.100.0/24", b, metric=2), Route("203.0.113.0/24", c)
    )
    world.routes(Route("203.0.113.0/24", c, Op.REMOVE))
    freed = world.store.forget_unused()
    assert sorted(found for _, found in world.groups.items()) == sorted([a, b])
    assert freed == [world.groups.intern(c)]


def test_a_links_event_touches_only_what_resolves_another_way(world):
    one, other = Route("198.51.100.0/24", group("10.0.0.2@1")), Route("203.0.113.0/24", group("10.0.1.2@2"))
    behind = Route("192.0.2.0/24", group("10.0.0.9@1"), metric=5), Route("192.0.2.0/24", group("10.0.1.9@2"), metric=9)
    world.routes(one, other, *behind)
    ledger = Ledger(world.store.rib, world.store.resolver)
    ledger.decide(world.store.take_touched(), may_remove=True)
    world.say(E1._replace(mtu=1400))
    assert [] == touched(world)
    world.say(E1._replace(flags=0))
    assert ["192.0.2.0/24", "198.51.100.0/24"] == touched(world)
    world.say(E1)
    assert ["192.0.2.0/24", "198.51.100.0/24"] == touched(world)


def touched(world):
    return sorted(key.text for key in world.store.rib.table.keys.take(world.store.take_touched()))


def test_a_link_that_went_and_came_back_unseen_calls_for_routes_that_were_told_of_as_dead(world):
    world.routes(Route("198.51.100.0/24", group("10.0.0.2@1!")))
    world.say(E2)
    assert world.requests == set()
    world.say(E1)
    assert world.requests == ROUTES
    world.dump(Dump.LINKS, E1, E2)
    assert world.requests == set()
