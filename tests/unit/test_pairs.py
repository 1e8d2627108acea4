from rtagent.agent.pairs import Pair, join, memory_ports
from rtagent.vector.links import ETH_P_8021Q, IFF_LOOPBACK, IFF_UP, Link, Tun, VlanTag
from rtagent.vector.ports import HostLink, Port

LO, E0, E1 = Link(1, "lo", IFF_UP | IFF_LOOPBACK), Link(2, "e0", IFF_UP), Link(3, "e1", 0)


def test_every_link_but_the_loopback_is_a_port_of_the_memory_fib():
    assert memory_ports([LO, E0, E1], {}) == {"e0": Port("e0", 2, up=True), "e1": Port("e1", 3, up=False)}


def test_only_configured_links_are_ports_where_any_are_configured():
    assert memory_ports([LO, E0, E1], {"e1": "wan", "e9": "lan"}) == {"wan": Port("wan", 3, up=False)}


PORTS = {"port0": Port("port0", 101), "port1": Port("port1", 102, up=False)}


def links(*rows):
    return {row.ifindex: row for row in rows}


def test_a_pair_joins_a_link_and_an_interface_by_name():
    configured = {"e0": "port0", "e1": "port1", "e9": "port0", "lo": "port9"}
    joined = join(links(LO, E0, E1), PORTS, configured)
    assert joined.interfaces == {2: 101, 3: 102}
    assert joined.rows == [
        Pair("e0", "port0", "up"),
        Pair("e1", "port1", "down"),
        Pair("e9", "port0", "no link e9 in the kernel"),
        Pair("lo", "port9", "no interface port9 in the data plane"),
    ]


def test_an_interface_that_is_down_under_a_link_that_is_up_is_told():
    assert [Pair("e0", "port1", "port1 is down")] == join(links(E0), PORTS, {"e0": "port1"}).rows


def test_an_interface_is_of_a_pair_even_without_a_link():
    joined = join({}, PORTS, {"e9": "port0"})
    assert ({}, {101: PORTS["port0"]}) == (joined.interfaces, joined.ports)


def test_a_link_keeps_its_pair_when_it_is_renamed():
    before = join(links(E0), PORTS, {"e0": "port0"})
    joined = join(links(E0._replace(name="wan0")), PORTS, {"e0": "port0"}, before.links)
    assert {2: 101} == joined.interfaces
    assert "e0 is called wan0 now: write that name into its [[pairs]] before the next start" == joined.rows[0].state
    swapped = join(links(E0._replace(name="wan0"), E1._replace(name="e0")), PORTS, {"e0": "port0"}, before.links)
    assert {3: 101} == swapped.interfaces


def test_a_vlan_upon_a_pair_is_a_pair_by_itself_whatever_its_name():
    tags = (VlanTag(ETH_P_8021Q, 7),)
    vlan = Link(9, "customer", IFF_UP, kind="vlan", parent=2, vlan=7, vlan_protocol=ETH_P_8021Q)
    ports = PORTS | {"port0.1234": Port("port0.1234", 103, parent=101, tags=tags)}
    without = join(links(E0, vlan), PORTS, {"e0": "port0"}, vlans=True)
    assert Pair("customer", "port0.7", "no interface port0.7 in the data plane") == without.rows[1]
    joined = join(links(E0, vlan), ports, {"e0": "port0"}, vlans=True)
    assert ({2: 101, 9: 103}, {101, 103}) == (joined.interfaces, set(joined.ports))
    assert Pair("customer", "port0.1234", "up") == joined.rows[1]
    assert {2: 101} == join(links(E0, vlan), ports, {"e0": "port0"}).interfaces


TAP = Tun(True, True, True)


def test_a_pair_that_the_data_plane_has_joins_whatever_its_link_is_called_and_whether_configured_or_not():
    ports = PORTS | {"port0": PORTS["port0"]._replace(link=HostLink(2, "tap7"))}
    tap = E0._replace(name="wan0", tun=TAP)
    joined = join(links(tap), ports, {})
    assert ({2: 101}, [Pair("wan0", "port0", "up")]) == (joined.interfaces, joined.rows)
    assert [Pair("wan0", "port0", "up")] == join(links(tap), ports, {"e0": "port0"}).rows
    assert {} == join(links(tap), ports, {}, netns="elsewhere").interfaces
    named = PORTS | {"port0": PORTS["port0"]._replace(link=HostLink(2, "tap7", "/run/netns/elsewhere"))}
    assert {2: 101} == join(links(tap), named, {}, netns="elsewhere").interfaces


def test_a_link_that_was_made_for_an_interface_joins_it_whatever_it_is_called():
    tap = E0._replace(name="wan0", tun=TAP, altnames=("rtagent.port0",))
    joined = join(links(tap), PORTS, {"e0": "port0"}, tapped={"port0"})
    assert ({2: 101}, [Pair("wan0", "port0", "up")]) == (joined.interfaces, joined.rows)
    assert "no link e0 in the kernel" == join(links(tap), PORTS, {"e0": "port0"}).rows[0].state


def test_an_interface_whose_link_is_still_to_be_made_is_left_as_it_is():
    joined = join({}, PORTS, {"e0": "port0"}, tapped={"port0"})
    assert ({}, [Pair("e0", "port0", "no link e0 in the kernel")]) == (joined.ports, joined.rows)
    refused = join({}, PORTS, {"e0": "port0"}, tapped={"port0"}, refused={"e0": "no such device"})
    assert [Pair("e0", "port0", "link e0 cannot be made: no such device")] == refused.rows


def test_a_link_of_the_right_name_is_not_taken_from_the_interface_that_has_it():
    ports = PORTS | {"port1": PORTS["port1"]._replace(link=HostLink(2, "e0"))}
    joined = join(links(E0._replace(tun=TAP)), ports, {"e0": "port0"})
    assert {2: 102} == joined.interfaces
    assert Pair("e0", "port0", "no link e0 in the kernel") in joined.rows
