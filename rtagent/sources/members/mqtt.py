"""Members announce themselves over MQTT, and so does this one: a retained message each, and a last will beside it.

Topics below the mesh's own: ``member/ID/MACHINE`` holds what a machine says of itself, ``alive/ID/MACHINE`` whether it
is connected (the broker writes its will there when it is not), so that to be gone for a moment does not take the
definition away. All that the broker retains is read before anything is said: who announces itself knows everybody
that was there before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from rtagent.sources.members import ClaimSink
from rtagent.sources.members.retained import Name, Retained
from rtagent.transport.tasks import end_if_cancelled, until_one_fails
from rtagent.vector.claims import Claim
from rtagent.wire.members.announcement import Announcement, Liveness, Refused, encode, encode_liveness

if TYPE_CHECKING:
    from aiomqtt import Client, Message

log = structlog.get_logger()

NAME = "mqtt"
_BACKOFF_S = (0.5, 30.0)
_SYNC_TIMEOUT_S = 30.0
_REFRESHES = 3
"""How often within its time to live an announcement is repeated."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is, and how it knows us. Files are read at each connection, so that they may change."""

    url: str
    """``mqtt://HOST[:PORT]``, ``mqtts://HOST[:PORT]`` or ``unix:PATH``."""
    topic: str
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    keepalive_s: int = 15


class MqttMembers:
    """Reports the members that a broker knows, and announces ``own``, whose claimant is this machine."""

    def __init__(
        self, broker: Broker, secret: bytes, own: Claim, ttl_s: int, *, wall: Callable[[], float] = time.time
    ) -> None:
        self._broker = broker
        self._own = own
        self._name: Name = (own.id, own.claimant)
        self._ttl_s = ttl_s
        self._secret = secret
        self._wall = wall
        self._boot = int(wall() * 1000)
        self._sequence = 0
        self._said: Announcement | None = None
        self._retained = Retained(secret)
        self._connected = False
        self._say_again = asyncio.Event()

    async def run(self, sink: ClaimSink) -> None:
        """Report and announce, for ever."""
        from aiomqtt import MqttError  # not before it is wanted: it costs start time and memory

        backoff_s = _BACKOFF_S[0]
        while True:
            try:
                await self._session(sink)
            except _BootTaken as taken:
                self._boot = taken.boot + 1
                continue
            except (MqttError, OSError, TimeoutError) as error:
                end_if_cancelled()
                if self._connected:
                    backoff_s = _BACKOFF_S[0]
                self._connected = False
                log.warning("mesh.broker_lost", broker=self._broker.url, reason=_reason(error), retry_s=backoff_s)
                sink.trouble(NAME, f"{self._broker.url}: {_reason(error)}")
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1))
            backoff_s = min(backoff_s * 2, _BACKOFF_S[1])

    def say(self, own: Claim) -> None:
        """Announce this from now on; ``left`` says good-bye."""
        self._own = own
        self._say_again.set()

    async def _session(self, sink: ClaimSink) -> None:
        async with self._client() as client:
            topics = [(f"{self._broker.topic}/{kind}/+/+", 1) for kind in ("member", "alive")]
            marker = f"{self._broker.topic}/read/{self._name[0]}/{self._name[1]}"
            await client.subscribe([*topics, (marker, 1)])
            await _publish(client, marker, b"", retain=False)
            async with asyncio.timeout(_SYNC_TIMEOUT_S):
                async for message in client.messages:
                    if str(message.topic) == marker:  # the broker has sent everything that it retains before
                        break
                    self._take(message, sink)
            own = self._retained.own(self._name)
            if own is not None and own != self._said and own.boot >= self._boot:
                raise _BootTaken(own.boot)  # the clock went back: the will has to carry the new boot, too
            self._connected = True
            self._retained.in_touch(time.monotonic())
            log.info("mesh.broker_joined", broker=self._broker.url)
            await self._announce(client)
            self._report(sink)
            await until_one_fails(self._listen(client, sink), self._repeat(client), self._expire(sink))

    def _client(self) -> Client:
        from aiomqtt import Client, ProtocolVersion, Will

        broker = self._broker
        parts = urlsplit(broker.url)
        tls = _tls(broker) if parts.scheme == "mqtts" else None
        return Client(
            parts.path if parts.scheme == "unix" else parts.hostname or "",
            parts.port or (8883 if tls else 1883),
            transport="unix" if parts.scheme == "unix" else "tcp",
            protocol=ProtocolVersion.V311,
            identifier=f"rtagent-{self._name[0]}-{self._name[1]}",
            username=broker.username,
            password=Path(broker.password_file).read_text().strip() if broker.password_file else None,
            keepalive=broker.keepalive_s,
            tls_context=tls,
            will=Will(self._topic("alive"), self._liveness(alive=False), qos=1, retain=True),
        )

    async def _listen(self, client: Client, sink: ClaimSink) -> None:
        async for message in client.messages:
            if self._take(message, sink):
                self._report(sink)

    def _take(self, message: Message, sink: ClaimSink) -> bool:
        """Take a message in; return whether anything may have changed."""
        topic = str(message.topic)
        kind, _, rest = topic.removeprefix(f"{self._broker.topic}/").partition("/")
        id_, _, machine = rest.partition("/")
        name, payload = (id_, machine), bytes(message.payload or b"")
        try:
            if kind == "member":
                announcement = self._retained.announced(name, payload, time.monotonic())
                if name == self._name and self._connected:
                    self._hear_own(announcement, payload)
            elif kind == "alive":
                liveness = self._retained.told_alive(name, payload)
                if name == self._name and self._connected and (liveness is None or not liveness.alive):
                    self._say_again.set()
            else:
                return False
        except Refused as refused:
            sink.refused(NAME, topic, str(refused))
            if name == self._name and self._connected:
                self._say_again.set()  # what the broker retains under our name has to be ours
            return False
        return True

    def _hear_own(self, announcement: Announcement | None, payload: bytes) -> None:
        """Our own words come back, unless somebody else speaks in our name."""
        if not payload and not self._own.left:
            self._say_again.set()
        elif announcement is not None and announcement != self._said:
            log.error(
                "mesh.name_taken", id=self._name[0], machine=self._name[1],
                remedy="another agent has this id and this machine id: give one of the two a new one",
            )  # fmt: skip

    async def _announce(self, client: Client) -> None:
        self._say_again.clear()
        self._sequence += 1
        announcement = Announcement(self._with_since(), self._boot, self._sequence, self._ttl_s)
        self._said = announcement
        # Taken as heard at once: when the broker sends it back, it is nothing new.
        self._retained.announced(self._name, payload := encode(announcement, self._secret), time.monotonic())
        await _publish(client, self._topic("member"), payload)
        await _publish(client, self._topic("alive"), self._liveness(alive=not self._own.left))

    def _with_since(self) -> Claim:
        """Return our claim, with since when we have each thing: as said before, or from now on and after everybody."""
        before = self._retained.own(self._name)
        known = {} if before is None else dict(before.claim.since)
        now = max(self._wall(), self._retained.newest_since() + 0.001)
        return self._own._replace(since=tuple((name, known.get(name, now)) for name in sorted(self._own.resources)))

    async def _repeat(self, client: Client) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ttl_s / _REFRESHES):
                    await self._say_again.wait()
            await self._announce(client)

    async def _expire(self, sink: ClaimSink) -> None:
        while True:
            end = self._retained.expires()
            await asyncio.sleep(min(self._ttl_s, max(0.01, (end or 1e9) - time.monotonic())))
            self._report(sink)

    def _report(self, sink: ClaimSink) -> None:
        sink.report(NAME, self._retained.claims(time.monotonic(), is_alive=lambda name: name == self._name))

    def _liveness(self, *, alive: bool) -> bytes:
        return encode_liveness(Liveness(*self._name, self._boot, alive), self._secret)

    def _topic(self, kind: str) -> str:
        return f"{self._broker.topic}/{kind}/{self._name[0]}/{self._name[1]}"


def _tls(broker: Broker) -> ssl.SSLContext:
    """Return how to speak TLS. Raises OSError, which names the file."""
    file = broker.ca_file
    try:
        tls = ssl.create_default_context(cafile=file)
        if broker.certificate_file:
            file = broker.certificate_file
            tls.load_cert_chain(broker.certificate_file, broker.key_file)
    except OSError as error:  # an SSLError is one, and neither names a file
        raise OSError(error.errno, error.strerror or str(error), file) from error
    return tls


async def _publish(client: Client, topic: str, payload: bytes, *, retain: bool = True) -> None:
    """Publish, and be cancelled where asked to.

    asyncio.wait_for, on which the client waits, loses a cancellation that comes together with the broker's answer
    (https://github.com/python/cpython/issues/86296; mended in Python 3.12).
    """
    await client.publish(topic, payload, qos=1, retain=retain)
    end_if_cancelled()


class _BootTaken(Exception):
    def __init__(self, boot: int) -> None:
        super().__init__(boot)
        self.boot = boot


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
