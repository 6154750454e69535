"""The one factorisation of the Hessian that steps, certificates, standard errors and leave-one-out share.

The Hessian is scaled to a unit diagonal and factored by Cholesky; a pseudo-inverse or least squares would report
answers for matrices that are singular to working precision, so where Cholesky refuses, we refuse. The factor knows how
far it can be from the exact one: `H >= (1 - looseness) D L L' D` holds for the exact Hessian, with the errors of
forming it, of factoring it and of inverting the triangle bounded a priori (Higham 2002, theorems 10.3 and 8.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from batchlearn.kernels.design import Floats
from batchlearn.kernels.native.lapack import reciprocal_condition, solve_lower
from batchlearn.kernels.rounding import UNDERFLOW, accumulated
from batchlearn.objectives.triangles import factor_in_strips, invert_in_strips, square_in_strips, strips

# Above this the d x d factor (and what is made of it) is too large: the rank-one bound serves.
FACTOR_LIMIT = 5000
# Norms are divided by sqrt(1 - looseness): beyond this the bound says more about rounding than about the problem.
_LARGEST_LOOSENESS = 0.5
# Beyond these, products of entries of the Hessian and its inverse underflow by more than the bounds assume.
_LEAST_CURVATURE, _LARGEST_CURVATURE = 1e-250, 1e250
# A larger matrix costs more than what it is made of; the inverse of a smaller diagonal may overflow single precision.
_LARGEST_IN_DOUBLE, _LEAST_IN_SINGLE = 2500, 1e-12


class NotPositiveDefinite(ArithmeticError):
    """The Hessian is singular to working precision. `direction` (d,) is one along which it hardly curves."""

    def __init__(self, message: str, direction: Floats) -> None:
        super().__init__(message)
        self.direction = direction


@dataclass(frozen=True)
class Factor:
    """Cholesky factor of D^-1 H D^-1 = L L', kept as the inverse of L."""

    diagonal: Floats  # (d,): D, the square roots of the Hessian's diagonal
    inverse: Floats  # (d, d), lower triangular: the inverse of L
    looseness: float  # relative, of the quadratic form; includes every rounding error made on the way here
    threads: int = 1  # no bit depends on it

    @property
    def inflation(self) -> float:
        """What a computed norm is multiplied by so that it is not below the exact one."""
        return 1.0 / math.sqrt(1.0 - self.looseness)

    def solve(self, vector: Floats) -> Floats:
        """Return H^-1 v, shape (d,)."""
        return self.inverse.T @ (self.inverse @ (vector / self.diagonal)) / self.diagonal

    def norm(self, vector: Floats, error: Floats | float = 0.0) -> float:
        """Return an upper bound on sqrt(v' H^-1 v), for every v within `error` (d,) of the one given."""
        return float(self.norms(vector[:, None], np.broadcast_to(error, vector.shape)[:, None])[0])

    def norms(self, vectors: Floats, errors: Floats) -> Floats:
        """Return what `norm` does for each column of the vectors and errors, (d, k)."""
        scaled = vectors / self.diagonal[:, None]
        slack = errors / self.diagonal[:, None] + accumulated(len(scaled) + 3) * np.abs(scaled) + UNDERFLOW
        reach = np.abs(self.inverse @ scaled)
        for part, sizes in self._magnitudes():
            reach[part] += sizes @ slack[: part.stop]
        # In units of the largest: squares of small entries would vanish.
        largest = reach.max(axis=0)
        lengths = largest * np.sqrt(np.sum((reach / largest) ** 2, axis=0))
        return np.asarray(lengths * (self.inflation * (1.0 + accumulated(4 * len(scaled) + 16))))

    def longest(self, spread: float) -> float:
        """Return an upper bound on sqrt(x' H^-1 x) of every x whose ||x / diagonal||^2 is no more than the spread."""
        # Of the inverse of L the square of the 2-norm is at most the product of the largest sums of columns and rows.
        columns, rows = np.zeros(len(self.diagonal)), 0.0
        for part, sizes in self._magnitudes():
            columns[: part.stop] += sizes.sum(axis=0)
            rows = max(rows, float(sizes.sum(axis=1).max()))
        square = min(float(columns.max()) * rows, float(np.linalg.norm(self.inverse)) ** 2) * spread
        return math.sqrt(square) * self.inflation * (1.0 + accumulated(4 * len(self.diagonal) + 16))

    def charged(self, relative_error: float) -> Factor:
        """Return the factor where each entry (a, b) of the matrix may be off by so much times sqrt(H_aa H_bb).

        Raises NotPositiveDefinite where it cannot be vouched for.
        """
        size = len(self.diagonal)
        # The smallest eigenvalue of L L' is at least 1 / ||L^-1||_F^2, and each error matrix has 2-norm at most d times
        # its largest entry, because the scaled diagonal is one. Twice gamma more covers the inverse, whether its
        # residual is small on the left (X L - I, a lesser term) or on the right (Higham 2002, section 14.2).
        reach = float(np.linalg.norm(self.inverse)) ** 2
        errors = size * (3.0 * accumulated(size + 4) + relative_error / (1.0 - min(relative_error, 0.5)) + 4 * 2.0**-53)
        looseness = errors * reach + 2.0 * accumulated(size + 4) * math.sqrt(size * reach)
        if not looseness < _LARGEST_LOOSENESS:
            worst = int(np.argmax(np.sum(self.inverse**2, axis=1)))
            raise NotPositiveDefinite("it is singular to working precision", self.inverse[worst] / self.diagonal)
        return replace(self, looseness=looseness)

    def _magnitudes(self) -> Iterator[tuple[slice, Floats]]:
        """Yield |L^-1| in strips of its rows, up to the last column that is not zero: as a whole it is d x d again."""
        return ((part, np.abs(self.inverse[part, : part.stop])) for part in strips(len(self.inverse)))

    @cached_property
    def inverse_hessian(self) -> Floats:
        """H^-1, shape (d, d)."""
        return square_in_strips(self.inverse, 1.0 / self.diagonal, self.threads)

    @property
    def form_error(self) -> float:
        """The error of x' H^-1 x computed from `inverse_hessian`, as a multiple of ||x / diagonal||^2."""
        size = len(self.diagonal)
        # Of X'X, of two divisions and products, of the entries, of sums over columns and groups; X the inverse of L.
        return accumulated(6 * size + 20) * float(np.linalg.norm(self.inverse)) ** 2

    def coefficient_norms(self) -> Floats:
        """Return upper bounds on sqrt((H^-1)_jj), shape (d,)."""
        size = len(self.diagonal)
        lengths = np.sqrt(np.einsum("ij,ij->j", self.inverse, self.inverse)) / self.diagonal
        return np.asarray(lengths * self.inflation * (1.0 + accumulated(size + 16)))


@dataclass(frozen=True)
class StepFactor:
    """Cholesky factor of D^-1 H D^-1, for steps: nothing is proved from it, and it costs half as much."""

    diagonal: Floats  # (d,): D
    lower: Floats  # (d, d), lower triangular

    def solve(self, vector: Floats) -> Floats:
        """Return H^-1 v for a vector (d,) or for several, (d, k)."""
        scale = self.diagonal if vector.ndim == 1 else self.diagonal[:, None]
        return np.asarray(solve_lower(self.lower, vector / scale) / scale)

    def norm(self, vector: Floats) -> float:
        """Return sqrt(v' H^-1 v) of a vector (d,)."""
        return math.sqrt(max(float(vector @ self.solve(vector)), 0.0))


def step_factor(hessian: Floats) -> StepFactor:
    """Factor a symmetric matrix, (d, d), to step by; raises NotPositiveDefinite where it is nearly singular."""
    diagonal, lower = _scaled_factor(hessian)
    np.copyto(lower, 0.0, where=np.tri(len(lower), k=-1, dtype=bool).T)  # what LAPACK leaves there
    # Of a unit diagonal the 1-norm is at most d.
    if not reciprocal_condition(lower, float(len(hessian))) > len(hessian) * 2.0**-53:
        raise NotPositiveDefinite("it is singular to working precision", np.zeros(len(hessian)))
    return StepFactor(diagonal, lower)


def factorise(hessian: Floats, relative_error: float, threads: int = 1) -> Factor:
    """Factor a symmetric positive definite matrix, shape (d, d).

    `relative_error` bounds the error of each entry (a, b) of the matrix as given, relative to sqrt(H_aa H_bb).
    Raises NotPositiveDefinite where no factor can be vouched for.
    """
    diagonal, lower = _scaled_factor(hessian, threads)
    invert_in_strips(lower, threads)
    return Factor(diagonal, lower, looseness=1.0, threads=threads).charged(relative_error)


def inverse_for_statistics(hessian: Floats, threads: int = 1) -> Floats:
    """Return H^-1, (d, d), to three digits or more: of a large matrix in single precision, where that has as many.

    An entry (a, b) is then off by about the unit roundoff times the largest entry of the inverse of D^-1 H D^-1, of
    what the roots of the entries (a, a) and (b, b) multiply to: 1 to 6 times that on five sets of rows. Raises
    NotPositiveDefinite as `factorise` does.
    """
    if len(hessian) > _LARGEST_IN_DOUBLE:
        diagonal, lower = _scaled(hessian, np.float32)
        if factor_in_strips(lower, threads) == 0:
            invert_in_strips(lower, threads)
            largest = float(np.einsum("ij,ij->j", lower, lower).max())
            if 16.0 * 2.0**-24 * largest < 1e-3 and diagonal.min() > _LEAST_IN_SINGLE:
                return square_in_strips(lower, 1.0 / diagonal, threads)
    return factorise(hessian, 0.0, threads).inverse_hessian


def _scaled_factor(hessian: Floats, threads: int = 1) -> tuple[Floats, Floats]:
    """Return D, the roots of the diagonal, and the Cholesky factor of D^-1 H D^-1 with anything above its diagonal."""
    diagonal, lower = _scaled(hessian, np.float64)
    order = factor_in_strips(lower, threads)
    if order != 0:
        scaled = hessian / diagonal[:, None] / diagonal
        # A direction of no curvature inside the leading minor where Cholesky stopped.
        direction = np.zeros(len(hessian))
        _, vectors = np.linalg.eigh(scaled[:order, :order])
        direction[:order] = vectors[:, 0]
        raise NotPositiveDefinite("it is singular to working precision", direction / diagonal)
    return diagonal, lower


def _scaled(hessian: Floats, precision: type[np.floating[Any]]) -> tuple[Floats, Floats]:
    """Return D, the roots of the diagonal, and the lower triangle of D^-1 H D^-1 with anything above its diagonal."""
    size = len(hessian)
    curved = np.diagonal(hessian)
    if not np.all(np.isfinite(hessian)):
        raise NotPositiveDefinite("its entries overflow", np.zeros(size))
    # Where curvature underflows, its relative error is no longer what the bounds assume.
    if np.any(curved <= _LEAST_CURVATURE):
        direction = np.zeros(size)
        direction[int(np.argmin(curved))] = 1.0
        raise NotPositiveDefinite("a coefficient meets no curvature at all", direction)
    if np.any(curved > _LARGEST_CURVATURE):
        raise NotPositiveDefinite(f"a curvature of {np.max(curved):.0e} is too large to be certain of", np.zeros(size))
    diagonal = np.sqrt(curved)
    # The transpose is the same matrix in the order of LAPACK, which then works in place.
    scaled = np.empty((size, size), precision)
    for part in strips(size):
        strip = hessian[part, part.start :] / diagonal[part, None]
        np.divide(strip, diagonal[part.start :], out=scaled[part, part.start :], casting="same_kind")
    return diagonal, scaled.T
