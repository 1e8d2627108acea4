"""``[mesh]`` of the configuration file: what is accepted, and what is said about the rest."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from rtagent.agent.mesh_settings import (
    BgpSettings,
    BirdSettings,
    ChangeSettings,
    FileSettings,
    KubernetesSettings,
    MeshSettings,
    MqttSettings,
)
from rtagent.agent.settings import parse
from rtagent.core.mesh.options import PodRange, Reflection
from rtagent.vector.members import Role
from rtagent.wire.toml.schema import SettingsError


def problems(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    return [(problem.line, problem.key, problem.text) for problem in caught.value.problems]


def test_without_the_table_there_is_no_mesh() -> None:
    assert parse("").mesh is None


def test_the_asn_is_all_that_must_be_said_and_the_id_is_the_host_name() -> None:
    mesh = parse("[mesh]\nasn = 64512").mesh
    assert MeshSettings(asn=64512, id=socket.gethostname().lower()) == mesh


def test_every_key_reaches_its_setting() -> None:
    text = """
[mesh]
id = "n1"
asn = 64512
role = "node"
router_id = "192.0.2.1"
address4 = "192.0.2.1"
address6 = "2001:db8::1"
pods = ["2001:db8:1::/64", "10.244.1.0/24"]
labels = { zone = "b", area = "a" }
[[mesh.ranges]]
prefix = "10.244.0.0/16"
lengths = [24, 28]
[[mesh.ranges]]
prefix = "2001:db8::/32"
[mesh.file]
path = "/etc/rtagent/members.toml"
[mesh.mqtt]
url = "mqtts://broker.example:8883"
secret_file = "/etc/rtagent/mesh.secret"
topic = "/site/mesh/"
username = "n1"
password_file = "/etc/rtagent/mqtt.password"
ca_file = "/etc/ca.crt"
certificate_file = "/etc/n1.crt"
key_file = "/etc/n1.key"
keepalive_s = 5
ttl_s = 60
[mesh.kubernetes]
kubeconfig = "/etc/kubeconfig"
context = "prod"
selector = "mesh=yes"
roles = { "example.com/lb" = "lb", "kind=router" = "router" }
[mesh.changes]
debounce_s = 1
debounce_max_s = 10
hold_down_s = 60
brake_share = 0.5
brake_least = 5
[mesh.bgp]
transport = "ipv6"
multihop = true
secret_file = "/etc/rtagent/bgp.secret"
authentication = "ao"
hold_time_s = 30
bfd = false
bfd_interval_ms = 300
bfd_multiplier = 5
graceful_restart = false
graceful_restart_time_s = 60
graceful_restart_wait_s = 20
add_path = true
prefix_limit = 8
prefix_limit_action = "restart"
prefix_limit_retry_s = 60
[mesh.reflectors]
from_members = 100
until_members = 80
[mesh.bird]
socket = "/run/bird.ctl"
config = "/etc/bird.conf"
directory = "/etc/bird.d"
binary = "/usr/sbin/bird"
kernel = false
kernel_table = 100
kernel_metric = 64
scan_time_s = 5
merge_paths = 1
pods_from = "kernel"
undo_s = 10
allow_restarts = true
"""
    expected = MeshSettings(
        id="n1",
        asn=64512,
        role=Role.NODE,
        router_id=IPv4Address("192.0.2.1"),
        address4=IPv4Address("192.0.2.1"),
        address6=IPv6Address("2001:db8::1"),
        pods=(ip_network("10.244.1.0/24"), ip_network("2001:db8:1::/64")),
        labels=(("area", "a"), ("zone", "b")),
        ranges=(PodRange(ip_network("10.244.0.0/16"), 24, 28), PodRange(ip_network("2001:db8::/32"), 32, 128)),
        file=FileSettings("/etc/rtagent/members.toml"),
        mqtt=MqttSettings(
            url="mqtts://broker.example:8883",
            secret_file="/etc/rtagent/mesh.secret",
            topic="site/mesh",
            username="n1",
            password_file="/etc/rtagent/mqtt.password",
            ca_file="/etc/ca.crt",
            certificate_file="/etc/n1.crt",
            key_file="/etc/n1.key",
            keepalive_s=5,
            ttl_s=60,
        ),
        kubernetes=KubernetesSettings(
            kubeconfig="/etc/kubeconfig",
            context="prod",
            selector="mesh=yes",
            roles=(("example.com/lb", Role.LB), ("kind=router", Role.ROUTER)),
        ),
        changes=ChangeSettings(debounce_s=1, debounce_max_s=10, hold_down_s=60, brake_share=0.5, brake_least=5),
        bgp=BgpSettings(
            transport="ipv6",
            multihop=True,
            secret_file="/etc/rtagent/bgp.secret",
            authentication="ao",
            hold_time_s=30,
            bfd=False,
            bfd_interval_ms=300,
            bfd_multiplier=5,
            graceful_restart=False,
            graceful_restart_time_s=60,
            graceful_restart_wait_s=20,
            add_path=True,
            prefix_limit=8,
            prefix_limit_action="restart",
            prefix_limit_retry_s=60,
        ),
        reflectors=Reflection(from_members=100, until_members=80),
        bird=BirdSettings(
            socket="/run/bird.ctl",
            config="/etc/bird.conf",
            directory="/etc/bird.d",
            binary="/usr/sbin/bird",
            kernel=False,
            kernel_table=100,
            kernel_metric=64,
            scan_time_s=5,
            merge_paths=1,
            pods_from="kernel",
            undo_s=10,
            allow_restarts=True,
        ),
    )
    assert expected == parse(text).mesh


MESH = "[mesh]\nasn = 64512\nid = 'n1'\n"


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("mesh = 3", 1, "mesh"),
        ("[mesh]\nid = 'n1'", 1, "mesh.asn"),
        ("[mesh]\nasn = 0", 2, "mesh.asn"),
        ("[mesh]\nasn = true", 2, "mesh.asn"),
        (MESH + "role = 'balancer'", 4, "mesh.role"),
        (MESH + "role = 'lb'\npods = ['10.0.0.0/24']", 5, "mesh.pods"),
        (MESH + "router_id = '0.0.0.1'", 4, "mesh.router_id"),
        (MESH + "router_id = '224.0.0.1'", 4, "mesh.router_id"),
        (MESH + "address4 = '127.0.0.1'", 4, "mesh.address4"),
        (MESH + "address4 = '2001:db8::1'", 4, "mesh.address4"),
        (MESH + "address6 = 'fe80::1'", 4, "mesh.address6"),
        (MESH + "pods = ['10.0.0.1/24']", 4, "mesh.pods"),
        (MESH + "pods = ['10.0.0.0/16', '10.0.1.0/24']", 4, "mesh.pods"),
        (MESH + "pods = ['10.1.0.0/24']\n[[mesh.ranges]]\nprefix = '10.0.0.0/16'", 4, "mesh.pods"),
        (MESH + "[mesh.ranges]\nprefix = '10.0.0.0/16'", 4, "mesh.ranges"),
        (MESH + "[[mesh.ranges]]\nlengths = [24, 28]", 4, "mesh.ranges[1].prefix"),
        (MESH + "[[mesh.ranges]]\nprefix = '10.0.0.0/16'\nlengths = [8, 24]", 6, "mesh.ranges[1].lengths"),
        (MESH + "[mesh.file]\n", 4, "mesh.file.path"),
        (MESH + "[mesh.mqtt]\nsecret_file = '/s'", 4, "mesh.mqtt.url"),
        (MESH + "[mesh.mqtt]\nurl = 'mqtt://b'", 4, "mesh.mqtt.secret_file"),
        (MESH + "[mesh.mqtt]\nurl = 'http://b'\nsecret_file = '/s'", 5, "mesh.mqtt.url"),
        (MESH + "[mesh.mqtt]\nurl = 'mqtt://me:secret@b'\nsecret_file = '/s'", 5, "mesh.mqtt.url"),
        (MESH + "[mesh.mqtt]\nurl = 'mqtt://b:99999'\nsecret_file = '/s'", 5, "mesh.mqtt.url"),
        (MESH + "[mesh.mqtt]\nurl = 'mqtt://b:0'\nsecret_file = '/s'", 5, "mesh.mqtt.url"),
        (MESH + "[mesh.mqtt]\nurl = 'mqtt://b'\nsecret_file = '/s'\nca_file = '/c'", 7, "mesh.mqtt.ca_file"),
        (MESH + "[mesh.mqtt]\nurl = 'mqtts://b'\nsecret_file = '/s'\nkey_file = '/k'", 7, "mesh.mqtt.key_file"),
        (
            MESH + "[mesh.mqtt]\nurl = 'mqtt://b'\nsecret_file = '/s'\npassword_file = '/p'",
            7,
            "mesh.mqtt.password_file",
        ),
        (MESH + "[mesh.mqtt]\nurl = 'mqtt://b'\nsecret_file = '/s'\ntopic = 'a/#'", 7, "mesh.mqtt.topic"),
        (MESH + "[mesh.kubernetes]\nroles = { lb = 'balancer' }", 5, "mesh.kubernetes.roles"),
        (MESH + "[mesh.changes]\nbrake_share = 30", 5, "mesh.changes.brake_share"),
        (MESH + "[mesh.changes]\ndebounce_max_s = 0.1", 4, "mesh.changes.debounce_s"),
        (MESH + "[mesh.bgp]\nholdtime_s = 9", 5, "mesh.bgp.holdtime_s"),
        (MESH + "address4 = '192.0.2.1'\n[mesh.bgp]\ntransport = 'ipv6'", 1, "mesh.address6"),
        (MESH + "[mesh.reflectors]\nuntil_members = 5", 5, "mesh.reflectors.until_members"),
        (MESH + "[mesh.bird]\nundo_s = 0", 5, "mesh.bird.undo_s"),
    ],
)
def test_a_problem_names_its_line_and_key(text: str, line: int, key: str) -> None:
    assert [(line, key)] == [(problem[0], problem[1]) for problem in problems(text)]


def test_a_problem_says_what_would_be_right() -> None:
    text = MESH + "rolle = 'lb'\n[mesh.bgp]\nauthentication = 'md4'\n"
    assert problems(text) == [
        (4, "mesh.rolle", "unknown key; did you mean role?"),
        (6, "mesh.bgp.authentication", '"md4" is not valid (did you mean md5?); write "md5" or "ao"'),
    ]


def test_reflection_goes_off_at_nine_tenths_of_its_threshold_unless_told() -> None:
    assert (90, 80) == (Reflection(100).off_below, Reflection(100, 80).off_below)
