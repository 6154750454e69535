"""What the model has learned: one figure for each term, the widest effects first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from batchlearn.report.plots import Axes, Entry, Forest, Heading, Interval, Plot, Point, forest
from batchlearn.report.scales import NARROWEST_LANE, NARROWEST_PLOT, Scale, Tick, apart, exact_scale, scale
from batchlearn.report.values import number, numbers, records, text, texts
from batchlearn.report.words import decimals, fixed, plain

_Z = 1.96
_MOST_LEVELS_AT_FIRST = 8
_MOST_CELLS = 900
_AND = " & "
_SHADES = 4
# Where the middle half of the bins fills less of the axis than this, bins of equal width show more.
_CROWDED = 0.2
_MOST_LABELS, _MOST_LABELS_ACROSS = 6, 3
# Beside the range, for the dot of what is missing.
_ROOM = 0.08
_MISSING = " The dot at the right: where it is missing."


class Cell(NamedTuple):
    """One cell of a pair, in per cent; `shade` runs from -4 to 4."""

    x: float
    y: float
    width: float
    height: float
    shade: int
    says: str


@dataclass(frozen=True)
class Heatmap:
    """A pair of columns: one cell for each pair of their levels."""

    title: str
    caption: str
    cells: tuple[Cell, ...]
    first: tuple[Tick, ...]
    second: tuple[Tick, ...]
    axes: tuple[str, str]


@dataclass(frozen=True)
class Shape:
    """One term: its name, kind, size and figure."""

    name: str
    kind: str
    spread: float
    figure: Plot | Forest | Heatmap


class _Effects(NamedTuple):
    name: str
    names: tuple[str, ...]
    effect: tuple[float, ...]
    error: tuple[float, ...] | None
    edges: tuple[float, ...]
    low: float | None
    high: float | None

    def interval(self, at: int) -> tuple[float, float] | None:
        """The 95 % interval of one effect."""
        if self.error is None:
            return None
        return self.effect[at] - _Z * self.error[at], self.effect[at] + _Z * self.error[at]

    def says(self, at: int) -> str:
        """What hovering over one effect says."""
        ends = self.interval(at)
        between = "" if ends is None else f" ({plain(ends[0])} to {plain(ends[1])})"
        return f"{self.names[at]}: {plain(self.effect[at])}{between}"


def shapes(result: Mapping[str, Any]) -> list[Shape]:
    """Return the terms of the model, those that move predictions most first."""
    found = [shape for one in records(result.get("shapes")) if (shape := _shape(one)) is not None]
    return sorted(found, key=lambda shape: -shape.spread)


def _shape(given: Mapping[str, Any]) -> Shape | None:
    effect = numbers(given.get("effect"))
    if not effect:
        return None
    names = texts(given.get("names"))
    error = numbers(given.get("standard_error"))
    effects = _Effects(
        text(given.get("column")) or "?",
        tuple(names if len(names) == len(effect) else [f"level {at + 1}" for at in range(len(effect))]),
        tuple(effect),
        tuple(error) if len(error) == len(effect) else None,
        tuple(numbers(given.get("edges"))),
        number(given.get("low")),
        number(given.get("high")),
    )
    kind = str(given.get("kind"))
    return Shape(effects.name, kind, _spread(given, effects), _figure(kind, given, effects))


def _figure(kind: str, given: Mapping[str, Any], effects: _Effects) -> Plot | Forest | Heatmap:
    known_range = effects.low is not None and effects.high is not None and effects.low < effects.high
    if kind == "number" and len(effects.effect) <= 2 and known_range:
        return _straight(effects)
    if kind == "bins" and known_range and 0 <= len(effects.effect) - len(effects.edges) - 1 <= 1 and effects.edges:
        return _steps(effects)
    if kind == "calendar" and len(effects.effect) > 1:
        return _calendar(effects)
    if kind == "pair" and (levels := _pair_names(given, effects)) is not None:
        return _heatmap(effects, *levels)
    return _levels(effects)


def _spread(given: Mapping[str, Any], effects: _Effects) -> float:
    """Return how far apart the effects lie: as given, or the largest minus the smallest."""
    told = number(given.get("spread"))
    if told is not None:
        return abs(told)
    if len(effects.effect) == 1 and effects.low is not None and effects.high is not None:
        return abs(effects.effect[0] * (effects.high - effects.low))
    return max(effects.effect) - min(effects.effect)


def _pair_names(given: Mapping[str, Any], effects: _Effects) -> tuple[list[str], list[str]] | None:
    """Return the levels of both columns of a pair: as given, or read off the names of its cells, "a & b"."""
    first, second = texts(given.get("first")), texts(given.get("second"))
    if not first or not second:
        halves = [name.split(_AND) for name in effects.names]
        if any(len(half) != 2 for half in halves):
            return None
        first, second = (list(dict.fromkeys(half[side] for half in halves)) for side in (0, 1))
        if [f"{a}{_AND}{b}" for a in first for b in second] != list(effects.names):
            return None
    return (first, second) if len(first) * len(second) == len(effects.effect) <= _MOST_CELLS else None


def _straight(effects: _Effects) -> Plot:
    """Draw a straight line around the middle of the range, where it is 0; a dot where the number is missing."""
    low, high = effects.low or 0.0, effects.high or 0.0
    middle, slope = low / 2.0 + high / 2.0, effects.effect[0]
    error = effects.error[0] if effects.error else 0.0
    ends = [
        (x, slope * (x - middle), 0.0 if x == middle else _Z * error * abs(x - middle)) for x in (low, middle, high)
    ]
    missing = [_missing_point(effects, high + _ROOM * (high - low))] if len(effects.effect) == 2 else []
    heights = [y + side * reach for _, y, reach in ends for side in (-1.0, 1.0)]
    heights += [end for dot in missing for end in (dot.y, dot.low, dot.high) if end is not None]
    axes = Axes(exact_scale(low, missing[0].x if missing else high), scale([*heights, 0.0]))
    upper, lower = ([(x, y + side * reach) for x, y, reach in ends] for side in (1.0, -1.0))
    return Plot(
        title=effects.name,
        caption=f"{plain(slope)} for each 1 more, shown around the middle of its range.{_MISSING if missing else ''}",
        x_label=effects.name,
        y_label="effect",
        x_ticks=apart(axes.x.ticks(4), NARROWEST_PLOT),
        y_ticks=axes.y_ticks(),
        lines=(axes.line([(x, y) for x, y, _ in ends], "model"),),
        areas=(axes.area(upper, lower, "model"),) if effects.error else (),
        dots=axes.dots(missing, "other"),
        rules=(axes.rule(0.0, ""),),
    )


def _steps(effects: _Effects) -> Plot:
    """Draw one step a bin; the effect of a missing value is a dot at the right end."""
    low, high, count = effects.low or 0.0, effects.high or 0.0, len(effects.edges) + 1
    bounds = [min(low, effects.edges[0]), *effects.edges, max(high, effects.edges[-1])]
    crowded = _is_crowded(bounds)
    # In place of the column's values, the numbers of the bins: every bin is as wide as every other.
    at = [float(k) for k in range(count + 1)] if crowded else bounds
    room = (at[-1] - at[0]) * (_ROOM if len(effects.effect) > count else 0.0)
    axes = Axes(exact_scale(at[0], at[-1] + room), _vertical(effects))
    outline = [(x, effects.effect[k]) for k in range(count) for x in (at[k], at[k + 1])]
    hover = [Point(0.5 * at[k] + 0.5 * at[k + 1], effects.effect[k], effects.says(k)) for k in range(count)]
    missing = [_missing_point(effects, at[-1] + room)] if room else []
    caption = "One step for each bin." if not crowded else "One step for each bin; bins are drawn equally wide."
    if missing:
        caption += _MISSING
    return Plot(
        title=effects.name,
        caption=caption,
        x_label=effects.name,
        y_label="effect",
        x_ticks=apart(_bin_ticks(axes.x, bounds) if crowded else axes.x.ticks(4), NARROWEST_PLOT),
        y_ticks=axes.y_ticks(),
        lines=(axes.line(outline, "model"),),
        areas=_band(axes, effects, at, count),
        dots=(*axes.dots(hover, "hidden"), *axes.dots(missing, "other")),
        rules=(axes.rule(0.0, ""),),
    )


def _band(axes: Axes, effects: _Effects, at: Sequence[float], count: int) -> tuple[Any, ...]:
    ends = [effects.interval(k) for k in range(count)]
    known = [(k, pair) for k, pair in enumerate(ends) if pair is not None]
    if not known:
        return ()
    lower, upper = ([(x, pair[side]) for k, pair in known for x in (at[k], at[k + 1])] for side in (0, 1))
    return (axes.area(upper, lower, "model"),)


def _is_crowded(bounds: Sequence[float]) -> bool:
    inner = bounds[1:-1]
    quarter = len(inner) // 4
    middle = inner[-1 - quarter] / 2.0 - inner[quarter] / 2.0
    return len(inner) >= 3 and middle < _CROWDED * (bounds[-1] / 2.0 - bounds[0] / 2.0)


def _bin_ticks(axis: Scale, bounds: Sequence[float]) -> tuple[Tick, ...]:
    step = max(1, math.ceil((len(bounds) - 1) / _MOST_LABELS))
    kept = range(0, len(bounds), step)
    return tuple(Tick(axis.place(float(k)), plain(bounds[k])) for k in kept)


def _missing_point(effects: _Effects, x: float) -> Point:
    at = len(effects.effect) - 1
    ends = effects.interval(at) or (None, None)
    return Point(x, effects.effect[at], effects.says(at), *ends)


def _vertical(effects: _Effects) -> Scale:
    ends = [end for at in range(len(effects.effect)) for end in effects.interval(at) or ()]
    return scale([*effects.effect, *ends, 0.0])


def _calendar(effects: _Effects) -> Plot:
    """Draw dots with intervals in the order of the calendar, joined by a line."""
    count = len(effects.effect)
    axes = Axes(exact_scale(-0.5, count - 0.5), _vertical(effects))
    points = [
        Point(float(k), effects.effect[k], effects.says(k), *(effects.interval(k) or (None, None)))
        for k in range(count)
    ]
    step = max(1, math.ceil(count / _MOST_LABELS))
    labels = [_last_word(effects.names[k]) for k in range(count)]
    return Plot(
        title=effects.name,
        caption="In the order of the calendar; the last one is next to the first.",
        x_label=effects.name,
        y_label="effect",
        x_ticks=apart((Tick(axes.x.place(float(k)), labels[k]) for k in range(0, count, step)), NARROWEST_PLOT),
        y_ticks=axes.y_ticks(),
        lines=(axes.line([(p.x, p.y) for p in points], "model"),),
        dots=axes.dots(points, "model"),
        rules=(axes.rule(0.0, ""),),
    )


def _last_word(name: str) -> str:
    shown = name.rpartition(" = ")[2] or name
    # Of the name of a bin, "57 < amount <= 754", the upper end says where it lies.
    shown = f"\u2264 {shown.rpartition(' <= ')[2]}" if " <= " in shown else shown
    shown = f"> {shown.rpartition(' > ')[2]}" if " > " in shown else shown
    return shown if len(shown) <= 9 else f"{shown[:8]}…"


def _levels(effects: _Effects) -> Forest:
    """List the levels by the size of their effects, each with its interval."""
    order = sorted(range(len(effects.effect)), key=lambda at: -effects.effect[at])
    # The furthest from the middle say most; what is shown first is sorted as it lies on the axis.
    middle = median(effects.effect)
    first = sorted(range(len(order)), key=lambda at: -abs(effects.effect[at] - middle))[:_MOST_LEVELS_AT_FIRST]
    shown = [at for at in order if at in set(first)] + [at for at in order if at not in set(first)]
    places = decimals(min(effects.effect), max(effects.effect))
    entries = [
        Entry(
            effects.names[at].removeprefix(f"{effects.name} = "),
            "",
            Interval(effects.effect[at], *(effects.interval(at) or (None, None))),
            fixed(effects.effect[at], places),
        )
        for at in shown
    ]
    count = len(order)
    caption = "" if count <= len(first) else f"The {len(first)} of {count} levels furthest from the middle one."
    return forest(Heading(effects.name, caption, "effect"), entries, zero=True, first=len(first), width=NARROWEST_LANE)


def _heatmap(effects: _Effects, first: Sequence[str], second: Sequence[str]) -> Heatmap:
    largest = max(map(abs, effects.effect)) or 1.0
    width, height = 100.0 / len(second), 100.0 / len(first)
    cells = tuple(
        Cell(
            round(width * (at % len(second)), 3),
            round(height * (at // len(second)), 3),
            round(width, 3),
            round(height, 3),
            round(_SHADES * (value / largest)),
            effects.says(at),
        )
        for at, value in enumerate(effects.effect)
    )
    axes = effects.name.split(" x ", 1)
    return Heatmap(
        effects.name,
        f"What the two add together: from {plain(min(effects.effect))} to {plain(max(effects.effect))}.",
        cells,
        tuple(Tick(height * (at + 0.5), _last_word(name)) for at, name in _some(first, _MOST_LABELS)),
        tuple(Tick(width * (at + 0.5), _last_word(name)) for at, name in _some(second, _MOST_LABELS_ACROSS)),
        (axes[0], axes[-1]) if len(axes) == 2 else ("first", "second"),
    )


def _some(names: Sequence[str], most: int) -> list[tuple[int, str]]:
    step = max(1, math.ceil(len(names) / most))
    return [(at, names[at]) for at in range(0, len(names), step)]
