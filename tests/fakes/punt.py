"""The part of the fake VPP that punts: multicast entries, the policer and the ACL of what is punted, frames."""

from __future__ import annotations

import sys
from typing import Any

from rtagent.wire.vapi.definitions import PUNTING
from tests.fakes.interfaces import Interfaces

_NONE = 0xFFFFFFFF
_NO_SUCH_FIB, _NO_SUCH_ENTRY, _INVALID, _NO_FEATURE, _HELD, _EXISTS = -3, -6, -7, -30, -31, -81
_IPV4 = 0x0800
PLUGINS = dict(PUNTING)
"""The messages of linux-cp, pairs apart, and of the policer."""

EntryKey = tuple[int, int, int, bytes, bytes]
"""VPP's table, is_ip6, length, group, source."""
PathKey = tuple[int, int, int]
"""Interface, type and weight."""


class FakePunt:
    """Answers to requests, as handlers of the fake."""

    def __init__(self, pack: Any, interfaces: Interfaces, tables: dict[tuple[int, int], str]) -> None:
        self._pack = pack
        self._interfaces = interfaces
        self._tables = tables
        self.entries: dict[EntryKey, dict[PathKey, Any]] = {}
        self.policers: dict[int, tuple[str, Any]] = {}
        self.policed: list[tuple[int, int]] = []
        """(is_ip6, policer) of each time that the feature is on."""
        self.classifiers: dict[int, Any] = {}
        self.sessions: dict[int, list[Any]] = {}
        self.acls = [_NONE, _NONE]
        self.ethertypes: set[int] = set()

    def _ip_mroute_add_del(self, request: Any) -> bytes:
        route, retval = request.route, 0
        is_ipv6 = int(route.prefix.af)
        name = "ip6" if is_ipv6 else "ip4"
        group, source = (bytes(getattr(each, name)) for each in (route.prefix.grp_address, route.prefix.src_address))
        key = route.table_id, is_ipv6, route.prefix.grp_address_length, group, source
        if (route.table_id, is_ipv6) not in self._tables:
            retval = _NO_SUCH_FIB
        elif request.is_add:
            for each in route.paths:
                self.entries.setdefault(key, {})[_path_key(each)] = each
        else:
            for each in route.paths:
                self.entries.get(key, {}).pop(_path_key(each), None)
            if not self.entries.get(key):
                self.entries.pop(key, None)
        return self._pack("ip_mroute_add_del_reply", request, retval=retval)

    def _ip_mroute_dump(self, request: Any) -> bytes:
        table, is_ipv6 = request.table.table_id, int(request.table.is_ip6)
        found = [(key[2:], [*paths.values()]) for key, paths in self.entries.items() if key[:2] == (table, is_ipv6)]
        name = "ip6" if is_ipv6 else "ip4"
        return b"".join(
            self._pack(
                "ip_mroute_details",
                request,
                route={
                    "table_id": table,
                    "prefix": {
                        "af": is_ipv6,
                        "grp_address_length": length,
                        "grp_address": {name: group},
                        "src_address": {name: source},
                    },
                    "n_paths": len(paths),
                    "paths": [_path(each.path.sw_if_index, each.path.type, each.path.preference) for each in paths],
                },
            )
            for (length, group, source), paths in found
        )

    def _feature_enable_disable(self, request: Any) -> bytes:
        each = self._interfaces.by_number.get(request.sw_if_index)
        if each is not None and request.arc_name == "ip4-unicast":
            assert request.feature_name == "ip4-not-enabled"
            each.not_enabled = max(0, each.not_enabled + (1 if request.enable else -1))
            assert each.not_enabled < 2, "VPP would go on dropping with an address"
        return self._pack("feature_enable_disable_reply", request, retval=0 if each is not None else -2)

    def _cli_inband(self, request: Any) -> bytes:
        words = request.cmd.split()
        assert words[:-1] == ["show", "interface", "features"]
        each = next(each for each in self._interfaces.by_number.values() if each.name == words[-1])
        dropped = ["  ip4-not-enabled"] * each.not_enabled
        said = ["ip4-multicast:", *dropped, "", "ip4-unicast:", *dropped]
        if each.name == "local0":
            said += [f"  ip{6 if is_ipv6 else 4}-punt-policer" for is_ipv6, _ in self.policed]
        return self._pack("cli_inband_reply", request, reply="\n".join(said))

    def _policer_add(self, request: Any) -> bytes:
        if any(name == request.name for name, _ in self.policers.values()):
            return self._pack("policer_add_reply", request, retval=_EXISTS, policer_index=_NONE)
        number = next(number for number in range(1000) if number not in self.policers)
        self.policers[number] = request.name, request.infos
        return self._pack("policer_add_reply", request, policer_index=number)

    def _policer_update(self, request: Any) -> bytes:
        self.policers[request.policer_index] = self.policers[request.policer_index][0], request.infos
        return self._pack("policer_update_reply", request)

    def _policer_del(self, request: Any) -> bytes:
        assert request.policer_index not in (policer for _, policer in self.policed), "VPP would crash"
        known = self.policers.pop(request.policer_index, None)
        return self._pack("policer_del_reply", request, retval=0 if known else _NO_SUCH_ENTRY)

    def _policer_dump_v2(self, request: Any) -> bytes:
        return b"".join(
            self._pack("policer_details", request, name=name, cir=infos.cir, cb=infos.cb)
            for number, (name, infos) in self.policers.items()
            if request.policer_index in (_NONE, number)
        )

    def _ip_punt_police(self, request: Any) -> bytes:
        on = int(request.is_ip6), request.policer_index
        if request.is_add:
            assert all(is_ipv6 != on[0] for is_ipv6, _ in self.policed), "VPP would police twice"
            self.policed.append(on)
        else:
            self.policed = [each for each in self.policed if each[0] != on[0]]
        return self._pack("ip_punt_police_reply", request)

    def _add_node_next(self, request: Any) -> bytes:
        return self._pack("add_node_next_reply", request, next_index=1)

    def _classify_add_del_table(self, request: Any) -> bytes:
        number, retval = _NONE, 0
        if request.mask_len != 16 * request.match_n_vectors:
            retval = _INVALID
        elif request.is_add:
            number = next(number for number in range(1000) if number not in self.classifiers)
            self.classifiers[number], self.sessions[number] = request, []
        else:
            assert request.table_index not in self.acls, "VPP would crash"
            at = request.table_index
            while at != _NONE:
                at = self.classifiers.pop(at).next_table_index
        return self._pack("classify_add_del_table_reply", request, retval=retval, new_table_index=number)

    def _classify_add_del_session(self, request: Any) -> bytes:
        self.sessions[request.table_index].append(request)
        return self._pack("classify_add_del_session_reply", request)

    def _classify_table_info(self, request: Any) -> bytes:
        made = self.classifiers[request.table_id]
        return self._pack(
            "classify_table_info_reply", request, next_table_index=made.next_table_index,
            mask_length=len(made.mask), mask=bytes(made.mask),
        )  # fmt: skip

    def _classify_session_dump(self, request: Any) -> bytes:
        return b"".join(
            self._pack(
                "classify_session_details", request, opaque_index=each.opaque_index,
                match_length=len(each.match), match=bytes(each.match),
            )
            for each in self.sessions[request.table_id]
        )  # fmt: skip

    def _punt_acl_get(self, request: Any) -> bytes:
        return self._pack(
            "punt_acl_get_reply", request, ip4_table_index=self.acls[0], ip6_table_index=self.acls[1]
        )  # fmt: skip

    def _punt_acl_add_del(self, request: Any) -> bytes:
        for family, number in enumerate((request.ip4_table_index, request.ip6_table_index)):
            if number != _NONE:
                self.acls[family] = number if request.is_add else _NONE
        return self._pack("punt_acl_add_del_reply", request)

    def _lcp_itf_pair_get(self, request: Any) -> bytes:
        return self._pack("lcp_itf_pair_get_reply", request)  # it has no taps to pair

    def _lcp_ethertype_get(self, request: Any) -> bytes:
        types = sorted(self.ethertypes)
        return self._pack("lcp_ethertype_get_reply", request, count=len(types), ethertypes=types)

    def _lcp_ethertype_enable(self, request: Any) -> bytes:
        number = int.from_bytes(request.ethertype.to_bytes(2, "big"), sys.byteorder)
        if number != _IPV4:
            self.ethertypes.add(number)
        return self._pack("lcp_ethertype_enable_reply", request, retval=_HELD if number == _IPV4 else 0)

    def _lcp_osi_proto_get(self, request: Any) -> bytes:
        return self._pack("lcp_osi_proto_get_reply", request)

    def _lcp_osi_proto_enable(self, request: Any) -> bytes:
        return self._pack("lcp_osi_proto_enable_reply", request, retval=_NO_FEATURE)


def _path_key(each: Any) -> PathKey:
    return each.path.sw_if_index, int(each.path.type), each.path.weight


def _path(interface: int, kind: int, preference: int) -> dict[str, Any]:
    empty = {"is_uniform": 0, "label": 0, "ttl": 0, "exp": 0}
    path = {
        "sw_if_index": interface, "weight": 1, "preference": preference, "type": kind,
        "nh": {"address": {"ip6": bytes(16)}}, "label_stack": [empty] * 16,
    }  # fmt: skip
    return {"itf_flags": 0 if kind else 2, "path": path}
