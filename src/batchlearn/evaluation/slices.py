"""Where the model is worse than elsewhere: levels of categorical columns whose rows lose significantly more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.evaluation.metrics import Array

Categories = Mapping[str, tuple[NDArray[np.integer], Sequence[str]]]

FALSE_DISCOVERY_RATE = 0.05
MOST_SLICES = 20


@dataclass(frozen=True)
class Slice:
    """One level of one column on which the mean loss is higher than on the other rows.

    `difference` is the mean loss inside minus outside, `low` and `high` its interval: of the slices reported, 95 %
    of the intervals cover on average. `share_of_loss` is the part of the summed loss that these rows carry.
    """

    column: str
    level: str
    rows: int
    mean_loss: float
    overall: float
    difference: float
    low: float
    high: float
    share_of_loss: float
    mean_label: float | None
    mean_response: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields under their names."""
        return asdict(self)


class _Tested(NamedTuple):
    """One level with enough rows on both sides, and how its losses compare with those of the other rows."""

    column: str
    level: str
    code: int
    rows: int
    mean_loss: float
    difference: float
    standard_error: float
    excess: float  # what its rows lose above the mean of all, summed

    @property
    def ratio(self) -> float:
        """The difference in standard errors."""
        return abs(self.difference) / self.standard_error


def slices(
    categories: Categories, losses: Array, label: Array, response: Array, weight: Array, minimum_rows: int = 50
) -> list[Slice]:
    """Return up to 20 slices that lose more than the other rows, by the loss they add in total.

    Every level with `minimum_rows` rows inside and outside is tested (two-sided, unequal variances), and
    Benjamini-Hochberg at 5 % runs over all of them. A negative code is in no slice.
    """
    tested = [
        one
        for column, (codes, levels) in categories.items()
        for one in _tested(column, codes, levels, losses, weight, max(minimum_rows, 2))
    ]
    threshold = discovery_threshold(np.array([math.erfc(one.ratio / math.sqrt(2.0)) for one in tested]))
    if threshold == 0.0:
        return []
    # Intervals at the level at which the last slice was accepted: an interval excludes zero if and only if its slice
    # was (Benjamini and Yekutieli 2005).
    reach = NormalDist().inv_cdf(1.0 - threshold / 2.0)
    found = [one for one in tested if one.ratio >= reach and one.difference > 0.0]
    found.sort(key=lambda one: (-one.excess, one.column, one.level))
    reported = []
    for one in found[:MOST_SLICES]:
        inside = categories[one.column][0] == one.code
        known = inside & ~np.isnan(label)
        known_weight = float(np.sum(weight[known]))
        reported.append(
            Slice(
                column=one.column,
                level=one.level,
                rows=one.rows,
                mean_loss=one.mean_loss,
                overall=float(np.average(losses, weights=weight)),
                difference=one.difference,
                low=one.difference - reach * one.standard_error,
                high=one.difference + reach * one.standard_error,
                share_of_loss=float(np.sum(weight[inside] * losses[inside]) / np.sum(weight * losses)),
                mean_label=float(np.sum(weight[known] * label[known]) / known_weight) if known_weight > 0.0 else None,
                mean_response=float(np.average(response[inside], weights=weight[inside])),
            )
        )
    return reported


def discovery_threshold(probabilities: Array) -> float:
    """Return the level up to which Benjamini-Hochberg at 5 % accepts, k * 5 % / m, or 0 where it accepts none."""
    ordered = np.sort(probabilities)
    levels = FALSE_DISCOVERY_RATE * np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    accepted = np.flatnonzero(ordered <= levels)
    return float(levels[accepted[-1]]) if accepted.size else 0.0


def _tested(
    column: str, codes: NDArray[np.integer], levels: Sequence[str], losses: Array, weight: Array, least: int
) -> list[_Tested]:
    """Return the levels of a column with so many rows inside and outside, but those whose losses are all the same."""
    overall, size = float(np.average(losses, weights=weight)), len(levels)
    used = (codes >= 0) & (weight > 0.0)
    code, part = codes[used].astype(np.intp), weight[used]
    # Centring on the overall mean keeps the second moments free of cancellation.
    centred = losses - overall
    rows = np.bincount(code, minlength=size)
    factors = _moments(centred[used], part)
    inside = np.stack([np.bincount(code, part * factor, size) for factor in factors]).astype(np.float64)
    everywhere = np.array([np.sum(weight * factor) for factor in _moments(centred, weight)])
    outside_rows = np.count_nonzero(weight > 0.0) - rows
    large = np.flatnonzero((rows >= least) & (outside_rows >= least))
    mean_in, variance_in = _mean_and_variance(inside[:, large], rows[large])
    mean_out, variance_out = _mean_and_variance(everywhere[:, None] - inside[:, large], outside_rows[large])
    difference, error = mean_in - mean_out, np.sqrt(variance_in + variance_out)
    clear = error > 1e-12 * np.maximum(np.abs(difference), np.abs(overall))
    figures = zip(large, rows[large], overall + mean_in, difference, error, inside[1, large], strict=True)
    return [
        _Tested(column, str(levels[at]), int(at), int(count), *map(float, others))
        for (at, count, *others), told_apart in zip(figures, clear, strict=True)
        if told_apart
    ]


def _moments(centred: Array, weight: Array) -> tuple[Array, ...]:
    # Each is multiplied by the weight once more: sums of w, w l, w^2, w^2 l and w^2 l^2.
    return np.ones_like(centred), centred, weight, weight * centred, weight * centred**2


def _mean_and_variance(sums: Array, rows: NDArray[np.integer]) -> tuple[Array, Array]:
    total, first, squares, cross, second = sums
    mean = first / total
    around = np.maximum(second - 2.0 * mean * cross + mean**2 * squares, 0.0)
    return mean, around / total**2 * (rows / (rows - 1.0))
