"""Bytes that no kernel would send: no crash, a reported error, and the good messages around them are decoded."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtagent.vector.nexthops import NexthopGroups
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


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_noise_does_no_harm(datagrams, dump):
    receive(*datagrams, GOOD, dump=dump)


@given(st.sampled_from([16, 17, 20, 24, 25, 28, 32, 80, 104, 2, 3]), st.binary(max_size=120), st.booleans())
def test_noise_in_a_message_does_no_harm(kind, body, dump):
    groups = NexthopGroups()
    received = receive(GOOD, message(kind, body), GOOD, dump=dump, session=NetlinkSession(groups))
    assert len(routes(received, groups)) >= 2
