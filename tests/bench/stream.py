"""Packets through a VPP worker while the agent starts anew beside a full table, and while somebody compares the two.

A stream of packets crosses VPP from one host to another; each tells when it was sent, and the kernel stamps it as it
arrives. What is lost, and how long VPP kept a packet at most, is told beside the same stream with nobody at work, which
is what the machine itself does to it; and beside VPP's own dump, which holds the workers. The longest time without a
packet is told, too: it holds the time for which the sender had no processor.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rtagent.sinks.vapi import VapiClient
from rtagent.vector.keys import AF_INET
from tests.bench.agent import GROUPS
from tests.lab.bulk import add_routes, gateways, prefixes4
from tests.lab.lab import Lab, Namespace, wait_for
from tests.vpp.site import VppSite

_ROOT = Path(__file__).parents[2]
_RECEIVER, _PORT = "192.168.9.2", 9
_PAUSE_S = 0.0005
_SO_TIMESTAMPNS = 35
_IDLE_S = 5.0
_TIMEOUT_S = 600
_SENT_NS = struct.Struct("<Q")
"""What a packet says: when it was sent, by CLOCK_REALTIME, as the kernel's stamps are."""


def restart_stream(routes: int = 1_000_000) -> dict[str, float]:
    """An agent ends and starts beside so many unchanged routes, and ``rtagent diff`` reads them; with our plugin."""
    with Lab() as lab:
        site = VppSite(lab, heap="3G", busy=True, bulk=True, workers=1)
        site.start_vpp()
        site.join_hosts()
        (link,) = site.router.ip_json("link show e0")
        add_routes(site.router, prefixes4(routes), gateways(AF_INET, GROUPS), link["ifindex"])
        first = site.start()
        site.wait(_TIMEOUT_S)
        found = _streamed(site, "idle", lambda: time.sleep(_IDLE_S))
        first.kill()
        site.forget_writes()
        found |= _streamed(site, "restart", lambda: (site.start(), site.wait(_TIMEOUT_S)))
        found["restart_writes"] = float(site.count_writes())
        differing: list[object] = []
        found |= _streamed(site, "diff", lambda: differing.extend(site.diff()))
        found["diff_rows"] = float(len(differing))
        return found | _streamed(site, "stock_dump", lambda: asyncio.run(_dump(site.vpp.api)))


async def _dump(path: str) -> None:
    """Read the main table by VPP's own message."""
    client = await VapiClient.connect(path)
    table = {"table_id": 0, "is_ip6": False, "name": ""}
    async for _ in client.dump_frames("ip_route_v2_dump", "ip_route_v2_details", table=table):
        pass
    client.close()


def _streamed(site: VppSite, name: str, work: Callable[[], object]) -> dict[str, float]:
    """Work while packets cross; return how long that took and what became of them."""
    receiver = _start(site.right, "receive", site.lab.folder / f"{name}-receives")
    sender = _start(site.left, "send", site.lab.folder / f"{name}-sends")
    began = time.perf_counter()
    with _off_the_workers(site):
        work()
    taken_s = time.perf_counter() - began
    sent = int(sender.communicate("end", timeout=30)[0])
    seen = json.loads(receiver.communicate("end", timeout=30)[0])
    return {
        f"{name}_s": taken_s,
        f"{name}_packets": float(sent),
        f"{name}_lost": float(sent - seen["packets"]),
        f"{name}_longest_delay_ms": seen["longest_delay_ms"],
        f"{name}_longest_gap_ms": seen["longest_gap_ms"],
    }


@contextmanager
def _off_the_workers(site: VppSite) -> Iterator[None]:
    """Have whatever is started on the processors that VPP's workers have not, as docs/install.md advises.

    A dump of IPv4 routes ends in a walk of the whole trie in search of local routes (fib_table_dump in
    net/ipv4/fib_trie.c), in which a kernel without preemption lets nobody else run.
    """
    assert site.vpp.process is not None
    before = os.sched_getaffinity(0)
    threads = Path(f"/proc/{site.vpp.process.pid}/task").iterdir()
    workers = [int(thread.name) for thread in threads if (thread / "comm").read_text().startswith("vpp_wk")]
    taken = set[int]().union(*(os.sched_getaffinity(worker) for worker in workers))
    os.sched_setaffinity(0, before - taken or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _start(host: Namespace, what: str, mark: Path) -> subprocess.Popen[str]:
    command = ["ip", "netns", "exec", host.name, sys.executable, "-m", "tests.bench.stream", what, str(mark)]
    started = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_for(mark.exists, f"the stream to {what}")
    return started


def _send(mark: Path) -> None:
    """Send packets until somebody says that it is enough; say how many they were."""
    number = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.connect((_RECEIVER, _PORT))
        mark.touch()
        while not select.select([sys.stdin], [], [], 0)[0]:
            sending.send(_SENT_NS.pack(time.time_ns()))
            number += 1
            time.sleep(_PAUSE_S)
    print(number)


def _receive(mark: Path) -> None:
    """Receive until somebody says that it is enough; say how many came, the longest on its way, the longest without."""
    packets, last_s, gap_s, delay_s = 0, 0.0, 0.0, 0.0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving:
        receiving.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        receiving.bind(("", _PORT))
        mark.touch()
        while True:
            ready, _, _ = select.select([receiving, sys.stdin], [], [])
            if receiving in ready:
                data, ancillary, _, _ = receiving.recvmsg(16, 64)
                whole_s, rest_ns = struct.unpack("<qq", ancillary[0][2])
                now_s = whole_s + rest_ns / 1e9
                delay_s = max(delay_s, now_s - _SENT_NS.unpack(data)[0] / 1e9)
                gap_s = max(gap_s, now_s - last_s) if packets else 0.0
                packets, last_s = packets + 1, now_s
            elif ready:
                break
    print(json.dumps({"packets": packets, "longest_delay_ms": delay_s * 1e3, "longest_gap_ms": gap_s * 1e3}))


if __name__ == "__main__":
    {"send": _send, "receive": _receive}[sys.argv[1]](Path(sys.argv[2]))
