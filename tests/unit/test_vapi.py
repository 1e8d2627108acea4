"""The codecs of VPP's API: vpp_papi as the oracle, messages of a real VPP, and input that makes no sense."""

from __future__ import annotations

import contextlib
import random
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibPath, FibVector
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS, Key, Keys
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.vapi import bulk
from rtagent.wire.vapi import routes as vapi_routes
from rtagent.wire.vapi.definitions import REQUIRED, Messages, MessageTable, hello
from rtagent.wire.vapi.framing import FRAME_BYTES, Framer, Frames, framed
from rtagent.wire.vapi.labels import MARK, decode_labels, encode_labels
from rtagent.wire.vapi.paths import PathLists
from rtagent.wire.vapi.routes import decode_details, decode_lookups, decode_replies, encode_lookups, encode_routes
from tests.contract.rows import EVERY_KIND
from tests.fakes.vapi import TABLE, definitions, messages, papi_address, papi_paths, papi_route, welcome

OWN, OTHER = 23, 8
GOLDEN = Path(__file__).parents[1] / "golden" / "vpp-26.06.txt"
"""``NAME HEX`` a line, as VPP 26.06 answered after EVERY_KIND was written into it; [N] is a run of N zero bytes."""


def golden(name: str) -> list[bytes]:
    lines = [line.split() for line in GOLDEN.read_text().splitlines()]
    return [
        bytes.fromhex(re.sub(r"\[(\d+)\]", lambda run: "00" * int(run[1]), text))
        for kind, text in lines
        if kind == name
    ]


def frames(parts: list[bytes]) -> Frames:
    whole = Framer().feed(b"".join(framed(part) for part in parts))
    assert whole is not None
    return whole


def random_entry(rng: random.Random, family: int) -> FibEntry:
    kinds = (FibKind.BLACKHOLE, FibKind.UNREACHABLE, FibKind.PROHIBIT, FibKind.LOCAL)
    if rng.random() < 0.1:
        return FibEntry(rng.choice(kinds[: 1 if family == AF_MPLS else 4]))
    return FibEntry(FibKind.UNICAST, tuple(_random_path(rng, family) for _ in range(rng.choice((1, 1, 1, 2, 3, 16)))))


def _random_path(rng: random.Random, family: int) -> FibPath:
    length = 16 if family == AF_INET6 or rng.random() < 0.2 else rng.choice((4, 4, 4, 0))
    via = bytes(rng.randrange(1, 256) for _ in range(length))
    labels = tuple(rng.randrange(16, 1 << 20) for _ in range(rng.choice((0, 0, 1, 2, 16))))
    payload = 0 if via else AF_INET if family == AF_MPLS else family
    return FibPath(via, rng.randrange(1, 1 << 16), rng.randrange(1, 256), labels, payload)


def random_key(rng: random.Random, table: int = 0) -> Key:
    family, bits = (AF_INET6, 128) if rng.random() < 0.3 else (AF_INET, 32)
    length = rng.randrange(bits + 1)
    return Key(table, family, (rng.getrandbits(length) << (128 - length)) if length else 0, length)


def test_routes_are_encoded_as_vpp_papi_does() -> None:
    rng, entries, packer = random.Random(1), FibEntries(), messages()
    rows = {random_key(rng, rng.choice((0, 0, 7, 4_000_000_000))): True for _ in range(5_500)}
    keys = list(rows)[:5_000]
    pools = {family: [random_entry(rng, family) for _ in range(200)] for family in (AF_INET, AF_INET6)}
    wanted = [None if rng.random() < 0.1 else rng.choice(pools[key.family]) for key in keys]
    ids = np.array([NO_ENTRY if entry is None else entries.intern(entry) for entry in wanted], np.int32)
    first = 0xFFFFFFFF - 2_000
    buffer = encode_routes(
        Keys.of(keys), ids, PathLists(entries), first,
        message_id=TABLE.numbers["ip_route_add_del_v2"], client_index=TABLE.client_index, source=OWN,
    )  # fmt: skip
    ours = frames_by_context(buffer.tobytes())
    for row, key in enumerate(keys):
        entry = None if ids[row] == NO_ENTRY else entries[int(ids[row])]
        context = (first + row) % (1 << 32)
        theirs = packer.pack(
            "ip_route_add_del_v2", context,
            is_add=entry is not None, is_multipath=False, route=papi_route(key, entry, OWN),
        )  # fmt: skip
        assert theirs[FRAME_BYTES:] == ours[context], key.text


@pytest.mark.parametrize("module", [bulk, vapi_routes], ids=["in bulk", "by stock messages"])
def test_few_rows_are_encoded_as_many_are(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, entries = random.Random(4), FibEntries()
    paths = PathLists(entries)

    def encoded(keys: Keys, ids: NDArray[np.int32], family: int) -> bytes:
        common = {"message_id": 7, "client_index": 3, "source": OWN}
        if module is bulk:
            return bulk.encode_apply(keys, ids, family, paths, 0xFFFFFFF0, **common).tobytes()
        return encode_routes(keys, ids, paths, 0xFFFFFFF0, **common).tobytes()

    for family in (AF_INET, AF_INET6):
        drawn = [random_key(rng, rng.choice((0, 4_000_000_000))) for _ in range(400)]
        keys = [key for key in drawn if key.family == family][: vapi_routes.FEW]
        pool = [NO_ENTRY, *(entries.intern(random_entry(rng, family)) for _ in range(9))]
        ids = np.array([rng.choice(pool) for _ in keys], np.int32)
        assert vapi_routes.FEW == len(keys)
        few = encoded(Keys.of(keys), ids, family)
        with monkeypatch.context() as patch:
            patch.setattr(module, "FEW", 0)
            assert few == encoded(Keys.of(keys), ids, family)


def test_labels_are_encoded_as_vpp_papi_does() -> None:
    rng, entries, packer = random.Random(2), FibEntries(), messages()
    keys = [Key.parse(str(label)) for label in rng.sample(range(16, 1 << 20), 500)]
    ids = np.array(
        [NO_ENTRY if rng.random() < 0.1 else entries.intern(random_entry(rng, AF_MPLS)) for _ in keys], np.int32
    )
    buffer = encode_labels(
        Keys.of(keys), ids, PathLists(entries), entries, 100,
        message_id=TABLE.numbers["mpls_route_add_del"], client_index=TABLE.client_index,
    )  # fmt: skip
    ours = frames_by_context(buffer.tobytes())
    for row, key in enumerate(keys):
        entry = None if ids[row] == NO_ENTRY else entries[int(ids[row])]
        paths = [] if entry is None else papi_paths(entry, AF_MPLS, MARK)
        popping = [path for path in (entry.paths if entry else ()) if not path.labels]
        for eos in (0, 1):
            route = {
                "mr_label": int(key.text), "mr_eos": eos, "mr_n_paths": len(paths), "mr_paths": paths,
                "mr_eos_proto": int(bool(eos and popping and len(popping[0].via) == 16)),
            }  # fmt: skip
            context = 100 + 2 * row + eos
            theirs = packer.pack("mpls_route_add_del", context, mr_is_add=entry is not None, mr_route=route)
            assert theirs[FRAME_BYTES:] == ours[context], key.text


def test_lookups_are_encoded_as_vpp_papi_does() -> None:
    rng, packer = random.Random(3), messages()
    keys = [random_key(rng, 5) for _ in range(200)]
    buffer = encode_lookups(
        Keys.of(keys), 9, message_id=TABLE.numbers["ip_route_lookup_v2"], client_index=TABLE.client_index
    )
    ours = frames_by_context(buffer.tobytes())
    for row, key in enumerate(keys):
        prefix = {"address": papi_address(key), "len": key.length}
        theirs = packer.pack("ip_route_lookup_v2", 9 + row, table_id=5, exact=1, prefix=prefix)
        assert theirs[FRAME_BYTES:] == ours[9 + row]


def frames_by_context(data: bytes) -> dict[int, bytes]:
    found = Framer().feed(data)
    assert found is not None
    contexts = found.records(np.dtype(">u4"), 6).tolist()
    return {context: found.message(row) for row, context in enumerate(contexts)}


def test_routes_are_decoded_as_they_were_encoded() -> None:
    rng, entries, packer = random.Random(4), FibEntries(), messages()
    wanted = {}
    for _ in range(2_000):
        key = random_key(rng, rng.choice((0, 7)))
        wanted[key] = entries.intern(random_entry(rng, key.family))
    details = [
        packer.pack("ip_route_v2_details", 1, route=papi_route(key, entries[entry], OWN))[FRAME_BYTES:]
        for key, entry in wanted.items()
    ]
    held = decode_details(frames(details), PathLists(entries))
    assert wanted == dict(zip(held.keys, held.entry.tolist(), strict=True))
    assert {OWN} == set(held.source.tolist())


def test_the_answers_of_a_real_vpp_are_what_was_written_into_it() -> None:
    entries = FibEntries()
    paths = PathLists(entries)
    routes = decode_details(frames(golden("ip_route_v2_details")), paths)
    labels, _ = decode_labels(
        frames(golden("mpls_route_details")), paths, entries, own_source=OWN, other_source=OTHER
    )  # fmt: skip
    written = {
        Key(0, key.family, key.bits, key.length): entry for key, entry in EVERY_KIND.items() if key.table in (0, 254)
    }
    assert written == {
        key: entries[entry]
        for held in (routes, labels)
        for key, entry, source in zip(held.keys, held.entry.tolist(), held.source.tolist(), strict=True)
        if source == OWN
    }
    found = decode_lookups(frames(golden("ip_route_lookup_v2_reply")), paths)
    assert [Key.parse("1.0.1.0/24", 0)] == list(found.keys)


def test_prefixes_of_interfaces_lose_their_host_bits() -> None:
    held = decode_details(frames(golden("ip_route_v2_details")), PathLists(FibEntries()))
    assert "10.0.0.0/24" in {key.text for key in held.keys}


def test_a_label_that_is_half_written_is_equal_to_nothing_wanted() -> None:
    entries = FibEntries()
    for halves in ([0], [1], [0, 1]):
        details = [_label_details(100, eos, PLAIN if eos else SWAP) for eos in halves]
        held, _ = decode_labels(
            frames(details), PathLists(entries), entries, own_source=OWN, other_source=OTHER
        )  # fmt: skip
        assert [FibKind.OTHER] == [entries[number].kind for number in held.entry.tolist()]
        assert [OWN] == held.source.tolist()


def test_a_label_of_somebody_else_is_not_ours() -> None:
    entries = FibEntries()
    for marks in ((0, 0), (MARK, 0), (0, MARK)):
        details = [_label_details(100, eos, SWAP, mark) for eos, mark in enumerate(marks)]
        held, _ = decode_labels(
            frames(details), PathLists(entries), entries, own_source=OWN, other_source=OTHER
        )  # fmt: skip
        assert [OTHER] == held.source.tolist()


PLAIN = FibEntry(FibKind.UNICAST, (FibPath(bytes((10, 0, 0, 2)), 1),))
SWAP = FibEntry(FibKind.UNICAST, (FibPath(bytes((10, 0, 0, 2)), 1, 1, (300,)),))


def _label_details(label: int, eos: int, entry: FibEntry, mark: int = MARK) -> bytes:
    paths = papi_paths(entry, AF_MPLS, mark)
    route = {"mr_label": label, "mr_eos": eos, "mr_n_paths": len(paths), "mr_paths": paths}
    return messages().pack("mpls_route_details", 1, mr_route=route)[FRAME_BYTES:]


def test_every_cut_of_a_stream_gives_the_same_messages() -> None:
    stream = b"".join(
        framed(part) for part in [*golden("ip_route_v2_details")[:4], welcome(), *golden("mpls_route_details")]
    )
    whole = Framer().feed(stream)
    assert whole is not None
    expected = [whole.message(row) for row in range(len(whole))]
    for cut in range(len(stream)):
        framer = Framer()
        parts = [found for found in (framer.feed(stream[:cut]), framer.feed(stream[cut:])) if found is not None]
        assert expected == [part.message(row) for part in parts for row in range(len(part))]


def test_a_stream_byte_by_byte_gives_the_same_messages() -> None:
    stream = b"".join(framed(part) for part in golden("ip_route_v2_details"))
    framer = Framer()
    parts = [found for at in range(len(stream)) if (found := framer.feed(stream[at : at + 1])) is not None]
    assert golden("ip_route_v2_details") == [part.message(0) for part in parts]


def test_messages_that_make_no_sense_are_malformed_and_nothing_worse() -> None:
    rng, entries, packer = random.Random(5), FibEntries(), messages()
    paths = PathLists(entries)
    sources = [(name, message) for name in sorted({*REQUIRED}) for message in golden(name)]
    zeros = {"mtu": [0] * 4}
    answers = [name for name in REQUIRED if name.endswith(("_reply", "_details"))]
    sources += [(name, packer.pack(name, 1, **zeros)[FRAME_BYTES:]) for name in answers]
    sources += [("welcome", welcome()), ("sw_interface_event", packer.pack("sw_interface_event", 1)[FRAME_BYTES:])]
    malformed: list[str] = []
    for _ in range(10_000):
        name, message = rng.choice(sources)
        try:
            _decode(name, _mutated(rng, message), packer, paths, entries)
        except MalformedMessage as error:
            malformed.append(str(error))
    assert all(malformed)
    assert len(malformed) > 1_000


def _mutated(rng: random.Random, message: bytes) -> bytes:
    mutated = bytearray(message)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(mutated) + 1)
        match rng.randrange(4):
            case 0:
                del mutated[at:]
            case 1:
                mutated[at:at] = rng.randbytes(rng.randrange(1, 40))
            case 2:
                del mutated[at : at + rng.randrange(1, 40)]
            case _:
                mutated[at : at + 1] = rng.randbytes(1)
    return bytes(mutated)


def _decode(name: str, message: bytes, packer: Messages, paths: PathLists, entries: FibEntries) -> None:
    stream = Framer().feed(framed(message))
    if stream is None:
        return
    stream.message_id, stream.context  # noqa: B018
    match name:
        case "welcome":
            MessageTable(message).differences()
        case "ip_route_v2_details":
            decode_details(stream, paths)
        case "ip_route_lookup_v2_reply":
            decode_lookups(stream, paths)
        case "mpls_route_details":
            decode_labels(stream, paths, entries, own_source=OWN, other_source=OTHER)
        case "ip_route_add_del_v2_reply" | "mpls_route_add_del_reply":
            decode_replies(stream)
        case _:
            packer.unpack(name, message)


def test_definitions_that_make_no_sense_are_malformed() -> None:
    rng, text = random.Random(6), definitions()
    for _ in range(300):
        at = rng.randrange(len(text))
        broken = text[:at] + rng.choice(("", "]", "}", '"', "0", "null")) + text[at + rng.randrange(1, 30) :]
        with contextlib.suppress(MalformedMessage):
            Messages(TABLE).learn(broken)


def test_two_path_lists_of_one_hash_stay_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtagent.wire.vapi.paths._mixed", lambda words: np.zeros(len(words), np.uint64))
    entries, packer = FibEntries(), messages()
    wanted = [entries.intern(PLAIN), entries.intern(SWAP), entries.intern(PLAIN)]
    details = [
        packer.pack("ip_route_v2_details", 1, route=papi_route(Key.parse(f"1.0.{row}.0/24", 0), entries[entry], OWN))
        for row, entry in enumerate(wanted)
    ]
    held: FibVector = decode_details(frames([each[FRAME_BYTES:] for each in details]), PathLists(entries))
    assert wanted == held.entry.tolist()


def test_the_first_thing_said_fits_its_frame() -> None:
    said = hello("rtagent", 7)
    assert len(said) - FRAME_BYTES == int.from_bytes(said[8:12], "big")
