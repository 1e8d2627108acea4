"""One look at kernel and data plane, read-only, with the loop's own functions: works while the agent is down.

Nothing is written, no source is made in VPP. What a running agent knows beyond that (which rows were refused, what
its memory FIB holds) is asked of it where one is running.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import numpy as np

from rtagent.agent.asking import RequestRefused, Unreachable, ask
from rtagent.agent.dataplane import read_only_sink
from rtagent.agent.mirror import Mirror
from rtagent.agent.pair_rows import host_rows, pair_rows, port_rows
from rtagent.agent.settings import Settings
from rtagent.core.compare import Comparison
from rtagent.core.explain import Explanation, Held, Step
from rtagent.core.interfaces import KINDS
from rtagent.core.object_rows import differing_objects, left_out_rows, object_of, object_text
from rtagent.core.punt import LINUX_CP
from rtagent.core.punt_rows import policer_row, punt_rows
from rtagent.core.rows import Row
from rtagent.core.sink import Disconnected, VersionMismatch
from rtagent.sources.kernel import KernelSource
from rtagent.vector.keys import FAMILY_NUMBERS, Key, Keys
from rtagent.vector.links import Neighbor
from rtagent.vector.ports import Port
from rtagent.vector.punt import LocalAddress

_FURTHER_LOOKS = 3
_LOOKED_AT_AGAIN = 10_000
"""With more rows than these, the two sides do not differ by a moment."""
_SETTLES_WITHIN_S = 2.0


async def differences(settings: Settings, left: str, right: str) -> list[Row]:
    """Return what differs between two of core.compare.SIDES. Raises Disconnected, VersionMismatch or OSError.

    On a busy router the two are never read at one moment: a row counts only if it still differs when both are looked
    at again, after a running agent has settled.
    """
    with_vpp = "vpp" in (left, right)
    async with _looking(settings) as (mirror, source):
        if with_vpp:
            await mirror.load()
        await mirror.load_objects()
        mirror.ledger.decide(None, may_remove=True)
        interfaces = mirror.interface_names
        rejected = await _rejected(settings.control) if with_vpp else {}
        comparison = Comparison(mirror.store, mirror.ledger, mirror.entries, interfaces, rejected)
        rows = comparison.differing(left, right)
        for _ in range(_FURTHER_LOOKS if with_vpp else 0):
            if not 0 < len(rows) <= _LOOKED_AT_AGAIN:
                break
            await _settled(settings.control)
            await source.settle()
            await mirror.look_again(rows)
            mirror.ledger.decide(rows, may_remove=True)
            rows = np.intersect1d(rows, comparison.differing(left, right))
        return [*await _differing_objects(mirror, source, left, right), *comparison(left, right, rows)]


async def interfaces(settings: Settings) -> list[Row]:
    """Return the pairs, both sides of each, and what differs. Raises Disconnected, VersionMismatch or OSError."""
    async with _looking(settings) as (mirror, source):
        await mirror.load_objects()
        differing = await _differing_objects(mirror, source, "kernel", "vpp")
        return pair_rows(mirror.store, mirror.pairs, mirror.sink.ports, mirror.objects, differing)


async def pairs(settings: Settings) -> list[Row]:
    """Return the data plane's interfaces, and how each is paired or why not. Raises as ``interfaces`` does."""
    async with _looking(settings) as (mirror, _):
        return port_rows(mirror, await _told_states(settings.control))


async def punt(settings: Settings) -> dict[str, Any]:
    """Return what is punted, where to, and how much. Raises Disconnected, VersionMismatch or OSError."""
    async with _looking(settings) as (mirror, _):
        await mirror.load_objects()
        names, objects = mirror.interface_names, mirror.objects
        texts = await _refused(settings.control)
        refused = {key: texts[text] for key in objects.wanted if (text := object_text(key, names)) in texts}
        counts = await mirror.sink.punt_counts([key for key in objects.held if isinstance(key, LocalAddress)])
        return {
            "linux_cp": LINUX_CP in mirror.sink.plugins,
            "warnings": mirror.warnings,
            "hosts": host_rows(mirror.pairs, mirror.sink.ports, counts),
            "punted": list(punt_rows(objects, names, refused, counts)),
            "policer": policer_row(objects, refused, counts),
        }


async def explain(settings: Settings, key: Key, *, exact: bool) -> list[Step]:
    """Return the chain of one destination. Raises OSError where the kernel cannot be read."""
    mirror = Mirror(settings, read_only_sink)
    await source_of(mirror).snapshot()
    held, trouble = None, ""
    try:
        await mirror.sink.connect(read_only=True)
        mirror.join_pairs()
        await mirror.load_objects()
        held = await _held(mirror, key)
    except (Disconnected, VersionMismatch) as error:
        trouble = str(error)
    finally:
        await mirror.sink.close()
    return Explanation(mirror.store, mirror.ledger, mirror.entries, key, exact=exact).steps(held, trouble)


@asynccontextmanager
async def _looking(settings: Settings) -> AsyncIterator[tuple[Mirror, KernelSource]]:
    """Yield a mirror of the moment, and its source, which goes on following the kernel."""
    mirror = Mirror(settings, read_only_sink)
    await mirror.sink.connect(read_only=True)
    source = source_of(mirror)
    try:
        async with asyncio.TaskGroup() as group:
            following = group.create_task(source.run())
            await source.settle()
            mirror.join_pairs()
            yield mirror, source
            following.cancel()
    finally:
        await mirror.sink.close()


def source_of(mirror: Mirror) -> KernelSource:
    """Return the kernel that a mirror is of."""
    settings = mirror.settings
    return KernelSource(
        mirror.store, mirror.groups, netns=settings.netns, receive_buffer_bytes=settings.receive_buffer_bytes
    )


async def _held(mirror: Mirror, key: Key) -> Held:
    sink, topology = mirror.sink, mirror.store.topology
    ports: dict[int, Port] = {port.interface: port for port in sink.ports.values()}
    rows = await sink.lookup(Keys.of(key.covering()))
    ways = {path.interface for entry in set(rows.entry.tolist()) for path in mirror.entries[entry].paths}
    neighbors = await sink.neighbors(sorted(ways & ports.keys()))
    if neighbors is None:
        neighbors = {
            (topology.pairs[row.ifindex], row.address): row
            for row in mirror.store.neighbors.values()
            if isinstance(row, Neighbor) and row.ifindex in topology.pairs
        }
    sources = {source: sink.source_name(source) for source in set(rows.source.tolist())}
    troubles = {} if mirror.settings.dataplane == "memory" else _troubles(mirror)
    return Held(rows, sink.own_source, sources, ports, neighbors, troubles)


def _troubles(mirror: Mirror) -> dict[int, list[str]]:
    """Return by interface in what it is not as its link is."""
    names, troubles = mirror.interface_names, {number: list(texts) for number, texts in mirror.left_out.items()}
    for key in mirror.objects.unsettled():
        interface = object_of(key)
        if interface is not None and isinstance(key, KINDS):
            troubles.setdefault(interface, []).append(f"{object_text(key, names)} differs from the link's")
    return troubles


async def _differing_objects(mirror: Mirror, source: KernelSource, left: str, right: str) -> list[Row]:
    """Return the objects that differ, and still do when both sides are looked at again."""
    settings, names, found = mirror.settings, mirror.interface_names, []
    if "vpp" in (left, right) and settings.dataplane != "memory":
        other = left if right == "vpp" else right
        refused = await _refused(settings.control)
        found = list(differing_objects(mirror.objects, names, refused, other, "vpp"))
        for _ in range(_FURTHER_LOOKS):
            if not found:
                break
            await _settled(settings.control)
            await source.settle()
            await mirror.load_objects()
            still = list(differing_objects(mirror.objects, names, refused, other, "vpp"))
            found = [row for row in still if row["object"] in {before["object"] for before in found}]
    if "kernel" in (left, right):
        found += left_out_rows(mirror.left_out, names, "kernel", right if left == "kernel" else left)
    return found


async def _settled(control: str) -> None:
    """Give a running agent a moment to install what it has heard of; without one there is nothing to wait for."""
    with suppress(Unreachable, RequestRefused, TimeoutError):
        async with asyncio.timeout(_SETTLES_WITHIN_S), aclosing(ask(control, "wait")) as messages:
            async for _ in messages:
                pass


async def _refused(control: str) -> dict[str, str]:
    """Return why the running agent's data plane refused objects; nothing where no agent is running."""
    try:
        return {row["object"]: row["reason"] async for message in ask(control, "refused") for row in message["rows"]}
    except (Unreachable, RequestRefused):
        return {}


async def _told_states(control: str) -> dict[str, str]:
    """Return how the running agent's pairs stand, by interface; nothing where no agent is running."""
    try:
        told = [message["status"]["pairs"] async for message in ask(control, "status")]
    except (Unreachable, RequestRefused):
        return {}
    return {row["vpp"]: row["state"] for rows in told for row in rows}


async def _rejected(control: str) -> dict[Key, str]:
    """Return why the running agent's data plane refused rows; nothing where no agent is running."""
    rejected = {}
    try:
        async for message in ask(control, "rejected"):
            for row in message["rows"]:
                key = Key.parse(str(row.get("label", row.get("prefix"))), row["table"])
                assert key.family == FAMILY_NUMBERS[row["family"]]
                rejected[key] = row["reason"]
    except (Unreachable, RequestRefused):
        return {}
    return rejected
