"""Random routes and nexthop objects that put something around a packet: segments, or an address. See grammar.py.

What a kernel has differs: here there are segments (seg6), in the VM lab tunnel devices; labels are in grammar_more.py.
A route without a gateway takes none of the prefixes whose routes are appended to, for the reason that grammar.py has.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

_PREFIXES = ["198.18.0.0/22", "198.18.4.0/24", "198.19.0.0/24", "0.0.0.0/0"]
_GATEWAYS_INET6 = ["2001:db8:f0::/48", "2001:db8:f1::/48", "::/0"]
_DEVICES_INET6 = ["2001:db8:f3::/48", "2001:db8:f3::/64"]
_SEGMENTS = ["2001:db8:0::2", "2001:db8:1::2", "2001:db8:f1::9", "3fff:5::1"]
_TUNNELS = {"t4": "ipip external", "t6": "ip6tnl external", "g4": "gre external", "p4": "ipip local 10.0.0.1"}
_VERBS = ["add", "add", "replace", "replace", "append", "change", "del"]
_RANKS = ["", "", " metric 10", " metric 20", " table 100"]
_PORTS = range(3)


class Encaps:
    """Lines like the grammar's, from its dice."""

    def __init__(self, chance: random.Random, *, tunnels: bool) -> None:
        """``tunnels``: with devices that write what a route says; else all such routes have no counterpart."""
        self._chance = chance
        self._tunnels = tunnels

    def beginning(self) -> Iterator[str]:
        """Yield what makes the rest possible."""
        if self._tunnels:
            for name in _TUNNELS:
                yield from self._made(name)

    def route(self) -> list[str]:
        """A route over one way or several, of which some may be plain."""
        chance = self._chance
        version, verb, rank = chance.choice([4, 6]), chance.choice(_VERBS), chance.choice(_RANKS)
        if chance.random() < 0.4:
            return [self._attached(version, verb, rank)]
        prefix = chance.choice(_PREFIXES if version == 4 else _GATEWAYS_INET6)
        if verb == "append" and prefix == "0.0.0.0/0":
            verb = "replace"
        if chance.random() < 0.5:
            return [f"router route {verb} {prefix}{rank} {self._around(version)}{self._gateway(version)}"]
        ways = [
            f"nexthop {self._around(version) if chance.random() < 0.7 else ''}{self._gateway(version)}"
            + f" weight {chance.choice([1, 1, 2, 5])}"
            for _ in range(chance.randrange(2, 4))
        ]
        return [f"router route {verb} {prefix}{rank} {' '.join(ways)}"]

    def nexthop(self) -> list[str]:
        """One of the grammar's objects, around a packet now."""
        chance = self._chance
        version, number = chance.choice([4, 6]), chance.choice([1, 2, 3])
        nhid = number if version == 4 else 10 + number
        way = chance.choice(["", self._gateway(version) + " "])
        return [f"router nexthop replace id {nhid} {self._around(version)}{way}dev {self._device()}"]

    def link(self) -> list[str]:
        """Something happens to a tunnel device."""
        chance = self._chance
        name = chance.choice(list(_TUNNELS))
        again = list(self._made(name))
        choices: list[tuple[float, list[str]]] = [
            (2, again), (1, [f"router link del {name}"]), (0.5, [f"router link del {name}", *again]),
            (2, [f"router link set {name} down"]), (2, [f"router link set {name} up"]),
        ]  # fmt: skip
        return chance.choices([lines for _, lines in choices], [weight for weight, _ in choices])[0]

    def _made(self, name: str) -> Iterator[str]:
        yield f"router link add {name} type {_TUNNELS[name]}"
        yield f"router link set {name} up"

    def _attached(self, version: int, verb: str, rank: str) -> str:
        """A route out of a device: where a tunnel's usually go."""
        prefix = self._chance.choice(_PREFIXES if version == 4 else _DEVICES_INET6)
        if verb == "append":
            verb = "replace"
        return f"router route {verb} {prefix}{rank} {self._around(version)}dev {self._device()}"

    def _around(self, version: int) -> str:
        chance = self._chance
        if chance.random() < (0.8 if self._tunnels else 0.2):
            return self._address()
        mode = chance.choice(["encap", "encap", "encap.red", "l2encap"] + (["inline"] if version == 6 else []))
        segments = ",".join(chance.choice(_SEGMENTS) for _ in range(chance.choice([1, 1, 2, 3])))
        return f"encap seg6 mode {mode} segs {segments} "

    def _address(self) -> str:
        chance = self._chance
        if chance.random() < 0.5:
            source = chance.choice(["src 10.0.0.1 ", "src 10.0.1.1 ", ""])
            return (
                f"encap ip id 1 {source}dst 10.0.2.{chance.choice([2, 3])} {chance.choice(['', 'ttl 64 ', 'ttl 9 '])}"
            )
        return f"encap ip6 src 2001:db8:0::1 dst 2001:db8:1::2 {chance.choice(['', 'hoplimit 64 '])}"

    def _device(self) -> str:
        if self._tunnels and self._chance.random() < 0.7:
            return self._chance.choice(list(_TUNNELS))
        return f"e{self._chance.choice(_PORTS)}"

    def _gateway(self, version: int) -> str:
        chance, port = self._chance, self._chance.choice(_PORTS)
        if self._tunnels and chance.random() < 0.4:
            onlink = f"dev {self._device()} onlink"
            return f"via 10.6.0.{port + 2} {onlink}" if version == 4 else f"via 2001:db8:6::{port + 2} {onlink}"
        return f"via 10.0.{port}.{chance.choice([2, 3])}" if version == 4 else f"via 2001:db8:{port}::2"
