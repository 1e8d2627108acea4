"""How things are shown to people: tables on standard output, progress on standard error.

Nothing else knows rich, and it is loaded by what shows something: it takes longer than most answers do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_WIDTH_OFF_TERMINAL = 200
_ROWS_A_TABLE = 2000

_STYLES = {
    "installed": "green", "up": "green", "ok": "green", "synced": "green", "pending": "yellow", "syncing": "yellow",
    "starting": "yellow", "others": "yellow", "awaiting": "yellow", "parked": "yellow", "shadowed": "yellow",
    "unsupported": "magenta",
    "rejected": "red", "degraded": "red", "missing": "red", "extra": "red",
}  # fmt: skip

Row = dict[str, Any]


def console() -> Console:
    """Return the console for results: colours only on a terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH_OFF_TERMINAL, highlight=False, emoji=False)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show that something is going on that may take more than a second; nothing off a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def table(*columns: str) -> Table:
    """Return an empty table in the house's style."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def word(text: str) -> Text:
    """Return a state or a verdict in its colour."""
    return plain(text, _STYLES.get(text.split(" ")[0], ""))


def plain(text: str, style: str = "") -> Text:
    """Return a text as it is, whatever brackets are in it."""
    from rich.text import Text

    return Text(text, style=style)


def paths_text(row: Row | None) -> str:
    """Return type and paths of a row, one path a line."""
    if row is None:
        return "-"
    lines = [
        " ".join(
            [
                *([f"via {path['via']}"] if path["via"] else []),
                *([f"dev {path['interface']}"] if path["interface"] else []),
                *([f"weight {path['weight']}"] if len(row["paths"]) > 1 else []),
                *([f"encap {path['encap']}"] if "encap" in path else []),
                *([f"labels {'/'.join(map(str, path['labels']))}"] if path["labels"] else []),
            ]
        )
        for path in row["paths"]
    ]
    return "\n".join(lines) if lines and row["type"] == "unicast" else row["type"]


def print_tables(rows: Iterable[Row], columns: tuple[str, ...], cells: Any) -> int:
    """Print rows as tables, a page of rows at a time; return how many there were."""
    out, count = console(), 0
    page = table(*columns)
    for row in rows:
        page.add_row(*cells(row))
        count += 1
        if page.row_count == _ROWS_A_TABLE:
            out.print(page)
            page = table(*columns)
    if page.row_count:
        out.print(page)
    return count


def print_json_rows(rows: Iterable[Row]) -> int:
    """Print rows as one JSON array, a row a line; return how many there were."""
    count = 0
    sys.stdout.write("[")
    for row in rows:
        sys.stdout.write(("\n" if count == 0 else ",\n") + json.dumps(row, ensure_ascii=False))
        count += 1
    sys.stdout.write("\n]\n" if count else "]\n")
    return count


def print_json(value: Any) -> None:
    """Print one JSON value."""
    print(json.dumps(value, ensure_ascii=False, indent=2))
