"""The figures of a backtest: quality over time with the retrains, cost against quality, and loss by age."""

from __future__ import annotations

import numpy as np

from batchlearn.backtesting.outcome import Backtest, PolicyOutcome
from batchlearn.formatting.names import metric
from batchlearn.formatting.numbers import count, plain
from batchlearn.report.comparison.figures import role
from batchlearn.report.figures.plots import Axes, Legend, Plot, Point
from batchlearn.report.figures.scales import WIDE_PLOT, Scale, apart, powers, scale
from batchlearn.report.values import interval, short

_MOST_LINES = 5
# Beyond this ratio of the largest to the smallest window's loss nothing is seen on a linear axis.
_WIDE = 30.0


def shown_policies(result: Backtest) -> list[PolicyOutcome]:
    """Return the policies that are drawn over time: the one to take, training once, and those with the least loss."""
    ordered = sorted(result.policies, key=lambda one: one.loss.value or 0.0)
    first = [result.outcome(result.recommendation.policy), *(one for one in ordered if one.run.name == "never")]
    kept = list(dict.fromkeys(one.run.name for one in [*first, *ordered]))[: _MOST_LINES - 1]
    return [result.outcome(name) for name in kept]


def over_time(result: Backtest) -> Plot:
    """Return the mean loss in each window by policy; a mark is a window in which a new model went live."""
    history, lines = result.history, shown_policies(result)
    drawn = [(one.run.name, result.by_window(one.run.losses), _marks(result, one)) for one in lines]
    drawn.append(("the oracle", result.by_window(result.oracle.losses), np.zeros(history.windows, dtype=bool)))
    values = np.concatenate([line for _, line, _ in drawn])
    values = values[np.isfinite(values)]
    vertical: Scale | None = None
    if len(values) and values.min() > 0.0 and values.max() > _WIDE * values.min():
        vertical = powers(list(values))
    axes = Axes(scale([1.0, float(history.windows)]), vertical or scale(list(values)))
    name, others = metric(result.metric).name, len(result.policies) - len(lines)
    which = (
        ""
        if not others
        else " Drawn are the recommended policy, never, and those with the least loss; the table below has all."
    )
    powered = "" if vertical is None else " The axis is in powers of ten."
    return Plot(
        title="Quality over time",
        caption=f"The {name} of the rows of each window; down is better. A mark is a window in which a model that was "
        f"trained anew went live.{which}{powered}",
        x_label=f"window, 1 to {history.windows}",
        y_label=name,
        x_ticks=apart(axes.x.ticks(whole=True), WIDE_PLOT),
        y_ticks=axes.y_ticks(),
        lines=tuple(
            axes.line([(at + 1.0, float(loss)) for at, loss in enumerate(line)], role(place))
            for place, (_, line, _) in enumerate(drawn)
        ),
        dots=tuple(
            dot
            for place, (policy, line, marks) in enumerate(drawn)
            for dot in axes.dots(
                [
                    Point(at + 1.0, float(line[at]), f"{policy}: {plain(float(line[at]))} in window {at + 1}")
                    for at in np.flatnonzero(marks)
                ],
                role(place),
            )
        ),
        legend=tuple(Legend(role(place), short(policy)) for place, (policy, _, _) in enumerate(drawn)),
    )


def _marks(result: Backtest, one: PolicyOutcome) -> np.ndarray:
    """Return in which windows a model that was trained anew went live."""
    live = [model.live for model in one.run.models[1:] if model.live < result.history.edges[-1]]
    marks = np.zeros(result.history.windows, dtype=bool)
    marks[np.clip(np.searchsorted(result.history.edges, live, side="right") - 1, 0, None)] = True
    return marks


def plane(result: Backtest) -> Plot:
    """Return retrains against loss: each policy, and the frontier that no policy over the same models is below."""
    name, frontier = metric(result.metric).name, result.oracle.frontier
    points = [
        Point(
            float(one.retrains),
            one.loss.value or 0.0,
            f"{one.run.name}: {plain(one.loss.value, 4)} ({interval(one.loss) or 'no interval'}), "
            f"{count(one.retrains, 'retrain')}{', depends on its path' if one.run.path_dependent else ''}",
        )
        for one in result.policies
    ]
    values = [*(point.y for point in points), *(loss for _, loss in frontier)]
    vertical = powers(values) if min(values) > 0.0 and max(values) > _WIDE * min(values) else None
    axes = Axes(scale([0.0, *(point.x for point in points), float(frontier[-1][0])]), vertical or scale(values))
    paths = [one.run.path_dependent for one in result.policies]
    return Plot(
        title="Cost and quality",
        caption="Left is cheaper, down is better. The line is the oracle's frontier: the least loss for each number of "
        "retrains, known afterwards. A policy whose models depend on the ones before (hollow) is beside it.",
        x_label="retrains",
        y_label=name,
        x_ticks=apart(axes.x.ticks(whole=True), WIDE_PLOT),
        y_ticks=axes.y_ticks(),
        lines=(axes.line([(float(retrains), loss) for retrains, loss in frontier], "series1"),),
        dots=tuple(
            dot
            for point, path in zip(points, paths, strict=True)
            for dot in axes.dots([point], "hollow" if path else "model")
        ),
        legend=(Legend("series1", "the oracle's frontier"), Legend("model", "policies")),
    )


def ages(result: Backtest) -> Plot | None:
    """Return the loss by the age of the model that serves, with its interval."""
    found = [one for one in result.freshness if one.loss.value is not None]
    if len(found) < 2:
        return None
    unit, size = ("days", 24.0) if result.history.times.stamped else ("units of the time column", 1.0)
    points = [
        Point(
            one.age / size,
            one.loss.value or 0.0,
            f"{plain(one.age / size)} {unit}: {plain(one.loss.value, 4)} ({interval(one.loss) or 'no interval'})",
        )
        for one in found
    ]
    ends = [end for one in found for end in (one.loss.value, one.loss.low, one.loss.high) if end is not None]
    axes = Axes(scale([0.0, *(point.x for point in points)]), scale(ends))
    upper = [(one.age / size, one.loss.high) for one in found if one.loss.high is not None]
    lower = [(one.age / size, one.loss.low) for one in found if one.loss.low is not None]
    name = metric(result.metric).name
    return Plot(
        title="Freshness",
        caption=f"The {name} of models from scratch by how long ago they were trained, beside new ones on the same "
        "windows; the band is the 95 % interval of what age adds.",
        x_label=f"age of the model, {unit}",
        y_label=name,
        x_ticks=apart(axes.x.ticks(), WIDE_PLOT),
        y_ticks=axes.y_ticks(),
        areas=(axes.area(upper, lower, "model"),) if len(upper) > 1 and len(lower) > 1 else (),
        lines=(axes.line([(point.x, point.y) for point in points], "model"),),
        dots=axes.dots(points, "model"),
    )
