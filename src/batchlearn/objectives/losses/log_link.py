"""Losses of counts and amounts whose mean is the exponential of the linear predictor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from batchlearn.errors import DataError, NoFiniteOptimum, quoted
from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses.one_output import OneOutput


class _LogLink(OneOutput):
    name: ClassVar[str]
    labelled: ClassVar[str]  # what a label is: count or amount

    def rise(self, change: Floats, label: Floats) -> Floats:
        """Return the change of a row whose label is 0, and up either way for one above."""
        return np.where(label > 0.0, np.abs(change), change)

    def null_intercept(self, means: Floats) -> Floats:
        """Return the logarithm of the mean. Raises NoFiniteOptimum where every label is zero."""
        mean = float(means[0])
        if not mean > 0.0:
            above = "a count" if self.labelled == "count" else "an amount"
            raise NoFiniteOptimum(
                "Every label that counts is 0, so the best intercept is minus infinity; the "
                f"{self.name.capitalize()} loss needs a row with {above} above 0. Check the label column and the "
                "filter of the rows.",
                code="all-counts-zero" if self.labelled == "count" else "all-amounts-zero",
            )
        return np.asarray([math.log(mean)])

    def _refuse_negative(self, label: Floats) -> None:
        negative = label[~(label >= 0.0)]
        if negative.size:
            raise DataError(
                f"A label is {quoted(negative[0])}; the {self.name.capitalize()} loss needs {self.labelled}s of 0 or "
                "more. Use --loss squared for numbers that may be negative.",
                code="label-negative",
            )


class PoissonLoss(_LogLink):
    """Half the Poisson deviance of a count y whose mean is exp(eta)."""

    name: ClassVar[str] = "poisson"
    labelled: ClassVar[str] = "count"
    self_concordance: ClassVar[float] = 1.0
    free_scale: ClassVar[bool] = False

    def value(self, eta: Floats, label: Floats) -> Floats:
        """Return exp(eta) - y eta - y + y log y, which is zero where exp(eta) = y."""
        with np.errstate(over="ignore"):
            positive = label > 0.0
            # y (e^d - 1 - d) with d = eta - log y: the terms of the textbook form cancel where counts are large.
            count = np.where(positive, label, 1.0)
            distance = eta - np.log(count)
            return np.where(positive, count * np.maximum(np.expm1(distance) - distance, 0.0), np.exp(eta))

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return exp(eta) - y."""
        with np.errstate(over="ignore"):
            return np.exp(eta) - label

    def curvature(self, eta: Floats, label: Floats) -> Floats:  # noqa: ARG002 - every loss is called alike
        """Return exp(eta), whatever the label."""
        return self.expected_curvature(eta)

    def expected_curvature(self, eta: Floats) -> Floats:
        """Return exp(eta)."""
        with np.errstate(over="ignore"):
            return np.exp(eta)

    def slope_magnitude(self, eta: Floats, label: Floats) -> Floats:
        """Return exp(eta) + y: their difference may cancel."""
        with np.errstate(over="ignore"):
            return np.exp(eta) + label

    def check_labels(self, label: Floats) -> None:
        """Labels are counts or rates: not negative."""
        self._refuse_negative(label)


class GammaLoss(_LogLink):
    """Half the gamma deviance of an amount y > 0 whose mean is exp(eta).

    y e^-eta + eta less its minimum: the second derivative y e^-eta is minus the third, so the constant is 1.
    """

    name: ClassVar[str] = "gamma"
    labelled: ClassVar[str] = "amount"
    self_concordance: ClassVar[float] = 1.0
    free_scale: ClassVar[bool] = True

    def value(self, eta: Floats, label: Floats) -> Floats:
        """Return y / m - 1 - log(y / m) with m = exp(eta), which is zero where m = y."""
        with np.errstate(over="ignore"):
            distance = np.log(label) - eta
            return np.maximum(np.expm1(distance) - distance, 0.0)

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return 1 - y exp(-eta)."""
        with np.errstate(over="ignore"):
            return 1.0 - label * np.exp(-eta)

    def curvature(self, eta: Floats, label: Floats) -> Floats:
        """Return y exp(-eta)."""
        with np.errstate(over="ignore"):
            return label * np.exp(-eta)

    def expected_curvature(self, eta: Floats) -> Floats:
        """Return one."""
        return np.ones_like(eta)

    def slope_magnitude(self, eta: Floats, label: Floats) -> Floats:
        """Return 1 + y exp(-eta): their difference may cancel."""
        with np.errstate(over="ignore"):
            return 1.0 + label * np.exp(-eta)

    def check_labels(self, label: Floats) -> None:
        """Labels are amounts above 0."""
        wrong = label[~(label > 0.0)]
        if wrong.size:
            raise DataError(
                f"A label is {quoted(wrong[0])}; the gamma loss needs amounts above 0. Use the Tweedie loss for "
                "amounts some of which are 0, or the squared loss for numbers that may be negative.",
                code="label-not-positive",
            )


@dataclass(frozen=True)
class TweedieLoss(_LogLink):
    """Half the Tweedie deviance of an amount y >= 0 with mean exp(eta) and variance in proportion to mean^power.

    y e^((1-p) eta) / (p-1) + e^((2-p) eta) / (2-p) less its minimum: the second derivative is (p-1) y e^((1-p) eta) +
    (2-p) e^((2-p) eta), the third has the same two terms times -(p-1) and 2-p. So |third| <= max(p-1, 2-p) * second:
    1 holds for every power in between 1 and 2. Labels are sums of a Poisson number of gamma amounts (Jørgensen 1987).
    """

    power: float = 1.5

    name: ClassVar[str] = "tweedie"
    labelled: ClassVar[str] = "amount"
    self_concordance: ClassVar[float] = 1.0
    free_scale: ClassVar[bool] = True

    def value(self, eta: Floats, label: Floats) -> Floats:
        """Return half the unit deviance, which is zero where exp(eta) = y."""
        rise, fall = 2.0 - self.power, self.power - 1.0
        positive = label > 0.0
        amount = np.where(positive, label, 1.0)
        distance = eta - np.log(amount)
        with np.errstate(over="ignore"):
            # With d = eta - log y the terms of first order cancel on paper, and both that are left are positive.
            above, below = (np.maximum(np.expm1(x) - x, 0.0) for x in (rise * distance, -fall * distance))
            return np.where(positive, amount**rise * (above / rise + below / fall), np.exp(rise * eta) / rise)

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return exp((2-p) eta) - y exp((1-p) eta)."""
        mean, amount = self._parts(eta, label)
        return mean - amount

    def curvature(self, eta: Floats, label: Floats) -> Floats:
        """Return (2-p) exp((2-p) eta) + (p-1) y exp((1-p) eta)."""
        mean, amount = self._parts(eta, label)
        return (2.0 - self.power) * mean + (self.power - 1.0) * amount

    def expected_curvature(self, eta: Floats) -> Floats:
        """Return exp((2-p) eta)."""
        with np.errstate(over="ignore"):
            return np.exp((2.0 - self.power) * eta)

    def slope_magnitude(self, eta: Floats, label: Floats) -> Floats:
        """Return the sum of the slope's terms, times 1 + |eta| for the rounding of the exponents."""
        mean, amount = self._parts(eta, label)
        return (mean + amount) * (1.0 + np.abs(eta))

    def check_labels(self, label: Floats) -> None:
        """Labels are amounts: not negative."""
        self._refuse_negative(label)

    def _parts(self, eta: Floats, label: Floats) -> tuple[Floats, Floats]:
        with np.errstate(over="ignore", invalid="ignore"):
            mean, amount = np.exp((2.0 - self.power) * eta), label * np.exp((1.0 - self.power) * eta)
        # No amount is none, however steep the exponential beside it.
        return mean, np.where(label > 0.0, amount, 0.0)
