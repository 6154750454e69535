"""Penalties on the coefficients: a quadratic form, and the one rule that says what it is for so many rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batchlearn.kernels.design import Floats


@dataclass(frozen=True)
class Quadratic:
    """Half a quadratic form: sum_j strengths_j w_j^2 / 2 + sum over blocks of w_b' M_b w_b / 2.

    One strength a coefficient, shape (d,); zero leaves a coefficient free, as the intercept always is. A block is the
    coefficients of one term with a symmetric positive semi-definite matrix: differences of neighbours, say.
    """

    strengths: Floats
    blocks: tuple[tuple[slice, Floats], ...] = ()

    def value(self, parameters: Floats) -> float:
        """Return the penalty."""
        return float(0.5 * (parameters @ self.gradient(parameters)))

    def gradient(self, parameters: Floats) -> Floats:
        """Return its gradient, shape (d,)."""
        gradient = self.strengths * parameters
        for part, matrix in self.blocks:
            gradient[part] += matrix @ parameters[part]
        return gradient

    def magnitude(self, parameters: Floats) -> Floats:
        """Return the gradient's terms without their signs, shape (d,): its rounding error scales with them."""
        size = np.abs(parameters)
        magnitude = self.strengths * size
        for part, matrix in self.blocks:
            magnitude[part] += np.abs(matrix) @ size[part]
        return magnitude

    def add_to(self, hessian: Floats) -> None:
        """Add the penalty's Hessian to a matrix (d, d), in place."""
        hessian[np.diag_indices_from(hessian)] += self.strengths
        for part, matrix in self.blocks:
            hessian[part, part] += matrix

    @property
    def diagonal(self) -> Floats:
        """The diagonal of its Hessian, shape (d,)."""
        diagonal = self.strengths.copy()
        for part, matrix in self.blocks:
            diagonal[part] += np.diagonal(matrix)
        return diagonal

    @property
    def terms(self) -> int:
        """The most terms in one entry of its gradient."""
        return 1 + max((len(matrix) for _, matrix in self.blocks), default=0)

    def times(self, factor: float) -> Quadratic:
        """Return the penalty times a factor of 0 or more."""
        return Quadratic(self.strengths * factor, tuple((part, matrix * factor) for part, matrix in self.blocks))

    def plus(self, other: Quadratic) -> Quadratic:
        """Return the sum of two penalties of the same coefficients; blocks of one term become one block."""
        blocks = {(part.start, part.stop): matrix for part, matrix in self.blocks}
        for part, matrix in other.blocks:
            ends = part.start, part.stop
            blocks[ends] = blocks[ends] + matrix if ends in blocks else matrix
        return Quadratic(self.strengths + other.strengths, tuple((slice(*ends), m) for ends, m in blocks.items()))

    def first(self, size: int) -> Quadratic:
        """Return the penalty of the first `size` coefficients alone: of several outputs that of one."""
        blocks = tuple((part, matrix) for part, matrix in self.blocks if part.stop <= size)
        return Quadratic(self.strengths[:size], blocks)

    def stops(self, direction: Floats) -> bool:
        """Whether the penalty rises along the direction (d,)."""
        return bool(direction @ self.gradient(direction) > 0.0)


@dataclass(frozen=True)
class Penalty:
    """The penalty of any number of rows: a part that is the same in total over them and one that is the same per row.

    Over rows of total weight N the sum of their losses is penalised by in_total(w) + N per_row(w). Strengths chosen by
    data are in total; centres, which keep the Hessian regular whatever the number of rows, and a given alpha are per
    row. What a fit, its verification, a warm start and an update minimise is the same function because each of them
    asks here.
    """

    in_total: Quadratic
    per_row: Quadratic

    def over(self, weight: float) -> Quadratic:
        """Return the penalty of the mean objective over rows of this total weight, above 0."""
        return self.in_total.times(1.0 / weight).plus(self.per_row)
