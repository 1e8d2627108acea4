"""Message definitions, learned from VPP itself when we connect, and vpp_papi's serializer fed with them.

Two things are asked: the table of messages that ``sockclnt_create_reply`` carries (name, CRC and number of each) and
the definitions that ``get_api_json`` returns. The CRC covers a definition with all its types, so an equal CRC means
that the layouts written down elsewhere in this package (``routes``, ``labels``) are VPP's: every message we use is
checked, for some of them are marked in_progress and change without notice.

What the socket itself needs (vlibmemory/memclnt.api) is not among the definitions that VPP serves; it is below.
vpp_papi's transport and its files are not used. Its registry of types is one for the process, so every definition is
built anew for each connection: after a restart VPP may be another version.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from vpp_papi.vpp_serializer import VPPEnumFlagType, VPPEnumType, VPPMessage, VPPType, VPPTypeAlias, VPPUnionType
from vpp_papi.vpp_serializer import types as papi_types

from rtagent.wire.errors import MalformedMessage
from rtagent.wire.vapi.framing import framed

REQUIRED = {
    "add_node_next": "2457116d",
    "add_node_next_reply": "2ed75f32",
    "classify_add_del_session": "f20879f0",
    "classify_add_del_session_reply": "e8d4e804",
    "classify_add_del_table": "6849e39e",
    "classify_add_del_table_reply": "05486349",
    "classify_session_details": "60e3ef94",
    "classify_session_dump": "0cca2cd9",
    "classify_table_info": "0cca2cd9",
    "classify_table_info_reply": "4a573c0e",
    "cli_inband": "f8377302",
    "cli_inband_reply": "05879051",
    "control_ping": "51077d14",
    "control_ping_reply": "f6b0b8ca",
    "create_subif": "790ca755",
    "create_subif_reply": "5383d31f",
    "delete_subif": "f9e6675e",
    "delete_subif_reply": "e8d4e804",
    "feature_enable_disable": "7531c862",
    "feature_enable_disable_reply": "e8d4e804",
    "fib_source_add": "b3ac2aec",
    "fib_source_add_reply": "604fd6f1",
    "fib_source_details": "8668acdb",
    "fib_source_dump": "51077d14",
    "get_api_json": "51077d14",
    "get_api_json_reply": "ea715b59",
    "hw_interface_set_mtu": "e6746899",
    "hw_interface_set_mtu_reply": "e8d4e804",
    "ip_address_details": "ee29b797",
    "ip_address_dump": "2d033de4",
    "ip_mroute_add_del": "0dd7e790",
    "ip_mroute_add_del_reply": "1992deab",
    "ip_mroute_details": "c5cb23fc",
    "ip_mroute_dump": "b9d2e09e",
    "ip_neighbor_add_del": "0607c257",
    "ip_neighbor_add_del_reply": "1992deab",
    "ip_neighbor_config": "f4a5cf44",
    "ip_neighbor_config_get": "a5db7bf7",
    "ip_neighbor_config_get_reply": "798e6fdd",
    "ip_neighbor_config_reply": "e8d4e804",
    "ip_neighbor_details": "e29d79f0",
    "ip_neighbor_dump": "d817a484",
    "ip_neighbor_event_v2": "c1d53dc0",
    "ip_route_add_del_v2": "521ef330",
    "ip_route_add_del_v2_reply": "1992deab",
    "ip_route_lookup_v2": "710d6471",
    "ip_route_lookup_v2_reply": "84cc9e03",
    "ip_route_v2_details": "b09aa6c0",
    "ip_route_v2_dump": "d16f72e6",
    "ip_table_add_del": "0ffdaec0",
    "ip_table_add_del_reply": "e8d4e804",
    "ip_table_details": "c79fca0f",
    "ip_table_dump": "51077d14",
    "ipip_add_tunnel": "2ac399f5",
    "ipip_add_tunnel_reply": "5383d31f",
    "ipip_del_tunnel": "f9e6675e",
    "ipip_del_tunnel_reply": "e8d4e804",
    "ipip_tunnel_details": "d31cb34e",
    "ipip_tunnel_dump": "f9e6675e",
    "memclnt_keepalive": "51077d14",
    "memclnt_keepalive_reply": "e8d4e804",
    "mpls_interface_details": "0b45011c",
    "mpls_interface_dump": "f9e6675e",
    "mpls_route_add_del": "8e1d1e07",
    "mpls_route_add_del_reply": "1992deab",
    "mpls_route_details": "9b5043dc",
    "mpls_route_dump": "935fdefa",
    "mpls_table_add_del": "57817512",
    "mpls_table_add_del_reply": "e8d4e804",
    "mpls_table_details": "f03ecdc8",
    "mpls_table_dump": "51077d14",
    "punt_acl_add_del": "a93bf3a0",
    "punt_acl_add_del_reply": "e8d4e804",
    "punt_acl_get": "51077d14",
    "punt_acl_get_reply": "8409b9dd",
    "sr_policies_v2_details": "96dcb699",
    "sr_policies_v2_dump": "51077d14",
    "sr_policy_add_v2": "f6297f36",
    "sr_policy_add_v2_reply": "e8d4e804",
    "sr_policy_del": "cb4d48d5",
    "sr_policy_del_reply": "e8d4e804",
    "sr_steering_add_del": "e46b0a0f",
    "sr_steering_add_del_reply": "e8d4e804",
    "sr_steering_pol_details": "d41258c9",
    "sr_steering_pol_dump": "51077d14",
    "sw_interface_add_del_address": "5463d73b",
    "sw_interface_add_del_address_reply": "e8d4e804",
    "sw_interface_details": "6c221fc7",
    "sw_interface_dump": "aa610c27",
    "sw_interface_event": "2d3d95a7",
    "sw_interface_get_table": "2d033de4",
    "sw_interface_get_table_reply": "a6eb0109",
    "sw_interface_ip6_enable_disable": "ae6cfcfb",
    "sw_interface_ip6_enable_disable_reply": "e8d4e804",
    "sw_interface_ip6_get_link_local_address": "f9e6675e",
    "sw_interface_ip6_get_link_local_address_reply": "d16b7130",
    "sw_interface_ip6_set_link_local_address": "1c10f15f",
    "sw_interface_ip6_set_link_local_address_reply": "e8d4e804",
    "sw_interface_set_flags": "f5aec1b8",
    "sw_interface_set_flags_reply": "e8d4e804",
    "sw_interface_set_mac_address": "c536e7eb",
    "sw_interface_set_mac_address_reply": "e8d4e804",
    "sw_interface_set_mpls_enable": "ae6cfcfb",
    "sw_interface_set_mpls_enable_reply": "e8d4e804",
    "sw_interface_set_mtu": "5cbe85e5",
    "sw_interface_set_mtu_reply": "e8d4e804",
    "sw_interface_set_table": "df42a577",
    "sw_interface_set_table_reply": "e8d4e804",
    "sw_interface_tag_add_del": "426f8bc1",
    "sw_interface_tag_add_del_reply": "e8d4e804",
    "want_interface_events": "476f5a08",
    "want_interface_events_reply": "e8d4e804",
    "want_ip_neighbor_events_v2": "73e70a86",
    "want_ip_neighbor_events_v2_reply": "e8d4e804",
}
"""Every message we send or understand, with the CRC of the definition we know (VPP 26.06)."""

PAIRING = {
    "lcp_itf_pair_add_del_v3": "40482b80",
    "lcp_itf_pair_add_del_v3_reply": "c2502663",
    "lcp_itf_pair_details": "8b5481af",
    "lcp_itf_pair_get": "f75ba505",
    "lcp_itf_pair_get_reply": "53b48f5d",
}
"""Messages of VPP's linux_cp plugin, without which there are no pairs."""

BULK = {
    "fibbulk_apply": "0874bdbd",
    "fibbulk_apply_reply": "6284a8ae",
    "fibbulk_read": "308d94e3",
    "fibbulk_read_reply": "0f7ea177",
}
"""Messages of our plugin (vpp-plugin/fibbulk/fibbulk.api)."""

PUNTING = {
    "ip_punt_police": "db867cea",
    "ip_punt_police_reply": "e8d4e804",
    "lcp_ethertype_enable": "f893dae1",
    "lcp_ethertype_enable_reply": "e8d4e804",
    "lcp_ethertype_get": "51077d14",
    "lcp_ethertype_get_reply": "db48c31e",
    "lcp_osi_proto_enable": "bdd70c87",
    "lcp_osi_proto_enable_reply": "e8d4e804",
    "lcp_osi_proto_get": "51077d14",
    "lcp_osi_proto_get_reply": "3b19a287",
    "policer_add": "4d949e35",
    "policer_add_reply": "a177cef2",
    "policer_del": "7ff7912e",
    "policer_del_reply": "e8d4e804",
    "policer_details": "72d0e248",
    "policer_dump_v2": "7ff7912e",
    "policer_update": "fd039ef0",
    "policer_update_reply": "e8d4e804",
}
"""Messages of VPP's linux_cp and policer plugins: what reaches the host besides unicast, and how much."""

OPTIONAL = {**BULK, **PAIRING, **PUNTING}
"""Messages of plugins, used where VPP has them with these CRCs."""

_MEMCLNT: dict[str, list[list[Any]]] = {
    "control_ping": [["u32", "client_index"], ["u32", "context"]],
    "control_ping_reply": [["u32", "context"], ["i32", "retval"], ["u32", "client_index"], ["u32", "vpe_pid"]],
    "get_api_json": [["u32", "client_index"], ["u32", "context"]],
    "get_api_json_reply": [["u32", "context"], ["i32", "retval"], ["string", "json", 0]],
    "memclnt_keepalive": [["u32", "client_index"], ["u32", "context"]],
    "memclnt_keepalive_reply": [["u32", "context"], ["i32", "retval"]],
}
_SOCKCLNT_CREATE, _SOCKCLNT_CREATE_REPLY = 15, 16
"""The two numbers that must be known beforehand (vlibmemory/vl_memory_msg_enum.h)."""

_HELLO = struct.Struct(">HI64s")
_WELCOME = struct.Struct(">HIIiIH")
_TABLE_ENTRY = struct.Struct(">H64s")
_BASE_TYPES = frozenset(("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f64", "bool", "string"))


def hello(name: str, context: int) -> bytes:
    """Return ``sockclnt_create``, framed: the first thing to say on a new connection."""
    return framed(_HELLO.pack(_SOCKCLNT_CREATE, context, name.encode("ascii")[:63]))


class MessageTable:
    """What ``sockclnt_create_reply`` says: our client index, and the number and CRC of every message that VPP has."""

    def __init__(self, message: bytes) -> None:
        if len(message) < _WELCOME.size:
            raise MalformedMessage(f"sockclnt_create_reply of {len(message)} bytes")
        number, _, _, response, self.client_index, count = _WELCOME.unpack_from(message)
        if number != _SOCKCLNT_CREATE_REPLY or len(message) != _WELCOME.size + count * _TABLE_ENTRY.size:
            raise MalformedMessage(f"message {number} of {len(message)} bytes where sockclnt_create_reply was due")
        if response:
            raise MalformedMessage(f"VPP does not take us as a client: {response}")
        self.numbers: dict[str, int] = {}
        self._crcs: dict[str, str] = {}
        for number, packed in _TABLE_ENTRY.iter_unpack(message[_WELCOME.size :]):
            name, _, crc = packed.rstrip(b"\0").decode("ascii", "replace").rpartition("_")
            self.numbers[name] = number
            self._crcs[name] = crc

    def known(self) -> dict[str, int]:
        """Return the numbers of the messages that this VPP defines as we do."""
        wanted = {**REQUIRED, **OPTIONAL}
        return {name: self.numbers[name] for name, crc in wanted.items() if self._crcs.get(name) == crc}

    def differences(self) -> list[str]:
        """Return a sentence for each message we need that this VPP lacks or defines otherwise."""
        found = [(name, crc, self._crcs.get(name)) for name, crc in REQUIRED.items()]
        return [
            f"{name} is missing" if there is None else f"{name} has changed (CRC {there}, {crc} is known)"
            for name, crc, there in found
            if there != crc
        ]


class Messages:
    """Packs and unpacks messages by name, by vpp_papi's serializer: for all that does not come in millions."""

    def __init__(self, table: MessageTable) -> None:
        self.numbers = table.known()
        self.names = {number: name for name, number in self.numbers.items()}
        self.offered = frozenset(table.numbers)
        """The names of all messages that this VPP has, known to us or not."""
        self.client_index = table.client_index
        self._packers = {name: VPPMessage(name, [["u16", "_vl_msg_id"], *fields]) for name, fields in _MEMCLNT.items()}

    def learn(self, text: str) -> None:
        """Take the definitions that ``get_api_json`` returned. Raises MalformedMessage."""
        try:
            types, messages = _tables(json.loads(text.rstrip("\0")))
            built: set[str] = set()
            for name in self.numbers.keys() - BULK.keys() - _MEMCLNT.keys():
                _build_types(messages[name], types, built)
                self._packers[name] = VPPMessage(name, messages[name])
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            raise MalformedMessage(f"VPP's API definitions make no sense: {error!r}") from None

    def pack(self, name: str, context: int, /, **fields: Any) -> bytes:
        """Return a message, framed; fields that are not given are zero."""
        values = {"_vl_msg_id": self.numbers[name], "client_index": self.client_index, "context": context, **fields}
        return framed(self._packers[name].pack(values))

    def unpack(self, name: str, message: bytes) -> Any:
        """Return a message as vpp_papi's named tuple, addresses packed. Raises MalformedMessage."""
        try:
            return self._packers[name].unpack(message, ntc=True)[0]
        except (ValueError, TypeError, IndexError, KeyError, struct.error) as error:
            raise MalformedMessage(f"{name} of {len(message)} bytes: {error}") from None


def _tables(modules: list[dict[str, Any]]) -> tuple[dict[str, tuple[str, Any]], dict[str, list[Any]]]:
    """Return kind and definition of each type, and the fields of each message."""
    types: dict[str, tuple[str, Any]] = {}
    messages: dict[str, list[Any]] = {}
    for module in modules:
        for kind in ("enums", "enumflags", "unions", "types"):
            types.update((f"vl_api_{each[0]}_t", (kind, each[1:])) for each in module.get(kind, ()))
        types.update((f"vl_api_{name}_t", ("aliases", each)) for name, each in module.get("aliases", {}).items())
        messages.update((message[0], message[1:]) for message in module["messages"])
    return types, messages


def _build_types(fields: list[Any], types: Mapping[str, tuple[str, Any]], built: set[str]) -> None:
    """Register with vpp_papi what these fields are made of, innermost first."""
    for field in fields:
        name = field[0] if isinstance(field, list) else None
        if name is None or name in _BASE_TYPES or name in built:
            continue
        built.add(name)
        kind, definition = types[name]
        if kind in ("unions", "types"):
            _build_types(definition, types, built)
        elif kind == "aliases":
            _build_types([[definition["type"]]], types, built)
        papi_types.pop(name, None)
        _KINDS[kind](name, definition)


_KINDS = {
    "enums": VPPEnumType,
    "enumflags": VPPEnumFlagType,
    "unions": VPPUnionType,
    "types": VPPType,
    "aliases": VPPTypeAlias,
}
