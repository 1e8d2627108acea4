"""What a kernel can do, found out by trying in a namespace that is gone at once."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterable

_TRIALS = {
    "mpls": "test -d /proc/sys/net/mpls",
    "vrf": "ip link add trial type vrf table 1",
    "dummy": "ip link add trial type dummy",
    "vlan": "ip link add name v0 type veth peer name v1 && ip link add link v0 name trial type vlan id 1",
    "bond": "ip link add trial type bond",
    "seg6": "ip link set lo up && ip -6 route add 3fff::/64 encap seg6 mode encap segs 3fff:1::1 dev lo",
    "ipip": "ip link add trial type ipip external && ip link add trial6 type ip6tnl external",
    "vhost": "test -c /dev/vhost-net",
    "rename_up": "ip link set lo up && ip link set lo name trial",
}
"""Features by name, each with a command that fails where the kernel lacks it. ``rename_up``: a link that is up may be
renamed (since Linux 6.2)."""


@functools.cache
def has(feature: str) -> bool:
    """Whether this kernel has a feature of the list above."""
    done = subprocess.run(["unshare", "--net", "sh", "-c", _TRIALS[feature]], capture_output=True, check=False)
    return done.returncode == 0


def lacking(features: Iterable[str]) -> list[str]:
    """Return those of the features that this kernel does not have."""
    return [feature for feature in features if not has(feature)]
