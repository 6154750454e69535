"""What losses of one linear predictor have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from batchlearn.errors import DataError
from batchlearn.kernels.design import Floats

if TYPE_CHECKING:
    from batchlearn.objectives.losses.huber import HuberLoss

# Squares of so many as there may be still add up to a number.
_LARGEST_LABEL = 1e150


class OneOutput(ABC):
    """What follows from `curvature`, the second derivative with respect to the one predictor."""

    self_concordance: ClassVar[float]
    outputs: ClassVar[int] = 1
    contrasts: ClassVar[Floats] = np.ones((1, 1))
    of_classes: ClassVar[bool] = False

    @property
    def corners(self) -> HuberLoss | None:
        """None: the curvature has no jumps."""
        return None

    def noise(self, value: float) -> float:
        """Return all of it."""
        return value

    def rise(self, change: Floats, label: Floats) -> Floats:  # noqa: ARG002 - every loss is called alike
        """Return the size of the change: far away from the label the loss rises either way."""
        return np.abs(change)

    @abstractmethod
    def curvature(self, eta: Floats, label: Floats) -> Floats:
        """Return the second derivative of phi with respect to eta."""

    def curvatures(self, eta: Floats, label: Floats) -> Iterator[Floats]:
        """Yield the curvature."""
        yield self.curvature(eta, label)

    def least_curvature(self, eta: Floats, label: Floats) -> Floats:
        """Return the curvature."""
        return self.curvature(eta, label)

    def reach(self, change: Floats) -> Floats:
        """Return the size of the change."""
        return np.abs(change)

    def largest_reach(self, error: Floats) -> Floats:
        """Return the error itself."""
        return error

    def slope_change(self, eta: Floats, label: Floats, reach: Floats) -> Floats:
        """Return curvature * reach * e^reach: the curvature grows by no more than that on the way."""
        return self.curvature(eta, label) * np.exp(self.self_concordance * reach) * reach

    def indicators(self, label: Floats) -> Floats:
        """Return the labels: their mean is enough."""
        return label[None]


def check_squares(label: Floats) -> None:
    """Refuse labels whose squares do not add up to a number: DataError."""
    beyond = ~(np.abs(label) <= _LARGEST_LABEL)
    if beyond.any():
        wrong = float(label[beyond][0])
        raise DataError(
            f"A label is {wrong!r}; it needs to be a number below {_LARGEST_LABEL:.0e} in size, or squares overflow. "
            "Rescale the labels, or leave out rows without one.",
            code="value-too-large" if math.isfinite(wrong) else "label-not-finite",
        )
