"""ping, traceroute, ssh, DHCP and multicast DNS with the taps of a router, each by the program that everybody uses.

The site is that of tap_site.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import groups, vpp
from tests.lab.lab import Namespace, Process
from tests.topologies.tap_site import TapSite, reaches, running

pytestmark = [
    pytest.mark.kernel("vhost"),
    pytest.mark.vpp,
    pytest.mark.skipif(not vpp.INSTALLED, reason="vpp is not installed: NOT tested what hosts do with its taps"),
]

_MDNS, _MDNS6, _PORT = "224.0.0.251", "ff02::fb", 5353
_LEASED = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
"""
_POOL = """
start {net}.100
end {net}.100
interface {link}
lease_file {folder}/leases
pidfile {folder}/udhcpd.pid
option subnet 255.255.255.0
option router {net}.1
"""


@pytest.fixture(scope="module")
def site() -> Iterator[TapSite]:
    with running() as site:
        yield site


def test_ping_from_either_side_and_through_in_both_families_of_any_size(site: TapSite) -> None:
    left, right = site.hosts[:2]
    for size in ("56", "1400", "3000"):
        for source, destination in (
            (left, "192.168.1.1"), (left, "2001:db8:1::1"), (left, "192.168.2.2"), (left, "2001:db8:2::2"),
            (left, "192.168.2.1"), (left, "2001:db8:2::1"), (site.router, "192.168.2.2"), (right, "192.168.1.2"),
            (site.router, "2001:db8:2::2"),
        ):  # fmt: skip
            source.run("ping", "-q", "-c", "2", "-i", "0.2", "-W", "10", "-s", size, destination)


def test_broadcast_ping_is_answered_by_a_host_that_wants_to(site: TapSite) -> None:
    site.router.sysctl("net.ipv4.icmp_echo_ignore_broadcasts", 0)
    said = site.hosts[0].run("ping", "-b", "-c", "2", "-W", "10", "192.168.1.255")
    assert "bytes from 192.168.1.1" in said


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox is not installed: NOT tested traceroute")
@pytest.mark.parametrize(
    ("family", "hops"), [("", ["192.168.1.1", "192.168.2.2"]), ("6", ["2001:db8:1::1", "2001:db8:2::2"])]
)
def test_traceroute_shows_the_router_and_the_host_behind(site: TapSite, family: str, hops: list[str]) -> None:
    def traced(destination: str) -> list[str]:
        said = site.hosts[0].run("busybox", f"traceroute{family}", "-n", "-q", "1", "-w", "5", destination)
        return [line.split()[1] for line in said.splitlines() if line.split()[0].isdigit()]

    assert hops == traced(hops[1])
    assert hops[:1] == traced(hops[0])


@pytest.mark.skipif(shutil.which("sshd") is None, reason="openssh-server is not installed: NOT tested ssh")
@pytest.mark.parametrize("to", ["router", "host"])
def test_ssh_logs_in_and_brings_many_segments(site: TapSite, to: str, tmp_path: Path) -> None:
    ends = {"router": (site.router, "192.168.1.1"), "host": (site.hosts[0], "192.168.1.2")}
    namespace, address = ends.pop(to)
    ((client, _),) = ends.values()
    server = ssh_server(namespace, tmp_path)
    try:
        options = ("-i", str(tmp_path / "key"), "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
                   "-o", f"UserKnownHostsFile={tmp_path}/known")  # fmt: skip
        said = client.run("ssh", *options, f"root@{address}", "seq 300000; ip -o addr show to " + address)
        assert "300000" in said.splitlines()
        assert f"inet {address}/24" in said.splitlines()[-1]
    finally:
        server.kill()


def ssh_server(namespace: Namespace, folder: Path) -> Process:
    """Start an sshd that lets in whoever has folder/key."""
    for key in ("key", "host_key"):
        namespace.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key))
    options = (
        f"HostKey={folder}/host_key", f"AuthorizedKeysFile={folder}/key.pub", "StrictModes=no", "UsePAM=no",
        "PidFile=none", "PermitRootLogin=prohibit-password", "LogLevel=VERBOSE",
    )  # fmt: skip
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    config = folder / "sshd_config"
    config.write_text("".join(f"{option.replace('=', ' ', 1)}\n" for option in options))
    sshd = shutil.which("sshd")
    assert sshd is not None
    server = namespace.start(sshd, "-D", "-e", "-f", str(config), log="sshd")
    server.wait_for(lambda: "Server listening on" in server.text(), "sshd")
    return server


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox is not installed: NOT tested DHCP")
def test_dhcp_gives_a_tap_without_an_address_one_and_vpp_has_it(site: TapSite, tmp_path: Path) -> None:
    router, far = site.router, site.hosts[2]
    router.ip("addr flush dev e3")
    site.wait_for(lambda: "192.168.3.1" not in site.vpp.ctl("show interface addr host-p3"), "no address")
    server = dhcp_server(far, "h0", "192.168.3", tmp_path)
    try:
        lease(router, "e3", tmp_path)
    finally:
        server.kill()
    site.wait_for(lambda: "192.168.3.100/24" in site.vpp.ctl("show interface addr host-p3"), "the address in VPP")
    assert reaches(router, "192.168.3.2")
    assert reaches(far, "192.168.3.100")
    router.ip("addr flush dev e3")
    router.ip("addr add 192.168.3.1/24 dev e3")


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox is not installed: NOT tested DHCP")
def test_dhcp_serves_hosts_from_a_tap(site: TapSite, tmp_path: Path) -> None:
    right = site.hosts[1]
    right.ip("addr del 192.168.2.2/24 dev h0")
    server = dhcp_server(site.router, "e2", "192.168.2", tmp_path)
    try:
        lease(right, "h0", tmp_path)
        assert reaches(right, "192.168.2.1")
    finally:
        server.kill()
    right.ip("addr add 192.168.2.2/24 dev h0")
    right.ip("route replace default via 192.168.2.1")


def dhcp_server(namespace: Namespace, link: str, net: str, folder: Path) -> Process:
    """Start a DHCP server that leases one address."""
    config = folder / "udhcpd.conf"
    config.write_text(_POOL.format(link=link, net=net, folder=folder))
    (folder / "leases").touch()
    server = namespace.start("busybox", "udhcpd", "-f", str(config), log="udhcpd")
    server.wait_for(lambda: "started" in server.text(), "udhcpd")
    return server


def lease(namespace: Namespace, link: str, folder: Path) -> None:
    """Get an address by DHCP and put it onto the link."""
    script = folder / "leased"
    script.write_text(_LEASED)
    script.chmod(0o755)
    namespace.run("busybox", "udhcpc", "-f", "-q", "-n", "-t", "10", "-T", "2", "-i", link, "-s", str(script))


@pytest.mark.parametrize("group", [_MDNS, _MDNS6])
@pytest.mark.parametrize("asking", ["host", "router"])
def test_multicast_dns_is_asked_and_answered_from_either_side(site: TapSite, group: str, asking: str) -> None:
    ends = [(site.router, "e1"), (site.hosts[0], "h0")]
    answering, asking_end = ends if asking == "host" else ends[::-1]
    server = groups.answer(*answering, group, _PORT)
    try:
        groups.ask(*asking_end, group, _PORT)
    finally:
        server.kill()
