"""Whatever bytes come from BIRD's socket, in whatever cuts: values, or MalformedMessage, and never anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtagent.wire.birdc.protocols import parse_protocols
from rtagent.wire.birdc.replies import (
    parse_bfd_sessions,
    parse_configure_status,
    parse_configured,
    parse_interfaces,
    parse_status,
)
from rtagent.wire.birdc.routes import RouteParser
from rtagent.wire.birdc.session import BirdSession, Line
from rtagent.wire.errors import MalformedMessage
from tests.unit.test_birdc import BFD, GREETING, INTERFACES, PROTOCOLS, ROUTES_2, ROUTES_3, STATUS


def parse_routes(lines: list[Line]) -> Any:
    parser = RouteParser()
    return [*parser.take(lines[:-1]), *parser.end()]


ANSWERS: list[tuple[str, Callable[[list[Line]], Any]]] = [
    (STATUS, parse_status),
    (INTERFACES, parse_interfaces),
    (BFD, parse_bfd_sessions),
    (PROTOCOLS, parse_protocols),
    (ROUTES_2, parse_routes),
    (ROUTES_3, parse_routes),
    ("0002-x\n0022-Undo scheduled in 9 s\n0003 Reconfigured\n", parse_configured),
    ("0004-x\n0022-Configuration unconfirmed, undo in 9.998 s\n0000 \n", parse_configure_status),
]
each_answer = pytest.mark.parametrize(("text", "parse"), ANSWERS, ids=[parse.__name__ for _, parse in ANSWERS])


def answered(chunks: list[bytes]) -> list[Line]:
    """Return the lines of an answer that comes in chunks; empty where it does not end."""
    session = BirdSession()
    session.receive(GREETING)
    session.send("x")
    lines: list[Line] = []
    ended = False
    for chunk in chunks:
        received = session.receive(chunk)
        lines += received.lines
        ended = ended or received.ended
    return lines if ended else []


@each_answer
@given(data=st.data())
def test_the_cuts_do_not_matter(text: str, parse: Callable[[list[Line]], Any], data: st.DataObject) -> None:
    said = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=20)))
    chunks = [said[start:end] for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    assert parse(answered([said])) == parse(answered(chunks))


@each_answer
@given(data=st.data())
def test_the_cuts_between_runs_of_routes_do_not_matter(
    text: str, parse: Callable[[list[Line]], Any], data: st.DataObject
) -> None:
    if parse is not parse_routes:
        return
    lines = answered([text.encode()])[:-1]
    at = data.draw(st.integers(0, len(lines)))
    parser = RouteParser()
    assert parse([*lines, (0, "")]) == [*parser.take(lines[:at]), *parser.take(lines[at:]), *parser.end()]


@each_answer
@given(data=st.data())
def test_broken_bytes_are_malformed_or_mean_something(
    text: str, parse: Callable[[list[Line]], Any], data: st.DataObject
) -> None:
    said = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(said)))
        said[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        lines = answered([bytes(said)])
        if lines:
            parse(lines)
    except MalformedMessage:
        pass


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_garbage_is_malformed_or_waits_for_more(chunks: list[bytes]) -> None:
    session = BirdSession()
    try:
        for chunk in chunks:
            session.receive(chunk)
    except MalformedMessage:
        pass
    assert not session.idle or chunks
