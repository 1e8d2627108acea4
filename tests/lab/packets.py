"""Packets on a link of the lab, seen without rtagent's code and without tcpdump: a raw socket, and struct."""

from __future__ import annotations

import ipaddress
import itertools
import mmap
import select
import socket
import struct
import sys
from pathlib import Path
from typing import NamedTuple

from tests.lab.lab import Namespace, Process

_ROOT = Path(__file__).parents[2]
_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_RX_RING, _TP_STATUS_USER = 263, 5, 1
"""linux/if_packet.h."""
_FRAME_BYTES, _FRAMES = 4096, 256
_IPV6_ROUTE = 43
_ETHERNET_BYTES, _IPV4_BYTES, _IPV6_BYTES = 14, 20, 40


class Segments(NamedTuple):
    """A segment routing header (RFC 8754) and the addresses around it."""

    source: str
    destination: str
    segments_left: int
    segments: tuple[str, ...]
    """As they lie in the header: the last one first."""
    payload: int
    """The protocol number of what is inside."""


class Outer(NamedTuple):
    """An IPv4 header, and the one that lies within (RFC 2003)."""

    source: str
    destination: str
    protocol: int
    ttl: int
    tos: int
    inner_destination: str
    inner_ttl: int


class Capture:
    """Prints every frame of a link as hexadecimal, from the moment it is made until the lab ends."""

    def __init__(self, namespace: Namespace, link: str) -> None:
        self._process: Process = namespace.start(
            sys.executable, "-m", "tests.lab.packets", link, log=f"capture-{link}.log", env={"PYTHONPATH": str(_ROOT)}
        )
        self._process.wait_for(lambda: self._process.text().startswith("ready"), "the capture")

    def segments(self, payload: int) -> Segments:
        """Return the first packet with segments around this protocol."""
        found: Segments = self._process.wait_for(
            lambda: next((seen for f in self._frames() if (seen := _segments(f)) and seen.payload == payload), None),
            f"a packet with segments around protocol {payload}",
        )
        return found

    def tunnelled(self, protocol: int, destination: str) -> Outer:
        """Return the first IPv4 packet that carries IPv4 by this protocol to this address."""

        def wanted(seen: Outer | None) -> bool:
            return seen is not None and (seen.protocol, seen.destination) == (protocol, destination)

        found: Outer = self._process.wait_for(
            lambda: next((seen for frame in self._frames() if wanted(seen := _outer(frame))), None),
            f"a packet of protocol {protocol} to {destination}",
        )
        return found

    def frame(self, ending: bytes) -> bytes:
        """Return the first frame that ends like this."""
        found: bytes = self._process.wait_for(
            lambda: next((frame for frame in self._frames() if frame.endswith(ending)), None), f"a frame …{ending!r}"
        )
        return found

    def _frames(self) -> list[bytes]:
        lines = self._process.text().split("\n")[1:-1]
        return [bytes.fromhex(line) for line in lines]


def _segments(frame: bytes) -> Segments | None:
    packet = frame[_ETHERNET_BYTES:]
    if frame[12:14] != b"\x86\xdd" or len(packet) < _IPV6_BYTES + 8 or packet[6] != _IPV6_ROUTE:
        return None
    header = packet[_IPV6_BYTES:]
    payload, _, _, left, last = header[:5]
    listed = tuple(_text(header[8 + 16 * n : 24 + 16 * n]) for n in range(last + 1))
    return Segments(_text(packet[8:24]), _text(packet[24:40]), left, listed, payload)


def _outer(frame: bytes) -> Outer | None:
    packet = frame[_ETHERNET_BYTES:]
    if frame[12:14] != b"\x08\x00" or len(packet) < 2 * _IPV4_BYTES:
        return None
    inner = packet[_IPV4_BYTES:]
    return Outer(
        _text(packet[12:16]), _text(packet[16:20]), packet[9], packet[8], packet[1], _text(inner[16:20]), inner[8]
    )


def _text(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed))


def _print_frames(link: str) -> None:
    """Copy frames into a ring as they pass: the kernel goes on working in what a plain raw socket would still show."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)) as raw:
        ring_of = struct.pack("IIII", _FRAME_BYTES * _FRAMES, 1, _FRAME_BYTES, _FRAMES)  # struct tpacket_req
        raw.setsockopt(_SOL_PACKET, _PACKET_RX_RING, ring_of)
        ring = mmap.mmap(raw.fileno(), _FRAME_BYTES * _FRAMES)
        raw.bind((link, 0))
        print("ready", flush=True)
        for at in itertools.cycle(range(0, _FRAME_BYTES * _FRAMES, _FRAME_BYTES)):
            while not struct.unpack_from("L", ring, at)[0] & _TP_STATUS_USER:
                select.select([raw], [], [])
            _, _, held, start, _ = struct.unpack_from("LIIHH", ring, at)  # struct tpacket_hdr
            print(ring[at + start : at + start + held].hex(), flush=True)
            struct.pack_into("L", ring, at, 0)


if __name__ == "__main__":
    _print_frames(sys.argv[1])
