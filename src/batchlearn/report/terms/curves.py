"""Terms that are read from left to right: a line, a step for each bin, a dot for each part of the calendar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from batchlearn.formatting.numbers import plain
from batchlearn.report.figures.plots import Axes, Path, Plot, Point
from batchlearn.report.figures.scales import NARROWEST_PLOT, Scale, Tick, apart, exact_scale, scale
from batchlearn.report.terms.effects import Effects
from batchlearn.report.values import short

# Where the middle half of the bins fills less of the axis than this, bins of equal width show more.
_CROWDED = 0.2
_MOST_LABELS, _LONGEST_LABEL = 6, 9
# Beside the range, for the dot of what is missing.
_ROOM = 0.08
# Of the height of a figure, for the bars that show where the rows are.
_BARS = 16.0
_MISSING = " The dot at the right: where it is missing."


def straight(effects: Effects) -> Plot:
    """Draw a straight line around the middle of the range, where it is 0; a dot where the number is missing."""
    low, high = effects.low or 0.0, effects.high or 0.0
    middle, slope = low / 2.0 + high / 2.0, effects.effect[0]
    ends = effects.interval(0)
    reach = 0.0 if ends is None else ends[1] / 2.0 - ends[0] / 2.0
    lines = [(x, slope * (x - middle), 0.0 if x == middle else reach * abs(x - middle)) for x in (low, middle, high)]
    missing = [_missing_point(effects, high + _ROOM * (high - low))] if len(effects.effect) == 2 else []
    heights = [y + side * error for _, y, error in lines for side in (-1.0, 1.0)]
    heights += [end for dot in missing for end in (dot.y, dot.low, dot.high) if end is not None]
    axes = Axes(exact_scale(low, missing[0].x if missing else high), scale([*heights, 0.0]))
    upper, lower = ([(x, y + side * error) for x, y, error in lines] for side in (1.0, -1.0))
    return Plot(
        title=effects.name,
        caption=f"{plain(slope)} for each 1 more, shown around the middle of its range.{_MISSING if missing else ''}",
        x_label=effects.name,
        y_label="effect",
        x_ticks=apart(axes.x.ticks(4), NARROWEST_PLOT),
        y_ticks=axes.y_ticks(),
        lines=(axes.line([(x, y) for x, y, _ in lines], "model"),),
        areas=(axes.area(upper, lower, "model"),) if effects.error else (),
        dots=axes.dots(missing, "other"),
        rules=(axes.rule(0.0, ""),),
    )


def steps(effects: Effects) -> Plot:
    """Draw one step a bin; the effect of a missing value is a dot at the right end."""
    low, high, count = effects.low or 0.0, effects.high or 0.0, len(effects.edges) + 1
    bounds = [min(low, effects.edges[0]), *effects.edges, max(high, effects.edges[-1])]
    crowded = _is_crowded(bounds)
    # In place of the column's values, the numbers of the bins: every bin is as wide as every other.
    at = [float(k) for k in range(count + 1)] if crowded else bounds
    room = (at[-1] - at[0]) * (_ROOM if len(effects.effect) > count else 0.0)
    axes = Axes(exact_scale(at[0], at[-1] + room), effects.vertical)
    # Whole numbers where the bins lie between whole numbers, as those of years do.
    halves = all(edge % 1.0 == 0.5 for edge in effects.edges)
    ticks = _bin_ticks(axes.x, bounds) if crowded else axes.x.ticks(4, whole=halves)
    outline = _outline(axes, effects, at, count)
    hover = [Point(0.5 * at[k] + 0.5 * at[k + 1], effects.effect[k], effects.says(k)) for k in range(count)]
    missing = [_missing_point(effects, at[-1] + room)] if room else []
    said = "One step for each bin; bins are drawn equally wide." if crowded else "One step for each bin."
    if effects.rows is not None:
        said += " Grey bars: its rows."
    if len(outline) > 1:
        said += " Dashed at the edge: bins of few rows whose effects lie beyond it."
    return Plot(
        title=effects.name,
        caption=said + (_MISSING if missing else ""),
        x_label=effects.name,
        y_label="effect",
        x_ticks=apart(ticks, NARROWEST_PLOT),
        y_ticks=axes.y_ticks(),
        lines=outline,
        areas=(*_row_bars(axes, effects, at, count), *_band(axes, effects, at, count)),
        dots=(*axes.dots(hover, "hidden"), *axes.dots(missing, "other")),
        rules=(axes.rule(0.0, ""),),
    )


def _outline(axes: Axes, effects: Effects, at: Sequence[float], count: int) -> tuple[Path, ...]:
    """Return a line for each stretch of bins inside the figure, and one along its edge for each that leaves it."""
    value, lines = effects.effect, []
    for is_inside, stretch in groupby(range(count), key=lambda k: axes.y.low <= value[k] <= axes.y.high):
        bins = list(stretch)
        points = [(x, value[k]) for k in bins for x in (at[k], at[k + 1])]
        if is_inside:
            # Up or down to the edge, where the neighbour lies beyond it.
            points = [(at[k + 1], value[k]) for k in (bins[0] - 1,) if k >= 0] + points
            points += [(at[k], value[k]) for k in (bins[-1] + 1,) if k < count]
        lines.append(axes.line(points, "model" if is_inside else "beyond"))
    return tuple(lines)


def _row_bars(axes: Axes, effects: Effects, at: Sequence[float], count: int) -> tuple[Path, ...]:
    """Return where the rows are, as bars from the bottom whose heights are the rows of each bin."""
    if effects.rows is None:
        return ()
    most = max(effects.rows[:count]) or 1.0
    heights = [100.0 - _BARS * rows / most for rows in effects.rows[:count]]
    tops = [f"{axes.x.place(x):g} {heights[k]:g}" for k in range(count) for x in (at[k], at[k + 1])]
    drawn = "L".join([f"{axes.x.place(at[0]):g} 100", *tops, f"{axes.x.place(at[count]):g} 100"])
    return (Path(f"M{drawn}Z", "other"),)


def _band(axes: Axes, effects: Effects, at: Sequence[float], count: int) -> tuple[Any, ...]:
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


def _missing_point(effects: Effects, x: float) -> Point:
    at = len(effects.effect) - 1
    ends = effects.interval(at) or (None, None)
    return Point(x, effects.effect[at], effects.says(at), *ends)


def calendar(effects: Effects) -> Plot:
    """Draw dots with intervals in the order of the calendar, joined by a line."""
    count = len(effects.effect)
    axes = Axes(exact_scale(-0.5, count - 0.5), effects.vertical)
    points = [
        Point(float(k), effects.effect[k], effects.says(k), *(effects.interval(k) or (None, None)))
        for k in range(count)
    ]
    few = effects.has_few
    dots = [dot for k, p in enumerate(points) for dot in axes.dots([p], "other" if few[k] else "model")]
    step = max(1, math.ceil(count / _MOST_LABELS))
    labels = [short(effects.labels[k], _LONGEST_LABEL) for k in range(count)]
    edges = [k - 0.5 for k in range(count + 1)]
    return Plot(
        title=effects.name,
        caption="In the order of the calendar; the last one is next to the first."
        + (" Grey bars: its rows." if effects.rows is not None else "")
        + (" Grey dots: few rows." if any(few) else ""),
        x_label=effects.name,
        y_label="effect",
        x_ticks=apart((Tick(axes.x.place(float(k)), labels[k]) for k in range(0, count, step)), NARROWEST_PLOT),
        y_ticks=axes.y_ticks(),
        lines=(axes.line([(p.x, p.y) for p in points], "model"),),
        areas=_row_bars(axes, effects, edges, count),
        dots=tuple(dots),
        rules=(axes.rule(0.0, ""),),
    )
