"""Leaving predictions to people: what a row's best action is expected to cost, and what leaving the worst out saves.

A `cost` table of shape (actions, classes) says what each action costs where each class is true; `models.decision` has
the best action and the uncertainty that follow from it. Someone who finds out the class and acts on it for a fee is
worth asking exactly where the uncertainty exceeds the fee: Chow's rule (Chow 1970, "On optimum recognition error and
reject tradeoff", IEEE Transactions on Information Theory 16).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchlearn.errors import DataError, UsageError
from batchlearn.evaluation.intervals import Estimate, Resampling, metric_estimate
from batchlearn.evaluation.metrics import Array, MeanMetric, mean_of, ratio_of_means
from batchlearn.models.decision import best_action, checked_cost, errors_cost, expected_costs, uncertainty

__all__ = [
    "Abstention",
    "CoveragePoint",
    "abstention",
    "best_action",
    "checked_cost",
    "errors_cost",
    "expected_costs",
    "risk_coverage",
    "threshold_for_share",
    "uncertainty",
]

# Points of the curve: enough to draw, few enough to store with every evaluation.
MOST_POINTS = 50


@dataclass(frozen=True)
class CoveragePoint:
    """What the rows decided by the model cost each on average, where the most certain share of the rows is decided."""

    coverage: float
    threshold: float
    """Largest uncertainty that is still decided by the model."""
    cost: float


@dataclass(frozen=True)
class Abstention:
    """What leaving rows to people is worth on held-out rows, in units of the costs, with 95 % intervals.

    `left` is the share of the rows, by weight, whose uncertainty exceeds the threshold. `cost_decided` is the mean cost
    of the rows that the model decides, None where it decides none; `cost_with_people` the mean cost of all rows where
    the others are decided rightly for the fee on top; `cost_alone` that of all rows without people.
    """

    threshold: float
    fee: float
    left: Estimate
    cost_decided: Estimate
    cost_with_people: Estimate
    cost_alone: Estimate
    curve: Sequence[CoveragePoint]

    def __str__(self) -> str:
        """Return what leaving rows to people is worth as a sentence."""
        if self.left.value is None or self.cost_with_people.value is None or self.cost_alone.value is None:
            return "Left to people: no row with a known class and a weight."
        return (
            f"Left to people: {self.left.value:.1%} of rows; a row costs {self.cost_with_people.value:.3g} so, "
            f"{self.cost_alone.value:.3g} without them."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {
            "threshold": self.threshold,
            "fee": self.fee,
            "left": self.left.to_json(),
            "cost_decided": self.cost_decided.to_json(),
            "cost_with_people": self.cost_with_people.to_json(),
            "cost_alone": self.cost_alone.to_json(),
            "curve": [{"coverage": p.coverage, "threshold": p.threshold, "cost": p.cost} for p in self.curve],
        }


def threshold_for_share(uncertain: Array, weight: Array, share: float) -> float:
    """Return the smallest threshold that leaves at most this share of the weight to people.

    Rows of equal uncertainty are left together or not at all. UsageError for a share outside 0 to 1.
    """
    if not 0.0 <= share <= 1.0:
        raise UsageError(
            f"The share of rows left to people is {share:g}; it needs to be from 0 to 1, such as 0.05.",
            code="share-range",
        )
    if not len(uncertain) or weight.sum() <= 0.0:
        raise DataError("There are no rows with weight to choose a threshold from; some are needed.", code="no-rows")
    order = np.argsort(-uncertain, kind="stable")
    values = uncertain[order]
    # Weight strictly above each value.
    above = np.concatenate(([0.0], np.cumsum(weight[order])))[np.searchsorted(-values, -values, "left")]
    allowed = above <= share * weight.sum() * (1.0 + 1e-12)
    return float(values[allowed].min()) if share < 1.0 else 0.0


def abstention(
    probability: Array,
    label: NDArray[np.integer],
    weight: Array,
    cost: Array,
    threshold: float,
    plan: Resampling,
    fee: float | None = None,
) -> Abstention:
    """Evaluate leaving rows whose uncertainty exceeds the threshold to people, on held-out rows in the order of time.

    `label` holds the number of each row's class, shape (n,); rows of classes that training never saw have to be left
    out, as no cost is known for them. A person costs `fee` a row, by default the threshold, and acts on the true class.
    DataError where labels or weights do not fit, UsageError for a threshold or fee that is no cost.
    """
    fee = threshold if fee is None else fee
    if not (math.isfinite(threshold) and threshold >= 0.0 and math.isfinite(fee) and fee >= 0.0):
        raise UsageError(
            f"The threshold is {threshold:g} and a person's fee {fee:g}; both are costs, so finite numbers of 0 or "
            "more are needed.",
            code="threshold-range",
        )
    uncertain = uncertainty(probability, cost)
    _check_labels(label, weight, len(uncertain), cost.shape[1])
    paid = cost[best_action(probability, cost), label]
    person = fee + cost.min(axis=0)[label]
    left = uncertain > threshold
    decided = MeanMetric("cost_decided", True, lambda spent, one: (spent * one, one), ratio_of_means)
    plain = mean_of("cost", lambda spent, _: spent)
    none = np.zeros_like(paid)
    return Abstention(
        threshold,
        fee,
        metric_estimate(plain, left.astype(np.float64), none, weight, plan),
        metric_estimate(decided, paid, (~left).astype(np.float64), weight, plan),
        metric_estimate(plain, np.where(left, person, paid), none, weight, plan),
        metric_estimate(plain, paid, none, weight, plan),
        risk_coverage(uncertain, paid, weight),
    )


def risk_coverage(uncertain: Array, paid: Array, weight: Array) -> list[CoveragePoint]:
    """Return the risk-coverage curve (El-Yaniv and Wiener 2010): the mean cost of the most certain rows, by share.

    At most 50 points, always the full coverage; rows of equal uncertainty are decided together.
    """
    order = np.argsort(uncertain, kind="stable")
    values = uncertain[order]
    covered = np.cumsum(weight[order])
    spent = np.cumsum((weight * paid)[order])
    ends = np.flatnonzero(np.concatenate((values[1:] != values[:-1], [True])) & (covered > 0.0))
    wanted = covered[-1] * np.arange(1, MOST_POINTS + 1) / MOST_POINTS
    at = ends[np.unique(np.minimum(np.searchsorted(covered[ends], wanted * (1.0 - 1e-12)), len(ends) - 1))]
    return [CoveragePoint(float(covered[i] / covered[-1]), float(values[i]), float(spent[i] / covered[i])) for i in at]


def _check_labels(label: NDArray[np.integer], weight: Array, rows: int, classes: int) -> None:
    if label.shape != (rows,) or weight.shape != (rows,):
        raise DataError(
            f"There are {rows:,} rows of probabilities, labels of shape {label.shape} and weights of shape "
            f"{weight.shape}; one of each for every row is needed.",
            code="abstention-rows",
        )
    if not rows or not np.all(np.isfinite(weight) & (weight >= 0.0)) or weight.sum() <= 0.0:
        raise DataError(
            "There is no row with weight, or a weight is negative or missing; the share left to people needs weights "
            "of 0 or more. Leave out the rows without one.",
            code="abstention-rows",
        )
    if label.min() < 0 or label.max() >= classes:
        raise DataError(
            f"The labels go from {label.min()} to {label.max()} and the costs know classes 0 to {classes - 1}; leave "
            "out rows of other classes, or give costs for them.",
            code="abstention-rows",
        )
