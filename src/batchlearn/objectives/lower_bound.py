"""A lower bound on the Hessian for more coefficients than a factor can hold: what certificates of those stand on.

With one contrast of each row's curvature (one output): c the mean curvature and m the mean row weighted by it, Jensen's
inequality gives c m m' <= mean of curvature * x x', so Hhat = penalty + c m m' <= H. With several outputs the row's
curvature is a matrix A_i = sum_p c_ip z_p z_p', and the same holds with B = mean A_i and M = mean A_i (x) x_i':
M' B^-1 M <= mean of A_i (x) x_i x_i' (the Cauchy-Schwarz inequality of operators). Where the intercepts alone have no
penalty, S being that of the rest, block elimination gives

    v' Hhat^-1 v = v_0' B^-1 v_0 + || v_1 - M_1' B^-1 v_0 ||^2 in the norm of S^-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Chunk, Rows
from batchlearn.kernels.design import Floats, linear_predictor, squared
from batchlearn.objectives.factor import Factor, NotPositiveDefinite, factorise
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.objective import GradientError
from batchlearn.objectives.penalties import Quadratic

_SLACK = 1.0 + 1e-9


class _Largest(NamedTuple):
    square: float


@dataclass(frozen=True)
class _LargestTotal:
    """The largest sum of x_j^2 times `square` (d,) of a row: a row has one level of each group, so blocks do not mix."""

    square: Floats
    combine: ClassVar[tuple[Any, ...]] = (np.maximum,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> _Largest:  # noqa: ARG002 - the protocol of a statistic
        forms = linear_predictor(chunk.layout, squared(chunk.block), self.square)
        return _Largest(float(forms[chunk.weight > 0].max(initial=0.0)))


@dataclass(frozen=True)
class LowerBound:
    """Hhat = penalty + M' B^-1 M at one point; outputs q, coefficients of each d, the first an intercept or none."""

    loss: Loss
    penalty: Quadratic
    at: GradientError
    intercept: bool

    @cached_property
    def _mean(self) -> tuple[Floats, Floats, Floats]:
        """B (q, q), M (q, q, d) and a bound on M's error (q, q, d)."""
        contrasts = self.loss.contrasts
        outer = contrasts[:, None, :] * contrasts[None, :, :]
        magnitude = np.abs(outer) @ self.at.magnitude
        return outer @ self.at.curvature, outer @ self.at.centre, 3.0 * self.at.relative * magnitude

    @cached_property
    def _curvature(self) -> Factor:
        return factorise(self._mean[0], self.at.relative)

    @cached_property
    def _blocks(self) -> tuple[tuple[slice, Factor], ...]:
        return tuple((part, factorise(matrix, 0.0)) for part, matrix in self.penalty.blocks)

    @cached_property
    def _single(self) -> Floats:
        """Which coefficients have a penalty of their own alone, (parameters,)."""
        single = np.ones(len(self.penalty.strengths), dtype=bool)
        for part, _ in self.penalty.blocks:
            single[part] = False
        if self.intercept:
            single[:: len(single) // self.loss.outputs] = False
        return single

    @cached_property
    def reason(self) -> str | None:
        """Why there is no such bound, or None where there is one."""
        if np.any(self.penalty.strengths[self._single] <= 0.0):
            return "some of them have no penalty"
        if not self.at.relative < 0.5:
            return "rounding of the linear predictors hides the curvature"
        try:
            _ = self._blocks, self._curvature
        except NotPositiveDefinite as refusal:
            return f"a part of the Hessian has no safe factor: {refusal}"
        return None

    def norm(self, vector: Floats, slack: Floats | float = 0.0) -> float:
        """Return an upper bound on sqrt(v' H^-1 v), for every v within `slack` of the one given, (parameters,).

        Infinite where there is no bound.
        """
        if self.reason is not None:
            return float("inf")
        slack = np.broadcast_to(np.asarray(slack, dtype=np.float64), vector.shape)
        if not self.intercept:
            return self._penalty_norm(vector, slack) * _SLACK
        outputs = self.loss.outputs
        mean, centre, centre_error = self._mean
        vectors, slacks = vector.reshape(outputs, -1), slack.reshape(outputs, -1)
        solved = self._curvature.solve(vectors[:, 0])
        # v = Hhat (solved, 0) + (missed, rest): the first two parts have the closed form, what is missed is rounding.
        missed = np.abs(mean @ solved - vectors[:, 0]) + slacks[:, 0]
        missed = missed + (self.at.relative + 1e-15) * np.abs(mean) @ np.abs(solved)
        lead = self._form(solved, mean)
        rest = vectors - np.tensordot(solved, centre, axes=1)
        rest_slack = slacks + np.tensordot(np.abs(solved), centre_error + 1e-15 * np.abs(centre), axes=1)
        beside = self._penalty_norm(rest.ravel(), rest_slack.ravel())
        return (float(np.hypot(lead, beside)) + self._intercept_norm(missed)) * _SLACK

    def reach(self, rows: Rows) -> float:
        """Return an upper bound on kappa: the largest sqrt(v' H^-1 v) over what is predicted for any row.

        v is a row x times the only output or the difference z of two classes. With t = B^-1 z (intercepts) the closed
        form is at most z' B^-1 z + (|z| ||x|| + ||M_1' t||)^2 in the norm of S^-1, one reading for the largest ||x||.
        Infinite where there is no bound.
        """
        if self.reason is not None:
            return float("inf")
        size = len(self.penalty.strengths) // self.loss.outputs
        norms = self._penalty_norms()[:size]
        largest = float(np.sqrt(rows.total(_LargestTotal(norms**2), norms).square)) * _SLACK
        contrasts = self.loss.contrasts
        lengths = np.linalg.norm(contrasts, axis=0) * largest
        if not self.intercept:
            return float(lengths.max()) * _SLACK
        worst = 0.0
        for length, contrast in zip(lengths, contrasts.T, strict=True):
            moved = np.zeros((self.loss.outputs, size))
            moved[:, 0] = contrast
            # The norm of (z, 0) is the closed form without x: it holds both other parts.
            alone = self.norm(moved.ravel())
            worst = max(worst, float(length) + alone)
        return worst * _SLACK

    def _form(self, solved: Floats, mean: Floats) -> float:
        """Return an upper bound on sqrt(t' B t)."""
        size = float(solved @ mean @ solved)
        error = (self.at.relative + 1e-15) * float(np.abs(solved) @ np.abs(mean) @ np.abs(solved))
        return float(np.sqrt(max(size, 0.0) + error))

    def _intercept_norm(self, missed: Floats) -> float:
        """Return an upper bound on the norm of (v_0, 0) for every |v_0| <= missed, (q,)."""
        inverse = float(np.sum(self._curvature.coefficient_norms() ** 2))
        return (
            float(np.linalg.norm(missed)) * float(np.sqrt(inverse)) * (1.0 + self._coupling * float(np.sqrt(inverse)))
        )

    @cached_property
    def _coupling(self) -> float:
        """An upper bound on the norm of S^-1/2 M_1'."""
        _, centre, error = self._mean
        sizes = [self._penalty_norm(row.ravel(), slack.ravel()) for row, slack in zip(centre, error, strict=True)]
        return float(np.linalg.norm(sizes))

    def _penalty_norm(self, vector: Floats, slack: Floats) -> float:
        """Return an upper bound on the norm in S^-1; intercepts do not count."""
        single = self._single
        square = float(np.sum((np.abs(vector[single]) + slack[single]) ** 2 / self.penalty.strengths[single]))
        for part, factor in self._blocks:
            square += factor.norm(vector[part], slack[part]) ** 2
        return float(np.sqrt(square))

    def _penalty_norms(self) -> Floats:
        """Return upper bounds on sqrt((S^-1)_jj), shape (parameters,), 0 for intercepts."""
        norms = np.zeros(len(self.penalty.strengths))
        norms[self._single] = 1.0 / np.sqrt(self.penalty.strengths[self._single])
        for part, factor in self._blocks:
            norms[part] = factor.coefficient_norms()
        return norms

    def coefficient_norms(self) -> Floats:
        """Return upper bounds on sqrt((H^-1)_jj), shape (parameters,)."""
        norms = self._penalty_norms()
        if self.intercept:
            size = len(norms) // self.loss.outputs
            for output in range(self.loss.outputs):
                unit = np.zeros(len(norms))
                unit[output * size] = 1.0
                norms[output * size] = self.norm(unit)
        return np.asarray(norms * _SLACK)
