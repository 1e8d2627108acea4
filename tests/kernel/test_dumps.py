"""What was missed or may have been: overflow, interrupted dumps, dumps racing with changes."""

import asyncio

import pytest
from pyroute2 import IPRoute

from rtagent.transport.netlink import NetlinkSocket
from rtagent.vector.batch import Dump
from rtagent.wire.netlink import constants as nl
from rtagent.wire.netlink.requests import dump_request
from tests.kernel.mirror import IN_MEMORY, Mirror, Path
from tests.kernel.oracle import disagreements

MANY = [f"198.18.{n // 256}.{n % 256}/32" for n in range(3000)]


def test_an_overflow_ends_exact_and_touches_no_unchanged_prefix(router, mirroring):
    router.ip_batch([f"route add {prefix} via 10.0.0.2" for prefix in MANY])
    with mirroring(receive_buffer_bytes=4096) as mirror:
        mirror.settle()
        mirror.take_writes()
        moved = set(MANY[::3])
        router.ip_batch([f"route replace {prefix} via 10.0.1.2" for prefix in sorted(moved)])
        assert disagreements(mirror, router) == []
        assert mirror.source.overflows > 0
        assert mirror.source.last_resync_reason == "the receive buffer overflowed"
        assert sorted(mirror.take_writes()) == sorted(("set", prefix) for prefix in moved)
        assert mirror.paths(MANY[0]) == {Path("10.0.1.2", "e1")}


def test_an_overflow_that_swallows_withdrawals_removes_them_and_nothing_else(router, mirroring):
    router.ip_batch([f"route add {prefix} via 10.0.0.2" for prefix in MANY])
    with mirroring(receive_buffer_bytes=4096) as mirror:
        mirror.settle()
        mirror.take_writes()
        router.ip_batch([f"route del {prefix}" for prefix in MANY[:1000]])
        assert disagreements(mirror, router) == []
        assert sorted(mirror.take_writes()) == sorted(("remove", prefix) for prefix in MANY[:1000])


def test_overflow_after_overflow_ends_exact(router, mirroring):
    with mirroring(receive_buffer_bytes=4096) as mirror:
        for turn in range(6):
            via = f"10.0.{turn % 3}.2"
            router.ip_batch([f"route replace {prefix} via {via}" for prefix in MANY[turn * 100 : turn * 100 + 500]])
            mirror.run_for_rounds(turn)  # the next burst falls into the middle of the resynchronisation
        assert disagreements(mirror, router) == []
        assert mirror.source.in_sync


def test_changes_in_the_middle_of_a_dump_end_exact(router, mirroring):
    router.ip_batch([f"route add {prefix} via 10.0.0.2" for prefix in MANY])
    router.ip_batch([f"route add {prefix} via 10.0.2.2 metric 50" for prefix in MANY[::2]])
    with mirroring() as mirror:
        mirror.settle()
        for turn in range(12):
            mirror.source._want({Dump.ROUTES_INET})
            mirror.run_for_rounds(turn)
            router.ip_batch(
                [f"route replace {prefix} via 10.0.1.{turn + 2}" for prefix in MANY[turn::97]]
                + [f"route del {prefix} metric 50" for prefix in MANY[2 * turn : 1000 : 24]]
                + [f"route append {prefix} via 10.0.2.9" for prefix in MANY[turn:500:31]],
                force=True,
            )
            mirror.run_for_rounds(turn)
        assert disagreements(mirror, router) == []


def test_while_it_dumps_forwarding_goes_on_unchanged(router, mirroring):
    router.ip_batch([f"route add {prefix} via 10.0.0.2" for prefix in MANY])
    with mirroring() as mirror:
        mirror.settle()
        mirror.take_writes()
        mirror.source._want(set(Dump))
        mirror.settle()
        assert mirror.take_writes() == []


def test_a_dump_that_was_interrupted_is_repeated(router, mirroring):
    """NLM_F_DUMP_INTR: nexthops come between two reads of a dump of nexthops."""
    router.ip_batch([f"nexthop add id {n} via 10.0.0.2 dev e0" for n in range(1, 20_000)])
    router.ip("route add 198.51.100.0/24 nhid 19999")
    with mirroring() as mirror:
        rounds = 0
        while not mirror.source.repeated_dumps and rounds < 40:
            mirror.source._want({Dump.NEXTHOPS})
            mirror.run_for_rounds(rounds)
            router.ip(f"nexthop add id {20_000 + rounds} via 10.0.1.2 dev e1")
            mirror.settle()
            rounds += 1
        assert mirror.source.repeated_dumps == 1
        assert len(mirror.store.topology.nexthops) == 19_999 + rounds
        assert mirror.source.in_sync
        router.ip("nexthop add id 50000 group 19999/20000")
        router.ip("route replace 198.51.100.0/24 nhid 50000")
        assert disagreements(mirror, router) == []
        assert mirror.paths("198.51.100.0/24") == {Path("10.0.0.2", "e0"), Path("10.0.1.2", "e1")}


def test_a_restart_with_nothing_changed_writes_nothing(router):
    router.ip_batch([f"route add {prefix} via 10.0.0.2" for prefix in MANY])
    router.ip("-6 route add 2001:db8:f::/48 nexthop via 2001:db8::2 nexthop via 2001:db8:1::2")
    with Mirror(router.name) as mirror:
        mirror.settle()
        mirror.take_writes()
        fib = mirror.sink
    with Mirror(router.name, fib=fib) as again:
        assert again.take_writes() == []
        assert disagreements(again, router) == []


def test_a_restart_catches_up_with_what_changed_meanwhile(router):
    router.ip_batch([f"route add {prefix} via 10.0.0.2" for prefix in MANY[:10]])
    with Mirror(router.name) as mirror:
        mirror.settle()
        mirror.take_writes()
        fib = mirror.sink
    router.ip(f"route del {MANY[0]}")
    router.ip(f"route replace {MANY[1]} via 10.0.1.2")
    router.ip("route add 203.0.113.0/24 via 10.0.0.2")
    with Mirror(router.name, fib=fib) as again:
        assert sorted(again.take_writes()) == [("remove", MANY[0]), ("set", MANY[1]), ("set", "203.0.113.0/24")]
        assert disagreements(again, router) == []


@IN_MEMORY
def test_a_route_of_many_nexthops_fits_a_notification_and_a_dump(router, mirror):
    with IPRoute(netns=router.name) as kernel:
        ways = [{"gateway": f"10.0.{n % 3}.{n // 3 + 2}", "oif": n % 3 + 2, "hops": 0} for n in range(700)]
        kernel.route("add", dst="0.0.0.0/0", multipath=ways)
    assert len(mirror.paths("0.0.0.0/0")) == 700
    assert mirror.source.resyncs == 0
    with Mirror(router.name) as fresh:
        assert fresh.fib() == mirror.fib()
        assert fresh.source.repeated_dumps == 0


@pytest.mark.parametrize("dump", [dump for dump in Dump if dump is not Dump.ROUTES_MPLS])
def test_the_kernel_takes_every_strict_dump_request(router, dump):
    socket = NetlinkSocket(netns=router.name)
    socket.send(dump_request(dump, 7))
    received = socket.receive()
    assert received is not None
    types = received.buffer[received.starts[0] + 4 : received.starts[0] + 6].view("<u2")
    assert int(types[0]) != nl.NLMSG_ERROR
    socket.close()


def test_who_follows_a_socket_is_told_of_what_goes_wrong(router):
    socket = NetlinkSocket(netns=router.name, groups=(nl.RTNLGRP_LINK,))
    taken = []

    def take() -> float:
        taken.append(socket.receive())
        if len(taken) < 3:
            return 0.01
        raise OSError("it went wrong")

    async def follow() -> None:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(socket.follow(take))
            while True:
                router.ip("link set lo down")
                router.ip("link set lo up")
                await asyncio.sleep(0)

    with pytest.raises(ExceptionGroup) as failed:
        asyncio.run(follow())
    assert [str(error) for error in failed.value.exceptions] == ["it went wrong"]
    assert taken[0] is not None
    socket.close()
