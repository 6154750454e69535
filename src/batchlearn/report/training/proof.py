"""Where every row went, and how near to the optimum training came."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from batchlearn.data.ledger import EXCLUDED, RowCounts
from batchlearn.report.plots import Axes, Legend, Plot, Point, Rule
from batchlearn.report.scales import WIDE_PLOT, apart, powers, scale
from batchlearn.report.values import short
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Status, Step
from batchlearn.words.names import predicts_probabilities
from batchlearn.words.numbers import at_most, count, duration, percent, plain, small_share

# Labels that are closer than this many per cent of the height would lie on each other.
_CLOSE = 10.0


class Part(NamedTuple):
    """Some of the rows: why they are here, how many, and where they lie in the bar, in per cent."""

    reason: str
    rows: int
    share: str
    at: float
    width: float
    role: str


@dataclass(frozen=True)
class Ledger:
    """Every row that was read, in parts that add up."""

    read: int
    parts: tuple[Part, ...]

    @property
    def set_aside(self) -> int:
        """How many rows were not learned from."""
        return self.read - self.parts[0].rows


@dataclass(frozen=True)
class Proof:
    """What the certificate says, and what it amounts to."""

    certified: bool
    reached: bool
    at_floor: bool
    status: str
    reason: str
    loss_bound: float | None
    prediction_bound: float | None
    share: float | None  # the bound on the loss as a share of what training gained
    facts: tuple[tuple[str, str, str], ...]


def ledger(rows: RowCounts) -> Ledger:
    """Return where the rows went; what the user asked to leave out is no warning."""
    named = [("used for training", rows.used, "model"), ("without a label", rows.unlabelled, "other")]
    named += [(reason, left, "other" if reason == EXCLUDED else "warn") for reason, left in rows.rejected.items()]
    parts, start = [], 0
    for reason, number_of_rows, role in named:
        if number_of_rows or role == "model":
            share, left = number_of_rows / max(rows.read, 1), min(start / max(rows.read, 1), 1.0)
            places = round(100.0 * left, 3), round(100.0 * min(share, 1.0 - left), 3)
            parts.append(Part(short(reason), number_of_rows, percent(share), *places, role))
        start += number_of_rows
    return Ledger(rows.read, tuple(parts))


def proof(fit: Fit) -> Proof:
    """Return what is proved about the fit."""
    certificate = fit.certificate
    certified = certificate.certified and certificate.loss_bound is not None
    bound = certificate.loss_bound if certified else None
    gain = max(fit.null_objective - fit.objective, 0.0)
    return Proof(
        certified=certified,
        reached=certified and fit.status is Status.TOLERANCE,
        at_floor=certified and fit.status is Status.FLOOR,
        status=fit.status.value,
        reason=str(certificate.reason or "the certificate does not say why"),
        loss_bound=bound,
        prediction_bound=certificate.prediction_bound if certified else None,
        share=None if bound is None or not gain > 0.0 else bound / gain,
        facts=tuple(_facts(fit, bound, gain)),
    )


def _facts(fit: Fit, bound: float | None, gain: float) -> list[tuple[str, str, str]]:
    certificate = fit.certificate
    unit = "as a probability" if predicts_probabilities(fit.model.loss) else "in units of the target"
    of_gain = f"; {small_share(bound / gain)} of what training gained" if bound is not None and gain > 0.0 else ""
    bounds = [("Loss above the optimum, at most", bound, f"how much lower any coefficients could bring it{of_gain}")]
    if bound is not None:
        over = f"{unit}, over all training rows, against the model at the optimum"
        units = "in the units of the coefficient's column; the largest over all coefficients"
        bounds.append(("Prediction off by at most", certificate.prediction_bound, over))
        bounds.append(("Coefficient off by at most", certificate.coefficient_bound, units))
    facts = [
        ("Training loss", plain(fit.objective), "the mean loss of the training rows plus the penalty"),
        ("Loss of the mean", plain(fit.null_objective), "the same for a model that knows only the mean"),
        *((name, at_most(value), meaning) for name, value, meaning in bounds if value is not None),
    ]
    if certificate.floor is not None:
        facts.append(("Floor", plain(certificate.floor), "the bound that rounding alone would leave"))
    return [*facts, *([("Method", certificate.method, "how the bound was proved")] if certificate.method else [])]


def passes_said(fit: Fit) -> str | None:
    """Say what the passes of the fit on all rows were for."""
    if len(fit.trace) < 2 or not 0 < fit.trace[-1].passes < fit.passes:
        return None
    return (
        f"The fit on all rows read them {count(fit.passes, 'time')}: {fit.trace[-1].passes:,} to train, as drawn here, "
        "the others to prove the end."
    )


def trace_plots(fit: Fit) -> list[Plot]:
    """Return the loss by pass and the distance to the optimum by pass, as far as the trace has them."""
    if len(fit.trace) < 2:
        return []
    distance = _distance_plot(fit)
    return [_loss_plot(fit), *([] if distance is None else [distance])]


def _loss_plot(fit: Fit) -> Plot:
    points = [_point(step, step.value, 6) for step in fit.trace]
    axes = Axes(scale([0.0, points[-1].x]), scale([*(p.y for p in points), fit.null_objective]))
    return Plot(
        title="Training loss by pass",
        caption="Of the fit on all rows. Where the line is flat, more passes change nothing that can be seen here.",
        x_label="passes: how often all rows have been read",
        y_label="training loss",
        x_ticks=apart(axes.x.ticks(whole=True), WIDE_PLOT),
        y_ticks=axes.y_ticks(),
        lines=(axes.line([(p.x, p.y) for p in points], "model"),),
        dots=axes.dots(points, "model"),
        rules=(axes.rule(fit.null_objective, "a model that knows only the mean"),),
    )


def _distance_plot(fit: Fit) -> Plot | None:
    final, floor, last = fit.certificate.loss_bound, fit.certificate.floor, fit.trace[-1].value
    known = [(step, step.bound) for step in fit.trace if step.bound is not None]
    bounds = [_point(step, bound, 2) for step, bound in known if 0.0 < bound < math.inf]
    # The last value is the best that is known: how far the earlier ones lay above it needs no bound.
    above = [_point(step, step.value, 6) for step in fit.trace[:-1] if step.value > last]
    above = [point._replace(y=point.y - last) for point in above]
    marks = [value for value in (final, floor) if value is not None and value > 0.0]
    vertical = powers([*(p.y for p in (*bounds, *above)), *marks])
    if vertical is None or not (bounds or above):
        return None
    axes = Axes(scale([0.0, *(float(step.passes) for step in fit.trace)]), vertical)
    lines = [(above, "other"), (bounds, "model")]
    legend = [("bound on the distance", bounds, "model"), ("loss above the last one", above, "other")]
    return Plot(
        title="Distance to the optimum by pass",
        caption=_distance_caption(len(fit.trace) - len(bounds), len(fit.trace)),
        x_label="passes: how often all rows have been read",
        y_label="loss above the optimum, in powers of ten",
        x_ticks=apart(axes.x.ticks(whole=True), WIDE_PLOT),
        y_ticks=axes.y_ticks(6),
        lines=tuple(axes.line([(p.x, p.y) for p in points], role) for points, role in lines if len(points) > 1),
        dots=(*axes.dots(above, "other"), *axes.dots(bounds, "model")),
        rules=_rules(axes, final, floor),
        legend=tuple(Legend(role, said) for said, points, role in legend if points),
    )


def _rules(axes: Axes, final: float | None, floor: float | None) -> tuple[Rule, ...]:
    """Return the levels of the certificate and of the floor, one label for both where they are close."""
    found = [axes.rule(floor, "floor: what rounding leaves")] if floor is not None and floor > 0.0 else []
    if final is not None and final > 0.0:
        end = axes.rule(final, "certificate: the proved end")
        if found and abs(found[0].at - end.at) < _CLOSE:
            found, end = [], Rule(end.at, "certificate, close to what rounding leaves")
        found.append(end)
    return tuple(found)


def _distance_caption(unproved: int, steps: int) -> str:
    said = "Of the fit on all rows. A bound is a distance that the loss cannot exceed, wherever the optimum is."
    if 0 < unproved < steps:
        said += f" In {count(unproved, 'step')} of {steps} no bound could be given yet."
    return said


def _point(step: Step, value: float, digits: int) -> Point:
    return Point(step.passes, value, f"pass {step.passes:g}, {duration(step.seconds)}: {plain(value, digits)}")
