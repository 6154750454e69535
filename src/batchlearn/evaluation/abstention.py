"""Leaving predictions to people: what it is worth on held-out rows.

Someone who finds out the class and acts on it for a fee is worth asking exactly where a row's uncertainty, what knowing
its class is expected to save (`Costs.uncertainty`), exceeds the fee: Chow's rule (Chow 1970, "On optimum recognition
error and reject tradeoff", IEEE Transactions on Information Theory 16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchlearn.evaluation.intervals import Estimate, Resampling, metric_estimate
from batchlearn.evaluation.metrics import Array, MeanMetric, mean_of, ratio_of_means
from batchlearn.models.decision import Costs

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

    `left` is the share of the rows, by weight, whose uncertainty exceeds the fee. `cost_decided` is the mean cost
    of the rows that the model decides, None where it decides none; `cost_with_people` the mean cost of all rows where
    the others are decided rightly for the fee on top; `cost_alone` that of all rows without people.
    """

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
            "threshold": self.fee,
            "fee": self.fee,
            "left": self.left.to_json(),
            "cost_decided": self.cost_decided.to_json(),
            "cost_with_people": self.cost_with_people.to_json(),
            "cost_alone": self.cost_alone.to_json(),
            "curve": [{"coverage": p.coverage, "threshold": p.threshold, "cost": p.cost} for p in self.curve],
        }


def abstention(costs: Costs, label: Array, response: Array, weight: Array, plan: Resampling) -> Abstention | None:
    """Judge leaving rows to people who act on the true class; label and response are as in `judge_decisions`.

    None without a fee, or without a row of weight; rows of classes that training never saw have none in it.
    """
    known = ~np.isnan(label)
    weight, label = np.where(known, weight, 0.0), np.where(known, label, 0.0)
    if costs.fee is None or not np.any(weight > 0.0):
        return None
    uncertain = costs.uncertainty(response)
    yes = costs.false_positive * (1.0 - response) < costs.false_negative * response
    paid = np.where(yes, costs.false_positive * (1.0 - label), costs.false_negative * label)
    left = uncertain > costs.fee
    decided = MeanMetric("cost_decided", True, lambda spent, one: (spent * one, one), ratio_of_means)
    plain = mean_of("cost", lambda spent, _: spent)
    none = np.zeros_like(paid)
    return Abstention(
        costs.fee,
        metric_estimate(plain, left.astype(np.float64), none, weight, plan),
        metric_estimate(decided, paid, (~left).astype(np.float64), weight, plan),
        metric_estimate(plain, np.where(left, costs.fee, paid), none, weight, plan),
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
