"""The nodes of a Kubernetes cluster are members: listed once, then watched.

A watch tells what changed after the list; bookmarks keep its place in time, and where the server has forgotten that
place (410 Gone) the nodes are listed again. Credentials, certificates and the service account are lightkube's matter;
the requests are made here, since only so a silent connection is noticed and one that ends at once does not spin.
API: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog

from rtagent.sources.members import ClaimSink
from rtagent.vector.claims import Claim
from rtagent.vector.members import Role
from rtagent.wire.members import nodes

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

log = structlog.get_logger()

NAME = "kubernetes"
_NODES = "/api/v1/nodes"
_PAGE = 500
_BACKOFF_S = (0.5, 30.0)
_WATCH_S = 240
"""How long the server is asked to keep a watch; a bookmark comes about every minute."""
_SILENCE_S = 300.0
_GONE = 410


class ApiRefused(Exception):
    """The API server answered with an error."""


class KubernetesMembers:
    """Reports a cluster's nodes."""

    def __init__(
        self,
        kubeconfig: str | None,
        context: str | None = None,
        selector: str | None = None,
        roles: Sequence[tuple[str, Role]] = (),
        pause_s: float = 1.0,
    ) -> None:
        """``pause_s`` is the least time between two watches, one of which the server has ended."""
        self._kubeconfig = kubeconfig
        self._context = context
        self._selector = {"labelSelector": selector} if selector else {}
        self._roles = roles
        self._pause_s = pause_s
        self._nodes: dict[str, Claim] = {}
        self._server = "the API"

    async def run(self, sink: ClaimSink) -> None:
        """Report nodes, for ever."""
        from httpx2 import HTTPError  # not before it is wanted: it costs start time and memory
        from lightkube.core.exceptions import ConfigError

        backoff_s = _BACKOFF_S[0]
        while True:
            try:
                async with self._client() as http:
                    while True:
                        version = await self._list(http, sink)
                        backoff_s = _BACKOFF_S[0]
                        await self._watch(http, sink, version)
            except (HTTPError, ConfigError, ApiRefused, OSError, ValueError) as error:
                reason = str(error) or type(error).__name__
                log.warning("mesh.kubernetes_lost", server=self._server, reason=reason, retry_s=backoff_s)
                sink.trouble(NAME, f"{self._server}: {reason}")
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1))
            backoff_s = min(backoff_s * 2, _BACKOFF_S[1])

    def _client(self) -> AsyncClient:
        from lightkube.config.client_adapter import AsyncClient, ConnectionParams
        from lightkube.config.kubeconfig import KubeConfig

        found = KubeConfig.from_file(self._kubeconfig) if self._kubeconfig else KubeConfig.from_env()
        if (config := found.get(self._context)) is None:
            raise ValueError("the kubeconfig names no context; write context, or set current-context there")
        self._server = config.cluster.server
        return AsyncClient(config, ConnectionParams())

    async def _list(self, http: AsyncClient, sink: ClaimSink) -> str:
        """List all nodes and report them; return the resource version from which to watch."""
        found: dict[str, Claim] = {}
        token: str | None = ""
        while token is not None:
            page: dict[str, Any] = {"limit": _PAGE} | ({"continue": token} if token else {})
            response = await http.get(_NODES, params=self._selector | page)
            if response.status_code == _GONE and token:  # the list took longer than the server remembers
                found, token = {}, ""
                continue
            await _check(response)
            body = response.json()
            for node in body.get("items") or []:
                self._take(node, found, sink)
            token = body["metadata"].get("continue") or None
        if not found:
            raise ApiRefused("it lists no nodes; a mesh of nobody is not taken, the last nodes stay")
        self._nodes = found
        log.info("mesh.kubernetes_listed", server=self._server, nodes=len(found))
        self._report(sink)
        return str(body["metadata"]["resourceVersion"])

    async def _watch(self, http: AsyncClient, sink: ClaimSink, version: str) -> None:
        """Follow the nodes from ``version`` on; return where they have to be listed again."""
        from httpx2 import Timeout

        asked: dict[str, Any] = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": _WATCH_S}
        while True:
            params = self._selector | asked | {"resourceVersion": version}
            async with http.stream("GET", _NODES, params=params, timeout=Timeout(10, read=_SILENCE_S)) as response:
                if response.status_code == _GONE:
                    return
                await _check(response)
                async for line in response.aiter_lines():
                    event = json.loads(line)
                    thing = event["object"]
                    if event["type"] == "ERROR":
                        if thing.get("code") == _GONE:
                            return
                        raise ApiRefused(str(thing.get("message", thing)))
                    version = thing["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        self._follow(event["type"], thing, sink)
            await asyncio.sleep(self._pause_s)

    def _follow(self, what: str, node: dict[str, Any], sink: ClaimSink) -> None:
        name = node["metadata"]["name"]
        before = self._nodes.get(name)
        if what == "DELETED":
            self._nodes.pop(name, None)
        else:
            self._take(node, self._nodes, sink)
        if self._nodes.get(name) != before:
            self._report(sink)

    def _take(self, node: dict[str, Any], into: dict[str, Claim], sink: ClaimSink) -> None:
        """Take a node in; one that cannot be a member stays what it was."""
        name = str(node["metadata"]["name"])
        try:
            into[name] = nodes.decode(node, self._roles)
        except ValueError as error:
            sink.refused(NAME, f"node {name}", str(error))
            if name in self._nodes:
                into[name] = self._nodes[name]

    def _report(self, sink: ClaimSink) -> None:
        if self._nodes:
            sink.report(NAME, tuple(self._nodes.values()))
        else:
            sink.trouble(NAME, f"{self._server}: the last node was deleted; a mesh of nobody is not taken")


async def _check(response: Response) -> None:
    if response.is_success:
        return
    try:
        said = json.loads(await response.aread())["message"]
    except (ValueError, KeyError, TypeError):
        said = response.reason_phrase
    remedy = "; the account needs to get, list and watch nodes" if response.status_code == 403 else ""
    raise ApiRefused(f"{response.status_code} {said}{remedy}")
