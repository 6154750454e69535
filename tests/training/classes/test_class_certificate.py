"""Certificates of several classes against 60-digit optima."""

from __future__ import annotations

import numpy as np
import pytest
from tests.training.classes.class_trials import ClassOracle, judge_classes, random_class_trial, violations
from tests.training.trials import FAMILIES

from batchlearn.objectives.stopping import PredictionsWithin
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training import certificate as certificates
from batchlearn.training.certificate import BOUNDED, EXACT, LOWER_BOUND, certify
from batchlearn.training.optimise import Problem, Status, optimise


@pytest.mark.parametrize("family", list(FAMILIES))
def test_no_bound_is_below_the_truth(family: str) -> None:
    given = 0
    for seed in range(2):
        certified, wrong = judge_classes(random_class_trial(np.random.default_rng((3, seed)), family))
        assert wrong == []
        given += certified
    assert given > 0 or family in ("wild_weights", "faint_penalty", "scaled", "shifted", "everything")


def test_the_lower_bound_serves_where_there_are_too_many_coefficients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "FACTOR_LIMIT", 0)
    given = 0
    for seed in range(6):
        trial = random_class_trial(np.random.default_rng((5, seed)), "plain")
        names = ["x"] * trial.rows.layout.size
        problem = Problem(trial.objective, trial.rows, PredictionsWithin(), trial.units, names)
        optimum = optimise(problem)
        certificate = certify(trial.objective, trial.rows, optimum.parameters, trial.units).certificate
        if certificate.certified:
            assert certificate.method == LOWER_BOUND
            truth = ClassOracle.of(trial.objective, trial.rows).optimum(optimum.parameters)
            assert violations(trial, certificate, optimum.parameters, truth) == []
            given += 1
    assert given >= 3


def test_a_proof_alone_has_a_factor_only_where_nothing_is_proved_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "KEPT_COEFFICIENTS", 0)
    spared = factored = 0
    for seed in range(6):
        trial = random_class_trial(np.random.default_rng((11, seed)), "plain")
        names = ["x"] * trial.rows.layout.size
        problem = Problem(trial.objective, trial.rows, PredictionsWithin(), trial.units, names, proof_alone=True)
        found = optimise(problem, solver=LimitedMemory())
        proof = found.certification
        assert found.status is Status.TOLERANCE
        assert (proof.factor is None) == (proof.certificate.method == LOWER_BOUND)
        truth = ClassOracle.of(trial.objective, trial.rows).optimum(found.parameters)
        assert violations(trial, proof.certificate, found.parameters, truth) == []
        spared += proof.factor is None
        free = Objective(trial.objective.loss, ridge(trial.rows.layout, 0.0, outputs=trial.objective.loss.outputs))
        factored += certify(free, trial.rows, found.parameters, proof_alone=True).expansion is not None
    assert (spared, factored) == (6, 6)


def test_a_fit_of_classes_ends_certified() -> None:
    trial = random_class_trial(np.random.default_rng((7, 1)), "plain")
    names = ["x"] * trial.rows.layout.size
    found = optimise(Problem(trial.objective, trial.rows, PredictionsWithin(), trial.units, names))
    assert found.certification.certificate.method in (EXACT, BOUNDED)
    assert found.certification.leave_one_out is not None
    assert found.status is Status.TOLERANCE
