"""The client with real BIRDs, one release after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

import pytest

from rtagent.core.sink import Disconnected
from rtagent.sinks.birdc import BirdClient, Unresponsive
from rtagent.wire.birdc.protocols import RouteLimit
from rtagent.wire.birdc.refusals import AccessDenied, CommandRefused, ConfigurationRefused, NotFound
from rtagent.wire.birdc.replies import Configuring
from rtagent.wire.birdc.routes import NextHop, Route
from tests.bird.pair import Pair
from tests.lab.bird import Bird
from tests.lab.birds import BirdRelease
from tests.lab.lab import Lab

T = TypeVar("T")


def ask(bird: Bird, what: Callable[[BirdClient], Awaitable[T]], **options: Any) -> T:
    """Connect, ask, and return the answer."""

    async def asked() -> T:
        async with BirdClient(bird.socket, **options) as client:
            return await what(client)

    return asyncio.run(asked())


def routes(bird: Bird, **which: Any) -> list[Route]:
    async def listed(client: BirdClient) -> list[Route]:
        return [route async for route in client.routes(**which)]

    return ask(bird, listed)


@pytest.fixture
def single(bird_release: BirdRelease) -> Iterator[Bird]:
    """A BIRD with two protocols, and nobody to talk to."""
    with Lab() as lab:
        config = lab.folder / "bird.conf"
        config.write_text(
            "router id 192.0.2.1; protocol device {}\n"
            "protocol static one { ipv4; route 198.51.100.0/24 blackhole; }\n"
            "protocol static two { ipv4; route 198.51.100.0/24 unreachable; route 203.0.113.0/24 blackhole; }\n"
        )
        bird = Bird(lab, lab.namespace("bird"), config, bird_release)
        bird.start()
        yield bird


def test_a_pair_of_routers_is_told_of_in_full(bird_release: BirdRelease) -> None:
    with Lab() as lab:
        pair = Pair(lab, bird_release)
        pair.start()
        _status_and_interfaces(pair.left)
        _protocols(pair.left)
        _bfd(pair.left)
        _routes(pair.left)


def _status_and_interfaces(bird: Bird) -> None:
    status = ask(bird, BirdClient.status)
    version = ".".join(map(str, bird.release.version))
    assert (version, "192.0.2.1", "Daemon is up and running") == (status.version, status.router_id, status.state)
    assert all((status.hostname, status.server_time, status.last_reboot, status.last_reconfiguration))
    interfaces = {interface.name: interface for interface in ask(bird, BirdClient.interfaces)}
    assert (True, 1500) == (interfaces["eth0"].up, interfaces["eth0"].mtu)
    assert {"AdminUp", "LinkUp"} < set(interfaces["eth0"].flags)
    addresses = {address.address: address for address in interfaces["eth0"].addresses}
    assert {"192.0.2.1/24", "2001:db8::1/64"} <= set(addresses)
    assert ("univ", True) == (addresses["2001:db8::1/64"].scope, addresses["2001:db8::1/64"].preferred)


def _protocols(bird: Bird) -> None:
    protocols = {protocol.name: protocol for protocol in ask(bird, BirdClient.protocols)}
    assert {"device1", "direct1", "bfd1", "given", "right", "nobody", "absent"} == set(protocols)
    right = protocols["right"]
    assert ("BGP", "", "up", "Established") == (right.proto, right.table, right.state, right.info)
    assert "the other: 100 % ours" == right.description
    assert right.bgp is not None
    assert ("Established", "192.0.2.2", 65000, 65000) == (
        right.bgp.state,
        right.bgp.neighbor_address,
        right.bgp.neighbor_as,
        right.bgp.local_as,
    )
    assert ("192.0.2.2", "192.0.2.1", "internal") == (
        right.bgp.neighbor_id,
        right.bgp.source_address,
        right.bgp.session[0],
    )
    assert ["ipv4", "ipv6"] == [channel.name for channel in right.channels]
    ipv4 = right.channels[0]
    assert ("UP", "master4", 100) == (ipv4.state, ipv4.table, ipv4.preference)
    assert (1, 1, 1, 1) == (ipv4.imported, ipv4.filtered, ipv4.exported, ipv4.preferred)
    assert (RouteLimit(10, False, "block"), None) == (ipv4.import_limit, ipv4.export_limit)
    assert ("192.0.2.1",) == ipv4.next_hop
    nobody, absent = protocols["nobody"], protocols["absent"]
    assert ("start", "down") == (nobody.state, absent.state)
    assert ("DOWN", None) == (nobody.channels[0].state, nobody.channels[0].imported)
    assert absent.bgp is not None
    assert ("Down", "192.0.2.78", 65001) == (absent.bgp.state, absent.bgp.neighbor_address, absent.bgp.neighbor_as)
    assert None is protocols["device1"].bgp
    assert "master4" == protocols["given"].table


def _bfd(bird: Bird) -> None:
    (session,) = ask(bird, BirdClient.bfd_sessions)
    assert ("bfd1", "192.0.2.2", "eth0", "Up") == (session.protocol, session.address, session.interface, session.state)
    assert 0 < session.interval_s < session.timeout_s


def _routes(bird: Bird) -> None:
    by_prefix = {route.prefix: route for route in routes(bird, attributes=True)}
    kinds = {prefix: route.kind for prefix, route in by_prefix.items() if route.protocol == "given"}
    assert {
        "198.51.100.0/24": "blackhole",
        "198.51.101.0/24": "unreachable",
        "198.51.102.0/24": "prohibited",
        "198.51.103.0/24": "unicast",
        "198.51.104.0/24": "unicast",
        "198.51.105.0/24": "unicast",
    } == kinds
    assert (NextHop("", "eth0"),) == by_prefix["198.51.103.0/24"].next_hops
    assert {NextHop("192.0.2.2", "eth0", 2), NextHop("192.0.2.3", "eth0", 3)} == set(
        by_prefix["198.51.104.0/24"].next_hops
    )
    assert {
        "bgp_path": "65001",
        "bgp_med": "5",
        "bgp_community": "(65000,2)",
        "bgp_large_community": "(1, 2, 3)",
    }.items() <= by_prefix["198.51.105.0/24"].attributes.items()
    heard = by_prefix["203.0.113.0/25"]
    assert ("right", "master4", "BGP", True, False) == (
        heard.protocol,
        heard.table,
        heard.source,
        heard.best,
        heard.unsynced,
    )
    assert (100, "192.0.2.2") == (heard.preference, heard.attributes["bgp_next_hop"])
    assert "master6" == by_prefix["2001:db8::/64"].table
    assert ["203.0.113.128/25"] == [route.prefix for route in routes(bird, filtered=True)]
    assert ["198.51.100.0/24"] == [route.prefix for route in routes(bird, export_to="right")]
    assert ["203.0.113.0/25"] == [route.prefix for route in routes(bird, protocol="right", table="master4")]
    assert ["203.0.113.0/25"] == [route.prefix for route in routes(bird, where="source = RTS_BGP")]
    assert ["203.0.113.0/25"] == [route.prefix for route in routes(bird, covering="203.0.113.1")]


def test_a_second_route_to_a_prefix_has_that_prefix_too(single: Bird) -> None:
    found = [(route.prefix, route.kind) for route in routes(single, prefix="198.51.100.0/24")]
    assert {("198.51.100.0/24", "blackhole"), ("198.51.100.0/24", "unreachable")} == set(found)
    assert 2 == sum(1 for route in routes(single, best_only=True) if route.best)


def test_a_route_that_is_not_there_is_no_error(single: Bird) -> None:
    assert [] == routes(single, covering="192.0.2.200")
    assert [] == routes(single, prefix="192.0.2.200/32")


def test_a_name_that_bird_does_not_know_is_not_found(single: Bird) -> None:
    assert [] == ask(single, lambda client: client.protocols("nobody*"))
    with pytest.raises(NotFound, match=r"No protocols match \(8003\)"):
        ask(single, lambda client: client.protocol("nobody"))
    with pytest.raises(NotFound, match="no protocol or table"):
        routes(single, protocol="nobody")


def test_what_bird_does_not_understand_is_told_in_its_words(single: Bird) -> None:
    with pytest.raises(CommandRefused, match=r"BIRD refuses 'show show': .*syntax error.* \(9001\)"):
        ask(single, lambda client: client.command("show show"))


def test_a_restricted_client_reads_and_changes_nothing(single: Bird) -> None:
    assert "192.0.2.1" == ask(single, BirdClient.status, restricted=True).router_id
    with pytest.raises(AccessDenied, match=r"Access denied \(8007\); use BIRD's unrestricted socket"):
        ask(single, BirdClient.configure, restricted=True)


def test_a_configuration_is_checked_put_in_force_and_kept(single: Bird) -> None:
    async def kept(client: BirdClient) -> None:
        await client.check()
        assert await client.configure(undo_after_s=60) in (Configuring.DONE, Configuring.IN_PROGRESS)
        status = await client.configure_status()
        assert Configuring.DONE == status.state
        assert status.undo_in_s is not None
        assert 50 < status.undo_in_s <= 60
        assert Configuring.CONFIRMED == await client.confirm()
        assert (Configuring.DONE, None) == await client.configure_status()
        assert Configuring.NOTHING_TO_DO == await client.confirm()

    ask(single, kept)


def test_a_configuration_that_nobody_confirms_is_undone(single: Bird) -> None:
    async def undone(client: BirdClient) -> list[str]:
        single.config.write_text(single.config.read_text().replace("static two", "static three"))
        await client.configure(undo_after_s=1)
        assert "three" == (await client.protocol("three")).name
        while (await client.configure_status()).undo_in_s is not None:
            await asyncio.sleep(0.02)
        assert "two" == (await client.protocol("two")).name
        return client.notices()

    assert ["Config timeout expired, starting undo"] == ask(single, undone)


def test_a_mistake_in_a_configuration_is_told_with_its_place(single: Bird) -> None:
    wrong = single.config.with_name("wrong.conf")
    wrong.write_text("router id 192.0.2.1;\nprotocol statik {}\n")
    with pytest.raises(ConfigurationRefused) as caught:
        ask(single, lambda client: client.check(wrong))
    assert (str(wrong), 2) == (caught.value.file, caught.value.line)
    assert "syntax error" in caught.value.message
    with pytest.raises(ConfigurationRefused, match="No such file"):
        ask(single, lambda client: client.configure(wrong.with_name("missing.conf")))


def test_other_things_may_be_asked_while_routes_are_listed(single: Bird) -> None:
    async def asked(client: BirdClient) -> list[tuple[str, str]]:
        return [
            (route.prefix, (await client.protocol(route.protocol)).proto)
            async for route in client.routes(protocol="two")
        ]

    assert {("198.51.100.0/24", "Static"), ("203.0.113.0/24", "Static")} == set(ask(single, asked))


def test_a_list_of_routes_may_be_left_early(single: Bird) -> None:
    async def left(client: BirdClient) -> str:
        async with aclosing(client.routes()) as listed:
            async for _ in listed:
                break
        return (await client.status()).router_id

    assert "192.0.2.1" == ask(single, left)


def test_callers_wait_for_each_other(single: Bird) -> None:
    async def together(client: BirdClient) -> list[str]:
        statuses = await asyncio.gather(*(client.status() for _ in range(50)))
        return [status.router_id for status in statuses]

    assert 50 * ["192.0.2.1"] == ask(single, together)


def test_a_bird_that_hangs_is_unresponsive_and_answers_again_later(single: Bird) -> None:
    async def asked() -> str:
        client = BirdClient(single.socket, timeout_s=0.5)
        await client.status()
        single.hang()
        try:
            for _ in range(2):  # the second time a new connection waits for the greeting
                with pytest.raises(Unresponsive, match=r"said nothing for 0.5 s"):
                    await client.status()
        finally:
            single.go_on()
        patient = BirdClient(single.socket)
        answer = await patient.status()
        patient.close()
        return answer.router_id

    assert "192.0.2.1" == asyncio.run(asked())


def test_a_restart_of_bird_costs_one_failed_command(single: Bird) -> None:
    async def asked(client: BirdClient) -> str:
        single.kill()
        with pytest.raises(Disconnected):
            await client.status()
        with pytest.raises(Disconnected, match="does it run"):
            await client.status()
        single.start()
        return (await client.status()).router_id

    assert "192.0.2.1" == ask(single, asked)
