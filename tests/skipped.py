"""A pytest plugin that has the last word: what was skipped, and why, after pytest's own closing line.

A green run that left out every test with a real VPP is not the same green; nobody should have to look for that.
Loaded by ``./dev test`` with ``-p tests.skipped``; under xdist only the controller speaks.
"""

from __future__ import annotations

from collections import Counter

import pytest

_KEY = pytest.StashKey["Skipped"]()


class Skipped:
    """Counts skipped tests, and modules skipped whole, by reason."""

    def __init__(self) -> None:
        self._by_reason: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._count(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._count(report)

    def lines(self) -> list[str]:
        """One line per reason, the most frequent first."""
        return [f"SKIPPED {number}: {reason}" for reason, number in self._by_reason.most_common()]

    def _count(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
            self._by_reason[report.longrepr[2].removeprefix("Skipped: ")] += 1


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[_KEY] = Skipped()
        config.pluginmanager.register(config.stash[_KEY])


def pytest_unconfigure(config: pytest.Config) -> None:
    if (skipped := config.stash.get(_KEY, None)) is not None:
        print("\n".join(skipped.lines() or ["nothing was skipped"]))
