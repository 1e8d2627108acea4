"""Random routes and random changes to them, as lines for ``ip -batch``; the same seed gives the same lines."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator, Sequence

_KINDS = ("blackhole", "unreachable", "prohibit")
_KIND_SHARE = 0.02
_GATEWAYS_A_LINK = 50


class RandomRoutes:
    """Prefixes of mixed lengths over a set of next hop groups on links e0, e1, … (10.N.0.0/16, 2001:db8:N::/64)."""

    def __init__(self, seed: int, *, links: int, groups: int) -> None:
        self._random = random.Random(seed)
        self._links = links
        self.groups = {4: self._make_groups(4, groups), 6: self._make_groups(6, groups)}
        self.prefixes: list[str] = []

    def add(self, count: int, *, inet6_share: float = 0.3) -> Iterator[str]:
        """Yield lines that add ``count`` further prefixes."""
        seen = set(self.prefixes)
        while count:
            prefix = self._prefix(6 if self._random.random() < inet6_share else 4)
            if prefix not in seen:
                seen.add(prefix)
                self.prefixes.append(prefix)
                count -= 1
                yield f"route add {self._route(prefix)}"

    def change(self, count: int) -> Iterator[str]:
        """Yield lines that change, remove and add again; some of them the kernel refuses, as in life."""
        for _ in range(count):
            prefix = self._random.choice(self.prefixes)
            match self._random.randrange(10):
                case 0 | 1:
                    yield f"route del {prefix}"
                case 2:
                    yield f"route add {self._route(prefix, f' metric {self._random.choice((5, 50, 500))}')}"
                case 3:
                    yield f"route append {self._route(prefix)}"
                case _:
                    yield f"route replace {self._route(prefix)}"

    def _route(self, prefix: str, options: str = "") -> str:
        if self._random.random() < _KIND_SHARE:
            return f"{self._random.choice(_KINDS)} {prefix}{options}"
        return f"{prefix}{options} {self._random.choice(self.groups[6 if ':' in prefix else 4])}"

    def _make_groups(self, version: int, count: int) -> Sequence[str]:
        groups: list[str] = []
        while len(groups) < count:
            size = self._random.choice((1, 1, 2, 2, 3, 4))
            hops = set()
            for link in self._random.sample(range(self._links), min(size, self._links)):
                host = 2 + self._random.randrange(_GATEWAYS_A_LINK)
                via = f"10.{link}.0.{host}" if version == 4 else f"2001:db8:{link}::{host:x}"
                hops.add(f"via {via} dev e{link}")
            one = len(hops) == 1
            weights = (1, 1, 1, 2, 3)
            parts = [hop if one else f"nexthop {hop} weight {self._random.choice(weights)}" for hop in sorted(hops)]
            text = " ".join(parts)
            if text not in groups:
                groups.append(text)
        return groups

    def _prefix(self, version: int) -> str:
        chance = self._random
        if version == 4:
            length = chance.choice((12, 16, 18, 20, 22, 23, 24, 24, 24, 24, 28, 32))
            first = chance.choice([octet for octet in range(11, 200) if octet not in (127, 169, 192)])
            number = first << 24 | chance.getrandbits(24)
            return str(ipaddress.ip_network((number, length), strict=False))
        length = chance.choice((29, 32, 36, 40, 44, 48, 48, 48, 56, 64, 128))
        number = 0x2A << 120 | chance.getrandbits(120)
        return str(ipaddress.ip_network((number, length), strict=False))
