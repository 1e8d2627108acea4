"""A mesh of real BIRDs, each in a namespace of its own, routed through a hub.

::

    node-3  10.0.0.3/32, fd00::3/128  eth0 ---- h3  hub 169.254.0.1, fe80::1
    node-4  10.0.0.4/32, fd00::4/128  eth0 ---- h4

Never a flat layer 2: the kernel's neighbour table (gc_thresh3) is shared by all namespaces, and sixty members who are
each other's neighbours fill it. Members are those of ``tests.meshes``; each one's pods have an address on its loopback.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from rtagent.cli.mesh.source import reports
from rtagent.core.mesh.options import Options
from rtagent.core.mesh.rollout import Carries, Step, Target, step
from rtagent.core.mesh.sessions import Topology
from rtagent.core.mesh.text import KEYS_FILE, MAIN_FILE, bridge, configuration
from rtagent.core.mesh.verdicts import Report
from rtagent.sinks.birdc import BirdClient
from rtagent.vector.members import Member, Members
from rtagent.wire.birdc.protocols import Channel, Protocol
from tests.lab import birds
from tests.lab.bird import Bird
from tests.lab.birds import BirdRelease
from tests.lab.lab import Lab, wait_for
from tests.meshes import SECRET, TEMPLATES

OPTIONS = Options(multihop=True, bfd=False)
"""Members are not neighbours here; BFD costs more than two processors have when a mesh is large."""

_SAME_MOMENT_S = 0.01
"""BIRD reads its two clocks a little apart from each other, and from when we read ours."""
GATEWAY4, GATEWAY6 = "169.254.0.1", "fe80::1"


class MeshMember:
    """One member: its namespace and its BIRD, which starts when it is told to."""

    def __init__(self, lab: Lab, member: Member, release: BirdRelease) -> None:
        self.member = member
        self.namespace = lab.namespace(member.id)
        self.folder = lab.folder / member.id
        self.folder.mkdir()
        self.bird = Bird(lab, self.namespace, self.folder / "bird.conf", release)
        self.options = OPTIONS
        self._next: Mapping[str, str] | None = None
        self._next_since = 0.0

    @property
    def files(self) -> dict[str, str]:
        """What of the mesh is on its disk."""
        return {name: (self.folder / name).read_text() for name in (MAIN_FILE, KEYS_FILE)}

    def step(self, target: Target) -> Step | None:
        """Take the next step towards the target, if it is time; return it, None at the end of the way."""
        carried = {
            row.name: Carries(row.info == "Established", *_counts(row))
            for row in asyncio.run(self._protocols())
            if row.proto == "BGP"
        }
        next_ = step(self.files, target, carried)
        if next_ is None or next_.files is None or next_.files != self._next:
            self._next, self._next_since = next_ and next_.files, time.monotonic()
        if next_ is not None and next_.files is not None and time.monotonic() >= self._next_since + next_.settle_s:
            for name, text in next_.files.items():
                (self.folder / name).write_text(text)
            self.bird.configure()
        return next_

    def target(self, members: Members, topology: Topology = Topology.MESH, secret: bytes = SECRET) -> Target:
        """Return where this member has to go."""
        common = (self.member, self.options, TEMPLATES, self.bird.release.version)
        return Target(
            configuration(members, *common, topology, secret),
            configuration(members, *common, Topology.MESH, secret),
            lambda made, names: bridge(made, names, *common, secret),
        )

    async def report(self, members: Members) -> Report:
        """Return what its BIRD says of sessions and routes."""
        (found,) = (await reports({self.member.id: str(self.bird.socket)}, members, routes=True)).values()
        return found

    async def _protocols(self) -> list[Protocol]:
        async with BirdClient(self.bird.socket) as client:
            return await client.protocols("mesh*")

    def write(self, members: Members, topology: Topology = Topology.MESH, secret: bytes = SECRET) -> None:
        """Write the configuration that it should have."""
        for name, text in self.target(members, topology, secret).final.files.items():
            (self.folder / name).write_text(text)
        self.bird.config.write_text(
            f"router id {self.member.router_id};\nlog stderr all;\ntimeformat protocol iso long us;\n"
            'protocol device { }\ninclude "mesh.conf";\n'
        )

    def sessions(self) -> dict[str, tuple[str, float]]:
        """Return protocol → (state of the session, since when in seconds of the monotonic clock).

        BIRD keeps moments in that clock and tells them in the wall clock of now, which may be set meanwhile.
        """
        rows = (line.split() for line in self.bird.ctl("show protocols").splitlines())
        told_by = time.time() - time.monotonic()
        return {
            row[0]: (
                row[6] if len(row) > 6 else row[3],
                datetime.fromisoformat(f"{row[4]} {row[5]}").timestamp() - told_by,
            )
            for row in rows
            if row[1] == "BGP"
        }

    def restarted(self, before: dict[str, tuple[str, float]]) -> set[str]:
        """Return the sessions of ``before`` that are gone or have begun anew."""
        now = self.sessions()
        return {
            name for name, (_, since) in before.items() if name not in now or abs(now[name][1] - since) > _SAME_MOMENT_S
        }

    def established(self) -> bool:
        """Whether all of its sessions stand."""
        return {"Established"} >= {state for state, _ in self.sessions().values()}

    def kernel(self, family: int = 4) -> dict[str, str]:
        """Return prefix → gateway of the routes that BIRD has put into its kernel."""
        rows = self.namespace.ip_json(f"-{family} route show proto bird")
        return {row["dst"]: row["gateway"] for row in rows if "gateway" in row}  # else unreachable, for a while

    def updates(self) -> dict[str, list[int]]:
        """Return protocol → how many updates it has had from its peer, one number a channel."""
        found: dict[str, list[int]] = {}
        name = ""
        for line in self.bird.ctl("show protocols all").splitlines():
            if line and not line.startswith(" "):
                name = line.split()[0]
            elif counters := re.match(r" +Import updates: +(\d+)", line):
                found.setdefault(name, []).append(int(counters[1]))
        return found


class Mesh:
    """The hub and the members, links up and routes in place."""

    def __init__(self, lab: Lab, members: Members, release: BirdRelease = birds.INSTALLED) -> None:
        self._lab = lab
        self.release = release
        self.hub = lab.namespace("hub")
        for setting in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            self.hub.sysctl(f"net.{setting}", 1)
        self.members: dict[str, MeshMember] = {}
        self.join(members)

    def __getitem__(self, name: str) -> MeshMember:
        return self.members[name]

    def join(self, members: Iterable[Member]) -> None:
        """Connect members with the hub."""
        new = [MeshMember(self._lab, member, self.release) for member in members]
        self.hub.ip_batch([line for one in new for line in self._at_the_hub(one)])
        each(self._connect, new)
        self.members |= {one.member.id: one for one in new}

    def everybody(self) -> Members:
        """Return the members that are connected."""
        return tuple(sorted((one.member for one in self.members.values()), key=lambda one: one.id))

    def start(self) -> None:
        """Start all the BIRDs together, with the configurations that they have, else with static ones."""
        members = self.everybody()
        for one in self.members.values():
            if not one.bird.config.exists():
                one.write(members)
        for one in self.members.values():  # in this thread: a process dies with the thread that started it
            one.bird.launch()
        for one in self.members.values():
            one.bird.wait()

    def wait(self, timeout_s: float = 60) -> None:
        """Return when every session of every member stands."""
        waiting = list(self.members.values())

        def all_stand() -> bool:
            while waiting and waiting[-1].established():
                waiting.pop()
            return not waiting

        wait_for(all_stand, "all sessions of the mesh", timeout_s)

    def wait_for_routes(self, timeout_s: float = 60) -> None:
        """Return when every kernel has the pod prefixes of all other members."""
        pods = {one.member.id: {str(prefix) for prefix in one.member.pods} for one in self.members.values()}
        for name, one in self.members.items():
            wanted = set().union(*(prefixes for owner, prefixes in pods.items() if owner != name))
            wait_for(lambda one=one, wanted=wanted: wanted <= {*one.kernel(4), *one.kernel(6)}, name, timeout_s)

    @staticmethod
    def _at_the_hub(one: MeshMember) -> Iterable[str]:
        number = int(one.member.router_id) & 0xFFFF
        link = f"h{number}"
        yield f"link add name {link} type veth peer name eth0 netns {one.namespace.name}"
        yield f"link set {link} addrgenmode none"
        yield f"link set {link} up"
        yield f"addr add {GATEWAY4}/32 dev {link}"
        yield f"addr add {GATEWAY6}/64 dev {link} nodad"
        for address in (one.member.address4, one.member.address6):
            if address is not None:
                yield f"route add {address} dev {link}"
        for prefix in one.member.pods:
            via = one.member.address4 if prefix.version == 4 else one.member.address6
            yield f"route add {prefix} via {via} dev {link} onlink"

    @staticmethod
    def _connect(one: MeshMember) -> None:
        lines = ["link set eth0 up"]
        if one.member.address4 is not None:
            lines += [f"addr add {one.member.address4}/32 dev eth0", f"route add {GATEWAY4} dev eth0",
                      f"route add default via {GATEWAY4} dev eth0 onlink src {one.member.address4}"]  # fmt: skip
        if one.member.address6 is not None:
            lines += [f"addr add {one.member.address6}/128 dev eth0 nodad",
                      f"route add default via {GATEWAY6} dev eth0 onlink src {one.member.address6}"]  # fmt: skip
        lines += [f"addr add {prefix[1]}/{prefix.max_prefixlen} dev lo" for prefix in one.member.pods]
        one.namespace.ip_batch(lines)


def _counts(row: Protocol) -> tuple[tuple[int, int], tuple[int, int]]:
    channels = [row.channel(name) or Channel(name) for name in ("ipv4", "ipv6")]
    four, six = ((channel.imported or 0, channel.exported or 0) for channel in channels)
    return (four[0], six[0]), (four[1], six[1])


def each(act: Callable[[MeshMember], object], members: Iterable[MeshMember]) -> None:
    """Do something with many members, several at a time; the first failure is raised."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(act, members))
