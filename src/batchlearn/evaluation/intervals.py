"""95 % intervals by a block bootstrap: neighbouring rows are drawn together, so slow drift widens the interval.

Rows come in the order of time (in random order where there is no time) and are cut into contiguous blocks. Every
replicate is a vector of block multiplicities, and every metric is recomputed from sums of blocks, never from rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from batchlearn.evaluation.metrics import (
    Array,
    MeanMetric,
    Metric,
    RankMetric,
    falling_groups,
    first_mean,
)

BLOCKS = 100
ROWS_PER_BLOCK = 20
# Below 20 blocks the spread between blocks is itself poorly known, so shorter blocks are the lesser evil there.
FEWEST_BLOCKS = 20
# With fewer rows, or fewer clusters of rows, than this an interval would pretend to a knowledge that is not there.
FEWEST_ROWS = 5
REPLICATES = 400
LEVEL = 0.95
# Half of them are cut by rows and half by rows of class 1, so that a rare class keeps its detail.
RANK_GROUPS = 2048
# Of the spread of the replicates: a difference that may be one of the order in which rows were added.
_NO_DIFFERENCE = 1e-9

NORMAL = NormalDist()


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; None where undefined or where the rows are too few."""

    value: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """Return the three numbers under their names."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Resampling:
    """Contiguous blocks of rows and how often each is drawn in each replicate."""

    starts: NDArray[np.intp]
    """First row of each block, (blocks,)."""
    block: NDArray[np.intp]
    """Block of each row, (n,)."""
    multiplicity: Array
    """Draws of each block in each replicate, (replicates, blocks)."""
    rank_groups: int = RANK_GROUPS
    """Most groups of neighbouring responses from which ranking metrics are recomputed."""


def resampling(
    rows: int,
    seed: int | np.random.Generator,
    replicates: int = REPLICATES,
    clusters: NDArray[np.integer] | None = None,
) -> Resampling:
    """Cut at least one row into about 100 blocks and draw the replicates.

    Below 2,000 rows blocks keep 20 rows, so there are fewer; below 400 rows there are 20 blocks of fewer rows.
    `clusters`, shape (rows,), names rows that belong together and stand together: blocks then hold whole clusters.
    """
    blocks = min(BLOCKS, max(rows // ROWS_PER_BLOCK, min(rows, FEWEST_BLOCKS)))
    starts = np.arange(blocks, dtype=np.intp) * rows // blocks
    if clusters is not None:
        first = np.flatnonzero(np.concatenate(([True], clusters[1:] != clusters[:-1])))
        starts = first[np.unique(np.searchsorted(first, starts, "right") - 1)]
        blocks = len(starts)
    block = np.repeat(np.arange(blocks, dtype=np.intp), np.diff(starts, append=rows))
    rng = np.random.default_rng(seed)
    multiplicity = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=replicates).astype(np.float64)
    return Resampling(starts, block, multiplicity)


def metric_estimate(metric: Metric, label: Array, response: Array, weight: Array, plan: Resampling) -> Estimate:
    """Return one metric with its interval."""
    value = metric(label, response, weight)
    if value is None or len(plan.starts) < FEWEST_ROWS:
        return Estimate(value, None, None)
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(metric, MeanMetric):
            total = plan.multiplicity @ np.add.reduceat(weight, plan.starts)
            total[total == 0.0] = np.nan
            sums = [np.add.reduceat(moment * weight, plan.starts) for moment in metric.moments(label, response)]
            replicates = metric.combine(np.stack([plan.multiplicity @ block_sums / total for block_sums in sums]))
        else:
            replicates = _rank_replicates(metric, label, response, weight, plan, value)
    return interval(value, replicates, len(plan.starts))


def paired_difference(loss_a: Array, loss_b: Array, weight: Array, plan: Resampling) -> Estimate:
    """Return the weighted mean of loss a minus loss b on the same rows: negative where a is better."""
    difference = MeanMetric("difference", True, lambda a, b: (a - b,), first_mean)
    return metric_estimate(difference, loss_a, loss_b, weight, plan)


def interval(value: float, replicates: Array, blocks: int) -> Estimate:
    """Return the bias-corrected percentile interval of the finite replicates.

    The percentiles are those of Student's t with the variance of few blocks made good (Hesterberg 2015, "expanded
    percentile interval"): a plain percentile interval of 20 blocks covers about 92 % where it says 95 %.
    """
    finite = np.sort(replicates[np.isfinite(replicates)])
    if 2 * finite.size < replicates.size:
        return Estimate(value, None, None)
    # Of few blocks some replicates are the rows themselves: rounding does not say whether they are below them.
    same = _NO_DIFFERENCE * (finite[-1] - finite[0])
    ties = np.searchsorted(finite, value - same, "left"), np.searchsorted(finite, value + same, "right")
    below = sum(ties) / (2 * finite.size)
    half = 0.5 / finite.size
    bias = NORMAL.inv_cdf(min(max(float(below), half), 1.0 - half))
    reach = (blocks / (blocks - 1)) ** 0.5 * student_quantile(0.5 + LEVEL / 2, blocks - 1)
    low, high = np.quantile(finite, [NORMAL.cdf(2 * bias - reach), NORMAL.cdf(2 * bias + reach)])
    return Estimate(value, min(float(low), value), max(float(high), value))


def student_quantile(probability: float, freedom: int) -> float:
    """Return Student's t quantile by its expansion in 1 / freedom: to 1 % at 4 degrees of freedom, 1e-5 at 19."""
    z = NORMAL.inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return math.fsum(term / float(freedom) ** power for power, term in enumerate(terms))


def _rank_replicates(
    metric: RankMetric, label: Array, response: Array, weight: Array, plan: Resampling, value: float
) -> Array:
    known = ~np.isnan(label)
    order, ties = falling_groups(response[known])
    ordered_label = label[known][order]
    starts = _coarse_starts(ordered_label, ties, plan.rank_groups)
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(order)))
    shape = (len(plan.starts), len(starts))
    cell = plan.block[known][order] * shape[1] + group
    ordered_weight = weight[known][order]
    positive = np.bincount(cell, ordered_weight * ordered_label, shape[0] * shape[1]).reshape(shape)
    negative = np.bincount(cell, ordered_weight * (1.0 - ordered_label), shape[0] * shape[1]).reshape(shape)
    replicates = metric.combine(plan.multiplicity @ positive, plan.multiplicity @ negative)
    # Grouping unequal responses moves the value and its replicates alike: take the common shift out again.
    coarse = metric.combine(positive.sum(axis=0)[None, :], negative.sum(axis=0)[None, :])[0]
    return np.asarray(replicates + (value - coarse))


def _coarse_starts(ordered_label: Array, ties: NDArray[np.intp], groups: int) -> NDArray[np.intp]:
    # Ties are never divided. Average precision changes at rows of class 1 only, so with few of them each ends a group.
    if len(ties) <= groups:
        return ties
    ends = np.flatnonzero(ordered_label == 1.0) + 1
    by_row = np.linspace(0, len(ordered_label), groups // 2, endpoint=False).astype(np.intp)
    by_positive = ends[np.linspace(0, len(ends) - 1, min(groups // 2, len(ends))).astype(np.intp)]
    wanted = np.concatenate((by_row, by_positive))
    position = np.searchsorted(ties, wanted, "left")
    return np.unique(ties[position[position < len(ties)]])
