"""What wrong decisions cost: the best decision, and how much a row's own class would save if it were known.

A `cost` table of shape (actions, classes) says what each action costs where each class is true. For a row with class
probabilities p the best action has the smallest expected cost; what remains above the cost of acting with the class
known is the cost-weighted uncertainty, in the units of the costs:

    uncertainty = min over actions a of sum_k p_k cost[a, k]  -  sum_k p_k min over a of cost[a, k]

the expected value of perfect information (Raiffa and Schlaifer 1961).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.target import Target
from batchlearn.errors import DataError, UsageError
from batchlearn.kernels.design import Floats

# Beyond these the share that is the threshold has no digits left.
_LEAST, _MOST = 1e-100, 1e100
# Probabilities of a row may add up to one but for the rounding of a softmax.
SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Costs:
    """What wrong decisions between two classes cost, all in the same units; only the ratios matter.

    Args:
        false_positive: Deciding for the second class where the first is true; above 0.
        false_negative: Deciding for the first class where the second is true; above 0.
        fee: A person's look at a row, 0 or more: a row whose uncertainty exceeds it is left to people. None: the
            model decides every row.

    Raises:
        UsageError: A cost is not above 0, or the fee is negative or not finite.

    Example:
        >>> import numpy as np
        >>> from batchlearn import Costs
        >>> costs = Costs(false_positive=1.0, false_negative=4.0, fee=0.5)
        >>> costs.threshold
        0.2
        >>> costs.left_to_people(np.array([0.01, 0.2, 0.9]))
        array([False,  True, False])
    """

    false_positive: float
    false_negative: float
    fee: float | None = None

    def __post_init__(self) -> None:
        for name, cost in (("positive", self.false_positive), ("negative", self.false_negative)):
            if not _LEAST <= cost <= _MOST:
                raise UsageError(
                    f"The cost of a false {name} is {cost!r}; it needs to be a number above 0 (from {_LEAST:g} to "
                    f"{_MOST:g}). Only the ratio of the two costs decides.",
                    code="cost-not-positive",
                )
        if self.fee is not None and not (math.isfinite(self.fee) and self.fee >= 0.0):
            raise UsageError(
                f"The fee for a person's look at a row is {self.fee!r}; it is a cost in the units of the other two, so "
                "a finite number of 0 or more is needed.",
                code="fee-range",
            )

    @property
    def threshold(self) -> float:
        """The probability of the second class above which deciding for it costs less on average.

        At probability p "yes" costs (1 - p) false_positive and "no" costs p false_negative (Elkan 2001, section 2).
        """
        return self.false_positive / (self.false_positive + self.false_negative)

    @property
    def table(self) -> Floats:
        """The costs of both decisions (rows) in both classes (columns), shape (2, 2)."""
        return errors_cost(self.false_positive, self.false_negative)

    def left_to_people(self, probability: Floats) -> NDArray[np.bool_]:
        """Say for each row whether asking a person costs less on average than deciding.

        A row's uncertainty is the expected value of knowing its class (Raiffa and Schlaifer 1961).

        Args:
            probability: Of the second class, shape (n,).

        Returns:
            True where the uncertainty exceeds the fee, shape (n,); nowhere without a fee.

        Raises:
            DataError: A number is no probability.
        """
        if self.fee is None:
            return np.zeros(len(probability), dtype=bool)
        return np.asarray(uncertainty(probability, self.table) > self.fee)


def check_costs(target: Target, costs: Costs | None) -> None:
    """Refuse costs of decisions for a target that has no two classes: UsageError."""
    if costs is not None and len(target.classes) != 2:
        what = f"holds {len(target.classes)} classes" if target.classes else f"is predicted by the {target.loss} loss"
        raise UsageError(
            f"Costs of a false positive and a false negative were given and '{target.column}' {what}; they are for two "
            "classes. Leave them out.",
            code="costs-without-two-classes",
        )


def errors_cost(false_alarm: float, miss: float) -> Floats:
    """Return the costs of two classes: action 1 costs `false_alarm` in class 0, action 0 costs `miss` in class 1."""
    return checked_cost(np.array([[0.0, miss], [false_alarm, 0.0]]))


def checked_cost(cost: Floats) -> Floats:
    """Return a table of costs as it is; UsageError where it is not one finite cost for each action and class."""
    if cost.ndim != 2 or min(cost.shape) < 2 or not np.isfinite(cost).all():
        raise UsageError(
            f"The costs have shape {cost.shape}; a finite cost for each of two or more actions (rows) in each of two "
            "or more classes (columns) is needed.",
            code="cost-table",
        )
    return cost


def expected_costs(probability: Floats, cost: Floats) -> Floats:
    """Return what each action is expected to cost in each row, (n, actions).

    `probability` has shape (n, classes), or (n,) for the second of two classes. DataError where it is no probability.
    """
    table = _distribution(probability, checked_cost(cost).shape[1])
    return np.asarray(table @ cost.T)


def best_action(probability: Floats, cost: Floats) -> NDArray[np.intp]:
    """Return the action of the smallest expected cost in each row, the first of equal ones; shape (n,)."""
    return np.asarray(np.argmin(expected_costs(probability, cost), axis=1), dtype=np.intp)


def uncertainty(probability: Floats, cost: Floats) -> Floats:
    """Return what knowing each row's class is expected to save, its cost-weighted uncertainty: (n,), at least 0."""
    best = expected_costs(probability, cost).min(axis=1)
    known = _distribution(probability, cost.shape[1]) @ cost.min(axis=0)
    return np.asarray(np.maximum(best - known, 0.0))


def _distribution(probability: Floats, classes: int) -> Floats:
    """Return a row's probability of each class, (n, classes)."""
    table = probability
    if probability.ndim == 1 and classes == 2:
        table = np.stack([1.0 - probability, probability], axis=1)
    if table.ndim != 2 or table.shape[1] != classes:
        raise DataError(
            f"The probabilities have shape {probability.shape} and the costs are for {classes} classes; a probability "
            "of each class in each row is needed (for two classes that of the second one is enough).",
            code="probability-shape",
        )
    if not (np.all(table >= 0.0) and np.all(np.abs(table.sum(axis=1) - 1.0) <= SUM_TOLERANCE)):
        raise DataError(
            "The probabilities of a row are negative, missing or do not add up to 1; expected costs need what the "
            "model predicts. Give its probabilities.",
            code="not-probabilities",
        )
    return table
