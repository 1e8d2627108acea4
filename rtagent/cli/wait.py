"""rtagent wait: for scripts that must not go on before routes are in the data plane."""

from __future__ import annotations

import argparse
import asyncio
import time

from rtagent.agent.asking import Unreachable, ask
from rtagent.cli import errors, options, output

NAME = "wait"
HELP = "wait until the data plane holds what the kernel holds"
DESCRIPTION = """Return when everything that the kernel held at the call is installed. An agent that is not there yet is
waited for."""
EXAMPLES = """examples:
  ip route add 192.0.2.0/24 via 10.0.0.1 && rtagent wait --synced --timeout 5

exit status: 0 installed; 1 not in time; 2 trouble"""

_AGENT_EXPECTED_EVERY_S = 0.05


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--synced", action="store_true", required=True, help="what to wait for")
    parser.add_argument("--timeout", metavar="S", type=_seconds, default=60.0, help="seconds to wait (default: 60)")
    options.add_json(parser)
    options.add_control(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    control = options.control_of(args)
    told = ["no answer from the agent"]
    with output.working("waiting for the data plane"):
        try:
            asyncio.run(_wait(control, args.timeout, told))
            synced = True
        except TimeoutError:
            synced = False
    if args.json:
        output.print_json({"synced": synced, "waiting_for": None if synced else told[-1]})
    elif not synced:
        errors.tell(f"not synced within {args.timeout:g} s: {told[-1]}")
    return 0 if synced else 1


async def _wait(control: str, timeout_s: float, told: list[str]) -> None:
    deadline = time.monotonic() + timeout_s
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                async for message in ask(control, "wait"):
                    if "waiting" in message:
                        told.append("; ".join([f"{message['waiting']} rows are waiting", *message["reasons"]]))
                    if message.get("synced"):
                        return
            except Unreachable as error:
                told.append(str(error))
                await asyncio.sleep(min(_AGENT_EXPECTED_EVERY_S, max(0.0, deadline - time.monotonic())))


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text}: a number of seconds, 0 or more")
    return value
