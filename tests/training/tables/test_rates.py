"""Rates: an exposure makes the label a count for so much of it, and the constant a rate times the exposure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

import batchlearn as bl
from batchlearn.errors import UsageError
from batchlearn.evaluation.baselines import constant_beside_offset
from batchlearn.formatting.notes import Code
from batchlearn.models.files import load
from batchlearn.retraining.cycle.candidate import contest

Floats = NDArray[np.float64]


def deviance(label: Floats, mean: Floats, power: float) -> float:
    """Return the mean unit deviance of a Tweedie family, as textbooks write it."""
    positive = np.where(label > 0.0, label, 1.0)
    if power == 1.0:
        return float(np.mean(2.0 * (label * np.log(positive / mean) - label + mean)))
    if power == 2.0:
        return float(np.mean(2.0 * (label / mean - 1.0 - np.log(label / mean))))
    a, b = 1.0 - power, 2.0 - power
    return float(np.mean(2.0 * (np.where(label > 0.0, positive**b, 0.0) / (a * b) - label * mean**a / a + mean**b / b)))


def portfolio(rows: int = 6_000) -> dict[str, Floats]:
    """Claims of policies that run for a part of a year, most of them shorter than the others; the later ones longer."""
    rng = np.random.default_rng(3)
    age, when = rng.uniform(18.0, 80.0, rows), np.arange(float(rows))
    years = np.clip(rng.beta(0.6, 0.8, rows) * (0.3 + 0.7 * when / rows), 0.01, 1.0)
    claims = rng.poisson(years * 0.4 * np.exp(0.01 * (50.0 - age))).astype(float)
    return {"age": age, "years": years, "claims": claims, "when": when}


ROLES: dict[str, Any] = {"target": "claims", "exposure": "years", "time": "when"}


@pytest.fixture(scope="module")
def fit() -> bl.Fit:
    return bl.train(bl.read(portfolio(), **ROLES), bl.Recipe(alpha=1e-4))


def test_an_exposure_means_a_rate_and_that_is_said(fit: bl.Fit) -> None:
    assert fit.model.loss == "poisson"
    (note,) = [note for note in fit.notes if note.code is Code.TAKEN_AS_RATE]
    assert "--loss gamma" in str(note)
    said = bl.train(bl.read(portfolio(), **ROLES), bl.Recipe(alpha=1e-4, loss="poisson")).notes
    assert not [note for note in said if note.code is Code.TAKEN_AS_RATE]


@pytest.mark.parametrize("loss", ["squared", "huber", "logistic", "softmax"])
def test_losses_without_a_log_link_refuse_an_exposure(loss: str) -> None:
    columns = portfolio(200)
    columns["claims"] = columns["claims"].clip(max=1.0)
    with pytest.raises(UsageError, match="--loss poisson, gamma or tweedie") as refused:
        bl.train(bl.read(columns, **ROLES), bl.Recipe(loss=loss))
    assert refused.value.code == "exposure-loss"
    text = {**columns, "claims": pa.array(np.where(columns["claims"] > 0.0, "some", "none"))}
    with pytest.raises(UsageError, match="'claims' holds text"):
        bl.train(bl.read(text, **ROLES))


def test_the_constant_of_a_training_is_the_earlier_rate_times_the_exposure(fit: bl.Fit) -> None:
    columns = portfolio()
    early, late = columns["when"] < 4_800, columns["when"] >= 4_800
    rate = columns["claims"][early].sum() / columns["years"][early].sum()
    label, mean = columns["claims"][late], rate * columns["years"][late]
    evaluation = fit.evaluation
    assert evaluation is not None
    constant = evaluation.baselines["constant"]
    assert constant["poisson_deviance"].value == pytest.approx(deviance(label, mean, 1.0), rel=1e-12)
    # D2 is against the rate of the very rows that are scored, so that another rate has less than 0.
    own = label.sum() / columns["years"][late].sum() * columns["years"][late]
    best = deviance(label, own, 1.0)
    assert constant["d2"].value == pytest.approx(1.0 - deviance(label, mean, 1.0) / best, abs=1e-12)
    model = evaluation.metrics["poisson_deviance"].value
    assert model is not None
    assert evaluation.metrics["d2"].value == pytest.approx(1.0 - model / best, abs=1e-12)
    # The mean of the labels, whatever the exposure, is far worse: against it the model would look four times better.
    flat = deviance(label, np.full(len(label), columns["claims"][early].mean()), 1.0)
    assert 1.0 - model / flat > 4.0 * (1.0 - model / deviance(label, mean, 1.0)) > 0.0
    assert evaluation.differences["constant"].value == pytest.approx(model - deviance(label, mean, 1.0), abs=1e-12)
    # The last value is the last rate: a + b * last, weighted by the exposures, times the exposure.
    rates, weight = columns["claims"] / columns["years"], columns["years"][1:4_800]
    before, after = rates[:4_799], rates[1:4_800]
    middle, level = np.average(before, weights=weight), np.average(after, weights=weight)
    spread = np.average((before - middle) ** 2, weights=weight)
    slope = np.clip(np.average((before - middle) * (after - level), weights=weight) / spread, 0.0, 1.0)
    last = np.maximum(level + slope * (rates[4_799:-1] - middle), 0.01 * rate) * columns["years"][late]
    assert evaluation.baselines["last_value"]["mae"].value == pytest.approx(np.abs(label - last).mean(), rel=1e-9)


def test_the_null_objective_is_that_of_the_rate(fit: bl.Fit) -> None:
    columns = portfolio()
    rate = columns["claims"].sum() / columns["years"].sum()
    assert 2.0 * fit.null_objective == pytest.approx(deviance(columns["claims"], rate * columns["years"], 1.0))
    assert fit.model.offset_constant == pytest.approx(np.log(rate), abs=1e-12)


def test_a_stored_model_keeps_the_rate_for_evaluate_and_the_gate(fit: bl.Fit, tmp_path: Any) -> None:
    fit.save(tmp_path / "model")
    model = load(tmp_path / "model")
    others = portfolio(9_000)
    others = {name: values[6_000:] for name, values in others.items()}
    columns = portfolio()
    rate = columns["claims"].sum() / columns["years"].sum()
    expected = deviance(others["claims"], rate * others["years"], 1.0)
    table = bl.read(others, **ROLES)
    found = bl.evaluate(model, table)
    assert found.baselines["constant"]["poisson_deviance"].value == pytest.approx(expected, rel=1e-12)
    gone = replace(model, target=replace(model.target, column="claims", loss="gamma"))
    stood_in, _, *_ = contest(gone, model, table).losses()
    assert stood_in.mean() == pytest.approx(expected, rel=1e-12)
    # Files of before know the mean of the labels alone: the rate is that of the very rows, which flatters the baseline.
    own = others["claims"].sum() / others["years"].sum()
    old = bl.evaluate(replace(model, offset_constant=None), table)
    best = deviance(others["claims"], own * others["years"], 1.0)
    assert old.baselines["constant"]["poisson_deviance"].value == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize(("loss", "power"), [("poisson", 1.0), ("gamma", 2.0), ("tweedie", 1.3), ("tweedie", 1.9)])
def test_d2_of_every_log_link_is_against_the_best_rate(loss: str, power: float) -> None:
    rng = np.random.default_rng(7)
    x, size = rng.normal(size=800), rng.gamma(0.7, 2.0, 800) + 0.05
    label = size * np.exp(0.3 * x) * rng.gamma(2.0, 0.5, 800)
    if loss != "gamma":
        label *= rng.random(800) < 0.7
    recipe = bl.Recipe(loss=loss, power=power if loss == "tweedie" else None, alpha=1e-3)
    table = bl.read({"x": x, "size": size, "label": label}, target="label", exposure="size")
    model = bl.train(table, recipe).model
    found = bl.evaluate(model, table)
    rate = np.sum(label * size ** (1.0 - power)) / np.sum(size ** (2.0 - power))
    assert model.offset_constant == pytest.approx(np.log(rate), abs=1e-12)
    nearby = [deviance(label, rate * step * size, power) for step in (0.999, 1.0, 1.001)]
    assert min(nearby) == nearby[1]
    expected = 1.0 - deviance(label, model.predict(table).response, power) / nearby[1]
    assert found.metrics["d2"].value == pytest.approx(expected, abs=1e-12)
    assert found.baselines["constant"]["d2"].value == pytest.approx(0.0, abs=1e-12)
    low, high = found.metrics["d2"].low, found.metrics["d2"].high
    assert low is not None
    assert high is not None
    assert low < expected < high


def test_an_offset_of_numbers_is_part_of_the_constant_and_of_r2() -> None:
    rng = np.random.default_rng(1)
    x, known = rng.normal(size=500), 10.0 * rng.normal(size=500)
    label = known + x + rng.normal(size=500)
    table = bl.read({"x": x, "known": known, "label": label}, target="label", offset="known")
    model = bl.train(table, bl.Recipe(alpha=1e-3)).model
    found = bl.evaluate(model, table)
    rest = label - known
    assert found.baselines["constant"]["mse"].value == pytest.approx(rest.var(), rel=1e-12)
    error = np.mean((label - model.predict(table).response) ** 2)
    assert found.metrics["r2"].value == pytest.approx(1.0 - error / rest.var(), abs=1e-12)


def test_the_constant_of_classes_beside_offsets_is_a_probability_a_row() -> None:
    rng = np.random.default_rng(2)
    known = 2.0 * rng.normal(size=1_000)
    label = (rng.random(1_000) < 1.0 / (1.0 + np.exp(-known + 0.5))).astype(float)
    table = bl.read({"x": rng.normal(size=1_000), "known": known, "label": label}, target="label", offset="known")
    model = bl.train(table, bl.Recipe(alpha=1e-3)).model
    assert model.offset_constant is not None
    # At the best constant probabilities add up to the labels.
    assert np.sum(1.0 / (1.0 + np.exp(-known - model.offset_constant))) == pytest.approx(label.sum(), rel=1e-12)


def test_far_offsets_and_weights_do_not_lose_the_root() -> None:
    rng = np.random.default_rng(5)
    offset, weight = rng.normal(300.0, 3.0, 100), rng.gamma(1.0, 1.0, 100)
    label = rng.poisson(3.0, 100).astype(float)
    found = constant_beside_offset(bl.train(bl.read(portfolio(300), **ROLES)).model.target, label, weight, offset)
    assert found == pytest.approx(np.log(np.sum(weight * label) / np.sum(weight * np.exp(offset - 300.0))) - 300.0)


def test_few_whole_numbers_may_be_counts_or_classes_and_both_flags_are_named() -> None:
    rng = np.random.default_rng(4)
    x, label = rng.normal(size=300), rng.integers(0, 4, 300).astype(float)
    for shift, named in ((0.0, True), (0.5, False), (-2.0, False)):
        fit = bl.train(bl.read({"x": x, "y": label + shift}, target="y"))
        (note,) = [str(note) for note in fit.notes if note.code is Code.TAKEN_AS_NUMBER]
        assert "--loss softmax" in note
        assert ("--loss poisson" in note) == named


def test_rows_that_differ_in_exposure_weight_or_offset_alone_are_no_repeats() -> None:
    rng = np.random.default_rng(6)
    years = rng.uniform(0.1, 1.0, 100)
    columns = {"age": np.repeat(rng.uniform(18.0, 80.0, 50), 2), "claims": np.repeat(np.arange(50.0) % 3, 2)}
    for role in ("exposure", "weight", "offset"):
        for extra, repeated in ((years, 0), (np.repeat(years[:50], 2), 50)):
            table = bl.read({**columns, "extra": extra}, target="claims", **dict[str, Any]({role: "extra"}))
            fit = bl.train(table, bl.Recipe(loss="poisson", holdout=0.0))
            assert fit.summary is not None
            assert fit.summary.repeated_rows == repeated
