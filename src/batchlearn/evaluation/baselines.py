"""Two honest baselines, fitted on the training labels alone: a constant, and the last value known at the time."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from batchlearn.data.ledger import Ledger
from batchlearn.data.target import Target
from batchlearn.errors import NoFiniteOptimum
from batchlearn.evaluation.metrics import SMALLEST_RESPONSE, Array, MetricTask
from batchlearn.evaluation.metrics.multiclass import after_last, class_shares
from batchlearn.evaluation.scored import ScoredRows
from batchlearn.models.links import INVERSE_LINKS, exponential
from batchlearn.models.model import Model
from batchlearn.objectives.losses import loss_of

# A count baseline that said "never" would pay 34 times the label at the first event: it says a hundredth of the mean.
LEAST_SHARE_OF_MEAN = 0.01
_TWO = 2


def constant_baseline(train_label: Array, train_weight: Array | None, n: int, classes: int = 0) -> Array:
    """Return the weighted mean of the training labels for n rows: the base rate, where labels are classes.

    Of K > 2 `classes` the share of each, (n, K).
    """
    if classes > _TWO:
        return np.tile(class_shares(train_label, train_weight, classes), (n, 1))
    return np.full(n, np.average(train_label, weights=train_weight))


def constant_beside_offset(target: Target, label: Array, weight: Array | None, offset: Array) -> float:
    """Return the number that, added to the offset of each row, fits the labels best under the target's loss.

    Where the offset is the logarithm of an exposure its exponential is a rate: of counts the sum of the labels over
    that of the exposures. All have shape (n,). Raises NoFiniteOptimum where no finite number is best.
    """
    loss, counted = loss_of(target), np.ones_like(label) if weight is None else weight
    mean = loss.null_intercept(np.atleast_1d(np.average(label, weights=weight)))
    start = float(mean[0]) - float(np.average(offset, weights=weight))

    def slope(constant: float) -> float:
        return float(np.average(loss.slope(constant + offset, label), weights=counted))

    # The slope rises with the constant: its root is between two of either sign.
    reach = 1.0 + abs(start)
    low, high = start - reach, start + reach
    while slope(low) > 0.0:
        low, reach = low - 2.0 * reach, 2.0 * reach
    while slope(high) < 0.0:
        high, reach = high + 2.0 * reach, 2.0 * reach
    return float(scipy.optimize.brentq(slope, low, high, xtol=1e-14, rtol=8.9e-16, maxiter=1000))


def offset_constant(ledger: Ledger, part: NDArray[np.bool_ | np.intp]) -> float | None:
    """Return what a model without features adds to the offsets of a part of the rows; None where they have none."""
    if ledger.offset is None:
        return None
    weight = None if ledger.weight is None else ledger.weight[part]
    return constant_beside_offset(ledger.target, ledger.label[part], weight, ledger.offset[part])


def constant_of(model: Model, rows: ScoredRows) -> Array | None:
    """Return what the model's constant baseline responds to scored rows: beside their offsets, where it has any.

    Models of before the constant was kept with them have it fitted on these very rows, which flatters the baseline: a
    model that beats it beats the honest one too. None where no finite constant is best.
    """
    if rows.offset is None or model.offset_constant is not None:
        return model.constant(len(rows.label), rows.offset)
    known = ~np.isnan(rows.label)
    try:
        weight = None if rows.weight is None else rows.weight[known]
        constant = constant_beside_offset(model.target, rows.label[known], weight, rows.offset[known])
    except NoFiniteOptimum:
        return None
    return np.asarray(INVERSE_LINKS[model.target.loss](constant + rows.offset))


def rates(
    target: Target, label: Array, weight: Array | None, offset: Array | None
) -> tuple[Array, Array | None, Array | None]:
    """Return labels for each unit of exposure, weights of such rates, and the exposures: all (n,).

    Without offset or log link labels and weights are as they are, and there is no exposure.
    """
    if offset is None or INVERSE_LINKS[target.loss] is not exponential:
        return label, weight, None
    exposure = np.exp(offset)
    return label / exposure, exposure if weight is None else weight * exposure, exposure


def last_value_baseline(
    task: MetricTask,
    train_label: Array,
    train_group: NDArray[np.integer] | None,
    test_label: Array,
    test_group: NDArray[np.integer] | None,
    train_weight: Array | None = None,
    classes: int = 0,
) -> Array | None:
    """Predict each test row from the last label known before it, in its group where groups are given.

    Rows are in the order of time, training before test; a label becomes known with the next row. What the last
    label says is fitted on the training rows: P(1 | last label) with add-one smoothing for classes, else
    a + b * last by least squares with b in [0, 1]; of K > 2 `classes` P(class | last class), (n, K). A group not seen
    before gets the constant. A test label that is NaN is never a last label. None where no training row has a row
    before it.
    """
    train_rows = len(train_label)
    weight = np.ones(train_rows) if train_weight is None else train_weight
    # What the last label says, by the training rows that have an earlier one.
    if train_group is None and not (np.isnan(train_label).any() or np.isnan(test_label).any()):
        # That of the row before: of many rows copies would be most of the memory.
        before, after, part = train_label[:-1], train_label[1:], weight[1:]
        latest = np.concatenate((train_label[-1:], test_label))[: len(test_label)]
    else:
        label = np.concatenate((train_label, test_label))
        group: NDArray[np.integer] = np.zeros(len(label), dtype=np.intp)
        if train_group is not None and test_group is not None:
            group = np.concatenate((train_group, test_group))
        last = last_known(label, group)
        known = ~np.isnan(last[:train_rows])
        before, after, part, latest = last[:train_rows][known], train_label[known], weight[known], last[train_rows:]
    if not np.any(part > 0.0):
        return None
    if classes > _TWO:
        table = np.vstack([after_last(before, after, part, classes), class_shares(train_label, weight, classes)])
        return np.asarray(table[np.where(np.isnan(latest), classes, latest).astype(np.intp)])
    if task == "classes":
        after_zero, after_one = (
            float((np.sum(part[here] * after[here]) + 1.0) / (np.sum(part[here]) + 2.0))
            for here in (before == 0.0, before == 1.0)
        )
        response = np.where(latest == 1.0, after_one, after_zero)
    else:
        mean_before, mean_after = np.average(before, weights=part), np.average(after, weights=part)
        centred = before - mean_before
        spread = np.sum(part * centred**2)
        common = np.sum(part * centred * (after - mean_after))
        slope = float(np.clip(common / spread, 0.0, 1.0)) if spread > 0.0 else 0.0
        response = float(mean_after - slope * mean_before) + slope * latest
    constant = float(np.average(train_label, weights=weight))
    response = np.where(np.isnan(latest), constant, response)
    if task in ("count", "amount"):
        return np.maximum(response, max(LEAST_SHARE_OF_MEAN * constant, SMALLEST_RESPONSE))
    return response


def last_known(label: Array, group: NDArray[np.integer]) -> Array:
    """Return for each row the last label before it in its group that is not NaN, or NaN where there is none."""
    order = np.argsort(group, kind="stable")
    ordered_label, ordered_group = label[order], group[order]
    position = np.arange(len(label))
    starts = np.ones(len(label), dtype=bool)
    starts[1:] = ordered_group[1:] != ordered_group[:-1]
    first_of_group = np.maximum.accumulate(np.where(starts, position, 0))
    latest = np.maximum.accumulate(np.where(np.isnan(ordered_label), -1, position))
    source = np.concatenate((np.array([-1]), latest[:-1]))[: len(label)]
    last = np.full(len(label), np.nan)
    last[order] = np.where(source >= first_of_group, ordered_label[np.maximum(source, 0)], np.nan)
    return last
