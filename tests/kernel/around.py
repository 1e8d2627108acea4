"""What ``ip -j`` says that a next hop puts around a packet, in the words by which the mirror calls what it makes of it.

Told from the kernel's own state alone. The source of a segment routing header is left out: the kernel chooses it packet
by packet, and shows it nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

NOT_EXPRESSED = "what no data plane puts around a packet"

_TUNNELS = {"ip": "ipip", "ip6": "ip6tnl"}
"""The kind of device that writes such a header, of those that are mirrored."""
_SOURCE = re.compile(r"^(seg6 .*) src \S+$")


def around(way: Mapping[str, Any], family: str, links: Mapping[str, Any], *, sourced: bool) -> str:
    """Return a way's encapsulation, "" without one (labels are none), or NOT_EXPRESSED.

    ``family`` of the route: inet or inet6; ``links`` as ``ip -d -j link`` shows them, by name; ``sourced``: whether the
    router has an address to send from.
    """
    kind = way.get("encap", "")
    if kind == "seg6":
        return _segments(way, family, sourced=sourced)
    if kind in _TUNNELS:
        return _tunnel(way, kind, family, links.get(way["dev"], {}))
    return "" if kind in ("", "mpls") else NOT_EXPRESSED


def without_source(text: str) -> str:
    """Return what the mirror calls a policy, without the source."""
    found = _SOURCE.match(text)
    return found[1] if found else text


def is_around(device: str) -> bool:
    """Whether what a way leaves through is an encapsulation, and no device."""
    return " " in device


def own_tos(route: Mapping[str, Any]) -> int:
    """Return the tos that a route is for; of one that tunnels, ``ip`` says first what the tunnel writes."""
    return int(str(route.get("encap tos" if route.get("encap") == "ip" else "tos", "0")), 0)


def _segments(way: Mapping[str, Any], family: str, *, sourced: bool) -> str:
    mode, segments = way["mode"], way["segs"]
    inline = mode == "inline"
    if mode not in ("encap", "encap.red", "inline") or "hmac" in way or not (sourced or inline):
        return NOT_EXPRESSED
    if inline and family != "inet6":  # the kernel takes such a route, by an object, and drops what it leads
        return NOT_EXPRESSED
    if inline:
        segments = segments[:-1]  # the packet's own destination is filled in there
    return f"seg6 mode {'inline' if inline else 'encap'} segs [ {' '.join(segments)} ]"


def _tunnel(way: Mapping[str, Any], kind: str, family: str, link: Mapping[str, Any]) -> str:
    info = link.get("linkinfo", {})
    external = info.get("info_data", {}).get("external", False)
    ttl = way["ttl" if kind == "ip" else "hoplimit"]
    carried = family == "inet" or kind == "ip6"
    if info.get("info_kind") != _TUNNELS[kind] or not external or "master" in link or not carried:
        return NOT_EXPRESSED
    source, destination = way["src"], way.get("encap dst") or way["dst"]
    if source in ("0.0.0.0", "::") or ttl not in (0, 64) or way["tos" if kind == "ip" else "tc"]:
        return NOT_EXPRESSED
    return f"{kind} src {source} dst {destination}" + (f" {'ttl' if kind == 'ip' else 'hoplimit'} {ttl}" if ttl else "")
