"""The loop of online Newton over single rows: a stretch of them in, the moved point and inverse curvature out.

Rows go through in blocks: within one, the d x d matrix is met through the block's own Gram matrix X P X', which the
rows update among themselves, so that one row at a time costs what a block costs.
"""

from __future__ import annotations

import numpy as np
import scipy

from batchlearn.kernels.design import Floats
from batchlearn.kernels.single_rows import LabelledRows, RowLoss, RowMajor

BLOCK = 32
# A step is no longer than one over the constant, and a first row may send a predictor to where exp ends.
_PROXIMAL_STEPS = 1000


def follow_rows(
    loss: RowLoss, rows: LabelledRows, parameters: Floats, inverse: Floats, shown: LabelledRows | None = None
) -> tuple[Floats, Floats, Floats]:
    """Learn rows one by one; return point (d,), inverse curvature (d, d) and predictors made on the way (m,).

    Number t is the predictor of row t of `shown`, the same rows unless given, before row t is learned from.
    """
    parameters, inverse = parameters.copy(), inverse.copy()
    predictors = np.empty(len(rows.label))
    for start in range(0, len(rows.label), BLOCK):
        part = slice(start, min(start + BLOCK, len(rows.label)))
        design = _design(rows.rows, part, len(parameters))
        reach = design @ inverse  # (b, d): P x of each row
        eta = design @ parameters + rows.offset[part]
        predictors[part], steps, gains, taken = _block(loss, eta, rows.label[part], rows.weight[part], reach @ design.T)
        # Row t's P x is that of the block's start less what the rows before it took: a triangular system.
        own = scipy.linalg.solve_triangular(taken, reach, trans="T", unit_diagonal=True, check_finite=False)
        if shown is not None:
            view = _design(shown.rows, part, len(parameters))
            at_start = view @ parameters + shown.offset[part]
            predictors[part] = at_start + np.tril(view @ own.T, -1) @ steps
        parameters += steps @ own
        own *= np.sqrt(gains)[:, None]
        inverse -= own.T @ own
    return parameters, inverse, predictors


def _block(
    loss: RowLoss, predictor: Floats, label: Floats, weight: Floats, gram: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Go through a block's rows from their predictors (b,) and X P X' (b, b) at its start, which are used up.

    Return the predictors before each row was used, the steps (z - eta) / h and the gains g, (b,) each; and, upper
    triangular (b, b), g_s x_t' P_s x_s for s < t: what each row took from those after it.
    """
    count = len(label)
    before, steps, gains, taken = np.empty(count), np.zeros(count), np.zeros(count), np.zeros((count, count))
    for t in range(count):
        before[t] = predictor[t]
        reach = float(gram[t, t])
        if not reach > 0.0 or weight[t] == 0.0:
            continue
        column = gram[t].copy()
        step, curvature = _proximal(loss, predictor[t : t + 1], label[t : t + 1], float(weight[t]), reach)
        gain = curvature / (1.0 + curvature * reach)
        steps[t], gains[t] = step / reach, gain
        predictor += column * (step / reach)
        taken[t, t + 1 :] = gain * column[t + 1 :]
        rest = column[t + 1 :]
        gram[t + 1 :, t + 1 :] -= np.multiply.outer(gain * rest, rest)
    return before, steps, gains, taken


def _proximal(loss: RowLoss, eta: Floats, label: Floats, weight: float, reach: float) -> tuple[float, float]:
    """Return z - eta and weight times curvature at z, by Newton steps short enough to be safe."""
    constant, point = loss.self_concordance, eta
    for _ in range(_PROXIMAL_STEPS):
        curvature = weight * float(loss.least_curvature(point, label)[0])
        slope = weight * float(loss.slope(point, label)[0])
        residual = float(point[0] - eta[0]) + reach * slope
        change = -residual / (1.0 + reach * curvature)
        size = constant * abs(change)
        # Where slope and curvature overflow neither is a number, but the side is known.
        if constant > 0.0 and not size <= 1.0:
            change = (-1.0 if residual > 0.0 else 1.0) / constant
        point = point + change
        if size < 0.05:
            break
    return float(point[0] - eta[0]), curvature


def _design(rows: RowMajor, part: slice, size: int) -> Floats:
    dense = rows.dense[part]
    design = np.zeros((len(dense), size + 1))
    design[:, : rows.lead] = dense
    row = np.arange(len(dense))
    for column in rows.levels[part].T:
        design[row, column] += 1.0
    if rows.sparse is not None:
        design[:, rows.first : size] = rows.sparse[part].toarray()
    return design[:, :size]
