"""A client of BIRD's control socket, of 2.0.12 and later, 3.x included; a library of its own (docs/bird-client.md).

    async with BirdClient() as bird:
        print((await bird.status()).version)
        async for route in bird.routes(table="master4"):
            print(route.prefix, route.next_hops)

A client has one connection and one command under way; callers wait for each other. A list of routes has a connection
of its own, as long as it lasts, so that a loop over a million of them may ask other things meanwhile. Where a
connection ends, or its answer is given up (a timeout, a cancelled caller), the command under way fails and the next one
connects anew: BIRD's restart costs one Disconnected and no more. Nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import PurePath
from types import TracebackType
from typing import Self

from rtagent.core.failures import Disconnected
from rtagent.transport.birdc import BirdStream
from rtagent.wire.birdc import commands
from rtagent.wire.birdc.protocols import Protocol, parse_protocols
from rtagent.wire.birdc.refusals import NOT_UNDERSTOOD, CommandRefused, NotFound, raise_refusal
from rtagent.wire.birdc.replies import (
    BfdSession,
    ConfigureStatus,
    Configuring,
    Interface,
    Status,
    parse_bfd_sessions,
    parse_configure_status,
    parse_configured,
    parse_interfaces,
    parse_status,
)
from rtagent.wire.birdc.routes import Route, RouteParser
from rtagent.wire.birdc.session import BirdSession, Line
from rtagent.wire.errors import MalformedMessage

SOCKET_PATH = "/run/bird/bird.ctl"
_LONGEST_ANSWER = 1_000_000
"""Lines of an answer that is kept whole, a thousand peers' protocols are 60 000; lists of routes are not kept."""


_NO_ROUTE = 8001


class Unresponsive(Disconnected):
    """BIRD is there and says nothing: it hangs, or is busier than the timeout allows."""


class _Connection:
    """A connection that is made when it is first needed, and again after it was lost or given up."""

    def __init__(self, path: str, timeout_s: float, *, restricted: bool) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._restricted = restricted
        self._stream: BirdStream | None = None
        self._session = BirdSession()
        self.notices: list[str] = []

    @property
    def busy(self) -> bool:
        """Whether more of an answer is to come."""
        return not self._session.idle

    async def open(self) -> None:
        """Connect, unless that is done, and read the greeting."""
        if self._stream is not None:
            return
        self._session = BirdSession()
        try:
            self._stream = await BirdStream.open(self._path, self._timeout_s)
        except TimeoutError as error:
            raise self._silent("a connection") from error
        except OSError as error:
            why = error.strerror or str(error)
            raise Disconnected(f"BIRD cannot be reached at {self._path}: {why}; does it run?") from error
        async for _ in self._answer("the greeting"):
            pass
        if self._restricted:
            try:
                async for lines in self.ask("restrict"):
                    raise_refusal("restrict", lines[-1])
            except BaseException:
                self.close()
                raise

    async def ask(self, command: str) -> AsyncIterator[list[Line]]:
        """Send a command and yield its answer's lines as they come; whoever stops early ends the connection."""
        await self.open()
        data = self._session.send(command)
        assert self._stream is not None
        try:
            await self._stream.write(data, self._timeout_s)
        except TimeoutError as error:
            self.close()
            raise self._silent(command) from error
        except OSError as error:
            self.close()
            raise self._lost(command, error) from error
        async for lines in self._answer(command):
            yield lines

    async def _answer(self, what: str) -> AsyncIterator[list[Line]]:
        assert self._stream is not None
        ended = False
        try:
            while not ended:
                received = self._session.receive(await self._stream.read(self._timeout_s))
                self.notices.extend(received.notices)
                ended = received.ended
                if received.lines:
                    yield received.lines
        except TimeoutError as error:
            raise self._silent(what) from error
        except OSError as error:
            raise self._lost(what, error) from error
        except MalformedMessage as error:
            raise MalformedMessage(f"{self._path}, '{what}': {error}") from error
        finally:
            if not ended:
                self.close()

    def _silent(self, what: str) -> Unresponsive:
        return Unresponsive(f"BIRD at {self._path} said nothing for {self._timeout_s:g} s, asked for '{what}'")

    def _lost(self, what: str, error: OSError) -> Disconnected:
        return Disconnected(f"BIRD at {self._path} went away, asked for '{what}': {error.strerror or error}")

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class BirdClient:
    """Asks BIRD, and tells it to read its configuration.

    Every method may raise Disconnected (nobody is there, or went away), its kind Unresponsive (no word for
    ``timeout_s``), CommandRefused and its kinds (with BIRD's words), MalformedMessage (that is not BIRD). With
    ``restricted`` nothing can be changed through this client: BIRD itself refuses it.
    """

    def __init__(
        self, path: str | PurePath = SOCKET_PATH, *, timeout_s: float = 10.0, restricted: bool = False
    ) -> None:
        self.path = str(path)
        self._timeout_s = timeout_s
        self._restricted = restricted
        self._connection = self._new_connection()
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        async with self._turn:
            await self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a later command would open it again."""
        self._connection.close()

    def notices(self) -> list[str]:
        """Return, once, what BIRD said unasked on this connection: that it undoes what nobody confirmed."""
        taken, self._connection.notices = self._connection.notices, []
        return taken

    async def command(self, command: str) -> list[Line]:
        """Run a command that has no method here; return its answer's lines with their codes."""
        answer: list[Line] = []
        async with self._turn:
            async for lines in self._connection.ask(command):
                answer += lines
                if len(answer) > _LONGEST_ANSWER:
                    self._connection.close()
                    raise MalformedMessage(f"{self.path}, '{command}': more than {_LONGEST_ANSWER} lines")
        raise_refusal(command, answer[-1])
        return answer

    async def status(self) -> Status:
        """Return version, router id, times and state."""
        return parse_status(await self.command("show status"))

    async def interfaces(self) -> list[Interface]:
        """Return the interfaces that BIRD knows."""
        return parse_interfaces(await self.command("show interfaces"))

    async def protocols(self, pattern: str = "*") -> list[Protocol]:
        """Return the protocols whose names match, with their channels; an empty list where none does."""
        try:
            return parse_protocols(await self.command(commands.show_protocols(pattern)))
        except NotFound:
            return []

    async def protocol(self, name: str) -> Protocol:
        """Return one protocol. Raises NotFound."""
        commands.symbol(name)
        (protocol,) = parse_protocols(await self.command(commands.show_protocols(name)))
        return protocol

    async def bfd_sessions(self) -> list[BfdSession]:
        """Return the BFD sessions of all BFD protocols that are up."""
        rows = parse_protocols(await self.command("show protocols"))
        sessions: list[BfdSession] = []
        for name in (row.name for row in rows if row.proto == "BFD" and row.state == "up"):
            sessions += parse_bfd_sessions(await self.command(f"show bfd sessions {commands.symbol(name)}"))
        return sessions

    async def routes(
        self,
        *,
        prefix: str = "",
        covering: str = "",
        table: str = "",
        protocol: str = "",
        export_to: str = "",
        filtered: bool = False,
        best_only: bool = False,
        attributes: bool = False,
        where: str = "",
    ) -> AsyncIterator[Route]:
        """Yield routes as BIRD lists them, in memory that does not grow with their number.

        ``prefix`` is exact, ``covering`` an address or prefix whose best match is wanted; ``table`` defaults to
        BIRD's two master tables, ``"all"`` is every one; ``export_to`` is what a protocol is told; ``filtered`` is what
        import filters refused, where that is kept; ``where`` is a filter expression. NotFound is raised for a name
        that BIRD does not know, a route that is not there is an empty list.
        """
        command = commands.show_routes(
            prefix=prefix,
            covering=covering,
            table=table,
            protocol=protocol,
            export_to=export_to,
            filtered=filtered,
            best_only=best_only,
            attributes=attributes,
            where=where,
        )
        parser = RouteParser()
        connection = self._new_connection()
        try:
            async for lines in connection.ask(command):
                end = None if connection.busy else lines.pop()
                for route in parser.take(lines):
                    yield route
                if end is not None and end[0] != _NO_ROUTE:
                    raise_refusal(command, end)
        finally:
            connection.close()
        for route in parser.end():
            yield route

    async def reload(self, name: str) -> None:
        """Have what came from a protocol's peer sent and judged again; no session goes down. Raises NotFound."""
        try:
            await self.command(commands.reload_in(name, filters=False))
        except CommandRefused as refused:
            if refused.code != NOT_UNDERSTOOD:
                raise
            await self.command(commands.reload_in(name, filters=True))  # BIRD 3

    async def enable(self, name: str) -> None:
        """Start a protocol that is disabled, by whomever. Raises NotFound."""
        await self.command(commands.enable(name))

    async def configure(self, path: PurePath | None = None, *, undo_after_s: int | None = None) -> Configuring:
        """Let BIRD read its configuration, or the one at ``path``; it goes back after a time unless ``confirm`` comes.

        Raises ConfigurationRefused. **3.3.2 aborts if another is in progress**: apply() of rtagent.sinks.bird waits.
        """
        return parse_configured(await self.command(commands.configure(path, undo_after_s=undo_after_s)))

    async def check(self, path: PurePath | None = None) -> None:
        """Let BIRD check its configuration, or the one at ``path``. Raises ConfigurationRefused."""
        await self.command(commands.check(path))

    async def configure_status(self) -> ConfigureStatus:
        """Return whether a configuration is still being put in force, and when it will be undone."""
        return parse_configure_status(await self.command("configure status"))

    async def confirm(self) -> Configuring:
        """Keep the configuration that is to be undone: CONFIRMED, or NOTHING_TO_DO where none is."""
        return parse_configured(await self.command("configure confirm"))

    async def undo(self) -> Configuring:
        """Go back to the configuration before. The file on disk stays as it is."""
        return parse_configured(await self.command("configure undo"))

    def _new_connection(self) -> _Connection:
        return _Connection(self.path, self._timeout_s, restricted=self._restricted)
