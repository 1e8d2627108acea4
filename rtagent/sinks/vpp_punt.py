"""What VPP punts besides multicast, as objects: local addresses, frames that are not IP.

* A **local address** is held by a FIB source of ours that is there for nothing else (``vpp_sources``).
* **Frames**: VPP 26.06 takes the number of ``lcp_ethertype_enable`` in the host's byte order
  (plugins/linux-cp/lcp_api.c), and nothing can switch a type off again.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from rtagent.sinks.vapi import Refused, VapiClient
from rtagent.sinks.vpp_paths import LOCAL, api_path
from rtagent.sinks.vpp_sources import PUNT
from rtagent.vector.fib import FibVector
from rtagent.vector.keys import AF_INET, AF_INET6, TABLE_MAIN, Key, Keys
from rtagent.vector.objects import Held, ObjectChange, ObjectKey
from rtagent.vector.punt import Ethertype, LocalAddress, OsiProtocol
from rtagent.wire.vapi.retvals import NO_SUCH_ENTRY, NO_SUCH_FIB, UNIMPLEMENTED

_BYTES = {AF_INET: 4, AF_INET6: 16}
_HELD = Held(True)


def local_addresses(rows: FibVector, source: int | None) -> set[LocalAddress]:
    """Return those of the rows, in the kernel's tables, that are of this source, which is ours."""
    if source is None:
        return set()
    own = rows.keys.take(np.flatnonzero(rows.source == source))
    return {LocalAddress(key.table, key.bits.to_bytes(16, "big")[: _BYTES[key.family]]) for key in own}


def row_keys(addresses: Collection[LocalAddress]) -> Keys:
    """Return the rows of these addresses."""
    families = {size: family for family, size in _BYTES.items()}
    return Keys.of(
        Key(each.table, families[size], int.from_bytes(each.address.ljust(16, b"\0"), "big"), 8 * size)
        for each in addresses
        for size in (len(each.address),)
    )


class VppLocalAddresses:
    """Writes LocalAddress. It reads none: VPP would walk all routes for them, with its workers held.

    They are among the rows that whoever reads all routes gets anyway; others look for the ones that they know.
    """

    kinds: Collection[type] = (LocalAddress,)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return nothing."""
        return {}

    async def write(self, client: VapiClient, change: ObjectChange) -> None:
        """Add a row, or remove it."""
        key, add = change.key, change.after is not None
        assert isinstance(key, LocalAddress)
        is_ipv6 = len(key.address) > 4
        address = {"af": int(is_ipv6), "un": {"ip6" if is_ipv6 else "ip4": key.address}}
        route = {
            "table_id": 0 if key.table == TABLE_MAIN else key.table,
            "prefix": {"address": address, "len": 8 * len(key.address)},
            "src": await _source(client) or 0,
            "n_paths": int(add),
            "paths": [api_path(LOCAL, is_ipv6=is_ipv6)] if add else [],
        }
        try:
            await client.call("ip_route_add_del_v2", is_add=add, is_multipath=False, route=route)
        except Refused as refused:
            if add or refused.retval not in (NO_SUCH_FIB, NO_SUCH_ENTRY):
                raise


class VppFrames:
    """Reads and writes Ethertype and OsiProtocol."""

    kinds: Collection[type] = (Ethertype, OsiProtocol)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return what is handed to the host; nothing without VPP's linux-cp."""
        if "lcp_ethertype_get" not in client.messages.numbers:
            return {}
        types = await client.call("lcp_ethertype_get")
        protocols = await client.call("lcp_osi_proto_get")
        held: dict[ObjectKey, Held] = {Ethertype(number): _HELD for number in types.ethertypes}
        return held | {OsiProtocol(number): _HELD for number in protocols.osi_protos}

    async def write(self, client: VapiClient, change: ObjectChange) -> None:
        """Hand frames to the host from now on."""
        key = change.key
        assert isinstance(key, Ethertype | OsiProtocol)
        assert change.after is not None, "no frames are ours to take back"
        name = "lcp_ethertype_enable" if isinstance(key, Ethertype) else "lcp_osi_proto_enable"
        if name not in client.messages.numbers:
            raise Refused(name, UNIMPLEMENTED)
        if isinstance(key, Ethertype):
            await client.call(name, ethertype=_in_host_order(key.number))
        else:
            await client.call(name, osi_proto=key.number)


def _in_host_order(number: int) -> int:
    """Return what the wire has to carry so that VPP, which does not turn it, reads the number."""
    return int.from_bytes(number.to_bytes(2, sys.byteorder), "big")


async def _source(client: VapiClient) -> int | None:
    dump: list[Any] = await client.dump("fib_source_dump", "fib_source_details")
    return min((row.src.id for row in dump if row.src.name == PUNT), default=None)
