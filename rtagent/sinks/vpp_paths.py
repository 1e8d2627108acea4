"""A path as vpp_papi takes it, for the messages that carry few of them; routes by the thousand are packed elsewhere."""

from __future__ import annotations

from typing import Any

from rtagent.vector.ports import NO_INTERFACE

NORMAL, LOCAL = 0, 1
"""FIB_API_PATH_TYPE_*, vnet/fib/fib_types.api."""
_NO_LABEL = {"is_uniform": 0, "label": 0, "ttl": 0, "exp": 0}


def api_path(kind: int, interface: int = NO_INTERFACE, *, is_ipv6: bool = False, preference: int = 0) -> dict[str, Any]:
    """Return a vl_api_fib_path_t without a next hop and labels."""
    return {
        "sw_if_index": interface,
        "weight": 1,
        "preference": preference,
        "type": kind,
        "proto": int(is_ipv6),
        "nh": {"address": {"ip6": bytes(16)}},
        "label_stack": [_NO_LABEL] * 16,
    }
