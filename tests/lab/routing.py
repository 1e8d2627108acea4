"""A router whose routes a daemon makes: neighbours beyond its links, rtagent beside it, and VPP, which forwards for it.

::

    host 192.168.8.2 ── v8 VPP v0 ──── vpp0 n0 eth0 ──── e0 router: BIRD or FRR → kernel → rtagent → VPP or memory FIB
                               v1 ──── vpp0 n1 eth0 ──── e1
                               …                         …

The router is 10.N.0.1/16 and 2001:db8:N::1/64 on eN, neighbour nN has .2 and ::2; the host and VPP are 192.168.8.2 and
.1, 2001:db8:88::2 and ::1. VPP's port and the router's link N are two wires to one neighbour, with the same MAC
addresses at both ends of both: to the neighbour they are one machine. What the neighbours announce they answer
themselves (a local route on each), so that a ping from the host goes by VPP's FIB to whoever VPP has chosen.
"""

from __future__ import annotations

import contextlib
import ipaddress
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.lab.lab import CommandFailed, Lab, Namespace, Process, wait_for
from tests.lab.site import Control
from tests.lab.vpp import Vpp
from tests.vpp import witness

ANSWERED = ("198.18.0.0/15", "2001:db8:f000::/36", "16.0.0.0/4")
"""Whatever a scenario announces is within these: each neighbour answers a ping to any address in them."""

HOST = ("192.168.8.2", "2001:db8:88::2")
_VPP_TO_HOST = ("192.168.8.1", "2001:db8:88::1")
_ROUTER_BY_VPP = ("169.254.0.1", "fe80::1")
"""How a neighbour calls VPP when it answers the host."""

_RTAGENT = (sys.executable, "-m", "rtagent")
_FOREIGN = ("192.168.8.", "2001:db8:88:")
_TIMEOUT_S = 120


class Gateway(NamedTuple):
    """A next hop of a neighbour's: one address of each family, and the link to it."""

    inet: str
    inet6: str
    link: int


def gateway(link: int, number: int = 0) -> Gateway:
    """Return a neighbour's address: the first one, or one of those of which VPP knows that they are its, too."""
    return Gateway(f"10.{link}.0.{number + 2}", f"2001:db8:{link}::{number + 2:x}".replace(":0::", "::"), link)


class RoutingSite:
    """The namespaces and links at once; VPP and rtagent when they are started."""

    def __init__(self, lab: Lab, dataplane: str, *, links: int = 3, gateways: int = 1) -> None:
        """``dataplane`` is "vpp" or "memory"; ``gateways`` is how many addresses each neighbour has at least."""
        self.lab = lab
        self.dataplane = dataplane
        self.links = links
        self.tables = [witness.TABLE_MAIN]
        """The kernel's tables that are compared."""
        self.gateways = gateways
        self.router = lab.namespace("router")
        self.neighbors = [lab.namespace(f"n{number}") for number in range(links)]
        self.vpp: Vpp | None = None
        self.agent: Process | None = None
        self.control = str(lab.folder / "rtagent.sock")
        self.config = lab.folder / "rtagent.toml"
        for number in range(links):
            self._join(number)

    @property
    def pairs(self) -> dict[str, str]:
        """The router's links, and what they are called in the data plane."""
        return {f"e{number}": f"host-v{number}" if self.vpp else f"e{number}" for number in range(self.links)}

    def start(self, *, heap: str = "1G", settings: str = "", **vpp: Any) -> None:
        """Start VPP, unless the data plane is the memory FIB, and rtagent; return when it follows."""
        if self.dataplane == "vpp":
            self.wire, self.host = self.lab.namespace("wire"), self.lab.namespace("host")
            self.vpp = Vpp(self.lab, self.wire, heap=heap, **vpp)
            self.vpp.start()
            self._join_host()
            for number in range(self.links):
                self._join_vpp(number)
        pairs = "".join(f'[[pairs]]\nhost = "{host}"\nvpp = "{vpp}"\n' for host, vpp in self.pairs.items())
        plane = f'kind = "vpp"\nsocket = "{self.vpp.api}"\n' if self.vpp else 'kind = "memory"\n'
        kernel = f'[kernel]\nnetns = "{self.router.name}"\n'
        self.config.write_text(
            f'[dataplane]\n{plane}{kernel}[control]\nsocket = "{self.control}"\n{pairs if self.vpp else ""}{settings}'
        )
        self.agent = self.lab.start([*_RTAGENT, "run", "--config", str(self.config)], log="rtagent.log")
        self.agent.wait_for(
            lambda: "kernel.synced" in (self.agent.text() if self.agent else ""), "rtagent's first sync"
        )

    def ask(self, command: str, **arguments: Any) -> list[Mapping[str, Any]]:
        """Return the lines of an answer from rtagent's control socket."""
        with contextlib.closing(Control(self.control)) as control:
            return list(control.ask(command, **arguments))

    def status(self) -> Mapping[str, Any]:
        """Return what ``rtagent status --json`` says."""
        status: Mapping[str, Any] = self.ask("status")[0]["status"]
        return status

    def wait_synced(self, timeout_s: float = _TIMEOUT_S) -> None:
        """Wait until the data plane holds what the kernel holds."""
        deadline = time.monotonic() + timeout_s
        with contextlib.closing(Control(self.control)) as control:
            for message in control.ask("wait"):  # it says every second what it still waits for
                assert time.monotonic() < deadline, message

    def diff(self) -> str:
        """Return what ``rtagent diff`` finds to differ between kernel and data plane."""
        command = [*_RTAGENT, "diff", "--config", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}"

    def ways(self, prefix: str, options: str = "") -> list[str] | None:
        """Return a prefix's next hops in the router's kernel as iproute2 shows them, sorted; None where it has none.

        A type stands for itself, a weight above 1 stands behind its gateway: ``10.0.0.2*3``.
        """
        family = 6 if ":" in prefix else 4
        rows = self.router.ip_json(f"-{family} route show exact {prefix} {options}")
        if not rows:
            return None
        first = min(rows, key=lambda row: row.get("metric", 0))
        if first.get("type", "unicast") != "unicast":
            return [first["type"]]
        hops = witness.ways(first, witness.nexthops(self.router) if "nhid" in first else {})
        return sorted(
            (hop.get("gateway") or hop["dev"]) + (f"*{hop['weight']}" if hop.get("weight", 1) > 1 else "")
            for hop in hops
        )

    def link_local(self, number: int) -> str:
        """Return the link-local address of a neighbour."""
        (link,) = self.neighbors[number].ip_json("-6 addr show dev eth0 scope link")
        return next(str(shown["local"]) for shown in link["addr_info"] if shown)  # {} for each one of another scope

    def expect(self, routes: Mapping[str, list[str] | None], options: str = "") -> None:
        """Wait until the kernel has these routes, then see that the data plane agrees, and forwards by them."""
        expected = {prefix: hops and sorted(hops) for prefix, hops in routes.items()}
        deadline = time.monotonic() + _TIMEOUT_S
        while expected != (found := {prefix: self.ways(prefix, options) for prefix in routes}):
            assert time.monotonic() < deadline, f"the kernel has {found}, not {expected}"
        self.assert_agreement()
        for prefix, hops in routes.items():
            if not options and hops and ("." in hops[0] or ":" in hops[0]):
                self.assert_forwards(prefix)

    def assert_agreement(self) -> None:
        """See that neither rtagent nor another's eyes find a difference, between two changes of the kernel."""
        expected = None
        while expected != (expected := self._kernel()):  # whoever changes it still is to be waited for
            self.wait_synced()
            differences = self.diff()
            held = {table: self._held(table, fib) for table, fib in expected.items()}
        assert "" == differences, differences
        for table, fib in expected.items():
            assert not (differing := witness.differences(fib, held[table])), "\n".join(differing[:20])

    def _kernel(self) -> dict[int, witness.Fib]:
        """Return what the kernel would do by each table, by iproute2."""
        return {table: witness.kernel(self.router, self.pairs, table) for table in self.tables}

    def _held(self, table: int, expected: witness.Fib) -> witness.Fib:
        """Return what the data plane does: VPP by vppctl; the memory FIB has no other reader than rtagent."""
        if self.vpp:
            found = witness.vpp(self.vpp, expected, table)
        else:
            found = _memory([row for message in self.ask("fib", table=table) for row in message["rows"]])
        return {prefix: entry for prefix, entry in found.items() if not prefix.startswith(_FOREIGN)}

    def assert_forwards(self, prefix: str) -> None:
        """Ping an address of the prefix from the host, through VPP."""
        if self.vpp is None:
            return
        network = ipaddress.ip_network(prefix)
        address = str(network[min(9, network.num_addresses - 1)])
        wait_for(lambda: self._pings(address), f"a ping through VPP to {address}", 10)

    def _pings(self, address: str) -> bool:
        try:
            self.host.run("ping", "-q", "-c", "1", "-W", "1", address)
        except CommandFailed:
            return False
        return True

    def _join(self, number: int) -> None:
        """Wire the router to a neighbour, and address both."""
        neighbor, link = self.neighbors[number], f"e{number}"
        for namespace in (self.router, neighbor):
            namespace.sysctl("net.ipv6.conf.default.accept_dad", 0)
            namespace.sysctl("net.ipv6.conf.default.keep_addr_on_down", 1)
        self.lab.veth(self.router, link, neighbor, "eth0")
        self.router.sysctl(f"net.ipv6.conf.{link}.keep_addr_on_down", 1)
        here = (f"10.{number}.0.1/16", f"2001:db8:{number}::1/64")
        self.router.ip_batch([f"addr add {here[0]} dev {link}", f"addr add {here[1]} dev {link} nodad"])
        for at in range(self.gateways):
            way = gateway(number, at)
            neighbor.ip(f"addr add {way.inet}/16 dev eth0")
            neighbor.ip(f"addr add {way.inet6}/64 dev eth0 nodad")
        for prefix in ANSWERED:
            neighbor.ip(f"-{6 if ':' in prefix else 4} route add local {prefix} dev lo")

    def _join_host(self) -> None:
        assert self.vpp is not None
        self.host.sysctl("net.ipv6.conf.default.accept_dad", 0)
        self.lab.veth(self.wire, "v8", self.host, "h0")
        self.vpp.port("v8")
        for address, length in zip(_VPP_TO_HOST, (24, 64), strict=True):
            self.vpp.ctl(f"set interface ip address host-v8 {address}/{length}")
        for address, length, via in zip(HOST, (24, 64), _VPP_TO_HOST, strict=True):
            family = 6 if ":" in address else 4
            self.host.ip(f"-{family} addr add {address}/{length} dev h0" + (" nodad" if family == 6 else ""))
            self.host.ip(f"-{family} route add default via {via}")

    def _join_vpp(self, number: int) -> None:
        """Wire VPP to a neighbour beside the router's wire; either knows the other by what the router's link knows."""
        assert self.vpp is not None
        neighbor, port = self.neighbors[number], f"v{number}"
        router_mac, mac = _mac(self.router, f"e{number}"), _mac(neighbor, "eth0")
        self.lab.veth(self.wire, port, neighbor, "vpp0")
        neighbor.ip(f"link set vpp0 address {mac}")
        self.vpp.ctl(f"create host-interface name {port} hw-addr {router_mac}")
        name = f"host-{port}"
        self.vpp.ctl(f"set interface state {name} up")
        for version in ("ip4", "ip6"):
            self.vpp.ctl(f"enable {version} interface {name}")
        ways = [gateway(number, at) for at in range(self.gateways)]
        for address in (self.link_local(number), *(way.inet for way in ways), *(way.inet6 for way in ways)):
            self.vpp.ctl(f"set ip neighbor {name} {address} {mac} static")
        for via, to in zip(_ROUTER_BY_VPP, HOST, strict=True):
            family = 6 if ":" in to else 4
            neighbor.ip(f"neigh add {via} lladdr {router_mac} dev vpp0 nud permanent")
            neighbor.ip(f"-{family} route add {to} via {via} dev vpp0 onlink")


def _mac(namespace: Namespace, link: str) -> str:
    return str(namespace.ip_json(f"link show {link}")[0]["address"])


def _memory(rows: list[dict[str, Any]]) -> witness.Fib:
    """Put the installed rows of ``rtagent fib --json`` as the witness puts VPP's."""
    kinds = {"blackhole": "drop"}
    found: witness.Fib = {}
    for row in rows:
        if row["state"] == "installed" and not row["prefix"].startswith("fe80:"):
            ways = {witness.Way(path["via"] or "", path["interface"]): path["weight"] for path in row["paths"]}
            total = sum(ways.values())
            shares = {way: weight / total for way, weight in ways.items()}
            found[row["prefix"]] = (kinds.get(row["type"], row["type"]), shares)
    return found
