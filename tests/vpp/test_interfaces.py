"""VPP's interfaces follow the kernel's links, with vppctl as the witness, told without rtagent's code."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.lab.lab import Namespace, wait_for
from tests.lab.vpp import Vpp
from tests.vpp.site import VppSite
from tests.vpp.test_agreement import assert_agreement

_ROW = re.compile(r"^(\S+) +\d+ +(up|down) +(\d+)/0/0/0", re.MULTILINE)
_MAC = re.compile(r"^(host-\S+) +\d+ .*?Ethernet address (\S+)", re.MULTILINE | re.DOTALL)
_LINK_LOCAL = re.compile(r"^(\S+) is admin (?:up|down)\n.*?Link-local address\(es\):\s+(\S+)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^(\S+) \((up|dn)\):", re.MULTILINE)
_ADDRESS = re.compile(r"^  L3 (\S+)", re.MULTILINE)


class Shown(NamedTuple):
    """An interface, as the kernel or vppctl shows it."""

    up: bool
    mtu: int
    mac: str
    link_local: str | None
    """None where IPv6 is off."""
    addresses: set[str]


def shown(vpp: Vpp) -> dict[str, Shown]:
    rows = {name: (state == "up", int(mtu)) for name, state, mtu in _ROW.findall(vpp.ctl("show interface"))}
    macs = dict(_MAC.findall(vpp.ctl("show hardware-interfaces")))
    link_locals = dict(_LINK_LOCAL.findall(vpp.ctl("show ip6 interface")))
    parts = _BLOCK.split(vpp.ctl("show interface addr"))
    addresses = {name: set(_ADDRESS.findall(text)) for name, text in zip(parts[1::3], parts[3::3], strict=True)}
    return {
        name: Shown(*row, macs.get(name, ""), link_locals.get(name), addresses.get(name, set()))
        for name, row in rows.items()
    }


def kernel(namespace: Namespace) -> dict[str, Shown]:
    found = {}
    for link in namespace.ip_json("addr show"):
        rows = link["addr_info"]
        addresses = {f"{row['local']}/{row['prefixlen']}" for row in rows if row["scope"] == "global"}
        link_local = next((row["local"] for row in rows if row["scope"] == "link"), None)
        found[link["ifname"]] = Shown("UP" in link["flags"], link["mtu"], link["address"], link_local, addresses)
    return found


def assert_alike(site: VppSite) -> None:
    """Every paired interface is as its link."""
    site.wait()
    held, expected = shown(site.vpp), kernel(site.router)
    assert {name: expected[name] for name in site.pairs} == {name: held[port] for name, port in site.pairs.items()}


def test_an_interface_is_as_its_link_and_others_are_left_alone(site: VppSite) -> None:
    before = shown(site.vpp)
    site.start()
    assert_alike(site)
    assert [before[f"host-v{number}"] for number in (8, 9)] == [shown(site.vpp)[f"host-v{n}"] for n in (8, 9)]
    assert_agreement(site)


def test_links_and_addresses_that_change_are_followed(site: VppSite) -> None:
    site.start()
    site.wait()
    for line in (
        "addr add 172.16.0.1/24 dev e0",
        "addr add 172.16.0.2/24 dev e0",
        "addr add 2001:db8:aa::1/64 dev e0 nodad",
        "addr del 172.16.0.1/24 dev e0",
        "addr add 172.17.0.1/24 dev e0 noprefixroute",
        "link set e1 mtu 1200",
        "link set e1 mtu 1500",
        "link set e2 down",
        "addr add 172.18.0.1/24 dev e2",
        "link set e2 up",
        "link set e3 down",
        "link set e3 address 02:00:00:00:33:33",
        "link set e3 up",
        "addr flush dev e0",
    ):
        site.router.ip(line)
        wait_for(lambda: "tentative" not in site.router.ip("-6 addr"), "addresses are valid")
        if "noprefixroute" in line:
            site.wait()
            assert "172.17.0.1/32" in shown(site.vpp)["host-v0"].addresses
            site.router.ip("addr del 172.17.0.1/24 dev e0")
        assert_alike(site)
    assert_agreement(site)
