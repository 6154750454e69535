"""What decisions by a threshold find and cost on held-out rows, beside deciding always the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from batchlearn.evaluation.intervals import Estimate, Resampling, metric_estimate, paired_difference
from batchlearn.evaluation.metrics import Array, MeanMetric, falling_groups, first_mean, ratio_of_means
from batchlearn.models.decision import Costs


@dataclass(frozen=True)
class DecisionCosts:
    """Mean costs per row, each with its interval; rows of classes never seen in training are left out.

    `saved` is the cost of the cheaper constant decision minus that of deciding by `threshold`, on the same rows.
    `best_threshold` was chosen on these very rows, so `best_cost` is optimistic: other rows will cost more.
    """

    costs: Costs
    cost: Estimate
    always_no: Estimate
    always_yes: Estimate
    saved: Estimate
    share_of_yes: float | None
    best_threshold: float | None
    best_cost: float | None

    @property
    def threshold(self) -> float:
        """The probability above which the decision is for the second class."""
        return self.costs.threshold

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what is undefined is None."""
        return {
            "costs": asdict(self.costs),
            "threshold": self.threshold,
            "cost": self.cost.to_json(),
            "always_no": self.always_no.to_json(),
            "always_yes": self.always_yes.to_json(),
            "saved": self.saved.to_json(),
            "share_of_yes": self.share_of_yes,
            "best_on_these_rows": {"threshold": self.best_threshold, "cost": self.best_cost},
        }


@dataclass(frozen=True)
class Cut:
    """What saying yes above a threshold finds: rows of classes never seen in training are left out.

    `precision` is the share of yes among the rows above it, `recall` the share of all yes that are above it.
    """

    threshold: float
    flagged: int
    share: Estimate
    precision: Estimate
    recall: Estimate

    def to_json(self) -> dict[str, Any]:
        """Return plain values; what is undefined is None."""
        shares = {name: getattr(self, name).to_json() for name in ("share", "precision", "recall")}
        return {"threshold": self.threshold, "flagged": self.flagged, **shares}


def cuts_at(
    thresholds: Sequence[float], label: Array, response: Array, weight: Array, plan: Resampling
) -> tuple[Cut, ...]:
    """Return what each threshold finds, once each in rising order; label and response are as in `judge_decisions`."""
    known = ~np.isnan(label)
    weight, label = np.where(known, weight, 0.0), np.where(known, label, 0.0)
    if not np.any(weight > 0.0):
        return ()
    found = []
    for threshold in sorted(set(thresholds)):
        above = np.asarray(response > threshold, dtype=np.float64)
        shares = (
            metric_estimate(metric, label, above, weight, plan)
            for metric in (
                MeanMetric("share", True, lambda _, flagged: (flagged,), first_mean),
                MeanMetric("precision", False, lambda truth, flagged: (truth * flagged, flagged), ratio_of_means),
                MeanMetric("recall", False, lambda truth, flagged: (truth * flagged, truth), ratio_of_means),
            )
        )
        found.append(Cut(threshold, int(above[known].sum()), *shares))
    return tuple(found)


def judge_decisions(costs: Costs, label: Array, response: Array, weight: Array, plan: Resampling) -> DecisionCosts:
    """Return what deciding by the threshold costs; label 0, 1 or NaN and response, the probability of 1, are (n,)."""
    known = ~np.isnan(label)
    # Left out by weight and not by selection: the blocks of the plan are made of all rows.
    weight, label = np.where(known, weight, 0.0), np.where(known, label, 0.0)
    yes = np.asarray(response > costs.threshold, dtype=np.float64)
    metric = MeanMetric("cost", True, lambda truth, decided: (_row_costs(costs, truth, decided),), first_mean)
    never, ever = np.zeros_like(yes), np.ones_like(yes)
    cost, no, always = (metric_estimate(metric, label, decided, weight, plan) for decided in (yes, never, ever))
    constant = never if (no.value or 0.0) <= (always.value or 0.0) else ever
    saved = paired_difference(_row_costs(costs, label, constant), _row_costs(costs, label, yes), weight, plan)
    total = float(np.sum(weight))
    share = float(np.sum(weight * yes)) / total if total > 0.0 else None
    best = (None, None) if total == 0.0 else _best(costs, label, response, weight)
    return DecisionCosts(costs, cost, no, always, saved, share, *best)


def _row_costs(costs: Costs, label: Array, decided: Array) -> Array:
    return costs.false_positive * decided * (1.0 - label) + costs.false_negative * (1.0 - decided) * label


def _best(costs: Costs, label: Array, response: Array, weight: Array) -> tuple[float, float]:
    """Return the threshold at which these rows cost least, the largest response decided "no", and that cost a row."""
    order, starts = falling_groups(response)
    values = response[order][starts]
    wrong = np.add.reduceat((weight * (1.0 - label))[order], starts)
    right = np.add.reduceat((weight * label)[order], starts)
    # Entry k: the k highest groups of equal responses are decided "yes".
    false_yes = np.concatenate(([0.0], np.cumsum(wrong)))
    false_no = np.maximum(np.sum(right) - np.concatenate(([0.0], np.cumsum(right))), 0.0)
    total = (costs.false_positive * false_yes + costs.false_negative * false_no) / float(np.sum(weight))
    edges = np.append(values, 0.0)
    if values[-1] == 0.0:
        total[-1] = np.inf  # no threshold is below it
    place = int(np.argmin(total))
    return float(edges[place]), float(total[place])
