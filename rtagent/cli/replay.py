"""rtagent replay: repeat a journal, and say whether each decision comes out as it was."""

from __future__ import annotations

import argparse
from pathlib import Path

from rtagent.agent.replay import Verdict, replay
from rtagent.cli import options, output
from rtagent.wire.errors import MalformedMessage

NAME = "replay"
HELP = "repeat a journal without kernel and VPP"
DESCRIPTION = """Repeat what an agent wrote with --journal: the same messages, decoded, stored and decided upon again,
without kernel and VPP. Says whether every decision is the same, else the first one that is not. A journal that was cut
off in the middle of a record is repeated up to there."""
EXAMPLES = """examples:
  rtagent replay /var/tmp/rtagent.journal
  rtagent replay --json journal | jq .difference

exit status: 0 the same decisions; 1 another one; 2 trouble (no journal, or of another version)"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("file", metavar="FILE", type=Path, help="what rtagent run --journal wrote")
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    try:
        with output.working("repeating"):
            verdict = replay(args.file.read_bytes())
    except (OSError, MalformedMessage) as error:
        raise ValueError(f"{args.file}: {error.strerror if isinstance(error, OSError) else error}") from None
    if args.json:
        output.print_json(verdict.as_json())
    else:
        print(_text(verdict))
    return 0 if verdict.same else 1


def _text(verdict: Verdict) -> str:
    end = "; its last record is cut off" if verdict.torn else "; it ends where it was full" if verdict.full else ""
    what = f"{verdict.records} records of {verdict.spans_s:.1f} s, {verdict.plans} plans of {verdict.rows} rows{end}"
    different = verdict.difference
    if different is None:
        return f"the same decisions: {what}"
    row = different.row
    key = f"table {row['table']} {row['prefix']}" if "prefix" in row else f"label {row['label']}"
    return (
        f"another decision at record {different.record}, {different.at_s:.3f} s, {key}:\n"
        f"  recorded: {different.recorded}\n  replayed: {different.replayed}"
    )
