"""Weights: only how they compare counts, unless they are frequencies, which are repeated rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import statsmodels.api as sm

import batchlearn as bl
from batchlearn.errors import DataError, ResourceError, UsageError
from batchlearn.formatting.rejections import Rejection
from batchlearn.kernels.design import Floats
from batchlearn.training.fit import Fit
from batchlearn.training.verification.stored import verify_model

ROWS = 900
SCALES = (1e-3, 1e3, 7.3)
POWER = 1.5
LABELS = ("squared", "logistic", "poisson", "gamma", "tweedie", "huber", "softmax")


def rows_of(loss: str, rows: int = ROWS, seed: int = 0) -> dict[str, Any]:
    """Draw two numbers, a category, times, weights of importance and frequencies, and a label that bends."""
    rng = np.random.default_rng(seed)
    first, second, colour = rng.normal(size=rows), rng.exponential(size=rows), rng.integers(0, 3, rows)
    eta = np.sin(2.0 * first) - 0.3 * second + np.array([0.4, -0.4, 0.0])[colour]
    mean = np.exp(0.5 * eta)
    drawn: dict[str, Any] = {
        "squared": lambda: eta + 0.5 * rng.normal(size=rows),
        "huber": lambda: eta + 0.5 * rng.standard_t(3, size=rows),
        "logistic": lambda: np.where(rng.random(rows) < 1.0 / (1.0 + np.exp(-2.0 * eta)), "yes", "no"),
        "softmax": lambda: np.array(["a", "b", "c"])[
            np.argmax(np.c_[eta, -eta, 0.0 * eta] + rng.gumbel(size=(rows, 3)), 1)
        ],
        "poisson": lambda: rng.poisson(mean).astype(float),
        "gamma": lambda: rng.gamma(2.0, mean / 2.0),
        "tweedie": lambda: np.where(rng.random(rows) < 0.3, 0.0, rng.gamma(2.0, mean / 2.0)),
    }
    return {
        "first": first,
        "second": second,
        "colour": np.array(["blue", "green", "red"])[colour],
        "at": np.arange(rows, dtype=float),
        "weight": rng.uniform(0.2, 3.0, rows),
        "often": rng.integers(0, 4, rows).astype(float),
        "y": drawn[loss](),
    }


def trained(columns: Mapping[str, Any], recipe: bl.Recipe, **roles: Any) -> Fit:
    drop = sorted({"weight", "often", "at"} - {value for value in roles.values() if isinstance(value, str)})
    return bl.train(bl.read(columns, target="y", drop=drop, **roles), recipe, threads=1)


def same(fit: Fit, other: Fit) -> None:
    """Check that two fits are one in all that they say."""
    assert fit.model.encoding.names == other.model.encoding.names
    assert fit.model.encoding.groups == other.model.encoding.groups
    assert fit.model.parameters == pytest.approx(other.model.parameters, rel=1e-9, abs=1e-9)
    assert fit.model.standard_errors == pytest.approx(other.model.standard_errors, rel=1e-6)
    assert fit.dispersion == pytest.approx(other.dispersion, rel=1e-9)
    assert fit.alpha == pytest.approx(other.alpha, rel=1e-12)
    assert fit.structure.name == other.structure.name
    assert fit.structure.pairs == other.structure.pairs
    assert dict(fit.structure.strengths) == pytest.approx(dict(other.structure.strengths), rel=1e-6)
    assert fit.certificate.certified
    assert other.certificate.certified
    assert fit.objective == pytest.approx(other.objective, rel=1e-12)
    if fit.evaluation is None or other.evaluation is None:
        assert fit.evaluation is other.evaluation
        return
    found, expected = (one.to_json() for one in (fit.evaluation, other.evaluation))
    for metrics in ("metrics", "baselines"):
        assert str(found[metrics].keys()) == str(expected[metrics].keys())
    for name, metric in found["metrics"].items():
        assert metric == pytest.approx(expected["metrics"][name], rel=1e-6, nan_ok=True), name


# --- the scale ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [None, 0.0])
@pytest.mark.parametrize("loss", LABELS)
def test_a_scale_of_all_weights_changes_nothing(loss: str, alpha: float | None) -> None:
    columns = rows_of(loss)
    recipe = bl.Recipe(loss, alpha=alpha)
    fit = trained(columns, recipe, weight="weight")
    assert fit.model.weight_constant == pytest.approx(columns["weight"].mean(), rel=1e-14)
    for scale in SCALES:
        scaled = trained({**columns, "weight": scale * columns["weight"]}, recipe, weight="weight")
        same(scaled, fit)
        assert scaled.model.weight_constant == pytest.approx(scale * columns["weight"].mean(), rel=1e-14)


@pytest.mark.parametrize("scale", [1.0, *SCALES])
def test_the_standard_error_of_three_thousand_rows_is_what_it_is(scale: float) -> None:
    """Weights times 0.001 made it 0.998, and times 1,000 it was 0.0006; statsmodels has 0.018 for all of them."""
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=3_000), rng.uniform(0.5, 1.5, 3_000)
    y = 0.8 * x + rng.normal(size=3_000) / np.sqrt(weight)
    table = bl.read({"x": x, "w": scale * weight, "y": y}, target="y", weight="w")
    plain = bl.train(table, bl.Recipe("squared", alpha=0.0))
    peer = sm.GLM(y, sm.add_constant(x), var_weights=scale * weight).fit()
    assert plain.standard_errors["x"] == pytest.approx(0.018, abs=1e-3)
    assert plain.standard_errors["x"] == pytest.approx(peer.bse[1], rel=0.03)
    assert plain.dispersion == pytest.approx(peer.scale / (scale * weight.mean()), rel=1e-9)
    chosen = bl.train(table, bl.Recipe("squared"))
    assert chosen.standard_errors["x"] == pytest.approx(plain.standard_errors["x"], rel=0.01)
    assert chosen.evaluation is not None
    assert chosen.evaluation.metrics["r2"].value == pytest.approx(0.39, abs=0.05)


@pytest.mark.parametrize("loss", LABELS)
def test_equal_weights_are_no_weights(loss: str) -> None:
    columns = rows_of(loss)
    plain = trained(columns, bl.Recipe(loss))
    equal = trained({**columns, "weight": np.full(ROWS, 7.3)}, bl.Recipe(loss), weight="weight")
    assert equal.model.parameters.tobytes() == plain.model.parameters.tobytes()
    assert equal.standard_errors == plain.standard_errors
    assert equal.model.weight_constant == 7.3


# --- standard errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared", "gamma", "tweedie", "poisson", "logistic"])
def test_standard_errors_of_weighted_rows_are_those_of_the_sandwich(loss: str) -> None:
    columns = rows_of(loss)
    power = POWER if loss == "tweedie" else None
    fit = trained(columns, bl.Recipe(loss, alpha=0.0, tolerance=1e-14, holdout=0.0, power=power), weight="weight")
    X = sm.add_constant(
        np.column_stack([columns["first"], columns["second"], *(columns["colour"] == c for c in _levels(fit))])
    )
    log = sm.families.links.Log()
    family = {
        "squared": sm.families.Gaussian(),
        "poisson": sm.families.Poisson(),
        "logistic": sm.families.Binomial(),
        "gamma": sm.families.Gamma(log),
        "tweedie": sm.families.Tweedie(log, var_power=POWER),
    }[loss]
    label = (columns["y"] == "yes").astype(float) if loss == "logistic" else columns["y"]
    model = sm.GLM(label, X, family=family, var_weights=columns["weight"])
    peer = model.fit(tol=1e-14, maxiter=200, cov_type="HC0", scale="X2")
    # statsmodels' bread is the mean of the Hessian over labels, ours the Hessian as it is: they differ for amounts.
    scores = model.score_obs(peer.params, scale=1.0)
    bread = np.linalg.inv(model.hessian(peer.params, scale=1.0, observed=True))
    expected = np.sqrt(np.diag(bread @ (scores.T @ scores) @ bread))
    found = np.array([fit.standard_errors[name] for name in ("(intercept)", "first", "second", *_names(fit))])
    assert found[1:] == pytest.approx(expected[1:], rel=1e-6)
    assert found[1:] == pytest.approx(peer.bse[1:], rel=1e-6 if loss in ("squared", "poisson", "logistic") else 0.06)


def _names(fit: Fit) -> list[str]:
    return [name for name in fit.coefficients if name.startswith("colour")]


def _levels(fit: Fit) -> list[str]:
    return [name.removeprefix("colour = ") for name in _names(fit)]


@pytest.mark.parametrize("loss", ["squared", "gamma", "tweedie"])
def test_standard_errors_are_those_of_var_weights_where_weights_are_precisions(loss: str) -> None:
    rng = np.random.default_rng(1)
    x, weight = rng.normal(size=20_000), rng.uniform(0.5, 4.0, 20_000)
    mean, spread = np.exp(0.3 * x), 0.5
    family: Any
    if loss == "squared":
        y, family = x + rng.normal(size=20_000) / np.sqrt(weight), sm.families.Gaussian()
    elif loss == "gamma":
        y, family = rng.gamma(weight / spread, mean * spread / weight), sm.families.Gamma(sm.families.links.Log())
    else:  # a Poisson number of gamma amounts has the variance spread / weight * mean^power
        rate = mean ** (2.0 - POWER) / (spread / weight * (2.0 - POWER))
        shape = (2.0 - POWER) / (POWER - 1.0)
        amount = spread / weight * (POWER - 1.0) * mean ** (POWER - 1.0)
        number = rng.poisson(rate)
        y = np.where(number > 0, rng.gamma(shape * np.maximum(number, 1), amount), 0.0)
        family = sm.families.Tweedie(sm.families.links.Log(), var_power=POWER)
    peer = sm.GLM(y, sm.add_constant(x), family=family, var_weights=weight).fit(scale="X2")
    power = POWER if loss == "tweedie" else None
    recipe = bl.Recipe(loss, alpha=0.0, tolerance=1e-14, holdout=0.0, power=power)
    for scale in (1.0, 1e-3):
        fit = bl.train(bl.read({"x": x, "w": scale * weight, "y": y}, target="y", weight="w"), recipe)
        assert fit.coefficients["x"] == pytest.approx(peer.params[1], rel=1e-6)
        assert fit.standard_errors["x"] == pytest.approx(peer.bse[1], rel=0.04)
        assert fit.dispersion == pytest.approx(peer.scale / weight.mean(), rel=1e-6)


def test_weights_of_importance_have_errors_that_hold() -> None:
    """Where a tenth of the rows count twenty times, errors that take weights for precisions are half as large."""
    found, told = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, weight = rng.normal(size=400), np.where(rng.random(400) < 0.1, 20.0, 1.0)
        table = bl.read({"x": x, "w": weight, "y": x + rng.normal(size=400)}, target="y", weight="w")
        fit = bl.train(table, bl.Recipe("squared", alpha=0.0, holdout=0.0), threads=1)
        found.append(fit.coefficients["x"])
        told.append(fit.standard_errors["x"])
    assert np.mean(told) == pytest.approx(np.std(found), rel=0.12)


@pytest.mark.parametrize("factor", [1.0, 50.0])
def test_class_weights_have_errors_that_do_not_depend_on_their_scale(factor: float) -> None:
    columns = rows_of("logistic")
    recipe = bl.Recipe(alpha=0.0, holdout=0.0, class_weight={"yes": 5.0 * factor, "no": factor})
    fit = trained(columns, recipe)
    plain = trained(columns, bl.Recipe(alpha=0.0, holdout=0.0, class_weight={"yes": 5.0, "no": 1.0}))
    assert fit.standard_errors == pytest.approx(plain.standard_errors, rel=1e-6)


# --- frequencies ----------------------------------------------------------------------------------------------------


def repeated(columns: Mapping[str, Any]) -> dict[str, Any]:
    entries = np.repeat(np.arange(len(columns["y"])), columns["often"].astype(int))
    return {name: np.asarray(values)[entries] for name, values in columns.items()}


@pytest.mark.parametrize("time", [None, "at"])
@pytest.mark.parametrize("loss", LABELS)
def test_frequencies_are_repeated_rows_in_all_that_is_said(loss: str, time: str | None) -> None:
    columns = rows_of(loss)
    recipe = bl.Recipe(loss)
    fit = trained(columns, recipe, time=time, weight="often", weight_kind="frequency")
    written = trained(repeated(columns), recipe, time=time)
    assert fit.model.parameters.tobytes() == written.model.parameters.tobytes()
    assert fit.standard_errors == written.standard_errors
    assert fit.dispersion == written.dispersion
    assert fit.model.encoding == written.model.encoding
    assert fit.structure.strengths == written.structure.strengths
    assert fit.rows.used == written.rows.used == columns["often"].sum()
    assert fit.rows.rejected == {"a weight of 0": np.count_nonzero(columns["often"] == 0.0)}
    assert fit.evaluation is not None
    assert written.evaluation is not None
    found, expected = fit.evaluation.to_json(), written.evaluation.to_json()
    for one in (found, expected):  # a row has another number where others stand before it
        one["worst_rows"] = [{**row, "row": None} for row in one["worst_rows"]]
    assert found == expected
    assert fit.model.weight_constant == 1.0


def test_frequencies_judge_as_repeated_rows_do() -> None:
    columns, later = rows_of("logistic"), rows_of("logistic", seed=1)
    model = trained(columns, bl.Recipe(alpha=0.01, holdout=0.0)).model
    often = bl.read(later, target="y", time="at", weight="often", weight_kind="frequency")
    once = bl.read(repeated(later), target="y", time="at")
    found, expected = (bl.evaluate(model, table).to_json() for table in (often, once))
    assert found["metrics"] == expected["metrics"]
    assert found["calibration"] == expected["calibration"]
    # Predicting is for the rows as they stand.
    assert len(model.predict(often).response) == ROWS


def test_frequencies_under_a_condition_count_what_it_leaves_out_once(tmp_path: Path) -> None:
    columns = rows_of("squared")
    table = bl.read(
        columns, target="y", weight="often", weight_kind="frequency", where="first < 1", drop=["weight", "at"]
    )
    fit = bl.train(table, bl.Recipe(alpha=0.01, holdout=0.0))
    kept = columns["first"] < 1.0
    assert fit.rows.used == columns["often"][kept].sum()
    assert fit.rows.rejected[Rejection.EXCLUDED] == np.count_nonzero(~kept)
    assert fit.rows.read == fit.rows.used + sum(fit.rows.rejected.values())
    assert verify_model(fit.save(tmp_path / "model"), columns).reasons == ()
    changed = {**columns, "often": np.where(np.arange(ROWS) == np.argmax(kept), 9.0, columns["often"])}
    assert not verify_model(tmp_path / "model", changed).holds


@pytest.mark.parametrize(
    ("value", "said"), [(2.5, "holds 2.5 in row 4"), (-1.0, "holds -1 in row 4"), (2e9, "holds 2e[+]09 in row 4")]
)
def test_a_frequency_is_a_whole_number(value: float, said: str) -> None:
    columns = {"x": np.arange(9.0), "w": np.ones(9), "y": np.arange(9.0)}
    columns["w"][3] = value
    with pytest.raises(DataError, match=said) as refused:
        bl.train(bl.read(columns, target="y", weight="w", weight_kind="frequency"))
    assert refused.value.code == "weight-frequency"


def test_frequencies_that_no_machine_holds_are_refused_before_rows_are_repeated() -> None:
    columns = {"x": np.arange(9_000.0), "w": np.full(9_000, 1e9), "y": np.arange(9_000.0)}
    with pytest.raises(ResourceError, match="9,000,000,000,000 rows") as refused:
        bl.train(bl.read(columns, target="y", weight="w", weight_kind="frequency"))
    assert refused.value.code == "memory"


@pytest.mark.parametrize("roles", [{"weight_kind": "frequency"}, {"weight": "x", "weight_kind": "often"}])
def test_a_kind_of_weights_is_one_of_two_and_beside_weights(roles: Mapping[str, Any]) -> None:
    with pytest.raises(UsageError, match="importance or frequency") as refused:
        bl.read({"x": [1.0, 2.0], "y": [1.0, 2.0]}, target="y", **roles)
    assert refused.value.code == "weight-kind"


def test_large_batches_of_repeated_rows_come_in_pieces() -> None:
    table = bl.read(
        pa.table({"x": [1.0, 2.0, None], "w": [100_000.0, 1.0, 50_000.0]}), weight="w", weight_kind="frequency"
    )
    scan = table.scan(["x"])
    sizes, total = [], 0.0
    for batch in scan:
        sizes.append(batch.num_rows)
        total += float(np.nansum(_numbers(batch)))
    assert max(sizes) <= 65_536
    assert (sum(sizes), total, scan.rows_read, scan.rows_kept) == (150_001, 100_002.0, 150_001, 150_001)


def _numbers(batch: pa.RecordBatch) -> Floats:
    return np.asarray(batch.column("x").to_numpy(zero_copy_only=False), dtype=np.float64)


# --- what the model keeps -------------------------------------------------------------------------------------------


def test_a_model_keeps_the_constant_and_the_kind_and_is_verified_with_them(tmp_path: Path) -> None:
    columns = rows_of("squared")
    for name, roles in (("w", {"weight": "weight"}), ("f", {"weight": "often", "weight_kind": "frequency"})):
        fit = trained(columns, bl.Recipe(), **roles)
        fit.save(tmp_path / name)
        model = bl.load(tmp_path / name)
        assert (model.weight_constant, model.roles) == (fit.model.weight_constant, fit.model.roles)
        assert verify_model(tmp_path / name, columns).reasons == ()
    # Twice the weights are other values: the fingerprint is of the weights as they came.
    doubled = verify_model(tmp_path / "w", {**columns, "weight": 2.0 * columns["weight"]})
    assert not doubled.holds
