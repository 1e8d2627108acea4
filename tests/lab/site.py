"""The demo's site: an upstream router, a load balancer and two nodes, BIRD in each, rtagent beside the balancer's.

::

    upstream            10.0.0.1 ---- 10.0.0.2 e0
    (AS 64500)                                    \\
    node1   10.1.1.0/24 10.0.1.2 ---- 10.0.1.1 e1  balancer: BIRD -> kernel -> rtagent -> VPP or memory FIB
    node2   10.1.2.0/24 10.0.2.2 ---- 10.0.2.1 e2 /
    (AS 64496)

IPv6 is the same with 2001:db8:0:N::1 and ::2, and pods in 2001:db8:1:N::/64. Both nodes announce the service
203.0.113.0/24 (2001:db8:cafe::/64), which the balancer therefore reaches by two equal paths. VPP has a namespace of its
own: port host-pN stands for the kernel's eN, and knows the neighbour at the other end of it.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

from tests.lab.bird import Bird
from tests.lab.lab import Lab, Namespace, Process
from tests.lab.vpp import Vpp

CONFIGURATION = Path(__file__).parents[2] / "bird" / "demo"
"""BIRD's, written for people; a site runs on a copy."""

SERVICE = ("203.0.113.0/24", "2001:db8:cafe::/64")
"""What both nodes announce."""

_LINKS = ("upstream", "node1", "node2")
"""Who is at the other end of the balancer's e0, e1, e2."""


class Link(NamedTuple):
    """One of the balancer's links: eN there, eth0 at the other end."""

    number: int
    peer: str
    here: tuple[str, str]
    """The balancer's addresses, IPv4 and IPv6."""
    there: tuple[str, str]
    """The peer's."""


def links() -> Iterator[Link]:
    """Yield the balancer's links."""
    for number, peer in enumerate(_LINKS):
        first, second = ((f"10.0.{number}.{host}", str(IPv6Address(f"2001:db8:0:{number}::{host}"))) for host in (1, 2))
        yield Link(number, peer, *((second, first) if peer == "upstream" else (first, second)))


def pods(node: str) -> tuple[str, str]:
    """Return the prefixes that a node announces alone."""
    number = _LINKS.index(node)
    return f"10.1.{number}.0/24", f"2001:db8:1:{number}::/64"


def expected_routes(without: str | None = None) -> dict[str, set[str]]:
    """Return prefix → next hops of every BGP route that the balancer must have, ``without`` a node or with all."""
    via = {link.peer: link.there for link in links() if link.peer != without}
    nodes = [name for name in ("node1", "node2") if name != without]
    routes: dict[str, set[str]] = {}
    for family in (0, 1):
        for prefix in (("0.0.0.0/0", "198.51.100.0/24"), ("::/0", "2001:db8:ffff::/48"))[family]:
            routes[prefix] = {via["upstream"][family]}
        for node in nodes:
            routes[pods(node)[family]] = {via[node][family]}
        routes[SERVICE[family]] = {via[node][family] for node in nodes}
    return routes


def announced(number: int) -> Iterator[str]:
    """Yield the prefixes that ``Site.announce`` makes: /24s from 16.0.0.0 on."""
    return (f"{16 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24" for n in range(number))


class Site:
    """Namespaces and links, at once; BIRD, VPP and rtagent when they are started."""

    def __init__(self, lab: Lab, dataplane: str) -> None:
        """``dataplane`` is "vpp" or "memory"."""
        self.lab = lab
        self.dataplane = dataplane
        self.balancer = lab.namespace("balancer")
        self.peers = {name: lab.namespace(name) for name in _LINKS}
        self._make_links()
        folder = lab.folder / "bird"
        shutil.copytree(CONFIGURATION, folder)
        self.birds = {
            namespace.label: Bird(lab, namespace, folder / f"{namespace.label}.conf")
            for namespace in (self.balancer, *self.peers.values())
        }
        self.control = str(lab.folder / "rtagent.sock")
        self.config = lab.folder / "rtagent.toml"
        self.vpp: Vpp | None = None
        self.agent: Process | None = None

    def start_dataplane(self) -> None:
        """Start VPP, with a port and a neighbour for each link; the memory FIB is inside rtagent and needs nothing."""
        if self.dataplane != "vpp":
            return
        namespace = self.lab.namespace("vpp")
        self.vpp = Vpp(self.lab, namespace)
        self.vpp.start()
        for link in links():
            self.lab.veth(namespace, f"p{link.number}", namespace, f"q{link.number}")
            port = self.vpp.port(f"p{link.number}")
            mac = self.peers[link.peer].ip_json("link show eth0")[0]["address"]
            for version, address in zip(("ip4", "ip6"), link.there, strict=True):
                self.vpp.ctl(f"enable {version} interface {port}")
                self.vpp.ctl(f"set ip neighbor {port} {address} {mac} static")

    def start_birds(self) -> None:
        """Start every BIRD; their sessions come up by themselves."""
        for bird in self.birds.values():
            bird.start()

    def start_agent(self) -> None:
        """Start rtagent in the balancer's namespace."""
        self.config.write_text(self._settings())
        command = [*_RTAGENT, "run", "--config", str(self.config)]
        command += ["--netns", self.balancer.name, "--control", self.control]
        self.agent = self.lab.start(command, log="rtagent.log")
        self.agent.wait_for(Path(self.control).is_socket, "rtagent's control socket")

    def rtagent(self, *arguments: str, quiet: bool = True) -> subprocess.CompletedProcess[str]:
        """Run an rtagent command against the agent; unless ``quiet``, its output goes to ours."""
        command = [*_RTAGENT, *arguments, "--control", self.control]
        return subprocess.run(command, capture_output=quiet, text=True, check=False, stdin=subprocess.DEVNULL)

    def sessions(self) -> tuple[int, int]:
        """Return how many BGP sessions stand, and how many there are, each counted at both ends."""
        states = [state for bird in self.birds.values() for state in bird.sessions().values()]
        return states.count("Established"), len(states)

    def kernel_routes(self, prefixes: Collection[str]) -> dict[str, set[str]]:
        """Return prefix → next hops of those of these routes that the balancer's kernel has, as iproute2 reads them."""
        routes: dict[str, set[str]] = {}
        for prefix in prefixes:
            for row in self.balancer.ip_json(f"-{6 if ':' in prefix else 4} route show exact {prefix} proto bird"):
                routes[prefix] = {hop["gateway"] for hop in row.get("nexthops", [row])}
        return routes

    def vpp_routes(self, prefixes: Collection[str]) -> dict[str, set[str]]:
        """Return prefix → next hops of those of these routes by which VPP forwards, as its CLI shows its buckets."""
        assert self.vpp is not None
        routes: dict[str, set[str]] = {}
        for prefix in prefixes:
            said = self.vpp.ctl(f"show {'ip6' if ':' in prefix else 'ip'} fib {prefix}")
            entry, _, forwarding = said.partition(" forwarding:")
            if re.search(rf"^{re.escape(prefix)} fib:", entry, re.MULTILINE):
                routes[prefix] = set(re.findall(r"^ +\[\d+\] \[@\d+\]: ipv[46] via (\S+) ", forwarding, re.MULTILINE))
        return routes

    def take_down(self, node: str) -> None:
        """Take a node's link away."""
        self.peers[node].ip("link set eth0 down")

    def bring_back(self, node: str) -> None:
        """Give a node its link, its addresses and its default routes again."""
        namespace = self.peers[node]
        namespace.ip("link set eth0 up")
        self._address(namespace, "eth0", next(link.there for link in links() if link.peer == node))
        self._default_routes(node)

    def announce(self, number: int) -> None:
        """Let the upstream router announce this many prefixes more, and return when its BIRD has the configuration."""
        bird = self.birds["upstream"]
        with (bird.config.parent / "upstream-routes.conf").open("w") as file:
            file.write("protocol static more4 {\n  ipv4;\n")
            file.writelines(f"  route {prefix} blackhole;\n" for prefix in announced(number))
            file.write("}\n")
        bird.configure()

    def _make_links(self) -> None:
        for link in links():
            self.lab.veth(self.balancer, f"e{link.number}", self.peers[link.peer], "eth0")
            self._address(self.balancer, f"e{link.number}", link.here)
            self._address(self.peers[link.peer], "eth0", link.there)
        self.balancer.sysctl("net.ipv4.ip_forward", 1)
        self.balancer.sysctl("net.ipv6.conf.all.forwarding", 1)
        for node in ("node1", "node2"):
            self._default_routes(node)

    def _address(self, namespace: Namespace, link: str, addresses: tuple[str, str]) -> None:
        namespace.ip(f"-4 addr replace {addresses[0]}/24 dev {link}")
        namespace.ip(f"-6 addr replace {addresses[1]}/64 dev {link} nodad")

    def _default_routes(self, node: str) -> None:
        here = next(link.here for link in links() if link.peer == node)
        self.peers[node].ip(f"-4 route replace default via {here[0]}")
        self.peers[node].ip(f"-6 route replace default via {here[1]}")

    def _settings(self) -> str:
        if self.vpp is None:
            return '[dataplane]\nkind = "memory"\n'
        pairs = (f'[[pairs]]\nhost = "e{link.number}"\nvpp = "host-p{link.number}"\n' for link in links())
        return f'[dataplane]\nkind = "vpp"\nsocket = "{self.vpp.api}"\n' + "".join(pairs)


class Control:
    """A connection to rtagent's control socket, to ask often and fast: JSON lines, see docs/reference.md."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._lines = self._socket.makefile("rb")

    def ask(self, command: str, **arguments: Any) -> Iterator[Mapping[str, Any]]:
        """Yield the lines of the answer; read it to its end. Raises ValueError where rtagent refuses."""
        request = {"rtagent": 1, "command": command, **arguments}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        for line in self._lines:
            message = json.loads(line)
            if "error" in message:
                raise ValueError(message["error"])
            if "end" in message:
                return
            yield message
        raise ConnectionError("rtagent closed the connection")

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()


_RTAGENT = (str(Path(sys.executable).with_name("rtagent")),)
