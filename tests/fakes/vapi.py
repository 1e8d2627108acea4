"""A VPP that is only its API socket: it speaks the wire, holds routes, refuses what VPP refuses, dies when told to.

The definitions that it serves are our own (vapi.json, written by hand in a short form); the CRCs are those of VPP
26.06, so a codec that agrees with this fake and with vpp_papi on real VPP's definitions agrees with both.
State outlives ``stop``: a VPP that keeps its FIB while the agent is away. ``forget`` is a VPP that crashed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtagent.vector.fib import FibEntry, FibKind
from rtagent.vector.keys import AF_INET6, AF_MPLS, Key
from rtagent.wire.vapi.definitions import OPTIONAL, REQUIRED, Messages, MessageTable
from rtagent.wire.vapi.framing import FRAME_BYTES, framed
from tests.fakes.encaps import FakeEncaps
from tests.fakes.interfaces import Interfaces
from tests.fakes.neighbors import FakeNeighbors
from tests.fakes.punt import PLUGINS, FakePunt

_FIRST_NUMBER = 20
_CLIENT_INDEX = 0x80000001
_NONE = 0xFFFFFFFF
_ROUTE = struct.Struct(">HIIBBIIB16sBBB")
"""ip_route_add_del_v2 up to its paths."""
_ROUTE_BODY = struct.Struct(">IIB16sBBB")
_PATH_BYTES = 167
API, CLI = 8, 9
_BUILT_IN = {1: ("special", 0), 4: ("interface", 3), API: ("API", 0x80), CLI: ("CLI", 0x81), 20: ("default-route", 253)}

_CRCS = {**REQUIRED, **OPTIONAL}

RouteKey = tuple[int, int, bytes, int]
"""VPP's table, is_ip6, 16 address bytes, length."""


def definitions() -> str:
    """Return what ``get_api_json`` returns, spelled out from the short form."""
    short = json.loads(Path(__file__).with_suffix(".json").read_text())
    header = [["u16", "_vl_msg_id"]]
    context = [["u32", "context"]]
    messages = [
        *([name, *header, ["u32", "client_index"], *context, *_fields(f)] for name, f in short["requests"].items()),
        *([name, *header, *context, *_fields(f)] for name, f in short["answers"].items()),
        *([name, *header, *_fields(f)] for name, f in short["events"].items()),
    ]
    module = {
        "messages": [[*message, {"crc": f"0x{_CRCS[message[0]]}"}] for message in messages],
        "types": [[name, *_fields(fields)] for name, fields in short["types"].items()],
        "unions": [[name, *_fields(fields)] for name, fields in short["unions"].items()],
        "aliases": {name: _alias(text) for name, text in short["aliases"].items()},
    }
    for kind in ("enums", "enumflags"):
        module[kind] = [
            [name, *([*item] for item in values.items()), {"enumtype": size}]
            for name, (size, values) in short[kind].items()
        ]
    return json.dumps([module])


def welcome(context: int = 0, crcs: dict[str, str] = REQUIRED) -> bytes:
    """Return sockclnt_create_reply, not framed."""
    table = b"".join(
        struct.pack(">H64s", number, f"{name}_{crc}".encode())
        for number, (name, crc) in enumerate(crcs.items(), _FIRST_NUMBER)
    )
    return struct.pack(">HIIiIH", 16, 0, context, 0, _CLIENT_INDEX, len(crcs)) + table


TABLE = MessageTable(welcome())


def messages(crcs: dict[str, str] = REQUIRED) -> Messages:
    """Return a packer and unpacker of all messages, by vpp_papi."""
    learned = Messages(MessageTable(welcome(crcs=crcs)))
    learned.learn(definitions())
    return learned


def papi_paths(entry: FibEntry, family: int, preference: int = 0) -> list[dict[str, Any]]:
    """Return the paths of an entry as vpp_papi takes them."""
    proto = {AF_MPLS: 2, AF_INET6: 1}.get(family, 0)
    kinds = {FibKind.LOCAL: 1, FibKind.BLACKHOLE: 2, FibKind.UNREACHABLE: 5, FibKind.PROHIBIT: 6}
    if entry.kind in kinds:
        return [_papi_path(_NONE, 1, preference, kinds[entry.kind], proto, b"", ())]
    paths = []
    for path in entry.paths:
        v6 = len(path.via) == 16 or (not path.via and path.family == AF_INET6)
        labels = path.labels or ((3,) if family == AF_MPLS else ())
        paths.append(_papi_path(path.interface, path.weight, preference, 0, int(v6), path.via, labels))
    return paths


def papi_route(key: Key, entry: FibEntry | None, source: int) -> dict[str, Any]:
    """Return the route of an IP row as vpp_papi takes it; the key's table is VPP's."""
    paths = papi_paths(entry, key.family) if entry else []
    return {
        "table_id": key.table,
        "prefix": {"address": papi_address(key), "len": key.length},
        "n_paths": len(paths),
        "src": source,
        "paths": paths,
    }


def papi_address(key: Key) -> dict[str, Any]:
    """Return a key's address as vpp_papi takes it."""
    packed = key.bits.to_bytes(16, "big")
    return {"af": 1, "un": {"ip6": packed}} if key.family == AF_INET6 else {"af": 0, "un": {"ip4": packed[:4]}}


def _papi_path(
    interface: int, weight: int, preference: int, kind: int, proto: int, via: bytes, labels: tuple[int, ...]
) -> dict[str, Any]:  # fmt: skip
    stack = [{"is_uniform": 1, "label": label, "ttl": 64, "exp": 0} for label in labels]
    empty = {"is_uniform": 0, "label": 0, "ttl": 0, "exp": 0}
    return {
        "sw_if_index": interface, "weight": weight, "preference": preference, "type": kind, "proto": proto,
        "nh": {"address": {"ip6": via.ljust(16, b"\0")}},
        "n_labels": len(labels), "label_stack": stack + [empty] * (16 - len(stack)),
    }  # fmt: skip


def _fields(short: list[str]) -> list[list[Any]]:
    return [_field(text) for text in short]


def _field(text: str) -> list[Any]:
    kind, name = text.split()
    name, _, size = name.rstrip("]").partition("[")
    kind = _type(kind)
    if not size:
        return [kind, name]
    return [kind, name, int(size)] if size.isdigit() else [kind, name, 0, size]


def _alias(text: str) -> dict[str, Any]:
    kind, _, size = text.rstrip("]").partition("[")
    return {"type": kind, "length": int(size)} if size else {"type": kind}


def _type(kind: str) -> str:
    return kind if kind in ("u8", "u16", "u32", "u64", "i16", "i32", "f64", "bool", "string") else f"vl_api_{kind}_t"


class FakeVpp(FakeNeighbors):
    """The server. Use ``start`` and ``stop`` within one event loop."""

    def __init__(self, path: str, *, punts: bool = False) -> None:
        """``punts``: it has the plugins that this takes."""
        self.path = path
        self.crcs = REQUIRED | PLUGINS if punts else dict(REQUIRED)
        self.route_requests = 0
        """Requests that write a route, IP or MPLS, since the start."""
        self.drop_after: int | None = None
        """Close every connection when that many routes were written."""
        self.garble: Callable[[bytes], bytes] | None = None
        """Changes what is sent; the connection is closed behind it."""
        self.silent = False
        """Answers nothing."""
        self.ports = {"local0": 0, "host-e0": 1, "host-e1": 2}
        self.interface_requests = 0
        """Requests that write an interface's state since the start."""
        self.keepalives = 0
        self.forget()
        self._messages = messages(self.crcs)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    def forget(self) -> None:
        """Lose the whole state, as a crash does."""
        self.sources = dict(_BUILT_IN)
        self.tables = {(0, 0): "ipv4-VRF:0", (0, 1): "ipv6-VRF:0"}
        self.routes: dict[RouteKey, dict[int, bytes]] = {}
        self.labels: dict[tuple[int, int], tuple[int, bytes]] = {}
        self.label_tables: set[int] = set()
        self.label_interfaces: set[int] = set()
        self.interfaces = Interfaces(self.ports)
        self.forget_neighbors()
        self.encaps = FakeEncaps(self._pack, self.interfaces)
        self.punt = FakePunt(self._pack, self.interfaces, self.tables)

    async def start(self) -> None:
        """Serve."""
        self._server = await asyncio.start_unix_server(self._serve, self.path, limit=1 << 24)

    async def stop(self) -> None:
        """Close every connection and serve no more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.disconnect()

    def disconnect(self) -> None:
        """Close every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def tell(self, message: bytes) -> None:
        """Send bytes to every client, as they are."""
        for writer in self._writers:
            writer.write(message)

    def set_ports(self, ports: dict[str, int]) -> None:
        """Change the interfaces and say so."""
        self.ports = ports
        known = self.interfaces.by_number
        fresh = Interfaces(ports).by_number
        self.interfaces.by_number = {
            number: known[number] if number in known and known[number].name == each.name else each
            for number, each in fresh.items()
        }
        self._tell_of_interfaces()

    def _tell_of_interfaces(self) -> None:
        self.tell(self._messages.pack("sw_interface_event", 0, client_index=_CLIENT_INDEX, pid=1, sw_if_index=1))

    def keep_alive(self) -> None:
        """Ask every client whether it is there."""
        self.tell(self._messages.pack("memclnt_keepalive", 99))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                frame = await reader.readexactly(FRAME_BYTES)
                message = await reader.readexactly(int.from_bytes(frame[8:12], "big"))
                answer = b"" if self.silent else self._answer(message)
                if self.garble and answer:
                    answer = self.garble(answer)
                    writer.write(answer)
                    writer.close()
                    return
                writer.write(answer)
                if self.drop_after is not None and self.route_requests >= self.drop_after:
                    writer.transport.abort()
                    return
                if writer.transport.get_write_buffer_size() > 1 << 20:
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def _answer(self, message: bytes) -> bytes:
        number = int.from_bytes(message[:2], "big")
        if number == 15:
            return framed(welcome(int.from_bytes(message[2:6], "big"), self.crcs))
        called = f"_{self._messages.names[number]}"
        parts = (self, self.encaps, self.punt)
        handler = next((getattr(part, called) for part in parts if hasattr(part, called)), None)
        assert handler is not None, self._messages.names[number]
        if number in (self._number("ip_route_add_del_v2"), self._number("ip_route_lookup_v2")):
            return handler(message)
        name = self._messages.names[number]
        request = self._messages.unpack(name, message)
        return handler(request)

    def _number(self, name: str) -> int:
        return self._messages.numbers[name]

    def _pack(self, name: str, request: Any, /, **fields: Any) -> bytes:
        return self._messages.pack(name, request.context, **fields)

    def _control_ping(self, request: Any) -> bytes:
        return self._pack("control_ping_reply", request, vpe_pid=1)

    def _get_api_json(self, request: Any) -> bytes:
        return self._pack("get_api_json_reply", request, json=definitions())

    def _memclnt_keepalive_reply(self, request: Any) -> bytes:
        self.keepalives += 1
        return b""

    def _want_interface_events(self, request: Any) -> bytes:
        return self._pack("want_interface_events_reply", request)

    def _fib_source_dump(self, request: Any) -> bytes:
        return b"".join(
            self._pack("fib_source_details", request, src={"id": number, "name": name, "priority": priority})
            for number, (name, priority) in self.sources.items()
        )

    def _fib_source_add(self, request: Any) -> bytes:
        number = max(22, *self.sources) + 1
        if number < 255:
            self.sources[number] = request.src.name, request.src.priority
        return self._pack("fib_source_add_reply", request, id=number if number < 255 else 0)

    def _sw_interface_dump(self, request: Any) -> bytes:
        return b"".join(
            self._pack(
                "sw_interface_details",
                request,
                sw_if_index=number,
                sup_sw_if_index=number if each.parent is None else each.parent,
                interface_name=each.name,
                flags=each.flags,
                l2_address=each.mac if each.parent is None else bytes(6),
                link_mtu=each.link_mtu,
                mtu=[each.mtu, 0, 0, 0],
                sub_id=each.sub[0],
                sub_number_of_tags=1 if each.sub[1] & 2 else 2 if each.sub[1] & 4 else 0,
                sub_if_flags=each.sub[1],
                sub_outer_vlan_id=each.sub[2],
                sub_inner_vlan_id=each.sub[3],
                tag=each.tag,
            )
            for number, each in self.interfaces.by_number.items()
            if request.sw_if_index in (_NONE, number)
        )

    def _done(self, request: Any, retval: int = 0, **fields: Any) -> bytes:
        """Answer a request that writes an interface's state."""
        self.interface_requests += 1
        name = type(request).__name__
        return self._pack(f"{name}_reply", request, retval=retval, **fields)

    def _sw_interface_set_flags(self, request: Any) -> bytes:
        each = self.interfaces.by_number[request.sw_if_index]
        each.flags = each.flags & ~1 | int(request.flags) & 1
        self._tell_of_interfaces()
        return self._done(request)

    def _sw_interface_set_mtu(self, request: Any) -> bytes:
        self.interfaces.by_number[request.sw_if_index].mtu = request.mtu[0]
        return self._done(request)

    def _hw_interface_set_mtu(self, request: Any) -> bytes:
        each = self.interfaces.by_number[request.sw_if_index]
        if request.mtu > each.largest:
            return self._done(request, -7)
        each.link_mtu = request.mtu
        return self._done(request)

    def _sw_interface_set_mac_address(self, request: Any) -> bytes:
        self.interfaces.by_number[request.sw_if_index].mac = bytes(request.mac_address)
        return self._done(request)

    def _sw_interface_get_table(self, request: Any) -> bytes:
        tables = self.interfaces.by_number[request.sw_if_index].tables
        return self._pack("sw_interface_get_table_reply", request, vrf_id=tables[int(request.is_ipv6)])

    def _sw_interface_set_table(self, request: Any) -> bytes:
        known = (request.vrf_id, int(request.is_ipv6)) in self.tables
        retval = self.interfaces.set_table(request.sw_if_index, request.is_ipv6, request.vrf_id, known)
        return self._done(request, retval)

    def _sw_interface_ip6_enable_disable(self, request: Any) -> bytes:
        return self._done(request, self.interfaces.enable_ip6(request.sw_if_index, request.enable))

    def _sw_interface_ip6_get_link_local_address(self, request: Any) -> bytes:
        each = self.interfaces.by_number[request.sw_if_index]
        retval = 0 if each.locks else -62
        return self._pack("sw_interface_ip6_get_link_local_address_reply", request, retval=retval, ip=each.link_local)

    def _sw_interface_ip6_set_link_local_address(self, request: Any) -> bytes:
        return self._done(request, self.interfaces.set_link_local(request.sw_if_index, bytes(request.ip)))

    def _sw_interface_add_del_address(self, request: Any) -> bytes:
        address = request.prefix.address
        packed = bytes(address.un.ip6 if address.af else address.un.ip4)
        interface = ipaddress.ip_interface((packed, request.prefix.len))
        return self._done(request, self.interfaces.set_address(request.sw_if_index, interface, request.is_add))

    def _ip_address_dump(self, request: Any) -> bytes:
        held = self.interfaces.by_number[request.sw_if_index].addresses
        return b"".join(
            self._pack(
                "ip_address_details",
                request,
                sw_if_index=request.sw_if_index,
                prefix={
                    "address": {"af": int(each.version == 6), "un": {f"ip{each.version}": each.ip.packed}},
                    "len": each.network.prefixlen,
                },
            )
            for each in held
            if (each.version == 6) == request.is_ipv6
        )

    def _create_subif(self, request: Any) -> bytes:
        sub = request.sub_id, int(request.sub_if_flags), request.outer_vlan_id, request.inner_vlan_id
        retval, number = self.interfaces.create_sub(request.sw_if_index, sub)
        self._tell_of_interfaces()
        return self._done(request, retval, sw_if_index=number)

    def _delete_subif(self, request: Any) -> bytes:
        retval = self.interfaces.delete_sub(request.sw_if_index)
        self._tell_of_interfaces()
        return self._done(request, retval)

    def _sw_interface_tag_add_del(self, request: Any) -> bytes:
        self.interfaces.by_number[request.sw_if_index].tag = request.tag if request.is_add else ""
        return self._done(request)

    def _ip_table_dump(self, request: Any) -> bytes:
        return b"".join(
            self._pack("ip_table_details", request, table={"table_id": table, "is_ip6": is_ip6, "name": name})
            for (table, is_ip6), name in self.tables.items()
        )

    def _ip_table_add_del(self, request: Any) -> bytes:
        key = request.table.table_id, int(request.table.is_ip6)
        if request.is_add:
            self.tables.setdefault(key, request.table.name)
        else:
            self.tables.pop(key, None)
        return self._pack("ip_table_add_del_reply", request)

    def _ip_route_add_del_v2(self, message: bytes) -> bytes:
        self.route_requests += 1
        fields = _ROUTE.unpack_from(message)
        _, _, context, is_add, is_multipath, table, _, is_ip6, address, length, n_paths, source = fields
        paths = message[_ROUTE.size :]
        assert not is_multipath
        assert len(paths) == n_paths * _PATH_BYTES
        retval = self._refusal(table, is_ip6, paths, is_add)
        key = table, is_ip6, address, length
        if not retval and is_add:
            self.routes.setdefault(key, {})[source] = paths
        elif not retval and key in self.routes:
            self.routes[key].pop(source, None)
            if not self.routes[key]:
                del self.routes[key]
        return framed(struct.pack(">HIiI", self._number("ip_route_add_del_v2_reply"), context, retval, 0))

    def _refusal(self, table: int, is_ip6: int, paths: bytes, is_add: int) -> int:
        if (table, is_ip6) not in self.tables:
            return -3
        if is_add and not paths:
            return -52
        interfaces = {int.from_bytes(paths[at : at + 4], "big") for at in range(0, len(paths), _PATH_BYTES)}
        return 0 if interfaces <= {*self.ports.values(), *self.encaps.tunnels, _NONE} else -54

    def _ip_route_lookup_v2(self, message: bytes) -> bytes:
        _, _, context, table, exact, is_ip6, address, length = struct.unpack(">HIIIBB16sB", message)
        assert exact
        number = self._number("ip_route_lookup_v2_reply")
        held = self.routes.get((table, is_ip6, address, length))
        if held is None:
            return framed(struct.pack(">HIi", number, context, -6) + bytes(_ROUTE_BODY.size))
        body = self._route_body((table, is_ip6, address, length), held)
        return framed(struct.pack(">HIi", number, context, 0) + body)

    def _route_body(self, key: RouteKey, held: dict[int, bytes]) -> bytes:
        table, is_ip6, address, length = key
        source = min(held, key=lambda number: (self.sources[number][1], number))
        paths = held[source]
        return _ROUTE_BODY.pack(table, 0, is_ip6, address, length, len(paths) // _PATH_BYTES, source) + paths

    def _ip_route_v2_dump(self, request: Any) -> bytes:
        wanted = request.table.table_id, int(request.table.is_ip6)
        head = struct.pack(">HI", self._number("ip_route_v2_details"), request.context)
        bodies = (self._route_body(key, held) for key, held in self.routes.items() if key[:2] == wanted)
        return b"".join(framed(head + body) for body in bodies if request.src in (0, body[_ROUTE_BODY.size - 1]))

    def _mpls_table_dump(self, request: Any) -> bytes:
        return b"".join(
            self._pack("mpls_table_details", request, mt_table={"mt_table_id": table, "mt_name": ""})
            for table in sorted(self.label_tables)
        )

    def _mpls_table_add_del(self, request: Any) -> bytes:
        self.label_tables.add(request.mt_table.mt_table_id)
        return self._pack("mpls_table_add_del_reply", request)

    def _mpls_interface_dump(self, request: Any) -> bytes:
        return b"".join(
            self._pack("mpls_interface_details", request, sw_if_index=number) for number in self.label_interfaces
        )

    def _sw_interface_set_mpls_enable(self, request: Any) -> bytes:
        retval = 0 if 0 in self.label_tables else -3
        (self.label_interfaces.add if request.enable else self.label_interfaces.discard)(request.sw_if_index)
        return self._pack("sw_interface_set_mpls_enable_reply", request, retval=retval)

    def _mpls_route_add_del(self, request: Any) -> bytes:
        self.route_requests += 1
        route = request.mr_route
        paths = bytes(self._packed_paths(route))
        retval = self._refusal(0, 0, paths, request.mr_is_add) if route.mr_table_id in self.label_tables else -3
        if not retval and request.mr_is_add:
            self.labels[route.mr_label, route.mr_eos] = route.mr_eos_proto, paths
        elif not retval:
            self.labels.pop((route.mr_label, route.mr_eos), None)
        return self._pack("mpls_route_add_del_reply", request, retval=retval)

    def _packed_paths(self, route: Any) -> bytes:
        whole = self._messages.pack("mpls_route_details", 0, mr_route=_as_dict(route))
        return whole[len(whole) - len(route.mr_paths) * _PATH_BYTES :]

    def _mpls_route_dump(self, request: Any) -> bytes:
        head = struct.pack(">HI", self._number("mpls_route_details"), request.context)
        return b"".join(
            framed(
                head + struct.pack(">IIBBBB", 0, label, eos, proto if eos else 2, 0, len(paths) // _PATH_BYTES) + paths
            )
            for (label, eos), (proto, paths) in sorted(self.labels.items())
        )


def _as_dict(row: Any) -> Any:
    """Return vpp_papi's tuples as the dictionaries that it packs."""
    if isinstance(row, tuple):
        fields = {name: _as_dict(value) for name, value in zip(row._fields, row, strict=True)}
        return {"ip6": fields["ip6"]} if set(fields) == {"ip4", "ip6"} else fields
    return [_as_dict(each) for each in row] if isinstance(row, list) else row
