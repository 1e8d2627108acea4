"""After any sequence of commands: what notifications built, what a fresh dump builds and what ``ip`` shows are one."""

from __future__ import annotations

import random

import pytest

from rtagent.vector.links import IFF_RUNNING, IFF_UP
from tests.kernel.mirror import Mirror
from tests.kernel.oracle import disagreements

PREFIXES = {
    "inet": ["198.19.0.0/24"]
    + [f"198.18.{n}.0/{length}" for n in range(0, 16, 4) for length in (22, 24)]
    + ["0.0.0.0/0"],
    "inet6": [f"2001:db8:f{n}::/48" for n in range(6)] + ["::/0"],
}
DEVICES = PREFIXES["inet6"][:2]
METRICS = ["", " metric 10", " metric 20", " metric 1024"]
TABLES = ["", "", "", " table 100"]


def gateway(chance: random.Random, family: str) -> str:
    port, host = chance.randrange(3), chance.randrange(2, 5)
    return f"via 10.0.{port}.{host}" if family == "inet" else f"via 2001:db8:{port}::{host}"


def forwarding(chance: random.Random, family: str, prefix: str) -> str:
    """Return gateways or a device.

    An IPv6 prefix takes one or the other: where a device stands between the gateways of a multipath route, the kernel
    shows it in no dump (fib6_dump_node in net/ipv6/ip6_fib.c goes on behind the last gateway).
    """
    device = prefix in DEVICES if family == "inet6" else chance.randrange(4) == 0
    if device:
        return f"dev e{chance.randrange(3)}"
    ways = [gateway(chance, family) for _ in range(chance.randrange(1, 4))]
    weights = [f" weight {chance.choice([1, 1, 2, 3, 80])}" for _ in ways]
    several = "".join(f" nexthop {way}{weight}" for way, weight in zip(ways, weights, strict=True))
    return chance.choice([several, several, ways[0]])


def route_command(chance: random.Random) -> str:
    family = chance.choice(["inet", "inet6"])
    prefix = chance.choice(PREFIXES[family])
    rank = chance.choice(METRICS) + chance.choice(TABLES)
    verb = chance.choice(["add", "add", "replace", "replace", "append", "prepend", "change", "del", "del"])
    what = chance.randrange(12)
    if verb == "del":
        return f"route del {prefix}{rank} {forwarding(chance, family, prefix) if what < 4 else ''}"
    if what == 0:
        return f"route {verb} {chance.choice(['blackhole', 'unreachable', 'prohibit', 'throw'])} {prefix}{rank}"
    if what == 1:
        return f"route {verb} {prefix}{rank} nhid {chance.choice([1, 2, 10] if family == '-4' else [11, 12])}"
    if what == 2 and family == "inet":
        return f"route {verb} {prefix}{rank} tos 0x10 {gateway(chance, family)}"
    if what == 3:
        return f"route {verb} local {prefix} dev lo table local"
    return f"route {verb} {prefix}{rank} {forwarding(chance, family, prefix)}"


def nexthop_command(chance: random.Random) -> str:
    number = chance.choice([1, 2, 11, 12])
    family = "inet" if number < 10 else "inet6"
    return chance.choice([
        f"nexthop replace id {number} {gateway(chance, family)} dev e{chance.randrange(3)}",
        f"nexthop del id {number}",
        f"nexthop replace id {number} blackhole",
        f"nexthop replace id 10 group 1,{chance.randrange(1, 9)}/2,{chance.randrange(1, 9)}",
        "nexthop del id 10",
    ])  # fmt: skip


def link_command(chance: random.Random) -> str:
    port = chance.randrange(3)
    return chance.choice([
        f"link set e{port} down", f"link set e{port} up", f"link set e{port} up", f"link set e{port} mtu 1400",
        f"addr del 10.0.{port}.1/24 dev e{port}", f"addr add 10.0.{port}.1/24 dev e{port}",
        f"addr add 10.0.{port}.1/24 dev e{port}", f"addr add 2001:db8:{port}::1/64 dev e{port} nodad",
        f"addr del 2001:db8:{port}::1/64 dev e{port}", f"addr add 2001:db8:{port}::1/64 dev e{port} nodad",
    ])  # fmt: skip


def quiet(mirror: Mirror) -> bool:
    """Whether every link that is up is operational: the kernel finds that out a moment after the command."""
    return all(link.flags & IFF_RUNNING for link in mirror.store.topology.links.values() if link.flags & IFF_UP)


@pytest.mark.parametrize("seed", range(8))
def test_every_random_sequence_of_changes_ends_exact(router, seed):
    chance = random.Random(seed)
    router.sysctl("net.ipv4.nexthop_compat_mode", seed % 2)
    router.ip_batch([f"nexthop add id {n} via 10.0.{n}.2 dev e{n}" for n in (1, 2)] + ["nexthop add id 10 group 1/2"])
    router.ip_batch([f"nexthop add id 1{n} via 2001:db8:{n}::2 dev e{n}" for n in (1, 2)])
    with Mirror(router.name) as mirror:
        for _ in range(12):
            commands = [
                chance.choices([route_command, nexthop_command, link_command], [10, 1, 1])[0](chance) for _ in range(25)
            ]
            router.ip_batch(commands, force=True)
            mirror.settle()
            mirror.until(lambda: quiet(mirror))
            with Mirror(router.name) as fresh:
                assert fresh.fib() == mirror.fib(), commands
            assert disagreements(mirror, router) == [], commands
