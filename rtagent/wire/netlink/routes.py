"""Route messages, decoded by shape.

A full table has a million messages and a handful of *shapes*: the same attributes of the same lengths, in one order.
Messages of one shape are gathered as a matrix of 32-bit words, its columns are the fields. What a route does (type,
gateway, multipath, encapsulation, …) is a run of bytes that is looked up in a dictionary and parsed once.

Which operation a message stands for is told by the flags that the kernel echoes (Linux 6.18, seen in captures):

=====================  ==================  ==============================================================
what happened          flags               source
=====================  ==================  ==============================================================
new                    CREATE | EXCL       net/ipv4/fib_trie.c fib_table_insert; net/ipv6/ip6_fib.c
replaced               REPLACE             both
appended               CREATE | APPEND     IPv4; IPv6 (ip6_route_multipath_add): with the full set
before an equal one    CREATE              IPv4; IPv6: a further nexthop or device, with the full set
=====================  ==================  ==============================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtagent.vector.batch import Change, Inet6Link, UnsupportedRoute
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS, TABLE_LOCAL, TABLE_MAIN, Key, Keys
from rtagent.vector.nexthops import Kind, NexthopGroups
from rtagent.vector.routes import EMPTY_DELTA, TOS_LOCAL_TABLE, Op, RouteDelta, RouteVector
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.netlink import constants as nl
from rtagent.wire.netlink.attributes import attribute_spans
from rtagent.wire.netlink.known_rows import UNKNOWN, KnownRows
from rtagent.wire.netlink.nexthops import nexthop_group

Words = NDArray[np.uint32]
Positions = NDArray[np.int64]

_HEADER_BYTES = 28
"""nlmsghdr (16) and rtmsg (12)."""
_FAMILY_WORD, _TABLE_WORD, _FLAGS_WORD = 4, 5, 6
_FLAGS_BYTE = 7
"""Of nlmsghdr: the upper half of its flags, in which NLM_F_REPLACE to NLM_F_APPEND are."""
_LENGTH_BYTE, _SOURCE_BYTE, _TOS_BYTE, _PROTOCOL_BYTE, _KIND_BYTE = 17, 18, 19, 21, 23
"""Of rtmsg: rtm_dst_len, rtm_src_len, rtm_tos, rtm_protocol, rtm_type (linux/rtnetlink.h)."""
_DST_BYTES = {AF_INET: 4, AF_INET6: 16, AF_MPLS: 4}
_NEXTHOP_ATTRIBUTES = {
    nl.RTA_OIF, nl.RTA_GATEWAY, nl.RTA_VIA, nl.RTA_MULTIPATH, nl.RTA_NEWDST, nl.RTA_ENCAP_TYPE, nl.RTA_ENCAP,
    nl.RTA_NH_ID,
}  # fmt: skip
_NEXTHOP_WORDS = {_TABLE_WORD: 0xFF000000, _FLAGS_WORD: 0x5}
"""What says what a route does besides the attributes, and which bits of it: its type and its flags, a word each."""
_MOST_BITS = {AF_INET: 32, AF_INET6: 128, AF_MPLS: 20}
_CHANGE_SHIFT, _CHANGE_MASK = 8, 0xF


def _operation(flags: int, family: int) -> Op:
    """Return what a RTM_NEWROUTE with these flags does."""
    if family == AF_MPLS:  # a label has one route; net/mpls/af_mpls.c knows no flag but REPLACE
        return Op.SET
    if flags & nl.NLM_F_EXCL:
        return Op.SET
    if flags & nl.NLM_F_REPLACE:
        return Op.REPLACE
    return Op.APPEND if flags & nl.NLM_F_APPEND or family == AF_INET6 else Op.PREPEND


_OPERATIONS = {
    family: np.array([_operation(bits << _CHANGE_SHIFT, family) for bits in range(_CHANGE_MASK + 1)], np.uint8)
    for family in _DST_BYTES
}
"""By those four flags."""
_KNOWN_KINDS = np.zeros(256, bool)
_KNOWN_KINDS[list(Kind)] = True


@dataclass
class _Shape:
    """Where the fields of one shape of message are: word columns, and the cache of its nexthop bytes."""

    family: int
    marks: NDArray[np.intp]
    """Columns by which the shape is known: the family, and the headers of the attributes."""
    mark_bits: Words
    marked: Words
    """What those bits of them are."""
    spans: dict[int, tuple[int, int]]
    nexthop_columns: NDArray[np.intp]
    """Columns that say what a route does, and ..."""
    nexthop_bits: Words
    """... which bits of them do."""
    groups: KnownRows
    """The group that each run of nexthop bytes stands for."""

    def alike(self, rows: Words) -> NDArray[np.bool_]:
        """Return whether each word by which the shape is known is as it should be (bool[rows, marks])."""
        alike: NDArray[np.bool_] = (rows[:, self.marks] & self.mark_bits) == self.marked
        return alike

    def column(self, attribute: int) -> int | None:
        """Return the first word of an attribute's value, None where the shape lacks it."""
        span = self.spans.get(attribute)
        return None if span is None else span[0] // 4


class DecodedRoutes(NamedTuple):
    """Routes in the order of their messages, and what could not be one."""

    delta: RouteDelta
    changes: list[Change]
    malformed: list[MalformedMessage]


class RouteDecoder:
    """Decodes batches of RTM_NEWROUTE and RTM_DELROUTE; keeps what it learned about shapes and nexthops."""

    def __init__(self, groups: NexthopGroups) -> None:
        self._groups = groups
        self._shapes: dict[bytes, _Shape] = {}
        self._last: dict[int, _Shape] = {}
        """The shape that a message of a length had last: the next one has it, too, nearly always."""

    def forget(self) -> None:
        """Drop the cache: group ids that it knows may have been freed."""
        self._shapes.clear()
        self._last.clear()

    def decode(
        self, buffer: NDArray[np.uint8], offsets: Positions, lengths_types: NDArray[np.uint64], *, dump: bool
    ) -> DecodedRoutes:
        """Decode the messages at ``offsets`` (multiples of 4, within the buffer, lengths checked).

        ``lengths_types`` are their lengths, and from bit 32 on their types.
        """
        parts: list[tuple[Positions, RouteVector, NDArray[np.uint8]]] = []
        changes: list[tuple[int, Change]] = []
        malformed: list[MalformedMessage] = []
        alike = (lengths_types == lengths_types[:1]).all()
        for kind in (lengths_types[:1] if alike else np.unique(lengths_types)).tolist():
            length, message_type = kind & 0xFFFFFFFF, kind >> 32
            which = np.flatnonzero(lengths_types == kind)
            matrix = _gather(buffer, offsets[which], length)
            if matrix is None:
                malformed.append(MalformedMessage(f"route message of {length} bytes"))
                continue
            shape = self._last.get(length)
            while len(which):
                if shape is None or not (marks := shape.alike(matrix))[0].all():
                    try:
                        shape = self._last[length] = self._shape_of(matrix[0])
                    except MalformedMessage as error:
                        malformed.append(error)
                        which, matrix = which[1:], matrix[1:]
                    continue
                if marks.all():
                    self._decode_shape(shape, matrix, which, message_type, dump, parts, changes, malformed)
                    break
                its = marks.all(1)
                self._decode_shape(shape, matrix[its], which[its], message_type, dump, parts, changes, malformed)
                which, matrix, shape = which[~its], matrix[~its], None
        changes.sort(key=lambda told: told[0])
        return DecodedRoutes(_in_order(parts), [change for _, change in changes], malformed)

    def _shape_of(self, row: Words) -> _Shape:
        data = row.tobytes()
        length, family = int(row[0]), int(row[_FAMILY_WORD]) & 0xFF
        spans = attribute_spans(data[_HEADER_BYTES:length])
        headers = [(_HEADER_BYTES + start - 4) // 4 for _, start, _ in spans]
        signature = bytes([family]) + row[headers].tobytes() + length.to_bytes(4, "little")
        shape = self._shapes.get(signature)
        if shape is None:
            by_type = {kind: (_HEADER_BYTES + start, _HEADER_BYTES + end) for kind, start, end in spans}
            if nl.RTA_DST in by_type and family in _DST_BYTES:
                start, end = by_type[nl.RTA_DST]
                if end - start != _DST_BYTES[family]:
                    raise MalformedMessage(f"RTA_DST of {end - start} bytes in family {family}")
            for kind in (nl.RTA_TABLE, nl.RTA_PRIORITY):
                if kind in by_type and by_type[kind][1] - by_type[kind][0] != 4:
                    raise MalformedMessage(f"attribute {kind} is not 4 bytes long")
            columns = [
                column
                for kind, (start, end) in by_type.items()
                if kind in _NEXTHOP_ATTRIBUTES or (kind == nl.RTA_PREFSRC and family == AF_INET)
                for column in range(start // 4, (end + 3) // 4)
            ]
            marks = np.array([_FAMILY_WORD, *headers], np.intp)
            mark_bits = np.array([0xFF, *[0xFFFFFFFF] * len(headers)], np.uint32)
            bits = np.array([*_NEXTHOP_WORDS.values(), *[0xFFFFFFFF] * len(columns)], np.uint32)
            shape = self._shapes[signature] = _Shape(
                family, marks, mark_bits, row[marks] & mark_bits, by_type,
                np.array([*_NEXTHOP_WORDS, *columns], np.intp), bits, KnownRows(len(bits)),
            )  # fmt: skip
        return shape

    def _decode_shape(
        self,
        shape: _Shape,
        rows: Words,
        at: NDArray[np.intp],
        message_type: int,
        dump: bool,
        parts: list[tuple[Positions, RouteVector, NDArray[np.uint8]]],
        changes: list[tuple[int, Change]],
        malformed: list[MalformedMessage],
    ) -> None:
        """Decode messages of one shape, which are those at ``at`` of the batch."""
        if shape.family not in _DST_BYTES:
            return  # RTNL_FAMILY_IPMR and its like: multicast caches are no routes of ours
        octets = np.ascontiguousarray(rows).view(np.uint8)
        length, tos, kind = octets[:, _LENGTH_BYTE], octets[:, _TOS_BYTE], octets[:, _KIND_BYTE]
        table_column = shape.column(nl.RTA_TABLE)
        table = rows[:, table_column] if table_column is not None else rows[:, _TABLE_WORD] & 0xFF
        hi, lo = _destination(shape, rows)

        kept = _KNOWN_KINDS[kind]
        kept &= (rows[:, _FLAGS_WORD] & nl.RTM_F_CLONED) == 0
        if shape.family == AF_INET6:
            kept &= ~(((hi >> np.uint64(54)) == 0xFE80 >> 6) & (length >= 10))
            multicast = (hi >> np.uint64(56)) == 0xFF
            kept &= ~(multicast & (length >= 8))
            if not dump:
                told = multicast & (length == 8)
                changes.extend(zip(at[told].tolist(), _inet6_links(shape, rows[told], message_type), strict=False))
        if shape.family == AF_MPLS:
            table = np.zeros_like(table)
            length = np.full_like(length, 20)
        elif (of_local_table := table == TABLE_LOCAL).any():
            table = np.where(of_local_table, np.uint32(TABLE_MAIN), table)
            tos = np.where(of_local_table & (tos == 0), np.uint8(TOS_LOCAL_TABLE), tos)
        too_long = length > _MOST_BITS[shape.family]
        if too_long.any():
            malformed.extend(MalformedMessage("a prefix longer than its address") for _ in range(int(too_long.sum())))
            kept &= ~too_long
        meta = table.astype(np.uint64)
        meta <<= np.uint64(16)
        meta |= length
        meta |= np.uint64(shape.family << 8)
        keys = Keys(hi, lo, meta)
        if octets[:, _SOURCE_BYTE].any():
            sourced = kept & (octets[:, _SOURCE_BYTE] > 0)
            for row in np.flatnonzero(sourced).tolist():
                changes.append((int(at[row]), _source_specific(keys.row(row), shape, rows[row], message_type)))
            kept &= ~sourced
        group = self._group_ids(shape, rows, kept, malformed)
        kept = group >= 0
        metric_column = shape.column(nl.RTA_PRIORITY)
        metric = rows[:, metric_column].copy() if metric_column is not None else np.zeros(len(rows), np.uint32)
        routes = RouteVector(keys, metric, tos.copy(), octets[:, _PROTOCOL_BYTE].copy(), group)
        operation = _operations(octets[:, _FLAGS_BYTE], message_type, shape.family, dump)
        if kept.all():
            parts.append((at, routes, operation))
        elif kept.any():
            parts.append((at[kept], routes.take(kept), operation[kept]))

    def _group_ids(
        self, shape: _Shape, rows: Words, kept: NDArray[np.bool_], malformed: list[MalformedMessage]
    ) -> NDArray[np.int32]:
        """Return the group id of each kept row, -1 where its nexthops are malformed or it is not kept."""
        relevant = rows[:, shape.nexthop_columns] & shape.nexthop_bits
        ids = shape.groups.find(relevant)
        for row in np.flatnonzero((ids == UNKNOWN) & kept).tolist():
            known = shape.groups.get(relevant[row])
            if known == UNKNOWN:
                data = rows[row].tobytes()
                values = {kind: data[start:end] for kind, (start, end) in shape.spans.items()}
                try:
                    kind = Kind(int(relevant[row, 0]) >> 24)
                    group = nexthop_group(kind, int(relevant[row, 1]), values)
                    if shape.family == AF_INET:
                        group = group._replace(source=values.get(nl.RTA_PREFSRC, b""))
                    known = self._groups.intern(group)
                except MalformedMessage as error:
                    malformed.append(error)
                    continue
                shape.groups.add(relevant[row], known)
            ids[row] = known
        ids[~kept] = -1
        return ids


def _gather(buffer: NDArray[np.uint8], offsets: Positions, length: int) -> Words | None:
    """Return the messages as rows of 32-bit words (the last one padded with what follows), None where impossible."""
    size = (length + 3) & ~3
    if length < _HEADER_BYTES or int(offsets.max()) + size > len(buffer):
        return None
    windows: NDArray[np.void] = np.ndarray((len(buffer) - size + 1,), np.dtype(f"V{size}"), buffer=buffer, strides=(1,))
    return windows[offsets].view("<u4").reshape(len(offsets), size // 4)


def _destination(shape: _Shape, rows: Words) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the left-aligned address bits (or label) of each row."""
    zeros = np.zeros(len(rows), np.uint64)
    column = shape.column(nl.RTA_DST)
    if column is None:
        return zeros, zeros
    numbers = rows[:, column : column + _DST_BYTES[shape.family] // 4].byteswap().astype(np.uint64)
    shift = np.uint64(32)
    if shape.family == AF_INET6:
        return numbers[:, 0] << shift | numbers[:, 1], numbers[:, 2] << shift | numbers[:, 3]
    if shape.family == AF_MPLS:
        return (numbers[:, 0] >> np.uint64(12)) << np.uint64(44), zeros
    return numbers[:, 0] << shift, zeros


def _operations(flags: NDArray[np.uint8], message_type: int, family: int, dump: bool) -> NDArray[np.uint8]:
    if message_type == nl.RTM_DELROUTE:
        return np.full(len(flags), Op.REMOVE, np.uint8)
    if dump:
        return np.full(len(flags), Op.SEEN, np.uint8)
    operations: NDArray[np.uint8] = _OPERATIONS[family][flags & _CHANGE_MASK]
    return operations


def _inet6_links(shape: _Shape, rows: Words, message_type: int) -> list[Change]:
    column = shape.column(nl.RTA_OIF)
    if column is None:
        return []
    return [Change(Inet6Link(number), message_type == nl.RTM_DELROUTE) for number in rows[:, column].tolist()]


def _source_specific(key: Key, shape: _Shape, row: Words, message_type: int) -> Change:
    data = row.tobytes()
    start, end = shape.spans.get(nl.RTA_SRC, (0, 0))
    length = int(row[_FAMILY_WORD] >> 16) & 0xFF
    metric_column = shape.column(nl.RTA_PRIORITY)
    metric = int(row[metric_column]) if metric_column is not None else 0
    source = Key(key.table, key.family, int.from_bytes(data[start:end].ljust(16, b"\0"), "big"), length)
    identity = f"from {source.text} metric {metric}"
    route = UnsupportedRoute(key.family, key.table, key.text, identity, "source-specific routes have no counterpart")
    return Change(route, gone=message_type == nl.RTM_DELROUTE)


def _in_order(parts: list[tuple[Positions, RouteVector, NDArray[np.uint8]]]) -> RouteDelta:
    if not parts:
        return EMPTY_DELTA
    if len(parts) == 1:
        return RouteDelta(parts[0][1], parts[0][2])
    order = np.argsort(np.concatenate([at for at, _, _ in parts]), kind="stable")
    routes = RouteVector.concat([routes for _, routes, _ in parts]).take(order)
    return RouteDelta(routes, np.concatenate([operation for _, _, operation in parts])[order])
