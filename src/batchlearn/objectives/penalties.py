"""Penalties on the coefficients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batchlearn.kernels.design import Floats


@dataclass(frozen=True)
class Ridge:
    """Half the weighted sum of squared coefficients: sum_j strengths_j w_j^2 / 2.

    One strength a coefficient, shape (d,); zero leaves a coefficient free, as the intercept always is.
    """

    strengths: Floats

    def value(self, parameters: Floats) -> float:
        """Return the penalty."""
        return float(0.5 * np.sum(self.strengths * parameters**2))

    def gradient(self, parameters: Floats) -> Floats:
        """Return its gradient, shape (d,)."""
        return self.strengths * parameters
