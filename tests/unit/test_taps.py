"""Which links are made for VPP's interfaces, and what they are called."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtagent.core.taps import (
    LONGEST_NAME,
    AddName,
    Choice,
    MakeTap,
    MakeVlan,
    TapRules,
    choose,
    host_name,
    missing,
    tap_altname,
    vlan_altname,
)
from rtagent.vector.interfaces import OURS
from rtagent.vector.links import ETH_P_8021AD, ETH_P_8021Q, IFF_UP, Link, Tun, VlanTag
from rtagent.vector.ports import HostLink, Port, PortKind

MAC = bytes.fromhex("02feed000001")
TAP = Tun(True, True, True)
TEN = Port("TenGigabitEthernet3/0/0", 1, mac=MAC, mtu=9000)
LOOP = Port("loop0", 2, mac=MAC, kind=PortKind.LOOPBACK)
IPIP = Port("ipip0", 3, mtu=1480, kind=PortKind.TUNNEL)
HOST_SIDE = Port("tap4096", 4, mac=MAC, kind=PortKind.INTERNAL)
LOCAL = Port("local0", 0, kind=PortKind.INTERNAL)
EVERYTHING = TapRules(interfaces=("*",))


def sub(name, interface, *tags, parent=1, owner=""):
    return Port(name, interface, parent=parent, tags=tags, kind=PortKind.SUB, owner=owner)


def vlan(ifindex, name, parent, number, protocol=ETH_P_8021Q, **more):
    return Link(ifindex, name, IFF_UP, kind="vlan", parent=parent, vlan=number, vlan_protocol=protocol, **more)


def named(*rows):
    return {row.name if isinstance(row, Port) else row.ifindex: row for row in rows}


def test_interfaces_are_chosen_by_name_by_glob_and_by_kind_and_left_out_by_glob():
    rules = TapRules(("Ten*", "ipip0"), (PortKind.LOOPBACK,), ("*Ethernet9*",))
    others = [Port("TenGigabitEthernet9/0/0", 9, mac=MAC), Port("memif1/0", 10, mac=MAC)]
    chosen = choose([TEN, LOOP, IPIP, *others, HOST_SIDE, LOCAL], rules, {})
    assert {"tge3-0-0": TEN.name, "loop0": "loop0", "ipip0": "ipip0"} == chosen.hosts
    assert {TEN.name, "loop0", "ipip0"} == chosen.tapped


def test_a_star_chooses_neither_sub_interfaces_nor_what_is_nobodys_port():
    ports = [TEN, sub("TenGigabitEthernet3/0/0.7", 5, VlanTag(ETH_P_8021Q, 7)), HOST_SIDE, LOCAL]
    assert {TEN.name} == choose(ports, EVERYTHING, {}).tapped


def test_a_configured_name_comes_before_a_made_one_and_what_is_not_chosen_has_only_its_name():
    chosen = choose([TEN, LOOP], TapRules(("Ten*",)), {"e0": TEN.name, "lan": "loop0"})
    assert ({"e0": TEN.name, "lan": "loop0"}, {TEN.name}) == (chosen.hosts, chosen.tapped)


def test_of_two_that_would_be_called_alike_the_first_by_name_has_it_and_the_other_is_told():
    one, other = Port("a/b", 1, mac=MAC), Port("a-b", 2, mac=MAC)
    chosen = choose([one, other], EVERYTHING, {})
    assert ({"a-b": "a-b"}, {"a-b"}) == (chosen.hosts, chosen.tapped)
    why = "its link would be called a-b, as that of a-b: name one of them in [[pairs]]"
    assert {"a/b": why} == chosen.troubles
    assert chosen == choose([other, one], EVERYTHING, {})


@pytest.mark.parametrize(
    ("interface", "name"),
    [
        ("loop0", "loop0"),
        ("GigabitEthernet0", "ge0"),
        ("TenGigabitEthernet3/0/0", "tge3-0-0"),
        ("HundredGigabitEthernet12/0/1", "hge12-0-1"),
        ("BondEthernet0", "BondEthernet0"),
        ("memif1/0", "memif1-0"),
        ("VirtualFunctionEthernet0/8/0.100", "vfe0-8-0.100"),
        ("a-name-beyond-all-measure", "a-name-b-124088"),
    ],
)
def test_the_name_of_a_link_follows_from_the_interface_s_alone(interface, name):
    assert name == host_name(interface, "{name}")


def test_a_template_goes_round_the_name():
    assert "v-tge3-0-0" == host_name("TenGigabitEthernet3/0/0", "v-{name}")


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=63), st.sampled_from(["{name}", "v-{name}", "{name}.x"])
)
def test_any_name_becomes_one_that_the_kernel_and_linux_cp_take(name, template):
    made = host_name(name, template)
    assert 0 < len(made) <= LONGEST_NAME
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", made)


def test_a_tap_is_made_with_what_its_interface_has_and_a_tun_where_there_are_no_frames():
    ports = named(TEN, IPIP)
    choice = choose(ports.values(), EVERYTHING, {"e0": TEN.name})
    assert [
        MakeTap("e0", "rtagent.TenGigabitEthernet3-0-0", True, MAC, 9000, True),
        MakeTap("ipip0", "rtagent.ipip0", False, b"", 1480, True),
    ] == missing({}, ports, choice, {}, vlans=True)


def test_no_tap_is_made_where_there_is_a_link():
    ports = named(TEN)
    choice = choose(ports.values(), EVERYTHING, {"e0": TEN.name})
    joined = {7: 1}
    assert [] == missing({7: Link(7, "anything", tun=TAP)}, ports, choice, joined, vlans=True)
    assert [] == missing({7: Link(7, "e0", kind="bridge")}, ports, choice, {}, vlans=True)
    marked = Link(7, "wan0", tun=TAP, altnames=(tap_altname(TEN.name),))
    assert [] == missing({7: marked}, ports, choice, {}, vlans=True)


class Upon:
    """A tap e0 (7) paired with TEN (1), and what else there is."""

    def __init__(self, *links, ports=(), pairs=None):
        self.links = named(Link(7, "e0", IFF_UP, tun=TAP), *links)
        self.ports = named(TEN, *ports)
        self.choice = Choice({"e0": TEN.name}, frozenset({TEN.name}), {})
        self.pairs = {7: 1, **(pairs or {})}

    def missing(self, *, vlans=True):
        return missing(self.links, self.ports, self.choice, self.pairs, vlans=vlans)


Q7, Q100, AD7 = VlanTag(ETH_P_8021Q, 7), VlanTag(ETH_P_8021Q, 100), VlanTag(ETH_P_8021AD, 7)


def test_a_sub_interface_that_others_made_gets_its_vlan_and_ours_is_there_for_one():
    theirs, ours = sub("TenGigabitEthernet3/0/0.7", 20, Q7), sub("TenGigabitEthernet3/0/0.100", 21, Q100, owner=OURS)
    assert [MakeVlan("e0.7", 7, Q7, True)] == Upon(ports=[theirs, ours]).missing()
    assert [] == Upon(ports=[theirs]).missing(vlans=False)
    assert [] == Upon(vlan(9, "customer", 7, 7, altnames=("rtv.9",)), ports=[theirs], pairs={9: 20}).missing()


def test_tags_within_tags_are_made_from_the_outside():
    both = sub("TenGigabitEthernet3/0/0.70100", 20, AD7, Q100)
    assert [MakeVlan("e0.7", 7, AD7, True)] == Upon(ports=[both]).missing()
    outer = vlan(9, "e0.7", 7, 7, ETH_P_8021AD)
    assert [MakeVlan("e0.70100", 9, Q100, True)] == Upon(outer, ports=[both]).missing()


def test_a_vlan_that_is_to_be_paired_gets_a_name_that_means_no_other_link_ever():
    theirs = sub("TenGigabitEthernet3/0/0.7", 20, Q7)
    assert [AddName(9, "rtv.9")] == Upon(vlan(9, "v", 7, 7), ports=[theirs], pairs={9: 20}).missing()
    paired = theirs._replace(link=HostLink(9, "v"))
    assert [] == Upon(vlan(9, "v", 7, 7), ports=[paired], pairs={9: 20}).missing()
    assert len(vlan_altname(2**31 - 1)) <= LONGEST_NAME


def test_upon_a_link_that_is_no_pair_of_the_data_planes_nothing_is_made():
    site = Upon(ports=[sub("TenGigabitEthernet3/0/0.7", 20, Q7)])
    site.choice = Choice({"e0": TEN.name}, frozenset(), {})
    assert [] == site.missing()
