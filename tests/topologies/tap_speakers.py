"""BGP on the taps of a TapSite: BIRD in the router, and one on each host beyond VPP; the first has many routes."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterator

from tests.lab.bird import Bird
from tests.lab.lab import Process, wait_for
from tests.topologies.tap_site import TapSite

HOLD_S = 240
"""VPP takes up to a minute to start on an emulated processor."""
BEHIND = "172.31.0.1"
"""An address of the first host's, which it announces."""

_COMMON = """
router id 10.0.0.{number};
protocol device {{ }}
protocol kernel {{ ipv4 {{ import none; export {export}; }}; }}
template bgp speaker {{
    local as 65000; direct; check link no; hold time {hold};
    ipv4 {{ import all; gateway direct; export {announce}; next hop self; }};
}}
"""


def prefixes(count: int) -> Iterator[str]:
    """Yield so many prefixes that nobody else uses."""
    first = int(ipaddress.IPv4Address("20.0.0.0"))
    for number in range(count):
        yield f"{ipaddress.IPv4Address(first + (number << 8))}/24"


def seconds(clock: str) -> float:
    """Return what BIRD says of a time of the day, in seconds."""
    hours, minutes, seconds = clock.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


class Speakers:
    """The BIRDs. ``start`` returns when all sessions stand and the router's kernel has all routes."""

    def __init__(self, site: TapSite, routes: int) -> None:
        self.site, self.routes = site, routes
        self.router = self._bird(site.router, "router", 9, export="all", announce="none", peers=(1, 2, 3))
        self.hosts = [
            self._bird(host, host.label, number, export="none", announce="all", peers=(number,))
            for number, host in enumerate(site.hosts, 1)
        ]
        site.hosts[0].ip(f"addr add {BEHIND}/32 dev lo")

    def start(self) -> None:
        """Start them."""
        for bird in (self.router, *self.hosts):
            bird.start()
        self.site.wait_for(self.stand, "the sessions")
        self.site.wait_for(lambda: len(self.kernel_routes()) == self.routes + 1, "the kernel's routes")

    def stand(self) -> bool:
        """Whether the router's sessions stand."""
        return len(self.router.sessions()) == 3 and self.router.established()

    def since(self) -> dict[str, float]:
        """Return since when each of the router's sessions stands, in seconds of the day.

        BIRD tells it to a thousandth or so: it may differ by one from one time to the next.
        """
        rows = [line.split() for line in self.router.ctl("show protocols").splitlines() if " BGP " in line]
        assert {"Established"} == {row[5] for row in rows}, rows
        return {row[0]: seconds(row[4]) for row in rows}

    def kernel_routes(self) -> list[str]:
        """Return what BIRD has in the router's kernel."""
        return self.site.router.ip("route show proto bird").splitlines()

    def watch_routes(self) -> Process:
        """Start to listen for IPv4 routes that the router's kernel loses."""
        process = self.site.router.start("ip", "-4", "monitor", "route", log=f"monitor-{id(object())}")

        numbers = itertools.count(1)

        def is_heard() -> bool:
            self.site.router.ip(f"route replace blackhole 198.18.0.0/32 table 99 metric {next(numbers)}")
            return "198.18.0.0" in process.text()

        wait_for(is_heard, "the monitor")
        return process

    def _bird(self, namespace, label, number, *, export, announce, peers) -> Bird:  # type: ignore[no-untyped-def]
        text = _COMMON.format(number=number, export=export, announce=announce, hold=HOLD_S)
        for peer in peers:
            other = f"192.168.{peer}.2" if number == 9 else f"192.168.{peer}.1"
            passive = " passive on;" if number == 9 else ""
            text += (
                f"protocol bgp to{peer} from speaker {{ neighbor {other} as 65000;{passive} connect delay time 1; }}\n"
            )
        if number == 1:
            rows = "".join(f"route {prefix} blackhole;" for prefix in prefixes(self.routes))
            text += f"protocol static {{ ipv4; route {BEHIND}/32 blackhole; {rows} }}\n"
        config = self.site.lab.folder / f"bird-{label}.conf"
        config.write_text(text)
        return Bird(self.site.lab, namespace, config)
