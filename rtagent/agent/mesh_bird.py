"""One member's BIRD in the mesh: what it holds, where it has to go, and the next step there, taken safely.

Members come in as an argument; whoever learns them asks for the outlook when they change, and again while a step waits.
What counts between two calls is on disk; texts of sessions are kept only so as not to be written again.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from rtagent.agent import templates
from rtagent.agent.mesh_settings import MeshSettings
from rtagent.core.bird_apply import Applied
from rtagent.core.failures import Disconnected, Trouble
from rtagent.core.mesh import rollout
from rtagent.core.mesh.limits import Breach
from rtagent.core.mesh.options import Options, Version
from rtagent.core.mesh.rollout import Carries, Step, Target
from rtagent.core.mesh.secrets import no_room
from rtagent.core.mesh.sessions import Session, Topology, topology
from rtagent.core.mesh.text import KEYS_FILE, MAIN_FILE, Written, bridge, configuration, topology_of
from rtagent.sinks.bird import BirdSink
from rtagent.sinks.birdc import BirdClient
from rtagent.vector.members import Members
from rtagent.wire.birdc.commands import show_protocols
from rtagent.wire.birdc.protocols import Channel, Protocol, established, parse_protocols

_PREFIX = "mesh"
"""How the protocols of the mesh in BIRD begin."""
_JOURNAL = "apply"
"""In the folder of the files that it is about, which outlives a reboot: two agents of one machine have two."""
_TCP_AO_INFO, _TCP_AO_INFO_BYTES = 40, 64
"""linux/tcp.h: the option, and room for struct tcp_ao_info_opt."""
_OPTMEM_MAX = Path("/proc/sys/net/core/optmem_max")
_LOOK_EVERY_S = 0.2
_VERIFYING = 0.6
"""The part of the time until BIRD's undo in which sessions have to be back."""
_WORDS = ("joined", "drained", "left")


class MeshTrouble(Trouble):
    """The mesh cannot be configured as it is written down; the text says what to do."""


class Look(NamedTuple):
    """BIRD at one moment."""

    running: bool
    version: Version
    protocols: tuple[Protocol, ...]
    carried: Mapping[str, Carries]
    """What each session carries."""


class Outlook(NamedTuple):
    """What would come next."""

    target: Target
    step: Step | None
    refused: str
    """Why the step is not taken without permission; empty where it may be."""


class MeshBird:
    """One member's BIRD, as ``[mesh]`` describes it."""

    def __init__(self, settings: MeshSettings) -> None:
        bird = settings.bird
        self._settings = settings
        self._folder = Path(bird.directory)
        self._sink = BirdSink(Path(bird.socket), Path(bird.config), self._folder / _JOURNAL, binary=bird.binary)
        self._written = {shape: Written() for shape in Topology}

    @property
    def files(self) -> dict[str, str]:
        """The mesh's files on disk, empty texts where there are none."""
        paths = {name: self._folder / name for name in (MAIN_FILE, KEYS_FILE)}
        return {name: path.read_text(encoding="utf-8") if path.exists() else "" for name, path in paths.items()}

    @property
    def intent(self) -> str:
        """``joined``, ``drained`` (announces nothing) or ``left`` (no sessions)."""
        file = self._folder / "intent"
        word = file.read_text(encoding="utf-8").strip() if file.exists() else "joined"
        if word not in _WORDS:
            raise MeshTrouble(f"{file}: {word!r} is none of {', '.join(_WORDS)}; remove the file")
        return word

    @intent.setter
    def intent(self, word: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "intent").write_text(word + "\n", encoding="utf-8")

    async def look(self, *, counting: bool = False) -> Look:
        """Ask BIRD; one that does not run says its version only. Raises MeshTrouble where there is none at all.

        Routes are counted where a step may depend on them, or if told to: for a thousand sessions that is 60 000 lines.
        """
        counting = counting or bool(self._settings.reflectors.from_members) or rollout.bridged(self.files)
        try:
            async with BirdClient(self._settings.bird.socket) as client:
                status = await client.status()
                rows = await _protocols(client, counting=counting)
        except Disconnected:
            return Look(False, await self._installed(), (), {})
        carried = {row.name: _carries(row) for row in rows if row.proto == "BGP"}
        return Look(True, _version(status.version), tuple(rows), carried)

    def target(self, members: Members, version: Version) -> Target:
        """Return where this member has to go. Raises MeshTrouble, TemplateError, Unsupported, OSError."""
        settings = self._settings
        me = next((member for member in members if member.id == settings.id), None)
        if me is None:
            raise MeshTrouble(f"{settings.id} is not among the members: nothing tells its role and address; see [mesh]")
        intent = self.intent
        if intent == "left":
            members = (me,)
        options = options_of(settings, drained=intent != "joined")
        secret = _secret(settings)
        texts = templates.load(self._folder / "own")
        shape = topology(members, options, topology_of(self.files))
        made = {
            one: configuration(members, me, options, texts, version, one, secret, self._written[one])
            for one in {Topology.MESH, shape}
        }
        common = (me, options, texts, version, secret)
        return Target(made[shape], made[Topology.MESH], lambda one, names: bridge(one, names, *common))

    def outlook(self, members: Members, look: Look, *, allow_restarts: bool = False) -> Outlook:
        """Return the next step, and whether it may be taken. Raises what ``target`` does."""
        disk = self.files
        target = self.target(members, look.version)
        step = rollout.step(disk, target, look.carried)
        refused = ""
        if step is not None and step.files is not None:
            allowed = allow_restarts or self._settings.bird.allow_restarts or not look.running or rollout.bridged(disk)
            if step.restarts and not allowed:
                refused = (
                    f"{len(step.restarts)} sessions would restart for no reason of their own: "
                    f"rtagent mesh plan shows which and why, rtagent mesh apply --allow-restarts does it"
                )
            elif self._settings.bgp.secret_file:
                refused = self._no_keys(target.final.sessions)
        return Outlook(target, step, refused)

    def _no_keys(self, sessions: Collection[Session]) -> str:
        """Return why the kernel would not take the sessions' keys, nothing if it would."""
        if self._settings.bgp.authentication == "md5":
            return no_room(sessions, int(_OPTMEM_MAX.read_text())) or ""
        if has_tcp_ao():
            return ""
        return (
            'authentication = "ao" needs a kernel with TCP-AO (CONFIG_TCP_AO, Linux 6.7), and this has none: use "md5"'
        )

    async def take(self, step: Step, look: Look) -> Applied:
        """Put a step's files in force; sessions that should not notice must stand afterwards, or BIRD goes back."""
        assert step.files is not None, "nothing to put in force yet"
        excused = {change.session for change in step.plan.changes}
        before = {name for name, carries in look.carried.items() if carries.established}
        timeout_s = self._settings.bird.undo_s

        async def verify(client: BirdClient) -> list[str]:
            until = asyncio.get_running_loop().time() + timeout_s * _VERIFYING
            while True:
                told = established(await client.command("show protocols"))
                stand = {name for name in told if name.startswith(_PREFIX)}
                lost = sorted(before - excused - stand)
                cut_off = bool(before) and not stand and bool(step.files and _has_sessions(step.files))
                if not lost and not cut_off:
                    return []
                if asyncio.get_running_loop().time() > until:
                    return [f"{name} stood before and does not now" for name in lost] or ["no session stands any more"]
                await asyncio.sleep(_LOOK_EVERY_S)

        self._folder.mkdir(parents=True, exist_ok=True)
        files = {self._folder / name: text for name, text in step.files.items()}
        return await self._sink.apply(files, verify=verify, timeout_s=timeout_s)

    async def over_limits(self) -> list[Protocol]:
        """Return the sessions if one of them has met a limit, else nothing. Raises what BirdClient raises."""
        async with BirdClient(self._settings.bird.socket) as client:
            lines = await client.command(show_protocols(f"{_PREFIX}*"))
        # Of a thousand sessions that is 60 000 lines, which are hardly ever worth being taken apart.
        return parse_protocols(lines) if any("[HIT]" in text for _, text in lines) else []

    async def ask_again(self, breach: Breach) -> None:
        """Have a session's prefixes sent again. Raises what BirdClient raises."""
        async with BirdClient(self._settings.bird.socket) as client:
            await (client.enable(breach.session) if breach.down else client.reload(breach.session))

    async def recover(self) -> Applied | None:
        """Bring in order what an apply left that broke off; to be called at each start."""
        return await self._sink.recover()

    async def _installed(self) -> Version:
        binary = self._settings.bird.binary
        try:
            process = await asyncio.create_subprocess_exec(
                binary, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
        except OSError as error:
            raise MeshTrouble(f"BIRD neither runs nor can be started as {binary}: {error.strerror}") from None
        said, _ = await process.communicate()
        return _version(said.decode(errors="replace"))


def has_tcp_ao() -> bool:
    """Whether this kernel has TCP-AO (RFC 5925)."""
    with socket.socket() as probe:
        try:
            probe.getsockopt(socket.IPPROTO_TCP, _TCP_AO_INFO, _TCP_AO_INFO_BYTES)
        except OSError as error:
            return error.errno != errno.ENOPROTOOPT
    return True


async def _protocols(client: BirdClient, *, counting: bool) -> list[Protocol]:
    if counting:
        return await client.protocols(f"{_PREFIX}*")
    rows = parse_protocols(await client.command("show protocols"))
    return [row for row in rows if row.name.startswith(_PREFIX)]


def options_of(settings: MeshSettings, *, drained: bool = False) -> Options:
    """Return the options of the configuration that the settings ask for."""
    given = {field.name for field in fields(Options)}
    values = {
        name: getattr(part, name)
        for part in (settings.bgp, settings.bird)
        for name in (field.name for field in fields(part))
        if name in given
    }
    values["authentication"] = settings.bgp.authentication if settings.bgp.secret_file else None
    return Options(**values, ranges=settings.ranges, reflection=settings.reflectors, drained=drained)


def _secret(settings: MeshSettings) -> bytes | None:
    if settings.bgp.secret_file is None:
        return None
    secret = Path(settings.bgp.secret_file).read_bytes().strip()
    if len(secret) < 16:
        raise MeshTrouble(f"{settings.bgp.secret_file}: shorter than 16 bytes; openssl rand -hex 32 makes a good one")
    return secret


def _carries(row: Protocol) -> Carries:
    stands = row.info == "Established"
    if not row.channels:
        return Carries(stands)
    four, six = (row.channel(name) or Channel(name) for name in ("ipv4", "ipv6"))
    return Carries(
        stands,
        (four.imported or 0, six.imported or 0),
        (four.exported or 0, six.exported or 0),
    )


def _has_sessions(files: Mapping[str, str]) -> bool:
    return "\nprotocol bgp " in files[MAIN_FILE]


def _version(text: str) -> Version:
    found = re.search(r"\d+(?:\.\d+)+", text)
    if found is None:
        raise MeshTrouble(f"this is no BIRD: {text.strip()!r}")
    return tuple(map(int, found[0].split(".")))
