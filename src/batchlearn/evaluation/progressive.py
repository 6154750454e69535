"""Progressive evaluation: every row is predicted before its label is used, beside what the last label says.

The baseline is fitted on the way as well: for row t it knows the labels of rows up to t - 1 - delay, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from batchlearn.evaluation.metrics import SMALLEST_RESPONSE, Array, MetricTask, proper_score, row_losses

_PARTS = 10


@dataclass(frozen=True)
class ProgressiveScore:
    """Mean losses of rows predicted before their labels were used, under the task's proper score.

    parts: the learner's mean loss in each tenth of the rows, in their order.
    """

    metric: str
    loss: float
    last_value: float
    running_mean: float
    parts: tuple[float, ...]
    rows: int
    delay: int


def judge_progressive(
    task: MetricTask, label: Array, response: Array, weight: Array | None = None, *, delay: int = 0
) -> ProgressiveScore:
    """Judge responses made before labels were used, in the order of the rows; all arrays (rows,)."""
    weight = np.ones(len(label)) if weight is None else weight
    losses = row_losses(task, label, response)

    def mean(rows: Array, where: slice = slice(None)) -> float:
        return float(np.sum(weight[where] * rows[where]) / max(float(np.sum(weight[where])), SMALLEST_RESPONSE))

    cuts = np.linspace(0, len(label), min(_PARTS, len(label)) + 1).astype(int)
    return ProgressiveScore(
        proper_score(task).name,
        mean(losses),
        mean(row_losses(task, label, last_value_so_far(task, label, weight, delay))),
        mean(row_losses(task, label, running_mean(task, label, weight, delay))),
        tuple(mean(losses, slice(a, b)) for a, b in pairwise(cuts)),
        len(label),
        delay,
    )


def running_mean(task: MetricTask, label: Array, weight: Array, delay: int) -> Array:
    """Return for each row the mean of the labels known before it, (rows,): as if one half of each had come first."""
    total = _known(weight * label, delay) + (0.5 if task == "classes" else 0.0)
    count = _known(weight, delay) + (1.0 if task == "classes" else 0.0)
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0.0)
    # A count of which nothing is known yet: one.
    return np.where((count > 0.0) & (mean > 0.0), mean, 1.0) if task == "count" else mean


def last_value_so_far(task: MetricTask, label: Array, weight: Array, delay: int) -> Array:
    """Return for each row what the last label known before it says, by what last labels have said so far, (rows,).

    P(1 | last label) with add-one smoothing for classes, else a + b * last by least squares, b in [0, 1].
    """
    step = delay + 1
    last = np.full(len(label), np.nan)
    last[step:] = label[:-step]
    seen = ~np.isnan(last)
    known = np.where(seen, last, 0.0)
    pair = weight * seen
    mean = running_mean(task, label, weight, delay)
    if task == "classes":
        response = np.empty(len(label))
        for state in (0.0, 1.0):
            here = pair * (known == state)
            rate = (_known(here * label, delay) + 1.0) / (_known(here, delay) + 2.0)
            response = np.where(known == state, rate, response)
        return np.where(seen, response, mean)
    count = np.maximum(_known(pair, delay), SMALLEST_RESPONSE)
    mean_last, mean_label = _known(pair * known, delay) / count, _known(pair * label, delay) / count
    spread = _known(pair * known**2, delay) / count - mean_last**2
    common = _known(pair * known * label, delay) / count - mean_last * mean_label
    slope = np.clip(np.divide(common, spread, out=np.zeros_like(common), where=spread > 0.0), 0.0, 1.0)
    response = np.where(seen & (_known(pair, delay) > 0.0), mean_label + slope * (known - mean_last), mean)
    return np.maximum(response, 0.01 * mean) if task == "count" else response


def _known(values: Array, delay: int) -> Array:
    """Return for each row the sum of the values of rows whose labels are known before it."""
    sums = np.cumsum(values)
    known = np.zeros(len(values))
    known[delay + 1 :] = sums[: -(delay + 1)]
    return known
