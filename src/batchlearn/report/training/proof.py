"""Where every row went, and how near to the optimum training came."""

from __future__ import annotations

import math
from collections.abc import Sequence

from batchlearn.data.ledger import RowCounts
from batchlearn.formatting.names import predicts_probabilities
from batchlearn.formatting.numbers import at_most, count, duration, percent, plain, small_share
from batchlearn.formatting.rejections import Rejection
from batchlearn.report.document import Fact, Part
from batchlearn.report.figures.plots import Axes, Legend, Plot, Point, Rule
from batchlearn.report.figures.scales import WIDE_PLOT, Scale, apart, powers, scale
from batchlearn.training.certificate import Certificate
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Step

# Labels that are closer than this many per cent of the height would lie on each other.
_CLOSE = 10.0


def parts_of(named: Sequence[tuple[str, int, str]], whole: int) -> tuple[Part, ...]:
    """Lay parts, each with its rows and its role, one after the other in a bar of so many rows."""
    parts, start = [], 0
    for said, rows, role in named:
        share, left = rows / max(whole, 1), min(start / max(whole, 1), 1.0)
        places = round(100.0 * left, 3), round(100.0 * min(share, 1.0 - left), 3)
        parts.append(Part(said, rows, percent(share), *places, role))
        start += rows
    return tuple(parts)


def ledger(rows: RowCounts) -> tuple[Part, ...]:
    """Return where every row that was read went; what the user asked to leave out is no warning."""
    named = [("without a label", rows.unlabelled, "other")]
    named += [
        (why.value, left, "other" if why is Rejection.EXCLUDED else "warn") for why, left in rows.rejected.items()
    ]
    return parts_of([("used for training", rows.used, "model"), *(one for one in named if one[1])], rows.read)


def split_parts(fit: Fit) -> tuple[Part, ...]:
    """Return the rows that the judged model learned from and those that judged it; nothing where none were held out."""
    split = None if fit.summary is None else fit.summary.split
    if split is None or split.late == 0:
        return ()
    named = [("taught the model that is judged", split.early, "model"), ("judged it", split.late, "held")]
    return parts_of(named, split.early + split.late)


def proved(fit: Fit) -> Certificate | None:
    """Return the certificate where it bounds the distance to the optimum."""
    return fit.certificate if fit.certificate.certified and fit.certificate.loss_bound is not None else None


def refusal(fit: Fit) -> str:
    """Return why nothing is proved, as a clause."""
    return str(fit.certificate.reason or "the certificate does not say why")


def gained_share(fit: Fit) -> float | None:
    """Return the bound on the loss as a share of what training gained; None where there is no bound or no gain."""
    bound, gain = fit.certificate.loss_bound, fit.null_objective - fit.objective
    return bound / gain if bound is not None and proved(fit) is not None and gain > 0.0 else None


def _without_features(fit: Fit) -> str:
    roles = fit.model.roles
    if roles.exposure is not None:
        return "a model that knows only the mean rate"
    return "a model that knows only the mean" + (" beside the offset" if roles.offset is not None else "")


def facts(fit: Fit) -> tuple[Fact, ...]:
    """Return the figures of the certificate, each with what it means."""
    # Of an estimator that was brought along no penalty is known.
    penalty = " plus the penalty" if fit.model.learned_by is None else ""
    found = [
        Fact("Training loss", plain(fit.objective), f"the mean loss of the training rows{penalty}"),
        Fact("Loss of the mean", plain(fit.null_objective), f"the same for {_without_features(fit)}"),
    ]
    certificate, share = proved(fit), gained_share(fit)
    if certificate is not None:
        unit = "as a probability" if predicts_probabilities(fit.model.loss) else "in units of the target"
        of_gain = "" if share is None else f"; {small_share(share)} of what training gained"
        lower = f"how much lower any coefficients could bring it{of_gain}"
        over = f"{unit}, over all training rows, against the model at the optimum"
        units = "in the units of the coefficient's column; the largest over all coefficients"
        bounds = (
            ("Loss above the optimum, at most", certificate.loss_bound, lower),
            ("Prediction off by at most", certificate.prediction_bound, over),
            ("Coefficient off by at most", certificate.coefficient_bound, units),
        )
        found += [Fact(name, at_most(value), meaning) for name, value, meaning in bounds if value is not None]
    if fit.certificate.floor is not None:
        found.append(Fact("Floor", plain(fit.certificate.floor), "the bound that rounding alone would leave"))
    if fit.certificate.method:
        found.append(Fact("Method", fit.certificate.method, "how the bound was proved"))
    return tuple(found)


def passes_said(fit: Fit) -> str | None:
    """Say what the passes of the fit on all rows were for."""
    if not fit.trace or not 0 < fit.trace[-1].passes < fit.passes:
        return None
    drawn = ", as drawn here" if trace_plots(fit) else ""
    return (
        f"The fit on all rows read them {count(fit.passes, 'time')}: {fit.trace[-1].passes:,} to train{drawn}, "
        "the others to prove the end."
    )


def trace_plots(fit: Fit) -> list[Plot]:
    """Return the loss by pass and the distance to the optimum by pass, as far as the trace has them."""
    if len(fit.trace) < 2:
        return []
    distance = _distance_plot(fit)
    points = [_point(step, step.value, 6) for step in fit.trace]
    axes = Axes(_passes(fit), scale([*(p.y for p in points), fit.null_objective]))
    return [
        Plot(
            title="Training loss by pass",
            caption="Of the fit on all rows. Where the line is flat, more passes change nothing that can be seen here.",
            x_label="passes: how often all rows have been read",
            y_label="training loss",
            x_ticks=apart(axes.x.ticks(whole=True), WIDE_PLOT),
            y_ticks=axes.y_ticks(),
            lines=(axes.line([(p.x, p.y) for p in points], "model"),),
            dots=axes.dots(points, "model"),
            rules=(axes.rule(fit.null_objective, _without_features(fit)),),
        ),
        *([] if distance is None else [distance]),
    ]


def _passes(fit: Fit) -> Scale:
    """Return the axis of passes: from 0, or from the first that is drawn where all are in its last half."""
    passes = [float(step.passes) for step in fit.trace]
    return scale([passes[0] if passes[0] > 0.5 * passes[-1] else 0.0, *passes])


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
    axes = Axes(_passes(fit), vertical)
    lines = [(above, "other"), (bounds, "model")]
    legend = [("bound on the distance", bounds, "model"), ("loss above the last one", above, "other")]
    steps, unproved = len(fit.trace), len(fit.trace) - len(bounds)
    caption = "Of the fit on all rows. A bound is a distance that the loss cannot exceed, wherever the optimum is."
    if 0 < unproved < steps:
        caption += f" In {count(unproved, 'step')} of {steps} no bound could be given yet."
    return Plot(
        title="Distance to the optimum by pass",
        caption=caption,
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


def _point(step: Step, value: float, digits: int) -> Point:
    return Point(step.passes, value, f"pass {step.passes:g}, {duration(step.seconds)}: {plain(value, digits)}")
