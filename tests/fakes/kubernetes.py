"""A Kubernetes API server that knows nodes: lists in pages, watches in chunks, bookmarks, 410 Gone; it dies when told.

It behaves as api-concepts of Kubernetes' reference says: every change has a resource version, a watch tells what came
after one, and a version that was compacted away is answered with 410, before the watch or as an ERROR event within it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Node = dict[str, Any]


def node(number: int, *, labels: dict[str, str] | None = None, name: str = "", **fields: Any) -> Node:
    """Node 3 is n3, 192.0.2.3, 2001:db8::3, and has the pods 10.0.3.0/24."""
    return {
        "metadata": {
            "name": name or f"n{number}",
            "labels": labels or {},
            "creationTimestamp": f"2026-01-01T00:00:{number:02}Z",
        },
        "spec": {"podCIDR": f"10.0.{number}.0/24", "podCIDRs": [f"10.0.{number}.0/24"]},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": f"n{number}"},
                {"type": "InternalIP", "address": f"192.0.2.{number}"},
                {"type": "InternalIP", "address": f"2001:db8::{number}"},
                {"type": "ExternalIP", "address": f"203.0.113.{number}"},
            ]
        },
    } | fields


class Kubernetes:
    """The server. Everything that a client asked for is in ``requests``."""

    def __init__(self, folder: Path) -> None:
        self.nodes: dict[str, Node] = {}
        self.requests: list[dict[str, str]] = []
        self.refuse: tuple[int, str] | None = None
        """Answer everything with this status and message."""
        self.page = 2
        self.kubeconfig = folder / "kubeconfig"
        self._version = 100
        self._oldest = 0
        self._events: list[tuple[int, str, Node]] = []
        self._changed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._port}"}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1", "kind": "Config", "current-context": "x", "clusters": [cluster],
                    "contexts": [context], "users": [{"name": "u", "user": {"token": "t"}}],
                }
            )
        )  # fmt: skip

    async def stop(self) -> None:
        """Stop listening and break off every connection."""
        assert self._server is not None
        self._server.close()
        self.disconnect()

    def disconnect(self) -> None:
        """Break off every connection, in the midst of whatever it says."""
        for writer in self._writers:
            writer.transport.abort()

    def put(self, *nodes: Node) -> None:
        """Add or change nodes."""
        for one in nodes:
            name = one["metadata"]["name"]
            self._happened("MODIFIED" if name in self.nodes else "ADDED", one)
            self.nodes[name] = one

    def delete(self, *names: str) -> None:
        """Delete nodes."""
        for name in names:
            self._happened("DELETED", self.nodes.pop(name))

    def bookmark(self) -> None:
        """Tell every watch how far it has come."""
        self._version += 7
        self._happened("BOOKMARK", {"kind": "Node", "metadata": {}})

    def compact(self) -> None:
        """Forget everything that has happened."""
        self._version += 1
        self._oldest = self._version
        self._events.clear()

    def expire(self) -> None:
        """Tell every watch that it is too old, as an event within it."""
        self._happened("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
        del self._events[:-1]
        self._oldest = self._version

    def watches(self) -> list[str]:
        """Return the resource versions from which was watched."""
        return [request["resourceVersion"] for request in self.requests if "watch" in request]

    def _happened(self, kind: str, thing: Node) -> None:
        self._version += 1
        if kind != "ERROR":
            thing["metadata"]["resourceVersion"] = str(self._version)
        self._events.append((self._version, kind, json.loads(json.dumps(thing))))
        self._changed.set()
        self._changed = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = urlsplit(head.split()[1].decode())
                query = {name: values[0] for name, values in parse_qs(target.query).items()}
                self.requests.append(query)
                await self._answer(writer, target.path, query)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client has gone, or the test is over
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, path: str, query: dict[str, str]) -> None:
        if self.refuse is not None:
            self._send(writer, self.refuse[0], {"kind": "Status", "message": self.refuse[1]})
        elif path != "/api/v1/nodes":
            self._send(writer, 404, {"kind": "Status", "message": "not found"})
        elif "watch" in query:
            await self._watch(writer, int(query["resourceVersion"]), bookmarks="allowWatchBookmarks" in query)
        else:
            self._list(writer, query)
        await writer.drain()

    def _list(self, writer: asyncio.StreamWriter, query: dict[str, str]) -> None:
        wanted = query.get("labelSelector", "")
        name, _, value = wanted.partition("=")
        names = [
            key for key, one in sorted(self.nodes.items()) if not wanted or one["metadata"]["labels"].get(name) == value
        ]
        start = int(query.get("continue", "0"))
        metadata = {"resourceVersion": str(self._version)}
        if start + self.page < len(names):
            metadata["continue"] = str(start + self.page)
        items = [self.nodes[key] for key in names[start : start + self.page]]
        self._send(writer, 200, {"kind": "NodeList", "metadata": metadata, "items": items})

    async def _watch(self, writer: asyncio.StreamWriter, version: int, *, bookmarks: bool) -> None:
        if version < self._oldest:
            self._send(writer, 410, {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            changed = self._changed
            for at, kind, thing in list(self._events):
                if at > version and (kind != "BOOKMARK" or bookmarks):
                    version = at
                    line = json.dumps({"type": kind, "object": thing}).encode() + b"\n"
                    for piece in (line[: len(line) // 2], line[len(line) // 2 :]):  # a chunk is not a line
                        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                        await writer.drain()
            if changed is self._changed:
                await changed.wait()

    @staticmethod
    def _send(writer: asyncio.StreamWriter, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        writer.write(head.encode() + text)
