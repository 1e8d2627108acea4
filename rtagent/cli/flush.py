"""rtagent flush: take what is ours out of VPP, which nothing else ever does."""

from __future__ import annotations

import argparse
import asyncio
import sys

from rtagent.agent.asking import RequestRefused, Unreachable, ask
from rtagent.agent.dataplane import make_sink
from rtagent.agent.flushing import Ours, Removed, ours, remove
from rtagent.agent.mirror import Mirror
from rtagent.agent.settings import Settings
from rtagent.agent.snapshot import source_of
from rtagent.cli import options, output
from rtagent.sinks.host_links import HostLinks

NAME = "flush"
HELP = "remove everything that is ours from VPP"
DESCRIPTION = """Remove from VPP every row of rtagent's own source, the addresses and tables of paired interfaces, and
the tables, tunnels, policies and sub-interfaces that rtagent made, and what has VPP punt to the host: multicast and
broadcast entries, the policer with its exemptions; what others made stays. Pairs that rtagent made
stay, too, unless --pairs is given: the kernel's links go with them. Asks first. Not while an agent is running: it would
put everything back."""
EXAMPLES = """examples:
  systemctl stop rtagent && rtagent flush
  rtagent flush --pairs --yes                        taps and VLANs, with all that is configured on them

exit status: 0 removed; 1 not removed (the answer was no, or VPP refused something); 2 trouble"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--pairs", action="store_true", help="pairs that rtagent made, and the kernel's links of them")
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
            await source_of(mirror).snapshot()
            mirror.join_pairs()
            await mirror.load()
            mirror.objects.load(await mirror.sink.objects())
        held = ours(mirror.store, mirror.ledger, mirror.objects, pairs=args.pairs)
        if (len(held.rows) or held.objects or held.taps) and not args.yes and not _agreed(held, settings):
            return 1
        with output.working("removing"):
            removed = await remove(mirror.store, mirror.sink, HostLinks(settings.netns), held)
    finally:
        await mirror.sink.close()
    there = Removed(len(held.rows), len(held.objects), len(held.taps))
    if args.json:
        told = {
            "held": there.rows,
            "removed": removed.rows,
            "objects": there.objects,
            "removed_objects": removed.objects,
        }
        output.print_json(told | {"taps": there.taps, "removed_taps": removed.taps, "kept_pairs": held.kept_pairs})
    else:
        print(f"removed {removed.rows} of {there.rows} rows, {removed.objects} of {there.objects} settings")
        if held.taps:
            print(f"removed {removed.taps} of {there.taps} taps whose interface had gone")
        if held.kept_pairs:
            print(f"{held.kept_pairs} pairs of ours stay; rtagent flush --pairs removes them")
    return 0 if removed == there else 1


def _agreed(held: Ours, settings: Settings) -> bool:
    what = f"{len(held.rows)} rows and {len(held.objects)} settings"
    if held.taps:
        what += f", and {len(held.taps)} taps whose interface has gone,"
    if not sys.stdin.isatty():
        raise ValueError(f"{what} would be removed, and there is no terminal to ask on; say --yes")
    answer = input(f"Remove {what} from VPP at {settings.vpp_socket}? Traffic that needs them stops. [y/N] ")
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
