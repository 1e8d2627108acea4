"""What VPP counts of what it punts, from its statistics segment: shared memory, read without asking VPP anything.

Which counter is a route's, VPP's API tells; of a multicast entry it tells only whoever writes one. So multicast is in
the policer's sum, and has no count of its own. Statistics are for people: where they are out of reach there are none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from vpp_papi.vpp_stats import VPPStats

from rtagent.sinks.vapi import Refused, VapiClient
from rtagent.sinks.vpp_policer import our_policer
from rtagent.vector.keys import TABLE_MAIN
from rtagent.vector.ports import Port
from rtagent.vector.punt import Count, LocalAddress, PuntCounts

_ROUTE, _SENT = "/net/route/to", "/if/tx"
_PASSED, _DROPPED = "/net/policer/conform", ("/net/policer/exceed", "/net/policer/violate")
_EXEMPT = tuple(
    f"/err/ip{version}-punt-acl/input ACL {what}" for version in (4, 6) for what in ("hits", "hits after chain walk")
)


async def punt_counts(
    client: VapiClient, path: str, addresses: Collection[LocalAddress], ports: Iterable[Port]
) -> PuntCounts | None:
    """Return the counters, None where the segment cannot be read. Raises Disconnected."""
    taps = {port.interface: port.link.interface for port in ports if port.link is not None}
    numbers = {key: number for key in addresses if (number := await _counter_of(client, key)) is not None}
    policer = await our_policer(client)
    return await asyncio.to_thread(_read, path, numbers, policer, taps)


async def _counter_of(client: VapiClient, key: LocalAddress) -> int | None:
    table = 0 if key.table == TABLE_MAIN else key.table
    is_ipv6 = len(key.address) > 4
    address = {"af": int(is_ipv6), "un": {"ip6" if is_ipv6 else "ip4": key.address}}
    prefix = {"address": address, "len": 8 * len(key.address)}
    try:
        reply = await client.call("ip_route_lookup_v2", table_id=table, exact=1, prefix=prefix)
    except Refused:
        return None
    return int(reply.route.stats_index)


def _read(
    path: str, numbers: Mapping[LocalAddress, int], policer: int | None, taps: Mapping[int, int]
) -> PuntCounts | None:
    statistics = VPPStats(path)
    try:
        statistics.connect()
    except OSError:
        return None
    try:
        passed = None if policer is None else _count(statistics, (_PASSED,), policer)
        dropped = None if policer is None else _count(statistics, _DROPPED, policer)
        exempt = sum(_error(statistics, name) for name in _EXEMPT)
        of_address = {key: _count(statistics, (_ROUTE,), number) for key, number in numbers.items()}
        of_host = {interface: _count(statistics, (_SENT,), tap) for interface, tap in taps.items()}
    finally:
        statistics.disconnect()
    return PuntCounts(passed, dropped, exempt, of_address, of_host)


def _count(statistics: Any, names: Collection[str], number: int) -> Count:
    """Return the sum of combined counters, and over VPP's threads."""
    columns = [statistics[name][:, number] for name in names]
    return Count(sum(each.sum_packets() for each in columns), sum(each.sum_octets() for each in columns))


def _error(statistics: Any, name: str) -> int:
    return int(statistics[name].sum()) if name in statistics.directory else 0
