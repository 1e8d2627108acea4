"""Bytes that no kernel would send: no crash, a reported error, and the good messages around them are decoded."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtagent.vector.nexthops import NexthopGroups
from rtagent.wire.netlink.routes import RouteDecoder
from rtagent.wire.netlink.session import NetlinkSession
from tests.unit.test_netlink_session import GOOD, LINK, ROUTES, ROWS
from tests.wire import message, receive, routes

MESSAGES = [bytes.fromhex(data) for data, _ in [*ROUTES.values(), *ROWS.values()]] + [message(16, LINK)]
STREAM = b"".join(MESSAGES)


def test_every_byte_prefix_yields_its_messages_or_a_reported_error():
    ends = np.cumsum([len(each) + 3 & ~3 for each in MESSAGES])
    session = NetlinkSession(NexthopGroups())
    for length in range(len(STREAM) + 1):
        received = receive(STREAM[:length], session=session)
        whole = int((ends <= length).sum())
        assert received.messages == whole
        rest = length - (int(ends[whole - 1]) if whole else 0)
        assert len(received.malformed) == (1 if rest >= 16 else 0)


def mutated(chance: random.Random) -> bytes:
    data = bytearray(chance.choice(MESSAGES))
    for _ in range(chance.randrange(1, 5)):
        match chance.randrange(4):
            case 0:
                data[chance.randrange(len(data))] = chance.randrange(256)
            case 1:
                at = chance.randrange(0, len(data) - 1, 2)
                struct.pack_into("<H", data, at, chance.choice([0, 1, 3, 4, 5, 8, 0x7FFF, 0xFFFF]))
            case 2:
                del data[chance.randrange(16, len(data) + 1) :]
                struct.pack_into("<I", data, 0, len(data))
            case 3:
                data += chance.randbytes(chance.randrange(1, 9))
                struct.pack_into("<I", data, 0, len(data))
        if len(data) < 18:
            break
    return bytes(data)


@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_mutated_messages_do_no_harm(part):
    chance = random.Random(part)
    for _ in range(1000):
        groups = NexthopGroups()
        broken = mutated(chance)
        received = receive(GOOD, broken, GOOD, dump=chance.random() < 0.5, session=NetlinkSession(groups))
        good = [row for row in routes(received, groups) if row[1:] == ROUTES[next(iter(ROUTES))][1][1:]]
        assert len(good) >= 2
        assert all(str(error) for error in received.malformed)


def elsewhere(data: bytes, chance: random.Random) -> bytes:
    """Return the message for another destination, where it tells the table and then that, as the kernel does."""
    size, kind = struct.unpack_from("<HH", data, 36) if len(data) > 40 else (0, 0)
    if kind != 1 or size not in (8, 20):
        return data
    return data[:40] + chance.randbytes(size - 4) + data[36 + size :]


@pytest.mark.parametrize("part", range(5))
def test_what_was_decoded_before_makes_no_difference(part):
    chance = random.Random(part)
    groups = NexthopGroups()
    warm = NetlinkSession(groups)
    for _ in range(400):
        told = [elsewhere(chance.choice(MESSAGES), chance) for _ in range(chance.randrange(1, 4))]
        if chance.random() < 0.5:
            told.append(elsewhere(mutated(chance), chance))
        fresh = NexthopGroups()
        expected = receive(*told, session=NetlinkSession(fresh))
        for _ in range(2):
            received = receive(*told, session=warm)
            assert routes(received, groups) == routes(expected, fresh)
            assert received.batch.changes == expected.batch.changes
            assert (received.messages, received.done) == (expected.messages, expected.done)
            assert [*map(str, received.malformed)] == [*map(str, expected.malformed)]


def test_routes_of_few_shapes_are_recalled_from_their_second_time_on(monkeypatch):
    groups = NexthopGroups()
    session = NetlinkSession(groups)
    told = [bytes.fromhex(data) for data, row in ROUTES.values() if row[1] not in ("ff00::/8", "fe80::/64")]
    chance = random.Random(1)
    receive(*told, session=session)
    monkeypatch.setattr(RouteDecoder, "decode", None)
    again = [
        elsewhere(each, chance) if each[16] == 2 else each
        for each in told
        if struct.unpack_from("<H", each, 38)[0] == 1
    ]
    assert len(again) > 5
    assert len(routes(receive(*again, session=session), groups)) == len(again)


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_noise_does_no_harm(datagrams, dump):
    receive(*datagrams, GOOD, dump=dump)


@given(st.sampled_from([16, 17, 20, 24, 25, 28, 32, 80, 104, 2, 3]), st.binary(max_size=120), st.booleans())
def test_noise_in_a_message_does_no_harm(kind, body, dump):
    groups = NexthopGroups()
    received = receive(GOOD, message(kind, body), GOOD, dump=dump, session=NetlinkSession(groups))
    assert len(routes(received, groups)) >= 2
