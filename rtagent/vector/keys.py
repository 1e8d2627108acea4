"""Keys: what a route is looked up by, in one fixed-width form for every family.

A key is a table, a family and a prefix (or an MPLS label). The 128 address bits are left-aligned, network order
turned into numbers, so that masks, sorting and longest match are one piece of code for IPv4, IPv6 and labels:

* ``hi``, ``lo``: the upper and lower 64 bits; an IPv4 address fills the upper 32 bits of ``hi``, a label the upper 20;
* ``meta``: ``table << 16 | family << 8 | length``.

Sorting by (meta, hi, lo) groups tables and families. Nothing here knows where keys come from.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

AF_INET = 2
AF_INET6 = 10
AF_MPLS = 28
"""Address families, as in the kernel's linux/socket.h."""

FAMILY_NAMES = {AF_INET: "inet", AF_INET6: "inet6", AF_MPLS: "mpls"}
FAMILY_NUMBERS = {name: number for number, name in FAMILY_NAMES.items()}
ADDRESS_BITS = {AF_INET: 32, AF_INET6: 128, AF_MPLS: 20}

TABLE_MAIN = 254
TABLE_LOCAL = 255
"""linux/rtnetlink.h, RT_TABLE_MAIN and RT_TABLE_LOCAL."""

U64: TypeAlias = NDArray[np.uint64]
Selection: TypeAlias = NDArray[np.integer[Any]] | NDArray[np.bool_]
"""Rows of a column: indices or a mask."""


@dataclass(frozen=True, slots=True)
class Keys:
    """A column of keys: three uint64 arrays of one length."""

    hi: U64
    lo: U64
    meta: U64

    def __len__(self) -> int:
        return len(self.meta)

    def take(self, rows: Selection) -> Keys:
        """Return the keys at ``rows`` (indices or a mask)."""
        return Keys(self.hi[rows], self.lo[rows], self.meta[rows])

    @property
    def table(self) -> U64:
        """The kernel's table numbers."""
        return self.meta >> np.uint64(16)

    @property
    def family(self) -> U64:
        """AF_INET, AF_INET6 or AF_MPLS."""
        return (self.meta >> np.uint64(8)) & np.uint64(0xFF)

    @property
    def length(self) -> U64:
        """Prefix lengths; 20 for labels."""
        return self.meta & np.uint64(0xFF)

    def order(self) -> NDArray[np.intp]:
        """Return the row order that sorts by table, family, address, then length."""
        return np.lexsort((self.length, self.lo, self.hi, self.meta >> np.uint64(8)))

    def row(self, index: int) -> Key:
        """Return one row as a scalar key."""
        meta = int(self.meta[index])
        return Key(meta >> 16, (meta >> 8) & 0xFF, int(self.hi[index]) << 64 | int(self.lo[index]), meta & 0xFF)

    def __iter__(self) -> Iterator[Key]:
        for hi, lo, meta in zip(self.hi.tolist(), self.lo.tolist(), self.meta.tolist(), strict=True):
            yield Key(meta >> 16, (meta >> 8) & 0xFF, hi << 64 | lo, meta & 0xFF)

    @classmethod
    def of(cls, keys: Iterable[Key]) -> Keys:
        """Return the column of the given scalar keys."""
        rows = list(keys)
        return cls(
            np.array([key.bits >> 64 for key in rows], np.uint64),
            np.array([key.bits & 0xFFFFFFFFFFFFFFFF for key in rows], np.uint64),
            np.array([key.table << 16 | key.family << 8 | key.length for key in rows], np.uint64),
        )

    @classmethod
    def concat(cls, parts: list[Keys]) -> Keys:
        """Return the parts one after the other."""
        if not parts:
            return EMPTY_KEYS
        return cls(
            np.concatenate([part.hi for part in parts]),
            np.concatenate([part.lo for part in parts]),
            np.concatenate([part.meta for part in parts]),
        )


EMPTY_KEYS = Keys(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.uint64))


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One key: ``bits`` are the 128 left-aligned address (or label) bits."""

    table: int
    family: int
    bits: int
    length: int

    @property
    def text(self) -> str:
        """The prefix as ``192.0.2.0/24`` or ``2001:db8::/32``; a label as its number."""
        if self.family == AF_INET:
            return f"{ipaddress.IPv4Address(self.bits >> 96)}/{self.length}"
        if self.family == AF_INET6:
            return f"{ipaddress.IPv6Address(self.bits)}/{self.length}"
        return str(self.bits >> 108)

    @classmethod
    def parse(cls, text: str, table: int = TABLE_MAIN) -> Key:
        """Return the key of a prefix, an address (a host prefix) or a label.

        Raises ValueError, with a sentence for the person who typed it.
        """
        if text.isascii() and text.isdigit():
            label = int(text)
            if label > 0xFFFFF:
                raise ValueError(f"{text}: an MPLS label is at most 1048575")
            return cls(0, AF_MPLS, label << 108, 20)
        if text == "default":
            return cls(table, AF_INET, 0, 0)
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text}: neither an address, a prefix, nor an MPLS label") from None
        if isinstance(network, ipaddress.IPv4Network):
            return cls(table, AF_INET, int(network.network_address) << 96, network.prefixlen)
        return cls(table, AF_INET6, int(network.network_address), network.prefixlen)

    def covers(self, other: Key) -> bool:
        """Whether ``other`` lies within this prefix, in the same table and family."""
        if (self.table, self.family) != (other.table, other.family) or self.length > other.length:
            return False
        return (self.bits ^ other.bits) >> (128 - self.length) == 0

    def covered(self, keys: Keys) -> NDArray[np.bool_]:
        """Return which keys of a column this one covers (see ``covers``)."""
        mask = (1 << 128) - (1 << 128 - self.length)
        hi, lo = np.uint64(mask >> 64), np.uint64(mask & 0xFFFFFFFFFFFFFFFF)
        found: NDArray[np.bool_] = (keys.hi & hi) == self.bits >> 64
        found &= (keys.lo & lo) == self.bits & 0xFFFFFFFFFFFFFFFF
        found &= (keys.meta >> np.uint64(8)) == (self.table << 8 | self.family)
        return found & (keys.length >= self.length)
