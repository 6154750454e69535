"""Penalties on the coefficients."""

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

    def first(self, size: int) -> Quadratic:
        """Return the penalty of the first `size` coefficients alone: of several outputs that of one."""
        blocks = tuple((part, matrix) for part, matrix in self.blocks if part.stop <= size)
        return Quadratic(self.strengths[:size], blocks)

    def stops(self, direction: Floats) -> bool:
        """Whether the penalty rises along the direction (d,)."""
        return bool(direction @ self.gradient(direction) > 0.0)
