"""The results of `rivals.py` as one plain SVG: a panel a problem, seconds across and gaps downwards, powers of ten."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, TOP, GAP = 420, 260, 52, 34, 24
COLOURS = ("#1b6ca8", "#c44e52", "#55a868", "#8172b2", "#ccb974", "#64b5cd", "#8c613c", "#937860", "#4c4c4c")
LEAST = 1e-12


def svg(results: dict[str, Any]) -> str:
    """Return the figure; lines are the tolerances of one minimiser, bars are rows a second of what learns a stream."""
    problems = list(results["problems"].items())
    height = len(problems) * (HEIGHT + TOP + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 360}" height="{height}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>'
    ]
    for number, (name, problem) in enumerate(problems):
        top = GAP + number * (HEIGHT + TOP + GAP) + TOP
        title = f"{name}: {problem['rows']:,} rows x {problem['columns']:,} columns"
        parts.append(f'<text x="{LEFT}" y="{top - 12}" font-size="13">{escape(title)}</text>')
        parts += _gaps(problem, top) if problem["kind"] == "optimum" else _rates(problem, top)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _gaps(problem: dict[str, Any], top: float) -> Iterator[str]:
    lines = {
        name: [(run["seconds"], max(run["gap"], LEAST)) for run in found["runs"] if "gap" in run]
        for name, found in problem["contenders"].items()
    }
    points = [point for line in lines.values() for point in line]
    if not points:
        return
    first, last = (round_to(math.log10(bound(point[0] for point in points))) for bound, round_to in _OUTER)
    low, high = math.log10(LEAST), 0.0
    last = max(last, first + 1)

    def across(seconds: float) -> float:
        return LEFT + WIDTH * (math.log10(seconds) - first) / (last - first)

    def down(gap: float) -> float:
        return top + HEIGHT * (high - math.log10(min(gap, 1.0))) / (high - low)

    for power in range(int(low), 1, 3):
        y = down(10.0**power)
        yield f'<path d="M{LEFT} {y:.1f}h{WIDTH}" stroke="#ddd"/><text x="4" y="{y + 4:.1f}">1e{power}</text>'
    for power in range(first, last + 1):
        x = across(10.0**power)
        yield f'<path d="M{x:.1f} {top}v{HEIGHT}" stroke="#ddd"/>'
        yield f'<text x="{x - 10:.1f}" y="{top + HEIGHT + 14}">{10.0**power:g} s</text>'
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        drawn = "L".join(f"{across(seconds):.1f} {down(gap):.1f}" for seconds, gap in line)
        if line:
            yield f'<path d="M{drawn}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        for seconds, gap in line:
            yield f'<circle cx="{across(seconds):.1f}" cy="{down(gap):.1f}" r="3" fill="{colour}"/>'
        y = top + 14 * (number + 1)
        yield f'<text x="{LEFT + WIDTH + 12}" y="{y}" fill="{colour}">{escape(name)}</text>'


_OUTER = ((min, math.floor), (max, math.ceil))


def _rates(problem: dict[str, Any], top: float) -> Iterator[str]:
    rates = {name: found.get("rows_per_second", 0.0) for name, found in problem["contenders"].items()}
    longest = max([*rates.values(), 1.0])
    for number, (name, rate) in enumerate(rates.items()):
        y, length = top + 30 * number, WIDTH * rate / longest
        says = f"{name}: {rate:,.0f} rows/s"
        yield f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="20" fill="{COLOURS[number % len(COLOURS)]}"/>'
        yield f'<text x="{LEFT + length + 8:.1f}" y="{y + 14}">{escape(says)}</text>'
