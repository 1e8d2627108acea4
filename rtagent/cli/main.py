"""The command line: one module a command, joined here; what goes wrong is told in one line and ends with status 2."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

import rtagent
from rtagent.agent import logs
from rtagent.agent.asking import RequestRefused, Unreachable
from rtagent.agent.failures import first_failure
from rtagent.cli import errors
from rtagent.core.failures import Disconnected, Trouble, VersionMismatch
from rtagent.wire.birdc.refusals import CommandRefused
from rtagent.wire.errors import MalformedMessage
from rtagent.wire.toml.schema import SettingsError

_COMMANDS = (
    "run", "check", "status", "wait", "pairs", "interfaces", "punt", "fib", "diff", "explain", "flush", "mesh",
    "replay", "completion",
)  # fmt: skip
"""The modules of the commands. Only the one that is asked for is imported: an agent that just keeps the mesh knows no
numpy."""

_TROUBLE = (
    Unreachable, RequestRefused, Disconnected, VersionMismatch, CommandRefused, MalformedMessage, Trouble, ValueError,
)  # fmt: skip

_EPILOG = """exit status: 0 yes or done; 1 no (a difference, not in time, no such row); 2 trouble; each command's --help
has its own. Manual: man rtagent; docs/ of the source."""


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the whole command line, or what of it one command needs."""
    top = argparse.ArgumentParser(prog="rtagent", description=rtagent.__doc__, epilog=_EPILOG)
    top.add_argument("--version", action="version", version=f"rtagent {rtagent.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in [only] if only in _COMMANDS else _COMMANDS:
        module = import_module(f"rtagent.cli.{name}")
        command = commands.add_parser(
            module.NAME,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add(command)
        command.set_defaults(run=module.run, parser=parser)
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    args = parser(arguments[0] if arguments else None).parse_args(arguments)
    logs.configure("warning", "auto")
    try:
        status = _run(args)
        sys.stdout.flush()
        return status
    except SettingsError as error:
        for problem in error.problems:
            errors.tell(str(problem))
        return 2
    except _TROUBLE as error:
        errors.tell(str(error))
        return 2
    except BrokenPipeError:  # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        said = error.strerror or str(error)
        errors.tell(said if error.filename is None else f"{error.filename}: {said}")
        return 2
    except KeyboardInterrupt:
        return 130


def _run(args: argparse.Namespace) -> int:
    try:
        status: int = args.run(args)
    except BaseExceptionGroup as group:
        raise first_failure(group) from None
    return status


if __name__ == "__main__":
    sys.exit(main())
