"""The control socket: what it answers to good requests, to nonsense, and to those who hang up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rtagent.agent.control import ControlServer, listen

GOOD = b'{"rtagent": 1, "command": "count", "to": 3}\n'


async def count(request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    for number in range(request["to"]):
        yield {"number": number}


def serve(path: Path, body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        server = ControlServer(str(path), None, {"count": count})
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.run())
            while not path.exists():  # noqa: ASYNC240 - a stat takes no time
                await asyncio.sleep(0)
            await body()
            serving.cancel()

    asyncio.run(main())


async def exchange(path: Path, sent: bytes) -> list[dict[str, Any]]:
    """Send bytes, end the sending side, and return every line of the answer."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(sent)
    with contextlib.suppress(OSError):
        writer.write_eof()
    try:
        return [json.loads(line) for line in (await reader.read()).splitlines()]
    except ConnectionError:
        return []
    finally:
        writer.close()


ANSWER = [*({"rtagent": 1, "number": number} for number in range(3)), {"rtagent": 1, "end": True}]


def test_an_answer_ends_with_a_line_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def body() -> None:
        assert await exchange(path, GOOD) == ANSWER

    serve(path, body)


def test_a_connection_may_ask_again(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def body() -> None:
        assert await exchange(path, GOOD * 2) == ANSWER * 2

    serve(path, body)


@pytest.mark.parametrize(
    ("request_line", "error"),
    [
        (b"nonsense\n", "not JSON: a request is one line of JSON"),
        (b"\xff\xfe\n", "not JSON: a request is one line of JSON"),
        (b"[" * 30_000 + b"\n", "not JSON: a request is one line of JSON"),
        (b"3\n", 'not a request: {"rtagent": 1, "command": …}'),
        (b'{"rtagent": 1, "command": 3}\n', 'not a request: {"rtagent": 1, "command": …}'),
        (b'{"rtagent": 2, "command": "count"}\n', "this agent speaks version 1 of the protocol, not 2"),
        (b'{"rtagent": 1, "command": "conut"}\n', "unknown command conut; known are count"),
        (b'{"rtagent": 1, "command": "count"}\n', "internal error: the agent's log has the details"),
    ],
)
def test_nonsense_is_answered_and_the_connection_goes_on(tmp_path: Path, request_line: bytes, error: str) -> None:
    path = tmp_path / "c.sock"

    async def body() -> None:
        assert await exchange(path, request_line + GOOD) == [{"rtagent": 1, "error": error}, *ANSWER]

    serve(path, body)


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def body() -> None:
        answer = await exchange(path, b"x" * 200_000)
        assert answer in ([], [{"rtagent": 1, "error": "a request is one line of at most 65536 bytes"}])
        assert await exchange(path, GOOD) == ANSWER

    serve(path, body)


def test_ten_thousand_mutated_requests_leave_it_serving(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    chance = random.Random(1)

    def mutated() -> bytes:
        data = bytearray(GOOD)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at:]
                    data += b" "
                case 2:
                    data[at:at] = chance.randbytes(chance.randrange(8))
                case 3:
                    data[at:at] = data[: chance.randrange(len(data))]
        return bytes(data)

    async def body() -> None:
        for _ in range(100):
            batch = b"\n".join(mutated() for _ in range(100))
            for message in await exchange(path, batch):
                assert {"number", "end", "error"} & message.keys()
        assert await exchange(path, GOOD) == ANSWER

    serve(path, body)


def test_every_byte_prefix_of_a_request_is_harmless(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def body() -> None:
        for length in range(len(GOOD)):
            assert await exchange(path, GOOD[:length]) == []
        assert await exchange(path, GOOD) == ANSWER

    serve(path, body)


def test_a_client_that_hangs_up_in_mid_answer_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def body() -> None:
        for _ in range(100):
            _, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b'{"rtagent": 1, "command": "count", "to": 100000}\n')
            await writer.drain()
            writer.transport.abort()
        assert await exchange(path, GOOD) == ANSWER

    serve(path, body)


def test_the_socket_is_for_owner_and_group_only(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with listen(str(path), None):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_the_socket_is_gone_after_the_end(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def body() -> None:
        assert path.exists()

    serve(path, body)
    assert not path.exists()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listen(str(path), None), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_live_socket_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with (
        listen(str(path), None),
        pytest.raises(OSError, match="another agent serves this socket; stop it or use another path"),
    ):
        listen(str(path), None)


def test_a_file_that_is_no_socket_is_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    path.write_text("precious")
    with pytest.raises(OSError, match=f"{path}: cannot be served"):
        listen(str(path), None)
    assert path.read_text() == "precious"


def test_an_unknown_group_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="there is no group nobody-has-this"):
        listen(str(tmp_path / "c.sock"), "nobody-has-this")


def test_the_group_owns_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with listen(str(path), "adm"):
        assert os.stat(path).st_gid != os.getgid()
