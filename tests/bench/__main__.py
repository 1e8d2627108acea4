"""The bench: ``./dev bench [--list] [--only NAME…] [--json FILE] [--seconds N] [--plot FILE]``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog
from rich.console import Console
from rich.table import Table

from tests.bench import (
    agent,
    bird,
    bird_load,
    bulk,
    churn,
    failover,
    kernel,
    linux_nl,
    mesh,
    neighbors,
    scaling,
    stream,
    vapi,
)
from tests.lab import plugin

Measured = dict[str, float]


class Benchmark(NamedTuple):
    """A measurement and how to read it: which of its numbers is ours, the peer's and their ratio, and the bar."""

    measure: Callable[..., Measured]
    ours: str
    unit: str
    bar: str
    met: Callable[[Measured], bool]
    peer: str = ""
    needs_vpp: bool = False
    needs_plugin: bool = False
    options: tuple[str, ...] = ()
    """Options of the command that it takes, where they are given."""

    @property
    def name(self) -> str:
        """The stable name, by which scripts find it."""
        return self.measure.__name__


BENCHMARKS = (
    Benchmark(
        kernel.netlink_decode, "us_per_route", "µs/route", "≤ 1.5 and ≥ 40 x pyroute2",
        lambda found: found["us_per_route"] <= 1.5 and found["ratio"] >= 40, peer="pyroute2_us_per_route",
    ),
    Benchmark(
        kernel.first_sync_memory, "routes_per_s", "routes/s", "≥ 300 000",
        lambda found: found["routes_per_s"] >= 300_000,
    ),
    Benchmark(
        kernel.follow_memory, "routes_per_s", "routes/s", "≥ 100 000", lambda found: found["routes_per_s"] >= 100_000,
    ),
    Benchmark(kernel.resident_memory, "rss_mb", "MB", "≤ 300", lambda found: found["rss_mb"] <= 300),
    Benchmark(
        agent.lone_change_memory, "p50_ms", "ms p50", "≤ 1, p99 ≤ 10",
        lambda found: found["p50_ms"] <= 1 and found["p99_ms"] <= 10,
    ),
    Benchmark(
        bird.bird_routes, "routes_per_s", "routes/s", "≥ 200 000 and ≤ 10 MB for a million",
        lambda found: found["routes_per_s"] >= 200_000 and found["grown_mb"] <= 10, peer="birdc_routes_per_s",
    ),
    Benchmark(
        mesh.mesh_agent, "start_s", "s", "≤ 0.5 and ≤ 40 MB",
        lambda found: found["start_s"] <= 0.5 and found["rss_mb"] <= 40, peer="python_start_s",
    ),
    Benchmark(
        vapi.vapi_encode, "us_per_route", "µs/route", "≤ 0.6 and ≥ 100 x vpp_papi",
        lambda found: found["us_per_route"] <= 0.6 and found["ratio"] >= 100, peer="vpp_papi_us_per_route",
    ),
    Benchmark(
        vapi.vapi_apply, "routes_per_s", "routes/s", "≥ 0.8 x prepared buffers",
        lambda found: found["ratio"] >= 0.8, peer="prepared_routes_per_s", needs_vpp=True,
    ),
    Benchmark(
        agent.first_sync_vpp, "routes_per_s", "routes/s", "≥ 100 000 and ≥ 0.8 x prepared buffers",
        lambda found: found["routes_per_s"] >= 100_000 and found["ratio"] >= 0.8, peer="prepared_routes_per_s",
        needs_vpp=True,
    ),
    Benchmark(
        bulk.bulk_apply, "routes_per_s", "routes/s", "≥ 300 000 and ≥ 1/1.3 x vppctl",
        lambda found: found["routes_per_s"] >= 300_000 and found["ratio"] >= 1 / 1.3, peer="vppctl_routes_per_s",
        needs_plugin=True,
    ),
    Benchmark(
        bulk.first_sync_bulk, "routes_per_s", "routes/s", "≥ 300 000, ≥ 1/1.3 x vppctl; restart ≤ 5 s, no write",
        lambda found: found["routes_per_s"] >= 300_000 and found["ratio"] >= 1 / 1.3
        and found["restart_s"] <= 5 and found["restart_writes"] == 0,
        peer="vppctl_routes_per_s", needs_plugin=True,
    ),
    Benchmark(
        bulk.first_sync_table, "routes_per_s", "routes/s", "≥ 300 000 and ≥ 0.8 x prepared vectors",
        lambda found: found["routes_per_s"] >= 300_000 and found["ratio"] >= 0.8,
        peer="prepared_routes_per_s", needs_plugin=True,
    ),
    Benchmark(
        bulk.first_sync_inet6, "routes_per_s", "routes/s", "≥ 300 000 and ≥ 0.6 x prepared vectors",
        lambda found: found["routes_per_s"] >= 300_000 and found["ratio"] >= 0.6,
        peer="prepared_routes_per_s", needs_plugin=True,
    ),
    Benchmark(
        linux_nl.linux_nl_first_sync, "routes_per_s", "routes/s", "≥ 6 x linux-nl",
        lambda found: found["ratio"] >= 6, peer="linux_nl_routes_per_s", needs_plugin=True, options=("plot",),
    ),
    Benchmark(
        linux_nl.linux_nl_live, "routes_per_s", "routes/s", "≥ 1 x linux-nl",
        lambda found: found["ratio"] >= 1, peer="linux_nl_routes_per_s", needs_plugin=True,
    ),
    Benchmark(
        bird_load.bird_load, "behind_ms", "ms", "≤ 250; agent's CPU ≤ 3 s, no overflow",
        lambda found: found["behind_ms"] <= 250 and found["agent_cpu_s"] <= 3 and found["overflows"] == 0,
        needs_plugin=True,
    ),
    Benchmark(
        failover.failover_object, "routes_per_s", "routes/s", "≥ 300 000",
        lambda found: found["routes_per_s"] >= 300_000, needs_plugin=True,
    ),
    Benchmark(
        failover.failover_replaced, "routes_per_s", "routes/s", "≥ 300 000",
        lambda found: found["routes_per_s"] >= 300_000, needs_plugin=True,
    ),
    Benchmark(
        scaling.scaling, "exponent", "", "≤ 1.1 from 10 000 to 2 000 000",
        lambda found: found["exponent"] <= 1.1, needs_plugin=True,
    ),
    Benchmark(
        churn.churn, "p99_ms", "ms p99", "≤ 10; CPU ≤ 30 %, memory flat, at 10 000 changes/s",
        lambda found: found["p99_ms"] <= 10 and found["cpu_percent"] <= 30
        and found["rss_end_mb"] <= 1.02 * found["rss_start_mb"] and found["changes_per_s"] >= 9_900,
        needs_plugin=True, options=("seconds",),
    ),
    Benchmark(
        stream.restart_stream, "restart_s", "s", "≤ 5, no write; nothing lost, none kept > 5 ms but by the machine",
        lambda found: found["restart_s"] <= 5 and found["restart_writes"] == 0
        and found["restart_lost"] == found["diff_lost"] == 0
        and max(found["restart_longest_delay_ms"], found["diff_longest_delay_ms"])
        <= max(5.0, found["idle_longest_delay_ms"]),
        needs_plugin=True,
    ),
    Benchmark(
        neighbors.neighbors_sync, "neighbors_per_s", "neighbours/s", "≥ 15 000",
        lambda found: found["neighbors_per_s"] >= 15_000, needs_vpp=True,
    ),
    Benchmark(
        agent.lone_change_vpp, "p50_ms", "ms p50", "≤ 1, p99 ≤ 10",
        lambda found: found["p50_ms"] <= 1 and found["p99_ms"] <= 10, needs_vpp=True,
    ),
)  # fmt: skip
"""One line each; another module's benchmarks are added here and nowhere else."""


def main() -> int:
    """Measure, print one table, write JSON; return 0 where every bar is met, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[each.name for each in BENCHMARKS], default=[])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers by benchmark")
    parser.add_argument("--seconds", type=int, metavar="N", help="how long churn goes on (60)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw how VPP's table fills, as SVG")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    arguments = parser.parse_args()
    chosen = [each for each in BENCHMARKS if each.name in arguments.only or not arguments.only]
    if arguments.list:
        print("\n".join(each.name for each in chosen))
        return 0
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    console = Console()
    table = Table(title="rtagent bench")
    for column in ("benchmark", "ours", "peer", "ratio"):
        table.add_column(column, no_wrap=True)
    table.add_column("bar", overflow="fold")
    table.add_column("")
    results: dict[str, Measured] = {}
    missed = 0
    for each in chosen:
        if each.needs_vpp and shutil.which("vpp") is None:
            table.add_row(each.name, "", "", "", each.bar, "[yellow]SKIPPED: no vpp on PATH[/yellow]")
            continue
        if each.needs_plugin and not plugin.BUILDABLE:
            why = "SKIPPED: no vpp, no cmake or no VPP headers"
            table.add_row(each.name, "", "", "", each.bar, f"[yellow]{why}[/yellow]")
            continue
        with console.status(each.name):
            given = {name: getattr(arguments, name) for name in each.options}
            loads = os.getloadavg()[0]
            found = each.measure(**{name: value for name, value in given.items() if value is not None})
            results[each.name] = found | {"load_before": loads, "load_after": os.getloadavg()[0]}
        met = each.met(found)
        missed += not met
        table.add_row(
            each.name,
            f"{_number(found[each.ours])} {each.unit}",
            _number(found[each.peer]) if each.peer else "",
            f"{found['ratio']:.1f} x" if "ratio" in found else "",
            each.bar,
            "[green]met[/green]" if met else "[red]MISSED[/red]",
        )
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    return 1 if missed else 0


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
