"""The figures of a comparison: curves against what is spent, cost against quality, and batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batchlearn.report.comparison.entrants import Entrant, Place
from batchlearn.report.plots import Axes, Entry, Forest, Heading, Interval, Legend, Plot, Point, Rule, forest
from batchlearn.report.scales import WIDE_PLOT, Scale, apart, powers, scale
from batchlearn.report.values import mapping, number, records
from batchlearn.words.names import metric
from batchlearn.words.numbers import duration, passes, plain

# An excess this small beside the objective is rounding of the objective itself.
_ROUNDING = 1e-15
# Labels of levels nearer to each other than this, in per cent, would lie on each other.
_CLOSE = 10.0
# Curves over so many powers of ten show nothing below: the certificate says more.
_MOST_POWERS = 12
# Room at the ends of a logarithmic axis.
_ROOM = 1.15


def curves(result: Mapping[str, Any], found: Sequence[Entrant]) -> list[Plot]:
    """Return the excess loss by passes, by seconds and by bytes, both axes logarithmic, as far as there are curves."""
    drawn = (
        _curve_plot(result, found, "passes: how often all rows have been read", "by pass", lambda at: at.passes),
        _curve_plot(result, found, "seconds of the contender's own work", "by second", lambda at: at.seconds),
        _curve_plot(
            result, found, "megabytes of rows read, as kept in memory", "by byte", lambda at: at.megabytes or 0.0
        ),
    )
    return [plot for plot in drawn if plot is not None]


def floor_of(result: Mapping[str, Any], found: Sequence[Entrant]) -> float:
    """Return the excess loss below which nothing can be told: the bound of the optimum, or rounding."""
    optimum = mapping(result.get("optimum"))
    bound = number(mapping(optimum.get("certificate")).get("loss_bound")) or 0.0
    largest = max((at.excess for one in found for at in one.curve), default=1.0)
    rounding = _ROUNDING * abs(number(optimum.get("objective")) or 0.0)
    return max(bound, rounding, largest * 10.0**-_MOST_POWERS, 1e-290)


def _curve_plot(
    result: Mapping[str, Any], found: Sequence[Entrant], label: str, by: str, spent: Callable[[Place], float]
) -> Plot | None:
    floor = floor_of(result, found)
    lines = {one: [(spent(at), max(at.excess, floor)) for at in one.curve if spent(at) > 0.0] for one in found}
    places = [place for line in lines.values() for place in line]
    good, start = number(result.get("good_enough")), _start(found)
    begun = "" if start is None else f" All start {plain(start, 2)} above it."
    levels = [good] if good is not None and good > floor else []
    horizontal, vertical = _spread([x for x, _ in places]), powers([*(y for _, y in places), *levels, floor])
    if horizontal is None or vertical is None:
        return None
    axes = Axes(horizontal, vertical)
    drawn = [(one, line) for one, line in lines.items() if line]
    return Plot(
        title=f"Excess loss {by}",
        caption=f"How far the loss over the training rows is above the optimum; axes in powers of ten.{begun}",
        x_label=label,
        y_label="loss above the optimum",
        x_ticks=apart(sorted(axes.x.ticks()), WIDE_PLOT),
        y_ticks=axes.y_ticks(6),
        lines=tuple(axes.line(line, one.role) for one, line in drawn if len(line) > 1),
        dots=tuple(
            dot
            for one, line in drawn
            for dot in axes.dots([Point(x, y, f"{one.name}: {plain(y, 2)} at {plain(x)}") for x, y in line], one.role)
        ),
        rules=_levels(axes, good, floor),
        legend=tuple(Legend(one.role, one.name) for one, _ in drawn),
    )


def _spread(values: Sequence[float]) -> Scale | None:
    """Return a logarithmic scale that ends near the values where two powers of ten lie inside, else at such powers."""
    outer = powers(values)
    if outer is None:
        return None
    above = [value for value in values if value > 0.0]
    inner = Scale(max(min(above) / _ROOM, outer.low / _ROOM), min(max(above) * _ROOM, outer.high * _ROOM), True)
    return inner if len(inner.ticks()) > 1 else outer


def _start(found: Sequence[Entrant]) -> float | None:
    return next((at.excess for one in found for at in one.curve if at.passes == 0.0), None)


def _levels(axes: Axes, good: float | None, floor: float) -> tuple[Rule, ...]:
    """Return the levels to read the curves against, without labels that would lie on each other."""
    wanted = [(good, "good enough"), (floor, "what the proof leaves open")]
    kept: list[Rule] = []
    for level, label in wanted:
        if level is None or level < floor:
            continue
        rule = axes.rule(level, label)
        if all(abs(rule.at - other.at) >= _CLOSE for other in kept):
            kept.append(rule)
    return tuple(kept)


def plane(found: Sequence[Entrant]) -> Plot | None:
    """Return seconds against what held-out rows say; where none were held out, against the excess loss."""
    judged = [one for one in found if one.seconds and one.difference.value is not None]
    if not judged:
        return None
    ends = [end for one in judged for end in one.difference if end is not None]
    horizontal = _spread([one.seconds or 0.0 for one in judged])
    if horizontal is None:
        return None
    axes = Axes(horizontal, scale([*ends, 0.0]))
    name = metric(judged[0].metric).name
    return Plot(
        title="Cost and quality",
        caption=f"Left is cheaper, down is better. Bars: 95 % intervals of the difference in {name} to the optimum's "
        "model on the same held-out rows; one that crosses 0 is not known to differ.",
        x_label="seconds spent, in powers of ten",
        y_label=f"held-out {name} above that of the optimum",
        x_ticks=apart(sorted(axes.x.ticks()), WIDE_PLOT),
        y_ticks=axes.y_ticks(),
        dots=tuple(dot for one in judged for dot in axes.dots([_judged(one)], one.role)),
        rules=(axes.rule(0.0, "the optimum's model"),),
        legend=tuple(Legend(one.role, one.name) for one in judged),
    )


def _judged(one: Entrant) -> Point:
    seconds, difference = one.seconds or 0.0, one.difference
    says = f"{one.name}: {duration(seconds)}, {plain(difference.value, 2)} ({difference.interval or 'no interval'})"
    return Point(seconds, difference.value or 0.0, says, difference.low, difference.high)


def held_out(found: Sequence[Entrant]) -> Forest | None:
    """Return each contender's held-out difference to the optimum's model, one row each."""
    entries = [
        Entry(
            one.name,
            f"score {one.score.shown}" if one.score.value is not None else "",
            Interval(one.difference.value, one.difference.low, one.difference.high, one.role),
            plain(one.difference.value, 2),
        )
        for one in found
        if one.difference.value is not None
    ]
    if not entries:
        return None
    term = metric(next(one.metric for one in found if one.difference.value is not None))
    heading = Heading(
        "On held-out rows",
        f"Mean {term.name} of each contender minus that of the optimum's model, row by row on the same held-out rows; "
        "95 % intervals. Below 0 is better than the optimum of the training rows; that can be chance.",
        f"difference in {term.name}",
    )
    return forest(heading, entries, zero=True)


def batch_sizes(result: Mapping[str, Any]) -> Plot | None:
    """Return what each batch size left after the same number of passes, with the ends over the seeds."""
    measurement = mapping(mapping(result.get("critical_batch")).get("measurement"))
    points = []
    for one in records(measurement.get("sizes")):
        batch, excess = number(one.get("batch_size")), number(one.get("excess_loss"))
        if batch is not None and batch > 0.0 and excess is not None:
            low, high = number(one.get("low")), number(one.get("high"))
            points.append(Point(batch, max(excess, 1e-290), f"{batch:,.0f} rows: {plain(excess, 2)}", low, high))
    horizontal = _spread([point.x for point in points])
    vertical = powers([end for point in points for end in (point.y, point.low, point.high) if end])
    if len(points) < 2 or horizontal is None or vertical is None:
        return None
    axes, made = Axes(horizontal, vertical), number(measurement.get("passes"))
    good = number(result.get("good_enough"))
    inside = good is not None and axes.y.low <= good <= axes.y.high
    after = "" if made is None else f" after {passes(made)}"
    return Plot(
        title="Measured: what each batch size leaves",
        caption=f"Loss above the optimum{after} of the mini-batch default at each size: the same rows read, only the "
        "batch differs. Bars: lowest and highest over the seeds.",
        x_label="rows in a batch, in powers of ten",
        y_label="loss above the optimum",
        x_ticks=apart(sorted(axes.x.ticks()), WIDE_PLOT),
        y_ticks=axes.y_ticks(),
        lines=(axes.line([(point.x, point.y) for point in points], "model"),),
        dots=axes.dots(points, "model"),
        rules=(axes.rule(good or 1.0, "good enough"),) if inside else (),
    )
