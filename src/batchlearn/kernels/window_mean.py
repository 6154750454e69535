"""The mean of the last parameters of a walk, at no cost for what a step does not touch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batchlearn.kernels.design import Floats


class WindowMean(NamedTuple):
    """The mean of the parameters after each batch, over between the last half and the last three quarters of them.

    Windows double in length; the delivered mean is over the last full one and the present one. With `moves` the sum of
    batch number times change, the mean of a window of n batches is w - moves / n: what a batch does not touch costs
    nothing (Xu 2011, section 4).
    """

    length: int  # of the present window when full
    batches: int  # in the present window so far
    moves: Floats
    previous: Floats
    previous_batches: int

    @staticmethod
    def start(parameters: Floats, length: int) -> WindowMean:
        """Return the mean before the first batch."""
        return WindowMean(max(length, 1), 0, np.zeros_like(parameters), parameters, 0)

    def mean(self, parameters: Floats) -> Floats:
        """Return the mean, given the parameters now."""
        if not self.batches:
            return self.previous
        present = parameters - self.moves / self.batches
        if not self.previous_batches:
            return present
        share = self.batches / (self.batches + self.previous_batches)
        return share * present + (1.0 - share) * self.previous

    def turned(self, parameters: Floats) -> WindowMean:
        """Return the mean with a new window where the present one is full."""
        if self.batches < self.length:
            return self
        full = parameters - self.moves / self.batches
        return WindowMean(2 * self.length, 0, np.zeros_like(parameters), full, self.batches)
