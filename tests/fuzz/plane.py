"""What a fuzzed mirror writes: the memory FIB, or a real VPP with a port for each port of the router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

from rtagent.core.sink import FibSink
from rtagent.sinks.vpp import VppFib
from rtagent.vector.fib import FibEntries
from tests.kernel.mirror import Fib
from tests.kernel.oracle import TABLES, encapsulated, kernel_fib
from tests.lab.lab import Lab, Namespace
from tests.lab.router import PORTS
from tests.lab.vpp import Vpp
from tests.vpp import witness


class Plane(Protocol):
    """Where routes are written to."""

    ports: Mapping[str, str]
    """The router's device → the data plane's interface, at first; empty where every link is its own."""

    def sink(self) -> FibSink | None:
        """Return a new sink; None: the mirror makes its own, in memory."""

    def differences(self, router: Namespace, ports: Mapping[str, str]) -> list[str]:
        """Return what a witness of its own says to differ from the kernel; ``ports`` as they are paired by now."""


class MemoryPlane:
    """The memory FIB of the mirror itself, which ``Mirror.fib`` reads."""

    ports: Mapping[str, str] = {}

    def sink(self) -> None:
        return None

    def differences(self, router: Namespace, ports: Mapping[str, str]) -> list[str]:
        return []


class VppPlane:
    """One VPP for many worlds: what the last one left behind is pruned by the next. Use it in a ``with`` statement."""

    def __init__(self) -> None:
        self.ports: Mapping[str, str] = {f"e{port}": f"host-v{port}" for port in PORTS}
        self._lab = Lab()
        wire, hosts = self._lab.namespace("wire"), self._lab.namespace("hosts")
        for port in PORTS:
            self._lab.veth(wire, f"v{port}", hosts, f"v{port}")
        self.vpp = Vpp(self._lab, wire)

    def __enter__(self) -> Self:
        self.vpp.start()
        for port in PORTS:
            self.vpp.port(f"v{port}")
        return self

    def __exit__(self, *_: object) -> None:
        self._lab.close()

    def sink(self) -> FibSink:
        return VppFib(FibEntries(), self.vpp.api)

    def differences(self, router: Namespace, ports: Mapping[str, str]) -> list[str]:
        fib = kernel_fib(router, ports)
        expected = _as_witnessed(fib)
        held = witness.vpp(self.vpp, expected)
        for table, prefix in encapsulated(fib):  # the witness sees no further than to where a policy is entered
            if table == TABLES["main"]:
                expected.pop(prefix, None)
                held.pop(prefix, None)
        return witness.differences(expected, held)


def _as_witnessed(fib: Fib) -> witness.Fib:
    """Return the main table in the witness's terms: shares of the flows instead of weights."""
    found: witness.Fib = {}
    for (table, prefix), (kind, paths) in fib.items():
        if table == TABLES["main"]:
            total = sum(path.weight for path in paths)
            shares = {witness.Way(path.via, path.dev): path.weight / total for path in paths}
            found[prefix] = ("drop" if kind == "blackhole" else kind, shares)
    return found
