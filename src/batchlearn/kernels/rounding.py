"""What floating point can do to sums: relative errors of so many operations, and the error of a linear predictor."""

from __future__ import annotations

from batchlearn.kernels.design import Floats, Layout

UNIT_ROUNDOFF = 2.0**-53
# More than all products of a sum that underflow can lose, and less than anything else in a bound.
UNDERFLOW = 1e-290
# Of a slope relative to the largest number met on the way: an exponential within two units in the last place, which is
# four roundings, and four operations. Tests hold NumPy's exponential and the compiled one to it.
SLOPE_ROUNDINGS = 8


def accumulated(terms: int) -> float:
    """Return gamma_n = n u / (1 - n u): the relative rounding error of n operations in a row (Higham 2002, 3.1)."""
    return terms * UNIT_ROUNDOFF / (1.0 - terms * UNIT_ROUNDOFF)


def predictor_error(layout: Layout, outputs: int, sizes: Floats) -> Floats:
    """Bound the error of X w + offset summed in any order, as `sizes`: |X| |w| + |offset|.

    Ten more operations than terms: shift, scale and offset of a value, a logarithm that is an offset (within four
    units), the delivered coefficient itself, and a loss's own factor in front of the predictor. What predictors are
    combined to (logits of classes, less the largest) is one more inner product.
    """
    return predictor_rounding(layout, outputs) * sizes


def predictor_rounding(layout: Layout, outputs: int) -> float:
    """Return the factor of `predictor_error`."""
    return accumulated(layout.terms + 8 + 2 * outputs)
