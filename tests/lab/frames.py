"""Frames made by hand, and what sends them: whatever a neighbour on the wire may say, and a flood of it."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
import time
from pathlib import Path

from tests.lab.lab import Namespace, Process

_ROOT = Path(__file__).parents[2]
_INET, _INET6 = 0x0800, 0x86DD
_UDP = 17
_BROADCAST = b"\xff" * 6
_SENDER = bytes((2, 0, 0, 0, 0, 0x99))


def ethernet(destination: bytes, ethertype: int, payload: bytes) -> bytes:
    """Return a frame; an ethertype below 0x600 is a length, as of a frame with an LLC header."""
    return destination + _SENDER + struct.pack(">H", ethertype) + payload


def inet(source: str, destination: str, protocol: int, payload: bytes, mac: bytes | None = None) -> bytes:
    """Return a frame with an IPv4 packet, to the hardware address of its destination if there is no other."""
    packed = [ipaddress.IPv4Address(text).packed for text in (source, destination)]
    ttl = 1 if packed[1][0] >= 224 else 64
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, ttl, protocol, 0, *packed)
    total = sum(struct.unpack(">10H", header))
    checksum = ~(total + (total >> 16)) & 0xFFFF
    header = header[:10] + struct.pack(">H", checksum) + header[12:]
    if mac is None:
        low = packed[1][1:]
        mac = b"\x01\x00\x5e" + bytes((low[0] & 0x7F,)) + low[1:] if 224 <= packed[1][0] < 240 else _BROADCAST
    return ethernet(mac, _INET, header + payload)


def inet6(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """Return a frame with an IPv6 packet to a multicast group."""
    packed = [ipaddress.IPv6Address(text).packed for text in (source, destination)]
    header = struct.pack(">IHBB16s16s", 6 << 28, len(payload), protocol, 1, *packed)
    return ethernet(b"\x33\x33" + packed[1][-4:], _INET6, header + payload)


def udp(source_port: int, port: int, payload: bytes) -> bytes:
    """Return a UDP datagram without a checksum."""
    return struct.pack(">HHHH", source_port, port, 8 + len(payload), 0) + payload


def send(namespace: Namespace, link: str, *frames: bytes) -> None:
    """Send frames out of a link, one after the other."""
    texts = [frame.hex() for frame in frames]
    namespace.run("env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "tests.lab.frames", link, "once", *texts)


def flood(namespace: Namespace, link: str, frame: bytes) -> Process:
    """Send a frame as fast as it goes, until the process is stopped."""
    command = (sys.executable, "-m", "tests.lab.frames", link, "flood", frame.hex())
    return namespace.start(*command, log="flood.log", env={"PYTHONPATH": str(_ROOT)})


def _main(link: str, how: str, *texts: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((link, 0))
        frames = [bytes.fromhex(text) for text in texts]
        sent = 0
        while how == "flood" or not sent:
            for frame in frames:
                try:
                    raw.send(frame)
                except OSError:  # the queue is full
                    time.sleep(0)
                sent += 1


if __name__ == "__main__":
    _main(*sys.argv[1:])
