"""A router with three ports to a peer: 10.0.N.1/24 and 2001:db8:N::1/64 on eN, the peer has .2 and ::2 on pN."""

from __future__ import annotations

from tests.lab.lab import Lab, Namespace

PORTS = range(3)


def router_and_peer(lab: Lab) -> tuple[Namespace, Namespace]:
    """Make both; addresses are usable at once (no duplicate address detection)."""
    router, peer = lab.namespace("router"), lab.namespace("peer")
    for namespace in (router, peer):
        namespace.sysctl("net.ipv6.conf.default.accept_dad", 0)
    for port in PORTS:
        lab.veth(router, f"e{port}", peer, f"p{port}")
    for namespace, name, host in ((router, "e", 1), (peer, "p", 2)):
        namespace.ip_batch(
            [f"addr add 10.0.{port}.{host}/24 dev {name}{port}" for port in PORTS]
            + [f"addr add 2001:db8:{port}::{host}/64 dev {name}{port} nodad" for port in PORTS]
        )
    return router, peer
