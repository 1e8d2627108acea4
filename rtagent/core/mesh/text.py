"""The mesh as BIRD's text: a pure function of the members, this one among them, the options and the templates.

The same members give the same text, byte for byte, in whatever order they were learned: equal text is how everybody
knows that nothing has to be done. The text of a session depends on its two ends only, so whoever keeps what was written
last (``Written``) pays for those that changed, not for the mesh. Keys are in a file of their own; the rest holds no
secret.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from rtagent.core.failures import Trouble
from rtagent.core.mesh.options import MODERN, Options, Version
from rtagent.core.mesh.secrets import pair_key
from rtagent.core.mesh.sessions import Channel, Impossible, Session, Topology, escaped, next_hop, sessions
from rtagent.core.mesh.template import Templates
from rtagent.vector.members import Member, Members, Prefix, Role

MAIN_FILE = "mesh.conf"
"""What the operator's bird.conf includes."""
KEYS_FILE = "mesh-keys.conf"
"""Readable by BIRD and nobody else."""

BRIDGE_PORT = 1790
"""Where the second sessions of a bridge listen and connect."""

_BRIDGE = "# Second sessions, which carry the routes while the ones above restart; they go away by themselves."
_TOPOLOGY = re.compile(r"# The mesh as \S+ sees it: (mesh|reflectors)\.")
_MOST_MEMBERS = 1024
"""What a reflector may send: the limit of one member for each of so many."""


class Unsupported(Trouble):
    """What is configured cannot be written for this BIRD; the text says what can."""


class Configuration(NamedTuple):
    """What one member's BIRD should be told."""

    files: Mapping[str, str]
    """Name → text."""
    sessions: tuple[Session, ...]
    impossible: tuple[Impossible, ...]
    """Members that get no session."""
    topology: Topology


class Written:
    """What was written of each session last: it is written anew only where it would differ."""

    def __init__(self) -> None:
        self._common: tuple[object, ...] = ()
        self.rows: dict[str, tuple[Session, str, str]] = {}
        """Id of the peer → its session, the text of that, and the line of its key."""

    def begin(self, *common: object) -> None:
        """Forget what is known unless all else that it goes by is the same."""
        if self._common != common:
            self._common, self.rows = common, {}


def configuration(
    members: Members,
    me: Member,
    options: Options,
    templates: Templates,
    version: Version,
    topology: Topology = Topology.MESH,
    secret: bytes | None = None,
    written: Written | None = None,
) -> Configuration:
    """Return the files for this member; ``written`` only saves time. Raises TemplateError, Unsupported."""
    if options.authentication == "ao" and version < MODERN:
        raise Unsupported(f'BIRD {".".join(map(str, version))} has no TCP-AO, 2.17 has: authentication = "md5"')
    assert secret or not options.authentication, "authentication needs a secret"
    key = secret if options.authentication else None
    written = written or Written()
    written.begin(me, options, templates, version, key)
    known = written.rows
    here, impossible = sessions(members, me, options, topology, {peer: row[0] for peer, row in known.items()})
    writer = _Writer(me, options, templates, version)
    written.rows = {
        session.peer.id: row
        if (row := known.get(session.peer.id)) and row[0] is session
        else (session, writer.session(session), _key(me, session, key))
        for session in here
    }
    main = writer.main(members, here, topology, (text for _, text, _ in written.rows.values()))
    keys = "".join(line for _, _, line in written.rows.values())
    keys = f"# The keys of the mesh: rtagent writes this file, BIRD reads it, nobody else should.\n{keys}"
    return Configuration({MAIN_FILE: main, KEYS_FILE: keys}, here, impossible, topology)


def bridge(
    made: Configuration,
    names: Container[str],
    me: Member,
    options: Options,
    templates: Templates,
    version: Version,
    secret: bytes | None = None,
) -> dict[str, str]:
    """Return what each file of any configuration of this member gets at its end, so that sessions stand twice.

    The sessions of ``made`` that have these ``names`` are written once more, at another port: they come up beside the
    ones that are in force, and carry the routes while those restart (``rollout``). Raises TemplateError.
    """
    here = tuple(session for session in made.sessions if session.name in names)
    key = secret if options.authentication else None
    keys = "".join(_key(me, session, key, bridge=True) for session in here)
    return {MAIN_FILE: _Writer(me, options, templates, version).bridge(here), KEYS_FILE: f"{_BRIDGE}\n{keys}"}


def without_bridge(files: Mapping[str, str]) -> dict[str, str]:
    """Return the files as they were before they got a bridge."""
    return {
        name: text.partition(f"\n{_BRIDGE}\n" if name == MAIN_FILE else f"{_BRIDGE}\n")[0]
        for name, text in files.items()
    }


def bridge_of(name: str) -> str:
    """Return the name of the second session beside the one of this name; no member's id can lead to it."""
    return name.replace("mesh.", "mesh:next.", 1)


def topology_of(files: Mapping[str, str]) -> Topology | None:
    """Return the topology of generated files, None where they do not say."""
    found = _TOPOLOGY.match(files.get(MAIN_FILE, ""))
    return Topology(found[1]) if found else None


def _key(me: Member, session: Session, secret: bytes | None, *, bridge: bool = False) -> str:
    if not secret:
        return ""
    return f'define {_key_name(session, bridge=bridge)} = "{pair_key(secret, me.id, session.peer.id)}";\n'


def _key_name(session: Session, *, bridge: bool) -> str:
    return f"'mesh{':next' if bridge else ''}.key.{escaped(session.peer.id)}'"


def _template(kind: str, *, bridge: bool) -> str:
    return f"mesh_next_{kind}" if bridge else f"mesh_{kind}"


def _port(*, bridge: bool) -> str:
    return f" port {BRIDGE_PORT}" if bridge else ""


class _Writer:
    def __init__(self, me: Member, options: Options, templates: Templates, version: Version) -> None:
        self._me = me
        self._options = options
        self._templates = templates
        self._modern = version >= MODERN
        self._returns_bool = " -> bool" if self._modern else ""
        self._own = templates.own()
        self._pods = {family: self._owned(me, family) for family in (4, 6)}

    def main(self, members: Members, here: tuple[Session, ...], topology: Topology, texts: Iterable[str]) -> str:
        options = self._options
        text = self._templates.fill(
            "mesh",
            **self._own,
            id=escaped(self._me.id),
            topology=topology.value,
            returns_bool=self._returns_bool,
            graceful_restart_wait=f"graceful restart wait {options.graceful_restart_wait_s};",
            owners=self._owners(members, here),
            pods=self._static_pods(),
            connected="protocol direct mesh_connected {\n    ipv4;\n    ipv6;\n}" if options.multihop else "",
            kernel="\n\n".join(self._kernel(family) for family in (4, 6)) if options.kernel else "",
            bfd=self._bfd() if options.bfd else "",
            shared=self._shared(here),
            sessions="\n\n".join(texts),
        )
        while "\n\n\n" in text:
            text = text.replace("\n\n\n", "\n\n")
        return f"{text}\n"

    def bridge(self, here: Iterable[Session]) -> str:
        """Write the sessions once more, under their second names, at the second port, from a template of their own."""
        text = "\n\n".join([self._shared(here, bridge=True), *(self.session(session, bridge=True) for session in here)])
        return f"\n{_BRIDGE}\n{text}\n"

    def _shared(self, here: Iterable[Session], *, bridge: bool = False) -> str:
        """Write a template for each kind of session that there is."""
        kinds = {session.kind: session for session in here}
        return "\n\n".join(self._kind(kinds[kind], bridge=bridge) for kind in sorted(kinds))

    def _kind(self, one: Session, *, bridge: bool) -> str:
        """Write the template of the kind of this session."""
        options = self._options
        return self._templates.fill(
            "shared",
            **self._own,
            name=_template(one.kind, bridge=bridge),
            router_id=str(self._me.router_id),
            asn=str(self._me.asn),
            local=f"{one.local}{_port(bridge=bridge)}",
            hops="multihop;" if options.multihop else "direct;",
            hold_time_s=str(options.hold_time_s),
            graceful_restart=(
                f"graceful restart on;\ngraceful restart time {options.graceful_restart_time_s};"
                if options.graceful_restart
                else "graceful restart off;"
            ),
            bfd="bfd on;" if options.bfd else "",
            reflects="rr client;" if one.reflects else "",
            channels="\n".join(self._channel(one, channel) for channel in one.channels),
        )

    def session(self, session: Session, *, bridge: bool = False) -> str:
        """Write a session."""
        return self._templates.fill(
            "session",
            **self._own,
            id=escaped(session.peer.id),
            role=session.peer.role.value,
            name=f"'{bridge_of(session.name) if bridge else session.name}'",
            shared=_template(session.kind, bridge=bridge),
            description=f"{session.peer.role.value} {escaped(session.peer.id)}",
            asn=str(self._me.asn),
            address=f"{session.address}{_port(bridge=bridge)}",
            passive="passive;" if session.passive else "",
            authentication=self._authentication(_key_name(session, bridge=bridge)),
            imports="\n".join(
                f"ipv{channel.family} {{ import {self._import(session, channel)}; }};" for channel in session.channels
            ),
        )

    def _authentication(self, key: str) -> str:
        match self._options.authentication:
            case None:
                return "authentication none;" if self._modern else ""
            case "md5":
                return ("authentication md5;\n" if self._modern else "") + f"password {key};"
            case "ao":
                return f"authentication ao;\nkeys {{ key {{ id 1; secret {key}; algorithm hmac sha256; }}; }};"

    def _channel(self, session: Session, channel: Channel) -> str:
        family = channel.family
        extended = family == 4 and channel.here.version == 6
        return self._templates.fill(
            "channel",
            family=f"ipv{family}",
            limit=str(self._limit(session)),
            limit_action=self._options.prefix_limit_action,
            export=self._export(channel.family),
            next_hop=("extended next hop on;\n" if extended else "") + f"next hop address {channel.here};",
            add_path="add paths on;" if self._options.add_path and session.with_reflector else "",
        )

    def _limit(self, session: Session) -> int:
        # A constant per kind of session: an import limit that followed the members would change sessions of strangers.
        limit = self._options.prefix_limit
        return limit * _MOST_MEMBERS if session.peer.role is Role.REFLECTOR else limit

    def _import(self, session: Session, channel: Channel) -> str:
        if session.peer.role is Role.REFLECTOR:
            return f"where mesh_of_an_owner{channel.family}()"
        owned = self._owned(session.peer, channel.family)
        return f"where mesh_accepts({_set(owned)}, {channel.there})" if owned else "none"

    def _export(self, family: int) -> str:
        if self._me.role is Role.REFLECTOR:
            return "where mesh_reflects()"
        own = self._pods[family]
        return f"where mesh_announces({_set(own)})" if own and not self._options.drained else "none"

    def _owners(self, members: Members, here: tuple[Session, ...]) -> str:
        """Write the function that finds the owner of a reflected prefix; it is needed beside a reflector only."""
        if not any(session.peer.role is Role.REFLECTOR for session in here):
            return ""
        return "\n\n".join(self._owners_of(members, family) for family in (4, 6))

    def _owners_of(self, members: Members, family: int) -> str:
        rows = [
            f"if net ~ {_set(owned)} then return bgp_next_hop = {next_hop(member, owned[0])};"
            for member in members
            if member.id != self._me.id and (owned := self._owned(member, family))
        ]
        return self._templates.fill(
            "owners",
            **self._own,
            name=f"mesh_of_an_owner{family}",
            returns_bool=self._returns_bool,
            owners="\n".join(rows),
        )

    def _owned(self, member: Member, family: int) -> tuple[Prefix, ...]:
        return tuple(prefix for prefix in member.pods if prefix.version == family and self._options.allows(prefix))

    def _static_pods(self) -> str:
        if self._options.pods_from != "static":
            return ""
        return "\n\n".join(
            self._templates.fill(
                "pods",
                name=f"'mesh.pods{family}'",
                family=f"ipv{family}",
                routes="\n".join(f"route {prefix} blackhole;" for prefix in prefixes),
            )
            for family, prefixes in self._pods.items()
            if prefixes
        )

    def _kernel(self, family: int) -> str:
        options = self._options
        own = self._pods[family] if options.pods_from == "kernel" else ()
        # Several hops away, next hops are resolved through the routes that others put into the kernel.
        wanted = "all" if options.multihop else f"where net ~ {_set(own)}" if own else "none"
        return self._templates.fill(
            "kernel",
            name=f"'mesh.kernel{family}'",
            family=f"ipv{family}",
            kernel_table=str(options.kernel_table),
            kernel_metric=str(options.kernel_metric),
            scan_time_s=str(options.scan_time_s),
            graceful_restart="graceful restart;" if options.graceful_restart else "",
            merge_paths=f"merge paths on limit {options.merge_paths};" if options.merge_paths > 1 else "",
            learn="learn;" if wanted != "none" else "",
            **{"import": wanted},
        )

    def _bfd(self) -> str:
        return self._templates.fill(
            "bfd",
            bfd_kind="multihop" if self._options.multihop else "direct",
            bfd_interval_ms=str(self._options.bfd_interval_ms),
            bfd_multiplier=str(self._options.bfd_multiplier),
        )


def _set(prefixes: tuple[Prefix, ...]) -> str:
    return f"[ {', '.join(map(str, prefixes))} ]"
