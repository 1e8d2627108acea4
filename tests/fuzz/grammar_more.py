"""Random commands for what only some kernels have: labels, VRFs, VLANs, dummies, bonds. See grammar.py.

VRFs red and blue have tables 100 and 200, of which 100 is one that routes are put into without a VRF, too. What is made
here is deleted here; ports of the router go in and out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

FEATURES = ("mpls", "vrf", "vlan", "dummy", "bond", "ipip")
"""What a kernel must have (tests/lab/kernel.py)."""
VRFS = {"red": 100, "blue": 200}
_PORTS = range(3)
_LABELS = [16, 17, 100, 101, 500]
_PREFIXES = {4: ["198.18.0.0/22", "198.18.4.0/24", "0.0.0.0/0"], 6: ["2001:db8:f0::/48", "2001:db8:f1::/48", "::/0"]}
_TYPES = ["blackhole", "unreachable", "prohibit", "throw"]
_LINKS = ["d0", "v5", "v6", "bond0", "red", "blue"]
_VERBS = ["add", "add", "replace", "replace", "change", "del"]


class More:
    """Lines like the grammar's, from its dice."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def beginning(self) -> Iterator[str]:
        """Yield what makes the rest possible."""
        yield "sysctl net.mpls.platform_labels=1000"
        for name, table in VRFS.items():
            if self._chance.random() < 0.5:
                yield f"router link add {name} type vrf table {table}"
                yield f"router link set {name} up"

    def label(self) -> list[str]:
        """A route of a label: swapped, popped, pushed upon, over one way or several; or a smaller table of labels."""
        chance = self._chance
        label, verb = chance.choice(_LABELS), chance.choice(_VERBS)
        what = chance.randrange(24)
        if what == 0:
            return [f"sysctl net.mpls.platform_labels={chance.choice([0, 120, 1000, 1000])}"]
        if what == 1:
            return [f"sysctl net.mpls.conf.e{self._port()}.input={chance.randrange(2)}"]
        if what == 2:
            return [f"labels route {verb} {label} dev {chance.choice(['lo', 'red', 'd0', 'e0'])}"]
        if verb == "del" and what < 12:
            return [f"labels route del {label}"]
        if what < 16:
            propagate = chance.choice(["", "", "", " ttl-propagate enabled", " ttl-propagate disabled"])
            return [f"labels route {verb} {label} {self._label_way()}{propagate}"]
        ways = " ".join(f"nexthop {self._label_way()}" for _ in range(chance.randrange(2, 4)))
        return [f"labels route {verb} {label} {ways}"]

    def pushing(self) -> list[str]:
        """A route that pushes labels, over one way or several, some of which may push none."""
        chance = self._chance
        version, verb = chance.choice([4, 6]), chance.choice(_VERBS)
        prefix = chance.choice(_PREFIXES[version])
        rank = chance.choice(["", "", " metric 10", f" table {VRFS['red']}"])
        if chance.random() < 0.7:
            return [f"router route {verb} {prefix}{rank} encap mpls {self._stack()} {self._gateway(version)}"]
        pushed = [f"encap mpls {self._stack()} " if chance.random() < 0.7 else "" for _ in range(2)]
        ways = " ".join(f"nexthop {each}{self._gateway(version)}" for each in pushed)
        return [f"router route {verb} {prefix}{rank} {ways}"]

    def vrf_route(self) -> list[str]:
        """A route in a VRF's table, by the name of the VRF or by the number of its table."""
        chance = self._chance
        name = chance.choice(list(VRFS))
        where = chance.choice([f"vrf {name}", f"table {VRFS[name]}"])
        version, verb = chance.choice([4, 6]), chance.choice(_VERBS)
        prefix = chance.choice(_PREFIXES[version])
        rank = chance.choice(["", "", "", " metric 10"])
        what = chance.randrange(8)
        if what == 0:
            return [f"router route {verb} {chance.choice(_TYPES)} {prefix} {where}{rank}"]
        if what == 1:
            onlink = f"{self._gateway(version)} dev e{self._port()} onlink"
            return [f"router route {verb} {prefix} {where}{rank} {onlink}"]
        if what == 2:
            ways = " ".join(f"nexthop {self._gateway(version)}" for _ in range(2))
            return [f"router route {verb} {prefix} {where}{rank} {ways}"]
        if what == 3 and version == 4:
            return [f"router route {verb} {prefix} {where}{rank} dev {chance.choice([*_LINKS, 'e1'])}"]
        if verb == "del":
            return [f"router route del {prefix} {where}{rank}"]
        return [f"router route {verb} {prefix} {where}{rank} {self._gateway(version)}"]

    def link(self) -> list[str]:
        """Something happens to one of the links that are made here, or to the VRF that a port belongs to."""
        chance, port = self._chance, self._port()
        name = chance.choice(list(VRFS))
        again = [f"router link add {name} type vrf table {VRFS[name]}", f"router link set {name} up"]
        readdress = f"router addr add 2001:db8:{port}::1/64 dev e{port} nodad"
        number = chance.randrange(2)
        dummy = ["router link add name d0 type dummy", "router link set d0 up", "router addr add 10.7.0.1/24 dev d0",
                 "router addr add 2001:db8:7::1/64 dev d0 nodad"]  # fmt: skip
        vlan = [f"router link add link e{port} name v5 type vlan id 5", "router link set v5 up",
                "router addr add 10.7.5.1/24 dev v5"]  # fmt: skip
        qinq = ["router link add link v5 name v6 type vlan proto 802.1ad id 6", "router link set v6 up",
                "router addr add 10.7.6.1/24 dev v6"]  # fmt: skip
        bond = ["router link add bond0 type bond mode active-backup", f"router link set e{port} down",
                f"router link set e{port} master bond0", "router link set bond0 up"]  # fmt: skip
        choices: list[tuple[float, list[str]]] = [
            (4, [f"router link set e{port} master {name}", *([readdress] if number else [])]),
            (4, [f"router link set e{port} nomaster", *([readdress] if number else [])]),
            (2, again), (1, [f"router link del {name}"]), (0.7, [f"router link del {name}", *again]),
            (1, [f"router link set {name} down"]), (1, [f"router link set {name} up"]),
            (1.5, dummy), (0.5, ["router link del d0"]), (1, [f"router link set d0 {['down', 'up'][number]}"]),
            (1, [f"router link set d0 master {name}"]), (0.5, ["router link set d0 nomaster"]),
            (1.5, vlan), (0.5, ["router link del v5"]), (1, [f"router link set v5 {['down', 'up'][number]}"]),
            (1, [f"router link set v5 master {name}"]),
            (1, qinq), (0.5, ["router link del v6"]),
            (0.5, bond), (0.5, ["router link del bond0", f"router link set e{port} up"]),
        ]  # fmt: skip
        return chance.choices([lines for _, lines in choices], [weight for weight, _ in choices])[0]

    def _port(self) -> int:
        return self._chance.choice(_PORTS)

    def _stack(self) -> str:
        return "/".join(str(self._chance.choice([200, 201, 300])) for _ in range(self._chance.choice([1, 1, 2])))

    def _gateway(self, version: int) -> str:
        chance, port = self._chance, self._port()
        if version == 4:
            return (
                f"via {chance.choice([f'10.0.{port}.2', f'10.0.{port}.2', f'10.0.{port}.3', '10.7.0.2', '10.7.5.2'])}"
            )
        return f"via 2001:db8:{chance.choice([port, port, 7])}::2"

    def _label_way(self) -> str:
        chance, port = self._chance, self._port()
        via = f"via inet 10.0.{port}.2" if chance.random() < 0.6 else f"via inet6 2001:db8:{port}::2 dev e{port}"
        out = chance.choice(["", "", f"as {self._stack()} ", f"as {self._stack()} ", f"as {chance.choice([0, 2])} "])
        return out + via
