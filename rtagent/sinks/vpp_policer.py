"""VPP's policer of what is punted, and what passes by it, as objects.

The policer works on the arc of features that every punted IP packet takes (``ip4-punt``, ``ip6-punt``) and no other
packet does, before the redirection to the host (plugins/policer/ip4_punt.c). There is one for all; what it drops it
drops blindly. So the ACL of that arc, which comes first, sends the packets that match to linux-cp at once.

* The policer bears our **name**. That it is on no message tells: ``feature_is_enabled`` answers with a context in the
  wrong place (vnet/feature/feature.api has a client_index in the reply), so the CLI is asked. Switching it on twice
  would have packets policed twice; it is switched off before.
* The **ACL** is a chain of tables, one for each mask. A session carries a number that its dump returns: ours is
  ``_MARK``, and an ACL with a session without it is somebody else's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from rtagent.sinks.vapi import Refused, VapiClient
from rtagent.vector.keys import AF_INET, AF_INET6
from rtagent.vector.objects import Held, ObjectChange, ObjectKey
from rtagent.vector.ports import NO_INTERFACE as NONE
from rtagent.vector.punt import OTHERS, Match, PolicerLimit, PuntExempt, PuntPolicer
from rtagent.wire.vapi.retvals import ENTRY_ALREADY_EXISTS, UNIMPLEMENTED

NAME = "rtagent-punt"
_FEATURE = {AF_INET: "ip4-punt-policer", AF_INET6: "ip6-punt-policer"}
_ACL_NODE = {AF_INET: "ip4-punt-acl", AF_INET6: "ip6-punt-acl"}
_ACL_FIELD = {AF_INET: "ip4_table_index", AF_INET6: "ip6_table_index"}
_TO_HOST = "linux-cp-punt"
_MOST_POLICERS = 1024
_DROP, _TRANSMIT = 0, 1
"""SSE2_QOS_ACTION_API_*, plugins/policer/policer_types.api."""
_MARK = 0x72746167
_FROM_CURRENT = 1
"""CLASSIFY_FLAG_USE_CURR_DATA, vnet/classify/vnet_classify.h: the mask begins at the IP header."""
_TABLE_BYTES = 1 << 18
_BUCKETS = 32
_VECTOR_BYTES = 16


async def our_policer(client: VapiClient) -> int | None:
    """Return VPP's number of our policer, None without one. Raises Disconnected."""
    return (await _ours(client))[0] if "policer_add" in client.messages.numbers else None


class VppPuntPolicer:
    """Reads and writes PuntPolicer."""

    kinds: Collection[type] = (PuntPolicer,)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return the policer, if there is one."""
        if "policer_add" not in client.messages.numbers:
            return {}
        on, (_, limit) = await _features_on(client), await _ours(client)
        if limit is None:
            return {PuntPolicer(): Held(OTHERS)} if on else {}
        complete = on == set(_FEATURE)
        return {PuntPolicer(): Held(limit if complete else None)}

    async def write(self, client: VapiClient, change: ObjectChange) -> None:
        """Make the policer and put it in place, change its limit, or remove it."""
        if "policer_add" not in client.messages.numbers:
            raise Refused("policer_add", UNIMPLEMENTED)
        number, limit = await _ours(client)
        on = await _features_on(client)
        if number is None and on:
            if change.after is None:
                return
            raise Refused("ip_punt_police", ENTRY_ALREADY_EXISTS)
        after = change.after
        if after is None:
            if number is not None:
                await _switch(client, number, on, enable=False)
                await client.call("policer_del", policer_index=number)
            return
        assert isinstance(after, PolicerLimit)
        if number is None:
            made = await client.call("policer_add", name=NAME, infos=_config(after))
            number = made.policer_index
        elif limit != after:
            await client.call("policer_update", policer_index=number, infos=_config(after))
        await _switch(client, number, set(_FEATURE) - on, enable=True)


class VppPuntExempt:
    """Reads and writes PuntExempt."""

    kinds: Collection[type] = (PuntExempt,)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return the ACL of either family, where there is one."""
        held: dict[ObjectKey, Held] = {}
        for family, number in (await _acls(client)).items():
            if number != NONE:
                matches = await _matches(client, number)
                held[PuntExempt(family)] = Held(OTHERS if matches is None else matches)
        return held

    async def write(self, client: VapiClient, change: ObjectChange) -> None:
        """Put another ACL in place; between the two, which is no time at all, everything is policed."""
        key, after = change.key, change.after
        assert isinstance(key, PuntExempt)
        before = (await _acls(client))[key.family]
        if before != NONE and await _matches(client, before) is None:
            if after is None:
                return
            raise Refused("punt_acl_add_del", ENTRY_ALREADY_EXISTS)
        made = NONE if after is None else await _make_tables(client, key.family, _as_matches(after))
        if before != NONE:
            await _set_acl(client, key.family, before, is_add=False)
        if made != NONE:
            await _set_acl(client, key.family, made, is_add=True)
        if before != NONE:
            await client.call(
                "classify_add_del_table", is_add=False, del_chain=True, table_index=before, match_n_vectors=0
            )  # fmt: skip


async def _features_on(client: VapiClient) -> set[int]:
    """Return the families whose punted packets are policed, by whomever."""
    said = str((await client.call("cli_inband", cmd="show interface features local0")).reply).split()
    return {family for family, feature in _FEATURE.items() if feature in said}


async def _ours(client: VapiClient) -> tuple[int | None, PolicerLimit | None]:
    """Return number and limit of the policer of our name: a dump tells names, and only one of one tells its number."""
    for row in await client.dump("policer_dump_v2", "policer_details", policer_index=NONE):
        if row.name == NAME:
            for number in range(_MOST_POLICERS):
                found = await client.dump("policer_dump_v2", "policer_details", policer_index=number)
                if found and found[0].name == NAME:
                    return number, PolicerLimit(row.cir, row.cb)
    return None, None


def _config(limit: PolicerLimit) -> dict[str, Any]:
    """Return a policer of one rate and two colours."""
    return {
        "cir": limit.rate_kbps,
        "cb": limit.burst_bytes,
        "conform_action": {"type": _TRANSMIT},
        "exceed_action": {"type": _DROP},
        "violate_action": {"type": _DROP},
    }


async def _switch(client: VapiClient, number: int, families: Collection[int], *, enable: bool) -> None:
    for family in families:
        is_ipv6 = family == AF_INET6
        await client.call("ip_punt_police", policer_index=number, is_add=enable, is_ip6=is_ipv6)


async def _acls(client: VapiClient) -> dict[int, int]:
    """Return the first table of the ACL of each family, NONE without one."""
    reply = await client.call("punt_acl_get")
    return {family: int(getattr(reply, field)) for family, field in _ACL_FIELD.items()}


async def _set_acl(client: VapiClient, family: int, table: int, *, is_add: bool) -> None:
    fields = {field: table if of == family else NONE for of, field in _ACL_FIELD.items()}
    await client.call("punt_acl_add_del", is_add=is_add, **fields)


async def _matches(client: VapiClient, table: int) -> tuple[Match, ...] | None:
    """Return what the tables from this one on match, None where a part of it is not ours."""
    found = []
    while table != NONE:
        info = await client.call("classify_table_info", table_id=table)
        for row in await client.dump("classify_session_dump", "classify_session_details", table_id=table):
            if row.opaque_index != _MARK:
                return None
            found.append(Match(bytes(info.mask), bytes(row.match)))
        table = info.next_table_index
    return tuple(sorted(found)) or None


async def _make_tables(client: VapiClient, family: int, matches: Collection[Match]) -> int:
    """Make a chain of tables, one for each mask; return the first."""
    values: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for match in matches:
        values[match.mask].append(match.value)
    to_host = (await client.call("add_node_next", node_name=_ACL_NODE[family], next_name=_TO_HOST)).next_index
    first = NONE
    for mask in sorted(values, reverse=True):
        made = await client.call(
            "classify_add_del_table", is_add=True, table_index=NONE, nbuckets=_BUCKETS, memory_size=_TABLE_BYTES,
            match_n_vectors=len(mask) // _VECTOR_BYTES, next_table_index=first, miss_next_index=NONE,
            current_data_flag=_FROM_CURRENT, mask_len=len(mask), mask=mask,
        )  # fmt: skip
        first = int(made.new_table_index)
        for value in values[mask]:
            await client.call(
                "classify_add_del_session", is_add=True, table_index=first, hit_next_index=to_host,
                opaque_index=_MARK, match_len=len(value), match=value,
            )  # fmt: skip
    return first


def _as_matches(value: object) -> tuple[Match, ...]:
    assert isinstance(value, tuple)
    return value
