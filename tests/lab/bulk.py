"""Many kernel routes at once: a million take about two seconds, where ``ip -batch`` takes ten."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing

from rtagent.transport.netlink import NetlinkSocket
from rtagent.vector.keys import AF_INET, AF_INET6, Key
from tests.lab.lab import Namespace

_CHUNK_BYTES = 30_000
_NEWROUTE, _NEWNEIGH, _REQUEST_CREATE_EXCL = 24, 28, 0x1 | 0x200 | 0x400
_REQUEST_CREATE_REPLACE = 0x1 | 0x100 | 0x400
_PERMANENT = 0x80
_ADDRESS_BYTES = {AF_INET: 4, AF_INET6: 16}


def prefixes4(count: int) -> list[Key]:
    """Return different IPv4 prefixes as a full table has them: mostly /24, spread from 11.0.0.0 to 223.255.255.255."""
    lengths = [24, 24, 24, 23, 22, 24, 20, 24]

    def prefix(number: int) -> Key:
        length = lengths[number % 8]
        address = 0x0B000000 + (number * 0x9E3779B1 & 0xFFFFFFFF) % 0xD5000000
        return Key(254, AF_INET, address >> 32 - length << 32 - length << 96, length)

    return _different(filter(lambda key: key.bits >> 120 != 127, map(prefix, itertools.count())), count)


def prefixes_of_vppctl(count: int) -> list[Key]:
    """Return the prefixes of ``vppctl ip route add 1.0.0.0/24 count N``, in its order."""
    return [Key(254, AF_INET, (0x01000000 + (number << 8)) << 96, 24) for number in range(count)]


def prefixes6(count: int) -> list[Key]:
    """Return different IPv6 prefixes of 2000::/3: /32, as they are allocated, and parts of each, mostly /48."""
    lengths = [32, 48, 48, 44, 48, 40, 48, 36]

    def prefix(number: int) -> Key:
        length, allocation = lengths[number % 8], number // 8
        upper = 0x2000 << 16 | allocation * 0x9E3779B1 & 0x1FFFFFFF
        lower = number * 0x9E3779B97F4A7C15 >> 16 & 0xFFFFFFFF
        address = upper << 96 | lower << 64
        return Key(254, AF_INET6, address >> 128 - length << 128 - length, length)

    return _different(map(prefix, itertools.count()), count)


def _different(keys: Iterator[Key], count: int) -> list[Key]:
    found: dict[Key, None] = {}
    while len(found) < count:
        found[next(keys)] = None
    return list(found)


def add_routes(namespace: Namespace, keys: Iterable[Key], gateways: list[bytes], ifindex: int) -> None:
    """Add routes to these prefixes, each through one of the gateways in turn."""
    send(namespace.name, route_requests(keys, gateways, ifindex))


def send(netns: str, requests: Iterable[bytes]) -> None:
    """Have the kernel take requests; it answers none that it accepts."""
    with closing(NetlinkSocket(netns=netns, slots=1)) as netlink:
        for request in requests:
            netlink.send(request)


def route_requests(
    keys: Iterable[Key], gateways: list[bytes], ifindex: int, *, replace: bool = False
) -> Iterator[bytes]:  # fmt: skip
    """Yield requests for routes to these prefixes, hundreds each, through one of the gateways after the other."""
    way = struct.pack("<HHI", 8, 4, ifindex)
    flags = _REQUEST_CREATE_REPLACE if replace else _REQUEST_CREATE_EXCL
    yield from _chunked(
        _newroute(
            key, struct.pack("<HH", 4 + _ADDRESS_BYTES[key.family], 5) + gateways[number % len(gateways)] + way, flags
        )
        for number, key in enumerate(keys)
    )


def route_requests_through(keys: Iterable[Key], nhid: int) -> Iterator[bytes]:
    """Yield requests for routes to these prefixes through a nexthop object."""
    yield from _chunked(_newroute(key, struct.pack("<HHI", 8, 30, nhid), _REQUEST_CREATE_EXCL) for key in keys)


def _newroute(key: Key, attributes: bytes, flags: int) -> bytes:
    size = _ADDRESS_BYTES[key.family]
    body = struct.pack("<BBBBBBBBI", key.family, key.length, 0, 0, 254, 12, 0, 1, 0)
    body += struct.pack("<HH", 4 + size, 1) + key.bits.to_bytes(16, "big")[:size] + attributes
    return struct.pack("<IHHII", 16 + len(body), _NEWROUTE, flags, 0, 0) + body


def _chunked(messages: Iterable[bytes]) -> Iterator[bytes]:
    chunk = bytearray()
    for message in messages:
        chunk += message
        if len(chunk) > _CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def gateways(family: int, count: int) -> list[bytes]:
    """Return ``count`` addresses of 10.0.0.0/16 or 2001:db8::/64, from the second host on."""
    first = (
        socket.inet_pton(socket.AF_INET, "10.0.0.2")
        if family == AF_INET
        else socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    )
    number = int.from_bytes(first, "big")
    return [(number + n).to_bytes(len(first), "big") for n in range(count)]


def add_neighbors(namespace: Namespace, count: int, ifindex: int) -> None:
    """Add permanent neighbours on one link, 10.0.0.2 and so on: the kernel's limits do not count these."""

    def message(number: int, address: bytes) -> bytes:
        body = struct.pack("<BxxxiHBB", AF_INET, ifindex, _PERMANENT, 0, 0)
        body += struct.pack("<HH", 8, 1) + address
        body += struct.pack("<HH6sxx", 10, 2, b"\2\0" + number.to_bytes(4, "big"))
        return struct.pack("<IHHII", 16 + len(body), _NEWNEIGH, _REQUEST_CREATE_EXCL, 0, 0) + body

    send(namespace.name, _chunked(message(*row) for row in enumerate(gateways(AF_INET, count))))
