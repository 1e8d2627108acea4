"""From a VLAN link of the kernel to the tags of its frames: which stack of tags, upon which link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rtagent.vector.links import ETH_P_8021AD, ETH_P_8021Q, Link, VlanTag

_MOST_TAGS = 2
_PROVIDER_IDS = 100_000_000
_OUTER_IDS = 10_000


class TagStack(NamedTuple):
    """A link's frames leave through ``root`` with these tags, outermost first."""

    root: int
    """The ifindex of the link below every VLAN."""
    tags: tuple[VlanTag, ...]

    @property
    def unsupported(self) -> str:
        """Why VPP has no sub-interface for such frames, empty where it has (vnet/ethernet/interface.c)."""
        if len(self.tags) > _MOST_TAGS:
            return f"{len(self.tags)} VLAN tags: VPP's interfaces have two at most"
        if len(self.tags) == _MOST_TAGS and self.tags[1].protocol != ETH_P_8021Q:
            return "an inner tag of 802.1ad: VPP's interfaces have inner tags of 802.1Q only"
        return ""


def tag_stack(link: Link, links: Mapping[int, Link]) -> TagStack | None:
    """Return the tags of a VLAN link, None where it is none or a link below it is not known."""
    tags: list[VlanTag] = []
    while link.kind == "vlan":
        tags.insert(0, VlanTag(link.vlan_protocol, link.vlan))
        below = links.get(link.parent)
        if below is None or len(tags) > len(links):
            return None
        link = below
    return TagStack(link.ifindex, tuple(tags)) if tags else None


def sub_id(tags: tuple[VlanTag, ...]) -> int:
    """Return the number of a sub-interface: its name in VPP is the parent's with this behind a dot.

    802.1Q 100 is 100, 100 within 7 is 70100, and a provider's outer tag adds a hundred million: unique, and readable.
    """
    outer, inner = tags[0], tags[-1] if len(tags) > 1 else None
    number = outer.vlan if inner is None else outer.vlan * _OUTER_IDS + inner.vlan
    return number + (_PROVIDER_IDS if outer.protocol == ETH_P_8021AD else 0)
