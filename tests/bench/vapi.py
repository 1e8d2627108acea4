"""VPP's API: what encoding a route costs beside vpp_papi, and how much of what VPP takes over its socket we use.

Each function returns figures by stable names; which of them must reach what is the runner's to know.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import numpy as np
from numpy.typing import NDArray

from rtagent.core.sink import Plan
from rtagent.sinks.vpp import VppFib
from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibPath
from rtagent.vector.keys import AF_INET, TABLE_MAIN, Keys
from rtagent.wire.vapi.definitions import MessageTable, hello
from rtagent.wire.vapi.framing import FRAME_BYTES
from rtagent.wire.vapi.paths import PathLists
from rtagent.wire.vapi.routes import encode_routes
from tests.fakes.vapi import TABLE, messages, papi_route
from tests.lab.lab import Lab
from tests.lab.vpp import Vpp

_REPLY_BYTES = FRAME_BYTES + 14
_NEXTHOPS = 200
_REST_S = 0.002
_SO_SNDBUFFORCE, _SEND_BUFFER_BYTES = 32, 4 << 20


def vapi_encode(routes: int = 1_000_000, oracle_routes: int = 5_000) -> dict[str, float]:
    """Return microseconds a route for our encoder and for vpp_papi's, and the ratio."""
    entries = FibEntries()
    plan = route_plan(routes, entries, interface=1, in_vpp=True)
    paths = PathLists(entries)
    ours = min(_seconds_to_encode(plan, paths) for _ in range(3)) / routes
    packer = messages()
    rows = np.arange(oracle_routes)
    keys, entry = list(plan.keys.take(rows)), [entries[number] for number in plan.entry[rows].tolist()]
    started = time.perf_counter()
    for context, (key, each) in enumerate(zip(keys, entry, strict=True)):
        packer.pack("ip_route_add_del_v2", context, is_add=True, route=papi_route(key, each, source=24))
    papi = (time.perf_counter() - started) / oracle_routes
    return {"us_per_route": ours * 1e6, "vpp_papi_us_per_route": papi * 1e6, "ratio": papi / ours}


def vapi_apply(routes: int = 1_000_000, rounds: int = 2) -> dict[str, float]:
    """Return routes a second into stock VPP: ours at first and at best, and the same messages from prepared buffers.

    Those are sent in two ways, with and without a rest between two looks for answers; the ratio is to the faster one.
    """
    with Lab() as lab:
        router, peer = lab.namespace("router"), lab.namespace("peer")
        lab.veth(router, "e0", peer, "e0")
        vpp = Vpp(lab, router, heap="3G", busy=True)
        vpp.start()
        vpp.port("e0")
        return asyncio.run(_vapi_apply(vpp.api, routes, rounds))


def prepared_routes_per_s(path: str, interface: int, source: int, routes: int) -> float:
    """Routes a second that VPP takes from buffers that lie ready: what its API is good for."""
    entries = FibEntries()
    plan = route_plan(routes, entries, interface, in_vpp=True)
    return routes / _prepared(path, plan, PathLists(entries), source)


async def _vapi_apply(path: str, routes: int, rounds: int) -> dict[str, float]:
    entries = FibEntries()
    fib = VppFib(entries, path)
    await fib.connect()
    plan = route_plan(routes, entries, fib.ports["host-e0"].interface)
    removal = Plan(plan.keys, np.full(routes, NO_ENTRY, np.int32))
    ours: list[float] = []
    prepared: list[float] = []
    prepared_rested: list[float] = []
    read_rate = 0.0
    for _ in range(rounds + 1):
        ours.append(routes / await timed_apply(fib, plan))
        if not read_rate:
            started = time.perf_counter()
            rows = [len(batch) async for batch in fib.read()]
            read_rate = sum(rows) / (time.perf_counter() - started)
        await timed_apply(fib, removal)
        in_vpp = route_plan(routes, entries, fib.ports["host-e0"].interface, in_vpp=True)
        for rates, rest_s in ((prepared, 0.0), (prepared_rested, _REST_S)):
            seconds = await asyncio.to_thread(_prepared, path, in_vpp, PathLists(entries), fib.own_source, rest_s)
            rates.append(routes / seconds)
            await timed_apply(fib, removal)
    await fib.close()
    return {
        "first_routes_per_s": ours[0],
        "routes_per_s": max(ours[1:]),
        "prepared_routes_per_s": max(prepared[1:]),
        "prepared_rested_routes_per_s": max(prepared_rested[1:]),
        "ratio": max(ours[1:]) / max(*prepared[1:], *prepared_rested[1:]),
        "read_rows_per_s": read_rate,
    }


def route_plan(routes: int, entries: FibEntries, interface: int, *, in_vpp: bool = False) -> Plan:
    """Return distinct /28 prefixes over some next hops."""
    addresses = (np.arange(routes, dtype=np.uint64) << np.uint64(4)) + np.uint64(0x0B000000)
    table = 0 if in_vpp else TABLE_MAIN
    meta = np.full(routes, table << 16 | AF_INET << 8 | 28, np.uint64)
    ids = [
        entries.intern(FibEntry(FibKind.UNICAST, (FibPath(bytes((10, 0, number >> 8, number & 0xFF)), interface),)))
        for number in range(2, _NEXTHOPS + 2)
    ]
    entry = np.array(ids, np.int32)[np.random.default_rng(1).integers(0, len(ids), routes)]
    return Plan(Keys(addresses << np.uint64(32), np.zeros(routes, np.uint64), meta), entry)


def _seconds_to_encode(plan: Plan, paths: PathLists, slice_rows: int = 16_384) -> float:
    started = time.perf_counter()
    for start in range(0, len(plan), slice_rows):
        rows = np.arange(start, min(start + slice_rows, len(plan)))
        _encode(plan.keys.take(rows), plan.entry[rows], paths, source=24, client_index=7)
    return time.perf_counter() - started


def _encode(
    keys: Keys, entry: NDArray[np.int32], paths: PathLists, *, source: int, client_index: int,
    message_id: int = TABLE.numbers["ip_route_add_del_v2"],
) -> NDArray[np.uint8]:  # fmt: skip
    return encode_routes(
        keys, entry, paths, 0, message_id=message_id, client_index=client_index, source=source
    )  # fmt: skip


async def timed_apply(fib: VppFib, plan: Plan) -> float:
    started = time.perf_counter()
    retval = await fib.apply(plan)
    assert not retval.any(), np.unique(retval)
    return time.perf_counter() - started


def _prepared(path: str, plan: Plan, paths: PathLists, source: int, rest_s: float = 0.0) -> float:
    """Return the seconds that VPP takes for messages that lie ready: one thread writes, another counts the answers.

    ``rest_s`` lies between two looks for answers. Whoever looks all the time is woken by each, which VPP pays for.
    """
    with socket.socket(socket.AF_UNIX) as peer:
        peer.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER_BYTES)
        peer.connect(path)
        peer.sendall(hello("bench", 0))
        table = MessageTable(_exactly(peer, int.from_bytes(_exactly(peer, FRAME_BYTES)[8:12], "big")))
        buffer = _encode(
            plan.keys, plan.entry, paths, source=source, client_index=table.client_index,
            message_id=table.numbers["ip_route_add_del_v2"],
        )  # fmt: skip
        started = time.perf_counter()
        writer = threading.Thread(target=peer.sendall, args=(buffer.data,))
        writer.start()
        left = len(plan) * _REPLY_BYTES
        while left:
            if rest_s:
                time.sleep(rest_s)
            left -= len(peer.recv(1 << 20))
        writer.join()
        return time.perf_counter() - started


def _exactly(peer: socket.socket, size: int) -> bytes:
    return peer.recv(size, socket.MSG_WAITALL)
