from rtagent.agent.pairs import Pair, join, memory_ports
from rtagent.vector.fib import Port
from rtagent.vector.links import IFF_LOOPBACK, IFF_UP, Link

LO, E0, E1 = Link(1, "lo", IFF_UP | IFF_LOOPBACK), Link(2, "e0", IFF_UP), Link(3, "e1", 0)


def test_every_link_but_the_loopback_is_a_port_of_the_memory_fib():
    assert memory_ports([LO, E0, E1], {}) == {"e0": Port("e0", 2, up=True), "e1": Port("e1", 3, up=False)}


def test_only_configured_links_are_ports_where_any_are_configured():
    assert memory_ports([LO, E0, E1], {"e1": "wan", "e9": "lan"}) == {"wan": Port("wan", 3, up=False)}


def test_a_pair_joins_a_link_and_an_interface_by_name():
    ports = {"port0": Port("port0", 101), "port1": Port("port1", 102, up=False)}
    configured = {"e0": "port0", "e1": "port1", "e9": "port0", "lo": "port9"}
    joined, rows = join([LO, E0, E1], ports, configured)
    assert joined == {2: 101, 3: 102}
    assert rows == [
        Pair("e0", "port0", "up"),
        Pair("e1", "port1", "port1 is down"),
        Pair("e9", "port0", "no link e9 in the kernel"),
        Pair("lo", "port9", "no interface port9 in the data plane"),
    ]
