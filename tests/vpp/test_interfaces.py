"""VPP's interfaces follow the kernel's links, with vppctl as the witness, told without rtagent's code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
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


def assert_alike(site: VppSite, pairs: Mapping[str, str] | None = None) -> None:
    """Every paired interface is as its link, once the kernel has made sure of its addresses, which it tells nobody."""
    chosen = pairs or site.pairs
    wait_for(lambda: not _unlike(site, chosen), f"{chosen} to be alike", 300)


def _unlike(site: VppSite, pairs: Mapping[str, str]) -> list[tuple[Shown, Shown]]:
    if "tentative" not in site.router.ip("-6 addr"):
        site.wait()
    expected, held = kernel(site.router), shown(site.vpp)
    return [(expected[name], held[port]) for name, port in pairs.items() if expected[name] != held[port]]


def test_an_interface_is_as_its_link_and_others_are_left_alone(site: VppSite) -> None:
    before = shown(site.vpp)
    site.start()
    assert_alike(site)
    assert [before[f"host-v{number}"] for number in (8, 9)] == [shown(site.vpp)[f"host-v{n}"] for n in (8, 9)]
    assert_agreement(site)


def test_links_and_addresses_that_change_are_followed(site: VppSite) -> None:
    site.start()
    site.wait()
    for lines in (
        ["addr add 172.16.0.1/24 dev e0", "addr add 172.16.0.2/24 dev e0", "addr add 2001:db8:aa::1/64 dev e0 nodad"],
        ["addr del 172.16.0.1/24 dev e0", "link set e1 mtu 1200", "link set e2 down", "addr add 172.18.0.1/24 dev e2"],
        ["link set e1 mtu 1500", "link set e2 up", "link set e3 down", "link set e3 address 02:00:00:00:33:33"],
        ["link set e3 up", "addr flush dev e0", "addr del 172.18.0.1/24 dev e2", "addr add 172.18.0.1/24 dev e1"],
    ):
        site.router.ip_batch(lines)
        assert_alike(site)
    assert_agreement(site)


def test_addresses_without_a_connected_prefix(site: VppSite) -> None:
    site.router.ip_batch(
        [
            "addr add 172.16.0.1 peer 172.16.0.2 dev e0",
            "addr add 172.17.0.1/24 dev e1 noprefixroute",
            "addr add 10.2.0.100/32 dev e2",
            "addr add 172.18.0.1/24 dev e3",
            "addr add 172.18.0.2/24 dev e2",
        ]
    )
    site.start()
    site.wait()
    held = shown(site.vpp)
    assert {"10.0.0.1/16", "172.16.0.1/32", "2001:db8::1/64"} == held["host-v0"].addresses
    assert "172.17.0.1/32" in held["host-v1"].addresses
    assert {"10.2.0.1/16", "10.2.0.100/16", "172.18.0.2/24", "2001:db8:2::1/64"} == held["host-v2"].addresses
    assert {"10.3.0.1/16", "2001:db8:3::1/64"} == held["host-v3"].addresses
    assert "host-v0" in site.vpp.ctl("show ip fib 172.16.0.2/32")
    done = site.rtagent("interfaces", "--json", "--config", str(site.config))
    rows = {row["host"]: row["differences"] for row in json.loads(done.out)}
    assert (1, []) == (done.status, rows["e0"])
    (difference,) = rows["e3"]
    assert ("unsupported", "overlaps 172.18.0.2/24 of another interface") == (difference["why"], difference["reason"])
    site.router.ip("addr del 172.18.0.2/24 dev e2")
    site.wait()
    assert "172.18.0.1/24" in shown(site.vpp)["host-v3"].addresses


def test_what_only_vpp_has_is_shown_and_set_back(site: VppSite) -> None:
    agent = site.start()
    site.wait()
    site.vpp.ctl("set interface state host-v0 down")
    wait_for(lambda: shown(site.vpp)["host-v0"].up, "host-v0 is up again")
    agent.stop()
    site.vpp.ctl("set interface ip address host-v1 192.0.2.1/24")
    site.vpp.ctl("set interface ip address host-v8 192.0.3.1/24")
    extra = [row for row in site.diff() if "object" in row]
    assert [("host-v1 address 192.0.2.1/24 in table 254", "extra")] == [(row["object"], row["why"]) for row in extra]
    site.router.ip("addr del 10.2.0.1/16 dev e2")
    site.start()
    assert_alike(site)
    assert "192.0.3.1/24" in shown(site.vpp)["host-v8"].addresses
    assert [] == site.diff()


def test_a_vpp_that_starts_anew_gets_everything_back(site: VppSite) -> None:
    agent = site.start()
    site.wait()
    site.vpp.kill()
    agent.wait_for(lambda: "dataplane.session_lost" in agent.text(), "the loss")
    site.router.ip_batch(["addr add 172.16.0.1/24 dev e0", "link set e1 mtu 1400"])
    site.start_vpp()
    assert_alike(site)
    assert_agreement(site)


def test_a_renamed_link_keeps_its_pair_and_one_that_leaves_takes_its_addresses_along(site: VppSite) -> None:
    agent = site.start()
    site.wait()
    site.router.ip("link set e0 down")
    site.router.ip("link set e0 name wan0")
    site.router.ip_batch(["link set wan0 up", "addr add 172.16.0.1/24 dev wan0", "addr del 10.0.0.1/16 dev wan0"])
    assert_alike(site, {"wan0": "host-v0"})
    assert "pair e0: e0 is called wan0 now: write that name" in str(site.json("status")["reasons"])
    site.router.ip(f"link set e1 netns {site.left.name}")
    site.wait()
    held = shown(site.vpp)["host-v1"]
    assert (False, None, set()) == (held.up, held.link_local, held.addresses)
    assert "pair e1: no link e1 in the kernel" in site.json("status")["reasons"]
    assert '"e1": "no link e1 in the kernel"' in agent.text()
    site.left.ip(f"link set e1 netns {site.router.name}")
    site.router.ip_batch(["link set e1 up", "addr add 10.1.0.1/16 dev e1"])
    assert_alike(site, {"e1": "host-v1"})


def test_interfaces_are_left_alone_where_it_is_configured(site: VppSite) -> None:
    site.write_config("[mirror]\ninterfaces = false\n")
    site.vpp.ctl("set interface ip address host-v0 192.0.2.1/24")
    before = shown(site.vpp)
    site.start()
    site.wait()
    assert before == shown(site.vpp)
