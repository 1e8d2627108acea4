"""Options that several commands share, and what they add up to."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtagent.agent import punt_schema
from rtagent.agent.asking import RequestRefused, Unreachable, ask
from rtagent.agent.settings import DEFAULT_CONTROL, DEFAULT_FILE, Settings, load
from rtagent.core.taps import TapRules


def add_control(parser: argparse.ArgumentParser) -> None:
    """Add --control."""
    parser.add_argument(
        "--control",
        metavar="SOCKET",
        help=f"the agent's control socket (default: control.socket of the configuration, else {DEFAULT_CONTROL})",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON for scripts (docs/reference.md)")


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add --config, --dataplane and --netns."""
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help=f"configuration (default: {DEFAULT_FILE}, if there)"
    )
    parser.add_argument(
        "--dataplane", choices=("vpp", "memory"), help="mirror into VPP or into the embedded memory FIB"
    )
    parser.add_argument("--netns", metavar="NAME", help="the network namespace whose routes are meant")


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the configuration with the command line on top. Raises SettingsError."""
    config = config_file(args)
    settings = load(config) if config else Settings()
    given = {name: getattr(args, name, None) for name in ("dataplane", "netns", "control", "journal")}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def config_file(args: argparse.Namespace) -> Path | None:
    """Return the configuration file that counts, None where there is none."""
    given: Path | None = getattr(args, "config", None)
    return given or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def control_of(args: argparse.Namespace) -> str:
    """Return the control socket that is meant."""
    return settings_of(args).control


async def settings_like_the_agent(args: argparse.Namespace) -> Settings:
    """Return what a running agent was configured with, so that a look from outside sees the same kernel and FIB.

    What the command line says wins; without an agent, or with --config, the configuration counts.
    """
    settings = settings_of(args)
    if args.config is not None:
        return settings
    try:
        async for message in ask(settings.control, "settings"):
            told: dict[str, Any] = message["settings"]
            settings = replace(
                settings,
                dataplane=args.dataplane or told["dataplane"],
                netns=args.netns or told["netns"],
                vpp_socket=told["vpp_socket"],
                pairs=told["pairs"],
                taps=TapRules.of(told["taps"]),
                ignore=tuple(told["ignore"]),
                interfaces=told["interfaces"],
                srv6_source=bytes.fromhex(told["srv6_source"]),
                vpp_stats_socket=told["vpp_stats_socket"],
                punt=punt_schema.heard(told["punt"]),
            )
    except (Unreachable, RequestRefused):
        return settings
    return settings
