"""A router mirrored into a real VPP, and ``vppctl`` as the witness of what VPP does with a label."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.fuzz.plane import VppPlane
from tests.kernel.mirror import Mirror
from tests.kernel.oracle import disagreements
from tests.lab.lab import Namespace
from tests.lab.vpp import Vpp

_ENTRY = re.compile(r"^([\w-]+):(eos|neos)/21 ")
_STACK = re.compile(r"mpls-label\[.*?\]:((?:\[[\w-]+:\d+:\d+:n?eos\])+)")
_LABEL = re.compile(r"\[([\w-]+):")
_POP = re.compile(r"mpls-disposition:.*\[rpf-id:-1 (ip[46]), uniform\]")
_VIA = re.compile(r"arp-(mpls|ipv4|ipv6): via (\S+) (host-\w+)")
_SPECIAL = {"ip4-explicit-null": "0", "ipv6-explicit-null": "2"}


class Way(NamedTuple):
    """What VPP does with a packet: the labels it leaves with, what it is then, and where it goes."""

    labels: str
    payload: str
    """mpls, ipv4 or ipv6: by which rewrite the packet leaves."""
    via: str
    interface: str


class Site(NamedTuple):
    """The router, its peer, the mirror of the router, and VPP behind it."""

    router: Namespace
    peer: Namespace
    mirror: Mirror
    plane: VppPlane

    def disagreements(self) -> list[str]:
        """Return where kernel, mirror and VPP, once settled, are not one: the kernel's word against vppctl's."""
        found = disagreements(self.mirror, self.router, ports=self.plane.ports)
        return found + self.plane.differences(self.router, self.plane.ports)

    def label(self, label: int) -> dict[str, set[Way]]:
        """Return what VPP does with a label, at the bottom of the stack (eos) and not (neos)."""
        self.mirror.settle()
        return labels(self.plane.vpp).get(str(label), {})


def labels(vpp: Vpp) -> dict[str, dict[str, set[Way]]]:
    """Return what VPP does with each label that is not one of the reserved ones."""
    found: dict[str, dict[str, set[Way]]] = {}
    ways: set[Way] = set()
    pushed = ""
    for line in vpp.ctl("show mpls fib").splitlines():
        if entry := _ENTRY.match(line):
            ways = set()
            if entry[1].isdigit():
                found.setdefault(entry[1], {})[entry[2]] = ways
            forwarding = False
        elif line.startswith(" forwarding:"):
            forwarding = True
        elif stack := _STACK.search(line):
            names = [match[1] for match in _LABEL.finditer(stack[1])]
            pushed = "/".join(_SPECIAL.get(name, name) for name in names)
        elif _POP.search(line):
            pushed = ""
        elif (via := _VIA.search(line)) and forwarding:
            ways.add(Way(pushed, via[1], via[2], via[3]))
            pushed = ""
    return found
