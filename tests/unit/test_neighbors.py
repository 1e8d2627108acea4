"""Which neighbours are wanted, held beyond the kernel's word, and looked for."""

import ipaddress

import pytest

from rtagent.core.neighbors import HELD_S, Neighbors, Probe, entry_of
from rtagent.core.object_rows import object_text
from rtagent.core.objects import Objects
from rtagent.core.store import Store
from rtagent.vector.batch import Change, KernelBatch
from rtagent.vector.fib import FibEntries
from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.links import (
    IFF_FORWARDING,
    IFF_UP,
    NTF_EXT_LEARNED,
    NTF_EXT_MANAGED,
    NUD_DELAY,
    NUD_FAILED,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_PROBE,
    NUD_REACHABLE,
    NUD_STALE,
    Link,
    Neighbor,
)
from rtagent.vector.neighbors import NeighborEntry, NeighborKey, NeighborLimit, NeighborLimitKey
from rtagent.vector.nexthops import Nexthop, NexthopGroup, NexthopGroups
from rtagent.vector.objects import Held, ObjectAnswer

IFINDEX, INTERFACE = 3, 7
ADDRESS = bytes((10, 0, 0, 2))
KEY, PROBE = NeighborKey(INTERFACE, ADDRESS), Probe(AF_INET, IFINDEX, ADDRESS)
M1, M2, M3 = (bytes((2, 0, 0, 0, 0, number)) for number in (1, 2, 3))
UP = Link(IFINDEX, "e0", IFF_FORWARDING)
FAILED = {"mac": b"", "state": NUD_FAILED}


def neighbor(text="10.0.0.2", mac=M1, state=NUD_REACHABLE, flags=0):
    address = ipaddress.ip_address(text).packed
    return Neighbor(AF_INET if len(address) == 4 else AF_INET6, IFINDEX, address, mac, state, flags)


class World:
    """A store with one paired link that is up, the wishes, and a data plane that takes every change."""

    def __init__(self, *, asks=True):
        self.groups = NexthopGroups()
        self.store = Store(self.groups, FibEntries())
        self.store.topology.pairs = {IFINDEX: INTERFACE}
        self.neighbors = Neighbors(self.store, asks=asks)
        self.objects = Objects()
        self.objects.own_wanted(NeighborKey)
        self.writes = []
        self.say(UP)
        self.decide_all()

    def say(self, *rows, gone=False):
        self.store.apply(KernelBatch(changes=tuple(Change(row, gone) for row in rows)))
        self.decide()

    def decide(self):
        self._write(self.store.take_changed())

    def decide_all(self):
        self.store.take_changed()
        self._write(None)

    def _write(self, changed):
        self.neighbors.update(self.objects, changed)
        for stage in self.objects.changes(may_remove=True).before_routes:
            for change in stage:
                self.objects.record(change, ObjectAnswer(0), "")
                self.writes.append(change)

    def learn(self, mac):
        entry = NeighborEntry(mac)
        self.objects.heard(KEY, Held(entry))
        self.neighbors.learned(self.objects, KEY, entry)

    def asked(self, now=0.0):
        return self.neighbors.take_probes(100, now)

    @property
    def held(self):
        return {key: held.value for key, held in self.objects.held.items()}


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize("state", [NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE])
def test_a_neighbour_that_may_change_is_dynamic(state):
    assert entry_of(neighbor(state=state)) == NeighborEntry(M1)


@pytest.mark.parametrize("state", [NUD_PERMANENT, NUD_NOARP])
def test_a_neighbour_that_never_changes_is_static(state):
    assert entry_of(neighbor(state=state)) == NeighborEntry(M1, static=True)


@pytest.mark.parametrize("state", [0, 0x01, NUD_FAILED])
def test_a_neighbour_that_is_not_found_is_none(state):
    assert entry_of(neighbor(state=state)) is None


@pytest.mark.parametrize(
    "row",
    [
        neighbor("224.0.0.5"),
        neighbor("255.255.255.255"),
        neighbor("127.0.0.1"),
        neighbor("0.0.0.0"),
        neighbor("ff02::1"),
        neighbor("::1"),
        neighbor("::"),
        neighbor(mac=bytes(6)),
        neighbor(mac=b"\xff" * 6),
        neighbor(mac=b"\x01\x00\x5e\0\0\5"),
        neighbor(mac=b"\n\0\0\1"),  # a tunnel's
        neighbor(mac=b""),
    ],
)
def test_what_is_no_station_on_ethernet_is_none(row):
    assert entry_of(row) is None


@pytest.mark.parametrize("text", ["10.0.0.2", "2001:db8::2", "fe80::2"])
def test_the_kernels_neighbours_are_wanted_while_it_has_them(world, text):
    row = neighbor(text, state=NUD_PERMANENT)
    world.say(row)
    assert world.held == {NeighborKey(INTERFACE, row.address): NeighborEntry(M1, static=True)}


def test_only_what_changed_is_looked_at_again(world):
    rows = [neighbor(f"10.0.{number >> 8}.{number & 0xFF}") for number in range(1, 1000)]
    world.say(*rows)
    wanted = []
    want = world.objects.want
    world.objects.want = lambda key, value: (wanted.append(key), want(key, value))
    world.say(rows[7]._replace(mac=M2))
    assert wanted == [NeighborKey(INTERFACE, rows[7].address)]
    assert len(world.writes) == 1000


@pytest.mark.parametrize("gone", [False, True])
def test_a_neighbour_that_the_kernel_lets_go_stays_until_it_has_looked(world, gone):
    world.say(neighbor())
    world.say(neighbor(**FAILED))
    if gone:
        world.say(neighbor(**FAILED), gone=True)
    assert world.held == {KEY: NeighborEntry(M1)}
    assert world.asked() == [PROBE]
    world.say(neighbor(mac=M2))
    assert world.held == {KEY: NeighborEntry(M2)}
    assert world.asked() == []


def test_a_shadow_follows_the_kernel_to_the_letter():
    world = World(asks=False)
    world.say(neighbor())
    assert world.held == {KEY: NeighborEntry(M1)}
    world.say(neighbor(**FAILED))
    assert (world.held, world.asked()) == ({}, [])


def test_a_neighbour_that_answers_nobody_goes(world):
    world.say(neighbor())
    world.say(neighbor(**FAILED))
    world.asked()
    world.say(neighbor(**FAILED))
    assert world.held == {}


def test_only_an_answer_to_our_own_question_counts(world):
    world.say(neighbor())
    world.say(neighbor(**FAILED))
    world.say(neighbor(**FAILED))  # before we have asked
    world.asked()
    world.say(neighbor(**FAILED), gone=True)  # the end of what made it fail
    world.say(UP._replace(mtu=1400))  # another occasion to decide
    assert world.held == {KEY: NeighborEntry(M1)}


def test_a_neighbour_of_which_nothing_is_heard_goes_in_time(world):
    world.say(neighbor())
    world.say(neighbor(), gone=True)
    assert not world.neighbors.tend(1000.0)  # not asked yet: the time does not count
    world.asked(now=1000.0)
    assert not world.neighbors.tend(1000.0 + HELD_S)
    assert world.neighbors.tend(1000.1 + HELD_S)
    world.decide()
    assert world.held == {}
    world.say(neighbor(**FAILED))
    assert world.asked() == []


def test_a_neighbour_goes_that_the_kernel_cannot_look_for(world):
    world.say(neighbor())
    world.say(neighbor(), gone=True)
    (probe,) = world.asked()
    assert world.neighbors.give_up(probe)
    world.decide()
    assert world.held == {}


@pytest.mark.parametrize("flags", [0, IFF_UP])
def test_a_link_that_does_not_forward_holds_nothing(world, flags):
    world.say(neighbor())
    world.say(neighbor(), gone=True)  # told before the link, where the carrier is lost
    world.say(UP._replace(flags=flags))
    assert world.held == {}
    assert world.asked() == []


@pytest.mark.parametrize("flags", [NTF_EXT_LEARNED, NTF_EXT_MANAGED])
def test_what_somebody_else_looks_after_is_followed_to_the_letter(world, flags):
    world.groups.intern(NexthopGroup(nexthops=(Nexthop(ADDRESS, IFINDEX),)))
    world.say(neighbor(flags=flags, state=NUD_STALE))
    world.neighbors.tend(0.0)
    world.learn(M2)
    world.decide()
    assert world.held == {KEY: NeighborEntry(M1)}
    world.say(neighbor(flags=flags), gone=True)
    assert (world.held, world.asked()) == ({}, [])


def test_gateways_are_looked_for_when_they_are_stale(world):
    world.groups.intern(NexthopGroup(nexthops=(Nexthop(ADDRESS, IFINDEX),)))
    world.say(neighbor(), neighbor("10.0.0.3", state=NUD_STALE))
    world.neighbors.tend(0.0)
    assert world.asked() == []
    world.say(neighbor(state=NUD_STALE))
    world.neighbors.tend(5.0)
    assert world.asked() == [PROBE]
    world.say(UP._replace(flags=0))
    world.neighbors.tend(10.0)
    assert world.asked() == []


def test_what_the_data_plane_learned_itself_is_not_ours(world):
    world.learn(M2)
    world.decide()
    assert world.held == {KEY: NeighborEntry(M2)}
    assert world.writes == []


def test_what_the_data_plane_finds_again_after_the_kernel_let_it_go_is_left_alone(world):
    world.say(neighbor())
    world.say(UP._replace(flags=IFF_UP))
    world.say(neighbor(), gone=True)
    assert world.held == {}
    written = len(world.writes)
    world.learn(M1)
    world.decide()
    assert world.held == {KEY: NeighborEntry(M1)}
    assert len(world.writes) == written


def test_what_a_data_plane_that_starts_anew_finds_by_itself_is_left_alone(world):
    world.say(neighbor())
    changes = (Change(UP._replace(flags=IFF_UP), gone=False), Change(neighbor(), gone=True))
    world.store.apply(KernelBatch(changes=changes))
    world.neighbors.update(world.objects, world.store.take_changed())  # and nobody writes: the data plane is down
    written = len(world.writes)
    world.objects.load({KEY: Held(NeighborEntry(M1))})
    world.decide_all()
    assert world.held == {KEY: NeighborEntry(M1)}
    assert len(world.writes) == written


def test_what_the_data_plane_learned_later_stays_until_the_kernel_knows_better(world):
    world.say(neighbor(state=NUD_STALE))
    world.learn(M2)
    world.decide()
    world.say(neighbor(state=NUD_DELAY))
    world.decide_all()
    assert world.held == {KEY: NeighborEntry(M2)}
    assert world.asked() == [PROBE]
    world.say(neighbor())
    assert world.held == {KEY: NeighborEntry(M1)}


def test_a_new_address_of_the_kernels_is_later_than_what_was_learned(world):
    world.say(neighbor(state=NUD_STALE))
    world.learn(M2)
    world.say(neighbor(mac=M3, state=NUD_STALE))
    assert world.held == {KEY: NeighborEntry(M3)}


def test_beside_another_address_found_at_the_start_a_stale_one_is_looked_for_first(world):
    world.objects.load({KEY: Held(NeighborEntry(M2))})
    world.say(neighbor(state=NUD_STALE))
    assert world.held == {KEY: NeighborEntry(M2)}
    assert world.asked() == [PROBE]


@pytest.mark.parametrize("found", [NeighborEntry(M2, static=True), NeighborEntry(M2)])
def test_a_confirmed_neighbour_replaces_whatever_is_found(world, found):
    world.objects.load({KEY: Held(found)})
    world.say(neighbor())
    assert world.held == {KEY: NeighborEntry(M1)}


def test_what_the_data_plane_flushed_is_written_again(world):
    world.say(neighbor())
    world.objects.heard(KEY, None)
    world.decide()
    assert world.held == {KEY: NeighborEntry(M1)}


def test_neighbours_move_with_their_pair_and_go_with_it(world):
    world.say(neighbor(state=NUD_PERMANENT))
    world.store.topology.pairs = {IFINDEX: 8}
    world.decide_all()
    assert world.held == {NeighborKey(8, ADDRESS): NeighborEntry(M1, static=True)}
    world.store.topology.pairs = {}
    world.decide_all()
    assert world.held == {}


def test_neighbours_of_ignored_links_are_none_of_our_business(world):
    world.store.topology.left_alone = frozenset({IFINDEX})
    world.say(neighbor())
    assert world.held == {}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (KEY, "eth0 neighbour 10.0.0.2"),
        (NeighborKey(9, bytes(15) + b"\1"), "#9 neighbour ::1"),
        (NeighborLimitKey(AF_INET6), "limit of inet6 neighbours"),
    ],
)
def test_neighbours_have_words(key, text):
    assert object_text(key, {INTERFACE: "eth0"}) == text


def test_room_is_made_before_it_is_needed(world):
    few, endless = NeighborLimitKey(AF_INET), NeighborLimitKey(AF_INET6)
    world.objects.load({few: Held(NeighborLimit(50_000, 60, recycle=True)), endless: Held(NeighborLimit(0))})
    world.say(neighbor(), neighbor("fe80::1"))
    assert world.held[few] == NeighborLimit(131_072, 60, recycle=True)
    assert world.held[endless] == NeighborLimit(0)


def test_room_grows_with_what_is_there(world, monkeypatch):
    monkeypatch.setattr("rtagent.core.neighbors._LEAST_LIMIT", 64)
    limit = NeighborLimitKey(AF_INET)
    world.objects.load({limit: Held(NeighborLimit(64))})
    world.say(*(neighbor(f"10.0.1.{number}") for number in range(1, 33)))
    assert world.held[limit] == NeighborLimit(64)
    world.say(neighbor())
    assert world.held[limit] == NeighborLimit(128)
