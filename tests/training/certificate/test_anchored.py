"""A certificate from the Hessian at another point: it holds, and only because of what the rows moved in between."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.training.trials import dense_rows

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels import native
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import factorise
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.stopping import LossWithin, PredictionsWithin, Stopping
from batchlearn.solvers import AnchoredPoint
from batchlearn.solvers.newton import Newton
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training import certificate as certificates
from batchlearn.training.certificate import Units, certify
from batchlearn.training.optimise import Problem, Status, optimise


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
                objective, rows, point, None, AnchoredPoint(near, hessian, factorise(hessian, 0.0), anchor)
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
    found = certify(
        objective, rows, optimum, None, AnchoredPoint(near, hessian, factorise(hessian, 0.0), anchor)
    ).certificate
    assert found == certify(objective, rows, optimum).certificate


def posed_with(stopping: Stopping) -> Problem:
    rng = np.random.default_rng(6)
    X = rng.normal(size=(400, 5))
    label = (rng.random(400) < 1.0 / (1.0 + np.exp(-X @ rng.normal(size=5)))).astype(np.float64)
    rows = dense_rows(X, label)
    objective = Objective(LOSSES["logistic"], ridge(rows.layout, 1e-3))
    return Problem(objective, rows, stopping, Units.plain(6), [f"column {j}" for j in range(6)])


def test_a_hessian_of_the_point_is_read_and_factored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    posed, read = posed_with(PredictionsWithin()), list[Any]()
    expand = Objective.expand

    def watched(self: Objective, rows: Any, parameters: Any) -> Any:
        read.append(parameters)
        return expand(self, rows, parameters)

    monkeypatch.setattr(Objective, "expand", watched)
    found = optimise(posed)
    assert len(read) == len(found.trace)
    known = found.certification.certificate
    again = certify(posed.objective, posed.rows, found.parameters, posed.units).certificate
    assert (known.loss_bound, known.radius, known.kappa) == (again.loss_bound, again.radius, again.kappa)


def test_where_leverages_cost_too_much_one_more_reading_certifies(monkeypatch: pytest.MonkeyPatch) -> None:
    posed = replace(posed_with(LossWithin(1e-9)), quick=True)
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "LeverageTotal", None)  # nobody can call it
        found = optimise(posed)
    assert all(step.decrement is not None for step in found.trace)
    assert found.status is Status.TOLERANCE
    best = optimise(posed_with(LossWithin(1e-14)), None, LimitedMemory())
    assert found.value - best.value <= (found.certification.certificate.loss_bound or -1.0) + 1e-15


def test_the_hessian_of_some_rows_is_a_bound_by_their_share_alone() -> None:
    needed = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(1200, 3))
        X[::4] *= 4.0  # rows of a sample of every fourth say more than the others
        label = (rng.random(1200) < 1.0 / (1.0 + np.exp(-X @ rng.normal(size=3)))).astype(np.float64)
        rows = dense_rows(X, label)
        objective = Objective(LOSSES["logistic"], ridge(rows.layout, 1e-5))
        best = optimise(Problem(objective, rows, LossWithin(1e-13), Units.plain(4), list("abcd"))).parameters
        point = best + 1e-4 * rng.normal(size=4)
        sample = rows.thin(4)
        share = sample.total_weight / rows.total_weight
        hessian = objective.expand(sample, point).hessian
        factor = factorise(hessian, 0.0)
        near = objective.near(rows, point, point, factor.diagonal)
        proof = certify(objective, rows, point, None, AnchoredPoint(near, hessian, factor, point, share)).certificate
        wrong = certify(objective, rows, point, None, AnchoredPoint(near, hessian, factor, point)).certificate
        distance, here = point - best, objective.expand(rows, point).hessian
        gap = float(0.5 * distance @ here @ distance)
        assert proof.method == certificates.BOUNDED
        assert (proof.loss_bound or 0.0) >= 0.99 * gap > 0.0
        assert (proof.radius or 0.0) >= 0.999 * np.sqrt(distance @ here @ distance)
        assert (proof.coefficient_bound or 0.0) >= np.abs(distance).max() * (1.0 - 1e-9)
        assert (proof.loss_bound or 0.0) <= 1.5 * gap / share**1.5
        needed += (wrong.loss_bound or 0.0) < 0.99 * gap
    assert needed >= 10, "no bound needs the share"


def test_an_anchor_that_is_too_far_away_costs_no_other_reading_where_steps_are_cheaper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective, rows, optimum = posed("logistic", 0)
    anchor = optimum + 3.0
    hessian = objective.expand(rows, anchor).hessian
    anchored = AnchoredPoint(None, hessian, factorise(hessian, 0.0), anchor)
    assert certify(objective, rows, optimum, None, anchored).certificate.method == certificates.EXACT

    def unwanted(*_: Any) -> None:
        raise AssertionError("the rows were read once more")

    monkeypatch.setattr(Objective, "gradient_error", unwanted)
    monkeypatch.setattr(Objective, "expand", unwanted)
    found = certify(objective, rows, optimum, None, anchored, steps_are_cheaper=True).certificate
    assert (found.certified, found.loss_bound) == (False, None)
