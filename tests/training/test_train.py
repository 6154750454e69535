"""Training on a table: the same coefficients as scikit-learn and statsmodels find on the design written out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import statsmodels.api as sm
from sklearn.linear_model import LogisticRegression, Ridge, TweedieRegressor
from tests.training.made import LOSSES, POWER, Floats, arrow, design, made, recipe_of, table_of

from batchlearn.data import build
from batchlearn.data.rows.threads import thread_count
from batchlearn.errors import UsageError
from batchlearn.models.files import load
from batchlearn.progress import Progress
from batchlearn.tables.table import read
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import iter_train, train
from batchlearn.training.verification.stored import verify_model

TIGHT = 1e-14
ALPHA = 0.0025  # a total penalty of 1 over 400 rows; given, so that nothing else is chosen by data


def coefficients(fit: Fit) -> dict[str, float]:
    """Return the parameters by name, of the standardised columns as the penalty sees them."""
    return dict(zip(fit.model.encoding.names, fit.model.parameters.tolist(), strict=True))


def oracle(loss: str, X: Floats, label: Floats, alpha: float, weight: Floats | None = None) -> tuple[float, Floats]:
    """Minimise mean loss + alpha/2 ||w||^2 with scikit-learn."""
    total = float(len(label)) if weight is None else float(weight.sum())
    if loss == "squared":
        model: Any = Ridge(alpha=alpha * total, tol=1e-14).fit(X, label, weight)
    elif loss in ("poisson", "gamma", "tweedie"):
        power = {"poisson": 1.0, "gamma": 2.0}.get(loss, POWER)
        model = TweedieRegressor(
            power=power, link="log", alpha=alpha, tol=1e-13, max_iter=500, solver="newton-cholesky"
        )
        model.fit(X, label, weight)
    else:
        model = LogisticRegression(C=1.0 / (alpha * total), solver="newton-cholesky", tol=1e-13).fit(X, label, weight)
    return float(np.ravel(model.intercept_)[0]), np.ravel(model.coef_)


def assert_same(fit: Fit, names: list[str], intercept: float, values: Floats, tolerance: float = 1e-6) -> None:
    found = coefficients(fit)
    assert set(found) == {"(intercept)", *names}
    assert found["(intercept)"] == pytest.approx(intercept, abs=tolerance)
    for name, value in zip(names, values, strict=True):
        assert found[name] == pytest.approx(value, abs=tolerance), name


# --- against scikit-learn and statsmodels ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("alpha", [ALPHA, 0.3])
def test_coefficients_are_those_of_scikit_learn(loss: str, alpha: float) -> None:
    columns = made(loss=loss)
    fit = train(table_of(columns), recipe_of(loss, alpha=alpha, tolerance=TIGHT, holdout=0.0), threads=1)
    names, X = design(columns)
    assert fit.certificate.certified
    assert fit.alpha == alpha
    assert_same(fit, names, *oracle(loss, X, columns["label"], fit.alpha))


@pytest.mark.parametrize("loss", LOSSES)
def test_weighted_coefficients_are_those_of_scikit_learn(loss: str) -> None:
    columns = made(loss=loss, seed=1)
    columns["weight"] = np.random.default_rng(1).uniform(0.2, 3.0, 400)
    recipe = recipe_of(loss, alpha=ALPHA, tolerance=TIGHT, holdout=0.0)
    fit = train(table_of(columns, weight="weight"), recipe, threads=1)
    names, X = design(columns, columns["weight"])
    assert_same(fit, names, *oracle(loss, X, columns["label"], fit.alpha, columns["weight"]))


def unpenalised(loss: str, X: Floats, label: Floats, offset: Floats | None = None) -> Any:
    log = sm.families.links.Log()
    family = {
        "squared": sm.families.Gaussian(),
        "poisson": sm.families.Poisson(),
        "logistic": sm.families.Binomial(),
        "gamma": sm.families.Gamma(log),
        "tweedie": sm.families.Tweedie(log, var_power=POWER),
    }[loss]
    # The dispersion is estimated for all but classes: statsmodels leaves it out for counts unless it is asked.
    scale = None if loss == "logistic" else "X2"
    return sm.GLM(label, sm.add_constant(X), family=family, offset=offset).fit(tol=1e-14, maxiter=200, scale=scale)


@pytest.mark.parametrize("loss", LOSSES)
def test_without_a_penalty_a_level_is_the_reference_and_the_fit_is_that_of_statsmodels(loss: str) -> None:
    columns = made(loss=loss, seed=2)
    fit = train(table_of(columns), recipe_of(loss, alpha=0.0, tolerance=TIGHT, holdout=0.0), threads=1)
    names, X = design(columns, reference="blue")
    result = unpenalised(loss, X, columns["label"])
    assert_same(fit, names, result.params[0], result.params[1:])
    assert fit.dispersion == pytest.approx(result.scale, rel=1e-6)
    # From the Hessian as it is; statsmodels' own are from its mean over labels, which differs for amounts.
    observed = -result.model.hessian(result.params, scale=result.scale, observed=True)
    assert fit.model.standard_errors is not None
    assert fit.model.standard_errors == pytest.approx(np.sqrt(np.diag(np.linalg.inv(observed))), rel=1e-5)


@pytest.mark.parametrize("role", ["offset", "exposure", "both"])
def test_offset_and_exposure_are_those_of_statsmodels(role: str) -> None:
    columns = made(loss="poisson", seed=3)
    roles = {"offset": "offset", "exposure": "exposure"} if role == "both" else {role: role}
    known = np.zeros(400)
    known += columns["offset"] if "offset" in roles else 0.0
    known += np.log(columns["exposure"]) if "exposure" in roles else 0.0
    recipe = Recipe("poisson", alpha=0.0, tolerance=TIGHT, holdout=0.0)
    fit = train(table_of(columns, **roles), recipe, threads=1)
    names, X = design(columns, reference="blue")
    result = unpenalised("poisson", X, columns["label"], known)
    assert_same(fit, names, result.params[0], result.params[1:])
    response = fit.model.predict(arrow(columns)).response
    assert response == pytest.approx(result.predict(), rel=1e-6)


def test_coefficients_are_shown_in_the_units_of_the_columns() -> None:
    columns = made(seed=4)
    fit = train(table_of(columns), Recipe(alpha=ALPHA, holdout=0.0), threads=1)
    other = {**columns, "first": columns["first"] * 1000.0}
    scaled = train(table_of(other), Recipe(alpha=ALPHA, holdout=0.0), threads=1)
    assert scaled.coefficients["first"] * 1000.0 == pytest.approx(fit.coefficients["first"], rel=1e-9)
    assert scaled.coefficients["colour = red"] == pytest.approx(fit.coefficients["colour = red"], rel=1e-8)
    assert scaled.standard_errors["first"] * 1000.0 == pytest.approx(fit.standard_errors["first"], rel=1e-9)
    assert set(fit.coefficients) == set(fit.standard_errors) == set(fit.model.encoding.names)


def test_missing_numbers_are_the_mean_and_an_indicator() -> None:
    columns = made(seed=5)
    gone = np.random.default_rng(5).random(400) < 0.2
    columns["first"] = np.where(gone, np.nan, columns["first"])
    recipe = Recipe(alpha=ALPHA, tolerance=TIGHT, holdout=0.0)
    fit = train(table_of(columns, drop=["second", "colour"]), recipe, threads=1)
    known = columns["first"][~gone]
    filled = np.where(gone, 0.0, (columns["first"] - known.mean()) / known.std())
    indicator = (gone - gone.mean()) / gone.std()
    intercept, values = oracle("squared", np.column_stack([filled, indicator]), columns["label"], fit.alpha)
    assert_same(fit, ["first", "first = (missing)"], intercept, values)
    assert any("first (" in note and "indicator" in note for note in map(str, fit.notes))


# --- weights are repeated rows ----------------------------------------------------------------------------------------


def take(columns: Mapping[str, Any], rows: Any) -> dict[str, Any]:
    return {
        name: np.asarray(values, dtype=object if name == "colour" else float)[rows] for name, values in columns.items()
    }


@pytest.mark.parametrize("loss", LOSSES)
def test_a_weight_of_k_is_a_row_repeated_k_times(loss: str) -> None:
    columns = made(loss=loss, seed=6)
    gone = np.random.default_rng(6).random(400) < 0.2
    columns["first"] = np.where(gone, np.nan, columns["first"])
    recipe = recipe_of(loss, alpha=ALPHA, tolerance=TIGHT, holdout=0.0)
    weighted = train(table_of(columns, weight="weight"), recipe, threads=1)
    repeated = train(
        table_of(take(columns, np.repeat(np.arange(400), columns["weight"].astype(int)))), recipe, threads=1
    )
    found, expected = coefficients(weighted), coefficients(repeated)
    # Levels stand in the order of their rows, and weights are no rows.
    assert found == {name: pytest.approx(expected[name], abs=1e-8) for name in found}
    assert weighted.objective == pytest.approx(repeated.objective, rel=1e-12)


@pytest.mark.parametrize("alpha", [ALPHA, None])
@pytest.mark.parametrize("times", [None, "time"])
def test_rows_without_weight_change_nothing_at_all(times: str | None, alpha: float | None) -> None:
    columns = made(seed=7)
    columns["time"] = np.arange(400.0)
    columns["weight"][::5] = 0.0
    kept = take(columns, columns["weight"] > 0.0)
    columns["label"][::5], columns["first"][::5] = 1e6, np.nan
    columns["colour"] = ["never" if i % 5 == 0 else level for i, level in enumerate(columns["colour"])]
    drop = [] if times else ["time"]
    recipe = Recipe(alpha=alpha)
    fits = [
        train(table_of(part, weight="weight", time=times, drop=drop), recipe, threads=1) for part in (columns, kept)
    ]
    assert np.array_equal(fits[0].model.parameters, fits[1].model.parameters)
    assert fits[0].certificate == fits[1].certificate
    assert fits[0].evaluation is not None
    assert fits[1].evaluation is not None
    evaluations = [fit.evaluation.to_json() for fit in fits if fit.evaluation is not None]
    for evaluation in evaluations:  # a row has another number where others stand before it
        evaluation["worst_rows"] = [{**one, "row": None} for one in evaluation["worst_rows"]]
    assert evaluations[0] == evaluations[1]
    assert fits[0].rows.rejected == {"a weight of 0": 80}


# --- the same bits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [ALPHA, None])
@pytest.mark.parametrize("loss", LOSSES)
def test_threads_and_batches_do_not_change_a_bit(
    loss: str, alpha: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "chunk_rows", lambda _columns: 128)
    whole = arrow(made(1000, seed=8, loss=loss))
    found = set()
    for threads, cuts in ((1, [1000]), (2, [1000]), (3, [1000]), (1, [1, 400, 999, 1000]), (2, [*range(50, 1001, 50)])):
        parts = pa.concat_tables([whole.slice(a, b - a) for a, b in zip([0, *cuts[:-1]], cuts, strict=True)])
        table = read(parts, target="label", weight="weight", offset="offset", drop=["exposure"])
        fit = train(table, recipe_of(loss, alpha=alpha), threads=threads)
        certificate = repr(fit.certificate)
        evaluation = repr(None if fit.evaluation is None else fit.evaluation.to_json())
        found.add((fit.model.parameters.tobytes(), certificate, evaluation, repr(fit.model.encoding)))
    assert len(found) == 1


# --- notes and progress ---------------------------------------------------------------------------------------------


def test_a_table_whose_features_all_fall_away_trains_an_intercept() -> None:
    columns = {"label": np.arange(50.0), "one": np.full(50, 3.0), "colour": ["red"] * 50}
    fit = train(table_of(columns), threads=1)
    assert fit.coefficients == {"(intercept)": pytest.approx(24.5)}
    assert fit.certificate.certified
    assert fit.evaluation is not None
    assert any("intercept alone" in note for note in map(str, fit.notes))
    assert fit.model.predict(arrow(columns)).response == pytest.approx(np.full(50, 24.5))


def test_a_table_without_features_trains_an_intercept_and_predicts_every_row() -> None:
    labels = np.array([0.0, 1.0] * 20 + [1.0] * 20)
    fit = train(table_of({"label": labels}), Recipe(holdout=0.0), threads=1)
    assert fit.model.predict(arrow({"label": labels}), bounds=True).response == pytest.approx(np.full(60, 2.0 / 3.0))


def test_few_different_numbers_are_said_to_be_a_measurement() -> None:
    columns = made(seed=9)
    columns["label"] = np.random.default_rng(9).integers(0, 3, 400).astype(float)
    assert any("3 different numbers" in note for note in map(str, train(table_of(columns), threads=1).notes))
    measured = train(table_of(columns), Recipe("squared"), threads=1)
    assert not any("different numbers" in note for note in map(str, measured.notes))
    assert not any("different numbers" in n for n in map(str, train(table_of(made(seed=9)), threads=1).notes))


def test_progress_counts_the_rows_of_each_reading() -> None:
    steps = iter_train(table_of(made(seed=11)), Recipe(alpha=ALPHA), threads=1)
    seen = list[Progress](steps)
    stages = list(dict.fromkeys(step.stage for step in seen))
    assert stages == [
        "reading rows",
        "reading columns",
        "encoding the earlier rows",
        "fitting the earlier rows",
        "encoding the later rows",
        "encoding all rows",
        "fitting all rows",
    ]
    readings = "reading rows", "reading columns", "encoding the earlier rows", "encoding the later rows"
    for stage in (*readings, "encoding all rows"):
        assert sum(step.rows for step in seen if step.stage == stage) == 400
    assert seen[-1].bound is not None


def test_a_table_without_a_target_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        train(read(arrow({"x": [1.0, 2.0]})))
    assert refused.value.code == "no-target"


def test_the_number_of_threads_is_checked() -> None:
    assert thread_count(3) == 3
    assert thread_count(10**6) == 256
    assert 1 <= thread_count(None) <= 8
    with pytest.raises(UsageError) as refused:
        thread_count(0)
    assert refused.value.code == "threads-range"


def test_a_very_large_penalty_hides_no_columns_behind_rounding() -> None:
    for alpha in (1e3, 1e20, 1e100):
        fit = train(table_of(made(seed=12)), Recipe(alpha=alpha, holdout=0.0), threads=1)
        assert not any("repeat each other" in note for note in map(str, fit.notes))
        assert abs(fit.coefficients["first"]) < 1e-2


def test_training_leaves_its_recipe_alone() -> None:
    recipe = Recipe(alpha=0.0, holdout=0.0)
    fit = train(table_of(made(seed=13)), recipe, threads=1)
    assert fit.recipe == replace(recipe) == Recipe(alpha=0.0, holdout=0.0)


# --- amounts --------------------------------------------------------------------------------------------------------


def test_the_power_of_the_earlier_rows_is_used_for_all_and_said() -> None:
    columns = made(1500, seed=9, loss="tweedie")
    table = table_of(columns, drop=["weight", "offset", "exposure"])
    fit = train(table, Recipe("tweedie", alpha=ALPHA), threads=1)
    power = fit.model.target.power
    assert power is not None
    said = f"The Tweedie power {power:g} was chosen by profile likelihood on 1,200 of"
    assert any(said in note for note in map(str, fit.notes))
    again = train(table, Recipe("tweedie", alpha=ALPHA, power=power), threads=1)
    assert np.array_equal(again.model.parameters, fit.model.parameters)
    assert fit.to_json()["power"] == power
    assert not any("power" in note for note in map(str, again.notes))


@pytest.mark.parametrize("loss", ["gamma", "tweedie"])
def test_a_model_of_amounts_is_saved_loaded_and_verified(loss: str, tmp_path: Path) -> None:
    table = table_of(made(loss=loss, seed=10), exposure="exposure", drop=["offset", "weight"])
    fit = train(table, recipe_of(loss), threads=1)
    path = fit.save(tmp_path / "model")
    loaded = load(path)
    assert loaded.target == fit.model.target
    scored = loaded.predict(table, bounds=True)
    assert np.all(scored.response > 0.0)
    assert scored.bound is not None
    assert fit.certificate.prediction_bound is not None
    # The certificate took its radius from the leverage bound on kappa, the model from the exact one: a hair less.
    assert scored.bound.max() <= fit.certificate.prediction_bound
    assert scored.bound.max() == pytest.approx(fit.certificate.prediction_bound, rel=1e-2)
    assert verify_model(path, table, threads=1).holds
    assert fit.evaluation is not None
    assert fit.evaluation.leave_one_out is not None
    assert fit.evaluation.leave_one_out.metric == f"{loss}_deviance"
