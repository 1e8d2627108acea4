"""Makes links in the kernel: persistent taps and tuns, VLANs, other names for links.

A tap has what its interface has before it bears its other name, by which it is known as ours: whoever sees that name
sees a link that is ready. One that cannot be finished is removed.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from rtagent.core.taps import AddName, MakeTap, MakeVlan, Making
from rtagent.transport.netlink import NetlinkSocket
from rtagent.transport.netns import visiting
from rtagent.transport.tun import make_persistent
from rtagent.wire.netlink.link_requests import add_altname, add_vlan, delete_link, set_link
from rtagent.wire.netlink.requests import refusal


class HostLinks:
    """Makes links in one network namespace (None: ours), and removes them."""

    def __init__(self, netns: str | None) -> None:
        self._netns = netns

    def make(self, making: Making) -> None:
        """Make it. Raises OSError with what the kernel says, and then nothing of it is left."""
        with closing(NetlinkSocket(netns=self._netns, slots=1)) as kernel:
            match making:
                case MakeTap():
                    self._make_tap(kernel, making)
                case MakeVlan():
                    _ask(kernel, add_vlan(making.name, making.parent, making.tag, up=making.up))
                case AddName():
                    _ask(kernel, add_altname(making.ifindex, making.altname))

    def remove(self, ifindex: int) -> None:
        """Remove a link. Raises OSError with what the kernel says."""
        with closing(NetlinkSocket(netns=self._netns, slots=1)) as kernel:
            _ask(kernel, delete_link(ifindex))

    def _make_tap(self, kernel: NetlinkSocket, tap: MakeTap) -> None:
        make_persistent(tap.name, is_tap=tap.is_tap, netns=self._netns)
        with visiting(self._netns):
            ifindex = socket.if_nametoindex(tap.name)
        with _removed_on_error(kernel, ifindex):
            _ask(kernel, set_link(ifindex, mac=tap.mac if tap.is_tap else b"", mtu=tap.mtu))
            _ask(kernel, add_altname(ifindex, tap.altname))
            if tap.up:
                _ask(kernel, set_link(ifindex, up=True))


@contextmanager
def _removed_on_error(kernel: NetlinkSocket, ifindex: int) -> Iterator[None]:
    try:
        yield
    except OSError:
        with suppress(OSError):
            _ask(kernel, delete_link(ifindex))
        raise


def _ask(kernel: NetlinkSocket, request: bytes) -> None:
    """Ask for one thing, which is answered before the request returns (rtnetlink works in its caller)."""
    kernel.send(request)
    answer = kernel.receive()
    if answer is None:
        raise OSError(errno.EIO, "the kernel does not answer")
    number = refusal(bytes(answer.buffer[answer.starts[0] :][: answer.lengths[0]]))
    if number:
        raise OSError(number, os.strerror(number))
