"""Random commands, as lines of a replay file (world.py says what a line means); one seed gives the same lines for ever.

Many are refused by the kernel, as in life. Names and numbers are few, so that commands meet each other.

What is left out, narrowly, because nobody could mirror it:

* An IPv6 route without a gateway (a device, a type, a nexthop object) *between* the gateways of a multipath route:
  the kernel shows it in no dump (fib6_dump_node in net/ipv6/ip6_fib.c goes on behind the last gateway). So a prefix to
  which gateways are appended is given anything else only by commands that do not append, and the reverse.
* An IPv4 route through an IPv6 gateway, made while the link has no carrier: the kernel does not note that it has none
  (fib_check_nh_v6_gw in net/ipv4/fib_semantics.c takes over the device and not the flags), and goes on to use the route
  despite ignore_routes_with_linkdown until the carrier comes and goes. So a sequence has such gateways, or sets that.
* net.ipv6.conf.LINK.ignore_routes_with_linkdown, set for one link, in the kernels that the VM lab has: Linux 6.1 says
  nothing of it (addrconf_fixup_linkdown in net/ipv6/addrconf.c). So it is set for all links at once there.
* Several IPv4 default routes of one metric: the kernel takes the one whose neighbour it has last heard of
  (fib_select_default in net/ipv4/fib_semantics.c). So nothing is appended to the default route.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.fuzz.grammar_encaps import Encaps
from tests.fuzz.grammar_more import More

PORTS = range(3)
_INET = [f"198.18.{n}.0/{length}" for n in (0, 4) for length in (22, 24)] + ["198.19.0.0/24", "0.0.0.0/0"]
_GATEWAYS_INET6 = ["2001:db8:f0::/48", "2001:db8:f0:8000::/49", "2001:db8:f1::/48", "::/0"]
_DEVICES_INET6 = ["2001:db8:f2::/48", "2001:db8:f3::/48", "2001:db8:f3::/64"]
_METRICS = ["", "", "", " metric 10", " metric 20", " metric 1024"]
_TABLES = ["", "", "", "", " table 100", " table 100000"]
_VERBS = ["add", "add", "replace", "replace", "append", "prepend", "change", "del", "del"]
_TYPES = ["blackhole", "unreachable", "prohibit", "throw"]
_INET_TYPES = [*_TYPES, "broadcast", "multicast"]
_NHIDS = {4: (1, 2, 3, 10), 6: (11, 12, 13, 20)}
_STEPS = [1, 1, 2, 3, 5, 8, 13, 25]
_SMALL_BUFFER_SHARE = 0.2
_LIVE_SHARE = 0.4
_PROTOCOLS = ["", "", "", " proto bird", " proto static", " proto kernel"]

SAMPLED = ["198.18.0.7", "198.18.1.7", "198.18.4.7", "198.18.6.7", "198.19.0.7", "100.64.0.1", "10.0.0.2", "10.0.1.77",
           "10.8.2.2", "2001:db8:f0::7", "2001:db8:f0:8000::7", "2001:db8:f1::7", "2001:db8:f2::7", "2001:db8:f3::7",
           "2001:db8:f3:1::7", "3fff::1", "2001:db8:1::2"]  # fmt: skip
"""Destinations in and around what the commands name."""


class Grammar:
    """Sequences of lines; each ``sequence`` goes on where the last one left the dice."""

    def __init__(self, seed: str, *, more: bool = False) -> None:
        """``more``: in a kernel that has MPLS, VRFs, VLANs, dummies, bonds and tunnels, use them (grammar_more.py)."""
        self._chance = random.Random(seed)
        self._more = More(self._chance) if more else None
        self._encaps = Encaps(self._chance, tunnels=more)
        self._inet6_gateways = False
        """Whether IPv4 routes may have IPv6 gateways; else ignore_routes_with_linkdown may be set for IPv4."""

    def sequence(self, settles: int) -> list[str]:
        """Return a sequence that settles that often."""
        chance = self._chance
        lines = ["buffer 4096"] if chance.random() < _SMALL_BUFFER_SHARE else []
        lines += ["live"] if chance.random() < _LIVE_SHARE else []
        lines += self._beginning()
        lines += self._more.beginning() if self._more else []
        lines += self._encaps.beginning()
        self._inet6_gateways = chance.random() < 0.5
        lively = chance.choice([1, 3, 8])
        kinds = [self._route, self._nexthop, self._address, self._link, self._sysctl, self._neighbor]
        weights = [12, 3, 2, 2 * lively / 3, 0.3 * lively, 0.3]
        kinds += [self._encaps.route, self._encaps.nexthop]
        weights += [3, 0.5]
        if self._more:
            kinds += [self._more.label, self._more.vrf_route, self._more.pushing, self._more.link, self._encaps.link]
            weights += [4, 3, 1, 2 * lively / 3, 0.3 * lively]
        for _ in range(settles):
            for _ in range(chance.choice(_STEPS)):
                lines.extend(chance.choices(kinds, weights)[0]())
            lines.append("settle")
        return lines

    def _beginning(self) -> Iterator[str]:
        for n in PORTS:
            yield f"router nexthop add id {n + 1} via 10.0.{n}.2 dev e{n}"
            yield f"router nexthop add id 1{n + 1} via 2001:db8:{n}::2 dev e{n}"
        yield "router nexthop add id 10 group 1/2"
        yield "router nexthop add id 20 group 11/12"

    def _one(self, choices: list[str]) -> list[str]:
        return [self._chance.choice(choices)]

    def _port(self) -> int:
        return self._chance.choice(PORTS)

    def _device(self) -> str:
        return self._chance.choices([f"e{self._port()}", "br0", "w0", "lo"], [20, 1, 1, 0.4])[0]

    def _gateway(self, version: int) -> str:
        chance, port = self._chance, self._port()
        device = f" dev {self._device()}" if chance.random() < 0.2 else ""
        onlink = f" dev e{self._port()} onlink"
        if version == 4:
            usual = f"via 10.0.{port}.{chance.randrange(2, 5)}"
            rare = [f"via 10.8.{port}.2", f"via 203.0.113.9{onlink}", f"via 10.0.{port}.200"]
            rare += [f"via inet6 fe80::{port + 1} dev e{port}"] if self._inet6_gateways else []
        else:
            usual = f"via 2001:db8:{port}::{chance.randrange(2, 5)}"
            rare = [f"via fe80::{port + 1} dev e{port}", f"via 3fff::9{onlink}"]
        return chance.choice(rare) if chance.random() < 0.15 else usual + device

    def _gateways(self, version: int) -> str:
        chance = self._chance
        weights = [f" weight {chance.choice([1, 1, 1, 2, 3, 80])}" for _ in range(chance.randrange(2, 4))]
        return "".join(f" nexthop {self._gateway(version)}{weight}" for weight in weights)

    def _route(self) -> list[str]:
        chance = self._chance
        verb = chance.choice(_VERBS)
        rank = chance.choice(_METRICS) + chance.choice(_TABLES) + chance.choice(_PROTOCOLS)
        if chance.random() < 0.5:
            return [self._inet_route(verb, chance.choice(_INET), rank)]
        if chance.random() < 0.6:
            return [self._gateway_inet6_route(verb, chance.choice(_GATEWAYS_INET6), rank)]
        return [self._device_inet6_route(verb, chance.choice(_DEVICES_INET6), rank)]

    def _inet_route(self, verb: str, prefix: str, rank: str) -> str:
        chance = self._chance
        if prefix == "0.0.0.0/0" and verb in ("append", "prepend"):
            verb = "replace"
        what = chance.randrange(16)
        if what == 0:
            kind = chance.choice(_INET_TYPES)
            device = f" dev e{self._port()}" if kind in ("broadcast", "multicast") else ""
            return f"router route {verb} {kind} {prefix}{rank}{device}"
        if what == 1:
            nhids = _NHIDS[4] + (_NHIDS[6] if self._inet6_gateways else ())
            return f"router route {verb} {prefix}{rank} nhid {chance.choice(nhids)}"
        if what == 2:
            return f"router route {verb} {prefix}{rank} tos 0x10 {self._gateway(4)}"
        if what == 3:
            return f"router route {verb} local {prefix} dev lo table local"
        if what == 4:
            host = chance.choice([1, 11, 129])
            return f"router route {verb} {prefix}{rank} {self._gateway(4)} src 10.0.{self._port()}.{host}"
        if what in (5, 6):
            return f"router route {verb} {prefix}{rank} dev {self._device()}"
        if what in (7, 8) or verb != "del":
            several = self._gateways(4) if what > 10 else f" {self._gateway(4)}"
            return f"router route {verb} {prefix}{rank}{several}"
        return f"router route del {prefix}{rank}"

    def _gateway_inet6_route(self, verb: str, prefix: str, rank: str) -> str:
        chance = self._chance
        what = chance.randrange(14)
        if verb not in ("append", "prepend") and what in (0, 1, 2):
            return f"router route {verb} {self._other_inet6(prefix, rank)}"
        if what == 3:
            source = f"src 2001:db8:{self._port()}::{chance.choice([1, 11])}"
            return f"router route {verb} {prefix}{rank} {self._gateway(6)} {source}"
        if what == 4:
            return f"router route {verb} {prefix} from 2001:db8:99::/64{rank} {self._gateway(6)}"
        if what < 8 or verb != "del":
            several = self._gateways(6) if what > 8 else f" {self._gateway(6)}"
            return f"router route {verb} {prefix}{rank}{several}"
        return f"router route del {prefix}{rank}"

    def _device_inet6_route(self, verb: str, prefix: str, rank: str) -> str:
        what = self._chance.randrange(8)
        if verb not in ("append", "prepend") and what == 0:
            return f"router route {verb} {prefix}{rank} {self._gateway(6)}"
        if verb == "del" and what < 5:
            return f"router route del {prefix}{rank}"
        return f"router route {verb} {self._other_inet6(prefix, rank)}"

    def _other_inet6(self, prefix: str, rank: str) -> str:
        chance = self._chance
        return chance.choice([
            f"{prefix}{rank} dev {self._device()}", f"{prefix}{rank} dev e{self._port()}",
            f"{chance.choice(_TYPES)} {prefix}{rank}", f"{prefix}{rank} nhid {chance.choice(_NHIDS[6])}",
            f"local {prefix} dev lo table local",
        ])  # fmt: skip

    def _nexthop(self) -> list[str]:
        chance = self._chance
        version = chance.choice([4, 6])
        *singles, group = _NHIDS[version]
        number, verb = chance.choice(singles), chance.choice(["add", "replace", "replace"])
        members = chance.sample(singles, chance.randrange(1, 4))
        text = "/".join(f"{member},{chance.randrange(1, 9)}" for member in members)
        return self._one([
            f"router nexthop {verb} id {number} {self._gateway(version)} dev e{self._port()}",
            f"router nexthop {verb} id {number} {self._gateway(version)} dev e{self._port()}",
            f"router nexthop {verb} id {number} dev e{self._port()}",
            f"router nexthop {verb} id {number} blackhole",
            f"router nexthop {verb} id {group} group {text}",
            f"router nexthop {verb} id {group} group {text}",
            f"router nexthop del id {chance.choice([number, group])}",
        ])  # fmt: skip

    def _address(self) -> list[str]:
        port, verb = self._port(), self._chance.choice(["add", "add", "del"])
        addresses = [f"10.0.{port}.1/24", f"10.0.{port}.1/24", f"10.0.{port}.11/24", f"10.0.{port}.129/25",
                     f"10.9.{port}.1/32", f"10.0.{port}.1 peer 10.8.{port}.2/32"]  # fmt: skip
        if verb == "add":
            addresses += [f"10.0.{port}.1/24 noprefixroute", f"10.0.{port}.11/24 metric 300"]
            addresses += [f"2001:db8:{port}::{host}/64 nodad" for host in (1, 1, 1, 11)]
            addresses += [f"2001:db8:{port}::1/64 nodad noprefixroute", f"2001:db8:{port}::1/128 nodad"]
        else:
            addresses += [f"2001:db8:{port}::{host}/64" for host in (1, 1, 11)]
        if self._chance.random() < 0.03:
            return [f"router addr flush dev e{port}"]
        return [f"router addr {verb} {self._chance.choice(addresses)} dev {self._address_device(port)}"]

    def _address_device(self, port: int) -> str:
        return self._device() if self._chance.random() < 0.1 else f"e{port}"

    def _link(self) -> list[str]:
        chance, port = self._chance, self._port()
        device = f"e{port}"
        up = f"router link set {device} up"
        again = [
            f"router link add name {device} type veth peer name p{port} netns peer", f"peer link set p{port} up", up,
            f"router addr add 10.0.{port}.1/24 dev {device}",
            f"router addr add 2001:db8:{port}::1/64 dev {device} nodad",
        ]  # fmt: skip
        choices = [
            (6, [f"router link set {device} down"]), (8, [up]), (2, [f"router link set {device} down", up]),
            (3, [f"peer link set p{port} down"]), (4, [f"peer link set p{port} up"]),
            (1, [f"router link set {device} mtu {chance.choice([1200, 1400, 1500])}"]),
            (1, [f"router link del {device}"]), (3, again), (0.5, [f"router link del {device}", *again]),
            (1, [f"router link set {device} netns away"]), (2, [f"away link set {device} netns router", up]),
            (1, [f"router link set {device} name w0"]), (2, [f"router link set w0 name {device}"]),
            (0.5, [f"router link set {device} address 02:00:00:00:0{port}:{chance.randrange(10, 99)}"]),
            (0.7, ["router link add name br0 type bridge", "router link set br0 up"]), (0.3, ["router link del br0"]),
            (1, [f"router link set {device} master br0"]), (1, [f"router link set {device} nomaster"]),
            (0.3, ["router link set lo down", "router link set lo up"]),
        ]  # fmt: skip
        return chance.choices([lines for _, lines in choices], [weight for weight, _ in choices])[0]

    def _sysctl(self) -> list[str]:
        chance, value = self._chance, self._chance.randrange(2)
        where = chance.choice(["all", f"e{self._port()}", f"e{self._port()}"])
        inet_policy = f"sysctl net.ipv4.conf.{where}.ignore_routes_with_linkdown={value}"
        return self._one([
            *([] if self._inet6_gateways else [inet_policy]),
            f"sysctl net.ipv6.conf.{where}.keep_addr_on_down={value}",
            f"sysctl net.ipv6.conf.{'all' if self._more else where}.ignore_routes_with_linkdown={value}",
            f"sysctl net.ipv4.conf.{where}.promote_secondaries={value}",
            f"sysctl net.ipv4.nexthop_compat_mode={value}",
            f"sysctl net.ipv6.conf.{where}.disable_ipv6={chance.choice([0, 0, 1])}",
            f"sysctl net.ipv6.conf.{where}.forwarding={value}",
        ])  # fmt: skip

    def _neighbor(self) -> list[str]:
        port, verb = self._port(), self._chance.choice(["replace", "replace", "del"])
        address = self._chance.choice([f"10.0.{port}.2", f"2001:db8:{port}::2"])
        mac = f" lladdr 02:00:00:00:00:0{port} nud permanent" if verb == "replace" else ""
        return [f"router neigh {verb} {address} dev e{port}{mac}"]
