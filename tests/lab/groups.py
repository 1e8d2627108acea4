"""One that asks a multicast group, and one that answers to it, as multicast DNS does (RFC 6762): ordinary sockets."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from pathlib import Path

from tests.lab.lab import Namespace, Process

_ROOT = Path(__file__).parents[2]
_QUESTION, _ANSWER = b"who", b"me"


def answer(namespace: Namespace, link: str, group: str, port: int) -> Process:
    """Start to answer to a group on a link, once."""
    process = namespace.start(*_command("answer", link, group, port), log="answer", env={"PYTHONPATH": str(_ROOT)})
    process.wait_for(lambda: "ready" in process.text(), "the one that answers")
    return process


def ask(namespace: Namespace, link: str, group: str, port: int) -> None:
    """Return when somebody has answered; raises CommandFailed if nobody does for a minute."""
    namespace.run("env", f"PYTHONPATH={_ROOT}", *_command("ask", link, group, port), timeout_s=60)


def _command(*arguments: object) -> tuple[str, ...]:
    return sys.executable, "-m", "tests.lab.groups", *map(str, arguments)


def _join(link: str, group: str, port: int) -> tuple[socket.socket, tuple[object, ...]]:
    """Return a socket that hears a group on a link, and how to speak to that group by it."""
    address, index = ipaddress.ip_address(group), socket.if_nametoindex(link)
    if address.version == 6:
        member = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, address.packed + struct.pack("i", index))
        member.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        to: tuple[object, ...] = group, port, 0, index
    else:
        member = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        by_link = struct.pack("4s4si", address.packed, bytes(4), index)
        member.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, by_link)
        member.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, by_link)
        member.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        to = group, port
    member.bind(("", port))
    return member, to


def _main(how: str, link: str, group: str, port: str) -> None:
    member, to = _join(link, group, int(port))
    if how == "answer":
        print("ready", flush=True)
        while member.recv(99) != _QUESTION:
            pass
        member.sendto(_ANSWER, to)
        return
    member.settimeout(1)
    while True:
        member.sendto(_QUESTION, to)
        try:
            if member.recv(99) == _ANSWER:
                return
        except TimeoutError:
            pass


if __name__ == "__main__":
    _main(*sys.argv[1:])
