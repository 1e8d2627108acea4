"""The other end of the control socket: a question, and the lines of the agent's answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from rtagent.agent.control import PROTOCOL

_LINE_BYTES = 16 * 1024 * 1024


class Unreachable(Exception):
    """No agent answers at the socket; the text names it and the remedy."""


class RequestRefused(Exception):
    """The agent answered with an error."""


async def ask(path: str, command: str, **arguments: Any) -> AsyncGenerator[dict[str, Any]]:
    """Yield the lines of an agent's answer. Raises Unreachable or RequestRefused."""
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=_LINE_BYTES)
    except OSError as error:
        raise Unreachable(_why_unreachable(path, error)) from None
    try:
        writer.write(json.dumps({"rtagent": PROTOCOL, "command": command, **arguments}).encode() + b"\n")
        async for message in _messages(reader, path):
            yield message
    except ConnectionError:
        raise Unreachable(f"{path}: the agent went away") from None
    finally:
        writer.close()


async def _messages(reader: asyncio.StreamReader, path: str) -> AsyncIterator[dict[str, Any]]:
    while line := await reader.readline():
        try:
            message = json.loads(line)
        except ValueError:
            raise RequestRefused(f"{path}: whatever serves this socket is not rtagent") from None
        if message.get("rtagent") != PROTOCOL:
            raise RequestRefused(f"the agent speaks version {message.get('rtagent')} of the protocol, not {PROTOCOL}")
        if "error" in message:
            raise RequestRefused(message["error"])
        if "end" in message:
            return
        yield message
    raise Unreachable(f"{path}: the agent went away")


def _why_unreachable(path: str, error: OSError) -> str:
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            return f"{path}: no agent is running there; start it, or name its socket with --control"
        case PermissionError():
            return f"{path}: permission denied; run as root or as a member of the socket's group"
        case _:
            return f"{path}: {error.strerror}"
