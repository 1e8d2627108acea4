"""Announcements: what is signed, newest and under its own name counts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtagent.sources.members.retained import Retained
from rtagent.wire.members.announcement import (
    Announcement,
    Liveness,
    Refused,
    _signed,
    decode,
    decode_liveness,
    encode,
    encode_liveness,
)
from tests.claims import claim

SECRET = b"secret"
NAME = ("n1", "m1")


def announcement(boot: int = 1, sequence: int = 1, *, ttl_s: int = 60, **fields: object) -> Announcement:
    return Announcement(
        claim("n1", **({"claimant": "m1", "since": 100.0, "pods": "10.0.0.0/24"} | fields)), boot, sequence, ttl_s
    )


def payload(*version: int, **fields: object) -> bytes:
    return encode(announcement(*version, **fields), SECRET)


def alive(boot: int, alive: bool) -> bytes:
    return encode_liveness(Liveness("n1", "m1", boot, alive), SECRET)


def test_what_was_encoded_is_decoded() -> None:
    said = announcement(address6="2001:db8::1", labels=(("zone", "ä"),))
    assert said == decode(encode(said, SECRET), SECRET)
    assert Liveness("n1", "m1", 7, True) == decode_liveness(alive(7, True), SECRET)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"garbage", "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b"{}", "not signed"),
        (b"3", "not signed"),
        (b'{"signature": "\\ud800"}', "signature is wrong"),
        (encode(announcement(), b"other"), "signature is wrong"),
        (payload().replace(b"10.0.0.0", b"10.9.0.0"), "signature is wrong"),
        (alive(1, True), "not 1 of 'member'"),
        (b"x" * 100_000, "longer than"),
    ],
)
def test_a_forgery_and_nonsense_are_refused(payload: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why):
        decode(payload, SECRET)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_refused(noise: bytes) -> None:
    with pytest.raises(Refused):
        decode(noise, SECRET)


@pytest.mark.parametrize("field", sorted(json.loads(payload()).keys() - {"signature"}))
@pytest.mark.parametrize("value", [{"a": 1}, -1, "\x00", 1.5, [[]]])
def test_a_field_of_another_kind_is_refused_though_it_is_signed(field: str, value: object) -> None:
    body = json.loads(payload()) | {field: value}
    del body["signature"]
    with pytest.raises(Refused):
        decode(_signed(body, SECRET), SECRET)


def test_an_older_announcement_is_refused_whichever_way_it_comes() -> None:
    retained = Retained(SECRET)
    retained.announced(NAME, payload(2, 5), 0)
    for stale in ((2, 4), (1, 9)):
        with pytest.raises(Refused, match=r"stale: boot and sequence \d\.\d, known are 2\.5"):
            retained.announced(NAME, payload(*stale), 1)
    assert retained.announced(NAME, payload(2, 5), 2) is None, "a broker that repeats itself tells nothing new"
    with pytest.raises(Refused, match="another one has the same"):
        retained.announced(NAME, payload(2, 5, pods="10.1.0.0/24"), 3)
    assert announcement(3, 0) == retained.announced(NAME, payload(3, 0), 4)


def test_an_announcement_under_another_name_is_refused() -> None:
    with pytest.raises(Refused, match="name of somebody else"):
        Retained(SECRET).announced(("n2", "m1"), payload(), 0)
    with pytest.raises(Refused, match="name of somebody else"):
        Retained(SECRET).told_alive(("n2", "m1"), alive(1, False))


def test_who_is_not_connected_is_still_claimed_but_not_alive() -> None:
    retained = Retained(SECRET)
    retained.announced(NAME, payload(5, 1), 0)
    retained.told_alive(NAME, alive(5, False))
    assert [False] == [one.alive for one in retained.claims(1)]
    retained.told_alive(NAME, alive(5, True))
    assert [True] == [one.alive for one in retained.claims(1)]


def test_the_will_of_an_earlier_start_says_nothing_about_this_one() -> None:
    retained = Retained(SECRET)
    retained.told_alive(NAME, alive(4, False))
    retained.announced(NAME, payload(5, 1), 0)
    assert [True] == [one.alive for one in retained.claims(1)]
    retained.told_alive(NAME, alive(5, True))
    with pytest.raises(Refused, match="stale: boot 4, known is 5"):
        retained.told_alive(NAME, alive(4, False))


def test_an_announcement_that_is_not_repeated_in_its_time_is_not_alive() -> None:
    retained = Retained(SECRET)
    retained.announced(NAME, payload(ttl_s=60), 0)
    assert 60 == retained.expires()
    assert [True, False] == [retained.claims(now)[0].alive for now in (59, 60)]
    retained.in_touch(100)
    assert [True] == [one.alive for one in retained.claims(159)], "no time passes while the broker is out of reach"


def test_a_removed_announcement_is_claimed_no_more_and_comes_back_when_repeated() -> None:
    retained = Retained(SECRET)
    retained.announced(NAME, payload(), 0)
    retained.announced(NAME, b"", 1)
    assert () == retained.claims(1)
    retained.announced(NAME, payload(1, 2), 2)
    assert ["n1"] == [one.id for one in retained.claims(2)]


def test_a_good_bye_outlives_its_removal_from_the_broker() -> None:
    retained = Retained(SECRET)
    retained.announced(NAME, payload(1, 2, left=True), 0)
    retained.announced(NAME, b"", 1)
    assert [True] == [one.left for one in retained.claims(1)]
