"""A certificate from the Hessian at another point: it holds, and only because of what the rows moved in between."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from tests.training.trials import dense_rows

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels import native
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import factorise
from batchlearn.objectives.losses import LOSSES
from batchlearn.solvers import AnchoredPoint
from batchlearn.solvers.newton import Newton
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training.certificate import certify


def posed(name: str, seed: int) -> tuple[Objective, MemoryRows, Floats]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(400, 5))
    eta = X @ rng.normal(size=5) * 0.7
    label = {
        "logistic": (rng.random(400) < 1.0 / (1.0 + np.exp(-eta))).astype(np.float64),
        "poisson": rng.poisson(np.exp(eta)).astype(np.float64),
        "gamma": rng.gamma(2.0, np.exp(eta) / 2.0) + 1e-3,
        "tweedie": rng.poisson(1.0, 400) * rng.gamma(2.0, np.exp(eta)),
    }[name]
    rows = dense_rows(X, label)
    objective = Objective(LOSSES[name], ridge(rows.layout, 10.0 ** -rng.uniform(1, 6)))
    state = Newton().start(objective, rows, objective.null_parameters(rows))
    for _ in range(12):
        state = Newton().step(objective, rows, state)
    return objective, rows, state.parameters


@pytest.mark.parametrize("serving", ["compiled", "NumPy"])
@pytest.mark.parametrize("name", ["logistic", "poisson", "gamma", "tweedie"])
def test_the_bounds_hold_and_need_the_drift(name: str, serving: str) -> None:
    needed = 0
    with native.numpy_serves() if serving == "NumPy" else nullcontext():
        for seed in range(12):
            objective, rows, optimum = posed(name, seed)
            rng = np.random.default_rng(seed + 100)
            point = optimum + 10.0 ** -rng.uniform(3, 6) * rng.normal(size=6)
            anchor = optimum + 0.05 * rng.normal(size=6)
            hessian, here = objective.expand(rows, anchor).hessian, objective.expand(rows, point)
            factor = factorise(hessian, 0.0)
            near = objective.near(rows, point, anchor, factor.diagonal)
            lowered = np.linalg.eigvalsh(here.hessian - np.exp(-near.drift) * hessian)
            assert lowered.min() >= -1e-12 * np.abs(hessian).max()
            needed += np.linalg.eigvalsh(here.hessian - hessian).min() < 0.0
            proof = certify(
                objective, rows, point, None, AnchoredPoint(near, hessian, factorise(hessian, 0.0))
            ).certificate
            whole = certify(objective, rows, point).certificate
            assert proof.certified
            assert proof.loss_bound is not None
            assert whole.loss_bound is not None
            assert proof.kappa is not None
            assert whole.kappa is not None
            distance = point - optimum
            gap = float(0.5 * distance @ here.hessian @ distance)
            assert proof.loss_bound >= 0.95 * gap > 0.0
            assert (proof.radius or 0.0) >= 0.999 * np.sqrt(distance @ here.hessian @ distance)
            assert (proof.coefficient_bound or 0.0) >= np.abs(distance).max() * (1.0 - 1e-9)
            # Looser than with the Hessian of the point and exact leverages, and not by much.
            assert whole.kappa <= proof.kappa <= 20.0 * whole.kappa
            assert proof.loss_bound <= 3.0 * whole.loss_bound
    assert needed >= 10


def test_an_anchor_too_far_away_is_left_for_the_hessian_of_the_point() -> None:
    objective, rows, optimum = posed("poisson", 3)
    anchor = optimum + 1.0
    hessian = objective.expand(rows, anchor).hessian
    near = objective.near(rows, optimum, anchor, factorise(hessian, 0.0).diagonal)
    assert near.drift > 1.0
    found = certify(objective, rows, optimum, None, AnchoredPoint(near, hessian, factorise(hessian, 0.0))).certificate
    assert found == certify(objective, rows, optimum).certificate
