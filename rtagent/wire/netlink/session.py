"""From datagrams to what the kernel said: the framing, the end of a dump, errors, and both decoders behind one call."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.batch import Change, KernelBatch
from rtagent.vector.nexthops import NexthopGroups
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.netlink import constants as nl
from rtagent.wire.netlink.attributes import attributes
from rtagent.wire.netlink.recalled import FEW, RecalledRoutes
from rtagent.wire.netlink.routes import RouteDecoder
from rtagent.wire.netlink.rows import ROW_MESSAGES, decode_row

_HEADER_BYTES = 16
"""struct nlmsghdr."""
_LENGTH_AND_TYPE = np.uint64(0xFFFF_FFFFFFFF)
_EQUAL_BEFORE_RUN = 4
"""So many messages of one length in a row, and those that follow are looked for all at once."""


class KernelError(NamedTuple):
    """NLMSG_ERROR, or an error in NLMSG_DONE: what the kernel refused, in its own words where it gave any."""

    errno: int
    text: str


class Received(NamedTuple):
    """What a run of datagrams said."""

    batch: KernelBatch
    messages: int
    done: bool = False
    """NLMSG_DONE: the dump has ended; where it broke off, ``error`` says why."""
    interrupted: bool = False
    """NLM_F_DUMP_INTR or NLMSG_OVERRUN: the dump is not one consistent picture."""
    error: KernelError | None = None
    malformed: tuple[MalformedMessage, ...] = ()


class NetlinkSession:
    """Decodes what one or more sockets receive. Nothing but caches is kept between calls."""

    def __init__(self, groups: NexthopGroups) -> None:
        self._routes = RouteDecoder(groups)
        self._recalled = RecalledRoutes()

    def forget(self) -> None:
        """Drop the caches: nexthop groups were freed."""
        self._routes.forget()
        self._recalled.forget()

    def receive(self, buffer: NDArray[np.uint8], starts: list[int], lengths: list[int], *, dump: bool) -> Received:
        """Decode datagrams at ``starts`` (multiples of 4) of ``lengths`` bytes within ``buffer``.

        ``dump`` says that they answer a dump request; a malformed message is reported and passed over.
        """
        data = buffer.data
        if not dump and len(starts) <= FEW:
            recalled = self._recalled.find(data, starts, lengths)
            if recalled is not None:
                return Received(KernelBatch(recalled, ()), len(starts))
        at, malformed = _messages(buffer, starts, lengths)
        heads = _pairs_of_words(buffer)[at >> 2]  # length, type and flags
        types_flags = heads >> np.uint64(32)
        types = types_flags & np.uint64(0xFFFF)
        interrupted = bool((types_flags >> np.uint64(16) & np.uint64(nl.NLM_F_DUMP_INTR)).any()) if dump else False
        is_route = types & np.uint64(0xFFFE) == nl.RTM_NEWROUTE  # RTM_DELROUTE is one more
        of_routes, heads_of_routes = at, heads
        changes: list[Change] = []
        done, error = False, None
        if not is_route.all():
            of_routes, heads_of_routes = at[is_route], heads[is_route]
            for offset, message_type in zip(at[~is_route].tolist(), types[~is_route].tolist(), strict=True):
                (length,) = struct.unpack_from("<I", data, offset)
                body = bytes(data[offset + 16 : offset + length])
                if message_type in ROW_MESSAGES:
                    try:
                        change = decode_row(message_type, body)
                    except MalformedMessage as broken:
                        malformed.append(broken)
                        continue
                    if change is not None:
                        changes.append(change)
                elif message_type == nl.NLMSG_DONE:
                    done = True
                    error = _broken_off(body) or error
                elif message_type == nl.NLMSG_ERROR:
                    error = _error(int(types_flags[np.searchsorted(at, offset)]) >> 16, body) or error
                elif message_type == nl.NLMSG_OVERRUN:
                    interrupted = True
        routes = self._routes.decode(buffer, of_routes, heads_of_routes & _LENGTH_AND_TYPE, dump=dump)
        if not dump and len(routes.delta) == len(starts) <= FEW and starts == at.tolist():
            self._recalled.add(data, starts, lengths, routes.delta)
        return Received(
            KernelBatch(routes.delta, (*changes, *routes.changes)),
            len(at),
            done,
            interrupted,
            error,
            (*malformed, *routes.malformed),
        )


def _pairs_of_words(buffer: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return each word of a buffer with the one after it as the upper half."""
    return np.ndarray((max(0, len(buffer) // 4 - 1),), "<u8", buffer, strides=(4,))


def _messages(
    buffer: NDArray[np.uint8], starts: list[int], lengths: list[int]
) -> tuple[NDArray[np.int64], list[MalformedMessage]]:
    """Return where each message of the datagrams starts; a datagram is left at the first message that does not fit.

    Nearly every notification is a datagram with one message, and nearly every message of a dump is as long as the one
    before it.
    """
    words = buffer[: len(buffer) & ~3].view("<u4")
    start, size = np.array(starts, np.int64), np.array(lengths, np.int64)
    if len(size) and size.min() >= _HEADER_BYTES:
        first = words[start >> 2]
        left = size - first
        if left.min() >= 0 and left.max() < _HEADER_BYTES <= first.min():
            return start, []
    parts: list[NDArray[np.int64]] = []
    malformed: list[MalformedMessage] = []
    for at, end in zip(starts, (start + size).tolist(), strict=True):
        offsets, broken = _messages_of(words, at, end)
        parts.extend(offsets)
        malformed.extend(broken)
    return np.concatenate(parts) if parts else np.empty(0, np.int64), malformed


def _messages_of(
    words: NDArray[np.uint32], at: int, end: int
) -> tuple[list[NDArray[np.int64]], list[MalformedMessage]]:  # fmt: skip
    """Return where each message of the datagram from ``at`` to ``end`` starts, in parts."""
    parts: list[NDArray[np.int64]] = []
    single: list[int] = []
    number = words.data
    last, equal = 0, 0
    while at + _HEADER_BYTES <= end:
        length = number[at >> 2]
        if length < _HEADER_BYTES or at + length > end:
            broken = MalformedMessage(f"a message of {length} bytes in a datagram with {end - at} left")
            return [*parts, np.array(single, np.int64)], [broken]
        step = (length + 3) & ~3
        equal = equal + 1 if length == last else 0
        last = length
        if equal < _EQUAL_BEFORE_RUN:
            single.append(at)
            at += step
            continue
        same = words[at >> 2 : (end - length >> 2) + 1 : step >> 2] == length
        run = len(same) if same.all() else int(same.argmin())
        parts.extend((np.array(single, np.int64), np.arange(at, at + run * step, step)))
        at += run * step
        single, equal = [], 0
    return [*parts, np.array(single, np.int64)], []


def _broken_off(body: bytes) -> KernelError | None:
    """Parse the end of a dump: i32 error, 0 or (by some dumps) positive where all went well."""
    number = int.from_bytes(body[:4], "little", signed=True)
    return KernelError(-number, "the dump broke off") if number < 0 else None


def _error(flags: int, body: bytes) -> KernelError | None:
    """Parse struct nlmsgerr: i32 error, the offending nlmsghdr (whole unless NLM_F_CAPPED), extended attributes."""
    if len(body) < 20:
        return KernelError(0, "an error message without its request")
    number, length = struct.unpack_from("<iI", body)
    if number == 0:
        return None
    text = ""
    if flags & nl.NLM_F_ACK_TLVS:
        start = 4 + (16 if flags & nl.NLM_F_CAPPED else (length + 3) & ~3)
        try:
            text = attributes(body[start:]).get(nl.NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode("utf-8", "replace")
        except MalformedMessage:
            text = ""
    return KernelError(-number, text)
