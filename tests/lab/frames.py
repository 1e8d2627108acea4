"""Frames made by hand, and what sends them: whatever a neighbour on the wire may say, and a flood of it."""

from __future__ import annotations

import ipaddress
import mmap
import socket
import struct
import sys
from pathlib import Path

from tests.lab.lab import Namespace, Process

_ROOT = Path(__file__).parents[2]
_INET, _INET6 = 0x0800, 0x86DD
_UDP = 17
_BROADCAST = b"\xff" * 6
_SENDER = bytes((2, 0, 0, 0, 0, 0x99))
_SOL_PACKET, _PACKET_TX_RING, _PACKET_LOSS, _PACKET_QDISC_BYPASS = 263, 13, 14, 20
_TP_STATUS_SEND_REQUEST = 1
_TX_HEADER = struct.Struct("=QIIHHII4x")
"""struct tpacket_hdr of linux/if_packet.h, aligned; a frame to be sent lies behind it."""
_SLOT_BYTES, _SLOTS = 2048, 512


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
    """Send a frame as fast as the kernel takes it, hundreds with one call, until the process is stopped."""
    command = (sys.executable, "-m", "tests.lab.frames", link, "flood", frame.hex())
    return namespace.start(*command, log="flood.log", env={"PYTHONPATH": str(_ROOT)})


def _send(link: str, *texts: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((link, 0))
        for text in texts:
            raw.send(bytes.fromhex(text))


def _flood(link: str, text: str) -> None:
    frame = bytes.fromhex(text)
    slot = _TX_HEADER.pack(_TP_STATUS_SEND_REQUEST, len(frame), len(frame), 0, 0, 0, 0) + frame
    full = slot.ljust(_SLOT_BYTES, b"\0") * _SLOTS
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.setsockopt(_SOL_PACKET, _PACKET_LOSS, 1)
        raw.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        raw.setsockopt(_SOL_PACKET, _PACKET_TX_RING, struct.pack("=4I", len(full), 1, _SLOT_BYTES, _SLOTS))
        raw.bind((link, 0))
        with mmap.mmap(raw.fileno(), len(full)) as ring:
            while True:
                ring[:] = full
                raw.send(b"")


if __name__ == "__main__":
    if sys.argv[2] == "flood":
        _flood(sys.argv[1], sys.argv[3])
    else:
        _send(sys.argv[1], *sys.argv[3:])
