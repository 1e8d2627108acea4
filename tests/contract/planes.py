"""The data planes that the contract is checked on, each behind one face: memory, a fake VPP, the real one."""

from __future__ import annotations

import asyncio
import re
from typing import Protocol

from rtagent.core.sink import FibSink
from rtagent.sinks.memory import MemoryFib
from rtagent.sinks.vpp import VppFib
from rtagent.vector.fib import FibEntries, FibEntry, FibKind, FibPath
from rtagent.vector.keys import AF_INET6, TABLE_MAIN, Key
from rtagent.vector.ports import Port
from rtagent.wire.vapi.paths import encode_paths
from tests.fakes.vapi import CLI, FakeVpp
from tests.lab.lab import Lab
from tests.lab.plugin import NAME, built, counters
from tests.lab.vpp import Vpp

_PUNTING = ("linux_cp", "tap", "policer")
"""Plugins of VPP that hand packets to the host, and limit them."""
GATEWAY = bytes((10, 0, 0, 9))


class Plane(Protocol):
    """A data plane with ports host-e0 and host-e1, 10.0.0.1/24 on the first."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def sink(self, entries: FibEntries) -> FibSink:
        """Return a sink that is not connected yet."""

    async def add_foreign(self, key: Key) -> None:
        """Do what an operator does: a static route via GATEWAY out of host-e0."""

    async def remove_foreign(self, key: Key) -> None: ...


class MemoryPlane:
    def __init__(self) -> None:
        self._fib: MemoryFib

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def sink(self, entries: FibEntries) -> FibSink:
        self._fib = MemoryFib(entries)
        self._fib.set_ports({name: Port(name, number) for number, name in enumerate(("host-e0", "host-e1"), 1)})
        return self._fib

    async def add_foreign(self, key: Key) -> None:
        self._fib.add_foreign(key, FibEntry(FibKind.UNICAST, (FibPath(GATEWAY, 1),)), 9)

    async def remove_foreign(self, key: Key) -> None:
        self._fib.remove_foreign(key)


class FakePlane:
    def __init__(self, path: str) -> None:
        self.fake = FakeVpp(path, punts=True)

    async def start(self) -> None:
        await self.fake.start()

    async def stop(self) -> None:
        await self.fake.stop()

    def sink(self, entries: FibEntries) -> FibSink:
        return VppFib(entries, self.fake.path)

    async def add_foreign(self, key: Key) -> None:
        paths = encode_paths(FibEntry(FibKind.UNICAST, (FibPath(GATEWAY, 1),)), key.family)
        self.fake.routes.setdefault(_fake_key(key), {})[CLI] = paths

    async def remove_foreign(self, key: Key) -> None:
        held = self.fake.routes[_fake_key(key)]
        del held[CLI]
        if not held:
            del self.fake.routes[_fake_key(key)]

    async def route_requests(self) -> int:
        """How many requests to write a route have come since the start."""
        return self.fake.route_requests


class VppPlane:
    def __init__(self, lab: Lab, *, plugin: bool = False, workers: int = 0) -> None:
        router, peer = lab.namespace("router"), lab.namespace("peer")
        for number in (0, 1):
            lab.veth(router, f"e{number}", peer, f"e{number}")
        self._plugin = plugin
        extra, path = ((NAME,), built()) if plugin else ((), None)
        self.vpp = Vpp(lab, router, plugins=(*_PUNTING, *extra), plugin_path=path, trace_items=1 << 20, workers=workers)

    async def start(self) -> None:
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        self.vpp.start()
        for number in (0, 1):
            self.vpp.port(f"e{number}")
        self.vpp.ctl("set interface ip address host-e0 10.0.0.1/24")

    async def stop(self) -> None:
        self.vpp.kill()

    def sink(self, entries: FibEntries) -> FibSink:
        return VppFib(entries, self.vpp.api)

    async def ctl(self, command: str) -> str:
        return await asyncio.to_thread(self.vpp.ctl, command)

    async def add_foreign(self, key: Key) -> None:
        await self.ctl(f"ip route add {key.text} via 10.0.0.9 host-e0")

    async def remove_foreign(self, key: Key) -> None:
        await self.ctl(f"ip route del {key.text} via 10.0.0.9 host-e0")

    async def route_requests(self) -> int:
        """How many requests to write a route have come since the start: what VPP's API trace shows."""
        shown = await self.ctl("api trace dump")
        stock = len(re.findall(r"^vl_api_(?:ip_route_add_del_v2|mpls_route_add_del)_t:", shown, re.MULTILINE))
        return stock + (int(counters(self.vpp)["apply: messages"]) if self._plugin else 0)


def _fake_key(key: Key) -> tuple[int, int, bytes, int]:
    table = 0 if key.table == TABLE_MAIN else key.table
    return table, int(key.family == AF_INET6), key.bits.to_bytes(16, "big"), key.length
