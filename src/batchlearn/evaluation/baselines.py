"""Two honest baselines, fitted on the training labels alone: a constant, and the last value known at the time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batchlearn.errors import UsageError
from batchlearn.evaluation.metrics import SMALLEST_RESPONSE, Array, MetricTask
from batchlearn.evaluation.metrics.multiclass import after_last, class_shares

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
    if (train_group is None) != (test_group is None):
        raise UsageError(
            "One of the training and test rows came with groups and the other without. Give both or neither.",
            code="baseline-groups",
        )
    train_rows = len(train_label)
    label = np.concatenate((train_label, test_label))
    if train_group is None or test_group is None:
        group: NDArray[np.integer] = np.zeros(len(label), dtype=np.intp)
    else:
        group = np.concatenate((train_group, test_group))
    last = last_known(label, group)
    weight = np.ones(train_rows) if train_weight is None else train_weight
    known = ~np.isnan(last[:train_rows])
    if not np.any(weight[known] > 0.0):
        return None
    # What the last label says, by the training rows that have an earlier one.
    before, after, part, latest = last[:train_rows][known], train_label[known], weight[known], last[train_rows:]
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
