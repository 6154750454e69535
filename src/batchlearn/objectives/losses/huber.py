"""The Huber loss: squares near the label, straight lines beyond a threshold, so that no row pulls without limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from batchlearn.kernels.design import Floats
from batchlearn.objectives.losses.one_output import OneOutput, check_squares


@dataclass(frozen=True)
class HuberLoss(OneOutput):
    """r^2 / 2 where |r| <= threshold and threshold |r| - threshold^2 / 2 beyond, r = eta - y (Huber 1964).

    The objective is a quadratic as long as no row crosses the threshold: a certificate proves that none can.
    """

    threshold: float

    name: ClassVar[str] = "huber"
    self_concordance: ClassVar[float] = 0.0
    free_scale: ClassVar[bool] = True

    @property
    def corners(self) -> HuberLoss:
        """This loss: its curvature jumps at the threshold."""
        return self

    def noise(self, value: float) -> float:
        """Return no more than a row at the threshold: what lies far beyond says nothing of the centre."""
        return min(value, 0.5 * self.threshold**2)

    def value(self, eta: Floats, label: Floats) -> Floats:
        """Return half the square, or the line that continues it."""
        size = np.abs(eta - label)
        inside = np.minimum(size, self.threshold)
        return inside * (size - 0.5 * inside)

    def slope(self, eta: Floats, label: Floats) -> Floats:
        """Return eta - y, clipped at the threshold."""
        return np.clip(eta - label, -self.threshold, self.threshold)

    def curvature(self, eta: Floats, label: Floats) -> Floats:
        """Return one inside of the threshold and zero beyond."""
        return np.asarray(np.abs(eta - label) <= self.threshold, dtype=np.float64)

    def expected_curvature(self, eta: Floats) -> Floats:
        """Return one: what it is depends on the labels' distribution, which the mean does not tell."""
        return np.ones_like(eta)

    def slope_magnitude(self, eta: Floats, label: Floats) -> Floats:
        """Return |eta - y|: the difference of two floats is exact to half a unit in its last place."""
        return np.abs(eta - label)

    def null_intercept(self, means: Floats) -> Floats:
        """Return the mean: where the search for the best intercept starts."""
        return means

    def check_labels(self, label: Floats) -> None:
        """Labels are numbers whose squares are."""
        check_squares(label)

    @property
    def majorised(self) -> MajorisedHuber:
        """This loss with curvature wherever a row is."""
        return MajorisedHuber(self.threshold)

    def distance_to_a_corner(self, eta: Floats, label: Floats) -> Floats:
        """Return how far eta is from where the curvature jumps."""
        return np.abs(np.abs(eta - label) - self.threshold)


@dataclass(frozen=True)
class MajorisedHuber(HuberLoss):
    """The Huber loss with the curvature of the parabola that touches it from above.

    A Newton step with it never raises the objective: iteratively reweighted least squares (Huber 1981, section 7.8).
    """

    def curvature(self, eta: Floats, label: Floats) -> Floats:
        """Return min(1, threshold / |eta - y|)."""
        size = np.abs(eta - label)
        return np.where(size <= self.threshold, 1.0, self.threshold / np.maximum(size, self.threshold))
