"""A router in a namespace, with links e0 and e1 to a peer, and the rtagent command beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, NamedTuple

from tests.lab.lab import Lab, Process

RTAGENT = (sys.executable, "-m", "rtagent")


class Done(NamedTuple):
    """What a command ended with."""

    status: int
    out: str
    err: str


class Site:
    """The namespace, and what is run against it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.router, self.peer = lab.namespace("router"), lab.namespace("peer")
        for number in (0, 1):
            lab.veth(self.router, f"e{number}", self.peer, f"e{number}")
            self.router.ip(f"addr add 10.0.{number}.1/24 dev e{number}")
            self.router.ip(f"addr add 2001:db8:{number}::1/64 dev e{number} nodad")
        self.control = str(lab.folder / "control.sock")
        self.config = lab.folder / "rtagent.toml"
        self.config.write_text("")

    def start(
        self, *arguments: str, dataplane: str = "memory", waits: bool = True, env: dict[str, str] | None = None
    ) -> Process:
        """Start an agent and return when it holds what the kernel holds."""
        agent = self.lab.start(
            [
                *RTAGENT, "run", "--config", str(self.config), "--dataplane", dataplane, "--netns", self.router.name,
                "--control", self.control, *arguments,
            ],
            log="agent.log",
            env=env,
        )  # fmt: skip
        if waits:
            self.wait()
        return agent

    def wait(self, timeout_s: float = 30) -> None:
        """Wait until the data plane holds what the kernel holds."""
        done = self.rtagent("wait", "--synced", "--timeout", str(timeout_s))
        assert done == Done(0, "", ""), done

    def rtagent(self, *arguments: str, stdin: str = "") -> Done:
        """Run a command that talks to the agent."""
        return self.command(*arguments, "--control", self.control, stdin=stdin)

    def command(self, *arguments: str, stdin: str = "") -> Done:
        """Run any rtagent command."""
        done = subprocess.run(
            [*RTAGENT, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=120
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def json(self, *arguments: str) -> Any:
        """Run a command with --json and return what it printed."""
        return json.loads(self.rtagent(*arguments, "--json").out)

    def prefixes(self, *arguments: str) -> dict[str, str]:
        """Return the state of each row by prefix."""
        return {row["prefix"]: row["state"] for row in self.json("fib", *arguments)}
