"""Two BIRDs that speak iBGP and BFD over one link; the left one has something of everything to show.

left 192.0.2.1 ── eth0 ── eth0 ── 192.0.2.2 right
     2001:db8::1                   2001:db8::2
"""

from __future__ import annotations

from tests.lab.bird import Bird
from tests.lab.birds import BirdRelease
from tests.lab.lab import Lab, Namespace, wait_for

COMMON = """
router id {id};
protocol device {{}}
protocol bfd {{ interface "*" {{ interval 400 ms; multiplier 10; }}; }}
template bgp mesh {{
    local as 65000; direct; bfd; password "secret"; graceful restart;
    connect delay time 1; connect retry time 1; error wait time 1, 2;
}}
"""
LEFT = """
protocol direct { ipv4; ipv6; }
protocol static given {
    ipv4;
    route 198.51.100.0/24 blackhole;
    route 198.51.101.0/24 unreachable;
    route 198.51.102.0/24 prohibit;
    route 198.51.103.0/24 via "eth0";
    route 198.51.104.0/24 via 192.0.2.3 weight 3 via 192.0.2.2 weight 2;
    route 198.51.105.0/24 via 192.0.2.2 {
        bgp_path.prepend(65001); bgp_med = 5; bgp_community.add((65000, 2)); bgp_large_community.add((1, 2, 3));
    };
}
protocol bgp right from mesh {
    description "the other: 100 % ours";
    neighbor 192.0.2.2 as 65000;
    ipv4 {
        import keep filtered on; import limit 10 action block;
        import filter { if net = 203.0.113.128/25 then reject; accept; };
        export where net = 198.51.100.0/24; next hop self;
    };
    ipv6 { import all; export none; };
}
protocol bgp nobody from mesh { neighbor 192.0.2.77 as 65000; bfd off; ipv4 { import all; export none; }; }
protocol bgp absent from mesh { disabled; neighbor 192.0.2.78 as 65001; ipv4 { import all; export none; }; }
"""
RIGHT = """
protocol static given { ipv4; route 203.0.113.0/25 blackhole; route 203.0.113.128/25 blackhole; }
protocol bgp left from mesh {
    neighbor 192.0.2.1 as 65000;
    ipv4 { import all; export where source = RTS_STATIC; next hop self; };
    ipv6 { import all; export none; };
}
"""


class Pair:
    """Both BIRDs, not started yet."""

    def __init__(self, lab: Lab, release: BirdRelease) -> None:
        left, right = lab.namespace("left"), lab.namespace("right")
        lab.veth(left, "eth0", right, "eth0")
        for namespace, host in ((left, 1), (right, 2)):
            namespace.ip(f"addr add 192.0.2.{host}/24 dev eth0")
            namespace.ip(f"addr add 2001:db8::{host}/64 dev eth0 nodad")
        self.left = _bird(lab, release, left, COMMON.format(id="192.0.2.1") + LEFT)
        self.right = _bird(lab, release, right, COMMON.format(id="192.0.2.2") + RIGHT)

    def start(self) -> None:
        """Start both, and return when the session stands and its routes are there."""
        self.right.start()
        self.left.start()
        wait_for(lambda: self.left.established(["right"]), "the session")
        wait_for(lambda: "203.0.113.0/25" in self.left.ctl("show route"), "the right one's route")
        wait_for(lambda: "198.51.100.0/24" in self.right.ctl("show route"), "the left one's route")
        wait_for(lambda: "203.0.113.128/25" in self.left.ctl("show route filtered"), "the refused route")
        wait_for(lambda: " Up " in self.left.ctl("show bfd sessions"), "the BFD session")


def _bird(lab: Lab, release: BirdRelease, namespace: Namespace, text: str) -> Bird:
    config = lab.folder / f"{namespace.label}.conf"
    config.write_text(text)
    return Bird(lab, namespace, config, release)
