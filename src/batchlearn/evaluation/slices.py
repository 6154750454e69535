"""Where the model is worse than elsewhere: levels of categorical columns whose rows lose significantly more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

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


@dataclass(frozen=True)
class _Candidates:
    column: str
    level: tuple[str, ...]
    code: NDArray[np.intp]
    rows: NDArray[np.intp]
    mean_loss: Array
    difference: Array
    standard_error: Array
    excess: Array


def slices(
    categories: Categories, losses: Array, label: Array, response: Array, weight: Array, minimum_rows: int = 50
) -> list[Slice]:
    """Return up to 20 slices that lose more than the other rows, by the loss they add in total.

    Every level with `minimum_rows` rows inside and outside is tested (two-sided, unequal variances), and
    Benjamini-Hochberg at 5 % runs over all of them. A negative code is in no slice.
    """
    tested = [
        _candidates(column, codes, levels, losses, weight, minimum_rows)
        for column, (codes, levels) in categories.items()
    ]
    ratio = np.concatenate([np.zeros(0), *(_ratios(one) for one in tested)])
    threshold = discovery_threshold(np.array([math.erfc(value / math.sqrt(2.0)) for value in ratio]))
    if threshold == 0.0:
        return []
    # Intervals at the level at which the last slice was accepted: an interval excludes zero if and only if its slice
    # was (Benjamini and Yekutieli 2005).
    reach = NormalDist().inv_cdf(1.0 - threshold / 2.0)
    found = [
        (float(one.excess[at]), one, int(at))
        for one in tested
        for at in np.flatnonzero((_ratios(one) >= reach) & (one.difference > 0.0))
    ]
    found.sort(key=lambda item: (-item[0], item[1].column, item[1].level[item[2]]))
    reported = []
    for _, one, at in found[:MOST_SLICES]:
        inside = categories[one.column][0] == one.code[at]
        known = inside & ~np.isnan(label)
        known_weight = float(np.sum(weight[known]))
        difference, error = float(one.difference[at]), float(one.standard_error[at])
        reported.append(
            Slice(
                column=one.column,
                level=one.level[at],
                rows=int(one.rows[at]),
                mean_loss=float(one.mean_loss[at]),
                overall=float(np.average(losses, weights=weight)),
                difference=difference,
                low=difference - reach * error,
                high=difference + reach * error,
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


def _ratios(one: _Candidates) -> Array:
    return np.abs(one.difference) / one.standard_error


def _candidates(
    column: str,
    codes: NDArray[np.integer],
    levels: Sequence[str],
    losses: Array,
    weight: Array,
    minimum_rows: int,
) -> _Candidates:
    overall = float(np.average(losses, weights=weight))
    used = (codes >= 0) & (weight > 0.0)
    code, part = codes[used].astype(np.intp), weight[used]
    # Centring on the overall mean keeps the second moments free of cancellation.
    centred = losses - overall
    size = len(levels)
    rows = np.bincount(code, minlength=size)
    factors = _moments(centred[used], part)
    inside = np.stack([np.bincount(code, part * factor, size) for factor in factors]).astype(np.float64)
    everywhere = np.array([np.sum(weight * factor) for factor in _moments(centred, weight)])
    outside_rows = np.count_nonzero(weight > 0.0) - rows
    large = np.flatnonzero((rows >= max(minimum_rows, 2)) & (outside_rows >= max(minimum_rows, 2)))
    mean_in, variance_in = _mean_and_variance(inside[:, large], rows[large])
    mean_out, variance_out = _mean_and_variance(everywhere[:, None] - inside[:, large], outside_rows[large])
    error = np.sqrt(variance_in + variance_out)
    clear = error > 1e-12 * np.maximum(np.abs(mean_in - mean_out), np.abs(overall))
    kept = large[clear]
    return _Candidates(
        column,
        tuple(str(levels[at]) for at in kept),
        kept,
        rows[kept],
        overall + mean_in[clear],
        (mean_in - mean_out)[clear],
        error[clear],
        inside[1, kept],
    )


def _moments(centred: Array, weight: Array) -> tuple[Array, ...]:
    # Each is multiplied by the weight once more: sums of w, w l, w^2, w^2 l and w^2 l^2.
    return np.ones_like(centred), centred, weight, weight * centred, weight * centred**2


def _mean_and_variance(sums: Array, rows: NDArray[np.integer]) -> tuple[Array, Array]:
    total, first, squares, cross, second = sums
    mean = first / total
    around = np.maximum(second - 2.0 * mean * cross + mean**2 * squares, 0.0)
    return mean, around / total**2 * (rows / (rows - 1.0))
