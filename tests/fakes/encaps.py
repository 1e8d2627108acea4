"""The part of the fake VPP that holds segment routing policies and IP-in-IP tunnels, with what VPP refuses."""

from __future__ import annotations

from typing import Any

from tests.fakes.interfaces import Interface, Interfaces

_NO_SUCH_ENTRY, _IF_ALREADY_EXISTS, _POLICY_EXISTS, _NO_SUCH_POLICY, _NOT_STEERED = -6, -79, -12, -2, -4
"""vnet/error.h; the last three are srv6's own numbers."""
_FIRST_TUNNEL = 100

Pack = Any


class FakeEncaps:
    """Answers to requests, as handlers of the fake."""

    def __init__(self, pack: Pack, interfaces: Interfaces) -> None:
        self._pack = pack
        self._interfaces = interfaces
        self.policies: dict[bytes, Any] = {}
        """sr_policy_add_v2 by binding segment."""
        self.steering: dict[tuple[int, bytes], Any] = {}
        """sr_steering_add_del by table and address."""
        self.tunnels: dict[int, Any] = {}
        """Tunnels by their interface."""

    def _sr_policy_add_v2(self, request: Any) -> bytes:
        retval = _POLICY_EXISTS if bytes(request.bsid_addr) in self.policies else 0
        self.policies.setdefault(bytes(request.bsid_addr), request)
        return self._pack("sr_policy_add_v2_reply", request, retval=retval)

    def _sr_policy_del(self, request: Any) -> bytes:
        known = self.policies.pop(bytes(request.bsid_addr), None)
        return self._pack("sr_policy_del_reply", request, retval=0 if known else -1)

    def _sr_steering_add_del(self, request: Any) -> bytes:
        address = request.prefix.address
        where = request.table_id, bytes(address.un.ip6 if address.af else address.un.ip4)
        retval = 0
        if request.is_del:
            retval = 0 if self.steering.pop(where, None) else _NOT_STEERED
        elif bytes(request.bsid_addr) not in self.policies:
            retval = _NO_SUCH_POLICY
        else:
            self.steering[where] = request
        return self._pack("sr_steering_add_del_reply", request, retval=retval)

    def _sr_policies_v2_dump(self, request: Any) -> bytes:
        return b"".join(
            self._pack(
                "sr_policies_v2_details", request, bsid=binding, encap_src=made.encap_src, type=made.type,
                is_encap=made.is_encap, fib_table=made.fib_table, num_sid_lists=1, sid_lists=[made.sids._asdict()],
            )
            for binding, made in self.policies.items()
        )  # fmt: skip

    def _sr_steering_pol_dump(self, request: Any) -> bytes:
        return b"".join(
            self._pack(
                "sr_steering_pol_details", request, traffic_type=made.traffic_type, fib_table=table,
                prefix={"address": _address(made.prefix.address), "len": made.prefix.len}, bsid=made.bsid_addr,
            )
            for (table, _), made in self.steering.items()
        )  # fmt: skip

    def _ipip_add_tunnel(self, request: Any) -> bytes:
        ends = [(made.src, made.dst) for made in self.tunnels.values()]
        if (request.tunnel.src, request.tunnel.dst) in ends:
            return self._pack("ipip_add_tunnel_reply", request, retval=_IF_ALREADY_EXISTS)
        interface = max(self.tunnels, default=_FIRST_TUNNEL - 1) + 1
        self.tunnels[interface] = request.tunnel
        self._interfaces.by_number[interface] = Interface(f"ipip{request.tunnel.instance}", flags=0)
        return self._pack("ipip_add_tunnel_reply", request, sw_if_index=interface)

    def _ipip_del_tunnel(self, request: Any) -> bytes:
        known = self.tunnels.pop(request.sw_if_index, None)
        self._interfaces.by_number.pop(request.sw_if_index, None)
        return self._pack("ipip_del_tunnel_reply", request, retval=0 if known else _NO_SUCH_ENTRY)

    def _ipip_tunnel_dump(self, request: Any) -> bytes:
        return b"".join(
            self._pack(
                "ipip_tunnel_details", request,
                tunnel=made._asdict() | {
                    "src": _address(made.src), "dst": _address(made.dst), "sw_if_index": interface,
                },
            )
            for interface, made in self.tunnels.items()
        )  # fmt: skip


def _address(address: Any) -> dict[str, Any]:
    return {"af": address.af, "un": {"ip6": address.un.ip6} if address.af else {"ip4": address.un.ip4}}
