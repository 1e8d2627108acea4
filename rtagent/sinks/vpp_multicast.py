"""VPP's multicast FIB as objects: what is for the host, and from which interfaces.

An entry is the union of what every client of the API has put into it (its source is API for all of them), and the
dump shows an entry's strongest source only. So each path of ours bears a mark, the *preference* of ``MARK``, which
changes nothing in forwarding and comes back in the dump; paths are added and removed one by one, and those of others
are left alone. An entry that others have made, for the host or not, is told of as OTHERS, and not touched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from rtagent.sinks.vapi import Refused, VapiClient
from rtagent.sinks.vpp_paths import LOCAL, NORMAL, api_path
from rtagent.vector.keys import ADDRESS_BITS, AF_INET, AF_INET6, TABLE_MAIN
from rtagent.vector.objects import Held, ObjectChange, ObjectKey
from rtagent.vector.punt import OTHERS, Group, MulticastAccept, MulticastLocal
from rtagent.wire.vapi.labels import MARK
from rtagent.wire.vapi.retvals import NO_MATCHING_INTERFACE, NO_SUCH_FIB

_ACCEPT, _FORWARD = 2, 4
"""MFIB_API_ITF_FLAG_*, vnet/mfib/mfib_types.api."""
_GONE = (NO_SUCH_FIB, NO_MATCHING_INTERFACE)
"""With its table an entry has gone, too; and a path by an interface that went nobody can remove."""
_HELD = Held(True)


class VppMulticast:
    """Reads and writes MulticastLocal and MulticastAccept."""

    kinds: Collection[type] = (MulticastLocal, MulticastAccept)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return our paths, and others' entries but for those that VPP makes for itself."""
        held: dict[ObjectKey, Held] = {}
        for (table, group), paths in (await _entries(client)).items():
            ours = [path for path in paths if path.preference == MARK]
            for path in ours:
                if path.type == LOCAL:
                    held[MulticastLocal(table, group)] = _HELD
                else:
                    held[MulticastAccept(path.sw_if_index, table, group)] = _HELD
            if paths and not ours:
                held[MulticastLocal(table, group)] = Held(OTHERS)
        return held

    async def write(self, client: VapiClient, change: ObjectChange) -> None:
        """Add a path to an entry, or remove it; the entry goes with its last one."""
        key, add = change.key, change.after is not None
        assert isinstance(key, MulticastLocal | MulticastAccept)
        try:
            await client.call("ip_mroute_add_del", is_add=add, is_multipath=True, route=_route(key))
        except Refused as refused:
            if add or refused.retval not in _GONE:
                raise


async def _entries(client: VapiClient) -> dict[tuple[int, Group], list[Any]]:
    """Return the paths of each entry, by the kernel's table and what it is for."""
    found = {}
    for row in await client.dump("ip_table_dump", "ip_table_details"):
        table = {"table_id": row.table.table_id, "is_ip6": row.table.is_ip6}
        for details in await client.dump("ip_mroute_dump", "ip_mroute_details", table=table):
            route = details.route
            found[row.table.table_id or TABLE_MAIN, _group(route.prefix)] = [each.path for each in route.paths]
    return found


def _group(prefix: Any) -> Group:
    """Return the groups of a vl_api_mprefix_t, whose length counts the source's bits, too."""
    is_ipv6 = bool(prefix.af)
    bits = ADDRESS_BITS[AF_INET6 if is_ipv6 else AF_INET]
    name = "ip6" if is_ipv6 else "ip4"
    address, source = bytes(getattr(prefix.grp_address, name)), bytes(getattr(prefix.src_address, name))
    return Group(address, min(prefix.grp_address_length, bits), source if any(source) else b"")


def _route(key: MulticastLocal | MulticastAccept) -> dict[str, Any]:
    group = key.group
    is_ipv6 = group.is_ipv6
    name, bits = ("ip6" if is_ipv6 else "ip4"), 8 * len(group.address)
    if isinstance(key, MulticastAccept):
        flags, path = _ACCEPT, api_path(NORMAL, key.interface, is_ipv6=is_ipv6, preference=MARK)
    else:
        flags, path = _FORWARD, api_path(LOCAL, is_ipv6=is_ipv6, preference=MARK)
    return {
        "table_id": 0 if key.table == TABLE_MAIN else key.table,
        "prefix": {
            "af": int(is_ipv6),
            "grp_address_length": group.length + (bits if group.source else 0),
            "grp_address": {name: group.address},
            "src_address": {name: group.source or bytes(bits // 8)},
        },
        "n_paths": 1,
        "paths": [{"itf_flags": flags, "path": path}],
    }
