"""The shape of the penalty of one term: which differences between its coefficients cost something.

A unit penalty is a symmetric positive semi-definite matrix S and its rank; a strength multiplies it. Ordered levels are
penalised by the squared differences of neighbours (Eilers and Marx 1996, order one), cyclic ones also by that of the
last and the first, all others by their squares. Where S leaves the constant free, the intercept would have a twin: a
fixed `centre` matrix 11'/L^2 is added. It changes no optimum of a single term of ordered levels: the intercept is free,
so their sum is zero there, and the centre costs nothing. A level for missing values is then shrunk towards their mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from batchlearn.kernels.design import Floats


class UnitPenalty(NamedTuple):
    """A term's penalty at strength one, (L, L), its rank, and what keeps its sum at zero, (L, L) or None."""

    matrix: Floats
    rank: int
    centre: Floats | None


def squares(size: int) -> UnitPenalty:
    """Penalise every coefficient by its square: partial pooling towards the intercept."""
    return UnitPenalty(np.eye(size), size, None)


def differences(ordered: int, others: int = 0, *, cyclic: bool = False) -> UnitPenalty:
    """Penalise neighbours' differences of the first `ordered` coefficients, and the squares of the others."""
    size = ordered + others
    steps = np.diff(np.eye(ordered), axis=0)
    if cyclic and ordered > 2:
        steps = np.vstack([steps, np.eye(ordered)[0] - np.eye(ordered)[-1]])
    matrix = np.zeros((size, size))
    matrix[:ordered, :ordered] = steps.T @ steps
    matrix[ordered:, ordered:] = np.eye(others) / ordered  # as far from the mean as a whole shape may be
    return UnitPenalty(matrix, ordered - 1 + others, _centre(size, ordered))


def end_differences(ordered: int, others: int = 0) -> Floats:
    """Return the part of `differences` that ties the first and the last level to their neighbours, (L, L)."""
    steps = np.diff(np.eye(ordered), axis=0)
    matrix = np.zeros((ordered + others, ordered + others))
    for step in (steps[0], steps[-1])[: len(steps)]:
        matrix[:ordered, :ordered] += np.outer(step, step)
    return matrix


def product(first: UnitPenalty, second: UnitPenalty) -> UnitPenalty:
    """Penalise a table of coefficients, first varying slowest, along both of its sides.

    The penalty is of the interaction alone, the table less the means of its rows and columns. The centre keeps those
    at zero: main effects belong to the terms of their own, and a table that could take them over would leave the
    Hessian nearly singular. Penalty and centre share no direction, so the trace of the one never counts the other.
    """
    rows, columns = len(first.matrix), len(second.matrix)
    matrix = np.kron(_interaction(first.matrix), _interaction(np.eye(columns)))
    matrix += np.kron(_interaction(np.eye(rows)), _interaction(second.matrix))
    centre = np.kron(np.eye(rows), _centre(columns, columns)) + np.kron(_centre(rows, rows), np.eye(columns))
    return UnitPenalty(np.asarray(matrix), max((rows - 1) * (columns - 1), 1), np.asarray(centre))


def _interaction(matrix: Floats) -> Floats:
    """Return the matrix (L, L) as it acts on deviations from the mean."""
    deviation = np.eye(len(matrix)) - 1.0 / len(matrix)
    inner = deviation @ matrix @ deviation
    return 0.5 * (inner + inner.T)  # rounding would leave it not quite symmetric


def _centre(size: int, ordered: int) -> Floats:
    ones = np.zeros(size)
    ones[:ordered] = 1.0 / ordered
    return np.outer(ones, ones)
