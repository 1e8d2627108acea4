"""Prometheus metrics, made at the moment they are asked for, served on loopback or a UNIX socket; off by default."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from rtagent.agent.control import listen

_REQUEST_BYTES = 16_384
_REQUEST_TIMEOUT_S = 10


class StatusCollector(Collector):
    """The answer of ``rtagent status``, as metrics."""

    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        status = self._status()
        yield _gauge("healthy", "1 where rtagent status finds nothing wrong", int(status["health"] == "ok"))
        if status["mesh"]:
            yield from _mesh(status["mesh"])
        if status["dataplane"]["kind"] != "none":
            yield from self._mirror(status)

    def _mirror(self, status: dict[str, Any]) -> Iterator[Metric]:
        yield _gauge("in_sync", "1 while every part of the kernel's state is in sync", int(status["in_sync"]))
        yield _gauge("dataplane_synced", "1 while the data plane is", int(status["dataplane"]["state"] == "synced"))
        rows = GaugeMetricFamily("rtagent_rows", "Route rows by state and family", labels=["state", "family"])
        for state, families in status["rows"].items():
            for family, count in families.items():
                rows.add_metric([state, family], count)
        yield rows
        neighbors = GaugeMetricFamily(
            "rtagent_neighbors", "Neighbours by what is counted, and how many VPP takes (0: any number)",
            labels=["family", "count"],
        )  # fmt: skip
        for family, counts in status["neighbors"].items():
            for name, number in counts.items():
                neighbors.add_metric([family, name], number)
        yield neighbors
        lag = GaugeMetricFamily("rtagent_lag_seconds", "From a change heard of to its answer", labels=["quantile"])
        for quantile, value in (("0.5", status["lag_ms"]["p50"]), ("0.99", status["lag_ms"]["p99"])):
            if value is not None:
                lag.add_metric([quantile], value / 1e3)
        yield lag
        yield _counter("resyncs", "Resynchronisations with the kernel since the start", status["resync"]["count"])
        yield _counter("overflows", "Netlink receive buffer overflows", status["overflows"])
        yield _counter("messages", "Netlink messages received", status["messages"])
        yield _counter(
            "malformed_messages", "Netlink messages that broke the rules of their format", status["malformed"]
        )
        yield _counter("writes", "Route rows that the data plane has accepted", status["writes"])
        errors = CounterMetricFamily("rtagent_errors", "Route rows refused, by the answer", labels=["retval"])
        for retval, count in status["errors"].items():
            errors.add_metric([retval], count)
        yield errors


class MetricsServer:
    """Answers GET /metrics, over HTTP/1.0, at HOST:PORT or unix:PATH."""

    def __init__(self, address: str, collector: Collector) -> None:
        self._address = address
        self._registry = CollectorRegistry()
        self._registry.register(collector)

    async def run(self) -> None:
        """Serve for ever. Raises OSError where the address cannot be had."""
        if self._address.startswith("unix:"):
            server = await asyncio.start_unix_server(
                self._serve, sock=listen(self._address[5:], None), limit=_REQUEST_BYTES
            )
        else:
            host, _, port = self._address.rpartition(":")
            server = await asyncio.start_server(self._serve, host.strip("[]"), int(port), limit=_REQUEST_BYTES)
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.split(b"\r\n", 1)[0].split()))
                await writer.drain()
        except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
            pass  # a client that breaks off or makes no sense costs nothing but its connection
        finally:
            writer.close()

    def _answer(self, request: list[bytes]) -> bytes:
        if len(request) != 3 or request[0] != b"GET":
            return b"HTTP/1.0 400 Bad Request\r\n\r\n"
        if request[1].split(b"?")[0] != b"/metrics":
            return b"HTTP/1.0 404 Not Found\r\n\r\nThe metrics are at /metrics.\n"
        body = generate_latest(self._registry)
        head = f"HTTP/1.0 200 OK\r\nContent-Type: {CONTENT_TYPE_LATEST}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


def _mesh(mesh: dict[str, Any]) -> Iterator[Metric]:
    yield _gauge(
        "mesh_settled", "1 while BIRD has the configuration that it should have", int(mesh["state"] == "settled")
    )
    yield _gauge("mesh_members", "Members of the mesh", mesh["members"])
    yield _gauge("mesh_waiting", "Claims to membership that do not count", len(mesh["waiting"]))
    yield _gauge("mesh_held", "Members that are gone and still configured", len(mesh["held"]))
    yield _gauge("mesh_braked", "Members that only a person can let go", len(mesh["braked"]))
    sources = GaugeMetricFamily("rtagent_mesh_source_heard", "1 while the source is in touch", labels=["source"])
    for name, source in mesh["sources"].items():
        sources.add_metric([name], int(source["state"] == "heard"))
    yield sources
    yield _counter("mesh_refused", "Announcements that were refused", mesh["refused"]["count"])
    yield _counter("mesh_applied", "Configurations put in force", mesh["applied"])


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"rtagent_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"rtagent_{name}", text, value=value)
