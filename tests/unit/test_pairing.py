"""Which pairs the data plane is to have, whose they are, and when they go."""

from rtagent.core.objects import Objects
from rtagent.core.pairing import Pairing
from rtagent.core.store import Store
from rtagent.vector.fib import FibEntries
from rtagent.vector.interfaces import OURS, PairKey
from rtagent.vector.links import ETH_P_8021Q, IFF_UP, Link, Tun, VlanTag
from rtagent.vector.nexthops import NexthopGroups
from rtagent.vector.objects import ObjectAnswer, ObjectChange
from rtagent.vector.ports import HostLink, Port, PortKind

TAP, TUN, PLAIN = Tun(True, True, True), Tun(False, True, True), Tun(True, False, False)
PORTS = {
    "port0": Port("port0", 1, mac=b"\2\0\0\0\0\1"),
    "ipip0": Port("ipip0", 2, kind=PortKind.TUNNEL),
    "port0.7": Port("port0.7", 3, parent=1, tags=(VlanTag(ETH_P_8021Q, 7),), kind=PortKind.SUB),
}
E0, IPIP0 = Link(7, "e0", IFF_UP, tun=TAP), Link(8, "ipip0", IFF_UP, tun=TUN)
VLAN = Link(9, "customer", IFF_UP, kind="vlan", parent=7, vlan=7, vlan_protocol=ETH_P_8021Q, altnames=("rtv.9",))


class Site:
    def __init__(self, *links, pairs, tapped=("port0", "ipip0"), ports=PORTS):
        self.store = Store(NexthopGroups(), FibEntries())
        self.store.topology.links = {link.ifindex: link for link in links}
        self.store.topology.pairs = pairs
        self.objects = Objects()
        self.pairing = Pairing(self.store, self.objects, "dataplane")
        self.pairing.tapped = frozenset(tapped)
        self.see(ports)

    def see(self, ports):
        self.pairing.ports = ports
        self.pairing.saw_ports(ports)

    def changes(self):
        self.pairing.update(self.objects, None)
        changes = self.objects.changes(may_remove=True)
        made = [change for stage in changes.before_routes for change in stage]
        for change in made:
            self.objects.record(change, ObjectAnswer(0), "")
        return [(change.key, change.after) for change in made]


def host(ifindex, name, *, is_tun=False, owner=OURS, netns="dataplane", interface=0xFFFFFFFF):
    return HostLink(ifindex, name, netns, is_tun, owner, interface)


def test_taps_are_paired_first_and_what_stands_on_them_after_them():
    site = Site(E0, IPIP0, VLAN, pairs={7: 1, 8: 2, 9: 3})
    first, second, third = site.changes()
    assert {(PairKey(1), host(7, "e0")), (PairKey(2), host(8, "ipip0", is_tun=True))} == {first, second}
    assert (PairKey(3, 1), host(9, "rtv.9")) == third
    assert [] == site.changes()


def test_what_the_data_plane_then_tells_of_its_pairs_changes_nothing():
    site = Site(E0, VLAN, pairs={7: 1, 9: 3})
    site.changes()
    told = {"port0": host(7, "e0", interface=50), "port0.7": host(9, "rtv.9", interface=51)}
    site.see({name: port._replace(link=told.get(name)) for name, port in PORTS.items()})
    assert [] == site.changes()


def test_a_link_that_no_data_plane_takes_over_is_not_paired():
    assert [] == Site(E0._replace(tun=None, kind="veth"), pairs={7: 1}).changes()
    assert [] == Site(E0._replace(tun=PLAIN), pairs={7: 1}).changes()
    assert [] == Site(E0, pairs={7: 1}, tapped=()).changes()


def test_a_vlan_waits_for_its_name_and_for_the_pair_below():
    assert [] == Site(VLAN, pairs={9: 3}).changes()
    site = Site(E0, VLAN._replace(altnames=()), pairs={7: 1, 9: 3})
    assert [(PairKey(1), host(7, "e0"))] == site.changes()


def test_a_pair_of_others_serves_as_well_is_left_alone_and_vlans_upon_it_are_paired():
    ports = {**PORTS, "port0": PORTS["port0"]._replace(link=host(7, "e0", owner="", netns=""))}
    site = Site(E0, VLAN, pairs={7: 1, 9: 3}, tapped=(), ports=ports)
    assert [(PairKey(3, 1), host(9, "rtv.9"))] == site.changes()
    site.store.topology.pairs = {}
    assert [(PairKey(3, 1), None)] == site.changes()


def test_pairs_of_ours_go_when_they_are_no_longer_chosen_from_the_top():
    site = Site(E0, VLAN, pairs={7: 1, 9: 3})
    site.changes()
    site.pairing.tapped = frozenset()
    assert [(PairKey(3, 1), None), (PairKey(1), None)] == site.changes()


def test_a_pair_of_ours_whose_link_is_another_one_now_is_made_anew():
    site = Site(E0, pairs={7: 1})
    site.changes()
    site.store.topology.links, site.store.topology.pairs = {17: E0._replace(ifindex=17)}, {17: 1}
    site.pairing.update(site.objects, None)
    (change,) = site.objects.changes(may_remove=True).before_routes[0]
    assert ObjectChange(PairKey(1), host(7, "e0"), host(17, "e0")) == change


def test_a_pair_that_went_with_its_interface_is_forgotten():
    site = Site(E0, pairs={7: 1})
    site.changes()
    site.store.topology.links, site.store.topology.pairs = {}, {}
    site.see({})
    assert ([], {}) == (site.changes(), site.objects.held)


def test_a_pair_on_a_sub_interface_of_ours_goes_before_it_even_while_it_bears_no_mark():
    site = Site(E0, VLAN, pairs={7: 1, 9: 3})
    site.changes()
    told = {"port0": host(7, "e0", interface=50), "port0.7": host(9, "rtv.9", owner="", interface=51)}
    owned = {**PORTS, "port0.7": PORTS["port0.7"]._replace(owner=OURS)}
    site.see({name: port._replace(link=told.get(name)) for name, port in owned.items()})
    assert [] == site.changes()
    site.store.topology.links, site.store.topology.pairs = {7: E0}, {7: 1}
    assert [(PairKey(3, 1), None)] == site.changes()
