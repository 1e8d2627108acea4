"""The kernel looks for a neighbour when it is asked to."""

import asyncio
import errno
import ipaddress
from contextlib import closing

import pytest

from rtagent.agent.prober import NeighborProber
from rtagent.core.neighbors import Neighbors
from rtagent.core.objects import Objects
from rtagent.core.store import Store
from rtagent.transport.netlink import NetlinkSocket
from rtagent.vector.batch import Change, KernelBatch
from rtagent.vector.fib import FibEntries
from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.links import IFF_FORWARDING, NUD_REACHABLE, Link, Neighbor
from rtagent.vector.neighbors import NeighborKey
from rtagent.vector.nexthops import NexthopGroups
from rtagent.wire.netlink.requests import probe_request, refusal
from tests.lab.lab import wait_for

STATION = "10.0.0.2"


def ifindex(router):
    return router.ip_json("link show e0")[0]["ifindex"]


def state(router, address):
    return [state for row in router.ip_json(f"neigh show {address}") for state in row["state"]]


@pytest.mark.parametrize("address", [STATION, "2001:db8:0::2"])
@pytest.mark.parametrize("known", ["", "nud failed", "lladdr 02:00:00:00:00:09 nud stale"])
def test_whoever_is_there_is_found(router, address, known):
    router.sysctl(f"net.ipv{6 if ':' in address else 4}.neigh.e0.delay_first_probe_time", 0)
    if known:
        router.ip(f"neigh add {address} dev e0 {known}")
    packed = ipaddress.ip_address(address).packed
    with closing(NetlinkSocket(netns=router.name, slots=1)) as kernel:
        kernel.send(probe_request(AF_INET if len(packed) == 4 else AF_INET6, ifindex(router), packed, 0))
        assert kernel.receive() is None
    expected = ["REACHABLE"] if "stale" not in known else ["FAILED"]  # a wrong address is asked first, and alone
    wait_for(lambda: state(router, address) == expected, address)


def test_a_refusal_has_its_reason(router):
    with closing(NetlinkSocket(netns=router.name, slots=1)) as kernel:
        kernel.send(probe_request(AF_INET, 9999, ipaddress.ip_address(STATION).packed, 7))
        answer = kernel.receive()
    assert refusal(bytes(answer.buffer[: answer.lengths[0]])) == errno.ENODEV


def test_neighbours_that_were_let_go_are_looked_for_and_refusals_end_the_wait(router):
    """One is there, the link of the other is not."""
    here, gone = ifindex(router), 9999
    store = Store(NexthopGroups(), FibEntries())
    store.topology.pairs = {here: 1, gone: 2}
    neighbors, objects = Neighbors(store), Objects()
    address = ipaddress.ip_address(STATION).packed
    rows = [Neighbor(AF_INET, where, address, b"\2" * 6, NUD_REACHABLE) for where in (here, gone)]

    def say(*changes):
        store.apply(KernelBatch(changes=changes))
        neighbors.update(objects, store.take_changed())

    say(*(Change(Link(where, f"e{where}", IFF_FORWARDING)) for where in (here, gone)), *map(Change, rows))
    say(*(Change(row, gone=True) for row in rows))

    async def scenario():
        decide = asyncio.Event()
        prober = NeighborProber(neighbors, netns=router.name, decide=decide.set)
        prober.wake()
        running = asyncio.ensure_future(prober.run())
        await decide.wait()
        running.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 30))
    neighbors.update(objects, store.take_changed())
    assert set(objects.wanted) == {NeighborKey(1, address)}
    wait_for(lambda: state(router, STATION) == ["REACHABLE"], STATION)
