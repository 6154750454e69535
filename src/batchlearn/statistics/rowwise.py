"""What rows say at their linear predictors: arrays in, arrays out, and the one place where a pass asks a loss.

eta is (m,) or (outputs, m), label and weight are (m,).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from batchlearn.data.rows import Chunk
from batchlearn.kernels.design import Floats, absolute, squared
from batchlearn.kernels.sums import summed_predictors
from batchlearn.objectives.losses import Loss

# Contrasts whose curvatures are in memory together.
_AT_ONCE = 32


def predictor(chunk: Chunk, parameters: Floats) -> Floats:
    """Return the linear predictor with the offset, shape (m,); (outputs, m) where parameters are of several outputs.

    Zero for a row without weight: it has no say, and must not overflow.
    """
    eta = summed_predictors(chunk.layout, chunk.block, parameters) + chunk.offset
    eta[..., chunk.weight == 0.0] = 0.0
    return eta


def predictor_sizes(chunk: Chunk, parameters: Floats) -> Floats:
    """Return |X| |w| + |offset|, as `predictor`: what its rounding errors are proportional to."""
    sizes = summed_predictors(chunk.layout, absolute(chunk.block), np.abs(parameters)) + np.abs(chunk.offset)
    sizes[..., chunk.weight == 0.0] = 0.0
    return sizes


def scaled_squares(chunk: Chunk, inverse_squares: Floats) -> Floats:
    """Return sum_j (x_j / diagonal_j)^2 of each row, (m,); of several outputs of the difference of two, at most."""
    squares, layout = squared(chunk.block), chunk.layout
    parts = inverse_squares.reshape(-1, layout.size)
    # The largest square of an entry of a difference of two classes is below two; of one output it is one.
    factor = 1.0 if len(parts) == 1 else 2.0
    return np.asarray(sum(factor * summed_predictors(layout, squares, part) for part in parts))


def weighted_loss(loss: Loss, eta: Floats, label: Floats, weight: Floats) -> float:
    """Return the weighted sum of the losses."""
    return float(weight @ loss.value(eta, label))


def weighted_slope(loss: Loss, eta: Floats, label: Floats, weight: Floats) -> Floats:
    """Return weight times slope, as eta."""
    return np.asarray(weight * loss.slope(eta, label))


def weighted_curvatures(loss: Loss, eta: Floats, label: Floats, weight: Floats) -> Iterator[Floats]:
    """Yield weight times curvature of some contrasts at a time, (some, m): pairs of many classes are very many."""
    curvatures = loss.curvatures(eta, label)
    while some := list(islice(curvatures, _AT_ONCE)):
        yield weight * np.stack(some)


def smallest_curvature(loss: Loss, eta: Floats, label: Floats, weight: Floats) -> float:
    """Return the smallest weight times curvature of a row that counts."""
    counted = weight > 0.0
    curvature = weight * loss.least_curvature(eta, label)
    return float(curvature[counted].min()) if counted.any() else np.inf


def curvature_diagonal(loss: Loss, eta: Floats, label: Floats) -> Floats:
    """Return each row's second derivative with respect to each of its predictors alone, (outputs, m)."""
    diagonal = np.zeros((loss.outputs, eta.shape[-1]))
    for contrast, curvature in zip(loss.contrasts.T, loss.curvatures(eta, label), strict=True):
        for output in np.flatnonzero(contrast):
            diagonal[output] += contrast[output] ** 2 * curvature
    return diagonal


def left_out_predictor(loss: Loss, eta: Floats, label: Floats, share: Floats) -> Floats:
    """Return the predictors that rows of one output would have without themselves, approximately, (m,).

    eta + h slope / (1 - h curvature), h the `share` of each (Rad and Maleki 2020).
    """
    room = np.maximum(1.0 - share * loss.least_curvature(eta, label), 1e-10)
    return np.asarray(eta + share * loss.slope(eta, label) / room)
