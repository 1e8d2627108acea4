"""What the operator wants of the mesh: ``[mesh]`` and the tables within, one frozen value each.

Without ``[mesh]`` there is no mesh. A table of a source (``[mesh.file]``, ``[mesh.mqtt]``, ``[mesh.kubernetes]``) turns
that source on. Secrets stand in files that are read when they are needed, so that this value may be shown and logged.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from rtagent.core.mesh.options import PodRange, Reflection
from rtagent.vector.members import Prefix, Role


@dataclass(frozen=True, slots=True)
class FileSettings:
    """``[mesh.file]``: members in a file that people or tools write."""

    path: str


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """``[mesh.mqtt]``: members announce themselves, and this one does."""

    url: str
    secret_file: str
    """Signs the announcements (HMAC-SHA256); the same on every member."""
    topic: str = "rtagent/mesh"
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    keepalive_s: int = 15
    ttl_s: int = 900
    """How long an announcement counts as fresh; it is repeated three times as often."""


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """``[mesh.kubernetes]``: the nodes of a cluster are members."""

    kubeconfig: str | None = None
    """None: the service account of the pod, else KUBECONFIG, else ~/.kube/config."""
    context: str | None = None
    selector: str | None = None
    """A label selector; None: every node."""
    roles: tuple[tuple[str, Role], ...] = ()
    """(label or label=value, role): the first that a node has decides; a node that has none is a node."""


@dataclass(frozen=True, slots=True)
class ChangeSettings:
    """``[mesh.changes]``: how fast the mesh follows its members."""

    debounce_s: float = 0.5
    debounce_max_s: float = 5.0
    hold_down_s: float = 300.0
    """How long a member that is gone stays configured."""
    brake_share: float = 0.3
    """More than this share of the members removed at once needs a person."""
    brake_least: int = 3
    """Removing fewer than this many members never does."""


@dataclass(frozen=True, slots=True)
class BgpSettings:
    """``[mesh.bgp]``: what all sessions have in common."""

    transport: str = "ipv4"
    """``ipv4``: both families over the IPv4 address; ``ipv6``: over IPv6, IPv4 with IPv6 next hops (RFC 8950)."""
    multihop: bool = False
    """Whether members may be in different subnets; otherwise all are neighbours on one link."""
    secret_file: str | None = None
    """From it the password of every pair is derived; None: no authentication."""
    authentication: str = "md5"
    """``md5`` (RFC 2385) or ``ao`` (TCP-AO, RFC 5925); counts with ``secret_file``."""
    hold_time_s: int = 90
    bfd: bool = True
    bfd_interval_ms: int = 100
    bfd_multiplier: int = 3
    graceful_restart: bool = True
    graceful_restart_time_s: int = 120
    graceful_restart_wait_s: int = 10
    """How long BIRD, just started, waits for its peers before it touches the kernel."""
    add_path: bool = False
    """RFC 7911, towards and from reflectors: more than one path of a prefix."""
    prefix_limit: int = 64
    """Prefixes per family that a peer may announce (behind a reflector: times the number of members)."""
    prefix_limit_action: str = "block"
    prefix_limit_retry_s: int = 30
    """How long after a member has exceeded its limit it is asked again; doubles with each try. 0: never."""


@dataclass(frozen=True, slots=True)
class BirdSettings:
    """``[mesh.bird]``: where BIRD is, and what it does with the kernel."""

    socket: str = "/run/bird/bird.ctl"
    config: str = "/etc/bird/bird.conf"
    """The user's own file, which includes ours; it is only read."""
    directory: str = "/etc/bird/rtagent"
    """Ours: the generated files, and the hooks that people write."""
    binary: str = "bird"
    """A path, or a name on PATH."""
    kernel: bool = True
    """Whether the mesh writes the kernel protocols; False: the user's own file has them."""
    kernel_table: int = 254
    kernel_metric: int = 32
    scan_time_s: int = 20
    merge_paths: int = 16
    """Next hops of one kernel route at most; 1: no ECMP."""
    pods_from: str = "static"
    """A node announces its pod prefixes as ``static`` blackholes, or as it finds them in the ``kernel``."""
    undo_s: int = 30
    """How long a new configuration may take to prove itself before BIRD takes it back."""
    allow_restarts: bool = False
    """Whether a change may restart sessions that it is not about."""


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """``[mesh]``: who this member is, and the tables within."""

    asn: int
    id: str = field(default_factory=lambda: socket.gethostname().lower())
    role: Role | None = None
    """None: a source tells. So with the addresses and ``router_id``."""
    router_id: IPv4Address | None = None
    """None: the IPv4 address."""
    address4: IPv4Address | None = None
    address6: IPv6Address | None = None
    pods: tuple[Prefix, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    ranges: tuple[PodRange, ...] = ()
    """``[[mesh.ranges]]``."""
    file: FileSettings | None = None
    mqtt: MqttSettings | None = None
    kubernetes: KubernetesSettings | None = None
    changes: ChangeSettings = field(default_factory=ChangeSettings)
    bgp: BgpSettings = field(default_factory=BgpSettings)
    reflectors: Reflection = field(default_factory=Reflection)
    """``[mesh.reflectors]``."""
    bird: BirdSettings = field(default_factory=BirdSettings)
