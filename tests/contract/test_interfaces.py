"""What an interface is set to, on every data plane: written, read back as it was written, and taken away again."""

from __future__ import annotations

import ipaddress

from rtagent.core.sink import FibSink
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
)
from rtagent.vector.keys import AF_INET, AF_INET6, TABLE_MAIN
from rtagent.vector.links import ETH_P_8021AD, ETH_P_8021Q, VlanTag
from rtagent.vector.objects import ObjectChange, ObjectKey
from tests.contract.objects import run, value, write
from tests.contract.planes import FakePlane, Plane, VppPlane

E1 = 2
"""host-e1, which is up and has no address."""
INNER, OUTER = VlanTag(ETH_P_8021Q, 9), VlanTag(ETH_P_8021AD, 8)


def address(text: str, interface: int = E1, table: int = TABLE_MAIN) -> InterfaceAddress:
    parsed = ipaddress.ip_interface(text)
    return InterfaceAddress(interface, table, parsed.ip.packed, parsed.network.prefixlen)


def test_settings_and_addresses_are_read_as_they_were_written(plane: Plane) -> None:
    wanted: dict[ObjectKey, object] = {
        AdminState(E1): False,
        Mtu(E1): 1400,
        Mac(E1): bytes((2, 0, 0, 0, 0, 0x77)),
        LinkLocal(E1): ipaddress.ip_address("fe80::77").packed,
        address("192.0.2.1/24"): True,
        address("192.0.2.2/24"): True,
        address("2001:db8:9::1/64"): True,
    }

    async def scenario(sink: FibSink) -> None:
        assert [0] * len(wanted) == [await write(sink, key, after) for key, after in wanted.items()]
        held = await sink.objects()
        assert wanted == {key: held[key].value for key in wanted}
        for key in (address("2001:db8:9::1/64"), address("192.0.2.1/24")):
            assert 0 == await write(sink, key, None)
            assert None is await value(sink, key)
        assert wanted[LinkLocal(E1)] == await value(sink, LinkLocal(E1))
        assert 0 == await write(sink, LinkLocal(E1), None)
        assert None is await value(sink, LinkLocal(E1))

    run(plane, scenario)


def test_an_interface_joins_a_table_and_takes_its_addresses_along(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        for family in (AF_INET, AF_INET6):
            assert 0 == await write(sink, Table(family, 77), OURS)
            assert 0 == await write(sink, Membership(E1, family), 77)
        assert 0 == await write(sink, address("10.0.0.1/24", table=77), True)
        assert True is await value(sink, address("10.0.0.1/24", table=77))
        assert 0 == await write(sink, address("10.0.0.1/24", table=77), None)
        for family in (AF_INET, AF_INET6):
            assert OURS == await value(sink, Table(family, 77))
            assert 0 == await write(sink, Membership(E1, family), TABLE_MAIN)
            assert 0 == await write(sink, Table(family, 77), None)
            assert None is await value(sink, Table(family, 77))

    run(plane, scenario)


def test_a_sub_interface_has_its_tags_and_goes_with_what_is_set_on_it(plane: Plane) -> None:
    async def scenario(sink: FibSink) -> None:
        made = []
        for tags in ((INNER,), (OUTER,), (OUTER, INNER)):
            answer = await sink.write(ObjectChange(SubInterface(E1, tags), None, OURS))
            assert 0 == answer.retval
            made.append(answer.interface)
            held = (await sink.objects())[SubInterface(E1, tags)]
            assert (OURS, answer.interface) == (held.value, held.interface)
        assert 3 == len(set(made))
        assert 0 == await write(sink, address("192.0.2.1/24", made[2]), True)
        assert 0 == await write(sink, SubInterface(E1, (OUTER, INNER)), None)
        assert {SubInterface(E1, (INNER,)), SubInterface(E1, (OUTER,))} == {
            key for key in await sink.objects() if isinstance(key, SubInterface)
        }
        assert None is await value(sink, address("192.0.2.1/24", made[2]))
        assert 0 == await write(sink, address("192.0.2.1/24"), True)

    run(plane, scenario)


def test_what_vpp_does_not_take_is_an_answer(wire: FakePlane | VppPlane) -> None:
    async def scenario(sink: FibSink) -> None:
        assert 0 == await write(sink, address("192.0.2.1/24"), True)
        assert "Address in use" == sink.error_text(await write(sink, address("192.0.2.2/24", 1), True))
        assert "Address found for interface" == sink.error_text(await _join(sink, 77))
        assert "No such FIB / VRF" == sink.error_text(await write(sink, Membership(E1, AF_INET6), 78))
        assert "Invalid sw_if_index" == sink.error_text(await write(sink, address("192.0.3.1/24", 999), True))
        assert 0 == await write(sink, address("192.0.3.1/24", 999), None)

    run(wire, scenario)


async def _join(sink: FibSink, table: int) -> int:
    await write(sink, Table(AF_INET, table), OURS)
    return await write(sink, Membership(E1, AF_INET), table)
