"""What is punted, on every data plane: made, found again, changed, removed; and what others have put there stays."""

from __future__ import annotations

import ipaddress

from rtagent.core.punt_matches import matches
from rtagent.core.sink import FibSink
from rtagent.vector.interfaces import InterfaceAddress
from rtagent.vector.keys import AF_INET, AF_INET6, TABLE_MAIN
from rtagent.vector.objects import ObjectChange, ObjectKey
from rtagent.vector.punt import (
    OTHERS,
    Ethertype,
    Group,
    LocalAddress,
    MulticastAccept,
    MulticastLocal,
    OsiProtocol,
    PolicerLimit,
    PuntExempt,
    PuntPolicer,
    TakesInet,
)
from tests.contract.objects import run, value, write
from tests.contract.planes import FakePlane, Plane, VppPlane

E0, E1 = 1, 2
"""host-e0 with 10.0.0.1/24, and host-e1, which has no address."""


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


LINK, LINK6 = Group(packed("224.0.0.0"), 24), Group(packed("ff00::"), 8)
SITE = Group(packed("239.0.0.0"), 8)
SSM, SSM6 = (
    Group(packed("232.1.1.1"), 32, packed("192.0.2.9")),
    Group(packed("ff3e::1"), 128, packed("2001:db8::9")),
)
GROUPS = (LINK, LINK6, SITE, SSM, SSM6)
LIMIT = PolicerLimit(50_000, 625_000)
PEERS = [ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32")]


def test_what_is_punted_is_read_as_it_was_written_and_known_again(plane: Plane) -> None:
    wanted: dict[ObjectKey, object] = {
        **{MulticastLocal(TABLE_MAIN, group): True for group in GROUPS},
        **{MulticastAccept(each, TABLE_MAIN, group): True for each in (E0, E1) for group in GROUPS},
        LocalAddress(TABLE_MAIN, packed("255.255.255.255")): True,
        LocalAddress(TABLE_MAIN, packed("10.0.0.255")): True,
        LocalAddress(TABLE_MAIN, packed("2001:db8:ff::1")): True,
        TakesInet(E1): True,
        PuntPolicer(): LIMIT,
        PuntExempt(AF_INET): matches(["bgp", "ospf"], PEERS, 4),
        PuntExempt(AF_INET6): matches(["bgp", "ospf"], PEERS, 6),
    }

    async def scenario(sink: FibSink) -> None:
        assert [0] * len(wanted) == [await write(sink, key, after) for key, after in wanted.items()]
        addresses = [key for key in wanted if isinstance(key, LocalAddress)]
        nobodys = LocalAddress(TABLE_MAIN, packed("10.0.0.254"))
        assert {*addresses} == await sink.local_addresses([*addresses, nobodys])
        await sink.connect()
        async for _ in sink.read():
            pass
        held = await sink.objects()
        assert wanted == {key: held[key].value for key in wanted}
        assert [0] * len(wanted) == [await write(sink, key, None) for key in wanted]
        held = await sink.objects()
        assert {} == {key: held[key].value for key in wanted if key in held}

    run(plane, scenario)


def test_a_limit_and_its_exemptions_change_in_place(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        exempt = [matches(names, (), 4) for names in (["bgp"], ["bgp", "ospf", "bfd"], ["ospf"])]
        for limit, passing in zip((LIMIT, PolicerLimit(8_000, 9_000), LIMIT), exempt, strict=True):
            assert 0 == await write(sink, PuntPolicer(), limit)
            assert 0 == await write(sink, PuntExempt(AF_INET), passing)
            assert (limit, passing) == (await value(sink, PuntPolicer()), await value(sink, PuntExempt(AF_INET)))

    run(plane, scenario)


def test_a_port_takes_inet_without_an_address_until_it_gets_one(wire: FakePlane | VppPlane) -> None:
    address = InterfaceAddress(E1, TABLE_MAIN, packed("192.0.2.1"), 24)

    async def scenario(sink: FibSink) -> None:
        assert None is await value(sink, TakesInet(E0))
        assert 0 == await write(sink, TakesInet(E1), True)
        assert True is await value(sink, TakesInet(E1))
        assert 0 == await write(sink, TakesInet(E1), None)
        assert None is await value(sink, TakesInet(E1))
        assert 0 == await write(sink, address, True)
        assert None is await value(sink, TakesInet(E1))
        assert 0 == await write(sink, address, None)
        assert None is await value(sink, TakesInet(E1))
        assert 0 == await write(sink, TakesInet(999), None)

    run(wire, scenario)


def test_frames_go_to_the_host_unless_vpp_has_a_use_for_them(wire: FakePlane | VppPlane) -> None:
    async def scenario(sink: FibSink) -> None:
        assert 0 == await write(sink, Ethertype(0x88CC), True)
        assert True is await value(sink, Ethertype(0x88CC))
        assert "Invalid registration" == sink.error_text(await write(sink, Ethertype(0x0800), True))
        assert None is await value(sink, Ethertype(0x0800))
        assert "Feature disabled by configuration" == sink.error_text(await write(sink, OsiProtocol(0x83), True))

    run(wire, scenario)


def test_what_an_operator_has_put_there_is_told_of_and_stays(real: VppPlane) -> None:
    async def scenario(sink: FibSink) -> None:
        await real.ctl("ip mroute add 239.0.0.0/8 via host-e0 Accept")
        await real.ctl("ip mroute add 239.0.0.0/8 via host-e1 Forward")
        await real.ctl("policer add name mine type 1r2c cir 1000 cb 9999 conform-action transmit exceed-action drop")
        await real.ctl("ip punt policer 0")
        assert OTHERS == await value(sink, MulticastLocal(TABLE_MAIN, SITE))
        assert OTHERS == await value(sink, PuntPolicer())
        assert "Entry already exists" == sink.error_text(await write(sink, PuntPolicer(), LIMIT))
        assert 0 == await write(sink, PuntPolicer(), None)
        assert OTHERS == await value(sink, PuntPolicer())

        await real.ctl("classify table mask l3 ip4 proto buckets 2")
        await real.ctl("classify session acl-hit-next permit table-index 0 match l3 ip4 proto 6")
        await real.ctl("set interface input acl intfc local0 ip4-punt-table 0")
        assert OTHERS == await value(sink, PuntExempt(AF_INET))
        passing = matches(["bgp"], (), 4)
        assert "Entry already exists" == sink.error_text(await write(sink, PuntExempt(AF_INET), passing))
        assert 0 == await write(sink, PuntExempt(AF_INET), None)
        assert OTHERS == await value(sink, PuntExempt(AF_INET))
        assert "local0" not in await real.ctl("show ip mfib 239.0.0.0/8")

    run(real, scenario)


def test_a_port_that_got_an_address_meanwhile_goes_on_to_take_inet(real: VppPlane) -> None:
    address = InterfaceAddress(E1, TABLE_MAIN, packed("192.0.2.1"), 24)

    async def scenario(sink: FibSink) -> None:
        assert 0 == await write(sink, TakesInet(E1), True)
        assert 0 == await write(sink, address, True)
        removal = ObjectChange(TakesInet(E1), True, None)
        assert 0 == (await sink.write(removal)).retval
        assert "ip4-not-enabled" not in await real.ctl("show interface features host-e1")
        assert 0 == await write(sink, address, None)
        assert "ip4-not-enabled" in await real.ctl("show interface features host-e1")

    run(real, scenario)


def test_a_broadcast_address_is_local_though_the_interface_would_drop_it(real: VppPlane) -> None:
    async def scenario(sink: FibSink) -> None:
        for address in ("10.0.0.255", "255.255.255.255"):
            assert "dpo-drop" in (await real.ctl(f"show ip fib {address}/32")).splitlines()[-1]
            assert 0 == await write(sink, LocalAddress(TABLE_MAIN, packed(address)), True)
            assert "dpo-receive" in (await real.ctl(f"show ip fib {address}/32")).splitlines()[-1]
            assert 0 == await write(sink, LocalAddress(TABLE_MAIN, packed(address)), None)
            assert "dpo-drop" in (await real.ctl(f"show ip fib {address}/32")).splitlines()[-1]

    run(real, scenario)
