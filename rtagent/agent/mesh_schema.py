"""How ``[mesh]`` is written: the table of its keys, and what has to hold between them.

The values are in ``mesh_settings``; this is what turns text into them, and says what is wrong with it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from rtagent.agent.mesh_settings import (
    BgpSettings,
    BirdSettings,
    ChangeSettings,
    FileSettings,
    KubernetesSettings,
    MeshSettings,
    MqttSettings,
)
from rtagent.core.mesh.options import PodRange, Reflection
from rtagent.vector.members import Prefix, Role
from rtagent.wire.members import fields
from rtagent.wire.toml.schema import Key, Table, boolean, file_path, number, one_of, socket_path, text, whole

_DAY_S = 86_400


def _lengths(value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError
    shortest, longest = (whole(0, 128)(item) for item in value)
    if shortest > longest:
        raise ValueError
    return shortest, longest


def _roles(value: Any) -> tuple[tuple[str, Role], ...]:
    if not isinstance(value, dict):
        raise ValueError
    return tuple((text(label), Role(one_of(*Role)(role))) for label, role in value.items())


def _broker(value: Any) -> str:
    parts = urlsplit(text(value))
    if parts.scheme == "unix" and not parts.netloc:
        return f"unix:{socket_path(parts.path)}"
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/"):
        raise ValueError
    if parts.username or parts.password:
        raise ValueError("credentials stand in username and password_file")
    if parts.port == 0:
        raise ValueError
    return str(value)


def _topic(value: Any) -> str:
    if not isinstance(value, str) or not value.strip("/") or set(value) & set("+#$\0"):
        raise ValueError
    return value.strip("/")


def _make_range(prefix: Prefix | None = None, lengths: tuple[int, int] | None = None) -> PodRange:
    if prefix is None:
        raise KeyError("prefix", 'is missing; write the range, such as prefix = "10.244.0.0/16"')
    shortest, longest = lengths or (prefix.prefixlen, prefix.max_prefixlen)
    if shortest < prefix.prefixlen or longest > prefix.max_prefixlen:
        raise KeyError("lengths", f"must lie between {prefix.prefixlen} and {prefix.max_prefixlen} for {prefix}")
    return PodRange(prefix, shortest, longest)


def _make_file(path: str | None = None) -> FileSettings:
    if path is None:
        raise KeyError("path", 'is missing; write the file of the members, such as path = "/etc/rtagent/members.toml"')
    return FileSettings(path)


def _make_mqtt(url: str | None = None, secret_file: str | None = None, **rest: Any) -> MqttSettings:
    if url is None:
        raise KeyError("url", 'is missing; write the broker, such as url = "mqtts://broker.example:8883"')
    if secret_file is None:
        raise KeyError("secret_file", "is missing; write the file of the secret that signs announcements")
    settings = MqttSettings(url, secret_file, **rest)
    tls = [name for name in ("ca_file", "certificate_file", "key_file") if getattr(settings, name)]
    if tls and not url.startswith("mqtts:"):
        raise KeyError(tls[0], 'has no meaning without TLS; write url = "mqtts://…"')
    if (settings.certificate_file is None) != (settings.key_file is None):
        given, missing = (
            ("certificate_file", "key_file") if settings.certificate_file else ("key_file", "certificate_file")
        )
        raise KeyError(given, f"goes with {missing}; write both or none")
    if settings.password_file and not settings.username:
        raise KeyError("password_file", "goes with username; write both")
    return settings


def _make_changes(**values: Any) -> ChangeSettings:
    settings = ChangeSettings(**values)
    if settings.debounce_s > settings.debounce_max_s:
        raise KeyError("debounce_s", f"must not be longer than debounce_max_s, {settings.debounce_max_s:g} s")
    return settings


def _make_reflectors(**values: Any) -> Reflection:
    settings = Reflection(**values)
    if settings.until_members > settings.from_members:
        raise KeyError("until_members", f"must not be more than from_members, {settings.from_members}")
    return settings


def _make_mesh(**values: Any) -> MeshSettings:
    if "asn" not in values:
        raise KeyError("asn", "is missing; write the AS number that all members share, such as asn = 64512")
    if "id" not in values and not fields.is_id(socket.gethostname().lower()):
        raise KeyError("id", "is missing, and the host name is none that could take its place; write a name")
    settings = MeshSettings(**values)
    if settings.bgp.transport == "ipv6" and settings.address4 and not settings.address6:
        raise KeyError("address6", 'is missing; mesh.bgp.transport = "ipv6" needs it')
    if settings.role in (Role.LB, Role.ROUTER, Role.REFLECTOR) and settings.pods:
        raise KeyError("pods", f'has no meaning for role = "{settings.role}": only a node owns pod prefixes')
    for prefix in settings.pods:
        if settings.ranges and not any(allowed.holds(prefix) for allowed in settings.ranges):
            raise KeyError("pods", f"{prefix} lies in none of [[mesh.ranges]], or has a length that they do not allow")
    return settings


def _key(name: str, check: Callable[[Any], Any], wanted: str) -> tuple[str, Key]:
    return name, Key(name, check, wanted)


def _whole(name: str, least: int, most: int) -> tuple[str, Key]:
    return _key(name, whole(least, most), f"a whole number from {least} to {most}")


def _seconds(name: str, least: float, most: float) -> tuple[str, Key]:
    return _key(name, number(least, most), f"a number of seconds from {least:g} to {most:g}")


def _boolean(name: str) -> tuple[str, Key]:
    return _key(name, boolean, "true or false")


def _words(name: str, *words: str) -> tuple[str, Key]:
    return _key(name, one_of(*words), " or ".join(f'"{word}"' for word in words))


def _path(name: str, example: str) -> tuple[str, Key]:
    return _key(name, file_path, f'an absolute path, such as "{example}"')


MESH = Table(
    keys=dict(
        [
            _key("id", fields.member_id, 'a host name or the like, such as "lb1"'),
            _whole("asn", 1, 4_294_967_294),
            _key("role", lambda value: Role(one_of(*Role)(value)), " or ".join(f'"{role}"' for role in Role)),
            _key("router_id", fields.router_id, 'an IPv4 address, such as "192.0.2.1"'),
            _key("address4", fields.address4, 'an IPv4 address of this machine, such as "192.0.2.1"'),
            _key("address6", fields.address6, 'an IPv6 address of this machine, such as "2001:db8::1"'),
            _key("pods", fields.prefixes, 'a list of prefixes, such as ["10.244.1.0/24"]'),
            _key("labels", fields.labels, 'a table of strings, such as { zone = "a" }'),
        ]
    ),
    make=_make_mesh,
    tables={
        "ranges": Table(
            keys=dict(
                [
                    _key("prefix", fields.prefix, 'a prefix, such as "10.244.0.0/16"'),
                    _key("lengths", _lengths, "the shortest and the longest length, such as [24, 28]"),
                ]
            ),
            make=_make_range,
            listed=True,
        ),
        "file": Table(keys=dict([_path("path", "/etc/rtagent/members.toml")]), make=_make_file),
        "mqtt": Table(
            keys=dict(
                [
                    _key("url", _broker, '"mqtt://HOST:PORT", "mqtts://HOST:PORT" or "unix:PATH"'),
                    _path("secret_file", "/etc/rtagent/mesh.secret"),
                    _key("topic", _topic, 'a topic without wildcards, such as "rtagent/mesh"'),
                    _key("username", text, "a name"),
                    _path("password_file", "/etc/rtagent/mqtt.password"),
                    _path("ca_file", "/etc/ssl/certs/ca-certificates.crt"),
                    _path("certificate_file", "/etc/rtagent/mqtt.crt"),
                    _path("key_file", "/etc/rtagent/mqtt.key"),
                    _whole("keepalive_s", 1, 3600),
                    _whole("ttl_s", 10, _DAY_S),
                ]
            ),
            make=_make_mqtt,
        ),
        "kubernetes": Table(
            keys=dict(
                [
                    _path("kubeconfig", "/etc/rtagent/kubeconfig"),
                    _key("context", text, "the name of a context in the kubeconfig"),
                    _key("selector", text, 'a label selector, such as "mesh=yes"'),
                    _key("roles", _roles, 'a table from labels to roles, such as { "example.com/lb" = "lb" }'),
                ]
            ),
            make=KubernetesSettings,
        ),
        "changes": Table(
            keys=dict(
                [
                    _seconds("debounce_s", 0, 60),
                    _seconds("debounce_max_s", 0, 600),
                    _seconds("hold_down_s", 0, _DAY_S),
                    _key("brake_share", number(0, 1), "a share from 0 to 1, such as 0.3"),
                    _whole("brake_least", 1, 100_000),
                ]
            ),
            make=_make_changes,
        ),
        "bgp": Table(
            keys=dict(
                [
                    _words("transport", "ipv4", "ipv6"),
                    _boolean("multihop"),
                    _path("secret_file", "/etc/rtagent/bgp.secret"),
                    _words("authentication", "md5", "ao"),
                    _whole("hold_time_s", 3, 65_535),
                    _boolean("bfd"),
                    _whole("bfd_interval_ms", 10, 10_000),
                    _whole("bfd_multiplier", 2, 50),
                    _boolean("graceful_restart"),
                    _whole("graceful_restart_time_s", 1, 4095),
                    _whole("graceful_restart_wait_s", 1, 3600),
                    _boolean("add_path"),
                    _whole("prefix_limit", 1, 10_000_000),
                    _words("prefix_limit_action", "warn", "block", "restart", "disable"),
                    _whole("prefix_limit_retry_s", 0, _DAY_S),
                ]
            ),
            make=BgpSettings,
        ),
        "reflectors": Table(
            keys=dict([_whole("from_members", 0, 100_000), _whole("until_members", 0, 100_000)]),
            make=_make_reflectors,
        ),
        "bird": Table(
            keys=dict(
                [
                    _key("socket", socket_path, 'an absolute path, such as "/run/bird/bird.ctl"'),
                    _path("config", "/etc/bird/bird.conf"),
                    _path("directory", "/etc/bird/rtagent"),
                    _key("binary", text, 'a path, or a name on PATH such as "bird"'),
                    _boolean("kernel"),
                    _whole("kernel_table", 1, 4_294_967_295),
                    _whole("kernel_metric", 1, 4_294_967_295),
                    _whole("scan_time_s", 1, 3600),
                    _whole("merge_paths", 1, 16),
                    _words("pods_from", "static", "kernel"),
                    _whole("undo_s", 1, 3600),
                    _boolean("allow_restarts"),
                ]
            ),
            make=BirdSettings,
        ),
    },
)
"""``[mesh]``; ``docs/reference.md`` has the defaults in words."""
