"""Do responses mean what they say: the reliability table, and the slope and intercept that would mend them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from batchlearn.evaluation.metrics import SMALLEST_RESPONSE, Array, MetricTask

TAIL = 0.025
Z = NormalDist().inv_cdf(1.0 - TAIL)
# So many rows of all bins speak for the variance of each: few rows of rare or skewed labels often show none of it.
PRIOR_ROWS = 100.0
NEWTON_STEPS = 100
# Half the Newton decrement is the mean loss still to be had; what is below this is far below its rounding.
SMALLEST_DECREMENT = 1e-20
# Room for the rounding of the mean loss, without which a perfect last step can look like a rise.
LOSS_ROUNDING = 1e-12
SHORTEST_STEP = 1e-6
LARGEST_CONDITION = 1e14
ONE_ROW_ROUNDING = 1e-9


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of neighbouring responses; `low` and `high` are the 95 % interval of its mean label."""

    mean_response: float
    mean_label: float
    rows: int
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Calibration:
    """How far mean responses are from mean labels; what is undefined is None.

    `slope` and `intercept` (classes only) are those of a logistic regression of the label on the logit of the
    response: 1 and 0 where probabilities are right, slope below 1 where they are too extreme.
    """

    bins: tuple[ReliabilityBin, ...]
    expected_calibration_error: float
    observed_over_expected: float | None
    slope: float | None
    intercept: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain numbers and lists."""
        return {**asdict(self), "bins": [asdict(one) for one in self.bins]}


def calibration(task: MetricTask, label: Array, response: Array, weight: Array, bins: int = 10) -> Calibration | None:
    """Compare responses with labels in at most so many bins of equal count, equal responses sharing a bin.

    Rows whose label is NaN or whose weight is zero are left out; None where no row is left.
    """
    used = ~np.isnan(label) & (weight > 0.0)
    if not used.any():
        return None
    order = np.argsort(response[used], kind="stable")
    label, response, weight = label[used][order], response[used][order], weight[used][order]
    starts = bin_starts(response, bins)
    totals = np.add.reduceat(weight, starts)
    mean_response = np.add.reduceat(weight * response, starts) / totals
    mean_label = np.add.reduceat(weight * label, starts) / totals
    rows = np.diff(starts, append=len(label))
    low, high = _bin_intervals(task, label, response, weight, starts)
    expected = float(np.sum(weight * response))
    slope, intercept = logistic_recalibration(label, response, weight) if task == "classes" else (None, None)
    return Calibration(
        bins=tuple(
            ReliabilityBin(float(p), float(y), int(n), _number(a), _number(b))
            for p, y, n, a, b in zip(mean_response, mean_label, rows, low, high, strict=True)
        ),
        expected_calibration_error=float(np.sum(totals * np.abs(mean_response - mean_label)) / np.sum(totals)),
        observed_over_expected=_number(float(np.sum(weight * label)) / expected) if expected != 0.0 else None,
        slope=slope,
        intercept=intercept,
    )


def bin_starts(ordered_response: Array, bins: int) -> NDArray[np.intp]:
    """Return where each bin starts in rising responses: near equal counts, equal responses never divided."""
    wanted = ordered_response[np.arange(bins) * len(ordered_response) // bins]
    return np.unique(np.searchsorted(ordered_response, wanted, "left"))


def logistic_recalibration(label: Array, response: Array, weight: Array) -> tuple[float | None, float | None]:
    """Return slope and intercept of the label on the logit of the response, by Newton's method with step halving.

    None, None where there is no finite answer: one class, one response, or responses that separate the classes.
    """
    clipped = np.clip(response, SMALLEST_RESPONSE, 1.0 - SMALLEST_RESPONSE)
    logit = np.log(clipped) - np.log1p(-clipped)
    ones, zeros = logit[label == 1.0], logit[label == 0.0]
    if not ones.size or not zeros.size or ones.min() >= zeros.max() or zeros.min() >= ones.max():
        return None, None
    centre = np.average(logit, weights=weight)
    scale = np.sqrt(np.average((logit - centre) ** 2, weights=weight))
    design = np.stack((np.ones_like(logit), (logit - centre) / scale))
    solution = _newton(design, label, weight / np.sum(weight))
    if solution is None:
        return None, None
    slope = float(solution[1] / scale)
    return slope, float(solution[0] - slope * centre)


def _newton(design: Array, label: Array, weight: Array) -> Array | None:
    parameters = np.zeros(2)
    loss = _logistic_loss(design, label, weight, parameters)
    for _ in range(NEWTON_STEPS):
        score = np.clip(parameters @ design, -700.0, 700.0)
        probability = 1.0 / (1.0 + np.exp(-score))
        gradient = design @ (weight * (probability - label))
        hessian = (design * (weight * probability * (1.0 - probability))) @ design.T
        if np.linalg.cond(hessian) > LARGEST_CONDITION:
            return None
        step = np.linalg.solve(hessian, gradient)
        if gradient @ step <= SMALLEST_DECREMENT:
            return np.asarray(parameters - step)
        length = 1.0
        highest = loss * (1.0 + LOSS_ROUNDING)
        while (tried := _logistic_loss(design, label, weight, parameters - length * step)) > highest:
            length /= 2.0
            if length < SHORTEST_STEP:
                return None
        parameters, loss = parameters - length * step, tried
    return None


def _logistic_loss(design: Array, label: Array, weight: Array, parameters: Array) -> float:
    score = parameters @ design
    return float(weight @ (np.logaddexp(0.0, score) - label * score))


def _bin_intervals(
    task: MetricTask, label: Array, response: Array, weight: Array, starts: NDArray[np.intp]
) -> tuple[Array, Array]:
    """Return 95 % intervals of each bin's mean label given its rows' features, each end of shape (bins,)."""
    # Unequal weights count for fewer rows: Kish's (sum w)^2 / sum w^2.
    total = np.add.reduceat(weight, starts)
    effective = total**2 / np.add.reduceat(weight**2, starts)
    mean = np.add.reduceat(weight * label, starts) / total
    if task == "classes":
        ones, zeros = mean * effective, (1.0 - mean) * effective
        low, high = scipy.special.betaincinv(ones + 0.5, zeros + 0.5, [[TAIL], [1.0 - TAIL]])
        return np.where(ones > 0.0, low, 0.0), np.where(zeros > 0.0, high, 1.0)
    if task in ("count", "amount"):
        unit = _variance_a_unit(task, label, response, weight, starts)
        units = np.divide(mean * total, unit, out=np.full(len(unit), np.nan), where=unit > 0.0)
        low, high = scipy.special.gammaincinv(units + 0.5, [[TAIL], [1.0 - TAIL]])
        return np.where(units == 0.0, 0.0, low) * unit / total, high * unit / total
    # What the responses explain of the labels' differences inside a bin is no error of its mean.
    off = label - response
    around = off - np.repeat(np.add.reduceat(weight * off, starts) / total, np.diff(starts, append=len(label)))
    spread = np.add.reduceat(weight * around**2, starts) / total
    freedom = effective - 1.0
    # Rounding can make one row count for a little more than one.
    several = freedom > ONE_ROW_ROUNDING
    freedom = np.where(several, freedom, 1.0)
    reach = scipy.special.stdtrit(freedom, 1.0 - TAIL) * np.sqrt(spread / freedom)
    reach[~several] = np.nan
    return mean - reach, mean + reach


def _variance_a_unit(task: MetricTask, label: Array, response: Array, weight: Array, starts: NDArray[np.intp]) -> Array:
    """Return how much variance a bin's weighted total of counts or amounts has for each unit of its mean, (bins,).

    A total over this unit varies as a Poisson count does. The unit is that of the bin's own rows, around responses that
    are put right by one factor a bin, and that of all bins, which counts for PRIOR_ROWS rows.
    """
    rows = np.diff(starts, append=len(label))
    response = np.maximum(response, SMALLEST_RESPONSE)
    response = response * max(np.sum(weight * label) / np.sum(weight * response), SMALLEST_RESPONSE)
    expected = np.add.reduceat(weight * response, starts)
    ratio = np.add.reduceat(weight * label, starts) / expected
    square = np.add.reduceat((weight * (label - response * np.repeat(ratio, rows))) ** 2, starts)
    free = np.maximum(rows - 1, 0)
    known = expected * free / rows
    middle = expected / np.add.reduceat(weight, starts)
    # Counts vary as Poisson's at least where no weights change their unit, and what is more grows with the mean (a
    # gamma mixture). The unit of amounts grows between a Poisson's, which is constant, and a gamma's: with the root.
    poisson = float(weight[0]) if task == "count" and weight.min() == weight.max() else 0.0
    shape = middle if poisson > 0.0 else np.sqrt(middle) if task == "amount" else np.ones(len(rows))
    pooled = max(np.sum(square - poisson * known), 0.0) / np.sum(known * shape) if free.any() else 0.0
    prior = (poisson + pooled * shape) * expected * PRIOR_ROWS / rows
    unit = np.maximum((square + prior) / (known + expected * PRIOR_ROWS / rows), poisson)
    return np.asarray(unit * (scipy.special.stdtrit(free + PRIOR_ROWS, 1.0 - TAIL) / Z) ** 2)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
