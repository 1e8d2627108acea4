"""VPP's segment routing policies as objects: those with a binding segment of ours, and how prefixes enter them.

A policy is made first and then entered (``wire.vapi.encaps`` says how), and left before it is removed: VPP does not
look whether anything is still steered into a policy that goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtagent.sinks.vapi import Refused, VapiClient
from rtagent.vector.encaps import STEERING_TABLE, SrPolicy
from rtagent.vector.keys import AF_INET, AF_INET6, TABLE_MAIN
from rtagent.vector.objects import Held, ObjectChange, ObjectKey
from rtagent.wire.vapi.encaps import binding_of, is_ours, steered

_SIDS = 16
_DEFAULT = 0
"""SR_API_POLICY_TYPE_DEFAULT, vnet/srv6/sr.api."""
_STEER = {AF_INET: 4, AF_INET6: 6}
"""SR_STEER_API_*, vnet/srv6/sr_types.api."""
_BITS = {AF_INET: 32, AF_INET6: 128}


class VppPolicies:
    """Reads and writes SrPolicy; its value is whether the policy can be entered."""

    kinds = (SrPolicy,)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return our policies."""
        steering = await client.dump("sr_steering_pol_dump", "sr_steering_pol_details")
        entrances = {(bytes(row.bsid), _steered_address(row)) for row in steering if row.fib_table == STEERING_TABLE}
        held: dict[ObjectKey, Held] = {}
        for row in await client.dump("sr_policies_v2_dump", "sr_policies_v2_details"):
            policy = _policy(row)
            if policy is not None:
                binding = binding_of(policy)
                enterable = all((binding, address) in entrances for address in steered(policy).values())
                held[policy] = Held(enterable)
        return held

    async def write(self, client: VapiClient, change: ObjectChange) -> None:
        """Make a policy and its entrances, or remove them."""
        policy = change.key
        assert isinstance(policy, SrPolicy)
        if change.after is None:
            await _close(client, policy)
            await client.call("sr_policy_del", bsid_addr=binding_of(policy))
            return
        if change.before is None:
            await _make(client, policy)
        try:
            await _open(client, policy)
        except Refused:
            await _close(client, policy)
            await client.call("sr_policy_del", bsid_addr=binding_of(policy))
            raise


async def _make(client: VapiClient, policy: SrPolicy) -> None:
    table = _in_vpp(policy.table)
    if table:
        await _make_table(client, table, AF_INET6)
    await client.call(
        "sr_policy_add_v2",
        bsid_addr=binding_of(policy),
        weight=1,
        is_encap=not policy.inline,
        type=_DEFAULT,
        fib_table=table,
        sids={
            "num_sids": len(policy.segments),
            "weight": 1,
            "sids": [*policy.segments, *[bytes(16)] * (_SIDS - len(policy.segments))],
        },
        encap_src=policy.source or bytes(16),
    )


async def _open(client: VapiClient, policy: SrPolicy) -> None:
    for family, address in steered(policy).items():
        await _make_table(client, STEERING_TABLE, family)
        await _steer(client, policy, family, address, is_del=False)


async def _close(client: VapiClient, policy: SrPolicy) -> None:
    """Remove what leads into a policy; an entrance may be missing, and that is no error."""
    for family, address in steered(policy).items():
        try:
            await _steer(client, policy, family, address, is_del=True)
        except Refused:
            continue


async def _steer(client: VapiClient, policy: SrPolicy, family: int, address: bytes, *, is_del: bool) -> None:
    un = {"ip6": address} if family == AF_INET6 else {"ip4": address}
    await client.call(
        "sr_steering_add_del",
        is_del=is_del,
        bsid_addr=binding_of(policy),
        sr_policy_index=0xFFFFFFFF,
        table_id=STEERING_TABLE,
        prefix={"address": {"af": int(family == AF_INET6), "un": un}, "len": _BITS[family]},
        sw_if_index=0xFFFFFFFF,
        traffic_type=_STEER[family],
    )


async def _make_table(client: VapiClient, table: int, family: int) -> None:
    """Make a table; VPP does not mind that it is there already."""
    fields = {"table_id": table, "is_ip6": family == AF_INET6, "name": ""}
    await client.call("ip_table_add_del", is_add=True, table=fields)


def _policy(row: Any) -> SrPolicy | None:
    """Return the policy of ``sr_policies_v2_details``, None where it is not ours."""
    binding = bytes(row.bsid)
    if not is_ours(binding) or row.type != _DEFAULT or len(row.sid_lists) != 1:
        return None
    sids = row.sid_lists[0]
    inline = not row.is_encap
    policy = SrPolicy(
        tuple(bytes(sid) for sid in sids.sids[: sids.num_sids]),
        b"" if inline else bytes(row.encap_src),
        inline,
        row.fib_table or TABLE_MAIN,
    )
    return policy if binding_of(policy) == binding else None


def _steered_address(row: Any) -> bytes:
    address = row.prefix.address
    return bytes(address.un.ip6 if row.prefix.len == _BITS[AF_INET6] else address.un.ip4)


def _in_vpp(table: int) -> int:
    return 0 if table == TABLE_MAIN else table
