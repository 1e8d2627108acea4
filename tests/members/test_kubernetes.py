"""Nodes as members: listed, watched, and kept whatever the API server does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any

import pytest

from rtagent.sources.members.kubernetes import KubernetesMembers
from rtagent.vector.claims import Claim
from rtagent.vector.members import Role
from rtagent.wire.members import nodes
from tests.fakes.kubernetes import Kubernetes, node
from tests.members.heard import Heard, running

ROLES = (("example.com/lb", Role.LB), ("kind=router", Role.ROUTER))


def follow(
    tmp_path: Path, body: Callable[[Kubernetes, Heard], Awaitable[None]], count: int = 3, **options: Any
) -> None:
    async def test() -> None:
        api, heard = Kubernetes(tmp_path), Heard()
        api.put(*map(node, range(1, count + 1)))
        await api.start()
        source = KubernetesMembers(str(api.kubeconfig), roles=ROLES, pause_s=0.01, **options)
        async with running((source, heard)):
            await body(api, heard)
        await api.stop()

    asyncio.run(test())


async def watching(api: Kubernetes, heard: Heard, *ids: str) -> None:
    await heard.until(lambda: heard.ids() == sorted(ids))
    while not api.watches():
        await asyncio.sleep(0.01)


def test_a_node_claims_its_internal_addresses_and_pod_prefixes_since_it_was_created() -> None:
    claim = nodes.decode(node(3), ROLES)
    expected = Claim(
        "n3",
        role=Role.NODE,
        address4=IPv4Address("192.0.2.3"),
        address6=IPv6Address("2001:db8::3"),
        pods=(ip_network("10.0.3.0/24"),),
    )
    assert expected == claim._replace(since=())
    assert {1767225603.0} == {since for _, since in claim.since}
    assert set(claim.resources) == {name for name, _ in claim.since}


@pytest.mark.parametrize(
    ("labels", "role"),
    [({}, Role.NODE), ({"example.com/lb": ""}, Role.LB), ({"kind": "router"}, Role.ROUTER), ({"kind": "x"}, Role.NODE)],
)
def test_a_label_decides_the_role(labels: dict[str, str], role: Role) -> None:
    assert role is nodes.decode(node(1, labels=labels), ROLES).role


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {}},
        {"metadata": 3},
        {"spec": {"podCIDRs": ["x"]}},
        {"status": {"addresses": [{}]}},
        {"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}},
    ],
)
def test_a_node_that_cannot_be_a_member_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is for people
        nodes.decode(node(1) | fields, ROLES)


def test_a_node_that_has_just_joined_has_no_pods_and_no_address_yet() -> None:
    claim = nodes.decode({"metadata": node(1)["metadata"]}, ROLES)
    assert (None, None, None) == (claim.pods, claim.address4, claim.address6)


def test_nodes_are_listed_in_pages_and_watched_from_there(tmp_path: Path) -> None:
    async def body(api: Kubernetes, heard: Heard) -> None:
        await watching(api, heard, "n1", "n2", "n3", "n4", "n5")
        assert 1 == len(heard.reports), "nothing is told before the last page"
        api.put(node(6))
        await heard.until(lambda: "n6" in heard.ids())
        api.delete("n2", "n6")
        await heard.until(lambda: heard.ids() == ["n1", "n3", "n4", "n5"])
        api.put(node(3, labels={"example.com/lb": ""}))
        await heard.until(lambda: heard.claim("n3").role is Role.LB)

    follow(tmp_path, body, count=5)


def test_only_the_selected_nodes_are_asked_for(tmp_path: Path) -> None:
    async def body(api: Kubernetes, heard: Heard) -> None:
        api.put(node(7, labels={"mesh": "yes"}))
        await watching(api, heard, "n7")

    follow(tmp_path, body, selector="mesh=yes")


def test_a_watch_that_breaks_off_loses_nobody_and_misses_nothing(tmp_path: Path) -> None:
    async def body(api: Kubernetes, heard: Heard) -> None:
        await watching(api, heard, "n1", "n2", "n3")
        api.disconnect()
        await heard.until(lambda: heard.troubles)
        api.put(node(4))
        await heard.until(lambda: heard.ids() == ["n1", "n2", "n3", "n4"])
        assert all(len(report) >= 3 for report in heard.reports)

    follow(tmp_path, body)


def test_a_server_that_is_gone_for_a_while_empties_nothing(tmp_path: Path) -> None:
    async def body(api: Kubernetes, heard: Heard) -> None:
        await watching(api, heard, "n1", "n2", "n3")
        await api.stop()
        await heard.until(lambda: len(heard.troubles) > 1)
        assert ["n1", "n2", "n3"] == heard.ids()
        api.nodes.pop("n3")
        await api.start()
        await heard.until(lambda: heard.ids() == ["n1", "n2"])

    follow(tmp_path, body)


@pytest.mark.parametrize("how", ["compact", "expire"])
def test_a_place_that_the_server_has_forgotten_is_found_by_listing_again(tmp_path: Path, how: str) -> None:
    async def body(api: Kubernetes, heard: Heard) -> None:
        await watching(api, heard, "n1", "n2", "n3")
        api.nodes.pop("n3")  # nobody is told
        if how == "compact":
            api.compact()
            api.disconnect()
        else:
            api.expire()
        await heard.until(lambda: heard.ids() == ["n1", "n2"])

    follow(tmp_path, body)


def test_a_bookmark_moves_the_place_in_time_and_tells_of_no_node(tmp_path: Path) -> None:
    async def body(api: Kubernetes, heard: Heard) -> None:
        await watching(api, heard, "n1", "n2", "n3")
        api.bookmark()
        api.put(node(4))
        await heard.until(lambda: "n4" in heard.ids())
        assert 2 == len(heard.reports)

    follow(tmp_path, body)


def test_an_api_without_nodes_is_not_believed(tmp_path: Path) -> None:
    async def body(api: Kubernetes, heard: Heard) -> None:
        await watching(api, heard, "n1", "n2", "n3")
        api.nodes.clear()
        api.expire()
        await heard.until(lambda: heard.troubles)
        assert "it lists no nodes" in heard.troubles[0]
        assert ["n1", "n2", "n3"] == heard.ids()

    follow(tmp_path, body)


def test_what_the_account_lacks_is_said(tmp_path: Path) -> None:
    async def body(api: Kubernetes, heard: Heard) -> None:
        api.refuse = (403, "nodes is forbidden")
        await heard.until(lambda: heard.troubles)
        assert (
            heard.troubles[0].endswith("403 nodes is forbidden; the account needs to get, list and watch nodes")
            or heard.reports
        )
        api.refuse = None
        await heard.until(lambda: heard.reports)

    follow(tmp_path, body)


def test_one_node_with_nonsense_stays_as_it_was_and_is_reported(tmp_path: Path) -> None:
    async def body(api: Kubernetes, heard: Heard) -> None:
        await watching(api, heard, "n1", "n2", "n3")
        before = heard.claim("n2")
        api.put(node(2, spec={"podCIDRs": ["10.0.0.1/24"]}))
        await heard.until(lambda: heard.refusals)
        assert "node n2" == heard.refusals[0][0]
        api.put(node(4))
        await heard.until(lambda: "n4" in heard.ids())
        assert before == heard.claim("n2")

    follow(tmp_path, body)
