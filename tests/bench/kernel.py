"""The kernel's side: decoding dumps, the first synchronisation, and what a full table costs in memory."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time

import numpy as np
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from rtagent.transport.netlink import NetlinkSocket
from rtagent.vector.batch import Dump
from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.nexthops import NexthopGroups
from rtagent.wire.netlink.requests import dump_request
from rtagent.wire.netlink.session import NetlinkSession
from tests.kernel.mirror import Mirror
from tests.lab.bulk import add_routes, gateways, prefixes4, prefixes6
from tests.lab.lab import Lab, Namespace
from tests.lab.memory import memory

_GROUPS = 200
_PEER_ROUTES = 20_000
_TIMEOUT_S = 600
_RECEIVE_BUFFER_BYTES = 512 * 1024 * 1024


def netlink_decode(routes: int = 1_000_000) -> dict[str, float]:
    """Decode a dump of a full table, and a part of it by pyroute2."""
    with Lab() as lab:
        router = _router(lab, routes, 0)
        netlink = NetlinkSocket(netns=router.name, slots=24)
        session = NetlinkSession(NexthopGroups())
        sample: list[bytes] = []
        ours_s, count, done = 0.0, 0, False
        netlink.send(dump_request(Dump.ROUTES_INET, 1))
        while not done:
            datagrams = netlink.receive()
            assert datagrams is not None
            if len(sample) < 2:
                first, length = datagrams.starts[0], datagrams.lengths[0]
                sample.append(datagrams.buffer[first : first + length].tobytes())
            started = time.perf_counter()
            received = session.receive(datagrams.buffer, datagrams.starts, datagrams.lengths, dump=True)
            ours_s += time.perf_counter() - started
            count += len(received.batch.routes)
            done = received.done
        netlink.close()
    ours_us, theirs_us = ours_s / count * 1e6, _pyroute2_us(sample[-1])
    return {"routes": count, "us_per_route": ours_us, "pyroute2_us_per_route": theirs_us, "ratio": theirs_us / ours_us}


def first_sync_memory(routes: int = 1_000_000) -> dict[str, float]:
    """Follow a namespace that holds a full table, from nothing to a memory FIB that holds it, too."""
    with Lab() as lab:
        router = _router(lab, routes, 0)
        started = time.perf_counter()
        with Mirror(router.name, remember_writes=False) as mirror:
            elapsed_s = time.perf_counter() - started
            rows = mirror.reconciler.writes
    return {"routes": rows, "seconds": elapsed_s, "routes_per_s": rows / elapsed_s}


def follow_memory(routes: int = 300_000) -> dict[str, float]:
    """Take as many notifications, one datagram each, into a memory FIB that was in sync before."""
    with Lab() as lab:
        router = _router(lab, 0, 0)
        with Mirror(router.name, remember_writes=False, receive_buffer_bytes=_RECEIVE_BUFFER_BYTES) as mirror:
            before = mirror.reconciler.writes
            add_routes(router, prefixes4(routes), gateways(AF_INET, _GROUPS), _ifindex(router))
            started = time.perf_counter()
            mirror.settle()
            elapsed_s = time.perf_counter() - started
            assert mirror.source.overflows == 0
            rows = mirror.reconciler.writes - before
    return {"routes": rows, "seconds": elapsed_s, "routes_per_s": rows / elapsed_s}


def resident_memory(inet: int = 1_000_000, inet6: int = 250_000) -> dict[str, float]:
    """Measure a process of its own that holds a full table of both families, with the memory FIB in it."""
    with Lab() as lab:
        router = _router(lab, inet, inet6)
        command = [sys.executable, "-m", "tests.bench.kernel", router.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return measured


def _router(lab: Lab, inet: int, inet6: int) -> Namespace:
    router = lab.namespace("router")
    router.sysctl("net.ipv6.conf.default.accept_dad", 0)
    router.sysctl("net.ipv6.route.max_size", 2**31 - 1)
    lab.veth(router, "e0", lab.namespace("peer"), "p0")
    router.ip_batch(["addr add 10.0.0.1/16 dev e0", "addr add 2001:db8::1/64 dev e0 nodad"])
    for family, keys in ((AF_INET, prefixes4(inet)), (AF_INET6, prefixes6(inet6))):
        add_routes(router, keys, gateways(family, _GROUPS), _ifindex(router))
    return router


def _ifindex(router: Namespace) -> int:
    return int(router.ip_json("link show e0")[0]["ifindex"])


def _pyroute2_us(dump: bytes) -> float:
    marshal = MarshalRtnl()
    count, started = 0, time.perf_counter()
    while count < _PEER_ROUTES:
        for message in marshal.parse(dump):
            assert message["family"] == AF_INET
            count += 1
    return (time.perf_counter() - started) / count * 1e6


def _resident(netns: str) -> dict[str, float]:
    """Follow a namespace in this process and return what it takes, and took at most, in MB."""
    with Mirror(netns, remember_writes=False) as mirror:
        mirror.settle()
        gc.collect()
        taken = memory()
        rows = int(np.count_nonzero(mirror.ledger.installed[: mirror.store.rib.table.size] >= 0))
    return {"routes": rows, "rss_mb": taken.resident, "peak_mb": taken.peak}


if __name__ == "__main__":
    print(json.dumps(_resident(sys.argv[1])))
