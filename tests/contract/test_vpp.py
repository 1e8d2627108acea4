"""What only holds of VPP: connections that end, versions, ports, and vppctl as the witness of what we wrote."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from rtagent.core.sink import Disconnected, FibSink, Plan, VersionMismatch
from rtagent.sinks import vapi
from rtagent.sinks.vapi import VapiClient
from rtagent.sinks.vpp import VppFib, covers_first
from rtagent.vector.fib import NO_ENTRY, FibEntries
from rtagent.vector.keys import AF_INET, TABLE_MAIN, Key, Keys
from tests.contract.planes import FakePlane, VppPlane
from tests.contract.rows import EVERY_KIND, NO_PORT, OTHER_WAY, PLAIN, own_rows, write
from tests.fakes.vapi import CLI, definitions
from tests.lab.vpp import INSTALLED

PREFIX = Key.parse("192.0.2.0/24")


def run(plane: FakePlane | VppPlane, scenario: Callable[[], Awaitable[None]]) -> None:
    async def started() -> None:
        await plane.start()
        try:
            async with asyncio.timeout(60):
                await scenario()
        finally:
            await plane.stop()

    asyncio.run(started())


async def read(sink: FibSink) -> None:
    async for _ in sink.read():
        pass


async def connected(plane: FakePlane | VppPlane, *, read_only: bool = False) -> VppFib:
    sink = plane.sink(FibEntries())
    assert isinstance(sink, VppFib)
    await sink.connect(read_only=read_only)
    return sink


def many_rows(sink: FibSink, count: int) -> Plan:
    hi = (np.arange(count, dtype=np.uint64) + np.uint64(0x0B000000)) << np.uint64(32)
    meta = np.full(count, TABLE_MAIN << 16 | AF_INET << 8 | 32, np.uint64)
    entry = np.full(count, sink.entries.intern(PLAIN), np.int32)
    return Plan(Keys(hi, np.zeros(count, np.uint64), meta), entry)


def test_a_source_is_found_before_it_is_made(wire: FakePlane | VppPlane) -> None:
    async def scenario() -> None:
        numbers = []
        for _ in range(3):
            sink = await connected(wire)
            numbers.append(sink.own_source)
            await sink.close()
        assert 1 == len(set(numbers))

    run(wire, scenario)


def test_a_read_only_session_makes_no_source(wire: FakePlane | VppPlane) -> None:
    async def scenario() -> None:
        looking = await connected(wire, read_only=True)
        assert {} == await own_rows(looking)
        assert looking.outranks(CLI)
        nobodys = looking.own_source
        assert f"source {nobodys}" == (await connected(wire)).source_name(nobodys)
        await looking.close()

    run(wire, scenario)


def test_a_connection_lost_in_the_middle_of_a_plan_reaches_everybody(wire: FakePlane | VppPlane) -> None:
    async def scenario() -> None:
        sink = await connected(wire)
        if isinstance(wire, FakePlane):
            wire.fake.drop_after = 30_000
        lost = asyncio.ensure_future(sink.wait_lost())
        plan = many_rows(sink, 200_000)
        asked = [asyncio.ensure_future(each) for each in (sink.apply(plan), sink.lookup(plan.keys), own_rows(sink))]
        if isinstance(wire, VppPlane):
            beside = await connected(wire)
            while not len(await beside.lookup(plan.keys.take(slice(0, 1)))):
                pass
            wire.vpp.kill()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [Disconnected] * 3 == [type(answer) for answer in answers]
        await lost
        with pytest.raises(Disconnected):
            await sink.lookup(plan.keys)

    run(wire, scenario)


def test_after_vpp_restarts_the_sink_connects_and_writes_again(wire: FakePlane | VppPlane) -> None:
    async def scenario() -> None:
        sink = await connected(wire)
        await write(sink, EVERY_KIND)
        await wire.stop()
        await sink.wait_lost()
        with pytest.raises(Disconnected):
            await sink.connect()
        if isinstance(wire, FakePlane):
            wire.fake.forget()
        await wire.start()
        await sink.connect()
        assert {} == await own_rows(sink)
        await write(sink, EVERY_KIND)
        assert EVERY_KIND == await own_rows(sink)

    run(wire, scenario)


def test_a_socket_that_is_not_there_is_a_lost_connection() -> None:
    with pytest.raises(Disconnected, match="No such file"):
        asyncio.run(VppFib(FibEntries(), "/nonexistent/api.sock").connect())


def test_missing_and_changed_messages_are_named(fake: FakePlane) -> None:
    async def scenario() -> None:
        del fake.fake.crcs["ip_route_lookup_v2"]
        fake.fake.crcs["ip_route_add_del_v2"] = "00000000"
        with pytest.raises(VersionMismatch, match="ip_route_add_del_v2 has changed") as mismatch:
            await connected(fake)
        assert "ip_route_lookup_v2 is missing" in str(mismatch.value)

    run(fake, scenario)


def test_a_vpp_without_source_numbers_says_so(fake: FakePlane) -> None:
    async def scenario() -> None:
        fake.fake.sources.update({number: (f"s{number}", 1) for number in range(23, 255)})
        with pytest.raises(Disconnected, match="no number left"):
            await connected(fake)

    run(fake, scenario)


def test_ports_follow_the_interfaces(wire: FakePlane | VppPlane) -> None:
    async def scenario() -> None:
        sink = await connected(wire)
        changed = asyncio.Event()
        sink.on_ports_changed = changed.set
        following = asyncio.ensure_future(sink.wait_lost())
        assert sink.ports["host-e0"].up
        assert "loop0" not in sink.ports
        await _create_loopback(wire)
        while "loop0" not in sink.ports:
            await changed.wait()
            changed.clear()
        await _delete_loopback(wire, sink)
        while "loop0" in sink.ports:
            await changed.wait()
            changed.clear()
        await sink.close()
        await following

    run(wire, scenario)


async def _create_loopback(wire: FakePlane | VppPlane) -> None:
    if isinstance(wire, FakePlane):
        wire.fake.set_ports({**wire.fake.ports, "loop0": 3})
    else:
        await wire.ctl("create loopback interface")


async def _delete_loopback(wire: FakePlane | VppPlane, sink: VppFib) -> None:
    if isinstance(wire, FakePlane):
        wire.fake.set_ports({name: number for name, number in wire.fake.ports.items() if name != "loop0"})
    else:
        await wire.ctl("delete loopback interface intfc loop0")


def test_neighbours_are_those_of_the_interfaces_asked_for(wire: FakePlane | VppPlane) -> None:
    async def scenario() -> None:
        if isinstance(wire, FakePlane):
            wire.fake.neighbors[1, bytes((10, 0, 0, 2))] = bytes((2, 0, 0, 0, 0, 2)), 1
        else:
            await wire.ctl("set ip neighbor static host-e0 10.0.0.2 02:00:00:00:00:02")
            await wire.ctl("set ip neighbor host-e0 2001:db8::2 02:00:00:00:00:02")
        sink = await connected(wire)
        known = await sink.neighbors([sink.ports["host-e0"].interface])
        neighbor = known[1, bytes((10, 0, 0, 2))]
        assert (1, bytes((2, 0, 0, 0, 0, 2)), 0x80) == (neighbor.ifindex, neighbor.mac, neighbor.state)
        assert {} == await sink.neighbors([2])

    run(wire, scenario)


def test_vpp_is_answered_when_it_asks_whether_we_are_there(fake: FakePlane) -> None:
    async def scenario() -> None:
        sink = await connected(fake)
        fake.fake.keep_alive()
        while not fake.fake.keepalives:
            await write(sink, {PREFIX: PLAIN})
        assert {PREFIX: PLAIN} == await own_rows(sink)

    run(fake, scenario)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (bytes(8) + bytes((0xFF, 0xFF, 0xFF, 0xFF)) + bytes(4), "announces a message"),
        (bytes(16), "announces a message of 0 bytes"),
        (bytes(8) + bytes((0, 0, 0, 6)) + bytes(4) + bytes((0, 20, 9, 9, 9, 9)), "answers nothing that was asked"),
    ],
)
def test_what_cannot_be_ends_the_connection_with_its_reason(fake: FakePlane, said: bytes, why: str) -> None:
    async def scenario() -> None:
        sink = await connected(fake)
        fake.fake.silent = True
        asked = asyncio.ensure_future(write(sink, {PREFIX: PLAIN}))
        await asyncio.sleep(0)
        fake.fake.tell(said)
        with pytest.raises(Disconnected, match=why):
            await asked
        await sink.wait_lost()

    run(fake, scenario)


def test_a_vpp_that_hangs_is_given_up(fake: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vapi, "_SILENCE_S", 1.0)  # far more than the fake takes for an answer

    async def scenario() -> None:
        sink = await connected(fake)
        fake.fake.silent = True
        with pytest.raises(Disconnected, match="VPP owes 1 answers and has said nothing for"):
            await write(sink, {PREFIX: PLAIN})
        await sink.wait_lost()

    run(fake, scenario)


def test_a_garbled_stream_ends_in_an_answer_or_in_an_error(fake: FakePlane) -> None:
    random = np.random.default_rng(11)

    def garble(sent: bytes) -> bytes:
        garbled = bytearray(sent)
        for _ in range(int(random.integers(1, 4))):
            garbled[int(random.integers(0, len(garbled)))] ^= int(random.integers(1, 256))
        return bytes(garbled)

    async def scenario() -> None:
        writer = await connected(fake)
        await write(writer, EVERY_KIND)
        for _ in range(150):
            sink = await connected(fake)
            fake.fake.garble = garble
            with contextlib.suppress(Disconnected):
                await (read(sink) if random.integers(2) else sink.lookup(Keys.of(EVERY_KIND)))
            fake.fake.garble = None
            await sink.close()

    run(fake, scenario)


def test_a_caller_that_gives_up_leaves_the_connection_usable(wire: FakePlane | VppPlane) -> None:
    async def scenario() -> None:
        sink = await connected(wire)
        plan = many_rows(sink, 50_000)
        for ask in (lambda: sink.apply(plan), lambda: own_rows(sink), lambda: sink.lookup(plan.keys)):
            asked = asyncio.ensure_future(ask())
            await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait([asked])
        assert not (await sink.apply(plan)).any()
        assert 50_000 == len(await own_rows(sink))

    run(wire, scenario)


def test_of_many_ipv6_rows_covers_are_written_first_and_removals_last(fake: FakePlane) -> None:
    """As the kernel tells of them, a cover comes behind what it covers; VPP finds it sooner when it is there."""

    async def scenario() -> None:
        sink = await connected(fake)
        parts = {
            Key.parse(f"2001:db8:{part:x}::/{length}"): NO_PORT if part % 9 == 0 else PLAIN
            for part in range(256)
            for length in (64, 56, 48)
        }
        old, new = Key.parse("2001:db7::/32"), {**parts, Key.parse("2001:db8::/32"): PLAIN}
        await write(sink, {old: PLAIN})
        fake.fake.drop_after = fake.fake.route_requests + len(new)
        with pytest.raises(Disconnected):
            await write(sink, {old: None, **new})
        held = [length for _, _, _, length in fake.fake.routes]
        assert [32, 32] == held[:2]
        assert sorted(held) == held
        fake.fake.drop_after = None
        await sink.connect()
        retval = await write(sink, {old: None, **new})
        assert [False, *(entry is NO_PORT for entry in new.values())] == (retval < 0).tolist()
        assert {key: entry for key, entry in new.items() if entry is not NO_PORT} == await own_rows(sink)

    run(fake, scenario)


def test_what_is_removed_goes_after_what_is_added_whatever_its_length() -> None:
    keys = [Key.parse(f"2001:db8:{part}::/{length}") for part, length in enumerate((48, 32, 64, 32, 48))]
    gone = NO_ENTRY
    order = covers_first(Plan(Keys.of(keys), np.array([0, gone, 0, 0, gone], np.int32)))
    assert [3, 0, 2, 1, 4] == order.tolist()


def test_rows_of_a_table_that_was_removed_are_refused_and_then_written(wire: FakePlane | VppPlane) -> None:
    async def scenario() -> None:
        sink = await connected(wire)
        row = Key.parse("192.0.2.0/24", 50)
        await write(sink, {row: PLAIN})
        if isinstance(wire, FakePlane):
            del wire.fake.tables[50, 0]
            wire.fake.routes.clear()
        else:
            await write(sink, {row: None})
            other = await VapiClient.connect(wire.vpp.api)
            await other.call("ip_table_add_del", is_add=False, table={"table_id": 50, "is_ip6": False, "name": ""})
            other.close()
        assert [-3] == (await write(sink, {row: PLAIN})).tolist()
        assert [0] == (await write(sink, {row: OTHER_WAY})).tolist()
        assert {row: OTHER_WAY} == await own_rows(sink)

    run(wire, scenario)


@pytest.mark.vpp
@pytest.mark.skipif(not INSTALLED, reason="vpp is not on PATH: real VPP is NOT tested")
def test_vppctl_sees_what_was_written(real: VppPlane) -> None:
    async def scenario() -> None:
        sink = await connected(real)
        await write(sink, EVERY_KIND)

        async def shown(command: str) -> str:
            text = await real.ctl(command)
            assert "rtagent refs:1" in text or "API refs:1" in text, text
            return text

        assert "10.0.0.2 host-e0" in await shown("show ip fib 1.0.0.0/24")
        ecmp = await shown("show ip fib 1.0.1.0/24")
        assert ["3", "5"] == re.findall(r"weight=(\d+)", ecmp)[:2]
        assert "arp-ipv4: via fe80::1 host-e1" in await shown("show ip fib 1.0.3.0/24")
        assert "100:64:0:neos][200:64:0:eos" in await shown("show ip fib 1.0.5.0/24")
        assert "dpo-drop" in await shown("show ip fib 1.0.7.0/24")
        assert "unreach" in await shown("show ip fib 1.0.8.0/24")
        assert "prohibit" in await shown("show ip fib 1.0.9.0/24")
        assert "dpo-receive" in await shown("show ip fib 1.0.10.1/32")
        assert "10.0.1.2 host-e1" in await shown("show ip fib table 100 1.0.0.0/24")
        assert "fe80::1 host-e1" in await shown("show ip6 fib 2001:db8::/32")
        swap = await shown("show mpls fib 100")
        assert 1 == swap.count("mpls-label[uniform-mode") - swap.count("300:64:0:neos]") == swap.count("300:64:0:eos]")
        pop = await shown("show mpls fib 101")
        assert "arp-mpls: via 10.0.0.2 host-e0" in pop
        assert "arp-ipv4: via 10.0.0.2 host-e0" in pop
        assert "arp-ipv6: via fe80::1 host-e0" in await shown("show mpls fib 102")
        assert 1 == (await real.ctl("show fib source")).count("rtagent prio:136")

    run(real, scenario)


@pytest.mark.vpp
@pytest.mark.skipif(not INSTALLED, reason="vpp is not on PATH: real VPP is NOT tested")
def test_the_definitions_of_the_fake_are_those_of_vpp(real: VppPlane) -> None:
    async def scenario() -> None:
        client = await VapiClient.connect(real.vpp.api)
        served = json.loads((await client.call("get_api_json")).json.rstrip("\0"))
        (ours,) = json.loads(definitions())
        client.close()
        for kind in ("messages", "types", "unions"):
            theirs = {name: _layout(fields) for module in served for name, *fields in module[kind]}
            for name, *fields in ours[kind]:
                assert theirs[name] == _layout(fields), name
        aliases = {name: alias for module in served for name, alias in module["aliases"].items()}
        assert ours["aliases"] == {name: aliases[name] for name in ours["aliases"]}
        kinds = ("enums", "enumflags")
        sizes = {name: each[-1]["enumtype"] for module in served for kind in kinds for name, *each in module[kind]}
        ours_sizes = {name: each[-1]["enumtype"] for kind in kinds for name, *each in ours[kind]}
        assert ours_sizes == {name: sizes[name] for name in ours_sizes}

    run(real, scenario)


def _layout(fields: list[Any]) -> list[list[Any]]:
    """Return types, names and counts, without what is said about them."""
    return [[part for part in field if not isinstance(part, dict)] for field in fields if isinstance(field, list)]


@pytest.mark.vpp
@pytest.mark.skipif(not INSTALLED, reason="vpp is not on PATH: real VPP is NOT tested")
def test_labels_of_others_are_foreign_and_stay(real: VppPlane) -> None:
    async def scenario() -> None:
        sink = await connected(real)
        await write(sink, {Key.parse("100"): PLAIN})
        await real.ctl("mpls local-label add eos 200 via 10.0.0.9 host-e0 out-labels 201")
        found = await sink.lookup(Keys.of([Key.parse("100"), Key.parse("200")]))
        assert [(100, False), (200, True)] == [
            (int(key.text), sink.outranks(source))
            for key, source in zip(found.keys, found.source.tolist(), strict=True)
        ]
        await write(sink, {Key.parse("100"): None})
        assert "201" in await real.ctl("show mpls fib 200")

    run(real, scenario)


@pytest.mark.vpp
@pytest.mark.skipif(not INSTALLED, reason="vpp is not on PATH: real VPP is NOT tested")
def test_a_row_that_does_not_resolve_now_is_read_as_it_was_written(real: VppPlane) -> None:
    async def scenario() -> None:
        sink = await connected(real)
        await write(sink, EVERY_KIND)
        await real.ctl("set interface state host-e0 down")
        await real.ctl("set interface state host-e1 down")
        assert EVERY_KIND == await own_rows(sink)

    run(real, scenario)
