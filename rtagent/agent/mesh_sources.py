"""Which sources of members the settings mean, the one whose word counts most first.

First what the configuration says of this machine itself, then the file that people write, then the cluster, then what
machines say of themselves.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
from pathlib import Path
from typing import NamedTuple, Protocol

from rtagent.agent.mesh_settings import MeshSettings
from rtagent.sources.members import ClaimSink, file, kubernetes, mqtt
from rtagent.vector.claims import Claim
from rtagent.wire.toml.schema import Problem, SettingsError

SETTINGS = "settings"
_MACHINE_ID = Path("/etc/machine-id")
_LEAST_SECRET_BYTES = 16


class Source(Protocol):
    """Something that reports members."""

    async def run(self, sink: ClaimSink) -> None:
        """Report, for ever."""


class Sources(NamedTuple):
    """All sources, by name, and the one through which this member speaks."""

    own: Claim
    running: dict[str, Source]
    mqtt: mqtt.MqttMembers | None

    @property
    def names(self) -> list[str]:
        """Their names, in the order in which their words count."""
        return [SETTINGS, *self.running]


def sources(settings: MeshSettings, machine: str | None = None) -> Sources:
    """Return the sources that are configured. Raises SettingsError where a secret cannot be read."""
    own = own_claim(settings, machine or machine_id())
    running: dict[str, Source] = {}
    if settings.file:
        running[file.NAME] = file.MembersFile(settings.file.path)
    if (cluster := settings.kubernetes) is not None:
        running[kubernetes.NAME] = kubernetes.KubernetesMembers(
            cluster.kubeconfig, cluster.context, cluster.selector, cluster.roles
        )
    announcing = None
    if (broker := settings.mqtt) is not None:
        address = mqtt.Broker(
            url=broker.url,
            topic=broker.topic,
            username=broker.username,
            password_file=broker.password_file,
            ca_file=broker.ca_file,
            certificate_file=broker.certificate_file,
            key_file=broker.key_file,
            keepalive_s=broker.keepalive_s,
        )
        announcing = mqtt.MqttMembers(address, _secret(broker.secret_file), own, broker.ttl_s)
        running[mqtt.NAME] = announcing
    return Sources(own, running, announcing)


def own_claim(settings: MeshSettings, machine: str) -> Claim:
    """Return what the configuration says of this machine."""
    return Claim(
        id=settings.id,
        claimant=machine,
        role=settings.role,
        asn=settings.asn,
        router_id=settings.router_id or settings.address4,
        address4=settings.address4,
        address6=settings.address6,
        pods=settings.pods or None,
        labels=settings.labels,
    )


def machine_id() -> str:
    """Return what tells this machine from others: its systemd machine id, hashed as its manual page asks for.

    Where there is none, the host name has to do.
    """
    try:
        known = _MACHINE_ID.read_bytes().strip()
    except OSError:
        known = b""
    return hmac.new(known or socket.gethostname().encode(), b"rtagent mesh", hashlib.sha256).hexdigest()[:16]


def _secret(path: str) -> bytes:
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        text = f"cannot be read: {error.strerror}; openssl rand -hex 32 makes a secret, the same for all members"
        raise SettingsError([Problem(path, 1, "mesh.mqtt.secret_file", text)]) from None
    if len(secret) < _LEAST_SECRET_BYTES:
        text = f"shorter than {_LEAST_SECRET_BYTES} bytes; openssl rand -hex 32 makes a good one"
        raise SettingsError([Problem(path, 1, "mesh.mqtt.secret_file", text)])
    return secret
