"""Keys of pairs, derived from one secret, and what the kernel has room for.

No member knows less than the secret, but a key that leaks (a captured configuration of one router) opens one session
and no other. Nothing here logs, and the keys stand in a file of their own, so that everything else may be shown.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable

from rtagent.core.mesh.sessions import Session

_KEY_BYTES = 136
"""What one TCP-MD5 key takes of net.core.optmem_max on a listening socket (struct tcp_md5sig_key)."""


def pair_key(secret: bytes, one: str, other: str) -> str:
    """Return the key of the session between two members: 64 hexadecimal digits, the same whichever comes first.

    TCP-MD5 takes 80 bytes at most (linux/tcp.h, TCP_MD5SIG_MAXKEYLEN), BIRD's text only what is printable.
    """
    pair = b"\0".join(sorted((one.encode(), other.encode())))
    return hmac.new(secret, b"rtagent mesh session\0" + pair, hashlib.sha256).hexdigest()


def no_room(sessions: Iterable[Session], optmem_max: int) -> str | None:
    """Return what to do where the kernel has no room for a TCP-MD5 key per session, else None.

    BIRD 3 says nothing when a key is refused: the session just never comes up.
    """
    per_socket = Counter(session.local for session in sessions)
    most = max(per_socket.values(), default=0)
    needed = most * _KEY_BYTES
    if needed <= optmem_max:
        return None
    return (
        f"{most} sessions with passwords need {needed} bytes of option memory on one socket and "
        f"net.core.optmem_max is {optmem_max}: sysctl -w net.core.optmem_max={needed}"
    )
