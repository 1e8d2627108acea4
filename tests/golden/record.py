"""Records the journals of this folder anew: ``python -m tests.golden.record`` as root, VPP installed.

Needed where decisions are to come out another way from now on; the commit says why they do.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.agent.site import Site
from tests.lab.lab import Lab
from tests.lab.routes import RandomRoutes
from tests.vpp.site import VppSite

HERE = Path(__file__).parent


def _memory(lab: Lab, journal: Path) -> None:
    site = Site(lab)
    site.config.write_text("[kernel]\nreceive_buffer_bytes = 4096\n")
    routes = RandomRoutes(1, links=2, groups=12)
    site.router.ip_batch([f"addr add 10.{number}.0.1/16 dev e{number}" for number in (0, 1)])
    agent = site.start("--journal", str(journal))
    for lines in (routes.add(60), ["nexthop add id 1 via 10.0.0.9 dev e0", "route add 192.0.2.0/24 nhid 1"],
                  ["link set e1 down"], ["link set e1 up"], routes.change(60), ["link del e0"]):  # fmt: skip
        site.router.ip_batch(list(lines), force=True)
        site.wait()
    agent.stop()


def _vpp(lab: Lab, journal: Path) -> None:
    site = VppSite(lab)
    site.write_config(f'[journal]\nfile = "{journal}"\n')
    site.start_vpp()
    site.vpp.ctl("ip route add 203.0.113.0/24 via 10.0.0.99 host-v0")
    routes = RandomRoutes(2, links=4, groups=12)
    agent = site.start()
    for lines in (routes.add(60), ["route add 203.0.113.0/24 via 10.1.0.2"], ["link set e1 down"], routes.change(60)):
        site.router.ip_batch(list(lines), force=True)
        site.wait()
    site.vpp.kill()
    agent.wait_for(lambda: "dataplane.session_lost" in agent.text(), "the loss")
    site.router.ip_batch(list(routes.change(30)), force=True)
    site.start_vpp()
    site.wait()
    agent.stop()


if __name__ == "__main__":
    for name, record in (("memory", _memory), ("vpp", _vpp)):
        with Lab() as lab:
            record(lab, lab.folder / "journal")
            shutil.copy(lab.folder / "journal", HERE / f"{name}.journal")
