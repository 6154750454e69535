"""Where every row went, and how near to the optimum training came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from batchlearn.report.plots import Axes, Legend, Plot, Point, Rule
from batchlearn.report.scales import WIDE_PLOT, apart, powers, scale
from batchlearn.report.values import LONGEST_SENTENCE, key_text, mapping, number, records, text, whole
from batchlearn.words.names import predicts_probabilities
from batchlearn.words.numbers import at_most, count, duration, percent, plain, small_share

_REACHED, _AT_FLOOR = "within the tolerance", "at the floor"
# What the user asked for is no warning.
ASKED_FOR = "excluded by the condition"
# Labels that are closer than this many per cent of the height would lie on each other.
_CLOSE = 10.0
_ROLES = {ASKED_FOR: "other"}


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
        return self.read - (self.parts[0].rows if self.parts else 0)


@dataclass(frozen=True)
class Proof:
    """What the certificate says, and what it amounts to."""

    certified: bool
    reached: bool
    at_floor: bool
    status: str | None
    reason: str
    loss_bound: float | None
    prediction_bound: float | None
    gain: float | None
    objective: float | None
    facts: tuple[tuple[str, str, str], ...]

    @property
    def share(self) -> float | None:
        """The bound on the loss as a share of what training gained."""
        return None if self.loss_bound is None or not self.gain else self.loss_bound / self.gain


def ledger(result: Mapping[str, Any]) -> Ledger | None:
    """Return where the rows went, or None where the result does not say."""
    rows = mapping(result.get("rows"))
    read, used = whole(rows.get("read")), whole(rows.get("used"))
    if read is None or used is None:
        return None
    rejected = mapping(rows.get("rejected"))
    named = [("used for training", used, "model")]
    named.append(("without a label", whole(rows.get("unlabelled")) or 0, "other"))
    named += [(key_text(reason), whole(rejected[reason]) or 0, _ROLES.get(reason, "warn")) for reason in rejected]
    parts, start = [], 0
    for reason, number_of_rows, role in named:
        if number_of_rows or role == "model":
            share, before = number_of_rows / max(read, 1), start / max(read, 1)
            left = min(max(before, 0.0), 1.0)
            places = round(100.0 * left, 3), round(100.0 * min(max(share, 0.0), 1.0 - left), 3)
            parts.append(Part(reason, number_of_rows, percent(share), *places, role))
        start += number_of_rows
    return Ledger(read, tuple(parts))


def proof(result: Mapping[str, Any]) -> Proof:
    """Return what is proved about the fit."""
    certificate = mapping(result.get("certificate"))
    bound = number(certificate.get("loss_bound"))
    certified = certificate.get("status") == "certified" and bound is not None
    status = text(result.get("status"), LONGEST_SENTENCE)
    reason = text(certificate.get("reason"), LONGEST_SENTENCE) or "the result has no certificate"
    null, objective = number(result.get("null_objective")), number(result.get("objective"))
    gain = max(null - objective, 0.0) if null is not None and objective is not None else None
    bound = bound if certified else None
    prediction = number(certificate.get("prediction_bound")) if certified else None
    reached = certified and status is not None and _REACHED in status
    at_floor = certified and not reached and status is not None and _AT_FLOOR in status
    told = tuple(_facts(result, bound, gain))
    return Proof(certified, reached, at_floor, status, reason, bound, prediction, gain, objective, told)


def _facts(result: Mapping[str, Any], bound: float | None, gain: float | None) -> list[tuple[str, str, str]]:
    certificate = mapping(result.get("certificate"))
    of_gain = f"; {small_share(bound / gain)} of what training gained" if bound is not None and gain else ""
    said = [
        ("Training loss", number(result.get("objective")), "the mean loss of the training rows plus the penalty"),
        ("Loss of the mean", number(result.get("null_objective")), "the same for a model that knows only the mean"),
        ("Loss above the optimum, at most", bound, f"how much lower any coefficients could bring it{of_gain}"),
    ]
    if bound is not None:
        said += [
            (
                "Prediction off by at most",
                number(certificate.get("prediction_bound")),
                f"{_unit(result)}, over all training rows, against the model at the optimum",
            ),
            (
                "Coefficient off by at most",
                number(certificate.get("coefficient_bound")),
                "in the units of the coefficient's column; the largest over all coefficients",
            ),
        ]
    said.append(("Floor", number(certificate.get("floor")), "the bound that rounding alone would leave"))
    facts = [
        (name, at_most(value) if name.endswith("at most") else plain(value), meaning)
        for name, value, meaning in said
        if value is not None
    ]
    method = text(certificate.get("method"))
    return [*facts, ("Method", method, "how the bound was proved")] if method else facts


def passes_said(result: Mapping[str, Any]) -> str | None:
    """Say what the passes of the fit on all rows were for."""
    passes = whole(result.get("passes"))
    steps = [found for step in records(result.get("trace")) if (found := number(step.get("passes"))) is not None]
    if passes is None or len(steps) < 2 or not 0.0 < steps[-1] < passes:
        return None
    return (
        f"The fit on all rows read them {count(passes, 'time')}: {steps[-1]:,.0f} to train, as drawn here, the others "
        "to prove the end."
    )


def _unit(result: Mapping[str, Any]) -> str:
    return "as a probability" if predicts_probabilities(result.get("loss")) else "in units of the target"


def trace_plots(result: Mapping[str, Any]) -> list[Plot]:
    """Return the loss by pass and the distance to the optimum by pass, as far as the trace has them."""
    steps = [step for step in records(result.get("trace")) if number(step.get("passes")) is not None]
    if len(steps) < 2:
        return []
    return [plot for plot in (_loss_plot(result, steps), _distance_plot(result, steps)) if plot is not None]


def _loss_plot(result: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> Plot | None:
    points = _points(steps, "value")
    if len(points) < 2:
        return None
    null = number(result.get("null_objective"))
    axes = Axes(scale([0.0, points[-1].x]), scale([*(p.y for p in points), *([] if null is None else [null])]))
    rules = (axes.rule(axes.y.low, ""),) if null is None else (axes.rule(null, "a model that knows only the mean"),)
    return Plot(
        title="Training loss by pass",
        caption="Of the fit on all rows. Where the line is flat, more passes change nothing that can be seen here.",
        x_label="passes: how often all rows have been read",
        y_label="training loss",
        x_ticks=apart(axes.x.ticks(whole=True), WIDE_PLOT),
        y_ticks=axes.y_ticks(),
        lines=(axes.line([(p.x, p.y) for p in points], "model"),),
        dots=axes.dots(points, "model"),
        rules=rules if null is not None else (),
    )


def _distance_plot(result: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> Plot | None:
    certificate = mapping(result.get("certificate"))
    final = number(certificate.get("loss_bound"))
    floor = number(certificate.get("floor"))
    bounds = [point for point in _points(steps, "bound") if point.y > 0.0]
    values = _points(steps, "value")
    # The last value is the best that is known: how far the earlier ones lay above it needs no bound.
    above = [Point(p.x, p.y - values[-1].y, p.says) for p in values[:-1] if p.y > values[-1].y] if values else []
    marks = [value for value in (final, floor) if value is not None and value > 0.0]
    vertical = powers([*(p.y for p in (*bounds, *above)), *marks])
    if vertical is None or not (bounds or above):
        return None
    axes = Axes(scale([0.0, *(p.x for p in (*values, *bounds))]), vertical)
    rules = _rules(axes, final, floor)
    legend = [Legend("other", "loss above the last one")] if above else []
    return Plot(
        title="Distance to the optimum by pass",
        caption=_distance_caption(len(steps) - len(bounds), len(steps)),
        x_label="passes: how often all rows have been read",
        y_label="loss above the optimum, in powers of ten",
        x_ticks=apart(axes.x.ticks(whole=True), WIDE_PLOT),
        y_ticks=axes.y_ticks(6),
        lines=(
            *([axes.line([(p.x, p.y) for p in above], "other")] if len(above) > 1 else []),
            *([axes.line([(p.x, p.y) for p in bounds], "model")] if len(bounds) > 1 else []),
        ),
        dots=(*axes.dots(above, "other"), *axes.dots(bounds, "model")),
        rules=tuple(rules),
        legend=(*([Legend("model", "bound on the distance")] if bounds else []), *legend),
    )


def _rules(axes: Axes, final: float | None, floor: float | None) -> list[Rule]:
    """Return the levels of the certificate and of the floor, one label for both where they are close."""
    found = [axes.rule(floor, "floor: what rounding leaves")] if floor is not None and floor > 0.0 else []
    if final is not None and final > 0.0:
        end = axes.rule(final, "certificate: the proved end")
        if found and abs(found[0].at - end.at) < _CLOSE:
            found, end = [], Rule(end.at, "certificate, close to what rounding leaves")
        found.append(end)
    return found


def _distance_caption(unproved: int, steps: int) -> str:
    said = "Of the fit on all rows. A bound is a distance that the loss cannot exceed, wherever the optimum is."
    if 0 < unproved < steps:
        said += f" In {count(unproved, 'step')} of {steps} no bound could be given yet."
    return said


def _points(steps: Sequence[Mapping[str, Any]], key: str) -> list[Point]:
    points = []
    for step in steps:
        passes, value, seconds = (number(step.get(name)) for name in ("passes", key, "seconds"))
        if passes is not None and value is not None:
            after = "" if seconds is None else f", {duration(seconds)}"
            points.append(Point(passes, value, f"pass {passes:g}{after}: {plain(value, 6 if key == 'value' else 2)}"))
    return points
