"""A router whose kernel has links e0 to e3, mirrored into a real VPP with a port for each; hosts beyond two more ports.

peer e0..e3 ── e0..e3 kernel (router namespace) v0..v3 ── VPP ── v8 ── left 192.168.8.2
                                                          └───── v9 ── right 192.168.9.2
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from tests.agent.site import RTAGENT, Done
from tests.lab import plugin
from tests.lab.lab import CommandFailed, Lab, Process, wait_for
from tests.lab.vpp import Vpp

LINKS = 4


class VppSite:
    """The router, VPP, and the rtagent command beside them."""

    def __init__(
        self, lab: Lab, *, heap: str = "1G", busy: bool = False, bulk: bool = False, plugins: tuple[str, ...] = (),
        workers: int = 0,
    ) -> None:  # fmt: skip
        self.lab = lab
        self.router, self.peer, self.wire = (lab.namespace(label) for label in ("router", "peer", "wire"))
        self.left, self.right = lab.namespace("left"), lab.namespace("right")
        self.pairs = {f"e{number}": f"host-v{number}" for number in range(LINKS)}
        for number in range(LINKS):
            lab.veth(self.router, f"e{number}", self.peer, f"e{number}")
            lab.veth(self.wire, f"v{number}", self.peer, f"v{number}")
            self.router.ip(f"addr add 10.{number}.0.1/16 dev e{number}")
            self.router.ip(f"addr add 2001:db8:{number}::1/64 dev e{number} nodad")
        lab.veth(self.wire, "v8", self.left, "h0")
        lab.veth(self.wire, "v9", self.right, "h0")
        self.bulk = bulk
        path = plugin.built() if bulk else None
        plugins += (plugin.NAME,) if bulk else ()
        self.vpp = Vpp(lab, self.wire, heap=heap, busy=busy, plugins=plugins, plugin_path=path, workers=workers)
        self.control = str(lab.folder / "control.sock")
        self.config = lab.folder / "rtagent.toml"
        self.write_config()

    def write_config(self, extra: str = "") -> None:
        """Write the configuration: every link has its pair."""
        pairs = "".join(f'[[pairs]]\nhost = "{host}"\nvpp = "{vpp}"\n' for host, vpp in self.pairs.items())
        self.config.write_text(
            f'[dataplane]\nkind = "vpp"\nsocket = "{self.vpp.api}"\nstats_socket = "{self.vpp.stats}"\n'
            f'[kernel]\nnetns = "{self.router.name}"\n[control]\nsocket = "{self.control}"\n{pairs}{extra}'
        )

    def start_vpp(self) -> None:
        """Start VPP, with its ports as an operator would configure them."""
        self.vpp.start()
        for number in (*range(LINKS), 8, 9):
            self.vpp.port(f"v{number}")
        for number in (8, 9):
            self.vpp.ctl(f"set interface ip address host-v{number} 192.168.{number}.1/24")

    def join_hosts(self) -> None:
        """Give the two hosts beyond VPP their addresses, so that they reach each other through it."""
        for host, number, other in ((self.left, 8, 9), (self.right, 9, 8)):
            host.ip(f"addr add 192.168.{number}.2/24 dev h0")
            host.ip(f"route add 192.168.{other}.0/24 via 192.168.{number}.1")
        wait_for(self._hosts_reach_each_other, "the hosts' neighbours")

    def _hosts_reach_each_other(self) -> bool:
        try:
            self.left.run("ping", "-q", "-c", "1", "-W", "1", "192.168.9.2")
        except CommandFailed:
            return False
        return True

    def start(self) -> Process:
        """Start an agent; it is ready some time later."""
        return self.lab.start([*RTAGENT, "run", "--config", str(self.config)], log="agent.log")

    def wait(self, timeout_s: float = 120) -> None:
        """Wait until VPP holds what the kernel holds."""
        done = self.rtagent("wait", "--synced", "--timeout", str(timeout_s), "--control", self.control)
        assert done == Done(0, "", ""), done

    def rtagent(self, *arguments: str) -> Done:
        """Run an rtagent command."""
        done = subprocess.run([*RTAGENT, *arguments], capture_output=True, text=True, check=False, timeout=300)
        return Done(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str) -> Any:
        """Ask the agent with --json and return what it said."""
        return json.loads(self.rtagent(*arguments, "--json", "--control", self.control).out)

    def wait_installed(self, prefix: str) -> None:
        """Wait until a row is installed that something else kept out."""
        wait_for(lambda: [row["state"] for row in self.json("fib", prefix)] == ["installed"], f"{prefix} installed")

    def diff(self) -> list[dict[str, Any]]:
        """Return what rtagent itself finds to differ, the agent running or not."""
        done = self.rtagent("diff", "--between", "kernel,vpp", "--json", "--config", str(self.config))
        assert done.status in (0, 1), done
        rows: list[dict[str, Any]] = json.loads(done.out)
        return rows

    def count_writes(self) -> int:
        """Return how many writes of a route VPP has received since ``forget_writes``, by what it has counted itself."""
        text = self.vpp.ctl("api trace dump")
        counted = plugin.counters(self.vpp) if self.bulk else {}
        bulk = sum(int(number) for name, number in counted.items() if name.startswith("apply: rows"))
        return bulk + sum(text.count(name) for name in ("vl_api_ip_route_add_del", "vl_api_mpls_route_add_del"))

    def count_interface_writes(self) -> int:
        """Return how many writes of an interface's state VPP has received since ``forget_writes``."""
        text = self.vpp.ctl("api trace dump")
        return len(
            re.findall(r"^vl_api_(?:\w*_interface_(?:ip6_)?(?:set|enable|add_del)|\w+_subif)", text, re.MULTILINE)
        )

    def count_punt_writes(self) -> int:
        """Return how many writes of what is punted VPP has received since ``forget_writes``, frames apart."""
        text = self.vpp.ctl("api trace dump")
        names = r"ip_mroute_add_del|ip_punt_police|punt_acl_add_del|classify_add_del_\w+|policer_(?:add|update|del)"
        return len(re.findall(rf"^vl_api_(?:{names}|feature_enable_disable)_t", text, re.MULTILINE))

    def forget_writes(self) -> None:
        """Start VPP's API trace anew, and the plugin's counters."""
        if self.bulk:
            self.vpp.ctl("clear fibbulk")
        self.vpp.ctl("api trace free")
        self.vpp.ctl("api trace on")
