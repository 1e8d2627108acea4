"""The control socket: JSON lines over a UNIX stream, so that any script can ask what `rtagent status` asks.

A request is one line, ``{"rtagent": 1, "command": "status", …}``; the answer is any number of lines, the last of which
holds ``"end"`` or ``"error"``. A connection may ask again. Nonsense is answered with an error and costs nothing else.
The protocol is written down in docs/reference.md.
"""

from __future__ import annotations

import asyncio
import errno
import grp
import json
import os
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger()

PROTOCOL = 1
MODE = 0o660
_LINE_BYTES = 65_536
_CONNECTIONS = 64

Message = dict[str, Any]
Answer = Callable[[Mapping[str, Any]], AsyncGenerator[Message]]
"""Yields the lines of an answer to a request, or raises BadRequest."""


class BadRequest(Exception):
    """The peer asked for something that is not there; the text is for whoever asked."""


class ControlServer:
    """Serves ``commands`` at ``path``; close it to remove the socket."""

    def __init__(self, path: str, group: str | None, commands: Mapping[str, Answer]) -> None:
        self._path = path
        self._group = group
        self._commands = commands
        self._connections = 0

    async def run(self) -> None:
        """Serve for ever. Raises OSError, with the remedy, where the socket cannot be made."""
        listener = listen(self._path, self._group)
        mine = os.stat(self._path).st_ino
        try:
            async with await asyncio.start_unix_server(self._serve, sock=listener, limit=_LINE_BYTES) as server:
                await server.serve_forever()
        finally:
            listener.close()
            if _inode(self._path) == mine:
                os.unlink(self._path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections > _CONNECTIONS:
                _send(writer, {"error": f"more than {_CONNECTIONS} connections: try again"})
                return
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, BrokenPipeError):
            pass  # whoever asked has gone
        finally:
            self._connections -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether another may follow."""
        try:
            line = await reader.readuntil()
        except asyncio.IncompleteReadError:
            return False
        except asyncio.LimitOverrunError:
            _send(writer, {"error": f"a request is one line of at most {_LINE_BYTES} bytes"})
            return False
        try:
            request = _parsed(line)
            answer = self._commands.get(request["command"])
            if answer is None:
                raise BadRequest(f"unknown command {request['command']}; known are {', '.join(sorted(self._commands))}")
            async with aclosing(answer(request)) as messages:
                async for message in messages:
                    _send(writer, message)
                    await writer.drain()
            _send(writer, {"end": True})
        except BadRequest as refused:
            _send(writer, {"error": str(refused)})
        except (ConnectionError, BrokenPipeError):
            raise
        except Exception as broken:
            log.error("control.request_failed", request=line[:200].decode("utf-8", "replace"), exc_info=broken)
            _send(writer, {"error": "internal error: the agent's log has the details"})
        await writer.drain()
        return True


def listen(path: str, group: str | None) -> socket.socket:
    """Return a listening UNIX socket at ``path``, mode 0660, owned by ``group`` where one is named.

    A stale socket is replaced, a live one is not. Raises OSError that names the path and the remedy.
    """
    gid = _group_id(group)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if _accepts(path):
            raise OSError(errno.EADDRINUSE, f"{path}: another agent serves this socket; stop it or use another path")
        if Path(path).is_socket():
            os.unlink(path)
        before = os.umask(0o777 & ~MODE)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        if gid is not None:
            os.chown(path, -1, gid)
        listener.listen()
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE and error.filename is None and path in str(error):
            raise
        raise OSError(error.errno, f"{path}: cannot be served: {os.strerror(error.errno or 0)}") from None
    return listener


def _group_id(group: str | None) -> int | None:
    if group is None:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise OSError(errno.EINVAL, f"control.group: there is no group {group}; create it or name another") from None


def _accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return -1


def _parsed(line: bytes) -> Message:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequest("not JSON: a request is one line of JSON") from None
    if not isinstance(request, dict) or not isinstance(request.get("command"), str):
        raise BadRequest('not a request: {"rtagent": 1, "command": …}')
    if request.get("rtagent") != PROTOCOL:
        raise BadRequest(f"this agent speaks version {PROTOCOL} of the protocol, not {request.get('rtagent')!r}")
    return request


def _send(writer: asyncio.StreamWriter, message: Message) -> None:
    writer.write(json.dumps({"rtagent": PROTOCOL} | message, ensure_ascii=False).encode() + b"\n")
