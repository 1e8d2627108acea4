"""VRFs and VLANs of the kernel in a real VPP: in the VM where this kernel has neither."""

from __future__ import annotations

import re

import pytest

from tests.lab.lab import wait_for
from tests.vpp.site import VppSite
from tests.vpp.test_interfaces import Shown, assert_alike, kernel, shown

pytestmark = pytest.mark.kernel("vrf", "vlan")


def tables_of(site: VppSite, port: str) -> set[int]:
    """Return the tables but 0 that an interface with addresses is in."""
    text = site.vpp.ctl("show interface address")
    block = re.search(rf"^{re.escape(port)} \(.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert block
    return {int(number) for number in re.findall(r"table-id (\d+)", block[0])}


def has_table(site: VppSite, number: int) -> bool:
    """Whether VPP has the table, in either family."""
    return any("unicast-ip" in site.vpp.ctl(f"show {family} fib table {number}") for family in ("ip", "ip6"))


def test_an_interface_follows_its_link_through_vrfs(site: VppSite) -> None:
    site.start()
    site.wait()
    site.router.ip_batch(
        [
            "link add red type vrf table 77",
            "link add blue type vrf table 78",
            "link set red up",
            "link set blue up",
            "link set e0 master red",
            "link set e1 master blue",
            "addr flush dev e1 scope global",
            "addr add 10.0.0.1/16 dev e1",
            "addr add 2001:db8::1/64 dev e0 nodad",
            "route add 203.0.113.0/24 via 10.0.0.2 vrf red",
        ]
    )
    assert_alike(site)
    assert ({77}, {78}) == (tables_of(site, "host-v0"), tables_of(site, "host-v1"))
    assert "host-v0" in site.vpp.ctl("show ip fib table 77 203.0.113.0/24")
    site.router.ip_batch(["link set e1 nomaster", "addr flush dev e0", "link set e0 master blue", "link del red"])
    site.router.ip_batch(["addr add 10.4.0.1/16 dev e0", "addr add 2001:db8::1/64 dev e0 nodad"])
    assert_alike(site)
    assert ({78}, set()) == (tables_of(site, "host-v0"), tables_of(site, "host-v1"))
    assert (False, True) == (has_table(site, 77), has_table(site, 78))
    site.router.ip("link del blue")
    assert_alike(site)
    assert (set(), False) == (tables_of(site, "host-v0"), has_table(site, 78))


def test_a_route_in_the_table_of_a_vrf_may_come_first(site: VppSite) -> None:
    site.start()
    site.router.ip("route add 203.0.113.0/24 via 10.0.0.2 table 77")
    site.wait()
    site.router.ip_batch(["link add red type vrf table 77", "link set red up", "link set e0 master red"])
    site.router.ip("route replace 203.0.113.0/24 via 10.0.0.3 vrf red")
    assert_alike(site)
    assert {77} == tables_of(site, "host-v0")
    assert "10.0.0.3 host-v0" in site.vpp.ctl("show ip fib table 77 203.0.113.0/24")


def vlans(site: VppSite) -> dict[str, Shown]:
    return {name: row for name, row in shown(site.vpp).items() if "." in name}


def test_vlans_are_sub_interfaces_with_their_tags_and_leave_nothing(site: VppSite) -> None:
    site.start()
    site.wait()
    before = shown(site.vpp)
    site.router.ip_batch(
        [
            "link add link e0 name customer type vlan id 7",
            "link add link e0 name provider type vlan proto 802.1ad id 8",
            "link add link provider name inner type vlan id 9",
            "link set customer up",
            "link set provider up",
            "link set inner up mtu 1400",
            "addr add 172.16.7.1/24 dev customer",
            "addr add 172.16.9.1/24 dev inner",
            "addr add 2001:db8:9::1/64 dev inner nodad",
            "route add 203.0.113.0/24 via 172.16.9.2",
        ]
    )
    assert_alike(site)
    links = {"host-v0.7": "customer", "host-v0.100000008": "provider", "host-v0.100080009": "inner"}

    def are_alike() -> bool:
        kernel_now = kernel(site.router)
        return {vlan: kernel_now[link]._replace(mac="") for vlan, link in links.items()} == vlans(site)

    wait_for(are_alike, f"{links} to be alike", 300)
    assert "host-v0.100080009" in site.vpp.ctl("show ip fib 203.0.113.0/24")
    pairs = {pair["host"]: (pair["vpp"], pair["state"]) for pair in site.json("status")["pairs"]}
    assert ("host-v0.100080009", "up") == pairs["inner"]
    site.router.ip_batch(
        [
            "link del inner",
            "link add link e0 name other type vlan id 9",
            "link set other up",
            "addr add 172.16.9.1/24 dev other",
        ]
    )
    assert_alike(site)
    assert {"host-v0.7", "host-v0.9", "host-v0.100000008"} == set(vlans(site))
    assert {"172.16.9.1/24"} == vlans(site)["host-v0.9"].addresses
    site.router.ip_batch(["link del customer", "link del other", "link del provider"])
    assert_alike(site)
    assert before == shown(site.vpp)
