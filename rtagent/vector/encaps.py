"""Encapsulations: what the kernel's lightweight tunnels put around a packet, and what a data plane makes of it.

A kernel's nexthop carries a ``Seg6`` or an ``IpTunnel``, as ``ip route`` shows it. Resolved, it is a ``SrPolicy`` or a
``Tunnel``: an object of the data plane that is made before the first route leaves through it and removed after the
last one. Everything that makes two of them forward differently is part of the value, so the value is the object's key.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple, TypeAlias

from rtagent.vector.keys import TABLE_MAIN
from rtagent.vector.objects import Stage

STEERING_TABLE = 1_900_000_000
"""The data plane's table in which policies are entered, in either family: a number that people do not give."""

DONT_FRAGMENT = 0x0100
"""linux/if_tunnel.h, TUNNEL_DONT_FRAGMENT of LWTUNNEL_IP_FLAGS (stated by the kernel in network order)."""


class Seg6(NamedTuple):
    """``encap seg6``: an IPv6 segment routing header (RFC 8754), linux/seg6_iptunnel.h."""

    mode: str
    """"encap", "encap.red", "inline", "l2encap" or "l2encap.red"."""
    segments: tuple[bytes, ...]
    """In the order of travel; without the placeholder of the destination that mode inline ends with."""
    hmac: int = 0
    """The id of the key, 0 for none."""
    source: bytes = b""
    """The outer source, empty where the kernel chooses it."""

    @property
    def text(self) -> str:
        """The encapsulation in the words of ``ip route``."""
        return _seg6_text(self.mode, self.segments) + (f" hmac {self.hmac:#x}" if self.hmac else "")


class IpTunnel(NamedTuple):
    """``encap ip`` and ``encap ip6``: what a tunnel device in external mode is to write, linux/lwtunnel.h."""

    destination: bytes
    source: bytes = b""
    """Empty where the kernel chooses it."""
    ttl: int = 0
    """0: as in the packet."""
    tos: int = 0
    """1: as in the packet."""
    identity: int = 0
    flags: int = 0

    @property
    def text(self) -> str:
        """The encapsulation in the words of ``ip route``."""
        version, ttl, tos = ("ip6", "hoplimit", "tc") if len(self.destination) == 16 else ("ip", "ttl", "tos")
        source = self.source or bytes(len(self.destination))
        ends = f"src {_text(source)} dst {_text(self.destination)}"
        return f"{version} id {self.identity} {ends} {ttl} {self.ttl} {tos} {self.tos}"


class SrPolicy(NamedTuple):
    """One list of segments, to be put around a packet, or (``inline``) into it."""

    segments: tuple[bytes, ...]
    """In the order of travel."""
    source: bytes = b""
    """The outer source; empty with ``inline``."""
    inline: bool = False
    table: int = TABLE_MAIN
    """Where the way to the first segment is looked up."""

    @property
    def stage(self) -> Stage:
        """Routes leave through it."""
        return Stage.INTERFACE

    @property
    def text(self) -> str:
        """The policy in the words of ``ip route``."""
        source = f" src {_text(self.source)}" if self.source else ""
        return _seg6_text("inline" if self.inline else "encap", self.segments) + source


class Tunnel(NamedTuple):
    """IP in IP (RFC 2003, RFC 2473), between two addresses of one family."""

    source: bytes
    destination: bytes
    copies_ttl: bool = True
    """Whether the outer TTL is the packet's; else it is the data plane's own."""
    dscp: int = 0
    copies_dscp: bool = False
    dont_fragment: bool = False
    table: int = TABLE_MAIN
    """Where the way to the destination is looked up."""

    @property
    def stage(self) -> Stage:
        """Routes leave through it."""
        return Stage.INTERFACE

    @property
    def text(self) -> str:
        """The tunnel in the words of ``ip route``."""
        version, ttl, tos = ("ip6", "hoplimit", "tc") if len(self.destination) == 16 else ("ip", "ttl", "tos")
        kept = "" if self.copies_ttl else f" {ttl} {TUNNEL_TTL}"
        kept += f" {tos} {1 if self.copies_dscp else self.dscp << 2}" if self.copies_dscp or self.dscp else ""
        return f"{version} src {_text(self.source)} dst {_text(self.destination)}{kept}"


TUNNEL_TTL = 64
"""What VPP writes into the outer header of a tunnel that does not copy it (vnet/ipip/ipip.c)."""

KernelEncap: TypeAlias = Seg6 | IpTunnel
Encap: TypeAlias = SrPolicy | Tunnel


def _seg6_text(mode: str, segments: tuple[bytes, ...]) -> str:
    return f"seg6 mode {mode} segs [ {' '.join(map(_text, segments))} ]"


def _text(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))
