"""What is punted by configuration, ``[punt]``. An agent that mirrors nothing knows it, too: no numpy here."""

from __future__ import annotations

from dataclasses import dataclass

from rtagent.core.punt_matches import Network
from rtagent.vector.punt import Group

EXEMPT = ("babel", "bfd", "bgp", "ldp", "ospf", "pim", "rip", "vrrp")


@dataclass(frozen=True, slots=True)
class PuntSettings:
    """What is punted by configuration."""

    groups: tuple[Group, ...] = ()
    """Multicast besides that of the link, which is always punted."""
    ethertypes: tuple[int, ...] = ()
    osi_protocols: tuple[int, ...] = ()
    rate_kbps: int = 50_000
    """What the policer lets through, 0: there is none. VPP counts bytes; its packets per second mean 256 of them."""
    burst_ms: int = 100
    exempt: tuple[str, ...] = EXEMPT
    """Protocols that pass by the policer, names of punt_matches.PROTOCOLS."""
    exempt_sources: tuple[Network, ...] = ()
    """From where they do; none: from anywhere."""
