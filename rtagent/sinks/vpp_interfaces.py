"""VPP's interfaces: up or down, MTU, hardware address, tables, link-local address; sub-interfaces; addresses.

* The **MTU** is what IP packets may have (the L3 MTU). Where it is more than the port's frames hold, the port is asked
  for larger ones first; a port that cannot is the answer.
* An interface joins another **table** only without addresses of that family (vnet/interface_api.c, ip_table_bind): the
  stages of the keys see to that.
* **IPv6** is on while anything wants it: VPP counts (vnet/ip/ip6_link.c). Setting the link-local address counts once,
  so that it outlives the last address; taking it away counts down until it is gone.
* A **sub-interface** that we made bears our tag; one of the same frames that somebody else made serves as well, and is
  left alone. Only one that matches its tags exactly can have addresses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rtagent.core.vlans import sub_id
from rtagent.sinks.vapi import Refused, VapiClient
from rtagent.vector.interfaces import (
    OURS,
    AdminState,
    InterfaceAddress,
    LinkLocal,
    Mac,
    Membership,
    Mtu,
    SubInterface,
    Table,
    TakesLabels,
)
from rtagent.vector.keys import AF_INET, AF_INET6, TABLE_MAIN
from rtagent.vector.links import ETH_P_8021AD, ETH_P_8021Q, VlanTag
from rtagent.vector.objects import Held, ObjectChange, ObjectKey
from rtagent.vector.ports import NO_INTERFACE
from rtagent.wire.vapi.retvals import IPV6_NOT_ENABLED, NO_SUCH_INTERFACE, VALUE_EXISTS

_ADMIN_UP = 1
"""IF_STATUS_API_FLAG_ADMIN_UP, vnet/interface_types.api."""
_ONE_TAG, _TWO_TAGS, _DOT1AD, _EXACT_MATCH = 2, 4, 8, 16
"""SUB_IF_API_FLAG_*, of the same."""
_MTU_L3 = 0
"""The place of the L3 MTU in sw_interface_details.mtu."""
_MOST_LOCKS = 4096
_MOST_MTU = 0xFFFF
_HELD = Held(True)
_FAMILIES = (AF_INET, AF_INET6)


def port_tags(details: Any) -> tuple[VlanTag, ...]:
    """Return the tags of a sub-interface that takes exactly these, outermost first; of any other interface none."""
    number, flags = details.sub_number_of_tags, int(details.sub_if_flags)
    if not number or not flags & _EXACT_MATCH:
        return ()
    outer = VlanTag(ETH_P_8021AD if flags & _DOT1AD else ETH_P_8021Q, details.sub_outer_vlan_id)
    return (outer,) if number == 1 else (outer, VlanTag(ETH_P_8021Q, details.sub_inner_vlan_id))


class VppTables:
    """VPP's IP tables, by name ours or others'."""

    kinds: Collection[type] = (Table,)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return every table but VPP's 0, which is always there."""
        dump = await client.dump("ip_table_dump", "ip_table_details")
        return {
            Table(AF_INET6 if row.table.is_ip6 else AF_INET, row.table.table_id): Held(row.table.name)
            for row in dump
            if row.table.table_id
        }

    async def write(self, client: VapiClient, change: ObjectChange) -> None:
        """Make a table, or let go of it: it goes with the last interface and route."""
        key = change.key
        assert isinstance(key, Table)
        table = {"table_id": key.table, "is_ip6": key.family == AF_INET6, "name": change.after or ""}
        await client.call("ip_table_add_del", is_add=change.after is not None, table=table)


class VppSubInterfaces:
    """Sub-interfaces by the tags that they take."""

    kinds: Collection[type] = (SubInterface,)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return every sub-interface that takes exactly its tags, and whose it is."""
        return {
            SubInterface(row.sup_sw_if_index, tags): Held(row.tag, row.sw_if_index)
            for row in await _interfaces(client)
            if (tags := port_tags(row))
        }

    async def write(self, client: VapiClient, change: ObjectChange) -> int | None:
        """Make a sub-interface and mark it as ours, or remove it with all that is set on it."""
        key = change.key
        assert isinstance(key, SubInterface)
        if change.after is None:
            with _ignoring(NO_SUCH_INTERFACE):
                await client.call("delete_subif", sw_if_index=change.interface)
            return None
        outer, inner = key.tags[0], key.tags[-1] if len(key.tags) > 1 else None
        made = await client.call(
            "create_subif",
            sw_if_index=key.parent,
            sub_id=sub_id(key.tags),
            sub_if_flags=_EXACT_MATCH
            | (_TWO_TAGS if inner else _ONE_TAG)
            | (_DOT1AD if outer.protocol == ETH_P_8021AD else 0),
            outer_vlan_id=outer.vlan,
            inner_vlan_id=inner.vlan if inner else 0,
        )
        interface = int(made.sw_if_index)
        await client.call("sw_interface_tag_add_del", is_add=True, sw_if_index=interface, tag=OURS)
        return interface


class VppSettings:
    """What an interface is set to, addresses apart."""

    kinds: Collection[type] = (AdminState, Mtu, Mac, Membership, TakesLabels, LinkLocal)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return the settings of every interface."""
        held: dict[ObjectKey, Held] = {}
        details = await _interfaces(client)
        for row in details:
            interface = row.sw_if_index
            held[AdminState(interface)] = Held(bool(row.flags & _ADMIN_UP))
            held[Mtu(interface)] = Held(row.mtu[_MTU_L3])
            if row.sup_sw_if_index == interface:
                held[Mac(interface)] = Held(bytes(row.l2_address))
        numbers = [row.sw_if_index for row in details]
        memberships = await _memberships(client, numbers)
        held |= {key: Held(table) for key, table in memberships.items()}
        link_locals = await asyncio.gather(*(_link_local(client, interface) for interface in numbers))
        for row in await client.dump("mpls_interface_dump", "mpls_interface_details", sw_if_index=NO_INTERFACE):
            held[TakesLabels(row.sw_if_index)] = _HELD
        for interface, address in zip(numbers, link_locals, strict=True):
            if address:
                held[LinkLocal(interface)] = Held(address)
        return held

    async def write(self, client: VapiClient, change: ObjectChange) -> None:
        """Set it. What is not wanted any more goes back to what VPP starts with, unless its interface is gone."""
        key, after = change.key, change.after
        match key:
            case AdminState():
                await client.call("sw_interface_set_flags", sw_if_index=key.interface, flags=_ADMIN_UP if after else 0)
            case Mtu():
                await _set_mtu(client, key.interface, int(str(after)))
            case Mac():
                await client.call("sw_interface_set_mac_address", sw_if_index=key.interface, mac_address=after)
            case Membership():
                table = 0 if after in (None, TABLE_MAIN) else after
                is_ipv6 = key.family == AF_INET6
                await client.call("sw_interface_set_table", sw_if_index=key.interface, is_ipv6=is_ipv6, vrf_id=table)
            case TakesLabels():
                await _take_labels(client, key.interface, taken=after is not None)
            case LinkLocal() if after is None:
                await _disable_ipv6(client, key.interface)
            case LinkLocal():
                await _set_link_local(client, key.interface, after, first=change.before is None)
            case _:
                raise AssertionError(f"{key} is no setting")


class VppAddresses:
    """The addresses of interfaces, link-local ones apart."""

    kinds: Collection[type] = (InterfaceAddress,)

    async def read(self, client: VapiClient) -> Mapping[ObjectKey, Held]:
        """Return the addresses of every interface; VPP tells them interface by interface."""
        numbers = [row.sw_if_index for row in await _interfaces(client)]
        tables = await _memberships(client, numbers)
        questions = [(number, family) for number in numbers for family in _FAMILIES]
        answers = await asyncio.gather(
            *(
                client.dump("ip_address_dump", "ip_address_details", sw_if_index=number, is_ipv6=family == AF_INET6)
                for number, family in questions
            )
        )
        return {
            InterfaceAddress(
                interface, tables[Membership(interface, family)], _packed(row.prefix), row.prefix.len
            ): _HELD
            for (interface, family), rows in zip(questions, answers, strict=True)
            for row in rows
        }

    async def write(self, client: VapiClient, change: ObjectChange) -> None:
        """Add or remove an address."""
        key, add = change.key, change.after is not None
        assert isinstance(key, InterfaceAddress)
        is_ipv6 = len(key.address) > 4
        address = {"af": int(is_ipv6), "un": {"ip6" if is_ipv6 else "ip4": key.address}}
        prefix = {"address": address, "len": key.length}
        try:
            await client.call("sw_interface_add_del_address", sw_if_index=key.interface, is_add=add, prefix=prefix)
        except Refused as refused:
            if add or refused.retval != NO_SUCH_INTERFACE:  # with its interface an address has gone, too
                raise


async def _interfaces(client: VapiClient, interface: int = NO_INTERFACE) -> list[Any]:
    """Return the details of an interface, or of all."""
    return await client.dump("sw_interface_dump", "sw_interface_details", sw_if_index=interface)


async def _memberships(client: VapiClient, interfaces: Collection[int]) -> dict[Membership, int]:
    """Return the kernel's number of the table of each interface, for each family."""
    keys = [Membership(interface, family) for interface in interfaces for family in _FAMILIES]
    replies = await asyncio.gather(
        *(
            client.call("sw_interface_get_table", sw_if_index=key.interface, is_ipv6=key.family == AF_INET6)
            for key in keys
        )
    )
    return {key: reply.vrf_id or TABLE_MAIN for key, reply in zip(keys, replies, strict=True)}


async def _link_local(client: VapiClient, interface: int) -> bytes:
    """Return an interface's link-local address, empty where IPv6 is off."""
    try:
        reply = await client.call("sw_interface_ip6_get_link_local_address", sw_if_index=interface)
    except Refused as refused:
        if refused.retval != IPV6_NOT_ENABLED:
            raise
        return b""
    return bytes(reply.ip)


async def _take_labels(client: VapiClient, interface: int, *, taken: bool) -> None:
    """Enable MPLS on an interface, or disable it; the table of labels must be there before it can be looked up."""
    if taken:
        await client.call("mpls_table_add_del", mt_is_add=True, mt_table={"mt_table_id": 0, "mt_name": ""})
    await client.call("sw_interface_set_mpls_enable", sw_if_index=interface, enable=taken)


async def _set_mtu(client: VapiClient, interface: int, mtu: int) -> None:
    for details in await _interfaces(client, interface):
        if mtu > details.link_mtu:
            await client.call("hw_interface_set_mtu", sw_if_index=details.sup_sw_if_index, mtu=min(mtu, _MOST_MTU))
    await client.call("sw_interface_set_mtu", sw_if_index=interface, mtu=[mtu, 0, 0, 0])


async def _set_link_local(client: VapiClient, interface: int, address: object, *, first: bool) -> None:
    if first:
        with _ignoring(VALUE_EXISTS):
            await client.call("sw_interface_ip6_enable_disable", sw_if_index=interface, enable=True)
    await client.call("sw_interface_ip6_set_link_local_address", sw_if_index=interface, ip=address)


async def _disable_ipv6(client: VapiClient, interface: int) -> None:
    with _ignoring(IPV6_NOT_ENABLED, NO_SUCH_INTERFACE):
        for _ in range(_MOST_LOCKS):
            await client.call("sw_interface_ip6_enable_disable", sw_if_index=interface, enable=False)


@contextmanager
def _ignoring(*retvals: int) -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        if refused.retval not in retvals:
            raise


def _packed(prefix: Any) -> bytes:
    """Return the address of a vl_api_address_with_prefix_t."""
    return bytes(prefix.address.un.ip6 if prefix.address.af else prefix.address.un.ip4)
