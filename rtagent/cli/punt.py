"""rtagent punt: what VPP hands to the host, where to, and how much."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from rtagent.agent import snapshot
from rtagent.cli import options, output

NAME = "punt"
HELP = "what VPP hands to the host: multicast, broadcast, frames, and the policer"
DESCRIPTION = """Show what VPP punts besides the addresses of its interfaces: other addresses of the host, broadcast,
multicast groups, ports that take IPv4 without an address, frames that are not IP; from which interfaces, and how much
where VPP counts it; the policer of all that is punted, with what it let through and what not; and which plugins of VPP
keep something from the host. Reads only, and works while the agent is down."""
EXAMPLES = """examples:
  rtagent punt
  rtagent punt --json
  rtagent punt --config new.toml                     before the agent is started with it

exit status: 0 all of it reaches the host; 1 something does not; 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_json(parser)
    options.add_config(parser)
    options.add_control(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    with output.working("reading the kernel and the data plane"):
        found = asyncio.run(_punt(args))
    if args.json:
        output.print_json(found)
    else:
        _show(found)
    return 0 if _is_well(found) else 1


async def _punt(args: argparse.Namespace) -> dict[str, Any]:
    return await snapshot.punt(await options.settings_like_the_agent(args))


def _is_well(found: dict[str, Any]) -> bool:
    states = [row["state"] for row in found["punted"]]
    if found["policer"]:
        states += [found["policer"]["state"], found["policer"]["exempt"]]
    return found["linux_cp"] and not found["warnings"] and not {"missing", "rejected", "others"} & {*states}


def _show(found: dict[str, Any]) -> None:
    out = output.console()
    if not found["linux_cp"]:
        out.print("VPP's linux_cp plugin is not loaded: nothing reaches the host")
    for warning in found["warnings"]:
        out.print(output.plain(f"warning: {warning}"))
    if found["punted"]:
        output.print_tables(
            found["punted"], ("punted", "table", "from", "state", "packets", "bytes"), _cells
        )  # fmt: skip
    if found["hosts"]:
        out.print()
        columns = ("what comes in by", "goes to", "state", "packets", "bytes")
        output.print_tables(found["hosts"], columns, _host_cells)
    if found["policer"]:
        _show_policer(found["policer"])


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    state = output.word(row["state"])
    if row["reason"]:
        state.append(f": {row['reason']}")
    return (
        row["what"],
        "" if row["table"] is None else str(row["table"]),
        "all" if row["from"] is None else "\n".join(row["from"]),
        state,
        _number(row["packets"]),
        _number(row["bytes"]),
    )


def _host_cells(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["vpp"], row["host"], output.word(row["state"]), _number(row["packets"]), _number(row["bytes"])


def _show_policer(policer: dict[str, Any]) -> None:
    facts = output.table("policer", "")
    state = output.word(policer["state"])
    if policer["rate_kbps"] is not None:
        state.append(f", {policer['rate_kbps']} kbit/s, bursts of {policer['burst_bytes']} bytes")
    if policer["reason"]:
        state.append(f": {policer['reason']}")
    facts.add_row("limit", state)
    for name, text in (("passed", "let through"), ("dropped", "dropped")):
        count = policer[name]
        facts.add_row(text, "-" if count is None else f"{count['packets']} packets, {count['bytes']} bytes")
    passing = output.word(policer["exempt"])
    if policer["exempt_packets"] is not None:
        passing.append(f", {policer['exempt_packets']} packets")
    if policer["exempt_reason"]:
        passing.append(f": {policer['exempt_reason']}")
    facts.add_row("routing protocols passing by", passing)
    out = output.console()
    out.print()
    out.print(facts)


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
