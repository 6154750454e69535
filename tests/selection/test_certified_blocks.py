"""Certificates of additive models against 60-digit arithmetic: difference penalties, centres, products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.objectives.oracle import Oracle, exact
from tests.training.trials import Trial, amounts, check, points

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels.design import Layout
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.penalties.smoothing import UnitPenalty, differences, product, squares
from batchlearn.selection.penalty_selection import PenalisedTerm, penalty
from batchlearn.statistics.objective import Objective
from batchlearn.training.certificate import Units, certify

_TRIALS = 40


def units_of(rng: np.random.Generator) -> list[UnitPenalty]:
    """Draw two or three groups of levels: bins, a cycle, a category, a pair."""
    first, second = int(rng.integers(3, 6)), int(rng.integers(2, 4))
    kinds = [
        differences(first, int(rng.integers(0, 2))),
        differences(first + 1, cyclic=True),
        squares(second),
        product(differences(3), squares(second) if rng.random() < 0.5 else differences(second)),
    ]
    return [kinds[int(k)] for k in rng.permutation(4)[: int(rng.integers(2, 4))]]


def block_trial(rng: np.random.Generator, loss: str) -> Trial:
    """Draw a small additive problem with strengths of every size."""
    units, n = units_of(rng), int(rng.integers(12, 30))
    levels = [len(unit.matrix) for unit in units]
    codes = np.stack([rng.integers(0, k + (rng.random() < 0.3), n) for k in levels]).astype(np.int32)
    layout = Layout(True, 0, tuple(levels))
    eta = np.clip(sum(rng.normal(size=k + 1)[c] for k, c in zip(levels, codes, strict=True)), -3.0, 3.0)
    draw: dict[str, Callable[[], Any]] = {
        "squared": lambda: (eta + rng.normal(size=n)) * 10.0 ** rng.uniform(-3, 5),
        "logistic": lambda: (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(float),
        "poisson": lambda: rng.poisson(np.exp(eta)).astype(float),
        "gamma": lambda: amounts(rng, loss, np.exp(eta)),
        "tweedie": lambda: amounts(rng, loss, np.exp(eta)),
    }
    label = draw[loss]()
    label[0], label[-1] = (0.0, 1.0) if loss == "logistic" else (label[0], label[-1] + (loss in ("poisson", "tweedie")))
    weight = rng.uniform(0.1, 10.0, n) if rng.random() < 0.5 else None
    cut = int(rng.integers(1, n))
    chunks = tuple(
        StoredChunk(np.zeros((0, stop - start)), codes[:, start:stop], label[start:stop], part)
        for start, stop in ((0, cut), (cut, n))
        for part in [None if weight is None else weight[start:stop]]
    )
    rows = MemoryRows(layout, chunks, np.zeros(0), np.ones(0))
    terms = [PenalisedTerm(part, unit) for part, unit in zip(layout.group_slices, units, strict=True)]
    strengths = 10.0 ** rng.uniform(-3, 5, len(terms))
    quadratic = penalty(terms, list(strengths), layout.size).over(rows.total_weight)
    return Trial("blocks", loss, Objective(LOSSES[loss], quadratic), rows, Units.plain(layout.size))


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_no_bound_is_below_the_truth(loss: str) -> None:
    certified, ends, tightness = 0, 0, []
    for number in range(_TRIALS // len(LOSSES)):
        rng = np.random.default_rng((11, sorted(LOSSES).index(loss), number))
        trial = block_trial(rng, loss)
        found = [
            (point, w, certify(trial.objective, trial.rows, w, trial.units).certificate)
            for point, w in points(trial, rng)
        ]
        proved = [(point, w, certificate) for point, w, certificate in found if certificate.certified]
        ends += any(point == "end" for point, _, _ in proved)
        oracle = Oracle.of(trial.objective, trial.rows)
        optimum = oracle.optimum(proved[-1][1]) if proved else []
        for point, w, certificate in proved:
            verdict = check(trial, certificate, w, oracle, optimum)
            assert verdict.violations == (), (number, point)
            certified += 1
            if np.isfinite(verdict.tightness):
                tightness.append(verdict.tightness)
    assert certified > 3 * _TRIALS // len(LOSSES)
    assert ends >= 0.9 * _TRIALS / len(LOSSES)
    assert np.median(tightness) < 1.2


def test_the_oracle_knows_the_blocks() -> None:
    trial = block_trial(np.random.default_rng(12), "logistic")
    oracle = Oracle.of(trial.objective, trial.rows)
    w = np.random.default_rng(13).normal(size=trial.rows.layout.size)
    expansion = trial.objective.expand(trial.rows, w)
    point = exact(w)
    assert float(oracle.value(point)) == pytest.approx(expansion.value, rel=1e-12)
    assert [float(v) for v in oracle.gradient(point)] == pytest.approx(list(expansion.gradient), rel=1e-9)
    hessian = np.asarray(oracle.hessian(point).tolist(), dtype=np.float64)
    assert hessian == pytest.approx(expansion.hessian, rel=1e-9)
