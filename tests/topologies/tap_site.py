"""A router whose interfaces are VPP's, each with a tap in the router's namespace that rtagent makes.

::

    left  192.168.1.2 ── p1 ┐                       ┌ e1 192.168.1.1 ┐
    right 192.168.2.2 ── p2 ┼ VPP ── linux-cp's taps ┼ e2 192.168.2.1 ┼ kernel (router), rtagent, BIRD
    far   192.168.3.2 ── p3 ┘                       └ e3 192.168.3.1 ┘

and 2001:db8:N::2 and ::1 beside 192.168.N.2 and .1.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.agent.site import RTAGENT, Done
from tests.lab import plugin
from tests.lab.lab import CommandFailed, Lab, Process, wait_for
from tests.lab.vpp import Vpp

HOSTS = ("left", "right", "far")
_MTU = 1500
"""As at the other end: OSPF insists on it (RFC 2328, 10.6), and VPP's host interfaces, which have 9000, do not survive
a frame that is too long for their link."""
_PATIENCE_S = 120
"""VPP and Python are started by an emulated processor."""


class TapSite:
    """The router, VPP, the hosts beyond it, and the rtagent command."""

    def __init__(
        self, lab: Lab, *, taps: str = 'interfaces = ["host-*"]', plugin_path: Path | None = None
    ) -> None:  # fmt: skip
        """``plugin_path``: where our VPP plugin is, if VPP is to have it."""
        self.lab = lab
        self.router, self.wire = lab.namespace("router"), lab.namespace("vpp")
        self.hosts = [lab.namespace(name) for name in HOSTS]
        for number, host in enumerate(self.hosts, 1):
            lab.veth(self.wire, f"p{number}", host, "h0")
            host.ip(f"addr add 192.168.{number}.2/24 dev h0")
            host.ip(f"addr add 2001:db8:{number}::2/64 dev h0 nodad")
            host.ip(f"route add default via 192.168.{number}.1")
            host.ip(f"route add default via 2001:db8:{number}::1")
        plugins = ("linux_cp", "tap", *((plugin.NAME,) if plugin_path else ()))
        self.vpp = Vpp(lab, self.wire, plugins=plugins, plugin_path=plugin_path, ping=False)
        self.control = str(lab.folder / "control.sock")
        self.config = lab.folder / "rtagent.toml"
        self.agent: Process | None = None
        self.write_config(taps)

    def write_config(self, taps: str, more: str = "") -> None:
        """Write the configuration; the ports' links are called e1 to e3."""
        pairs = "".join(f'[[pairs]]\nhost = "e{number}"\nvpp = "host-p{number}"\n' for number in (1, 2, 3))
        self.config.write_text(
            f'[dataplane]\nsocket = "{self.vpp.api}"\n[kernel]\nnetns = "{self.router.name}"\n'
            f'[control]\nsocket = "{self.control}"\n[taps]\n{taps}\n{more}{pairs}'
        )

    def start_vpp(self) -> None:
        """Start VPP, with its ports as its own start-up configuration would make them."""
        self.vpp.start()
        for number in (1, 2, 3):
            self.vpp.port(f"p{number}")

    def start(self) -> Process:
        """Start an agent, and return when it is ready."""
        agent = self.launch()
        agent.wait_for(lambda: "agent.ready" in agent.text(), "the agent", _PATIENCE_S)
        return agent

    def launch(self) -> Process:
        """Start an agent, which is ready some time later."""
        self.agent = self.lab.start([*RTAGENT, "run", "--config", str(self.config)], log="agent.log")
        return self.agent

    def address(self) -> None:
        """Give the taps their addresses, and return when the hosts reach the router."""
        for number, host in enumerate(self.hosts, 1):
            self.wait_for(lambda number=number: self.link(f"e{number}"), f"e{number}")  # type: ignore[misc]
            self.router.ip(f"addr add 192.168.{number}.1/24 dev e{number}")
            self.router.ip(f"link set e{number} up mtu {_MTU}")
            self.router.ip(f"addr add 2001:db8:{number}::1/64 dev e{number} nodad")
            for address in (f"192.168.{number}.1", f"2001:db8:{number}::1"):
                self.wait_for(lambda host=host, address=address: reaches(host, address), f"{address} from {host.label}")  # type: ignore[misc]

    def link(self, name: str) -> Mapping[str, Any]:
        """Return what ``ip`` shows of a link of the router's, empty without one."""
        try:
            (link,) = self.router.ip_json(f"-d link show dev {name}")
        except CommandFailed:
            return {}
        return dict(link)

    def pairs(self) -> dict[str, str]:
        """Return VPP's pairs as it shows them: interface → link's name or other name."""
        rows = [line.split() for line in self.vpp.ctl("show lcp").splitlines() if line.startswith("itf-pair:")]
        return {row[2]: row[4] for row in rows}

    def wait_for(self, condition: Callable[[], Any], what: str, timeout_s: float = _PATIENCE_S) -> Any:
        """Wait while the agent runs, and show what it said where it does not come true."""
        try:
            return wait_for(condition, what, timeout_s)
        except TimeoutError as error:
            said = self.agent.text()[-6000:] if self.agent else ""
            raise TimeoutError(f"{error}\n{self.vpp.ctl('show lcp')}\n{self.router.ip('-d link')}\n{said}") from None

    def ask(self, command: str) -> Any:
        """Ask the agent, and return its first message."""
        from rtagent.agent.asking import ask

        async def first() -> Any:
            async for message in ask(self.control, command):
                return message
            return None

        return asyncio.run(first())

    def states(self) -> dict[str, str]:
        """Return the pairs' states by the link's name, as the agent tells them."""
        return {pair["host"]: pair["state"] for pair in self.ask("status")["status"]["pairs"]}

    def rtagent(self, *arguments: str) -> Done:
        """Run an rtagent command."""
        done = subprocess.run([*RTAGENT, *arguments], capture_output=True, text=True, check=False, timeout=300)
        return Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def running(taps: str = 'interfaces = ["host-*"]') -> Iterator[TapSite]:
    """Yield a site whose taps have their addresses, and whose hosts reach the router."""
    with Lab() as lab:
        site = TapSite(lab, taps=taps)
        site.start_vpp()
        site.start()
        site.address()
        yield site


def reaches(host: Any, address: str) -> bool:
    """Whether an address answers a host's ping."""
    try:
        host.run("ping", "-q", "-c", "1", "-W", "2", address)
    except CommandFailed:
        return False
    return True
