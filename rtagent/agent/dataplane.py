"""Which data plane the settings mean: the one place that knows both kinds."""

from __future__ import annotations

from rtagent.agent.remote import RemoteFib
from rtagent.agent.settings import Settings
from rtagent.core.sink import FibSink
from rtagent.sinks.memory import MemoryFib
from rtagent.sinks.vpp import VppFib
from rtagent.vector.fib import FibEntries


def make_sink(settings: Settings, entries: FibEntries) -> FibSink:
    """Return the data plane that an agent writes."""
    if settings.dataplane == "memory":
        return MemoryFib(entries)
    return VppFib(entries, settings.vpp_socket, stats_path=settings.vpp_stats_socket)


def read_only_sink(settings: Settings, entries: FibEntries) -> FibSink:
    """Return the data plane as somebody beside the agent sees it; a memory FIB is the running agent's.

    Raises ValueError where nothing is mirrored.
    """
    if settings.dataplane == "none":
        raise ValueError('dataplane.kind = "none": nothing is mirrored here, so there is no data plane to look at')
    if settings.dataplane == "memory":
        return RemoteFib(settings.control, entries)
    return VppFib(entries, settings.vpp_socket, stats_path=settings.vpp_stats_socket)
