"""What stands in for the inverse Hessian where the Hessian is too large or costs too much.

Its diagonal about the mean row, a block a class, or the Hessian of some of the rows.

Of K classes the block-diagonal of the Hessian in the logits, one (d, d) block a class, has its curvature p (1 - p) from
rows at the present point; what it leaves out, -p_k p_l between classes, is small where classes are many or well told
apart. (Boehning 1992 bounds the same Hessian by one block for all classes, which rare classes make far too large.)
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.data.rows.threads import in_order
from batchlearn.kernels.design import Floats
from batchlearn.kernels.native.lapack import factor_lower, solve_lower
from batchlearn.models.links import class_contrasts
from batchlearn.objectives.factor import NotPositiveDefinite, StepFactor, step_factor
from batchlearn.objectives.penalties import Quadratic
from batchlearn.statistics.curvature import ClassGramTotal
from batchlearn.statistics.objective import GradientError, Objective

# Coefficients a class whose blocks can still be factored; rows that tell the curvature well enough, and the
# multiplications that adding them up may cost.
_MOST_COEFFICIENTS, _MOST_ROWS, _BUDGET = 3_000, 60_000, 4e11
# Rows that tell it to steps: of all the share whose Gram matrices cost so many readings with a gradient, and for each
# coefficient at least.
_COLUMNS_OF_ALL, _ROWS_A_CLASS_COEFFICIENT = 80, 5
# Rows that tell the Hessian of one output: for each coefficient, and at least.
_ROWS_A_COEFFICIENT, _FEWEST_ROWS = 10, 10_000
# Relative to its diagonal: keeps what is left of a block whose curvature has died out away from singular.
_JITTER = 1e-9


class SampledPreconditioner(Protocol):
    """A fixed positive definite approximation of the inverse Hessian."""

    def solve(self, vector: Floats) -> Floats:
        """Return M^-1 v, shape (parameters,)."""
        ...


@dataclass(frozen=True)
class DiagonalPreconditioner:
    """The inverse of the Hessian's diagonal."""

    diagonal: Floats

    def solve(self, vector: Floats) -> Floats:
        """Return v / diagonal."""
        return vector / self.diagonal


@dataclass(frozen=True)
class CentredDiagonal:
    """The inverse of V + c m m', V diagonal: of the Hessian of one output as it were if columns were independent.

    c is the mean curvature, m the mean row as curvature weighs them. What all rows have in common, which sparse columns
    of words or counts have together with the intercept, is a direction of its own: in the diagonal alone it is as many
    times too short as a row has entries.
    """

    curvature: float  # c
    centre: Floats  # (d,): m
    inverse: Floats  # (d,): of V; 0 for an intercept that nothing else holds

    def solve(self, vector: Floats) -> Floats:
        """Return (V + c m m')^-1 v."""
        if self.inverse[0] == 0.0:  # its row of the system says what c m'x is
            solved = self.inverse * (vector - vector[0] * self.centre)
            solved[0] = vector[0] / self.curvature - self.centre @ solved
            return np.asarray(solved)
        solved = self.inverse * vector
        common = self.inverse * self.centre
        return np.asarray(solved - common * ((self.centre @ solved) / (1.0 / self.curvature + self.centre @ common)))


@dataclass(frozen=True)
class ClassBlocks:
    """The classes' own blocks of the Hessian, between the contrasts of the predictors, as Cholesky factors."""

    factors: tuple[Floats, ...]  # (d, d) each, lower triangular, in the order of LAPACK

    @staticmethod
    def penalised(whole: Quadratic, grams: Floats, threads: int = 1) -> ClassBlocks:
        """Factor mean curvatures (K, d, d), upper triangles, with the penalty of all outputs."""
        penalty = whole.first(grams.shape[1])

        def factored(gram: Floats) -> Floats:
            block = gram.copy()
            penalty.add_to(block)
            block[np.diag_indices_from(block)] *= 1.0 + _JITTER
            block[np.diag_indices_from(block)] += 1e-300
            # Our upper triangle of rows is Fortran's lower one of columns.
            if factor_lower(block.T) != 0:
                raise NotPositiveDefinite("a block of a class is singular", np.zeros(len(block)))
            np.copyto(block, 0.0, where=np.tri(len(block), k=-1, dtype=bool))  # what LAPACK leaves of it
            return block.T

        return ClassBlocks(tuple(in_order(factored, grams, threads)))

    def solve(self, vector: Floats) -> Floats:
        """Return the classes' solutions as contrasts, shape (parameters,)."""
        contrasts = class_contrasts(len(self.factors))
        logits = contrasts.T @ vector.reshape(len(contrasts), -1)
        solved = [solve_lower(lower, own) for lower, own in zip(self.factors, logits, strict=True)]
        return np.asarray((contrasts @ np.stack(solved)).ravel())


def class_grams(rows: Rows, parameters: Floats, most: float = _MOST_ROWS) -> Floats:
    """Return the mean curvature of each class's own logit, (K, d, d) upper triangles.

    From a sample of `most` rows where there are more: dense columns cost lead^2 multiplications a row and class.
    """
    classes = len(parameters) // rows.layout.size + 1
    most = min(most, _BUDGET / (classes * max(rows.layout.lead, 1) ** 2))
    sample = rows.thin(max(int(len(rows) / max(most, 1.0)), 1))
    (grams,) = sample.total(ClassGramTotal(), parameters)
    return np.asarray(grams / sample.total_weight)


def sampled_hessian(objective: Objective, rows: Rows, parameters: Floats) -> StepFactor | None:
    """Return the factor of the Hessian of every so many-th row, as many as tell it; None where there is no safe one.

    Its diagonal is that of all rows where theirs is larger: a rare level that the sample lacks would step anywhere.
    """
    step = max(len(rows) // max(_ROWS_A_COEFFICIENT * rows.layout.size, _FEWEST_ROWS), 1)
    hessian = objective.expand(rows.thin(step), parameters).hessian
    own = np.diagonal(hessian)
    if step > 1:
        hessian[np.diag_indices_from(hessian)] = np.maximum(own, objective.hessian_diagonal(rows, parameters))
    with suppress(NotPositiveDefinite):
        return step_factor(hessian)
    return None


def diagonal_alone(diagonal: Floats) -> DiagonalPreconditioner:
    """Return the inverse of the Hessian's diagonal; a coefficient that meets no curvature keeps its gradient."""
    return DiagonalPreconditioner(np.where(diagonal > 0.0, diagonal, 1.0))


def centred_diagonal(
    objective: Objective, diagonal: Floats, known: GradientError, *, intercept: bool
) -> SampledPreconditioner:
    """Return what approximates the inverse Hessian of one output, of what `Objective.around` says of a point."""
    curvature, penalty = float(known.curvature[0]), objective.penalty.diagonal
    if not curvature > 0.0:
        return diagonal_alone(diagonal)
    centre = known.centre[0] / curvature
    # Of a column that is all but constant the difference is rounding, and a coefficient may meet no curvature at all.
    own = np.maximum(diagonal - penalty - curvature * centre**2, _JITTER * diagonal) + penalty
    inverse = 1.0 / np.where(own > 0.0, own, 1.0)
    if intercept and penalty[0] == 0.0:
        inverse[0] = 0.0
    return CentredDiagonal(curvature, centre, inverse)


def preconditioner(objective: Objective, rows: Rows, parameters: Floats) -> SampledPreconditioner:
    """Return what approximates the inverse Hessian of several outputs at these parameters."""
    if objective.loss.outputs > 1 and rows.layout.size <= _MOST_COEFFICIENTS:
        told = _COLUMNS_OF_ALL * len(rows) / max(rows.layout.lead, 1)
        most = min(max(told, _ROWS_A_CLASS_COEFFICIENT * rows.layout.size), _MOST_ROWS)
        return ClassBlocks.penalised(objective.penalty, class_grams(rows, parameters, most), rows.threads)
    return diagonal_alone(objective.hessian_diagonal(rows, parameters))
