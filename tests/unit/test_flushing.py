"""What `rtagent flush` takes out of a data plane: ours, in order, and nothing else."""

import asyncio

import pytest

from rtagent.agent.flushing import Removed, ours, remove
from rtagent.core.interfaces import Interfaces
from rtagent.core.pairing import Pairing
from rtagent.sinks.host_links import HostLinks
from rtagent.vector.batch import Change, KernelBatch
from rtagent.vector.fib import FibEntry, FibKind
from rtagent.vector.interfaces import OURS, AdminState, InterfaceAddress, Mtu, PairKey, SubInterface, Table
from rtagent.vector.keys import AF_INET, Key
from rtagent.vector.links import ETH_P_8021Q, Link, Tun, VlanTag
from rtagent.vector.objects import Held
from rtagent.vector.ports import HostLink, Port
from tests.rows import Route, group
from tests.unit.test_reconciler import CLI, World

P, Q, FOREIGN = "198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24"
A = group("10.0.0.2@1")
SUB, THEIRS = SubInterface(101, (VlanTag(ETH_P_8021Q, 7),)), SubInterface(102, (VlanTag(ETH_P_8021Q, 7),))
ADDRESS, ELSEWHERE = InterfaceAddress(101, 254, b"\x0a\0\0\1", 24), InterfaceAddress(102, 254, b"\x0a\0\0\1", 24)
PAIR, SUB_PAIR, THEIR_PAIR = PairKey(101), PairKey(107, 101), PairKey(102)
HELD = {
    Table(AF_INET, 10): Held(OURS),
    Table(AF_INET, 11): Held("theirs"),
    SUB: Held(OURS, 107),
    THEIRS: Held("", 108),
    AdminState(101): Held(True),
    Mtu(101): Held(1500),
    PAIR: Held(HostLink(7, "e0", owner=OURS)),
    SUB_PAIR: Held(HostLink(8, "rtv.8", owner=OURS)),
    THEIR_PAIR: Held(HostLink(9, "tap9")),
    ADDRESS: Held(True),
    ELSEWHERE: Held(True),
}


@pytest.fixture
def world():
    world = World()
    interfaces = Interfaces(world.store, world.objects)
    interfaces.ports = {101: Port("e1", 101)}
    Pairing(world.store, world.objects, None)
    return world


def flushed(world, *, pairs):
    held = ours(world.store, world.ledger, world.objects, pairs=pairs)
    return [change.key for change in held.objects], held.kept_pairs


def test_rows_of_ours_go_and_those_of_others_stay(world):
    async def scenario():
        world.fib.add_foreign(Key.parse(FOREIGN), FibEntry(FibKind.OTHER), CLI)
        world.kernel(Route(P, A), Route(Q, A))
        await world.settled()

    world.run(scenario)
    asyncio.run(world.fib.connect())
    held = ours(world.store, world.ledger, world.objects, pairs=False)
    assert Removed(2, 0, 0) == asyncio.run(remove(world.store, world.fib, HostLinks(None), held))
    assert [(P, False), (Q, False)] == sorted(world.writes())


def test_pairs_stay_and_what_is_paired_unless_they_are_asked_for(world):
    world.objects.load(HELD)
    assert ([ADDRESS, Table(AF_INET, 10)], 2) == flushed(world, pairs=False)


def test_with_pairs_everything_goes_from_the_top(world):
    world.objects.load(HELD)
    assert ([ADDRESS, SUB_PAIR, PAIR, SUB, Table(AF_INET, 10)], 0) == flushed(world, pairs=True)


def test_a_sub_interface_of_ours_that_is_not_paired_goes(world):
    world.objects.load({SUB: Held(OURS, 107), THEIRS: Held("", 108)})
    assert ([SUB], 0) == flushed(world, pairs=False)


def test_with_pairs_go_taps_of_ours_whose_interface_went_before(world):
    world.objects.load(HELD)
    tap = Tun(is_tap=True, multi_queue=True, vnet_hdr=True)
    links = (
        Link(7, "e0", 0, altnames=("rtagent.port0",), tun=tap),
        Link(20, "e9", 0, altnames=("rtagent.port9",), tun=tap),
        Link(21, "tap3", 0, tun=tap),
    )
    world.store.apply(KernelBatch(changes=tuple(map(Change, links))), None)
    assert [20] == ours(world.store, world.ledger, world.objects, pairs=True).taps
    assert [] == ours(world.store, world.ledger, world.objects, pairs=False).taps
