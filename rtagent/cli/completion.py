"""rtagent completion: the shell's completion script, made from the parser itself."""

from __future__ import annotations

import argparse

import shtab

NAME = "completion"
HELP = "print a shell's completion script"
DESCRIPTION = "Print the completion script of a shell."
EXAMPLES = """examples:
  rtagent completion bash > /etc/bash_completion.d/rtagent
  rtagent completion zsh > /usr/local/share/zsh/site-functions/_rtagent"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    print(shtab.complete(args.parser(), shell=args.shell))
    return 0
