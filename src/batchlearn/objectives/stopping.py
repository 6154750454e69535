"""When a fit is finished: statements about the certificate's bounds, never about progress."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple, Protocol

from batchlearn.errors import UsageError
from batchlearn.objectives.self_concordance import Bounds


class StoppingContext(NamedTuple):
    """What a stopping rule may look at besides the bounds."""

    value: float  # the objective now
    null_value: float  # the objective of the model without features
    weight: float  # total weight, or the number of rows where that is larger
    free_scale: bool  # whether the labels' noise has a scale of its own, as numbers and amounts have


class Stopping(Protocol):
    """A statement about the bounds that, once true, ends the fit."""

    def met(self, bounds: Bounds, stopping_context: StoppingContext) -> bool:
        """Whether the statement holds."""
        ...


@dataclass(frozen=True)
class PredictionsWithin:
    """No linear predictor, of any row, is off by more than this fraction of its own standard error.

    By C3 that is r sqrt(N) <= fraction; where the noise has a scale of its own,
    the standard error carries it: the root of twice the loss, which is the mean squared error or the mean deviance.
    """

    fraction: float = 0.01

    def met(self, bounds: Bounds, stopping_context: StoppingContext) -> bool:
        """Whether r sqrt(N) is within the fraction."""
        noise = math.sqrt(max(2.0 * stopping_context.value, 0.0)) if stopping_context.free_scale else 1.0
        return bounds.radius * math.sqrt(stopping_context.weight) <= self.fraction * noise


@dataclass(frozen=True)
class LossWithin:
    """The loss is within `tolerance` times the null model's loss of the optimum."""

    tolerance: float

    def __post_init__(self) -> None:
        if not (isinstance(self.tolerance, Real) and math.isfinite(self.tolerance) and float(self.tolerance) > 0.0):
            raise UsageError(
                f"The tolerance is {self.tolerance!r}; it needs to be a positive number, such as 1e-10.",
                code="tolerance-not-positive",
            )

    def met(self, bounds: Bounds, stopping_context: StoppingContext) -> bool:
        """Whether the bound on the loss is within the tolerance."""
        return bounds.loss <= self.tolerance * stopping_context.null_value
