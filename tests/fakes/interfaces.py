"""The interfaces of the fake VPP: what it keeps of each, and what it refuses, by VPP's numbers (vnet/error.h)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

ADDRESS_IN_USE, DUPLICATE_IF_ADDRESS, NOT_FOUND, LENGTH_MISMATCH = -105, -127, -60, -59
ADDRESS_FOUND, NO_SUCH_FIB, INVALID, INVALID_SUB = -114, -3, -2, -98
IP6_NOT_ENABLED, VALUE_EXIST, UNIMPLEMENTED, EXISTS = -62, -81, -9, -56
_UP, _LINK_UP = 1, 2


@dataclass
class Interface:
    """One interface."""

    name: str
    flags: int = _LINK_UP
    mac: bytes = bytes(6)
    mtu: int = 0
    link_mtu: int = 9000
    largest: int = 9216
    """What the hardware takes at most."""
    parent: int | None = None
    sub: tuple[int, int, int, int] = (0, 0, 0, 0)
    """sub_id, flags, outer and inner VLAN."""
    tag: str = ""
    tables: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})
    addresses: list[ipaddress.IPv4Interface | ipaddress.IPv6Interface] = field(default_factory=list)
    locks: int = 0
    not_enabled: int = 1
    """How often the feature is on that drops IPv4 packets."""
    link_local: bytes = bytes(16)


class Interfaces:
    """All of them, by number."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.by_number = {
            number: Interface(name, 3 if number else 0, bytes((2, 0xFE, 0, 0, 0, number)), 9000 if number else 0)
            for name, number in ports.items()
        }

    def set_address(self, number: int, address: ipaddress.IPv4Interface | ipaddress.IPv6Interface, add: int) -> int:
        """Add or remove an address; overlaps within a table are refused."""
        if number not in self.by_number:
            return INVALID
        interface = self.by_number[number]
        is_ipv6 = int(address.version == 6)
        if not add:
            if address not in interface.addresses:
                return NOT_FOUND
            interface.addresses.remove(address)
            if is_ipv6:
                self._unlock(interface)
            elif all(each.version == 6 for each in interface.addresses):
                interface.not_enabled += 1
            return 0
        for other_number, other in self.by_number.items():
            if other.tables[is_ipv6] != interface.tables[is_ipv6]:
                continue
            for held in other.addresses:
                same_prefix = other_number == number and held.network == address.network and held.ip != address.ip
                if held.version == address.version and held.network.overlaps(address.network) and not same_prefix:
                    return DUPLICATE_IF_ADDRESS if is_ipv6 else ADDRESS_IN_USE
        if is_ipv6:
            self.enable_ip6(number, True)
        elif all(each.version == 6 for each in interface.addresses):
            interface.not_enabled = max(0, interface.not_enabled - 1)
        interface.addresses.append(address)
        return 0

    def enable_ip6(self, number: int, enable: bool) -> int:
        """Count who wants IPv6 on an interface."""
        interface = self.by_number[number]
        if enable:
            interface.locks += 1
            if interface.locks > 1:
                return VALUE_EXIST
            if not any(interface.link_local):
                interface.link_local = ipaddress.ip_address("fe80::ff:fe00:1").packed
            return 0
        if not interface.locks:
            return IP6_NOT_ENABLED
        self._unlock(interface)
        return 0

    def set_link_local(self, number: int, address: bytes) -> int:
        """Set the address, which turns IPv6 on."""
        interface = self.by_number[number]
        interface.link_local = address
        if not interface.locks:
            interface.locks = 1
        return 0

    def set_table(self, number: int, is_ipv6: bool, table: int, known: bool) -> int:
        """Have an interface join a table."""
        interface = self.by_number[number]
        if not known:
            return NO_SUCH_FIB
        if any(address.version == (6 if is_ipv6 else 4) for address in interface.addresses):
            return ADDRESS_FOUND
        interface.tables[int(is_ipv6)] = table
        return 0

    def create_sub(self, parent: int, sub: tuple[int, int, int, int]) -> tuple[int, int]:
        """Return retval and number."""
        if parent not in self.by_number:
            return INVALID, 0
        if any(each.parent == parent and each.sub[0] == sub[0] for each in self.by_number.values()):
            return EXISTS, 0
        number = next(free for free in range(1, 1 << 16) if free not in self.by_number)
        self.by_number[number] = Interface(f"{self.by_number[parent].name}.{sub[0]}", parent=parent, sub=sub)
        return 0, number

    def delete_sub(self, number: int) -> int:
        """Remove a sub-interface, with what is set on it."""
        if number not in self.by_number:
            return INVALID
        if self.by_number[number].parent is None:
            return INVALID_SUB
        del self.by_number[number]
        return 0

    def _unlock(self, interface: Interface) -> None:
        interface.locks -= 1
        if interface.locks <= 0:
            interface.locks, interface.link_local = 0, bytes(16)
