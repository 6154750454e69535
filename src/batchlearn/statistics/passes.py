"""One compiled pass over a chunk: predictors, what the loss says of each row, and the sums of it, tile by tile.

Losses that are not compiled, Gram matrices of sparse columns and those of classes go through NumPy functions instead.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk
from batchlearn.kernels.design import Floats, Layout
from batchlearn.kernels.rounding import SLOPE_ROUNDINGS, UNDERFLOW, UNIT_ROUNDOFF, accumulated, predictor_rounding
from batchlearn.kernels.sums import bundled_groups, cell_parameters, compiled_rows, level_totals, unbundle
from batchlearn.models.links import class_contrasts
from batchlearn.objectives.losses import LogisticLoss, Loss, SquaredLoss
from batchlearn.objectives.losses.log_link import GammaLoss, PoissonLoss
from batchlearn.objectives.losses.softmax import SoftmaxLoss

# As the kernels number them.
_COMPILED: dict[type[Any], int] = {SquaredLoss: 0, LogisticLoss: 1, PoissonLoss: 2, GammaLoss: 3}
# Numbers of so many classes stand next to each other, at most of so many: `outputs.hpp`.
_EIGHTS, _MOST_CLASSES = 8, 32


class Pass(NamedTuple):
    """What one pass adds up: numbers always, sums over coefficients and the last three where they were asked for."""

    value: float  # weighted losses
    smallest: float  # weight times curvature of a row that counts
    predictor: float  # the largest possible error of a predictor
    curvature: float  # sum of weight times curvature
    reach: float  # the largest change of a predictor along the direction
    spread: float  # the largest X^2 u of a row that counts
    gradient: Floats | None = None
    gram: Floats | None = None  # (d, d): upper triangle
    error: Floats | None = None
    centre: Floats | None = None
    magnitude: Floats | None = None


def compiled_pass(  # noqa: PLR0913 - what is wanted, by name
    loss: Loss,
    chunk: Chunk,
    parameters: Floats,
    *,
    sizes: Floats | None = None,
    direction: Floats | None = None,
    squares: Floats | None = None,
    gradient: bool = True,
    gram: bool = False,
    length: int | None = None,
    centre: bool = False,
) -> Pass | None:
    """Return the sums over a chunk; None where no compiled pass serves. Of classes without Gram matrices and centres.

    `length`: the number of additions a total can go through, where the rounding of the gradient is to be bounded;
    `sizes` (d,): of the parameters, or larger; `squares` (d,): u.
    """
    if isinstance(loss, SoftmaxLoss):
        asked = sizes, direction, squares, length
        return None if centre else _pass_of_classes(loss, chunk, parameters, asked, gradient=gradient)
    layout, kind = chunk.layout, _COMPILED.get(type(loss))
    if kind is None or (gram and layout.sparse):
        return None
    # The pairs of many small groups cost most, and are fewer in bundles.
    alone = gram and all(one is None for one in (sizes, direction, squares, length)) and not centre
    bundled = bundled_groups(layout) if alone else ()
    rows = compiled_rows(layout, chunk.block, bundled)
    if rows is None:
        return None
    parameters = np.ascontiguousarray(cell_parameters(layout, bundled, parameters) if bundled else parameters)
    size = len(parameters)
    offset = chunk.offset if isinstance(chunk.offset, np.ndarray) else None
    slopes = np.empty(size) if gradient else None
    direction = None if direction is None else np.ascontiguousarray(direction)
    places = np.zeros((size + 1, size + 1)) if gram else None
    error = None if length is None else np.empty(size)
    centres, magnitudes = np.empty((2, size)) if centre else (None, None)
    numbers: tuple[float, ...] = rows.pass_(
        kind,
        chunk.label,
        chunk.weight,
        offset,
        parameters,
        np.abs(parameters) if sizes is None else sizes,
        direction,
        squares,
        _charges(layout, length or 0),
        slopes,
        places,
        error,
        centres,
        magnitudes,
    )
    value, smallest, off, curvature, reach, spread = numbers
    grams = None if places is None else places[:size, :size]
    if bundled and places is not None:
        grams = np.zeros((layout.size, layout.size))
        unbundle(grams[None], layout, bundled, places[None])
        slopes = None if slopes is None else level_totals(layout, bundled, slopes)
    return Pass(value, smallest, off, curvature, reach, spread, slopes, grams, error, centres, magnitudes)


def _pass_of_classes(
    loss: SoftmaxLoss,
    chunk: Chunk,
    parameters: Floats,
    asked: tuple[Floats | None, Floats | None, Floats | None, int | None],
    *,
    gradient: bool,
) -> Pass | None:
    """Return what `compiled_pass` does, by logits: K predictors a row, whose sums become contrasts in the end.

    What is charged is that of K - 1 predictors, whose contrasts are one inner product more, whether it comes before the
    sum over columns or after it.
    """
    layout, (sizes, direction, squares, length) = chunk.layout, asked
    rows = None if loss.classes > _MOST_CLASSES or layout.sparse else compiled_rows(layout, chunk.block)
    if rows is None or isinstance(chunk.offset, np.ndarray):
        return None
    contrasts, places = class_contrasts(loss.classes), -(-loss.classes // _EIGHTS) * _EIGHTS

    def of_classes(matrix: Floats, numbers: Floats) -> Floats:
        """Return what each class has, (d, places), of (K-1, K) and (parameters,)."""
        found = np.zeros((layout.size, places))
        found[:, : loss.classes] = numbers.reshape(loss.outputs, -1).T @ matrix
        return found

    size = None
    if length is not None:
        size = of_classes(np.abs(contrasts), np.abs(parameters) if sizes is None else sizes)
    square = None
    if squares is not None:  # of the difference of two classes, at most: `rowwise.scaled_squares`
        square = np.zeros((layout.size, places))
        square[:, 0] = 2.0 * squares.reshape(loss.outputs, -1).sum(axis=0)
    slopes = np.zeros((layout.size, places)) if gradient else None
    errors = None if length is None else np.zeros((layout.size, places))
    value, smallest, off, reach, spread = rows.pass_of_classes(
        loss.classes,
        chunk.label,
        chunk.weight,
        of_classes(contrasts, parameters),
        size,
        None if direction is None else of_classes(contrasts, direction),
        square,
        # Sums of classes go through one more inner product before they are those of contrasts.
        _charges(layout, (length or 0) + 2 * loss.classes, loss.outputs),
        slopes,
        errors,
    )
    found = None if slopes is None else (contrasts @ slopes[:, : loss.classes].T).ravel()
    error = None if errors is None else (np.abs(contrasts) @ errors[:, : loss.classes].T).ravel()
    return Pass(value, smallest, off, 0.0, reach, spread, found, None, error)


def _charges(layout: Layout, length: int, outputs: int = 1) -> Floats:
    """Return what `statistics.rounding.gradient_rounding` charges: predictors, slopes, sums, and what underflows."""
    slope = SLOPE_ROUNDINGS * UNIT_ROUNDOFF
    return np.array([predictor_rounding(layout, outputs), slope, accumulated(length + 12), UNDERFLOW])
