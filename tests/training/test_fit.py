"""A fit: what came out, in plain values, that agrees with itself."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.training.made import arrow, design, made, table_of

from batchlearn.models.files import read_model
from batchlearn.objectives.losses import LOSSES
from batchlearn.training.fit import Fit
from batchlearn.training.optimise import Status
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train

ALPHA = 0.0025  # given, so that nothing else is chosen by data


@pytest.fixture(scope="module")
def fit() -> Fit:
    columns = made(loss="poisson")
    columns["time"] = np.arange(400.0)
    return train(table_of(columns, time="time"), Recipe("poisson", ALPHA, seed=3), threads=1)


def test_the_objective_is_the_mean_loss_plus_the_penalty_of_the_parameters(fit: Fit) -> None:
    columns = made(loss="poisson")
    names, X = design(columns)
    position = {name: j for j, name in enumerate(fit.model.encoding.names)}
    weights = np.array([fit.model.parameters[position[name]] for name in names])
    eta = fit.model.parameters[0] + X @ weights
    value = LOSSES["poisson"].value(eta, columns["label"]).mean() + 0.5 * fit.alpha * weights @ weights
    assert fit.objective == pytest.approx(value, rel=1e-12)
    mean = np.full(400, np.log(columns["label"].mean()))
    assert fit.null_objective == pytest.approx(LOSSES["poisson"].value(mean, columns["label"]).mean(), rel=1e-12)
    assert fit.objective < fit.null_objective


def test_no_other_parameters_are_better_than_the_certificate_allows(fit: Fit) -> None:
    columns = made(loss="poisson")
    columns["time"] = np.arange(400.0)
    closest = train(table_of(columns, time="time"), Recipe("poisson", ALPHA, 1e-15, 0.0), threads=1)
    certificate = fit.certificate
    assert certificate.loss_bound is not None
    assert certificate.coefficient_bound is not None
    assert certificate.prediction_bound is not None
    assert fit.objective <= closest.objective + certificate.loss_bound
    ours, theirs = fit.coefficients, closest.coefficients
    assert max(abs(ours[name] - theirs[name]) for name in ours) <= certificate.coefficient_bound
    shown = [f.model.predict(arrow(columns), bounds=True) for f in (fit, closest)]
    assert np.max(np.abs(shown[0].response - shown[1].response)) <= certificate.prediction_bound
    assert shown[0].bound is not None
    assert np.all(np.abs(shown[0].response - shown[1].response) <= shown[0].bound)


def test_what_is_printed_is_plain_and_complete(fit: Fit) -> None:
    record = json.loads(json.dumps(fit.to_json(), allow_nan=False))
    assert set(record) >= {
        "format_version", "rows", "coefficients", "seed", "certificate", "objective", "passes", "seconds", "encoding",
        "evaluation",
    }  # fmt: skip
    assert record["rows"] == {"read": 400, "used": 400, "unlabelled": 0, "rejected": {}}
    assert record["coefficients"] == len(fit.model.parameters) == len(fit.coefficients)
    assert record["seed"] == 3
    assert record["certificate"]["status"] == "certified"
    assert record["certificate"]["rows"] == 400
    assert record["status"] == Status.TOLERANCE.value
    assert set(record["evaluation"]) >= {"rows", "metrics", "baselines", "leave_one_out"}


def test_the_trace_goes_down_and_the_passes_up(fit: Fit) -> None:
    values, passes = [step.value for step in fit.trace], [step.passes for step in fit.trace]
    assert len(fit.trace) >= 2
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(values))
    assert passes == sorted(set(passes))
    assert fit.passes > passes[-1]


def test_a_saved_fit_keeps_its_record_and_predicts_the_same(fit: Fit, tmp_path: Path) -> None:
    path = fit.save(tmp_path / "model")
    stored = read_model(path)
    assert stored.record["recipe"] == fit.recipe.to_json()
    assert stored.record["certificate"] == fit.certificate.to_json()
    columns = arrow(made(50, 1, "poisson"))
    assert np.array_equal(stored.model.predict(columns).response, fit.model.predict(columns).response)


def test_without_a_factor_there_are_no_standard_errors(fit: Fit) -> None:
    assert set(fit.standard_errors) == set(fit.coefficients)
    assert all(value > 0.0 for value in fit.standard_errors.values())
    assert replace(fit, model=replace(fit.model, standard_errors=None)).standard_errors == {}
