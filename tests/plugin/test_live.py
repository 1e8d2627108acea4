"""The plugin in a real VPP, asked by clients that are right, wrong, or out of their minds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from rtagent.core.sink import Plan
from rtagent.sinks.vapi import VapiClient
from rtagent.sinks.vpp import VppFib
from rtagent.sinks.vpp_labels import VppLabels
from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibPath
from rtagent.vector.keys import AF_INET, AF_MPLS, Key, Keys
from rtagent.wire.vapi.bulk import (
    END,
    FibSlice,
    decode_apply_reply,
    decode_read_reply,
    encode_apply,
    encode_read,
)
from rtagent.wire.vapi.definitions import BULK
from rtagent.wire.vapi.framing import FRAME_BYTES, Frames
from rtagent.wire.vapi.paths import PathLists
from tests.contract.planes import GATEWAY, VppPlane
from tests.contract.rows import EVERY_KIND, OTHER_WAY, PLAIN, VIA4, VIA6, Rows, all_rows, own_rows, plan, unicast, write
from tests.lab import plugin
from tests.lab.lab import Lab

pytestmark = [
    pytest.mark.vpp,
    pytest.mark.skipif(not plugin.BUILDABLE, reason="no vpp, no cmake or no VPP headers: our VPP plugin is NOT tested"),
]

PREFIX = Key.parse("192.0.2.0/24")
LABEL = Key.parse("100")
POP4, POP6 = PLAIN, unicast(FibPath(VIA6, 1))
SWAP = unicast(FibPath(VIA4, 1, 1, (300,)))
_HEAD = FRAME_BYTES + 10
"""Where the fields of a request begin that are the plugin's own."""
_FAMILY, _SOURCE, _LISTS, _ROWS, _BYTES = _HEAD, _HEAD + 1, _HEAD + 2, _HEAD + 6, _HEAD + 10
_INTERFACE, _NO_SOURCE = 3, 200


@pytest.fixture
def plane() -> Iterator[VppPlane]:
    with Lab() as lab:
        yield VppPlane(lab, plugin=True)


@pytest.fixture
def plane_with_worker() -> Iterator[VppPlane]:
    with Lab() as lab:
        yield VppPlane(lab, plugin=True, workers=1)


def on(plane: VppPlane, scenario: Callable[[VppFib, VapiClient], Awaitable[None]]) -> None:
    """Run a scenario with a connected sink, and another client of the same VPP."""

    async def run() -> None:
        await plane.start()
        sink = plane.sink(FibEntries())
        assert isinstance(sink, VppFib)
        try:
            async with asyncio.timeout(60):
                await sink.connect()
                assert sink.bulk
                client = await VapiClient.connect(plane.vpp.api)
                await scenario(sink, client)
                await client.call("control_ping")
                client.close()
        finally:
            await sink.close()
            await plane.stop()

    asyncio.run(run())


def request(sink: VppFib, client: VapiClient, context: int, family: int = AF_INET) -> bytearray:
    """Return a message that adds three rows via PLAIN."""
    entry = np.full(3, sink.entries.intern(PLAIN), np.int32)
    keys = Keys.of(Key.parse(str(200 + n) if family == AF_MPLS else f"203.0.113.{n}", 0) for n in range(3))
    return bytearray(
        encode_apply(
            keys, entry, family, PathLists(sink.entries), context, message_id=client.messages.numbers["fibbulk_apply"],
            client_index=client.messages.client_index, source=sink.own_source,
        )
    )  # fmt: skip


async def answer(client: VapiClient, encode: Callable[[int], bytearray]) -> list[int]:
    """Send a request of three rows and return what each was answered."""
    retval: list[int] = []

    def decode(frames: Frames, _: NDArray[np.uint32]) -> None:
        retval.extend(decode_apply_reply(frames.message(0), 3).tolist())

    answered = await client.send(
        1, "fibbulk_apply_reply", lambda context: np.frombuffer(bytes(encode(context)), np.uint8), decode
    )
    await answered
    return retval


async def read(
    sink: VppFib, client: VapiClient, *, source: int, others: bool, at: int = 0, max_rows: int = 0
) -> FibSlice:
    """Return a slice of IPv4 entries."""
    parts: list[FibSlice] = []

    def encode(context: int) -> NDArray[np.uint8]:
        message = encode_read(
            AF_INET, at, context, message_id=client.messages.numbers["fibbulk_read"],
            client_index=client.messages.client_index, source=source, others=others,
        )  # fmt: skip
        message = message.copy()
        message[-4:] = np.frombuffer(max_rows.to_bytes(4, "big"), np.uint8)
        return message

    def decode(frames: Frames, _: NDArray[np.uint32]) -> None:
        parts.append(decode_read_reply(frames.message(0), AF_INET, PathLists(sink.entries)))

    await (await client.send(1, "fibbulk_read_reply", encode, decode))
    return parts[0]


@pytest.mark.parametrize(("at", "value", "retval"), [
    (_FAMILY, b"\2", -73),
    (_FAMILY, b"\3", -97),
    (_FAMILY, b"\xff", -97),
    (_SOURCE, bytes([_NO_SOURCE]), -31),
    (_SOURCE, bytes([_INTERFACE]), -31),
    (_SOURCE, b"\0", -31),
    (_LISTS, (2).to_bytes(4, "big"), -73),
    (_LISTS, (9000).to_bytes(4, "big"), -162),
    (_ROWS, (4).to_bytes(4, "big"), -73),
    (_ROWS, (2**32 - 1).to_bytes(4, "big"), -162),
    (_BYTES, (1).to_bytes(4, "big"), -73),
])  # fmt: skip
def test_a_malformed_message_is_refused_as_a_whole(plane: VppPlane, at: int, value: bytes, retval: int) -> None:
    async def scenario(sink: VppFib, client: VapiClient) -> None:
        def encode(context: int) -> bytearray:
            message = request(sink, client, context)
            message[at : at + len(value)] = value
            return message

        assert [retval] * 3 == await answer(client, encode)
        assert sink.error_text(retval) != f"VPP's error {retval}"
        assert {} == await own_rows(sink)
        assert 1 == plugin.counters(plane.vpp)["apply: messages refused as a whole"]

    on(plane, scenario)


@pytest.mark.parametrize("family", [AF_INET, AF_MPLS])
def test_mutated_messages_never_bring_vpp_down(plane: VppPlane, family: int) -> None:
    chance = random.Random(5)

    async def scenario(sink: VppFib, client: VapiClient) -> None:
        await write(sink, {Key.parse("16"): PLAIN})  # the table of labels
        before = plugin.counters(plane.vpp)["apply: messages"]
        for _ in range(2000):

            def encode(context: int) -> bytearray:
                message = request(sink, client, context, family)
                for _ in range(chance.randrange(1, 4)):  # a longer n_bytes is VPP's own to drop, unanswered
                    at = chance.choice([*range(_HEAD, _BYTES), *range(_BYTES + 4, len(message))])
                    message[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
                return message

            await answer(client, encode)
        counted = plugin.counters(plane.vpp)
        assert 2000 == counted["apply: messages"] - before
        assert counted["apply: messages refused as a whole"] > 100
        assert counted["apply: rows added or replaced"] > 100
        assert counted["apply: rows refused"] > 100
        await write(sink, EVERY_KIND)
        assert EVERY_KIND.items() <= (await own_rows(sink)).items()

    on(plane, scenario)


def test_a_message_that_is_shorter_than_it_says_is_dropped(plane: VppPlane) -> None:
    async def scenario(sink: VppFib, client: VapiClient) -> None:
        def encode(context: int) -> NDArray[np.uint8]:
            message = request(sink, client, context)
            message[_BYTES : _BYTES + 4] = (2**32 - 1).to_bytes(4, "big")
            return np.frombuffer(bytes(message), np.uint8)

        answered = await client.send(1, "fibbulk_apply_reply", encode, lambda frames, which: None)
        await client.call("control_ping")
        assert not answered.done()
        assert {} == await own_rows(sink)

    on(plane, scenario)


def test_rows_below_a_stronger_source_are_read_and_say_so(plane: VppPlane) -> None:
    async def scenario(sink: VppFib, client: VapiClient) -> None:
        await write(sink, {PREFIX: OTHER_WAY})
        await plane.add_foreign(PREFIX)
        ours = await read(sink, client, source=sink.own_source, others=False)
        assert [(True, OTHER_WAY, sink.own_source)] == [
            (hidden, sink.entries[entry], source)
            for hidden, entry, source in zip(
                ours.hidden.tolist(), ours.rows.entry.tolist(), ours.rows.source.tolist(), strict=True
            )
        ]
        everything = await read(sink, client, source=sink.own_source, others=True)
        rows = [row for row, key in enumerate(everything.rows.keys) if key.text == PREFIX.text]
        assert [False, True] == everything.hidden[rows].tolist()
        seen = [sink.entries[number].paths[0].via for number in everything.rows.entry[rows].tolist()]
        assert [GATEWAY, OTHER_WAY.paths[0].via] == seen

    on(plane, scenario)


def test_a_row_that_stays_is_in_one_slice_whatever_comes_and_goes(plane: VppPlane) -> None:
    def some(first: int, entry: int) -> Plan:
        keys = Keys.of(Key.parse(f"10.{first}.{number >> 4}.{(number & 15) << 4}/28") for number in range(1024))
        return Plan(keys, np.full(len(keys), entry, np.int32))

    async def scenario(sink: VppFib, client: VapiClient) -> None:
        entry = sink.entries.intern(PLAIN)
        for first in (10, 11, 12):
            assert not (await sink.apply(some(first, entry))).any()
        seen: list[str] = []
        cursor, coming = 0, 13
        while cursor != END:
            part = await read(sink, client, source=sink.own_source, others=False, at=cursor, max_rows=100)
            assert len(part.rows) <= 101
            seen.extend(key.text for key in part.rows.keys)
            cursor = part.cursor
            if coming < 20:
                await sink.apply(some(coming, entry))
                await sink.apply(some(coming - 2, NO_ENTRY))
                coming += 1
        assert len(set(seen)) == len(seen)
        assert {key.text for key in some(10, entry).keys} <= set(seen)

    on(plane, scenario)


def test_a_long_message_lets_others_in_between(plane: VppPlane) -> None:
    async def scenario(sink: VppFib, client: VapiClient) -> None:
        number = np.arange(60_000, dtype=np.uint64)
        keys = Keys(number << np.uint64(36), np.zeros_like(number), np.full(len(number), AF_INET << 8 | 28, np.uint64))
        entry = np.full(len(number), sink.entries.intern(PLAIN), np.int32)

        def encode(context: int) -> NDArray[np.uint8]:
            return encode_apply(
                keys, entry, AF_INET, PathLists(sink.entries), context,
                message_id=client.messages.numbers["fibbulk_apply"], client_index=client.messages.client_index,
                source=sink.own_source,
            )  # fmt: skip

        refused: list[NDArray[np.int32]] = []

        def decode(frames: Frames, _: NDArray[np.uint32]) -> None:
            refused.append(decode_apply_reply(frames.message(0), len(keys)))

        await (await client.send(1, "fibbulk_apply_reply", encode, decode))
        assert not refused[0].any()
        assert plugin.counters(plane.vpp)["apply: slices"] > 10

    on(plane, scenario)


def test_removals_do_not_wait_for_a_sleeping_worker_once_a_row(plane_with_worker: VppPlane) -> None:
    async def scenario(sink: VppFib, _: VapiClient) -> None:
        rows = 50_000  # at one row a turn of a worker that sleeps: a quarter of an hour
        keys = Keys.of(Key(254, AF_INET, (0x0B000000 + (number << 8)) << 96, 24) for number in range(rows))
        assert not (await sink.apply(Plan(keys, np.full(rows, sink.entries.intern(PLAIN), np.int32)))).any()
        assert not (await sink.apply(Plan(keys, np.full(rows, NO_ENTRY, np.int32)))).any()
        assert {} == await own_rows(sink)
        counted = plugin.counters(plane_with_worker.vpp)
        assert rows == counted["apply: rows removed"]
        assert counted["apply: barriers for removals"] > 1

    on(plane_with_worker, scenario)


async def shown(plane: VppPlane, label: Key) -> str:
    """Return what vppctl tells of a label."""
    return await plane.ctl(f"show mpls fib {label.text}")


def test_labels_have_our_source(plane: VppPlane) -> None:
    async def scenario(sink: VppFib, _: VapiClient) -> None:
        await write(sink, {LABEL: POP4})
        text = await shown(plane, LABEL)
        assert (2, 0) == (text.count("rtagent refs:1"), text.count("API refs:"))
        assert "arp-mpls: via 10.0.0.2 host-e0" in text
        assert "arp-ipv4: via 10.0.0.2 host-e0" in text

    on(plane, scenario)


def test_a_label_of_a_stronger_source_shadows_ours_and_stays(plane: VppPlane) -> None:
    async def scenario(sink: VppFib, _: VapiClient) -> None:
        await write(sink, {LABEL: SWAP})
        for eos in ("eos", "non-eos"):
            await plane.ctl(f"mpls local-label add {eos} {LABEL.text} via 10.0.0.9 host-e0 out-labels 201")
        for rows in ({LABEL: POP4}, {LABEL: None}, {LABEL: SWAP}):
            assert [0] == (await write(sink, rows)).tolist()
            source, entry = (await all_rows(sink))[LABEL]
            assert ("CLI", (201,)) == (sink.source_name(source), entry.paths[0].labels)
            assert sink.outranks(source)
        for eos in ("eos", "non-eos"):
            await plane.ctl(f"mpls local-label del {eos} {LABEL.text} via 10.0.0.9 host-e0 out-labels 201")
        assert {LABEL: SWAP} == await own_rows(sink)

    on(plane, scenario)


def test_what_is_below_a_label_may_change_beside_a_worker(plane_with_worker: VppPlane) -> None:
    async def scenario(sink: VppFib, _: VapiClient) -> None:
        labels = [Key.parse(str(number)) for number in range(100, 1100)]
        for entry, chain in ((POP4, "arp-ipv4"), (POP6, "arp-ipv6"), (SWAP, "[300:64:0:eos]"), (POP6, "arp-ipv6")):
            rows = dict.fromkeys(labels, entry)
            assert not (await write(sink, rows)).any()
            assert rows == await own_rows(sink)
            assert chain in await shown(plane_with_worker, labels[0])

    on(plane_with_worker, scenario)


def test_what_is_below_a_label_that_others_hold_too_is_theirs(plane: VppPlane) -> None:
    async def scenario(sink: VppFib, _: VapiClient) -> None:
        await write(sink, {LABEL: POP4})
        await plane.ctl(f"mpls local-label add eos {LABEL.text} via 10.0.0.9 host-e0 out-labels 201")
        assert [-147, 0] == (await write(sink, {LABEL: POP6, Key.parse("101"): POP6})).tolist()
        assert sink.error_text(-147) != "VPP's error -147"
        await plane.ctl(f"mpls local-label del eos {LABEL.text} via 10.0.0.9 host-e0 out-labels 201")
        assert POP4 == (await own_rows(sink))[LABEL]
        assert [0] == (await write(sink, {LABEL: POP6})).tolist()

    on(plane, scenario)


async def leave_behind(sink: VppFib, client: VapiClient, rows: Rows) -> None:
    """Write labels as an agent does that does not know our plugin."""
    for name in BULK:
        client.messages.numbers.pop(name)
    labels, wanted = VppLabels(sink.entries, PathLists(sink.entries)), plan(sink, rows)
    retval = np.zeros(len(wanted), np.int32)
    await labels.learn(client)
    await labels.prepare(client, wanted.entry)
    await asyncio.gather(*await labels.write(client, wanted.keys, wanted.entry, retval, sink.own_source))
    assert not retval.any()


def test_labels_of_an_agent_without_the_plugin_are_taken_over_or_removed(plane: VppPlane) -> None:
    stays, turns, goes = LABEL, Key.parse("101"), Key.parse("102")
    theirs = Key.parse("200")

    async def scenario(sink: VppFib, client: VapiClient) -> None:
        await leave_behind(sink, client, {stays: SWAP, turns: POP4, goes: POP6})
        await plane.ctl(f"mpls local-label add eos {theirs.text} via 10.0.0.9 host-e0 out-labels 201")
        assert dict.fromkeys((stays, turns, goes), FibEntry(FibKind.OTHER)) == await own_rows(sink)
        assert not (await write(sink, {stays: SWAP, turns: POP6, goes: None})).any()
        assert {stays: SWAP, turns: POP6} == await own_rows(sink)
        assert "API refs" not in await plane.ctl("show mpls fib")
        assert "201" in await shown(plane, theirs)

    on(plane, scenario)
