"""pyroute2 decodes the same bytes: routes of all shapes, dumped from a real kernel, field by field.

Except RTA_NH_ID, which pyroute2 does not know: tests/unit/test_netlink_session.py has it.
"""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Any

import numpy as np
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from rtagent.transport.netlink import NetlinkSocket
from rtagent.vector.batch import Dump
from rtagent.vector.nexthops import Kind, NexthopGroups
from rtagent.vector.routes import TOS_LOCAL_TABLE
from rtagent.wire.netlink.requests import dump_request
from rtagent.wire.netlink.session import NetlinkSession
from tests.fuzz.grammar import Grammar
from tests.lab.lab import CommandFailed

Row = tuple[Any, ...]
TYPES = ("blackhole", "unreachable", "prohibit")


def raw_dump(netns: str, dump: Dump) -> list[bytes]:
    socket = NetlinkSocket(netns=netns)
    socket.send(dump_request(dump, 1))
    parts: list[bytes] = []
    while (datagrams := socket.receive()) is not None:
        for start, length in zip(datagrams.starts, datagrams.lengths, strict=True):
            parts.append(datagrams.buffer[start : start + length].tobytes())
    socket.close()
    return parts


def ours(parts: list[bytes]) -> list[Row]:
    groups = NexthopGroups()
    buffer = np.frombuffer(b"".join(part.ljust(32_768, b"\0") for part in parts), np.uint8)
    starts = [32_768 * n for n in range(len(parts))]
    received = NetlinkSession(groups).receive(buffer, starts, list(map(len, parts)), dump=True)
    assert received.malformed == ()
    assert received.done
    found = received.batch.routes.routes
    rows = []
    for at, key in enumerate(found.keys):
        group = groups[int(found.group[at])]
        ways = tuple(
            (str(ipaddress.ip_address(way.via)) if way.via else None, way.ifindex, way.weight, way.flags)
            for way in group.nexthops
        )
        encapsulated = bool(group.unsupported) or any(way.encap for way in group.nexthops)
        tos = int(found.tos[at])
        local = tos == TOS_LOCAL_TABLE
        rows.append((
            key.family, 255 if local else key.table, key.text, int(found.metric[at]), 0 if local else tos,
            int(found.protocol[at]), int(group.kind), ways, encapsulated,
        ))  # fmt: skip
    return rows


def theirs(parts: list[bytes]) -> list[Row]:
    marshal = MarshalRtnl()
    rows = []
    for part in parts:
        for message in marshal.parse(part):
            if message["header"]["type"] != 24:
                continue
            family, length = message["family"], message["dst_len"]
            prefix = f"{message.get('RTA_DST') or ('0.0.0.0' if family == 2 else '::')}/{length}"
            network = ipaddress.ip_network(prefix)
            link_local = family == 10 and network.subnet_of(ipaddress.ip_network("fe80::/10"))
            if link_local or network.subnet_of(ipaddress.ip_network("ff00::/8" if family == 10 else "255.0.0.0/32")):
                continue
            if message["src_len"]:
                continue
            has_ways = message["type"] in (1, 2, 3, 4, 5)
            several = message.get("RTA_MULTIPATH")
            ways = tuple(their_way(way, way["oif"], way["hops"] + 1, way["flags"]) for way in several or [])
            if not several and has_ways and message.get("RTA_OIF"):
                ways = (their_way(message, message.get("RTA_OIF"), 1, message["flags"]),)
            encapsulated = bool(message.get("RTA_ENCAP_TYPE")) or any(w.get("RTA_ENCAP_TYPE") for w in several or [])
            rows.append((
                family, message.get("RTA_TABLE"), str(network), message.get("RTA_PRIORITY") or 0, message["tos"],
                message["proto"], message["type"], ways if has_ways else (), encapsulated,
            ))  # fmt: skip
    return rows


def their_way(way: Any, oif: int, weight: int, flags: int) -> Row:
    via = way.get("RTA_VIA")
    gateway = way.get("RTA_GATEWAY") or (via["addr"] if via else None)
    return gateway, oif, weight, flags & 0x5


def test_every_shape_of_route_decodes_like_pyroute2(router):
    router.ip_batch([
        *(f"route add {kind} 192.0.{n + 8}.0/24" for n, kind in enumerate(TYPES)),
            *(f"route add {kind} 2001:db8:9{n}::/48" for n, kind in enumerate(TYPES)),
            "route add local 192.0.11.0/24 dev lo",
            "route add throw 192.0.12.0/24",
            "route add 192.0.2.0/25 encap ip id 1 dst 192.0.2.1 via 10.0.0.2",
        "route add 192.0.2.128/25 nexthop via 10.0.1.2 nexthop encap ip id 1 dst 192.0.2.1 via 10.0.0.2",
        "route add 2001:db8:aaaa::/48 encap seg6 mode encap segs 2001:db8::2 dev e0",
        "route add 192.0.3.0/24 via inet6 2001:db8::2 dev e0",
        "route add 192.0.4.0/24 nexthop via inet6 2001:db8::2 dev e0 nexthop via 10.0.1.2 weight 256",
        "route add 192.0.5.0/24 via 192.0.6.1 dev e0 onlink mtu 1400 advmss 1300 src 10.0.0.1",
        "route add 192.0.7.1/32 dev e1 scope link table 100000 metric 4294967295 proto 200",
        "route add 2001:db8:bbbb::1/128 from 2001:db8:cccc::/48 via 2001:db8::2",
        "route add 2001:db8:dddd::/64 via 2001:db8::2 expires 1000 pref high",
    ])  # fmt: skip
    for line in Grammar("pyroute2").sequence(60):
        if line.startswith(("router route", "router nexthop")):
            with contextlib.suppress(CommandFailed):
                router.ip(line.removeprefix("router "))
    router.ip("link set e2 down")
    for dump in (Dump.ROUTES_INET, Dump.ROUTES_INET6):
        parts = raw_dump(router.name, dump)
        expected = theirs(parts)
        assert len(expected) > 10
        assert {Kind(row[6]) for row in expected} >= {Kind.UNICAST, Kind.LOCAL, Kind.BLACKHOLE}
        assert ours(parts) == expected
