"""A mesh of any size, timed: ``./dev lab mesh --members 200``. Needs root and BIRD.

Members start with nobody to speak with. Then they are told of each other, and each configuration is made, checked, put
in force and confirmed by what the agent uses (``MeshBird``), in as many processes as there are processors; the clock
runs until every session stands and every pod prefix is verified at every member. Beside it, in the same run, the peer:
the same texts, written before, all BIRDs started together. Then one member joins, and one dies. Each line ends with the
processor time that agents and BIRDs took, which says more than the clock where others use the machine, and the load.

With ``--standing`` the mesh is there already, from written texts, and one member joins and one dies. BFD for everybody
takes two packets a session and interval, which two processors do not have for many members: ``--bfd-victim`` has it on
the sessions of the member only that will die.

The keepalives of 39 800 ends of sessions take a processor and more, since each has its BIRD look at all of its sockets
(the line "at rest"), and each step of an agent's waits for a disk: a member has processors and a disk of its own, here
two hundred share them. So files are in memory, and ``--hold-s`` says how long a session stands without a keepalive.

With ``--alone`` there is one BIRD, the others are only configured: how long text, plan and apply take.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import multiprocessing
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from rtagent.agent import logs
from rtagent.agent.mesh_bird import MeshBird
from rtagent.agent.mesh_settings import BgpSettings, BirdSettings, MeshSettings
from rtagent.core.mesh.plan import plan
from rtagent.core.mesh.sessions import protocol
from rtagent.core.mesh.text import MAIN_FILE
from rtagent.core.mesh.verdicts import verify
from rtagent.vector.members import Member, Members
from tests.lab import birds
from tests.lab.lab import Lab, sweep
from tests.lab.mesh import Mesh, MeshMember
from tests.meshes import mesh

_AT_ONCE = 12
_LOOK_EVERY_S = 0.25
_REST_S = 5.0
"""So long it is watched what the members take while nothing happens."""
_MEMORY = "/dev/shm"
_PROBE, _PROBE_TABLE = "192.0.2.255", 4711
"""A route that nobody looks up, by which a monitor shows that it listens."""


def main() -> int:
    """Measure, and print a figure a line."""
    parser = argparse.ArgumentParser(prog="./dev lab mesh", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--members", type=int, default=200, metavar="N")
    parser.add_argument("--release", default=birds.INSTALLED.name, choices=[one.name for one in birds.RELEASES])
    parser.add_argument("--bfd-ms", type=int, default=0, metavar="MS", help="with BFD, at this interval")
    parser.add_argument("--bfd-victim", action="store_true", help="with BFD for the sessions of one member only")
    parser.add_argument("--hold-s", type=int, default=240, metavar="S", help="hold time of the sessions")
    parser.add_argument("--standing", action="store_true", help="only a member that joins, and one that dies")
    parser.add_argument("--alone", action="store_true", help="only one of the members runs")
    args = parser.parse_args()
    release = next(one for one in birds.RELEASES if one.name == args.release)
    if not release.present:
        print(release.absence, file=sys.stderr)
        return 2
    sweep()
    logs.configure("error", "auto")
    tempfile.tempdir = _MEMORY if Path(_MEMORY).is_dir() else None
    if args.alone:
        asyncio.run(alone(args.members, release))
        return 0
    timers = Timers(args.hold_s, args.bfd_ms)
    say(f"{args.members} members, {args.members * (args.members - 1) // 2} sessions, BIRD {release.version}")
    if args.standing:
        asyncio.run(standing(args.members, release, timers, victim_only=args.bfd_victim))
        return 0
    static_s = asyncio.run(static(args.members, release, timers))
    ours_s = asyncio.run(ours(args.members, release, timers))
    say(f"ours over static: {ours_s / static_s:.2f}")
    return 0


class Timers(NamedTuple):
    """What the sessions go by."""

    hold_s: int
    bfd_ms: int
    """The interval, 0 without BFD."""


class Clock:
    """Time since it was made, of the wall and of the processors."""

    def __init__(self, site: Mesh, agents: Agents | None = None) -> None:
        self._site = site
        self._pids = agents.pids if agents else []
        self._agents_s, self._birds_s = self._spent_s()
        self._began = time.monotonic()
        self.took_s = 0.0
        """What was said last."""

    def say(self, what: str) -> None:
        """Print how long that took."""
        self.took_s = time.monotonic() - self._began
        agents_s, birds_s = self._spent_s()
        say(
            f"{what} after {self.took_s:.1f} s (processors: here {agents_s - self._agents_s:.1f} s, "
            f"BIRDs {birds_s - self._birds_s:.1f} s; load {os.getloadavg()[0]:.0f})"
        )

    def _spent_s(self) -> tuple[float, float]:
        birds = [one.bird.process.pid for one in self._site.members.values() if one.bird.process]
        return time.process_time() + _spent_s(self._pids), _spent_s(birds)


def _spent_s(pids: Iterable[int]) -> float:
    ticks = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in pids)
    return sum(int(user) + int(system) for user, system in ticks) / os.sysconf("SC_CLK_TCK")


class Agents:
    """The members' agents, a share of them to each processor."""

    def __init__(self, site: Mesh) -> None:
        fork, members = multiprocessing.get_context("fork"), list(site.members.values())
        self._ends: list[Connection] = []
        self.pids: list[int] = []
        for share in range(count := os.cpu_count() or 1):
            here, there = fork.Pipe()
            process = fork.Process(target=_serve, args=(members[share::count], there), daemon=True)
            process.start()
            assert process.pid is not None
            self._ends.append(here)
            self.pids.append(process.pid)

    async def advance(self, members: Members) -> None:
        """Do for each member what its agent does."""
        for end in self._ends:
            end.send(members)
        for failure in await asyncio.gather(*(asyncio.to_thread(end.recv) for end in self._ends)):
            assert not failure, failure


def _serve(share: list[MeshMember], parent: Connection) -> None:
    """Advance this share of the agents whenever the parent names the members; say what failed."""
    known: dict[str, Member] = {}
    while True:
        told: Members = parent.recv()
        known = {one.id: known[one.id] if known.get(one.id) == one else one for one in told}
        members = tuple(known.values())  # whoever is as before is the same object, as of a source
        try:
            asyncio.run(_advance_all(share, members))
        except Exception:
            parent.send(traceback.format_exc())
        else:
            parent.send("")


async def _advance_all(share: list[MeshMember], members: Members) -> None:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def turn(one: MeshMember) -> None:
        async with turns:
            await advance(one, members)

    async with asyncio.TaskGroup() as group:
        for one in share:
            group.create_task(turn(one))


async def static(size: int, release: birds.BirdRelease, timers: Timers) -> float:
    """Time texts that were written before, all BIRDs started together."""
    with Lab() as lab:
        site = Mesh(lab, mesh(size - 1), release)
        set_timers(site, timers)
        members = site.everybody()
        for one in site.members.values():
            one.write(members)
        clock = Clock(site)
        site.start()
        await verified(site, members)
        clock.say("static configurations, started together: verified")
    return clock.took_s


async def ours(size: int, release: birds.BirdRelease, timers: Timers) -> float:
    """Time rtagent's own way, a member that joins and one that dies."""
    with Lab() as lab:
        site = Mesh(lab, mesh(size - 1), release)
        set_timers(site, timers)
        members = site.everybody()
        for one in site.members.values():
            one.write((one.member,))
        site.start()
        agents = Agents(site)
        clock = Clock(site, agents)
        await agents.advance(members)
        clock.say("configurations made, checked and in force everywhere")
        await verified(site, members)
        clock.say("rtagent, from the release of the members: verified")
        await join(site, agents, size)
        await die(site, [*site.members.values()][-1])
    return clock.took_s


async def standing(size: int, release: birds.BirdRelease, timers: Timers, *, victim_only: bool) -> None:
    """Time a member that joins and one that dies, in a mesh that stands."""
    with Lab() as lab:
        site = Mesh(lab, mesh(size - 1), release)
        set_timers(site, timers)
        members = site.everybody()
        *_, dead = site.members.values()
        for one in site.members.values():
            one.write(members)
            if victim_only:
                bfd_with(one, dead)
        site.start()
        await verified(site, members)
        say("the mesh stands")
        if victim_only:
            await die(site, dead)
        else:
            agents = Agents(site)
            await agents.advance(members)  # nothing to do: agents that have written all this
            await join(site, agents, size)
            await die(site, dead)


async def alone(size: int, release: birds.BirdRelease) -> None:
    """Time text, plan and apply where a member joins a mesh of this size."""
    with Lab() as lab:
        (me,) = members = mesh(0)
        site = Mesh(lab, members, release)
        one = site[me.id]
        one.write(mesh(size - 2))
        one.bird.start()
        began = time.monotonic()
        target = one.target(mesh(size - 1))
        say(f"{size} members: the text after {time.monotonic() - began:.2f} s")
        began = time.monotonic()
        cost = plan(one.files, target.final.files)
        say(f"the plan after {time.monotonic() - began:.2f} s: {len(cost.changes)} session is touched")
        own = of_the_agent(one)
        began = time.monotonic()
        look = await own.look()
        step = own.outlook(mesh(size - 1), look).step
        assert step is not None
        decided = time.monotonic()
        applied = await own.take(step, look)
        assert applied.good, applied
        say(f"look, text and plan after {decided - began:.2f} s, applied after {time.monotonic() - decided:.2f} s more")


async def join(site: Mesh, agents: Agents, size: int) -> None:
    """Time a member that joins, and see that nobody else notices."""
    resting = Clock(site, agents)
    await asyncio.sleep(_REST_S)
    resting.say("the mesh before, at rest,")
    stood = {name: one.sessions() for name, one in site.members.items()}
    (new,) = (one for one in mesh(size) if one.id not in site.members)
    site.join([new])
    newcomer = site[new.id]
    newcomer.options = next(iter(site.members.values())).options
    newcomer.write((new,))
    newcomer.bird.start()
    members = site.everybody()
    clock = Clock(site, agents)
    await asyncio.gather(advance(newcomer, members), agents.advance(members))
    clock.say("one more member: in force everywhere")
    await until(lambda: newcomer.established() and len(newcomer.sessions()) == len(members) - 1)
    clock.say(f"one more member: its {len(members) - 1} sessions stand")
    restarted = [name for name, rows in stood.items() if site[name].restarted(rows)]
    say(f"members of which another session restarted: {len(restarted)}")


async def die(site: Mesh, dead: MeshMember) -> None:
    """Time the end of a member whose link goes, in the kernels of all others, which witness it themselves."""
    if not dead.options.bfd:
        say("a member that dies: not timed, there is no BFD")
        return
    rest = [one for one in site.members.values() if one is not dead]
    stood = {one.member.id: one.sessions() for one in rest}
    prefix = str(dead.member.pods[0])
    assert all(prefix in one.kernel() for one in rest)
    witnesses = [one.namespace.start("ip", "-ts", "-4", "monitor", "route", log="monitor") for one in rest]
    for one, witness in zip(rest, witnesses, strict=True):
        while _PROBE not in witness.text():  # it does not say when it listens
            one.namespace.ip(f"route replace blackhole {_PROBE} table {_PROBE_TABLE}")
            await asyncio.sleep(_LOOK_EVERY_S)
    died_at = time.time()
    dead.namespace.ip("link set eth0 down")
    told = re.compile(rf"^\[(\S+)\] Deleted {re.escape(prefix)} ", re.MULTILINE)
    await until(lambda: all(told.search(witness.text()) for witness in witnesses))
    gone_s = sorted(
        datetime.fromisoformat(found[1]).timestamp() - died_at
        for witness in witnesses
        if (found := told.search(witness.text()))
    )
    half_s, all_s, load = gone_s[len(gone_s) // 2], gone_s[-1], os.getloadavg()[0]
    say(f"a member dies, BFD every {dead.options.bfd_interval_ms} ms, load {load:.0f}: its route is gone")
    say(f"at half of the members after {half_s:.2f} s, at all {len(gone_s)} after {all_s:.2f} s")
    name = protocol(dead.member.id)
    restarted = {one.member.id: one.restarted(stood[one.member.id]) - {name} for one in rest}
    say(f"members of which another session restarted: {sum(map(bool, restarted.values()))}")


async def advance(one: MeshMember, members: Members) -> None:
    """Do for one member what the agent does."""
    own = of_the_agent(one)
    look = await own.look()
    step = own.outlook(members, look).step
    if step is not None:
        applied = await own.take(step, look)
        assert applied.good, applied


@functools.cache
def of_the_agent(one: MeshMember) -> MeshBird:
    """Return a member's BIRD as its agent has it, and keeps it."""
    options = one.options
    bgp = BgpSettings(
        multihop=True, bfd=options.bfd, bfd_interval_ms=options.bfd_interval_ms, hold_time_s=options.hold_time_s
    )
    bird = BirdSettings(str(one.bird.socket), str(one.bird.config), str(one.folder), one.bird.release.bird)
    return MeshBird(MeshSettings(64512, one.member.id, bgp=bgp, bird=replace(bird, undo_s=120)))


async def verified(site: Mesh, members: Members) -> None:
    """Return when every session stands and no prefix is missing or foreign anywhere."""
    waiting = list(site.members.values())

    def all_stand() -> bool:
        while waiting and len(waiting[-1].sessions()) == len(members) - 1 and waiting[-1].established():
            waiting.pop()
        return not waiting

    await until(all_stand)
    left = list(site.members.values())
    while left:
        reports = {one.member.id: await one.report(members) for one in left}
        at = {finding.at for finding in verify(members, reports)}
        left = [one for one in left if one.member.id in at]


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds; looks rarely, since every look costs BIRD a list."""
    while not condition():
        await asyncio.sleep(_LOOK_EVERY_S)


def bfd_with(one: MeshMember, dead: MeshMember) -> None:
    """Have BFD on no session but the one with the member that will die, whose text stays as it is."""
    if one is dead:
        return
    path = one.folder / MAIN_FILE
    text = path.read_text().replace("    bfd on;\n", "", 1)
    head = f"protocol bgp '{protocol(dead.member.id)}' from mesh_session46 {{\n"
    path.write_text(text.replace(head, f"{head}    bfd on;\n"))


def set_timers(site: Mesh, timers: Timers) -> None:
    """Set the hold time for everybody, and turn BFD on or not."""
    for one in site.members.values():
        one.options = replace(
            one.options, hold_time_s=timers.hold_s, bfd=bool(timers.bfd_ms), bfd_interval_ms=timers.bfd_ms or 100
        )


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
