"""A plot as plain SVG: lines over time, and what the axes mean. Nothing here measures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Protocol

_WIDTH, _HEIGHT = 860, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 24, 40, 56
_COLOURS = ("#0b6e4f", "#c1440e", "#2c5aa0")
_TICKS = 5


class Line(Protocol):
    """What is drawn: a line of points, with a name."""

    @property
    def name(self) -> str:
        """What the legend calls it."""

    @property
    def seconds(self) -> Sequence[float]:
        """Its points' places, ascending."""

    @property
    def routes(self) -> Sequence[int]:
        """Its points' heights."""


def write_svg(path: Path, lines: Sequence[Line], most: int, title: str = "Kernel routes in VPP") -> None:
    """Write lines over time, from 0 up to ``most`` routes."""
    span = max(line.seconds[-1] for line in lines)
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def at(second: float, routes: float) -> str:
        return f"{_LEFT + wide * second / span:.1f},{_TOP + high * (1 - routes / most):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"',
        '     font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="24" font-size="16">{escape(title)}</text>',
    ]
    for tick in range(_TICKS + 1):
        x, y = at(span * tick / _TICKS, most * tick / _TICKS).split(",")
        parts += [
            f'<line x1="{_LEFT}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}" stroke="#ddd"/>',
            f'<text x="{_LEFT - 8}" y="{float(y) + 4:.1f}" text-anchor="end">{most * tick // _TICKS:,}</text>',
            f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">{span * tick / _TICKS:.3g} s</text>',
        ]
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join([at(0, 0), *map(at, line.seconds, line.routes), at(span, line.routes[-1])])
        y = _HEIGHT - 12
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>',
            f'<text x="{_LEFT + 260 * number}" y="{y}" fill="{colour}">{escape(line.name)}: '
            f"{line.seconds[-1]:.2f} s</text>",
        ]
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")
