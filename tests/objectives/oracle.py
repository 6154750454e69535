"""The oracle: the objective, its optimum and its derivatives in 60-digit arithmetic, from the rows as they are stored.

It shares no code with the package: the design matrix is written out, entry by entry, as (stored - shift) / scale in
exact numbers, so what it finds is what a certificate speaks about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from mpmath import mp

from batchlearn.data.rows import Rows
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels.design import Floats
from batchlearn.statistics.objective import Objective

mp.dps = 60

# Of two values whose difference is the gap: columns of size 1e-160 gain 1e-62 of a loss of one, and less.
_DIGITS_OF_A_GAP = 400
_STEPS = 200
# The decrement at which an optimum is one: its square is the loss still to gain.
_OPTIMAL = mp.mpf(10) ** -40

Vector = Sequence[Any]  # of mpf


def exact(values: Any) -> list[Any]:
    """Return floats as mpf: nothing is rounded."""
    return [mp.mpf(float(value)) for value in np.asarray(values).ravel()]


def exact_rows(rows: MemoryRows, chunk: StoredChunk) -> list[list[Any]]:
    """Return the design of a chunk as mpf."""
    layout = rows.layout
    shift, scale = exact(rows.shift), exact(rows.scale)
    sparse = None if chunk.sparse is None else chunk.sparse.toarray()
    sparse_scale = exact(np.ones(layout.sparse) if rows.sparse_scale is None else rows.sparse_scale)
    design = []
    for i in range(len(chunk)):
        row = [mp.mpf(1)] * int(layout.intercept)
        row += [(mp.mpf(float(v)) - a) / b for v, a, b in zip(chunk.dense[:, i], shift, scale, strict=True)]
        for codes, levels in zip(chunk.codes, layout.groups, strict=True):
            row += [mp.mpf(int(codes[i] == level)) for level in range(levels)]
        if sparse is not None:
            row += [mp.mpf(float(v)) / b for v, b in zip(sparse[i], sparse_scale, strict=True)]
        design.append(row)
    return design


def power_of(loss: Any) -> Any:
    """Return the Tweedie loss's power as mpf, None for other losses."""
    power = getattr(loss, "power", None)
    return None if power is None else mp.mpf(power)


@dataclass(frozen=True)
class Oracle:
    """F(w) = sum_i weight_i phi(x_i'w + offset_i, y_i) / sum_i weight_i + w'Sw / 2, exactly; S has blocks."""

    loss: str
    design: list[list[Any]]
    label: list[Any]
    weight: list[Any]
    offset: list[Any]
    strengths: list[Any]
    power: Any = None  # of the Tweedie loss
    blocks: tuple[tuple[int, Any], ...] = ()  # of the penalty: the first coefficient, and a matrix as lists

    @staticmethod
    def of(objective: Objective, rows: Rows) -> Oracle:
        """Write out what the objective is over these rows; rows without weight are left out."""
        assert isinstance(rows, MemoryRows)
        design, label, weight, offset = [], [], [], []
        for chunk in rows.chunks:
            ones, zeros = np.ones(len(chunk)), np.zeros(len(chunk))
            design += exact_rows(rows, chunk)
            label += exact(chunk.label)
            weight += exact(ones if chunk.weight is None else chunk.weight)
            offset += exact(zeros if chunk.offset is None else chunk.offset)
        kept = [i for i, w in enumerate(weight) if w > 0]
        return Oracle(
            objective.loss.name,
            [design[i] for i in kept],
            [label[i] for i in kept],
            [weight[i] for i in kept],
            [offset[i] for i in kept],
            exact(objective.penalty.strengths),
            power_of(objective.loss),
            tuple((part.start, [exact(row) for row in block]) for part, block in objective.penalty.blocks),
        )

    def penalised(self, w: Vector) -> list[Any]:
        """Return S w."""
        found = [s * v for s, v in zip(self.strengths, w, strict=True)]
        for start, block in self.blocks:
            for j, row in enumerate(block, start):
                found[j] += mp.fdot(row, w[start : start + len(block)])
        return found

    @cached_property
    def total_weight(self) -> Any:
        """The sum of the weights."""
        return mp.fsum(self.weight)

    def predictors(self, w: Vector) -> list[Any]:
        """Return X w + offset."""
        return [mp.fdot(row, w) + a for row, a in zip(self.design, self.offset, strict=True)]

    def response(self, eta: Any) -> Any:
        """Return the mean that a linear predictor stands for."""
        if self.loss == "squared":
            return eta
        return mp.exp(eta) if self.loss in ("poisson", "gamma", "tweedie") else 1 / (1 + mp.exp(-eta))

    def loss_of(self, eta: Any, y: Any) -> Any:
        """Return phi, as the textbook has it."""
        if self.loss == "squared":
            return (y - eta) ** 2 / 2
        if self.loss == "poisson":
            return mp.exp(eta) - y * eta - y + (y * mp.log(y) if y > 0 else 0)
        if self.loss == "gamma":
            return y * mp.exp(-eta) - 1 - mp.log(y) + eta
        if self.loss == "tweedie":
            p = self.power
            saturated = y ** (2 - p) / ((1 - p) * (2 - p)) if y > 0 else 0
            return saturated - y * mp.exp((1 - p) * eta) / (1 - p) + mp.exp((2 - p) * eta) / (2 - p)
        return mp.log1p(mp.exp(eta)) - y * eta if eta < 0 else mp.log1p(mp.exp(-eta)) + (1 - y) * eta

    def slope_of(self, eta: Any, y: Any) -> Any:
        """Return phi'."""
        if self.loss == "gamma":
            return 1 - y * mp.exp(-eta)
        if self.loss == "tweedie":
            return mp.exp((2 - self.power) * eta) - y * mp.exp((1 - self.power) * eta)
        return self.response(eta) - y

    def curvature_of(self, eta: Any, y: Any) -> Any:
        """Return phi''."""
        if self.loss == "squared":
            return mp.mpf(1)
        if self.loss == "gamma":
            return y * mp.exp(-eta)
        if self.loss == "tweedie":
            p = self.power
            return (2 - p) * mp.exp((2 - p) * eta) + (p - 1) * y * mp.exp((1 - p) * eta)
        return mp.exp(eta) if self.loss == "poisson" else mp.exp(-abs(eta)) / (1 + mp.exp(-abs(eta))) ** 2

    def value(self, w: Vector) -> Any:
        """Return F(w)."""
        losses = [self.loss_of(eta, y) for eta, y in zip(self.predictors(w), self.label, strict=True)]
        return mp.fdot(self.weight, losses) / self.total_weight + mp.fdot(self.penalised(w), w) / 2

    def gap(self, w: Vector, optimum: Vector) -> Any:
        """Return F(w) - F(optimum)."""
        with mp.workdps(_DIGITS_OF_A_GAP):
            return self.value(w) - self.value(optimum)

    def gradient(self, w: Vector) -> list[Any]:
        """Return the gradient of F."""
        etas = self.predictors(w)
        slopes = [a * self.slope_of(eta, y) for a, eta, y in zip(self.weight, etas, self.label, strict=True)]
        columns = zip(*self.design, strict=True)
        return [
            mp.fdot(slopes, column) / self.total_weight + penalty
            for column, penalty in zip(columns, self.penalised(w), strict=True)
        ]

    def hessian(self, w: Vector) -> Any:
        """Return the Hessian of F as an mpmath matrix."""
        rows = zip(self.weight, self.predictors(w), self.label, strict=True)
        curvatures = [a * self.curvature_of(eta, y) for a, eta, y in rows]
        columns = list(zip(*self.design, strict=True))
        size = len(columns)
        hessian = mp.matrix(size, size)
        for a in range(size):
            bent = [c * x for c, x in zip(curvatures, columns[a], strict=True)]
            for b in range(a + 1):
                hessian[a, b] = hessian[b, a] = mp.fdot(bent, columns[b]) / self.total_weight
            hessian[a, a] += self.strengths[a]
        for start, block in self.blocks:
            for a, row in enumerate(block, start):
                for b, value in enumerate(row, start):
                    hessian[a, b] += value
        return hessian

    def optimum(self, start: Floats) -> list[Any]:
        """Return w*, by damped Newton steps from `start`: ArithmeticError where it is not reached."""
        w = exact(start)
        for _ in range(_STEPS):
            gradient = self.gradient(w)
            step = list(mp.lu_solve(self.hessian(w), mp.matrix([-v for v in gradient])))
            decrement = mp.sqrt(max(-mp.fdot(gradient, step), mp.mpf(0)))
            reach = max(abs(mp.fdot(row, step)) for row in self.design)
            short = self.loss != "squared" and reach > mp.mpf("0.5")
            length = mp.log1p(reach) / reach if short else mp.mpf(1)
            w = [v + length * s for v, s in zip(w, step, strict=True)]
            if decrement < _OPTIMAL:
                return w
        raise ArithmeticError("the oracle found no optimum")
