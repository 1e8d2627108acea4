"""Taps and tuns that outlive whoever opens them, made as VPP can take them over.

VPP opens an interface of the name that it is told (TUNSETIFF), and gets one that is there already if it was made with
several queues (drivers/net/tun.c, tun_set_iff) and carries packet headers of virtio.
"""

from __future__ import annotations

import fcntl
import os
import struct

from rtagent.transport.netns import visiting

_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TUN, _IFF_TAP, _IFF_MULTI_QUEUE, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_TUN_EXCL = 1, 2, 0x0100, 0x1000, 0x4000, 0x8000
"""linux/if_tun.h."""
_IFREQ = struct.Struct("16sH22x")


def make_persistent(name: str, *, is_tap: bool, netns: str | None) -> None:
    """Make a persistent tap, or tun, that nobody has open. Raises OSError, EBUSY where there is one of that name."""
    _set_persistent(name, _kind(is_tap) | _IFF_TUN_EXCL, netns, persistent=True)


def remove_persistent(name: str, *, is_tap: bool, netns: str | None) -> None:
    """Remove a tap or tun that was made so and that nobody has open. Raises OSError."""
    _set_persistent(name, _kind(is_tap), netns, persistent=False)


def _kind(is_tap: bool) -> int:
    return (_IFF_TAP if is_tap else _IFF_TUN) | _IFF_MULTI_QUEUE | _IFF_NO_PI | _IFF_VNET_HDR


def _set_persistent(name: str, flags: int, netns: str | None, *, persistent: bool) -> None:
    with visiting(netns):
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, _TUNSETIFF, _IFREQ.pack(name.encode(), flags))
            fcntl.ioctl(device, _TUNSETPERSIST, int(persistent))
        finally:
            os.close(device)
