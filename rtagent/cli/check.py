"""rtagent check: validate a configuration file."""

from __future__ import annotations

import argparse
from pathlib import Path

from rtagent.agent.settings import load
from rtagent.cli import options, output
from rtagent.wire.toml.schema import SettingsError

NAME = "check"
HELP = "validate a configuration file"
DESCRIPTION = "Check a configuration file; every problem is told with its line, its key and what would be right."
EXAMPLES = """examples:
  rtagent check /etc/rtagent/rtagent.toml
  rtagent check --json lb.toml

exit status: 0 valid; 1 not valid; 2 the file cannot be read"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the configuration file")
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    args.file.open("rb").close()
    try:
        load(args.file)
        problems = []
    except SettingsError as error:
        problems = error.problems
    if args.json:
        output.print_json_rows([problem._asdict() for problem in problems])
    elif not problems:
        print(f"{args.file}: valid")
    else:
        for problem in problems:
            print(problem)
    return 1 if problems else 0
