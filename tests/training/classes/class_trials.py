"""Random small problems of several classes, and the check of their certificates in 60-digit arithmetic.

The oracle writes the softmax loss as the textbook has it, over all classes, with logits made from the parameters by
exact numbers equal to the contrasts that the package uses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp
from tests.objectives.oracle import Vector, exact, exact_rows
from tests.training.trials import FAMILIES, chunks_of

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Floats, Layout
from batchlearn.models.links import class_contrasts
from batchlearn.objectives.factor import NotPositiveDefinite
from batchlearn.objectives.losses.softmax import SoftmaxLoss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.solvers.newton import Newton
from batchlearn.statistics.objective import Objective
from batchlearn.training.certificate import Certificate, Units, certify

_OPTIMAL = mp.mpf(10) ** -40


@dataclass(frozen=True)
class ClassOracle:
    """The mean softmax loss plus a ridge, in exact numbers."""

    classes: int
    contrasts: list[list[Any]]  # (K-1, K)
    design: list[list[Any]]
    label: list[int]
    weight: list[Any]
    strengths: list[Any]

    @staticmethod
    def of(objective: Objective, rows: MemoryRows) -> ClassOracle:
        """Write out what the objective is over these rows; rows without weight are left out."""
        design, label, weight = [], [], []
        for chunk in rows.chunks:
            design += exact_rows(rows, chunk)
            label += [int(y) for y in chunk.label]
            weight += exact(np.ones(len(chunk)) if chunk.weight is None else chunk.weight)
        kept = [i for i, w in enumerate(weight) if w > 0]
        classes = objective.loss.outputs + 1
        return ClassOracle(
            classes,
            [exact(row) for row in class_contrasts(classes)],
            [design[i] for i in kept],
            [label[i] for i in kept],
            [weight[i] for i in kept],
            exact(objective.penalty.strengths),
        )

    @cached_property
    def total_weight(self) -> Any:
        """The sum of the weights."""
        return mp.fsum(self.weight)

    def probabilities(self, w: Vector) -> list[list[Any]]:
        """Return the probabilities of the classes, row by row."""
        return [shares for shares, _ in self._rows(w)]

    def _rows(self, w: Vector) -> list[tuple[list[Any], list[Any]]]:
        size, found = len(self.design[0]), []
        for row in self.design:
            eta = [mp.fdot(row, w[a * size : (a + 1) * size]) for a in range(self.classes - 1)]
            logits = [mp.fdot([c[k] for c in self.contrasts], eta) for k in range(self.classes)]
            top = max(logits)
            total = mp.fsum(mp.exp(z - top) for z in logits)
            found.append(([mp.exp(z - top) / total for z in logits], [z - top - mp.log(total) for z in logits]))
        return found

    def value(self, w: Vector) -> Any:
        """Return F(w)."""
        losses = [-logs[y] for (_, logs), y in zip(self._rows(w), self.label, strict=True)]
        penalty = mp.fsum(s * v * v for s, v in zip(self.strengths, w, strict=True)) / 2
        return mp.fdot(self.weight, losses) / self.total_weight + penalty

    def gradient_and_hessian(self, w: Vector) -> tuple[Any, Any]:
        """Return both, as mpmath matrices."""
        size, outputs = len(self.design[0]), self.classes - 1
        gradient, hessian = mp.matrix(outputs * size, 1), mp.matrix(outputs * size, outputs * size)
        for row, weight, y, shares in zip(self.design, self.weight, self.label, self.probabilities(w), strict=True):
            slope = [
                mp.fsum(c[k] * (shares[k] - (k == y)) for k in range(self.classes)) * weight / self.total_weight
                for c in self.contrasts
            ]
            mean = [mp.fdot(c, shares) for c in self.contrasts]
            for a in range(outputs):
                for b in range(outputs):
                    joint = mp.fsum(self.contrasts[a][k] * self.contrasts[b][k] * p for k, p in enumerate(shares))
                    bent = (joint - mean[a] * mean[b]) * weight / self.total_weight
                    for i in range(size):
                        for j in range(size):
                            hessian[a * size + i, b * size + j] += bent * row[i] * row[j]
                for i in range(size):
                    gradient[a * size + i] += slope[a] * row[i]
        for i, strength in enumerate(self.strengths):
            gradient[i] += strength * w[i]
            hessian[i, i] += strength
        return gradient, hessian

    def optimum(self, start: Floats) -> list[Any]:
        """Return w*, by Newton steps from a certified start."""
        w = exact(start)
        for _ in range(60):
            gradient, hessian = self.gradient_and_hessian(w)
            step = mp.lu_solve(hessian, -gradient)
            decrement = mp.sqrt(abs(mp.fdot(list(gradient), list(step))))
            w = [v + s for v, s in zip(w, list(step), strict=True)]
            if decrement < _OPTIMAL:
                return w
        raise ArithmeticError("the oracle found no optimum")


class ClassTrial(NamedTuple):
    """One random problem."""

    family: str
    objective: Objective
    rows: MemoryRows
    units: Units


def random_class_trial(rng: np.random.Generator, family: str) -> ClassTrial:
    """Draw a problem of three to five classes, every one of them with a row of weight."""
    draft = replace(FAMILIES[family](rng), offset=None)
    n, classes = draft.dense.shape[1], int(rng.integers(3, 6))
    label = rng.integers(0, classes, n).astype(np.float64)
    first = np.flatnonzero(np.ones(n) if draft.weight is None else draft.weight > 0)[:classes]
    label[first] = np.arange(len(first))
    classes = max(len(first), 3)  # two are the logistic loss
    label = np.minimum(label, classes - 1)
    intercept = draft.intercept and len(first) == classes
    sparse = 0 if draft.sparse is None else draft.sparse.shape[1]
    layout = Layout(intercept, len(draft.dense), draft.levels, sparse)
    rows = MemoryRows(layout, chunks_of(draft, label, [n // 2] if n > 3 else []), draft.shift, draft.scale)
    strengths = np.full(layout.size, draft.strength)
    strengths[: int(intercept)] = 0.0
    scale = np.ones(layout.size)
    scale[layout.lead - len(draft.dense) : layout.lead] = draft.scale
    loss = SoftmaxLoss(classes)
    return ClassTrial(family, Objective(loss, Quadratic(np.tile(strengths, loss.outputs))), rows, Units(scale))


def class_points(trial: ClassTrial) -> list[Floats]:
    """Return points of different quality: early steps, and the last."""
    solver, found = Newton(), []
    state = solver.start(trial.objective, trial.rows, trial.objective.null_parameters(trial.rows))
    for number in range(40):
        previous = state.decrement
        state = solver.step(trial.objective, trial.rows, state)
        if number < 5:
            found.append(state.parameters)
        if state.decrement > 0.5 * previous and state.decrement < 1e-6:
            break
    return [*found, state.parameters]


def violations(trial: ClassTrial, certificate: Certificate, parameters: Floats, optimum: list[Any]) -> list[str]:
    """Compare every number of a certificate with the truth."""
    oracle = ClassOracle.of(trial.objective, trial.rows)
    w = exact(parameters)
    size, outputs = trial.rows.layout.size, trial.objective.loss.outputs
    change = [a - b for a, b in zip(w, optimum, strict=True)]
    moved = mp.mpf(0)
    for k in range(outputs + 1):
        for j in range(size):
            own = mp.fsum(oracle.contrasts[a][k] * change[a * size + j] for a in range(outputs))
            moved = max(moved, abs(own) / mp.mpf(float(trial.units.scale[j])))
    there, best = oracle.probabilities(w), oracle.probabilities(optimum)
    shares = [abs(a - b) for p, q in zip(there, best, strict=True) for a, b in zip(p, q, strict=True)]
    truth = {
        "loss_bound": oracle.value(w) - oracle.value(optimum),
        "coefficient_bound": moved,
        "prediction_bound": max(shares),
    }
    bounds = {name: getattr(certificate, name) for name in truth}
    return [
        f"{name} {bounds[name]!r} < {mp.nstr(value, 17)}"
        for name, value in truth.items()
        if bounds[name] is not None and mp.mpf(bounds[name]) < value
    ]


def judge_classes(trial: ClassTrial) -> tuple[int, list[str]]:
    """Return how many certificates were given, and every violation among them."""
    try:
        points = class_points(trial)
    except NotPositiveDefinite:
        return 0, []
    certificates = [certify(trial.objective, trial.rows, point, trial.units).certificate for point in points]
    given = [(c, p) for c, p in zip(certificates, points, strict=True) if c.certified]
    if not given:
        return 0, []
    optimum = ClassOracle.of(trial.objective, trial.rows).optimum(given[-1][1])
    return len(given), [v for c, p in given for v in violations(trial, c, p, optimum)]
