"""Requests: dumps, and the one thing that we ask the kernel to do, to look whether a neighbour is still there.

All are strict (NETLINK_GET_STRICT_CHK): the kernel checks and honours every field of the header.
"""

from __future__ import annotations

import struct

from rtagent.vector.batch import Dump
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS
from rtagent.wire.netlink import constants as nl

_HEADERS = {
    Dump.LINKS: (nl.RTM_GETLINK, 0, 16),
    Dump.ADDRESSES: (nl.RTM_GETADDR, 0, 8),
    Dump.NEIGHBORS: (nl.RTM_GETNEIGH, 0, 12),
    Dump.NEXTHOPS: (nl.RTM_GETNEXTHOP, 0, 8),
    Dump.RULES: (nl.RTM_GETRULE, 0, 12),
    Dump.NETCONF: (nl.RTM_GETNETCONF, 0, 4),
    Dump.ROUTES_INET: (nl.RTM_GETROUTE, AF_INET, 12),
    Dump.ROUTES_INET6: (nl.RTM_GETROUTE, AF_INET6, 12),
    Dump.ROUTES_MPLS: (nl.RTM_GETROUTE, AF_MPLS, 12),
}
"""Message type, address family, and the length of the header that follows nlmsghdr (ifinfomsg, ifaddrmsg, …)."""

_NTF_USE = 0x01
"""linux/neighbour.h."""


def dump_request(dump: Dump, sequence: int) -> bytes:
    """Return the message that asks for a complete dump; its answers carry ``sequence``."""
    message_type, family, header_bytes = _HEADERS[dump]
    body = struct.pack("B", family).ljust(header_bytes, b"\0")
    flags = nl.NLM_F_REQUEST | nl.NLM_F_DUMP
    return struct.pack("<IHHII", 16 + len(body), message_type, flags, sequence, 0) + body


def probe_request(family: int, ifindex: int, address: bytes, sequence: int) -> bytes:
    """Return the message after which the kernel looks for a neighbour, as if it had a packet for it.

    It makes an entry where there is none. An entry that is reachable stays as it is; a permanent one would lose its
    permanence (NEIGH_UPDATE_F_USE in net/core/neighbour.c). Only an error is answered, with ``sequence``.
    """
    body = struct.pack("<BxxxiHBB", family, ifindex, 0, _NTF_USE, 0)
    body += struct.pack("<HH", 4 + len(address), nl.NDA_DST) + address
    flags = nl.NLM_F_REQUEST | nl.NLM_F_CREATE | nl.NLM_F_REPLACE
    return struct.pack("<IHHII", 16 + len(body), nl.RTM_NEWNEIGH, flags, sequence, 0) + body


def refusal(answer: bytes) -> int:
    """Return the errno of an NLMSG_ERROR: i32 error behind the header, negative."""
    (number,) = struct.unpack_from("<i", answer, 16)
    return -int(number)
