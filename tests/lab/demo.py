"""``./dev demo``: a small network, rtagent in its middle, a node that goes away and comes back.

Nothing is shown that was not verified: each step compares what should be with what is, and the first that fails ends
the demo with status 1. On a terminal steps move while they last; elsewhere each leaves one plain line.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests.lab.lab import CommandFailed, Lab, sweep, wait_for
from tests.lab.site import SERVICE, Control, Site, announced, expected_routes, pods

_SESSION_ENDS = 8
"""Four sessions, each seen from both ends: a mesh of three, and the upstream router."""
_MOST_ROUTES = 1_000_000
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
_AGAIN_S = 0.5
_LOG_TAIL = 12
_FIB_NAMES = {"vpp": "VPP's", "memory": "in memory"}


class Unverified(Exception):
    """Something was not as the demo claims; the text says what."""


class Step:
    """A step under way; ``text`` is what it leaves behind."""

    def __init__(self, progress: Progress, text: str, total: int | None) -> None:
        self.text = text
        self._progress = progress
        self._task = progress.add_task(text, total=total)

    def at(self, completed: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=completed)


class Demo:
    """The story, in order."""

    def __init__(self, console: Console, site: Site) -> None:
        self._console = console
        self._site = site

    def run(self, extra_routes: int) -> None:
        """Tell it. Raises Unverified, CommandFailed or TimeoutError."""
        self._bring_up()
        self._mirror()
        if extra_routes:
            self._load(extra_routes)
        self._lose_and_regain("node1")

    def _bring_up(self) -> None:
        if self._site.dataplane == "vpp":
            with self._step("VPP") as step:
                self._site.start_dataplane()
                step.text = "VPP: started, with a port for each of the balancer's links"
        with self._step("BGP sessions", _SESSION_ENDS) as step:
            self._site.start_birds()

            def stand() -> bool:
                up, known = self._site.sessions()
                step.at(up)
                return up == known == _SESSION_ENDS

            wait_for(stand, "every BGP session Established")
            step.text = f"BGP: {_SESSION_ENDS // 2} sessions Established between upstream, balancer, node1 and node2"
        self._learned(expected_routes())

    def _mirror(self) -> None:
        with self._step("rtagent") as step:
            self._site.start_agent()
            self._synced()
            step.text = f"rtagent: started, and in sync with the kernel; its FIB is {_FIB_NAMES[self._site.dataplane]}"
        self._agree(expected_routes())
        self._console.print("  rtagent fib:")
        sys.stdout.flush()
        _equal(0, self._site.rtagent("fib", quiet=False).returncode, "status of rtagent fib")

    def _load(self, number: int) -> None:
        with contextlib.closing(Control(self._site.control)) as control:
            with self._step(f"{number:,} more routes in the FIB", number) as step:
                before = _installed(control)
                started = time.monotonic()
                self._site.announce(number)

                def loaded() -> bool:
                    count = _installed(control) - before
                    step.at(count)
                    return count >= number

                wait_for(loaded, f"{number:,} more routes in the FIB", 600)
                took_s = time.monotonic() - started
                step.text = (
                    f"{number:,} more routes: {took_s:.2f} s from upstream's new configuration, over two BIRDs and the "
                    f"kernel, into the FIB ({number / took_s:,.0f} a second)"
                )
            with self._step("counting them", None) as step:
                self._synced(600)
                rows = (row for message in control.ask("fib", family="inet") for row in message["rows"])
                found = {row["prefix"] for row in rows if row["state"] == "installed"}
                _equal(number, len(found & set(announced(number))), "announced prefixes in the FIB")
                step.text = f"FIB: all of the {number:,} prefixes that were announced (as rtagent fib says)"
        self._agree(expected_routes())

    def _lose_and_regain(self, node: str) -> None:
        site = self._site
        prefix, service = pods(node)[0], SERVICE[0]
        before, after = expected_routes(), expected_routes(without=node)
        with contextlib.closing(Control(site.control)) as control:
            with self._step(f"{node} goes away") as step:
                started = time.monotonic()
                site.take_down(node)
                gone_s = _until(lambda: not _gateways(control, prefix), started, f"{prefix} gone from the FIB")
                left = after[service]
                left_s = _until(lambda: _gateways(control, service) == left, started, f"{service} by {left} alone")
                site.birds[node].kill()
                step.text = (
                    f"{node} lost its link and its BIRD: {gone_s * 1e3:.1f} ms from `ip link set down` until the FIB "
                    f"had no {prefix}, {left_s * 1e3:.1f} ms until {service} had but one path"
                )
            self._learned(after)
            self._agree(after)
            with self._step(f"{node} comes back") as step:
                site.bring_back(node)
                started = time.monotonic()
                site.birds[node].start()
                back_s = _until(lambda: _gateways(control, prefix) == before[prefix], started, f"{prefix} in the FIB")
                step.text = f"{node} is back: {back_s:.2f} s from its BIRD's start until the FIB had {prefix}"
            self._learned(before)
            self._agree(before)

    def _learned(self, expected: dict[str, set[str]]) -> None:
        """Wait until the balancer's kernel has these BGP routes."""
        with self._step("routes in the balancer's kernel", len(expected)) as step:

            def learned() -> bool:
                routes = self._site.kernel_routes(expected_routes())
                step.at(len(routes.keys() & expected.keys()))
                return routes == expected

            with contextlib.suppress(TimeoutError):
                wait_for(learned, "the balancer's kernel routes")
            _equal(expected, self._site.kernel_routes(expected_routes()), "the balancer's BGP routes in the kernel")
            step.text = f"kernel: {len(expected)} BGP routes with the expected next hops (as iproute2 reads them)"

    def _agree(self, expected: dict[str, set[str]]) -> None:
        """Verify that the FIB has these routes, no other of ours, and that rtagent finds no difference."""
        with self._step("FIB") as step:
            self._synced()
            with contextlib.closing(Control(self._site.control)) as control:
                found = {prefix: gateways for prefix in expected_routes() if (gateways := _gateways(control, prefix))}
            _equal(expected, found, "next hops in the FIB")
            if self._site.vpp is not None:
                _equal(expected, self._site.vpp_routes(expected_routes()), "next hops by which VPP forwards")
            done = self._site.rtagent("diff")
            _equal(0, done.returncode, f"status of rtagent diff\n{done.stdout}{done.stderr}")
            said_by = "rtagent fib says" if self._site.vpp is None else "rtagent fib and vppctl say"
            step.text = f"FIB: the same {len(expected)} (as {said_by}); rtagent diff finds no difference (status 0)"

    def _synced(self, timeout_s: int = 30) -> None:
        done = self._site.rtagent("wait", "--synced", "--timeout", str(timeout_s))
        _equal(0, done.returncode, f"status of rtagent wait --synced\n{done.stdout}{done.stderr}")

    @contextlib.contextmanager
    def _step(self, text: str, total: int | None = None) -> Iterator[Step]:
        columns = [SpinnerColumn(), TextColumn("{task.description}")]
        if total is not None:
            columns += [BarColumn(), MofNCompleteColumn()]
        on_terminal = self._console.is_terminal
        progress = Progress(
            *columns, TimeElapsedColumn(), console=self._console, transient=True, disable=not on_terminal
        )
        with progress:
            step = Step(progress, text, total)
            yield step
        self._console.print(f"[green]✓[/] {step.text}", highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo and return its exit status."""
    options = _options()
    console = Console()
    error_console = Console(stderr=True)
    for number in _INTERRUPTS:
        signal.signal(number, _interrupt)
    for name in sweep():
        console.print(f"removed what a killed lab left behind: {name}")
    with _cleaned_up(Lab()) as lab:
        try:
            site = Site(lab, options.dataplane)
            Demo(console, site).run(options.routes)
            if options.keep:
                _stay(console, site)
        except KeyboardInterrupt:
            error_console.print("interrupted; cleaning up")
            return 130
        except (Unverified, CommandFailed, TimeoutError, ConnectionError, ValueError) as failure:
            error_console.print(f"[red]✗[/] {type(failure).__name__}: ", end="")
            error_console.print(str(failure), markup=False, highlight=False, soft_wrap=True)
            log = lab.folder / "rtagent.log"
            if log.exists():
                tail = log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
                error_console.print("\n".join(["rtagent's last log lines:", *tail]), markup=False, soft_wrap=True)
            return 1
    console.print("[green]✓[/] cleaned up; everything above was verified", highlight=False)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev demo")
    installed = "vpp" if shutil.which("vpp") else "memory"
    parser.add_argument("--routes", type=_route_count, default=0, metavar="N")
    parser.add_argument("--dataplane", choices=("vpp", "memory"), default=installed)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if options.dataplane == "vpp" and installed != "vpp":
        parser.error("there is no vpp on PATH; install FD.io's packages, or use --dataplane memory")
    return options


def _route_count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _MOST_ROUTES:
        raise argparse.ArgumentTypeError(f"a number from 0 to {_MOST_ROUTES}")
    return int(text)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End the demo; and again in a moment, because Python loses what is raised while it runs a destructor."""
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
    raise KeyboardInterrupt


@contextlib.contextmanager
def _cleaned_up(lab: Lab) -> Iterator[Lab]:
    """Close the lab at the end, whatever ends it; a second Ctrl-C does not stop that."""
    try:
        yield lab
    finally:
        for number in _INTERRUPTS:
            signal.signal(number, signal.SIG_IGN)
        lab.close()


def _stay(console: Console, site: Site) -> None:
    console.print("\nStaying until Ctrl-C. From another terminal:", highlight=False)
    console.print(f"  ./dev rtagent status --control {site.control}", highlight=False, soft_wrap=True)
    console.print(f"  ./dev rtagent explain {SERVICE[0]} --control {site.control}", highlight=False, soft_wrap=True)
    for label, bird in site.birds.items():
        where = f"ip netns exec {bird.namespace.name}"
        console.print(f"  birdc -s {bird.socket}    {label}: {where} bash", highlight=False, soft_wrap=True)
    if site.vpp is not None:
        console.print(f"  vppctl -s {site.vpp.folder}/cli.sock show ip fib", highlight=False, soft_wrap=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


def _gateways(control: Control, prefix: str) -> set[str]:
    """Return the next hops by which the FIB forwards a prefix; none where it is not installed."""
    return {
        path["via"]
        for message in control.ask("fib", key=prefix)
        for row in message["rows"]
        if row["state"] == "installed"
        for path in row["paths"]
    }  # fmt: skip


def _installed(control: Control) -> int:
    """Return how many IPv4 rows the FIB holds."""
    return sum(message["status"]["rows"].get("installed", {}).get("inet", 0) for message in control.ask("status"))


def _until(condition: Callable[[], bool], started: float, what: str, timeout_s: float = 30) -> float:
    """Ask again at once until it holds; return the seconds since ``started``."""
    while not condition():
        if time.monotonic() - started > timeout_s:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
    return time.monotonic() - started


def _equal(expected: object, actual: object, what: str) -> None:
    if expected != actual:
        raise Unverified(f"{what}\nexpected {expected}\nfound    {actual}")


if __name__ == "__main__":
    sys.exit(main())
