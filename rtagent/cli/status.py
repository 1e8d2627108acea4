"""rtagent status: how the running agent stands."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING, Any

from rtagent.agent.asking import ask
from rtagent.cli import options, output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NAME = "status"
HELP = "how the running agent stands"
DESCRIPTION = (
    "Show health, sources in sync, neighbours, pairs, tables, rows by state, lag, and the last resync with its reason."
)
EXAMPLES = """examples:
  rtagent status
  rtagent status --json | jq .rows

exit status: 0 healthy; 1 degraded or starting; 2 no agent answers"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_json(parser)
    options.add_control(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    status = asyncio.run(_ask(options.control_of(args)))
    if args.json:
        output.print_json(status)
    else:
        _show(status)
    return 0 if status["health"] == "ok" else 1


async def _ask(control: str) -> dict[str, Any]:
    status: dict[str, Any] = {}
    async for message in ask(control, "status"):
        status = message["status"]
    return status


def _show(status: dict[str, Any]) -> None:
    out = output.console()
    facts = output.table("", "")
    facts.show_header = False
    facts.add_row("health", output.word(status["health"]))
    for reason in status["reasons"]:
        facts.add_row("", reason)
    for warning in status["warnings"]:
        facts.add_row("warning", warning)
    facts.add_row("agent", f"version {status['version']}, pid {status['pid']}, up {status['uptime_s']:.0f} s")
    if status["mesh"]:
        _add_mesh(facts, status["mesh"])
    if status["dataplane"]["kind"] == "none":
        out.print(facts)
    else:
        _show_mirror(out, facts, status)


def _add_mesh(facts: Table, mesh: dict[str, Any]) -> None:
    facts.add_row(
        "mesh", f"{output.word(mesh['state'])}, {mesh['members']} members" + (f": {mesh['why']}" * bool(mesh["why"]))
    )
    for name, source in mesh["sources"].items():
        facts.add_row("", f"{name} {source['state']}" + (f": {source['trouble']}" if source["trouble"] else ""))
    for id_, left_s in mesh["held"].items():
        facts.add_row(
            "", f"{id_} is gone and stays " + ("until it is known" if left_s is None else f"for {left_s:.0f} s")
        )


def _show_mirror(out: Console, facts: Table, status: dict[str, Any]) -> None:
    behind = [f"{part} {state}" for part, state in status["sources"].items() if state != "synced"]
    facts.add_row("kernel", output.word("synced") if not behind else ", ".join(behind))
    dataplane = status["dataplane"]
    kind = dataplane["kind"] + (", bulk" if dataplane["bulk"] else "")
    facts.add_row("data plane", f"{output.word(dataplane['state'])} ({kind})")
    lag = status["lag_ms"]
    if lag["samples"]:
        facts.add_row("lag", f"p50 {lag['p50']} ms, p99 {lag['p99']} ms (last {lag['samples']} writes)")
    facts.add_row("written", f"{status['writes']} rows" + (f"; refused {status['errors']}" if status["errors"] else ""))
    for family, counts in status["neighbors"].items():
        shown = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "wanted")
        facts.add_row(f"neighbours {family}", shown)
    objects = status["objects"]
    facts.add_row("besides routes", f"{objects['wanted']} wanted, {objects['differing']} differ")
    resync = status["resync"]
    if resync["count"]:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(resync["last_at"]))
        facts.add_row("resyncs", f"{resync['count']}, last at {when}: {resync['last_reason']}")
    out.print(facts)
    if status["pairs"]:
        pairs = output.table("host", "vpp", "state")
        for pair in status["pairs"]:
            pairs.add_row(pair["host"], pair["vpp"], output.word(pair["state"]))
        out.print()
        out.print(pairs)
    if status["rows"]:
        rows = output.table("rows", "inet", "inet6", "mpls")
        for state, families in status["rows"].items():
            rows.add_row(output.word(state), *(str(families.get(family, 0)) for family in ("inet", "inet6", "mpls")))
        out.print()
        out.print(rows)
        tables = output.table("table", "family", "rows")
        for row in status["tables"]:
            tables.add_row(str(row["table"]), row["family"], str(row["rows"]))
        out.print()
        out.print(tables)
    if status["rules"]:
        rules = output.table("rules that VPP does not follow", "family")
        for row in status["rules"]:
            rules.add_row(row["rule"], row["family"])
        out.print()
        out.print(rules)
