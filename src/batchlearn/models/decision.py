"""What wrong decisions between two classes cost: the best decision, and what knowing a row's class would save."""

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

    def uncertainty(self, probability: Floats) -> Floats:
        """Return what knowing each row's class is expected to save: what the cheaper decision costs, shape (n,).

        It is the expected value of perfect information (Raiffa and Schlaifer 1961), in the units of the costs.

        Args:
            probability: Of the second class, shape (n,).

        Returns:
            At least 0, shape (n,).

        Raises:
            DataError: A number is no probability.

        Example:
            >>> import numpy as np
            >>> from batchlearn import Costs
            >>> Costs(1.0, 4.0).uncertainty(np.array([0.0, 0.1, 0.5]))
            array([0. , 0.4, 0.5])
        """
        if not np.all((probability >= 0.0) & (probability <= 1.0)):
            raise DataError(
                "A number is missing or no probability; expected costs need what the model predicts. Give its "
                "probabilities.",
                code="not-probabilities",
            )
        return np.minimum(self.false_positive * (1.0 - probability), self.false_negative * probability)

    def left_to_people(self, probability: Floats) -> NDArray[np.bool_]:
        """Say for each row whether asking a person costs less on average than deciding.

        Args:
            probability: Of the second class, shape (n,).

        Returns:
            True where the uncertainty exceeds the fee, shape (n,); nowhere without a fee.

        Raises:
            DataError: A number is no probability.
        """
        if self.fee is None:
            return np.zeros(len(probability), dtype=bool)
        return np.asarray(self.uncertainty(probability) > self.fee)


def check_costs(target: Target, costs: Costs | None) -> None:
    """Refuse costs of decisions for a target that has no two classes: UsageError."""
    if costs is not None and len(target.classes) != 2:
        what = f"holds {len(target.classes)} classes" if target.classes else f"is predicted by the {target.loss} loss"
        raise UsageError(
            f"Costs of a false positive and a false negative were given and '{target.column}' {what}; they are for two "
            "classes. Leave them out.",
            code="costs-without-two-classes",
        )
