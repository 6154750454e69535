"""The figures of a comparison: curves against what is spent, cost against quality, and batch sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from batchlearn.comparison.contenders import RunCheckpoint
from batchlearn.comparison.judging import HeldOutScore
from batchlearn.comparison.outcome import Comparison, Outcome
from batchlearn.formatting.names import metric
from batchlearn.formatting.numbers import duration, passes, plain
from batchlearn.report.figures.plots import Axes, Entry, Forest, Interval, Legend, Plot, Point, Rule, forest
from batchlearn.report.figures.scales import WIDE_PLOT, Scale, apart, powers, scale
from batchlearn.report.values import interval, shown

# An excess this small beside the objective is rounding of the objective itself.
_ROUNDING = 1e-15
# Labels of levels nearer to each other than this, in per cent, would lie on each other.
_CLOSE = 10.0
# Curves over so many powers of ten show nothing below: the certificate says more.
_MOST_POWERS = 12
# Room at the ends of a logarithmic axis.
_ROOM = 1.15


# As many colours as the style has.
SERIES = 6


def role(at: int) -> str:
    """Return the colour of a contender by its place."""
    return f"series{at % SERIES + 1}"


def curves(result: Comparison) -> list[Plot]:
    """Return the excess loss by passes, by seconds and by bytes, both axes logarithmic, as far as there are curves."""
    drawn = (
        _curve_plot(result, "passes: how often all rows have been read", "by pass", lambda _, point: point.passes),
        _curve_plot(result, "seconds of the contender's own work", "by second", lambda _, point: point.seconds),
        _curve_plot(
            result,
            "megabytes of rows read, as kept in memory",
            "by byte",
            lambda one, point: one.bytes_read(point) / 1e6,
        ),
    )
    return [plot for plot in drawn if plot is not None]


def floor_of(result: Comparison) -> float:
    """Return the excess loss below which nothing can be told: the bound of the optimum, or rounding."""
    bound = result.benchmark.loss_bound or 0.0
    excess = [value for one in result.outcomes for _, value in _curve(one)]
    rounding = _ROUNDING * abs(result.best)
    return max(bound, rounding, max(excess, default=1.0) * 10.0**-_MOST_POWERS, 1e-290)


def _curve(one: Outcome) -> list[tuple[RunCheckpoint, float]]:
    """Return the checkpoints of the typical run that did not overflow, each with the excess loss there."""
    points = ((point, max(point.value - one.best, 0.0)) for point in one.typical.points)
    return [(point, excess) for point, excess in points if math.isfinite(excess)]


def _curve_plot(
    result: Comparison, label: str, by: str, spent: Callable[[Outcome, RunCheckpoint], float]
) -> Plot | None:
    floor, good = floor_of(result), result.good_enough
    drawn = []
    for at, one in enumerate(result.outcomes):
        line = [(spent(one, point), max(excess, floor)) for point, excess in _curve(one) if spent(one, point) > 0.0]
        if line:
            drawn.append((one.contender.name, role(at), line))
    places = [place for _, _, line in drawn for place in line]
    start = next((excess for one in result.outcomes for point, excess in _curve(one) if point.passes == 0.0), None)
    begun = "" if start is None else f" All start {plain(start, 2)} above it."
    levels = [good] if good > floor else []
    horizontal, vertical = _spread([x for x, _ in places]), powers([*(y for _, y in places), *levels, floor])
    if horizontal is None or vertical is None:
        return None
    axes = Axes(horizontal, vertical)
    return Plot(
        title=f"Excess loss {by}",
        caption=f"How far the loss over the training rows is above the optimum; axes in powers of ten.{begun}",
        x_label=label,
        y_label="loss above the optimum",
        x_ticks=apart(sorted(axes.x.ticks()), WIDE_PLOT),
        y_ticks=axes.y_ticks(6),
        lines=tuple(axes.line(line, colour) for _, colour, line in drawn if len(line) > 1),
        dots=tuple(
            dot
            for name, colour, line in drawn
            for dot in axes.dots([Point(x, y, f"{name}: {plain(y, 2)} at {plain(x)}") for x, y in line], colour)
        ),
        rules=_levels(axes, good, floor),
        legend=tuple(Legend(colour, name) for name, colour, _ in drawn),
    )


def _spread(values: Sequence[float]) -> Scale | None:
    """Return a logarithmic scale that ends near the values where two powers of ten lie inside, else at such powers."""
    outer = powers(values)
    if outer is None:
        return None
    above = [value for value in values if value > 0.0]
    inner = Scale(max(min(above) / _ROOM, outer.low / _ROOM), min(max(above) * _ROOM, outer.high * _ROOM), True)
    return inner if len(inner.ticks()) > 1 else outer


def _levels(axes: Axes, good: float, floor: float) -> tuple[Rule, ...]:
    """Return the levels to read the curves against, without labels that would lie on each other."""
    wanted = [(good, "good enough"), (floor, "what the proof leaves open")]
    kept: list[Rule] = []
    for level, label in wanted:
        if level < floor:
            continue
        rule = axes.rule(level, label)
        if all(abs(rule.at - other.at) >= _CLOSE for other in kept):
            kept.append(rule)
    return tuple(kept)


def _judged(found: Sequence[Outcome]) -> list[tuple[Outcome, HeldOutScore, str]]:
    """Return the contenders that held-out rows say something of, with that and their colours."""
    return [
        (one, one.held_out, role(at))
        for at, one in enumerate(found)
        if one.held_out is not None and one.held_out.difference.value is not None
    ]


def plane(found: Sequence[Outcome]) -> Plot | None:
    """Return seconds against what held-out rows say; nothing where none were held out."""
    judged = [(one, held, colour) for one, held, colour in _judged(found) if one.typical.last.seconds]
    horizontal = _spread([one.typical.last.seconds for one, _, _ in judged])
    if horizontal is None:
        return None
    ends = [end for _, held, _ in judged for end in vars(held.difference).values() if end is not None]
    axes = Axes(horizontal, scale([*ends, 0.0]))
    name = metric(judged[0][1].metric).name
    return Plot(
        title="Cost and quality",
        caption=f"Left is cheaper, down is better. Bars: 95 % intervals of the difference in {name} to the optimum's "
        "model on the same held-out rows; one that crosses 0 is not known to differ.",
        x_label="seconds spent, in powers of ten",
        y_label=f"held-out {name} above that of the optimum",
        x_ticks=apart(sorted(axes.x.ticks()), WIDE_PLOT),
        y_ticks=axes.y_ticks(),
        dots=tuple(dot for one, held, colour in judged for dot in axes.dots([_at(one, held)], colour)),
        rules=(axes.rule(0.0, "the optimum's model"),),
        legend=tuple(Legend(colour, one.contender.name) for one, _, colour in judged),
    )


def _at(one: Outcome, held: HeldOutScore) -> Point:
    seconds, found = one.typical.last.seconds, held.difference
    says = f"{one.contender.name}: {duration(seconds)}, {plain(found.value, 2)} ({interval(found) or 'no interval'})"
    return Point(seconds, found.value or 0.0, says, found.low, found.high)


def held_out(found: Sequence[Outcome]) -> Forest | None:
    """Return each contender's held-out difference to the optimum's model, one row each."""
    judged = _judged(found)
    if not judged:
        return None
    entries = [
        Entry(
            one.contender.name,
            f"score {shown(held.score)}" if held.score.value is not None else "",
            Interval(held.difference.value, held.difference.low, held.difference.high, colour),
            plain(held.difference.value, 2),
        )
        for one, held, colour in judged
    ]
    term = metric(judged[0][1].metric)
    return forest(
        "On held-out rows",
        f"Mean {term.name} of each contender minus that of the optimum's model, row by row on the same held-out rows; "
        "95 % intervals. Below 0 is better than the optimum of the training rows; that can be chance.",
        f"difference in {term.name}",
        entries,
        zero=True,
    )


def batch_sizes(result: Comparison) -> Plot | None:
    """Return what each batch size left after the same number of passes, with the ends over the seeds."""
    measured = result.measured
    if measured is None:
        return None
    points = [
        Point(batch, max(excess, 1e-290), f"{batch:,} rows: {plain(excess, 2)}", low, high)
        for batch, excess, low, high in measured.sizes
        if math.isfinite(excess)
    ]
    horizontal = _spread([point.x for point in points])
    vertical = powers([end for point in points for end in (point.y, point.low, point.high) if end])
    if len(points) < 2 or horizontal is None or vertical is None:
        return None
    axes, good = Axes(horizontal, vertical), result.good_enough
    return Plot(
        title="Measured: what each batch size leaves",
        caption=f"Loss above the optimum after {passes(measured.passes)} of the mini-batch default at each size: the "
        "same rows read, only the batch differs. Bars: lowest and highest over the seeds.",
        x_label="rows in a batch, in powers of ten",
        y_label="loss above the optimum",
        x_ticks=apart(sorted(axes.x.ticks()), WIDE_PLOT),
        y_ticks=axes.y_ticks(),
        lines=(axes.line([(point.x, point.y) for point in points], "model"),),
        dots=axes.dots(points, "model"),
        rules=(axes.rule(good, "good enough"),) if axes.y.low <= good <= axes.y.high else (),
    )
