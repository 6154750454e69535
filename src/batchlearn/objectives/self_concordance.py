"""C1 and C2: how far a point is from the optimum, from the decrement there (Bach 2010; Sun and Tran-Dinh 2019)."""

from __future__ import annotations

import math
from typing import NamedTuple

from batchlearn.kernels.rounding import UNDERFLOW


class Bounds(NamedTuple):
    """C1 and C2 as numbers."""

    radius: float
    loss: float


def bounds(decrement: float, kappa: float, self_concordance: float) -> Bounds | None:
    """Return C1 and C2, or None where kappa * decrement >= 1 and nothing follows."""
    if self_concordance == 0.0:
        return Bounds(decrement, 0.5 * decrement**2 + UNDERFLOW)
    if decrement == 0.0:
        return Bounds(0.0, 0.0)
    # Near one the logarithm has no digits left: the product's own rounding must not make it smaller.
    reach = kappa * decrement * (1.0 + 1e-15)
    if not reach < 1.0:
        return None
    radius = -math.log1p(-reach) / kappa * (1.0 + 1e-14) if reach > 0.0 else decrement
    change = kappa * radius
    # psi(a) <= 1/2 + a/12 for every a; the closed form cancels for small a and is needed only for large ones.
    mean = 0.5 + change / 12.0 if change < 0.1 else 1.0 / -math.expm1(-change) - 1.0 / change
    return Bounds(radius, decrement * radius * mean * (1.0 + 1e-14) + UNDERFLOW)
