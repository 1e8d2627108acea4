"""The part of the plugin that believes no client, compiled without VPP, under AddressSanitizer and UBSan."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rtagent.vector.fib import NO_ENTRY, FibEntries, FibEntry, FibKind, FibPath
from rtagent.vector.keys import AF_INET, AF_INET6, AF_MPLS, Key, Keys
from rtagent.wire.vapi.bulk import encode_apply
from rtagent.wire.vapi.paths import PATH, PROTO, PathLists

_HERE = Path(__file__).parent
_PLUGIN = _HERE.parents[1] / "vpp-plugin"
_MESSAGES = 250_000

OK, WRONG_LENGTH, TOO_MANY, WRONG_ORDER, PREFIX_LENGTH, HOST_BITS, NO_SUCH_LIST, NO_PATHS, WRONG_PATH = range(9)
WRONG_PAYLOAD = 9

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: the plugin's parser is NOT tested")


@pytest.fixture(scope="module")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("columns") / "columns"
    subprocess.run(
        ["cc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined",
         "-fno-sanitize-recover=all", f"-I{_PLUGIN}", "-o", program, _HERE / "columns.c",
         _PLUGIN / "fibbulk" / "fibbulk_columns.c"],
        check=True,
    )  # fmt: skip
    return program


def shown(columns: Path, data: bytes, *, family: int = AF_INET, lists: int = 0, rows: int = 0) -> list[str]:
    """Return what the plugin makes of the columns of a message."""
    done = subprocess.run(
        [columns, "print", str(PROTO[family]), str(lists), str(rows)], input=data, capture_output=True, check=True
    )
    return done.stdout.decode().splitlines()


def of_path(**fields: int) -> bytes:
    """Return a message with one path list of one path, and no row."""
    path = np.zeros(1, PATH)
    path["sw_if_index"] = 1
    for name, value in fields.items():
        path[name] = value
    return (1).to_bytes(4, "big") + path.tobytes()


def of_rows(*rows: tuple[int, int, int, str]) -> bytes:
    """Return a message of IPv4 rows (table, path list, length, address) and no path list."""
    numbers = b"".join(b"".join(row[at].to_bytes(4, "big") for row in rows) for at in (0, 1))
    return numbers + bytes(row[2] for row in rows) + b"".join(bytes.fromhex(row[3]) for row in rows)


def of_labels(*rows: tuple[int, int, str, int]) -> bytes:
    """Return a message of labels (path list, length, address, payload) and no path list."""
    return of_rows(*((0, *row[:3]) for row in rows)) + bytes(row[3] for row in rows)


REMOVE = 0xFFFFFFFF


@pytest.mark.parametrize("seed", range(4))
def test_no_mutated_message_makes_the_parser_leave_its_bounds(columns: Path, seed: int) -> None:
    done = subprocess.run(
        [columns, "fuzz", str(seed), str(_MESSAGES // 4)], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
    accepted, rows = map(int, done.stdout.split())
    assert 0 < accepted < _MESSAGES // 4
    assert rows > 0


@pytest.mark.parametrize(("family", "prefixes"), [
    (AF_INET, ["0.0.0.0/0", "192.0.2.0/24", "198.51.100.7/32"]),
    (AF_INET6, ["::/0", "2001:db8::/33", "2001:db8::7/128"]),
])  # fmt: skip
def test_the_plugin_reads_what_the_agent_writes(columns: Path, family: int, prefixes: list[str]) -> None:
    entries = FibEntries()
    via = bytes((10, 0, 0, 2)) if family == AF_INET else bytes.fromhex("20010db8000000000000000000000002")
    two = FibEntry(FibKind.UNICAST, (FibPath(via, 1), FibPath(via, 2, 3, (100, 200))))
    entry = np.array([entries.intern(FibEntry(FibKind.BLACKHOLE)), NO_ENTRY, entries.intern(two)], np.int32)
    keys = [Key.parse(text, table) for text, table in zip(prefixes, (0, 7, 0xFFFFFFFF), strict=True)]
    message = encode_apply(
        Keys.of(keys), entry, family, PathLists(entries), 5, message_id=900, client_index=1, source=24
    ).tobytes()
    size = 16 if family == AF_INET6 else 4
    head = 16 + 10 + 2
    lists, rows, n_bytes = (int.from_bytes(message[head + at : head + at + 4], "big") for at in (0, 4, 8))
    assert (2, 3, len(message) - head - 12) == (lists, rows, n_bytes)
    assert [
        "message 0",
        "list 1 0",
        "list 2 0",
        *(
            f"row 0 {key.table} {key.length} {key.bits.to_bytes(16, 'big')[:size].hex()} {number}"
            for key, number in zip(keys, (0, -1, 1), strict=True)
        ),
    ] == shown(columns, message[head + 12 :], family=family, lists=lists, rows=rows)


def test_the_plugin_reads_the_labels_that_the_agent_writes(columns: Path) -> None:
    entries = FibEntries()
    via = bytes.fromhex("20010db8000000000000000000000002")
    pop = entries.intern(FibEntry(FibKind.UNICAST, (FibPath(via, 1),)))
    entry = np.array([entries.intern(FibEntry(FibKind.BLACKHOLE)), NO_ENTRY, pop], np.int32)
    message = encode_apply(
        Keys.of(map(Key.parse, ("16", "1048575", "100"))), entry, AF_MPLS, PathLists(entries), 5,
        message_id=900, client_index=1, source=24,
    ).tobytes()  # fmt: skip
    assert [
        "message 0", "list 1 0", "list 1 0",
        "row 0 0 20 00010000 1 16 0", "row 0 0 20 fffff000 -1 1048575 0", "row 0 0 20 00064000 0 100 1",
    ] == shown(columns, message[16 + 10 + 2 + 12 :], family=AF_MPLS, lists=2, rows=3)  # fmt: skip


@pytest.mark.parametrize(("data", "lists", "rows", "error"), [
    (b"", 0, 0, OK),
    (b"\0", 0, 0, WRONG_LENGTH),
    (of_rows((0, REMOVE, 0, "00000000"))[:-1], 0, 1, WRONG_LENGTH),
    (of_path()[:-1], 1, 0, WRONG_LENGTH),
    (of_labels((REMOVE, 20, "00064000", 0)), 0, 1, WRONG_LENGTH),
    (b"", 0, 0xFFFFFFFF, TOO_MANY),
    (b"", 0xFFFFFFFF, 0, TOO_MANY),
    (b"", 0, 65537, TOO_MANY),
    ((256).to_bytes(4, "big"), 1, 0, TOO_MANY),
    (bytes.fromhex("00000002 00000001") + bytes(167), 2, 0, WRONG_ORDER),
    (b"".join(number.to_bytes(4, "big") for number in range(255, 34 * 255, 255)), 33, 0, TOO_MANY),
])  # fmt: skip
def test_a_message_whose_counts_do_not_fit_is_refused_as_a_whole(
    columns: Path, data: bytes, lists: int, rows: int, error: int
) -> None:
    assert f"message {error}" == shown(columns, data, lists=lists, rows=rows)[0]


@pytest.mark.parametrize(("row", "error"), [
    ((0, REMOVE, 32, "c0000201"), OK),
    ((0, REMOVE, 31, "c0000201"), HOST_BITS),
    ((0, REMOVE, 0, "80000000"), HOST_BITS),
    ((0, REMOVE, 8, "0a000001"), HOST_BITS),
    ((0, REMOVE, 33, "c0000201"), PREFIX_LENGTH),
    ((0, REMOVE, 255, "00000000"), PREFIX_LENGTH),
    ((0, 0, 32, "c0000201"), NO_SUCH_LIST),
    ((0, REMOVE - 1, 32, "c0000201"), NO_SUCH_LIST),
])  # fmt: skip
def test_a_row_that_cannot_be_stops_no_other(columns: Path, row: tuple[int, int, int, str], error: int) -> None:
    good = (0, REMOVE, 24, "c0000200")
    errors = [line.split()[1] for line in shown(columns, of_rows(good, row, good), rows=3)[1:]]
    assert ["0", str(error), "0"] == errors


@pytest.mark.parametrize(("row", "error"), [
    ((REMOVE, 20, "fffff000", 0), OK),
    ((REMOVE, 20, "fffff000", 1), OK),
    ((REMOVE, 20, "fffff000", 2), WRONG_PAYLOAD),
    ((REMOVE, 20, "fffff000", 255), WRONG_PAYLOAD),
    ((REMOVE, 20, "fffff100", 0), HOST_BITS),
    ((REMOVE, 20, "fffff001", 0), HOST_BITS),
    ((REMOVE, 19, "ffffe000", 0), PREFIX_LENGTH),
    ((REMOVE, 21, "fffff000", 0), PREFIX_LENGTH),
    ((REMOVE, 33, "fffff000", 0), PREFIX_LENGTH),
    ((0, 20, "fffff000", 0), NO_SUCH_LIST),
])  # fmt: skip
def test_a_label_that_cannot_be_stops_no_other(columns: Path, row: tuple[int, int, str, int], error: int) -> None:
    good = (REMOVE, 20, "00064000", 0)
    errors = [line.split()[1] for line in shown(columns, of_labels(good, row, good), family=AF_MPLS, rows=3)[1:]]
    assert ["0", str(error), "0"] == errors


@pytest.mark.parametrize(("fields", "error"), [
    ({}, OK),
    ({"n_labels": 16}, OK),
    ({"n_labels": 17}, WRONG_PATH),
    ({"proto": 1}, OK),
    ({"proto": 2}, WRONG_PATH),
    ({"flags": 3}, OK),
    ({"flags": 4}, WRONG_PATH),
    ({"rpf_id": 7}, WRONG_PATH),
    ({"type": 1}, WRONG_PATH),
    ({"type": 1, "sw_if_index": 0xFFFFFFFF}, OK),
    ({"type": 3}, WRONG_PATH),
    ({"type": 9}, WRONG_PATH),
    ({"type": 0xFFFFFFFF}, WRONG_PATH),
])  # fmt: skip
def test_a_path_of_a_kind_that_points_elsewhere_is_refused(columns: Path, fields: dict[str, int], error: int) -> None:
    assert ["message 0", f"list 1 {error}"] == shown(columns, of_path(**fields), lists=1)


@pytest.mark.parametrize(("fields", "error"), [
    ({}, OK),
    ({"proto": 1}, OK),
    ({"proto": 2}, WRONG_PATH),
    ({"type": 2}, WRONG_PATH),
    ({"type": 2, "proto": 2}, OK),
    ({"type": 1, "sw_if_index": 0xFFFFFFFF}, WRONG_PATH),
    ({"type": 5}, WRONG_PATH),
    ({"type": 5, "proto": 2}, WRONG_PATH),
    ({"type": 6}, WRONG_PATH),
])  # fmt: skip
def test_labels_are_sent_on_or_dropped(columns: Path, fields: dict[str, int], error: int) -> None:
    assert ["message 0", f"list 1 {error}"] == shown(columns, of_path(**fields), family=AF_MPLS, lists=1)


def test_an_empty_path_list_is_refused(columns: Path) -> None:
    assert ["message 0", f"list 0 {NO_PATHS}"] == shown(columns, bytes(4), lists=1)
