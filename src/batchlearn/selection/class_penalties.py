"""Strengths of the terms of more than two classes: the same fixed point as of one predictor, with a block a class.

The traces tr(H^-1 S) of the generalised Fellner-Schall update (`selection.penalty_selection`) are those of the classes'
own blocks, times (K - 1) / K because the coefficients of a column sum to zero over the classes. The full Hessian would
cost K^2 times as much, and what is chosen with the blocks is judged on later rows like everything else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.data.rows.threads import in_order
from batchlearn.kernels.design import Floats
from batchlearn.kernels.native.lapack import invert_lower
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.selection.penalty_selection import (
    FixedPoint,
    PenalisedTerm,
    PenaltySelection,
    begin,
    bounded_strength,
    penalty,
    settled,
)
from batchlearn.solvers.preconditioner import ClassBlocks, SampledPreconditioner, class_grams
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.statistics.objective import Objective

_UPDATES = 8
_FIRST_STEPS, _STEPS = 30, 12
_RENEWED = (5, 15)


def select_class_penalties(
    loss: Loss, rows: Rows, terms: Sequence[PenalisedTerm], start: tuple[Sequence[float], Floats] | None = None
) -> tuple[PenaltySelection, Floats]:
    """Return the strengths that the rows ask for and parameters fitted with them, as `select_penalties` does."""
    given, rows = len(rows), rows.deduplicate()
    size, weight, classes = rows.layout.size, rows.total_weight, loss.outputs + 1
    free = Objective(loss, Quadratic(np.zeros(loss.outputs * size)))
    strengths, parameters = begin(free, rows, len(terms), start)
    freedom, update, here, asked = np.full(len(terms), np.inf), 0, None, strengths
    for update in range(1, _UPDATES + 1):
        objective = Objective(loss, penalty(terms, strengths, size, loss.outputs).over(weight))
        blocks = ClassBlocks.penalised(objective.penalty, class_grams(rows, parameters), rows.threads)
        # Steps until the point is near enough for the next update.
        solver = LimitedMemory(renewed=_RENEWED if update == 1 else ())
        state = solver.start(objective, rows, parameters, found=blocks)
        for _ in range(_FIRST_STEPS if update == 1 else _STEPS):
            # Half a hundredth of a unit of the total loss: what is left to gain decides no strength.
            if state.stuck or state.smallest * weight < 1e-2:
                break
            state = solver.step(objective, rows, state)
        parameters = state.parameters
        # The blocks of the last steps: where they led is so near that blocks of its own would say the same.
        shares = strengths * _traces(state.preconditioner, terms, rows.threads) / weight * (loss.outputs / classes)
        freedom_before, freedom = freedom, np.asarray([t.unit.rank * loss.outputs for t in terms]) - shares
        outputs = parameters.reshape(loss.outputs, size)
        asked = np.asarray(
            [
                bounded_strength(float(f), float(np.einsum("aj,jk,ak->", v, t.unit.matrix, v)))
                for t, f, v in zip(terms, freedom, (outputs[:, t.part] for t in terms), strict=True)
            ]
        )
        if settled(freedom, freedom_before):
            break
        point_before, here = here, FixedPoint(np.log(strengths), np.log(asked) - np.log(strengths))
        strengths = here.next_strengths(point_before)
    return PenaltySelection(tuple(map(float, asked)), tuple(map(float, freedom)), 1.0, update, given), parameters


def _traces(blocks: SampledPreconditioner, terms: Sequence[PenalisedTerm], threads: int) -> Floats:
    """Return tr(H^-1 S) of each term, summed over the classes' blocks."""

    def of_class(lower: Floats) -> Floats:
        inverse = lower.copy(order="F")
        invert_lower(inverse)
        columns = (inverse[term.part.start :, term.part] for term in terms)
        return np.asarray([np.sum((own @ t.unit.matrix) * own) for own, t in zip(columns, terms, strict=True)])

    factors = blocks.factors if isinstance(blocks, ClassBlocks) else ()
    return sum(in_order(of_class, factors, threads), np.zeros(len(terms)))
