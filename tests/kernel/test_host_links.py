"""Links that are made for VPP: persistent taps and tuns, VLANs, other names. ``ip`` tells what the kernel has."""

import errno

import pytest

from rtagent.core.taps import AddName, MakeTap, MakeVlan
from rtagent.sinks.host_links import HostLinks
from rtagent.vector.links import ETH_P_8021AD, ETH_P_8021Q, Tun, VlanTag
from tests.kernel.mirror import IN_MEMORY

MAC = bytes.fromhex("02feed000001")
TAP = MakeTap("tap7", "rtagent.TenGigabitEthernet3-0-0", True, MAC, 9000, True)


def shown(router, name):
    (link,) = router.ip_json(f"-d link show dev {name}")
    return link


def test_a_tap_is_there_with_all_that_it_is_given_and_nobody_has_it_open(router):
    HostLinks(router.name).make(TAP)
    link = shown(router, "tap7")
    assert ("02:fe:ed:00:00:01", 9000, True) == (link["address"], link["mtu"], "UP" in link["flags"])
    assert ["rtagent.TenGigabitEthernet3-0-0"] == link["altnames"]
    data = link["linkinfo"]["info_data"]
    assert {"type": "tap", "pi": False, "vnet_hdr": True, "multi_queue": True, "persist": True} == {
        name: data[name] for name in ("type", "pi", "vnet_hdr", "multi_queue", "persist")
    }
    assert 0 == data["numqueues"]


def test_a_tun_has_no_hardware_address(router):
    HostLinks(router.name).make(MakeTap("tun7", "rtagent.ipip0", False, b"", 1480, False))
    link = shown(router, "tun7")
    assert ("none", 1480, False) == (link["link_type"], link["mtu"], "UP" in link["flags"])
    assert "tun" == link["linkinfo"]["info_data"]["type"]


def test_what_stands_in_the_way_is_left_alone(router):
    before = shown(router, "e0")
    with pytest.raises(OSError, match="busy") as refused:
        HostLinks(router.name).make(TAP._replace(name="e0"))
    assert (errno.EBUSY, before) == (refused.value.errno, shown(router, "e0"))


def test_a_tap_that_cannot_be_finished_is_not_left_behind(router):
    HostLinks(router.name).make(TAP)
    with pytest.raises(OSError, match="File exists"):
        HostLinks(router.name).make(TAP._replace(name="tap8"))
    assert "tap8" not in router.ip("link")


@IN_MEMORY
def test_the_mirror_reads_what_was_made(router, mirror):
    HostLinks(router.name).make(TAP)
    HostLinks(router.name).make(AddName(shown(router, "tap7")["ifindex"], "rtv.7"))
    router.ip("tuntap add dev tun7 mode tun")
    mirror.settle()
    links = {link.name: link for link in mirror.store.topology.links.values()}
    assert (TAP.altname, "rtv.7") == links["tap7"].altnames
    assert (Tun(True, True, True), Tun(False, False, False)) == (links["tap7"].tun, links["tun7"].tun)
    assert (True, False) == (links["tap7"].tun.adoptable, links["tun7"].tun.adoptable)
    assert links["e0"].tun is None


@pytest.mark.kernel("vlan")
def test_vlans_are_made_with_their_tags_within_each_other(router):
    host, e0 = HostLinks(router.name), shown(router, "e0")["ifindex"]
    host.make(MakeVlan("e0.7", e0, VlanTag(ETH_P_8021AD, 7), up=True))
    host.make(MakeVlan("e0.7.100", shown(router, "e0.7")["ifindex"], VlanTag(ETH_P_8021Q, 100), up=False))
    outer, inner = shown(router, "e0.7"), shown(router, "e0.7.100")
    assert {"protocol": "802.1ad", "id": 7} == {
        name: outer["linkinfo"]["info_data"][name] for name in ("protocol", "id")
    }
    assert ("e0.7", 100, False) == (inner["link"], inner["linkinfo"]["info_data"]["id"], "UP" in inner["flags"])
