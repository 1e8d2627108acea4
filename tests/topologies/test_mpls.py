"""FRR's static labels, swapped, popped and pushed, into the memory FIB.

::

    n0 ──── e0 router: zebra, staticd → kernel → rtagent → memory FIB
    n1 ──── e1

The other side of each comparison is ``ip -j -f mpls route`` and ``ip -j route``, read by nothing of ours. Where this
kernel has no MPLS it runs in a guest with one slow processor, where VPP alone would take minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import frr
from tests.lab.frr import Frr
from tests.lab.lab import Lab, Namespace
from tests.lab.routing import RoutingSite

pytestmark = [
    pytest.mark.kernel("mpls"),
    pytest.mark.skipif(not frr.INSTALLED, reason="frr is not installed: no labels of a daemon's are mirrored"),
]

TIMEOUT_S = 90

Labels = dict[int, set[tuple[str, str, tuple[int, ...]]]]
"""Incoming label → (gateway, link, outgoing labels) of each way."""


@pytest.fixture
def site() -> Iterator[RoutingSite]:
    with Lab() as lab:
        site = RoutingSite(lab, "memory", links=2)
        carries_labels(site.router, "e0", "e1")
        site.start()
        yield site


def carries_labels(router: Namespace, *links: str) -> None:
    """Let a router take packets with labels from these links."""
    router.sysctl("net.mpls.platform_labels", 1000)
    for link in links:
        router.sysctl(f"net.mpls.conf.{link}.input", 1)


def kernel_labels(site: RoutingSite) -> Labels:
    """Return what the kernel does with labels, by iproute2."""
    found: Labels = {}
    for route in site.router.ip_json("-f mpls route show"):
        hops = route.get("nexthops", [route])
        found[int(route["dst"])] = {
            (hop.get("via", {}).get("host") or hop.get("gateway", ""), hop["dev"], _stack(hop.get("to", "")))
            for hop in hops
            if not {"dead", "linkdown"} & set(hop.get("flags", []))
        }
    return {label: held for label, held in found.items() if held}


def held_labels(site: RoutingSite) -> Labels:
    """Return what the memory FIB does with labels."""
    return {row["label"]: ways(row) for row in rows(site) if row["family"] == "mpls"}


def rows(site: RoutingSite) -> list[dict[str, Any]]:
    return [row for message in site.ask("fib") for row in message["rows"] if row["state"] == "installed"]


def ways(row: dict[str, Any]) -> set[tuple[str, str, tuple[int, ...]]]:
    return {(path["via"] or "", path["interface"], tuple(path["labels"])) for path in row["paths"]}


def pushed(site: RoutingSite, prefix: str) -> set[tuple[str, str, tuple[int, ...]]]:
    """Return the ways of a prefix in the memory FIB, with the labels that they push."""
    return next((ways(row) for row in rows(site) if row.get("prefix") == prefix), set())


def kernel_pushes(site: RoutingSite, prefix: str) -> set[tuple[str, str, tuple[int, ...]]]:
    """Return the ways of a prefix in the kernel, by iproute2, which shows labels as text: ``100/200``."""
    found = set()
    for route in site.router.ip_json(f"route show exact {prefix}"):
        for hop in route.get("nexthops", [route]):
            found.add((hop["gateway"], hop["dev"], _stack(hop["encap dst"] if hop.get("encap") == "mpls" else "")))
    return found


def _stack(text: str) -> tuple[int, ...]:
    return tuple(int(label) for label in text.split("/") if label)


def expect(site: RoutingSite, labels: int, pushes: dict[str, tuple[int, ...] | None]) -> None:
    """Wait until the kernel has so many labels and pushes these; then the memory FIB has, and does, the same."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        kernel = kernel_labels(site), {prefix: kernel_pushes(site, prefix) for prefix in pushes}
        if len(kernel[0]) == labels and all(
            bool(kernel[1][prefix]) == (pushes[prefix] is not None) for prefix in pushes
        ):
            break
        assert time.monotonic() < deadline, kernel
    site.wait_synced()
    assert kernel[0] == held_labels(site)
    assert kernel[1] == {prefix: pushed(site, prefix) for prefix in pushes}
    for prefix, expected in pushes.items():
        assert {way[2] for way in kernel[1][prefix]} == ({expected} if expected is not None else set())
    assert "" == site.diff()


def test_static_labels_of_zebras(site: RoutingSite) -> None:
    daemons = Frr(site.lab, site.router, "staticd")
    daemons.start(
        "mpls lsp 100 10.0.0.2 200\nmpls lsp 101 10.0.0.2 implicit-null\nmpls lsp 102 10.1.0.2 explicit-null\n"
        "ip route 198.18.1.0/24 10.0.0.2 label 300/400\nip route 198.18.2.0/24 10.1.0.2 label 500\n"
    )
    expect(site, 3, {"198.18.1.0/24": (300, 400), "198.18.2.0/24": (500,)})
    daemons.configure("no mpls lsp 101\nno ip route 198.18.2.0/24 10.1.0.2 label 500\nmpls lsp 100 10.1.0.2 201\n")
    expect(site, 2, {"198.18.1.0/24": (300, 400), "198.18.2.0/24": None})
    site.router.ip("link set e0 down")
    expect(site, 2, {"198.18.1.0/24": None})
