"""The metrics of each task: one table, and the two shapes a metric can have.

A `MeanMetric` is a function of weighted means over rows, so it can be recomputed from sums of blocks of rows.
A `RankMetric` depends on the order of the responses alone, so it can be recomputed from weights per tied group.
An undefined metric (the AUC of rows of one class) is None, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.target import Target
from batchlearn.evaluation.metrics.multiclass import brier_of_classes, likeliest_is_right, own_probability

MetricTask = Literal["classes", "multiclass", "number", "count", "amount"]
Array = NDArray[np.float64]
LossOfRows = Callable[[Array, Array], Array]

# A probability or a Poisson mean of zero would make one row's loss infinite; -ln(1e-15) = 34.5 is enough to be seen.
SMALLEST_RESPONSE = 1e-15

# Below this share of the spread around a fixed reference, what is left around the mean is rounding.
NO_SPREAD = 1e-12

EVEN_CHANCE = 0.5


@dataclass(frozen=True)
class MeanMetric:
    """A metric that is a function of weighted means over rows.

    `moments` gives the k row statistics, each of shape (n,); `combine` turns their means, of shape (k, replicates),
    into values of shape (replicates,), NaN where undefined. `row_loss` is set where the metric is one plain mean.
    """

    name: str
    lower_is_better: bool
    moments: Callable[[Array, Array], tuple[Array, ...]]
    combine: Callable[[Array], Array]
    row_loss: LossOfRows | None = None

    def __call__(self, label: Array, response: Array, weight: Array) -> float | None:
        """Return the metric of these rows, or None where it is undefined."""
        with np.errstate(over="ignore", invalid="ignore"):
            means = [np.sum(moment * weight) / np.sum(weight) for moment in self.moments(label, response)]
            return defined(self.combine(np.array(means)[:, None])[0])


@dataclass(frozen=True)
class RankMetric:
    """A metric of two classes that depends on the order of the responses alone.

    `combine` takes the weight of class 1 and of class 0 in groups of falling response, each (replicates, groups),
    and gives values of shape (replicates,), NaN where undefined. Rows whose label is NaN are left out.
    """

    name: str
    lower_is_better: bool
    combine: Callable[[Array, Array], Array]

    def __call__(self, label: Array, response: Array, weight: Array) -> float | None:
        """Return the metric of these rows, or None where it is undefined."""
        known = ~np.isnan(label)
        if not known.any():
            return None
        order, starts = falling_groups(response[known])
        ordered_weight = weight[known][order]
        positive = np.add.reduceat(ordered_weight * label[known][order], starts)
        total = np.add.reduceat(ordered_weight, starts)
        return defined(self.combine(positive[None, :], (total - positive)[None, :])[0])


Metric = MeanMetric | RankMetric


def defined(value: float) -> float | None:
    """Return the value as a float, or None where it is not finite."""
    return float(value) if math.isfinite(value) else None


def falling_groups(response: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the row order of falling response and the positions in it where a new value starts."""
    order = np.argsort(-response, kind="stable")
    ordered = response[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return order, starts


def log_loss_rows(label: Array, response: Array) -> Array:
    """Return -ln of the probability of the true class, clipped at 1e-15; a NaN label is a class never seen: 0."""
    given = np.where(label == 1.0, response, 1.0 - response)
    return -np.log(np.maximum(np.where(np.isnan(label), 0.0, given), SMALLEST_RESPONSE))


def log_loss_of_classes(label: Array, response: Array) -> Array:
    """Return -ln of the probability (n, K) of the true class, clipped at 1e-15."""
    return -np.log(np.maximum(own_probability(label, response), SMALLEST_RESPONSE))


def brier_rows(label: Array, response: Array) -> Array:
    """Return half the squared distance between the predicted and the true distribution over classes.

    For two classes that is (label - response)^2; for a class never seen (NaN label), which has probability zero,
    it is (1 + p^2 + (1 - p)^2) / 2, between 0.75 and 1.
    """
    never_seen = (1.0 + response**2 + (1.0 - response) ** 2) / 2.0
    return np.where(np.isnan(label), never_seen, (label - response) ** 2)


def hit_rows(label: Array, response: Array) -> Array:
    """Return 1 where the likelier class is the true one (class 0 at a tie), else 0; a NaN label is never hit."""
    return np.where(np.isnan(label), 0.0, (response > EVEN_CHANCE) == (label == 1.0))


def squared_rows(label: Array, response: Array) -> Array:
    """Return the squared error."""
    return np.square(label - response)


def absolute_rows(label: Array, response: Array) -> Array:
    """Return the absolute error."""
    return np.abs(label - response)


def poisson_rows(label: Array, response: Array) -> Array:
    """Return the unit deviance 2 (y ln(y / m) - y + m) of a Poisson mean m, clipped at 1e-15."""
    mean = np.maximum(response, SMALLEST_RESPONSE)
    log_ratio = np.log(np.where(label > 0.0, label, mean) / mean)
    # Rounding can leave a few units in the last place below zero where y and m are equal.
    return np.maximum(2.0 * (label * log_ratio - label + mean), 0.0)


def gamma_rows(label: Array, response: Array) -> Array:
    """Return the unit deviance 2 (y / m - 1 - ln(y / m)) of a gamma mean m, clipped at 1e-15; labels above 0."""
    log_ratio = np.log(label) - np.log(np.maximum(response, SMALLEST_RESPONSE))
    with np.errstate(over="ignore"):
        return np.asarray(np.maximum(2.0 * (np.expm1(log_ratio) - log_ratio), 0.0))


def tweedie_rows(power: float) -> LossOfRows:
    """Return the unit deviance of a Tweedie mean m, clipped at 1e-15, with variance in proportion to m^power.

    2 (y^(2-p) / ((1-p) (2-p)) - y m^(1-p) / (1-p) + m^(2-p) / (2-p)), 1 < p < 2, written so that nothing cancels.
    """
    rise, fall = 2.0 - power, power - 1.0

    def rows(label: Array, response: Array) -> Array:
        mean = np.maximum(response, SMALLEST_RESPONSE)
        amount = np.where(label > 0.0, label, 1.0)
        distance = np.log(mean) - np.log(amount)
        with np.errstate(over="ignore"):
            above, below = (np.maximum(np.expm1(x) - x, 0.0) for x in (rise * distance, -fall * distance))
            return 2.0 * np.where(label > 0.0, amount**rise * (above / rise + below / fall), mean**rise / rise)

    return rows


def huber_rows(threshold: float) -> LossOfRows:
    """Return half the squared error up to the threshold and the straight line that continues it (Huber 1964)."""

    def rows(label: Array, response: Array) -> Array:
        size = np.abs(label - response)
        inside = np.minimum(size, threshold)
        return inside * (size - 0.5 * inside)

    return rows


def mean_of(name: str, row_loss: LossOfRows, *, lower_is_better: bool = True) -> MeanMetric:
    """Return the metric that is the weighted mean of a row loss."""
    return MeanMetric(name, lower_is_better, lambda label, response: (row_loss(label, response),), first_mean, row_loss)


def share_explained(name: str, row_loss: LossOfRows) -> MeanMetric:
    """Return 1 - loss / loss of the mean label.

    The loss of the mean is taken as (mean loss against a fixed reference) - (loss of the mean against it): an
    identity of both losses used here, and free of the cancellation of raw second moments.
    """

    def moments(label: Array, response: Array) -> tuple[Array, ...]:
        # The mean of equal labels may differ from them in the last place, which would look like a spread.
        fixed = np.full_like(label, label[0] if label.min() == label.max() else label.mean())
        return row_loss(label, response), row_loss(label, fixed), label, fixed

    def combine(means: Array) -> Array:
        loss, around_reference, mean_label, reference = means
        null = around_reference - row_loss(mean_label, reference)
        spread = null > NO_SPREAD * around_reference
        return np.where(spread, 1.0 - loss / np.where(spread, null, 1.0), np.nan)

    return MeanMetric(name, False, moments, combine)


def share_explained_beside(name: str, row_loss: LossOfRows, offset: Array, power: float) -> MeanMetric:
    """Return 1 - loss / loss of the best constant beside the offsets (n,) of the very rows that are scored.

    `power` is that of the deviance, 0 for squared errors and no log link. With m = exp(offset) the best rate of a log
    link is r = sum y m^(1-p) / sum m^(2-p), and its loss (mean loss against r0 m) - mean m^(2-p) * loss(r, r0) for any
    r0: a deviance is a Bregman divergence, so the terms of r and r0 alone are left.
    """
    size = np.exp(offset) if power else np.ones_like(offset)
    spread_of = size ** (2.0 - power) if power else size

    def moments(label: Array, response: Array) -> tuple[Array, ...]:
        part = label * size ** (1.0 - power) if power else label - offset
        fixed = part.mean() / spread_of.mean()
        around = row_loss(label, fixed * size if power else fixed + offset)
        return row_loss(label, response), around, part, spread_of, np.full_like(label, fixed)

    def combine(means: Array) -> Array:
        loss, around_reference, part, weight, reference = means
        null = around_reference - weight * row_loss(part / weight, reference)
        spread = null > NO_SPREAD * around_reference
        return np.where(spread, 1.0 - loss / np.where(spread, null, 1.0), np.nan)

    return MeanMetric(name, False, moments, combine)


def area_under_curve(positive: Array, negative: Array) -> Array:
    """Return the weighted share of pairs in the right order, ties counting half."""
    negatives = negative.sum(axis=1)
    below = negatives[:, None] - np.cumsum(negative, axis=1) + negative / 2.0
    pairs = positive.sum(axis=1) * negatives
    return _ratio(np.sum(positive * below, axis=1), pairs)


def average_precision_curve(positive: Array, negative: Array) -> Array:
    """Return the precision averaged over the positive weight, without interpolation."""
    found = np.cumsum(positive, axis=1)
    taken = found + np.cumsum(negative, axis=1)
    precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0.0)
    return _ratio(np.sum(positive * precision, axis=1), found[:, -1])


def target_metrics(target: Target, offset: Array | None = None) -> tuple[Metric, ...]:
    """Return the metrics of a target, its proper score first: that of amounts depends on the loss and its power.

    `offset` (n,) is what was added to the linear predictor of each row that is to be scored: R2 and D2 are against the
    best constant beside it, which under a log link is a rate times the exposure.
    """
    metrics = _metrics_of_target(target)
    if offset is None:
        return metrics
    row_loss = first_score(metrics).row_loss
    assert row_loss is not None
    power = {"gamma": 2.0, "poisson": 1.0}.get(target.loss, target.power or 0.0)
    return tuple(
        share_explained_beside(metric.name, row_loss, offset, power) if metric.name in ("r2", "d2") else metric
        for metric in metrics
    )


def _metrics_of_target(target: Target) -> tuple[Metric, ...]:
    if target.loss == "gamma":
        return _amount_metrics("gamma_deviance", gamma_rows)
    if target.threshold is not None:
        return (mean_of("huber_loss", huber_rows(target.threshold)), mean_of("mae", absolute_rows), RMSE)
    if target.power is not None:
        return _amount_metrics("tweedie_deviance", tweedie_rows(target.power))
    return METRICS[target.scored_as]


def _amount_metrics(name: str, deviance: LossOfRows) -> tuple[Metric, ...]:
    return (mean_of(name, deviance), share_explained("d2", deviance), RMSE, mean_of("mae", absolute_rows))


def first_score(metrics: Sequence[Metric]) -> MeanMetric:
    """Return the proper score of a target's metrics, by which models are compared: the first."""
    score = metrics[0]
    assert isinstance(score, MeanMetric)
    return score


def losses_under(score: MeanMetric, label: Array, response: Array) -> Array:
    """Return each row's loss under a proper score, shape (n,)."""
    (losses,) = score.moments(label, response)
    return losses


def proper_score(task: MetricTask) -> MeanMetric:
    """Return the task's proper score, the metric by which models are compared."""
    return first_score(METRICS[task])


def row_losses(task: MetricTask, label: Array, response: Array) -> Array:
    """Return each row's loss under the task's proper score, shape (n,)."""
    return losses_under(proper_score(task), label, response)


def first_mean(means: Array) -> Array:
    """Return the mean of the first statistic: how a plain mean is combined."""
    return np.asarray(means[0])


def ratio_of_means(means: Array) -> Array:
    """Return the mean of the first statistic over that of the second, NaN where that is not above 0."""
    return _ratio(means[0], means[1])


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0.0)


RMSE = MeanMetric(
    "rmse", True, lambda label, response: (squared_rows(label, response),), lambda means: np.sqrt(means[0])
)

# Each task's proper score comes first. Amounts have none of their own: it follows from the loss (`target_metrics`).
METRICS: Mapping[MetricTask, tuple[Metric, ...]] = {
    "classes": (
        mean_of("log_loss", log_loss_rows),
        mean_of("brier", brier_rows),
        RankMetric("auc", False, area_under_curve),
        RankMetric("average_precision", False, average_precision_curve),
        mean_of("accuracy", hit_rows, lower_is_better=False),
    ),
    "multiclass": (
        mean_of("log_loss", log_loss_of_classes),
        mean_of("brier", brier_of_classes),
        mean_of("accuracy", likeliest_is_right, lower_is_better=False),
    ),
    "number": (
        mean_of("mse", squared_rows),
        RMSE,
        mean_of("mae", absolute_rows),
        share_explained("r2", squared_rows),
    ),
    "count": (
        mean_of("poisson_deviance", poisson_rows),
        share_explained("d2", poisson_rows),
        RMSE,
        mean_of("mae", absolute_rows),
    ),
}
