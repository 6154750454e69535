"""One evaluation of one model on held-out rows: the numbers, their intervals, and notes on what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from batchlearn.errors import DataError
from batchlearn.evaluation.abstention import Abstention, abstention
from batchlearn.evaluation.calibration import Calibration, calibration
from batchlearn.evaluation.decision import Cut, DecisionCosts, cuts_at, judge_decisions
from batchlearn.evaluation.intervals import (
    LEVEL,
    NORMAL,
    Estimate,
    metric_estimate,
    paired_difference,
    resampling,
)
from batchlearn.evaluation.metrics import (
    EVEN_CHANCE,
    METRICS,
    SMALLEST_RESPONSE,
    Array,
    MeanMetric,
    Metric,
    MetricTask,
    first_score,
    losses_under,
)
from batchlearn.evaluation.metrics.multiclass import confidences
from batchlearn.evaluation.paired import later_difference
from batchlearn.evaluation.scored import ScoredRows
from batchlearn.evaluation.slices import Slice, slices
from batchlearn.formatting.notes import Code, Note
from batchlearn.models.decision import Costs


@dataclass(frozen=True)
class LaterDifference:
    """The proper score of later rows minus the leave-one-out one of the earlier rows, with its 98 % interval.

    Of tables whose rows are of one world the interval is above zero in one of a hundred, and below in one.
    """

    value: float
    low: float
    high: float

    @property
    def side(self) -> str | None:
        """How later rows fare, "worse" or "better"; None where chance may do it."""
        return "worse" if self.low > 0.0 else "better" if self.high < 0.0 else None

    def to_json(self) -> dict[str, float | str | None]:
        """Return the difference, its interval and the side."""
        return {"value": self.value, "low": self.low, "high": self.high, "side": self.side}


@dataclass(frozen=True)
class WorstRow:
    """A held-out row of large loss: its number among those read, from 1, and what came and was predicted.

    Of more than two classes the label is the name of the row's class, and the response the probability of it.
    """

    row: int
    label: float | str
    response: float
    loss: float
    pushed: tuple[tuple[str, float], ...] = ()  # terms with what each adds here minus what it adds on average
    values: Mapping[str, str] = field(default_factory=dict)  # of its features, as text

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain values."""
        pushed = [{"term": term, "effect": effect} for term, effect in self.pushed]
        return {**vars(self), "pushed": pushed, "values": dict(self.values)}


@dataclass(frozen=True)
class LeaveOneOut:
    """The approximate leave-one-out figure of the rows learned from, in the units of the proper score."""

    metric: str
    estimate: Estimate
    rows: int

    def to_json(self) -> dict[str, Any]:
        """Return the figure by the name of its metric."""
        return {self.metric: self.estimate.to_json(), "rows": self.rows}


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on held-out rows, beside its baselines."""

    rows: int
    metrics: Mapping[str, Estimate]
    baselines: Mapping[str, Mapping[str, Estimate]]
    calibration: Calibration | None
    slices: Sequence[Slice]
    unseen_classes: Mapping[str, int]
    notes: Sequence[Note]
    leave_one_out: LeaveOneOut | None = None
    drift: LaterDifference | None = None  # where the held-out rows are later ones and there is a leave-one-out score
    differences: Mapping[str, Estimate] = field(default_factory=dict)  # its proper score minus that of each baseline
    decision: DecisionCosts | None = None  # where costs of wrong decisions were given
    cuts: tuple[Cut, ...] = ()  # of two classes, what thresholds find: one half, the base rate, and that of the costs
    abstention: Abstention | None = None  # where they have a fee for a person's look at a row
    worst_rows: Sequence[WorstRow] = ()  # those of the largest losses

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation as plain dicts, lists and numbers; what is undefined is None."""
        return {
            "rows": self.rows,
            "metrics": _estimates_json(self.metrics),
            "baselines": {name: _estimates_json(estimates) for name, estimates in self.baselines.items()},
            "leave_one_out": None if self.leave_one_out is None else self.leave_one_out.to_json(),
            "drift": None if self.drift is None else self.drift.to_json(),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "slices": [one.to_json() for one in self.slices],
            "unseen_classes": dict(self.unseen_classes),
            "notes": list(map(str, self.notes)),
            "noted": [note.to_json() for note in self.notes],
            "differences": _estimates_json(self.differences),
            "decision": None if self.decision is None else self.decision.to_json(),
            "cuts": [one.to_json() for one in self.cuts],
            "abstention": None if self.abstention is None else self.abstention.to_json(),
            "worst_rows": [one.to_json() for one in self.worst_rows],
        }


def evaluate(
    task: MetricTask,
    held_out: ScoredRows,
    baselines: Mapping[str, Array | None],
    seed: int,
    leave_one_out: LeaveOneOut | None = None,
    costs: Costs | None = None,
    metrics: Sequence[Metric] | None = None,
) -> Evaluation:
    """Evaluate responses and each baseline's responses on the same rows, with intervals from the same blocks.

    A baseline that is None is left out. `leave_one_out` is passed on, and later rows are held against it. With `costs`
    of wrong decisions between two classes, what decisions cost is judged too, and with a fee what it is worth to leave
    rows to people. `metrics` are those of the target where the task does not say which, its proper score first.
    DataError where the model gave what is no response of the task.
    """
    label, response = held_out.label, held_out.response
    weight = np.ones(len(label)) if held_out.weight is None else held_out.weight
    metrics = METRICS[task] if metrics is None else metrics
    score = first_score(metrics)
    present = {name: array for name, array in baselines.items() if array is not None}
    _check_response(task, response)
    plan = resampling(len(label), seed, clusters=held_out.clusters)
    estimates = {metric.name: metric_estimate(metric, label, response, weight, plan) for metric in metrics}
    losses = losses_under(score, label, response)
    differences = {
        name: paired_difference(losses, losses_under(score, label, array), weight, plan)
        for name, array in present.items()
    }
    unseen = dict(held_out.unseen_classes)
    # Of many classes calibration and slices speak of the likeliest: how sure it is, and whether it is right.
    told: tuple[MetricTask, Array, Array] = (task, label, response)
    if task == "multiclass":
        told = "classes", *confidences(label, response)
    decision = None if costs is None else judge_decisions(costs, label, response, weight, plan)
    cuts: tuple[Cut, ...] = ()
    constant = present.get("constant")
    if task == "classes":
        # Beside offsets the constant differs from row to row: the base rate is its mean.
        same = constant is not None and bool(np.all(constant == constant[0]))
        rate = [] if constant is None else [float(constant[0] if same else np.average(constant, weights=weight))]
        cheapest = [] if costs is None else [costs.threshold]
        cuts = cuts_at([EVEN_CHANCE, *rate, *cheapest], label, response, weight, plan)
    return Evaluation(
        rows=len(label),
        metrics=estimates,
        baselines={
            name: {metric.name: metric_estimate(metric, label, array, weight, plan) for metric in metrics}
            for name, array in present.items()
        },
        calibration=calibration(*told, weight),
        slices=slices(held_out.categories, losses, *told[1:], weight),
        unseen_classes=unseen,
        notes=list(_notes(task, label, weight, unseen, score, differences, decision)),
        leave_one_out=leave_one_out,
        drift=_drift(score.name, held_out.time, losses, weight, leave_one_out),
        differences=differences,
        decision=decision,
        cuts=cuts,
        abstention=None if costs is None else abstention(costs, label, response, weight, plan),
    )


def _estimates_json(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {name: estimate.to_json() for name, estimate in estimates.items()}


def _check_response(task: MetricTask, response: Array) -> None:
    shares = task in ("classes", "multiclass")
    fits = (response >= 0.0) & (response <= 1.0) if shares else np.isfinite(response)
    if not np.all(fits):
        wanted = "a probability from 0 to 1" if shares else "a finite number"
        row = int(np.argmin(fits.reshape(len(response), -1).all(axis=1)))
        raise DataError(
            f"The model gave the response {response[~fits][0]:g} for held-out row {row + 1}; it must be {wanted}. Look "
            "for extreme values in that row.",
            code="evaluation-response",
        )


def _notes(
    task: MetricTask,
    label: Array,
    weight: Array,
    unseen: Mapping[str, int],
    score: MeanMetric,
    differences: Mapping[str, Estimate],
    decision: DecisionCosts | None,
) -> Iterator[Note]:
    """Yield what the figures do not say by themselves: of the rows, of the baselines, of what decisions cost."""
    classes = np.unique(label[~np.isnan(label) & (weight > 0.0)]) if task == "classes" else np.empty(0)
    if len(classes) == 1:
        yield Note(Code.ONE_CLASS_HELD_OUT, {"label": float(classes[0])})
    if unseen:
        found = {"rows": sum(unseen.values()), "of": len(label), "classes": dict(unseen)}
        yield Note(Code.CLASSES_NEVER_SEEN, {**found, "loss": float(-np.log(SMALLEST_RESPONSE))})
    for name, apart in differences.items():
        if apart.value is None or apart.low is None or apart.high is None:
            yield Note(Code.BASELINE_NOT_TOLD, {"baseline": name})
        elif apart.high >= 0.0:
            code = Code.BASELINE_BETTER if apart.low > 0.0 else Code.BASELINE_NOT_BEATEN
            interval = {"difference": apart.value, "low": apart.low, "high": apart.high}
            yield Note(code, {"baseline": name, "metric": score.name, **interval})
    if decision is not None and (saved := decision.saved).value is not None and not (saved.low or 0.0) > 0.0:
        always_yes = (decision.always_yes.value or 0.0) < (decision.always_no.value or 0.0)
        than = "always yes" if always_yes else "always no"
        found = {"saved": saved.value, "low": saved.low, "high": saved.high}
        yield Note(Code.THRESHOLD_NOT_CHEAPER, {"threshold": decision.threshold, "than": than, **found})


def _drift(
    score: str, time: Array | None, losses: Array, weight: Array, leave_one_out: LeaveOneOut | None
) -> LaterDifference | None:
    if time is None or leave_one_out is None or leave_one_out.metric != score:
        return None
    before, high = leave_one_out.estimate.value, leave_one_out.estimate.high
    if before is None or high is None:
        return None
    error = (high - before) / NORMAL.inv_cdf(0.5 + LEVEL / 2)
    found = later_difference(losses, weight, time, before, error)
    return None if found.low is None or found.high is None else LaterDifference(found.value, found.low, found.high)
