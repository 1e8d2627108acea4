"""What BIRD says, byte by byte and line by line; the words are those that its releases were heard to say."""

from __future__ import annotations

import pytest

from rtagent.wire.birdc import commands
from rtagent.wire.birdc.protocols import BgpSession, Channel, Protocol, RouteLimit, established, parse_protocols
from rtagent.wire.birdc.refusals import ConfigurationRefused, raise_refusal
from rtagent.wire.birdc.replies import (
    BfdSession,
    ConfigureStatus,
    Configuring,
    Interface,
    InterfaceAddress,
    parse_bfd_sessions,
    parse_configure_status,
    parse_configured,
    parse_interfaces,
    parse_status,
)
from rtagent.wire.birdc.routes import NextHop, Route, RouteParser
from rtagent.wire.birdc.session import BirdSession, Line, Received
from rtagent.wire.errors import MalformedMessage

GREETING = b"0001 BIRD 2.0.12 ready.\n"


def asked(command: str = "show x") -> BirdSession:
    """Return a session that waits for an answer."""
    session = BirdSession()
    session.receive(GREETING)
    session.send(command)
    return session


def lines(text: str) -> list[Line]:
    """Return the lines of an answer."""
    received = asked().receive(text.encode())
    assert received.ended
    return received.lines


def routes(text: str) -> list[Route]:
    """Return the routes of an answer."""
    parser = RouteParser()
    return [*parser.take(lines(text)[:-1]), *parser.end()]


def test_an_answer_comes_with_the_code_of_each_line() -> None:
    said = b"1002-device1 up\n bfd1 up\n1006-  x\n \n0000 \n"
    expected = [(1002, "device1 up"), (1002, "bfd1 up"), (1006, "  x"), (1006, ""), (0, "")]
    assert Received(expected, True) == asked().receive(said)


def test_bytes_may_come_one_by_one() -> None:
    session = asked()
    received = [session.receive(bytes([byte])) for byte in b"1002-a\n b\n+c\n0000 d\n"]
    assert [(1002, "a"), (1002, "b"), (0, "d")] == [line for each in received for line in each.lines]
    assert ("c",) == sum((each.notices for each in received), ())
    assert [True] == [each.ended for each in received if each.ended]


def test_what_is_said_unasked_is_kept_apart() -> None:
    session = asked()
    assert Received([], False, ("Config timeout expired, starting undo",)) == session.receive(
        b"+Config timeout expired, starting undo\n"
    )
    assert Received([(0, "")], True, ("again",)) == session.receive(b"0000 \n+again\n")
    assert Received([], False, ("and again",)) == session.receive(b"+and again\n")
    assert session.idle


def test_bytes_that_are_no_utf8_come_back_as_they_were() -> None:
    (code, text), _ = asked().receive(b"1006-\xff\n0000 \n").lines
    assert (1006, b"\xff") == (code, text.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (b"hello\n", "not a line of an answer"),
        (b"12 \n", "not a line of an answer"),
        (b"0000+\n", "not a line of an answer"),
        ("\u0660\u0660\u0660\u0660 x\n".encode(), "not a line of an answer"),
        (b" goes on\n", "not a line of an answer"),
        (b"0000 \n0000 \n", "goes on after its end"),
        (b"1002-" + b"x" * 20_000, "more than 16384 bytes"),
    ],
)
def test_what_bird_would_not_say_is_malformed(said: bytes, complaint: str) -> None:
    with pytest.raises(MalformedMessage, match=complaint):
        asked().receive(said)


def test_somebody_else_s_greeting_is_malformed() -> None:
    with pytest.raises(MalformedMessage, match="not a greeting"):
        BirdSession().receive(b"0000 \n")


def test_an_answer_to_no_command_is_malformed() -> None:
    session = BirdSession()
    session.receive(GREETING)
    with pytest.raises(MalformedMessage, match="answer to no command"):
        session.receive(b"0000 \n")


@pytest.mark.parametrize("command", ["", " ", "show\nstatus", "show\rstatus", "show \0", "x" * 4096])
def test_what_is_no_command_is_not_sent(command: str) -> None:
    session = BirdSession()
    session.receive(GREETING)
    with pytest.raises(ValueError, match=r"not one line|4095 bytes"):
        session.send(command)
    assert b"show status\n" == session.send("show status")


@pytest.mark.parametrize("name", ["a b", "a'; configure", "a\nb", "é"])
def test_a_name_cannot_become_another_command(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        commands.show_routes(protocol=name)


@pytest.mark.parametrize("path", ['/a"b', "/a\nb"])
def test_a_path_cannot_become_another_command(path: str) -> None:
    with pytest.raises(ValueError, match="cannot read this"):
        commands.text(path)


def test_a_command_for_routes_says_all_that_was_asked() -> None:
    asked_for = commands.show_routes(
        covering="192.0.2.1", table="t4", protocol="up-1", export_to="up.2", filtered=True, best_only=True,
        attributes=True, where="bgp_med = 1",
    )  # fmt: skip
    assert (
        "show route for 192.0.2.1 table 't4' filtered primary all export 'up.2' protocol 'up-1' where bgp_med = 1"
        == asked_for
    )
    assert "show route 192.0.2.0/24 table all" == commands.show_routes(prefix="192.0.2.0/24", table="all")


STATUS = """1000-BIRD 3.3.2
1011-Router ID is 192.0.2.1
 Hostname is a host
 Current server time is 2026-11-25 00:48:27.661
 Last reboot on 2026-11-25 00:48:22.068
 Last reconfiguration on 2026-11-25 00:48:22.068
0024-Graceful restart recovery in progress
   Waiting for 2 channels to recover
   Wait timer is 2.000/30
0013 Daemon is up and running
"""


def test_a_status_tells_of_a_restart_that_goes_on() -> None:
    status = parse_status(lines(STATUS))
    assert ("3.3.2", "a host", True) == (status.version, status.hostname, status.recovering)
    assert "2026-11-25 00:48:22.068" == status.last_reboot


INTERFACES = """1001-eth0.5 down (index=7 master=vrf1)
1004-\tPtP Multicast AdminDown LinkDown MTU=1280
1003-\t10.9.0.1/32 (Preferred, opposite 10.9.0.2, scope site)
 \t2001:db8::1/64 (scope univ)
1001-lo up (index=1)
1004-\tMultiAccess AdminUp LinkUp Loopback Ignored MTU=65536
0000\x20
"""


def test_interfaces_have_addresses_and_masters() -> None:
    addresses = (
        InterfaceAddress("10.9.0.1/32", "site", "10.9.0.2", True),
        InterfaceAddress("2001:db8::1/64", "univ", "", False),
    )
    assert [
        Interface("eth0.5", False, 7, "vrf1", ("PtP", "Multicast", "AdminDown", "LinkDown"), 1280, addresses),
        Interface("lo", True, 1, "", ("MultiAccess", "AdminUp", "LinkUp", "Loopback", "Ignored"), 65536, ()),
    ] == parse_interfaces(lines(INTERFACES))


BFD = """1020-bfd1:
 IP address                Interface  State      Since         Interval  Timeout
 fe80::2                   eth0       Up         2026-11-25 00:48:22.804    0.100    0.500
 198.51.100.9              ---        Down       00:48:22.804    1.000    0.000
1020-
 bfd2: is not up
0000\x20
"""


def test_bfd_sessions_of_several_protocols_and_with_long_times() -> None:
    assert [
        BfdSession("bfd1", "fe80::2", "eth0", "Up", "2026-11-25 00:48:22.804", 0.1, 0.5),
        BfdSession("bfd1", "198.51.100.9", "", "Down", "00:48:22.804", 1.0, 0.0),
    ] == parse_bfd_sessions(lines(BFD))


PROTOCOLS = """2002-Name       Proto      Table      State  Since         Info
1002-m_17       BGP        ---        start  2026-11-25 00:48:22  Active        Socket: Connection refused
1006-  Description:        node: seventeen
   Message:            Import limit exceeded
   Created:            00:48:59.366
   VRF:                blue
   BGP state:          Active
     Neighbor address: fe80::2%eth0
     Neighbor AS:      4200000001
     Local AS:         65000
     Local capabilities
       Multiprotocol
         AF announced: ipv4
     Last error:       Received: Bad peer AS
   Channel ipv4
     State:          DOWN
     Import state:   DOWN
     Table:          master4
     Preference:     100
     Input filter:   (unnamed)
     Output filter:  REJECT
     Receive limit:  300
       Action:       disable
     Import limit:   100 [HIT]
       Action:       block
     Routes:         1 imported, 2 filtered, 3 exported, 0 preferred
     Route change stats:     received   rejected   filtered    ignored   RX limit      limit   accepted
       Import updates:              2          0          1          0          0          0          1
     BGP Next hop:   2001:db8::1 fe80::1
   Channel ipv6-mc
     State:          DOWN
\x20
1002-k          Kernel     master4    up     00:48:59.366 \x20
0000\x20
"""


def test_a_protocol_tells_what_it_is_and_of_each_channel() -> None:
    ipv4 = Channel(
        "ipv4",
        "DOWN",
        "master4",
        100,
        "(unnamed)",
        "REJECT",
        imported=1,
        filtered=2,
        exported=3,
        preferred=0,
        receive_limit=RouteLimit(300, False, "disable"),
        import_limit=RouteLimit(100, True, "block"),
        next_hop=("2001:db8::1", "fe80::1"),
    )
    assert [
        Protocol(
            "m_17",
            "BGP",
            "",
            "start",
            "2026-11-25 00:48:22",
            "Active        Socket: Connection refused",
            "node: seventeen",
            "Import limit exceeded",
            "blue",
            (ipv4, Channel("ipv6-mc", "DOWN")),
            BgpSession("Active", "fe80::2%eth0", 4200000001, 65000, last_error="Received: Bad peer AS"),
        ),
        Protocol("k", "Kernel", "master4", "up", "00:48:59.366", ""),
    ] == parse_protocols(lines(PROTOCOLS))


ROUTES_2 = """1007-Table master4:
 192.0.2.0/24         unicast [m_1 2026-11-25 00:48:26.157 from 10.0.0.9] * (100/10) [AS65001i]
 \tvia 10.0.0.2 on eth0 mpls 100/200 onlink weight 3
 \tdev eth1 weight 1
1008-\tType: BGP univ
1012-\tBGP.origin: IGP
 \tBGP.as_path: 65001 65002
 \tBGP.community: (1,2) (3,4)
 \t\t(5,6)
 \tKernel.metric: 32
 \tcustom: 7
1007-                     unreachable [s 00:48:22.068] (200)
1008-\tType: static univ
1007-
 Table vpn:
 65000:1 10.0.0.0/8   blackhole [l3vpn1 00:48:22.068] ! (120)
 flow4 { dst 10.0.0.0/8; proto 6; } unicast [b 00:00:00.000] * (100) [i]
0000\x20
"""


def test_the_sessions_that_stand_are_told_without_taking_all_rows_apart() -> None:
    rows = [
        "a          BGP        ---        up     10:00:00.000  Established   ",
        "b          BGP        ---        up     2026-11-25 00:48:22  Established   ",
        "c          BGP        ---        start  2026-11-25 00:48:22  Active        Socket: nothing is Established",
        "d          Kernel     master4    up     10:00:00.000  ",
    ]
    answer = [(1002, row) for row in rows]
    assert {"a", "b"} == established(answer)
    assert {"a", "b"} == {row.name for row in parse_protocols(answer) if row.info == "Established"}


def test_routes_of_2_have_the_attribute_names_of_filters() -> None:
    attributes = {
        "bgp_origin": "IGP",
        "bgp_path": "65001 65002",
        "bgp_community": "(1,2) (3,4) (5,6)",
        "krt_metric": "32",
        "custom": "7",
    }
    hops = (NextHop("10.0.0.2", "eth0", 3, (100, 200), True), NextHop("", "eth1"))
    since = "2026-11-25 00:48:26.157"
    first, second, vpn, flow = routes(ROUTES_2)
    assert first == Route(
        "master4", "192.0.2.0/24", "unicast", "m_1", since, "10.0.0.9", True, False, "(100/10) [AS65001i]", hops, "BGP",
        attributes,
    )  # fmt: skip
    assert ("192.0.2.0/24", "unreachable", False, 200, "static", ()) == (
        second.prefix,
        second.kind,
        second.best,
        second.preference,
        second.source,
        second.next_hops,
    )
    assert ("vpn", "65000:1 10.0.0.0/8", True, True) == (vpn.table, vpn.prefix, vpn.best, vpn.unsynced)
    assert ("flow4 { dst 10.0.0.0/8; proto 6; }", "b") == (flow.prefix, flow.protocol)


ROUTES_3 = """1007-Table master4:
 192.0.2.0/24         unicast [m_1 00:49:04.360] * (100) [i]
 \tvia 10.0.0.2 on eth0
1012-\tpreference: 100
 \tfrom: 10.0.0.2
 \tsource: BGP
 \tbgp_path:\x20
 \thostentry: via 10.0.0.2 table master4
1008-\tInternal route handling values: 2L 10G 0S id 10
1007-198.51.100.0/24 mpls 3 recursive [m_1 00:49:04.360] (100)
 \tvia 10.0.0.9
0000\x20
"""


def test_routes_of_3_are_told_alike() -> None:
    first, second = routes(ROUTES_3)
    assert ("BGP", (NextHop("10.0.0.2", "eth0"),)) == (first.source, first.next_hops)
    assert {
        "preference": "100",
        "from": "10.0.0.2",
        "bgp_path": "",
        "hostentry": "via 10.0.0.2 table master4",
    } == first.attributes
    assert ("198.51.100.0/24 mpls 3", "recursive", (NextHop("10.0.0.9", ""),)) == (
        second.prefix,
        second.kind,
        second.next_hops,
    )


def test_a_line_too_long_for_bird_costs_what_it_said_and_no_more() -> None:
    before, after = routes(
        "1007-Table master4:\n 192.0.2.0/24         unicast [m 00:00:00.000] * (100) [i]\n \tvia 10.0.0.2 on eth0\n"
        "1012-\tBGP.origin: IGP\n8000-<line overflow>\n1012-\tBGP.med: 5\n"
        "1007-192.0.3.0/24         blackhole [s 00:00:00.000] * (200)\n0000 \n"
    )
    assert {"bgp_origin": "IGP"} == before.attributes
    assert "192.0.3.0/24" == after.prefix


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("0002-Reading configuration from /b\n0003 Reconfigured\n", Configuring.DONE),
        ("0002-Reading configuration from /b\n0022-Undo scheduled in 9 s\n0004 x\n", Configuring.IN_PROGRESS),
        ("0002-Reading configuration from /b\n0005 queueing new config\n", Configuring.QUEUED),
        ("0018 Reconfiguration confirmed\n", Configuring.CONFIRMED),
        ("0021-Undo requested\n0019 Nothing to do\n", Configuring.NOTHING_TO_DO),
        ("0006 shutting down\n", Configuring.SHUTTING_DOWN),
        ("0017 removing queued config\n", Configuring.UNQUEUED),
    ],
)
def test_each_end_of_a_configure_has_its_word(said: str, expected: Configuring) -> None:
    assert expected == parse_configured(lines(said))


def test_a_configuration_in_progress_may_be_going_to_be_undone() -> None:
    said = "0004-Reconfiguration in progress\n0022-Configuration unconfirmed, undo in 19.998 s\n0000 \n"
    assert ConfigureStatus(Configuring.IN_PROGRESS, 19.998) == parse_configure_status(lines(said))
    assert ConfigureStatus(Configuring.DONE, None) == parse_configure_status(lines("0003-up\n0000 \n"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (
            "/etc/bird.conf:7:12 syntax error, unexpected :, x",
            ("/etc/bird.conf", 7, 12, "syntax error, unexpected :, x"),
        ),
        ("/nix: No such file or directory", ("/nix", 0, 0, "No such file or directory")),
        ("strange", ("", 0, 0, "strange")),
    ],
)
def test_a_refused_configuration_names_file_line_and_column(text: str, place: tuple[str, int, int, str]) -> None:
    with pytest.raises(ConfigurationRefused) as caught:
        raise_refusal("configure", (8002, text))
    error = caught.value
    assert place == (error.file, error.line, error.column, error.message)
