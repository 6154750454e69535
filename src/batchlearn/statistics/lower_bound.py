"""A lower bound on the Hessian for more coefficients than a factor can hold: what certificates of those stand on.

With one contrast of each row's curvature (one output): c the mean curvature and m the mean row weighted by it, Jensen's
inequality gives c m m' <= mean of curvature * x x', so Hhat = penalty + c m m' <= H. With several outputs the row's
curvature is a matrix A_i = sum_p c_ip z_p z_p', and the same holds with B = mean A_i and M = mean A_i (x) x_i':
M' B^-1 M <= mean of A_i (x) x_i x_i' (the Cauchy-Schwarz inequality of operators). Where the intercepts alone have no
penalty, S being that of the rest, block elimination gives

    v' Hhat^-1 v = v_0' B^-1 v_0 + || v_1 - M_1' B^-1 v_0 ||^2 in the norm of S^-1.

Of one output kappa in the bounds need not be the length of a row. With u = w* - w, s_i = x_i'u and s = m'u, the
penalty's part of the curvature stays as it is on the way to w*, and that of a row is at least e^-|s_i| of c_i. So, with
omega(t) = e^-|t| + |t| - 1 and k(t) = |t| (1 - e^-|t|), Jensen's inequality gives

    F(w + u) >= F(w) + g'u + ||u_1||_S^2 / 2 + mean of c_i omega(s_i),  no less than c omega(s),
    -g'u     >= ||u_1||_S^2 + mean of c_i k(s_i),                       no less than c k(s) where |s| <= 1:

the second with the convex function that is k up to 1 and goes on along its tangent, of slope one, below k. With kappa =
c^-1/2, the length of the row m, and p = kappa nu the first is F(w) less (p + (1 - p) ln(1 - p)) / kappa^2, or more, for
every u. The second gives C1 in the norm of Hhat as far as p <= 1 - 1/e; beyond it r = 1 / (e kappa (1 - p)). No |s_i|
is more than a, which is r times the length of the longest row, and so ||u||_H <= nu a / (1 - e^-a). Without an
intercept Hhat is the penalty alone, and kappa is 0: strong convexity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.rows import Chunk, Rows
from batchlearn.kernels.design import Floats, squared
from batchlearn.kernels.rounding import UNDERFLOW
from batchlearn.kernels.sums import summed_predictors
from batchlearn.objectives.factor import Factor, NotPositiveDefinite, factorise
from batchlearn.objectives.losses import Loss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.objectives.self_concordance import Bounds, bounds
from batchlearn.statistics.objective import GradientError

_SLACK = 1.0 + 1e-9
# Of kappa times the decrement: below it the closed form of the loss cancels, and C2 says as much.
_SERIES = 0.1


@dataclass(frozen=True)
class _LargestTotal:
    """The largest sum of x_j^2 times `square` (d,) of a row; it has one level of each group, so blocks do not mix."""

    square: Floats
    combine: ClassVar[tuple[Any, ...]] = (np.maximum,)

    def __call__(self, chunk: Chunk, parameters: Floats) -> tuple[float]:  # noqa: ARG002 - the protocol of a statistic
        forms = summed_predictors(chunk.layout, squared(chunk.block), self.square)
        return (float(forms[chunk.weight > 0].max(initial=0.0)),)


def largest_square(rows: Rows, loss: Loss, diagonal: Floats) -> float:
    """Return an upper bound on ||x / diagonal||^2 of every row x, of several outputs of the difference of two."""
    squares = (1.0 / diagonal**2).reshape(loss.outputs, -1).sum(axis=0) * (1.0 if loss.outputs == 1 else 2.0)
    (largest,) = rows.total(_LargestTotal(squares), squares)
    return float(largest) * _SLACK + UNDERFLOW


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
    def kappa(self) -> float:
        """The length of the mean row of one output; infinite where there is no bound."""
        if self.reason is not None:
            return float("inf")
        return self._largest_inverse * _SLACK if self.intercept else 0.0

    def reached(self, decrement: float) -> Bounds | None:
        """Return how far the optimum is in the norm of this bound and in loss, of one output; None: nothing follows."""
        found, product = bounds(decrement, self.kappa, self.loss.self_concordance), self.kappa * decrement * _SLACK
        if found is None or self.loss.self_concordance == 0.0 or product < _SERIES:
            return found
        if not product < 1.0:
            return None
        loss = (product + (1.0 - product) * math.log1p(-product)) * (decrement / product) ** 2 * _SLACK
        beyond = decrement / (math.e * product * (1.0 - product)) * _SLACK
        return Bounds(found.radius if product < 1.0 - math.exp(-1.0) else beyond, min(found.loss, loss))

    @property
    def _size(self) -> int:
        return len(self.penalty.strengths) // self.loss.outputs

    @cached_property
    def _one(self) -> Quadratic:
        """The penalty of one output: that of each."""
        return self.penalty.first(self._size)

    @cached_property
    def _blocks(self) -> tuple[tuple[slice, Factor], ...]:
        return tuple((part, factorise(matrix, 0.0)) for part, matrix in self._one.blocks)

    @cached_property
    def _single(self) -> NDArray[np.bool_]:
        """Which coefficients of an output have a penalty of their own alone, (d,)."""
        single = np.ones(self._size, dtype=bool)
        for part, _ in self._one.blocks:
            single[part] = False
        if self.intercept:
            single[0] = False
        return single

    @cached_property
    def reason(self) -> str | None:
        """Why there is no such bound, or None where there is one."""
        if np.any(self._one.strengths[self._single] <= 0.0):
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
        shape = (1, self.loss.outputs, self._size)
        return float(self._norms(vector.reshape(shape), slack.reshape(shape))[0])

    def _norms(self, vectors: Floats, slacks: Floats) -> Floats:
        """Return upper bounds on the norms of vectors within slacks, both (k, outputs, d)."""
        if not self.intercept:
            return self._penalty_norms(vectors, slacks) * _SLACK
        mean, centre, centre_error = self._mean
        lead, lead_slack = vectors[:, :, 0], slacks[:, :, 0]
        solved = np.stack([self._curvature.solve(one) for one in lead])
        # v = Hhat (solved, 0) + (missed, rest): the first two parts have the closed form, what is missed is rounding.
        size = np.abs(solved)
        missed = np.abs(solved @ mean - lead) + lead_slack + (self.at.relative + 1e-15) * size @ np.abs(mean)
        form = np.maximum(np.sum((solved @ mean) * solved, axis=1), 0.0)
        form += (self.at.relative + 1e-15) * np.sum((size @ np.abs(mean)) * size, axis=1)
        rest = vectors - np.tensordot(solved, centre, axes=1)
        rest_slack = slacks + np.tensordot(size, centre_error + 1e-15 * np.abs(centre), axes=1)
        beside = self._penalty_norms(rest, rest_slack)
        rounding = (
            np.linalg.norm(missed, axis=1) * self._largest_inverse * (1.0 + self._coupling * self._largest_inverse)
        )
        return np.asarray((np.sqrt(form + beside**2) + rounding) * _SLACK + UNDERFLOW)

    @cached_property
    def _largest_inverse(self) -> float:
        """An upper bound on the norm of B^-1/2."""
        return float(np.linalg.norm(self._curvature.coefficient_norms()))

    def reach(self, rows: Rows) -> float:
        """Return an upper bound on kappa: the largest sqrt(v' H^-1 v) over what is predicted for any row.

        v is a row x times the only output or the difference z of two classes. With t = B^-1 z (intercepts) the closed
        form is at most z' B^-1 z + (|z| ||x|| + ||M_1' t||)^2 in the norm of S^-1, one reading for the largest ||x||.
        Infinite where there is no bound.
        """
        if self.reason is not None:
            return float("inf")
        norms = self._own_norms
        (square,) = rows.total(_LargestTotal(norms**2), norms)
        largest = float(np.sqrt(square)) * _SLACK
        contrasts = self.loss.contrasts
        lengths = np.linalg.norm(contrasts, axis=0) * largest
        if not self.intercept:
            return float(lengths.max()) * _SLACK
        vectors = np.zeros((contrasts.shape[1], self.loss.outputs, self._size))
        vectors[:, :, 0] = contrasts.T
        # The norm of (z, 0) is the closed form without x: it holds both other parts.
        return float(np.max(lengths + self._norms(vectors, np.zeros_like(vectors)))) * _SLACK

    @cached_property
    def _coupling(self) -> float:
        """An upper bound on the norm of S^-1/2 M_1'."""
        _, centre, error = self._mean
        return float(np.linalg.norm(self._penalty_norms(centre, error)))

    def _penalty_norms(self, vectors: Floats, slacks: Floats) -> Floats:
        """Return upper bounds on the norms in S^-1 of vectors within slacks, (k, outputs, d), but for intercepts."""
        single = self._single
        sizes = np.abs(vectors[:, :, single]) + slacks[:, :, single]
        squares = np.sum((sizes / np.sqrt(self._one.strengths[single])) ** 2, axis=(1, 2)) + UNDERFLOW
        for part, factor in self._blocks:
            length = part.stop - part.start
            own, error = (one[:, :, part].reshape(-1, length).T for one in (vectors, slacks))
            squares += np.sum(factor.norms(own, error).reshape(len(vectors), -1) ** 2, axis=1)
        return np.asarray(np.sqrt(squares))

    @cached_property
    def _own_norms(self) -> Floats:
        """Upper bounds on sqrt((S^-1)_jj) of one output, (d,), 0 for the intercept."""
        norms = np.zeros(self._size)
        norms[self._single] = 1.0 / np.sqrt(self._one.strengths[self._single])
        for part, factor in self._blocks:
            norms[part] = factor.coefficient_norms()
        return norms

    def coefficient_norms(self) -> Floats:
        """Return upper bounds on sqrt((H^-1)_jj), shape (parameters,)."""
        norms = np.tile(self._own_norms, (self.loss.outputs, 1))
        if self.intercept:
            units = np.zeros((self.loss.outputs, self.loss.outputs, self._size))
            units[:, :, 0] = np.eye(self.loss.outputs)
            norms[:, 0] = self._norms(units, np.zeros_like(units))
        return np.asarray(norms.ravel() * _SLACK)
