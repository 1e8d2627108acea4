"""What is wanted of the data plane's interfaces, from links, addresses and pairs."""

from __future__ import annotations

import ipaddress

from rtagent.core.interfaces import Interfaces, wanted_of
from rtagent.core.objects import Objects
from rtagent.core.resolve import Topology
from rtagent.core.store import Store
from rtagent.core.vlans import sub_id, tag_stack
from rtagent.vector.batch import Change, KernelBatch
from rtagent.vector.fib import FibEntries
from rtagent.vector.interfaces import (
    OURS,
    AdminState,
    InterfaceAddress,
    LinkLocal,
    Mac,
    Membership,
    Mtu,
    SubInterface,
    Table,
    TakesLabels,
)
from rtagent.vector.keys import AF_INET, AF_INET6, TABLE_MAIN
from rtagent.vector.links import (
    ETH_P_8021AD,
    ETH_P_8021Q,
    IFA_F_DADFAILED,
    IFA_F_NOPREFIXROUTE,
    IFA_F_TENTATIVE,
    IFF_UP,
    Address,
    LabelInput,
    Link,
    VlanTag,
)
from rtagent.vector.nexthops import NexthopGroups
from rtagent.vector.objects import Held
from rtagent.vector.ports import Port

MAC = bytes((2, 0, 0, 0, 0, 1))
E0 = Link(2, "e0", IFF_UP, 1500, MAC)
E1 = Link(3, "e1", IFF_UP, 9000, bytes((2, 0, 0, 0, 0, 2)))
PORTS = {101: Port("p0", 101, mac=MAC), 102: Port("p1", 102, mac=MAC), 103: Port("p2", 103, mac=MAC)}
RED = Link(9, "red", IFF_UP, kind="vrf", table=77)


def packed(text):
    return ipaddress.ip_address(text).packed


def address(ifindex, text, flags=0, peer=""):
    interface = ipaddress.ip_interface(text)
    family = AF_INET if interface.version == 4 else AF_INET6
    return Address(
        family, ifindex, interface.ip.packed, interface.network.prefixlen, packed(peer) if peer else b"", flags
    )


def topology(*links, pairs=None):
    made = Topology()
    made.links = {link.ifindex: link for link in links}
    made.pairs = {2: 101, 3: 102} if pairs is None else pairs
    return made


def wanted(*rows, links=(E0, E1)):
    """Return the addresses that are wanted: (interface, table, text)."""
    found, left_out = wanted_of(topology(*links), rows, PORTS)
    addresses = {
        (key.interface, key.table, f"{ipaddress.ip_address(key.address)}/{key.length}")
        for key in found
        if isinstance(key, InterfaceAddress)
    }
    return addresses, left_out


def test_an_interface_is_set_to_what_its_link_is():
    found, left_out = wanted_of(topology(E0._replace(flags=0, mtu=1400)), [], {101: PORTS[101]})
    assert {} == left_out
    assert {
        AdminState(101): False,
        Mtu(101): 1400,
        Mac(101): MAC,
        Membership(101, AF_INET): TABLE_MAIN,
        Membership(101, AF_INET6): TABLE_MAIN,
    } == found


def test_an_interface_whose_link_is_gone_is_down_and_empty():
    found, _ = wanted_of(topology(E1), [address(2, "10.0.0.1/24")], {101: PORTS[101]})
    tables = {Membership(101, family): TABLE_MAIN for family in (AF_INET, AF_INET6)}
    assert {AdminState(101): False} | tables == found


def test_addresses_of_both_families_down_links_included():
    rows = [address(2, "10.0.0.1/24"), address(2, "10.0.0.2/24"), address(3, "2001:db8::1/64")]
    expected = {(101, 254, "10.0.0.1/24"), (101, 254, "10.0.0.2/24"), (102, 254, "2001:db8::1/64")}
    assert (expected, {}) == wanted(*rows, links=(E0._replace(flags=0), E1))


def test_an_address_counts_once_it_is_valid():
    rows = [
        address(2, "2001:db8:1::1/64", IFA_F_TENTATIVE),
        address(2, "2001:db8:2::1/64", IFA_F_TENTATIVE | IFA_F_DADFAILED),
        address(2, "2001:db8:3::1/64", 0x80),
    ]
    assert ({(101, 254, "2001:db8:3::1/64")}, {}) == wanted(*rows)


def test_an_address_without_a_connected_prefix_stands_alone():
    rows = [address(2, "10.0.0.1/32", peer="10.0.0.2"), address(3, "10.1.0.1/24", IFA_F_NOPREFIXROUTE)]
    assert {(101, 254, "10.0.0.1/32"), (102, 254, "10.1.0.1/32")} == wanted(*rows)[0]


def test_addresses_within_a_shorter_prefix_of_the_interface_join_it():
    rows = [address(2, text) for text in ("10.0.0.1/24", "10.0.0.100/32", "10.0.1.1/24", "10.2.0.1/16", "10.2.3.4/24")]
    expected = ("10.0.0.1/24", "10.0.0.100/24", "10.0.1.1/24", "10.2.0.1/16", "10.2.3.4/16")
    assert {(101, 254, text) for text in expected} == wanted(*rows)[0]


def test_of_two_interfaces_with_one_prefix_the_first_has_it_unless_it_is_down():
    rows = [address(3, "10.0.0.2/24"), address(2, "10.0.0.1/24")]
    found, left_out = wanted(*rows)
    assert {(101, 254, "10.0.0.1/24")} == found
    assert {102: ["10.0.0.2/24: overlaps 10.0.0.1/24 of another interface"]} == left_out
    assert {(102, 254, "10.0.0.2/24")} == wanted(*rows, links=(E0._replace(flags=0), E1))[0]


def test_what_overlaps_only_an_address_that_stands_back_is_wanted():
    links = (E0, E1, Link(4, "e2", IFF_UP, 1500, MAC))
    rows = [address(2, "10.1.0.1/24"), address(3, "10.0.0.1/8"), address(4, "10.2.0.1/24")]
    found, _ = wanted_of(topology(*links, pairs={2: 101, 3: 102, 4: 103}), rows, PORTS)
    assert {101, 103} == {key.interface for key in found if isinstance(key, InterfaceAddress)}


def link_local(*rows):
    found, left_out = wanted_of(topology(E0), rows, PORTS)
    return found.get(LinkLocal(101)), left_out.get(101, [])


def test_the_link_local_address_is_the_kernels():
    usual = packed("fe80::ff:fe00:1")
    assert (packed("fe80::7"), []) == link_local(address(2, "fe80::7/64"))
    assert (usual, []) == link_local(address(2, "2001:db8::1/64"))
    assert (None, []) == link_local(address(2, "10.0.0.1/24"))
    chosen, left_out = link_local(address(2, "fe80::1/64"), address(2, "fe80::ff:fe00:1/64"))
    assert (usual, ["fe80::1: an interface has one link-local address in VPP, fe80::ff:fe00:1"]) == (chosen, left_out)


def test_a_vrf_takes_the_interface_and_its_addresses_to_its_table():
    links = (E0._replace(master=9), E1, RED)
    found, left_out = wanted(address(2, "10.0.0.1/24"), address(3, "10.0.0.1/24"), links=links)
    assert ({(101, 77, "10.0.0.1/24"), (102, 254, "10.0.0.1/24")}, {}) == (found, left_out)
    objects, _ = wanted_of(topology(*links), [], PORTS)
    assert (77, 254) == (objects[Membership(101, AF_INET6)], objects[Membership(102, AF_INET6)])
    assert {OURS} == {objects[Table(family, 77)] for family in (AF_INET, AF_INET6)}


def test_the_master_may_be_something_else_than_a_vrf():
    links = (E0._replace(master=9), Link(9, "br0", IFF_UP, kind="bridge"))
    assert {(101, 254, "10.0.0.1/24")} == wanted(address(2, "10.0.0.1/24"), links=links)[0]


Q7 = Link(20, "seven", IFF_UP, 1500, MAC, "vlan", parent=2, vlan=7, vlan_protocol=ETH_P_8021Q)
AD8 = Link(21, "eight", IFF_UP, 1500, MAC, "vlan", parent=2, vlan=8, vlan_protocol=ETH_P_8021AD)
AD8_Q9 = Link(22, "nine", IFF_UP, 1500, MAC, "vlan", parent=21, vlan=9, vlan_protocol=ETH_P_8021Q)
TOO_DEEP = Link(23, "ten", IFF_UP, 1500, MAC, "vlan", parent=22, vlan=10, vlan_protocol=ETH_P_8021Q)
INNER_AD = Link(24, "eleven", IFF_UP, 1500, MAC, "vlan", parent=20, vlan=11, vlan_protocol=ETH_P_8021AD)


def test_a_vlan_upon_a_pair_is_a_sub_interface_with_its_tags():
    links = (E0, Q7, AD8, AD8_Q9, TOO_DEEP, INNER_AD, Q7._replace(ifindex=30, parent=99))
    found, _ = wanted_of(topology(*links), [], PORTS)
    tags = {key.tags for key in found if isinstance(key, SubInterface) and key.parent == 101}
    seven, eight, nine = VlanTag(ETH_P_8021Q, 7), VlanTag(ETH_P_8021AD, 8), VlanTag(ETH_P_8021Q, 9)
    assert {(seven,), (eight,), (eight, nine)} == tags
    by_index = {link.ifindex: link for link in links}
    assert "3 VLAN tags: VPP's interfaces have two at most" == tag_stack(TOO_DEEP, by_index).unsupported
    assert tag_stack(INNER_AD, by_index).unsupported.startswith("an inner tag of 802.1ad")
    assert [7, 100000008, 100080009] == [sub_id(each) for each in ((seven,), (eight,), (eight, nine))]


class World:
    """A store, objects, and what makes the one follow the other."""

    def __init__(self):
        self.store = Store(NexthopGroups(), FibEntries())
        self.objects = Objects()
        self.wants = Interfaces(self.store, self.objects)
        self.wants.ports = dict(PORTS)

    def kernel(self, *rows, gone=False):
        self.store.apply(KernelBatch(changes=tuple(Change(row, gone) for row in rows)))
        self.store.topology.pairs = {2: 101, 3: 102}
        self.wants.update(self.objects, self.store.take_changed())
        stages = self.objects.changes(may_remove=True)
        return [change for stage in (*stages.before_routes, *stages.after_routes) for change in stage]


def test_what_is_on_interfaces_without_a_pair_is_left_alone():
    world = World()
    foreign = InterfaceAddress(999, TABLE_MAIN, packed("10.9.0.1"), 24)
    ours = InterfaceAddress(101, TABLE_MAIN, packed("10.8.0.1"), 24)
    world.objects.load({foreign: Held(True), ours: Held(True), AdminState(999): Held(False), Mtu(101): Held(1500)})
    changed = world.kernel(E0, E1)
    assert ours in [change.key for change in changed if change.after is None]
    assert not [change for change in changed if change.key.__class__ is not Table and _of(change.key) == 999]


def test_labelled_packets_are_taken_where_the_kernel_takes_them():
    world = World()
    changed = world.kernel(E0, E1, LabelInput(2, True), LabelInput(3, False))
    assert [TakesLabels(101)] == [change.key for change in changed if isinstance(change.key, TakesLabels)]
    world.objects.load({TakesLabels(101): Held(True), TakesLabels(999): Held(True)})
    changed = world.kernel(LabelInput(2, False))
    assert [(TakesLabels(101), True, None)] == [change[:3] for change in changed if isinstance(change.key, TakesLabels)]


def test_an_address_that_moves_is_removed_before_it_is_added():
    world = World()
    world.kernel(E0, E1, address(2, "10.0.0.1/24"))
    key = InterfaceAddress(101, TABLE_MAIN, packed("10.0.0.1"), 24)
    world.objects.load({key: Held(True)})
    world.kernel(address(2, "10.0.0.1/24"), gone=True)
    world.objects.load({key: Held(True)})
    changed = [change for change in world.kernel(address(3, "10.0.0.1/24")) if isinstance(change.key, InterfaceAddress)]
    assert [(101, None), (102, True)] == [(change.key.interface, change.after) for change in changed]


def test_the_table_of_a_vrf_is_let_go_of_after_its_routes():
    world = World()
    world.kernel(E0, E1, RED)
    table = Table(AF_INET, 77)
    world.objects.load({table: Held(OURS), Table(AF_INET, 78): Held("operator")})
    changed = world.kernel(RED, gone=True)
    assert [table] == [change.key for change in changed if change.after is None]


def test_an_interface_that_went_takes_along_what_was_set_on_it():
    world = World()
    world.kernel(E0, E1)
    world.objects.load({Mtu(101): Held(1500), Mtu(999): Held(1500)})
    world.wants.saw_ports({101: PORTS[101]})
    assert {Mtu(101)} == set(world.objects.held)


def test_what_somebody_else_set_is_set_again():
    world = World()
    world.kernel(E0, E1)
    world.objects.load({AdminState(101): Held(True)})
    world.objects.changes(may_remove=True)
    world.wants.saw_ports({101: PORTS[101]._replace(up=False)})
    (stage,) = world.objects.changes(may_remove=True).before_routes
    assert [(AdminState(101), False, True)] == [change[:3] for change in stage]


def _of(key):
    return getattr(key, "interface", getattr(key, "parent", None))
