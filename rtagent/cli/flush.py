"""rtagent flush: take our rows out of VPP, which nothing else ever does."""

from __future__ import annotations

import argparse
import asyncio
import sys

from rtagent.agent.asking import RequestRefused, Unreachable, ask
from rtagent.agent.dataplane import make_sink
from rtagent.agent.mirror import Mirror
from rtagent.agent.reconciler import remove_all
from rtagent.agent.settings import Settings
from rtagent.cli import options, output

NAME = "flush"
HELP = "remove every row that is ours from VPP"
DESCRIPTION = """Remove every row of rtagent's own source from VPP; rows of others stay. Asks first. Not while an agent
is running: it would put them back."""
EXAMPLES = """examples:
  systemctl stop rtagent && rtagent flush
  rtagent flush --yes

exit status: 0 removed; 1 not removed (the answer was no, or VPP refused a row); 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    options.add_json(parser)
    options.add_config(parser)
    options.add_control(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    return asyncio.run(_flush(args))


async def _flush(args: argparse.Namespace) -> int:
    settings = options.settings_of(args)
    if settings.dataplane == "memory":
        raise ValueError("a memory FIB ends with its agent: there is nothing to flush")
    if await _runs(settings.control):
        raise ValueError(f"an agent is running at {settings.control} and would put the rows back; stop it first")
    mirror = Mirror(settings, make_sink)
    await mirror.sink.connect()
    try:
        with output.working("reading VPP"):
            await mirror.load()
        count = int((mirror.ledger.installed[: mirror.store.rib.table.size] >= 0).sum())
        if count and not args.yes and not _agreed(count, settings):
            return 1
        with output.working("removing"):
            removed = await remove_all(mirror.ledger, mirror.store, mirror.sink)
    finally:
        await mirror.sink.close()
    if args.json:
        output.print_json({"held": count, "removed": removed})
    else:
        print(f"removed {removed} of {count} rows")
    return 0 if removed == count else 1


def _agreed(count: int, settings: Settings) -> bool:
    if not sys.stdin.isatty():
        raise ValueError(f"{count} rows would be removed, and there is no terminal to ask on; say --yes")
    answer = input(f"Remove {count} rows from VPP at {settings.vpp_socket}? Traffic to them stops. [y/N] ")
    return answer.strip().lower() in ("y", "yes")


async def _runs(control: str) -> bool:
    try:
        async for _ in ask(control, "status"):
            pass
    except Unreachable:
        return False
    except RequestRefused:
        return True
    return True
