"""A pytest plugin: a test that needs another kernel runs in a guest (tests/lab/vm.py), reported as if it ran here.

``@pytest.mark.kernel("mpls", "vrf")`` says what a test needs; where this kernel has it, it is a test like any other.
Where it has not, the item is handed, when its turn comes, to a pytest in a guest that is booted for the first such item
and kept for the others of this process; which kind of guest, the lighter one that has what is needed, is for vm.py to
say. That pytest runs the item, fixtures and all, and what comes back are its own reports: what has no report has not
passed. ``--vm`` hands over everything.

Over the guest's serial line go lines of JSON. From here: an item to run and the one after it, which says what fixtures
are to survive. From there: ``ready``, reports, and ``end`` of an item.
"""

from __future__ import annotations

import functools
import json
import os
import select
import sys
import time
from collections.abc import Iterable
from typing import Any

import pytest

from tests.lab import vm
from tests.lab.kernel import lacking
from tests.lab.lab import CommandFailed
from tests.lab.machine import Machine

_SERVE = 'exec "$@" 3<&0 4>&1 </dev/null >&2'
_REQUESTS_FD, _REPORTS_FD = 3, 4
_SIZES = ("routes", "churn")
"""Options of tests/conftest.py that make a test larger than it is by itself; it then has ``_LARGER`` times as long."""
_LARGER = 20
_KEY = pytest.StashKey["Guest"]()


class Lost(Exception):
    """The guest has failed; the text says how, and what its console shows."""


class Guest:
    """The pytest in a guest, as seen from here."""

    def __init__(self, config: pytest.Config, machine: Machine, files: list[str]) -> None:
        self._config = config
        sizes = [f"--{name}={value}" for name in _SIZES if (value := config.getoption(name, None))]
        self._item_s = machine.item_s * (_LARGER if sizes else 1)
        options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "tests.guest", "--serve-guest", *sizes]
        pytest_there = [sys.executable, "-m", "pytest", *options, "--rootdir", str(config.rootpath), *files]
        self._received = b""
        try:
            self._vm = vm.Vm(["sh", "-c", _SERVE, "sh", *pytest_there], machine=machine)
        except CommandFailed as error:
            raise Lost(str(error)) from None
        try:
            self._next_message(machine.item_s, "get ready")
        except Lost:
            self.close()
            raise

    def run(self, item: pytest.Item, after: pytest.Item | None) -> Iterable[pytest.TestReport]:
        """Run an item, and yield its reports as they come. Raises Lost."""
        request = {"item": item.nodeid, "next": after.nodeid if after else None}
        try:
            self._vm.stdin.write(json.dumps(request).encode() + b"\n")
            self._vm.stdin.flush()
        except BrokenPipeError:
            raise Lost(f"the guest is gone\n{self._vm.console()[-4000:]}") from None
        deadline = time.monotonic() + self._item_s
        while (message := self._next_message(deadline - time.monotonic(), f"end {item.nodeid}")) != "end":
            report = self._config.hook.pytest_report_from_serializable(config=self._config, data=message)
            if isinstance(report.longrepr, list):
                report.longrepr = tuple(report.longrepr)  # where and why it was skipped
            yield report

    def close(self) -> None:
        """End the guest."""
        self._vm.close()

    def _next_message(self, timeout_s: float, what: str) -> Any:
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._received:
            readable, _, _ = select.select([self._vm.stdout], [], [], max(0, deadline - time.monotonic()))
            if not readable:
                raise Lost(f"the guest did not {what} within {timeout_s:.0f} s\n{self._vm.console()[-8000:]}")
            part = self._vm.stdout.read1()
            if not part:
                raise Lost(f"the guest ended before it could {what}\n{self._vm.console()[-8000:]}")
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)


class Here:
    """This side: picks the items to hand over, and reports for them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._everything: bool = config.getoption("--vm")
        self._files: dict[Machine, list[str]] = {}
        self._guests: dict[Machine, Guest] = {}
        self._boot_failures: dict[Machine, str] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Skip what is to be handed over where there is no guest to be had."""
        for machine in vm.MACHINES:
            handed_over = [item for item in items if self._guest_for(item) is machine]
            self._files[machine] = sorted({str(item.path) for item in handed_over})
            if not machine.installed:
                for item in handed_over:
                    needs = ", ".join(lacking(_needs(item))) or "another kernel"
                    item.add_marker(pytest.mark.skip(reason=f"{machine.missing}: NOT tested what needs {needs}"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Have an item run in the guest."""
        machine = self._guest_for(item)
        if machine is None or not machine.installed:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        after = nextitem if nextitem is not None and self._guest_for(nextitem) is machine else None
        try:
            for report in self._booted(machine).run(item, after):
                item.ihook.pytest_runtest_logreport(report=report)
        except Lost as error:
            self._end(machine)
            report = pytest.TestReport(item.nodeid, item.location, {}, "failed", str(error), "call")
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        # the test before was told that this one comes next, and has left up what this one would have needed here
        item.session._setupstate.teardown_exact(nextitem)
        return True

    def pytest_unconfigure(self) -> None:
        """End the guests."""
        for machine in vm.MACHINES:
            self._end(machine)

    def _end(self, machine: Machine) -> None:
        guest = self._guests.pop(machine, None)
        if guest is not None:
            guest.close()

    def _booted(self, machine: Machine) -> Guest:
        if failure := self._boot_failures.get(machine):
            raise Lost(failure)
        if machine not in self._guests:
            try:
                self._guests[machine] = Guest(self._config, machine, self._files[machine])
            except Lost as error:  # one that does not boot will not do so for the next item
                self._boot_failures[machine] = str(error)
                raise
        return self._guests[machine]

    def _guest_for(self, item: pytest.Item) -> Machine | None:
        """Return what an item is to run in, None for here."""
        needs = _needs(item)
        return vm.machine_for(needs) if self._everything or lacking(needs) else None


class There:
    """The guest's side: runs what it is told to, and nothing else."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reports = os.fdopen(_REPORTS_FD, "w")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        self._say("ready")
        with os.fdopen(_REQUESTS_FD) as requests:
            for line in requests:
                request = json.loads(line)
                item, after = items[request["item"]], items.get(request["next"])
                self._config.hook.pytest_runtest_protocol(item=item, nextitem=after)
                self._say("end")
        return True

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if missing := lacking(_needs(item)):
            pytest.skip(f"no kernel at hand has {', '.join(missing)}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._say(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def _say(self, message: object) -> None:
        print(json.dumps(message), file=self._reports, flush=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--vm", action="store_true", help="run every test in another kernel (tests/lab/vm.py)")
    parser.addoption("--serve-guest", action="store_true", help="for tests/guest.py itself: be the guest's side")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kernel(*features): what a test needs of its kernel, see tests/lab/kernel.py")
    config.pluginmanager.register(There(config) if config.getoption("--serve-guest") else Here(config))


@functools.cache
def _needs(item: pytest.Item) -> tuple[str, ...]:
    return tuple(sorted({feature for mark in item.iter_markers("kernel") for feature in mark.args}))
