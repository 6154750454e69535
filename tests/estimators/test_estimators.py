from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csc_matrix, csr_array, csr_matrix
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks
from tests.training.trials import amounts

from batchlearn import BatchlearnError, DataError, LinearClassifier, LinearRegressor, NoFiniteOptimum, UsageError
from batchlearn.objectives.losses import named_loss
from batchlearn.training import matrix as matrix_module
from batchlearn.training.matrix import read_matrix

Estimator = LinearClassifier | LinearRegressor
MODELS: list[Estimator] = [LinearClassifier(), LinearRegressor(), LinearRegressor(loss="poisson")]
MODELS += [LinearRegressor(loss="gamma"), LinearRegressor(loss="tweedie", power=1.3), LinearRegressor(loss="huber")]
NAMES = ["logistic", "squared", "poisson", "gamma", "tweedie", "huber"]
every_model = pytest.mark.parametrize("model", MODELS, ids=NAMES)


@parametrize_with_checks(MODELS)  # type: ignore[untyped-decorator]  # scikit-learn carries no types
def test_scikit_learn_finds_its_interface(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def draw(model: Estimator, seed: int, rows: int = 300, columns: int = 5) -> tuple[Any, Any]:
    """Columns of scales 0.03 to 30 around distant means, with labels for the model's loss."""
    rng = np.random.default_rng(seed)
    scales = np.geomspace(0.03, 30.0, columns)
    x = rng.normal(size=(rows, columns)) * scales + 20.0 * rng.normal(size=columns)
    eta = (x - x.mean(axis=0)) / scales @ rng.normal(size=columns) * 0.5
    if model.loss == "logistic":
        return x, (rng.random(rows) < 1.0 / (1.0 + np.exp(-eta))).astype(int)
    if model.loss in ("gamma", "tweedie"):
        return x, amounts(rng, model.loss, np.exp(np.clip(eta, -3.0, 3.0)))
    return x, rng.poisson(np.exp(np.clip(eta, -3.0, 3.0))) if model.loss == "poisson" else eta + rng.normal(size=rows)


def intercept_of(fitted: Any) -> float:
    return float(np.ravel(fitted.intercept_)[0])


def objective(fitted: Any, x: Any, y: Any, weight: Any = None, strengths: Any = None) -> float:
    """F at the delivered coefficients, from its definition."""
    coefficients = np.ravel(fitted.coef_)
    own = {"tweedie": ["power"], "huber": ["threshold"]}.get(fitted.loss, [])
    loss = named_loss(fitted.loss, **{name: getattr(fitted, name) for name in own})
    losses = loss.value(x @ coefficients + intercept_of(fitted), np.asarray(y, dtype=float))
    strengths = fitted.alpha if strengths is None else strengths
    return float(np.average(losses, weights=weight) + 0.5 * np.sum(strengths * coefficients**2))


# --- the optimum and its certificate --------------------------------------------------------------------------------


@every_model
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_objective_is_the_one_documented(model: Estimator, fit_intercept: bool) -> None:
    x, y = draw(model, 1)
    weight = np.random.default_rng(2).uniform(0.1, 4.0, len(y))
    x = x if fit_intercept else x - x.mean(axis=0)
    fitted = clone(model).set_params(alpha=0.03, fit_intercept=fit_intercept).fit(x, y, sample_weight=weight)
    assert fitted.certificate_.status == "certified"
    assert fitted.certificate_.loss_bound <= 1e-20
    assert fitted.objective_ == pytest.approx(objective(fitted, x, y, weight), rel=1e-13)
    best = fitted.objective_
    for j in range(x.shape[1]):  # the gradient is zero there: moving either way costs
        for move in (1e-3, -1e-3):
            moved = clone(fitted)
            moved.coef_, moved.intercept_ = np.ravel(fitted.coef_).copy(), intercept_of(fitted)
            moved.coef_[j] += move / x[:, j].std()
            assert objective(moved, x, y, weight) > best


@every_model
def test_a_standardised_penalty_is_on_coefficients_per_deviation(model: Estimator) -> None:
    x, y = draw(model, 3)
    inside = clone(model).set_params(alpha=0.1, standardize=True).fit(x, y)
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    outside = clone(model).set_params(alpha=0.1).fit(scaled, y)
    assert np.ravel(inside.coef_) * x.std(axis=0) == pytest.approx(np.ravel(outside.coef_), rel=1e-9)
    assert inside.objective_ == pytest.approx(outside.objective_, rel=1e-12)
    plain = clone(model).set_params(alpha=0.1).fit(x, y)
    assert abs(plain.objective_ - inside.objective_) > 1e-4


@every_model
def test_the_certificate_holds_between_two_answers(model: Estimator) -> None:
    x, y = draw(model, 4)
    rough = clone(model).set_params(alpha=0.01, tol=0.1).fit(x, y)
    fine = clone(model).set_params(alpha=0.01, tol=1e-14).fit(x, y)
    room = 1e-13 * fine.objective_
    assert rough.objective_ - fine.objective_ <= rough.certificate_.loss_bound + room
    change = np.abs(np.append(rough.coef_, rough.intercept_) - np.append(fine.coef_, fine.intercept_)).max()
    assert change <= rough.certificate_.coefficient_bound + fine.certificate_.coefficient_bound
    if isinstance(rough, LinearClassifier):
        change = np.abs(rough.predict_proba(x) - fine.predict_proba(x)).max()
    else:
        change = np.abs(rough.predict(x) - fine.predict(x)).max()
    assert change <= rough.certificate_.prediction_bound + fine.certificate_.prediction_bound + 1e-12


def test_the_certificate_is_of_the_delivered_numbers_and_not_of_those_inside() -> None:
    # The intercept is near -1e12 and is delivered to 1e-4: the bound must know.
    rng = np.random.default_rng(5)
    x = 1e9 + np.round(rng.normal(size=(200, 1)) * 64.0) / 64.0
    y = 1e3 * (x[:, 0] - 1e9) + rng.normal(size=200)
    fitted = LinearRegressor(alpha=0.0).fit(x, y)
    residual = 1e3 * (x[:, 0] - 1e9) - y
    centred = x[:, 0] - 1e9
    slope, start = np.polyfit(centred, -residual, 1)
    at_optimum = np.mean((residual + slope * centred + start) ** 2) / 2
    exact = [
        Fraction(v) * Fraction(fitted.coef_[0]) + Fraction(fitted.intercept_) - Fraction(w)
        for v, w in zip(x[:, 0], y, strict=True)
    ]
    gap = float(sum(e * e for e in exact) / (2 * len(exact))) - at_optimum
    assert 1e-12 < gap <= fitted.certificate_.loss_bound


@every_model
@pytest.mark.parametrize("sparse", [False, True])
def test_threads_do_not_change_a_bit(model: Estimator, sparse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_module, "chunk_rows", lambda columns: 64 + 0 * columns)
    x, y = draw(model, 6)
    x = csr_matrix(np.where(x > 0.0, x, 0.0)) if sparse else x
    one, three = clone(model).fit(x, y), clone(model).set_params(threads=3).fit(x, y)
    assert one.coef_.tobytes() == three.coef_.tobytes()
    assert intercept_of(one) == intercept_of(three)
    assert one.certificate_ == three.certificate_


@every_model
def test_rows_without_weight_change_nothing(model: Estimator) -> None:
    x, y = draw(model, 7)
    weight = np.random.default_rng(8).uniform(0.5, 2.0, len(y))
    more = np.vstack([x, 1e100 * np.ones((3, x.shape[1]))]), np.append(y, y[:3]), np.append(weight, np.zeros(3))
    with_them, without = clone(model).fit(*more), clone(model).fit(x, y, weight)
    assert with_them.coef_.tobytes() == without.coef_.tobytes()
    assert with_them.certificate_ == without.certificate_


@every_model
def test_the_size_of_all_weights_does_not_matter(model: Estimator) -> None:
    x, y = draw(model, 9)
    plain = clone(model).fit(x, y)
    huge = clone(model).fit(x, y, sample_weight=np.full(len(y), 2.0**1000))
    assert plain.coef_.tobytes() == huge.coef_.tobytes()


# --- what may come in -----------------------------------------------------------------------------------------------


class ArrowStream:
    """Arrow data behind nothing but the capsule interface."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


FRAMES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "arrow": pa.table,
    "capsule": lambda columns: ArrowStream(pa.table(columns)),
}


@pytest.mark.parametrize("frame", FRAMES)
@every_model
def test_data_frames_and_their_names(model: Estimator, frame: str) -> None:
    x, y = draw(model, 10)
    names = [f"x{j}" for j in range(x.shape[1])]
    data = FRAMES[frame]({name: x[:, j] for j, name in enumerate(names)})
    fitted, plain = clone(model).fit(data, y), clone(model).fit(x, y)
    assert list(fitted.feature_names_in_) == names
    assert not hasattr(plain, "feature_names_in_")
    assert fitted.coef_.tobytes() == plain.coef_.tobytes()
    assert fitted.predict(data).tobytes() == plain.predict(x).tobytes()
    swapped = FRAMES[frame]({name: x[:, names.index(name)] for name in reversed(names)})
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(swapped)


@every_model
def test_single_precision_is_read_as_it_is_stored(model: Estimator) -> None:
    x, y = draw(model, 11)
    single = x.astype(np.float32)
    fitted, wide = clone(model).fit(single, y), clone(model).fit(single.astype(np.float64), y)
    assert fitted.coef_.dtype == np.float64
    assert fitted.coef_.tobytes() == wide.coef_.tobytes()


def test_stored_values_are_not_copied() -> None:
    x = np.zeros((1000, 3), dtype=np.float32)
    x[:, 0] = np.arange(1000)
    matrix = read_matrix(x, np.zeros(1000))
    assert all(np.shares_memory(chunk.dense, x) for chunk in matrix.rows.chunks)
    sparse = csr_array(np.where(np.arange(1000)[:, None] % 3 == 0, x, 0.0))
    matrix = read_matrix(sparse, np.zeros(1000))
    assert all(np.shares_memory(chunk.sparse.data, sparse.data) for chunk in matrix.rows.chunks)


@pytest.mark.parametrize("kind", [csr_matrix, csr_array, csc_matrix])
@every_model
def test_sparse_columns_have_the_same_optimum(model: Estimator, kind: Callable[[Any], Any]) -> None:
    x, y = draw(model, 12)
    x = np.where(np.abs(x - x.mean(axis=0)) > x.std(axis=0), x, 0.0)
    for standardize in (False, True):
        dense = clone(model).set_params(alpha=0.01, standardize=standardize).fit(x, y)
        sparse = clone(model).set_params(alpha=0.01, standardize=standardize).fit(kind(x), y)
        bound = dense.certificate_.coefficient_bound + sparse.certificate_.coefficient_bound
        assert np.ravel(sparse.coef_) == pytest.approx(np.ravel(dense.coef_), abs=bound, rel=1e-9)
        assert sparse.predict(kind(x)) == pytest.approx(dense.predict(x), rel=1e-9)


def test_entries_of_a_sparse_matrix_that_come_twice_are_added() -> None:
    values, rows, columns = [1.0, 2.0, 3.0, 1.0, 5.0], [0, 0, 1, 2, 3], [0, 0, 0, 0, 0]
    order = np.array([0, 2, 3, 4, 5])
    twice = csr_matrix((values, columns, order), shape=(4, 1))
    once = np.zeros((4, 1))
    np.add.at(once, (rows, columns), values)
    y = [1.0, 2.0, 0.5, 3.0]
    assert LinearRegressor().fit(twice, y).coef_ == pytest.approx(LinearRegressor().fit(once, y).coef_, rel=1e-10)
    assert twice.nnz == 5


def test_many_columns_are_certified_without_a_factor() -> None:
    rng = np.random.default_rng(13)
    x = csr_matrix((rng.random((400, 6000)) < 0.01) * 1.0)
    y = rng.integers(0, 2, 400)
    fitted = LinearClassifier(alpha=0.1).fit(x, y)
    assert fitted.certificate_.status == "certified"
    assert fitted.certificate_.loss_bound <= 1e-10 * np.log(2.0) * 1.01


@pytest.mark.parametrize("labels", [("no", "yes"), (False, True), (-1, 1), (3.0, 7.0)])
def test_labels_come_back_as_they_were(labels: tuple[Any, Any]) -> None:
    x, y = draw(LinearClassifier(), 14)
    named = np.asarray(labels)[y]
    fitted = LinearClassifier().fit(x, named)
    assert fitted.classes_.tolist() == list(labels)
    assert set(fitted.predict(x).tolist()) == set(labels)
    assert fitted.score(x, named) == LinearClassifier().fit(x, y).score(x, y)


def test_probabilities_are_finite_however_sure() -> None:
    x, y = draw(LinearClassifier(), 15)
    fitted = LinearClassifier().fit(x, y)
    far = x * 1e4
    assert np.isfinite(fitted.predict_log_proba(far)).all()
    assert fitted.predict_log_proba(far).min() < -800.0
    assert fitted.predict_proba(far).sum(axis=1) == pytest.approx(1.0, rel=1e-15)
    assert np.exp(fitted.predict_log_proba(x)) == pytest.approx(fitted.predict_proba(x), rel=1e-12)


@every_model
def test_a_row_is_predicted_the_same_in_any_batch(model: Estimator) -> None:
    x, y = draw(model, 16)
    fitted = clone(model).fit(x, y)
    score = fitted.decision_function if isinstance(fitted, LinearClassifier) else fitted.predict
    assert np.concatenate([score(x[i : i + 1]) for i in range(50)]).tobytes() == score(x)[:50].tobytes()


@every_model
def test_a_fitted_estimator_survives_pickle(model: Estimator) -> None:
    x, y = draw(model, 17)
    fitted = clone(model).fit(x, y)
    again = pickle.loads(pickle.dumps(fitted))
    assert again.predict(x).tobytes() == fitted.predict(x).tobytes()
    assert again.certificate_ == fitted.certificate_


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"alpha": -1.0}, "alpha-negative"),
        ({"alpha": float("nan")}, "alpha-negative"),
        ({"alpha": "strong"}, "alpha-negative"),
        ({"alpha": None}, "alpha-negative"),
        ({"tol": 0.0}, "tolerance-not-positive"),
        ({"tol": "small"}, "tolerance-not-positive"),
        ({"tol": None}, "tolerance-not-positive"),
        ({"batch_size": 0}, "batch-size"),
        ({"loss": "hinge"}, "loss-unknown"),
        ({"threads": 0}, "threads-range"),
        ({"threads": 1.5}, "threads-range"),
        ({"threads": "many"}, "threads-range"),
    ],
)
@every_model
def test_settings_are_checked(model: Estimator, settings: dict[str, Any], code: str) -> None:
    x, y = draw(model, 18, rows=20)
    with pytest.raises(UsageError) as caught:
        clone(model).set_params(**settings).fit(x, y)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("weight", "code"),
    [
        (lambda n: -np.ones(n), "weight-not-usable"),
        (lambda n: np.full(n, np.nan), "weight-not-usable"),
        (lambda n: np.zeros(n), "weight-total-zero"),
        (lambda n: np.ones(n + 1), "weight-shape"),
    ],
)
@every_model
def test_weights_are_checked(model: Estimator, weight: Callable[[int], Any], code: str) -> None:
    x, y = draw(model, 19, rows=20)
    with pytest.raises(DataError) as caught:
        clone(model).fit(x, y, sample_weight=weight(len(y)))
    assert caught.value.code == code


def code_of(fit: Callable[[], object]) -> str:
    with pytest.raises(BatchlearnError) as caught:
        fit()
    return caught.value.code


def test_labels_are_checked() -> None:
    x, y = draw(LinearClassifier(), 20, rows=30)
    assert code_of(lambda: LinearClassifier().fit(x, np.zeros(30))) == "one-class"
    assert code_of(lambda: LinearClassifier().fit(x, y, sample_weight=y)) == "one-class"
    assert code_of(lambda: LinearRegressor(loss="poisson").fit(x, y - 1.0)) == "label-negative"
    assert code_of(lambda: LinearRegressor(loss="poisson").fit(x, np.zeros(30))) == "all-counts-zero"
    assert code_of(lambda: LinearRegressor(loss="tweedie").fit(x, np.zeros(30))) == "all-amounts-zero"
    assert code_of(lambda: LinearRegressor(loss="tweedie").fit(x, y - 1.0)) == "label-negative"
    assert code_of(lambda: LinearRegressor(loss="gamma").fit(x, y - y.min())) == "label-not-positive"
    for power in (1.0, 2.0, "1.5", None):
        unusable: Any = LinearRegressor(loss="tweedie").set_params(power=power)
        assert code_of(partial(unusable.fit, x, y)) == "power-range"
    assert code_of(lambda: LinearRegressor().fit(x * 1e300, y)) == "value-too-large"


def test_separable_classes_without_a_penalty_have_no_optimum() -> None:
    x, y = draw(LinearClassifier(), 21)
    x[:, 0] = y + 0.1 * np.random.default_rng(22).random(len(y))
    with pytest.raises(NoFiniteOptimum, match="separate the classes"):
        LinearClassifier(alpha=0.0).fit(x, y)
    assert LinearClassifier(alpha=1e-6).fit(x, y).certificate_.certified


@every_model
def test_columns_that_repeat_each_other_need_a_penalty(model: Estimator) -> None:
    x, y = draw(model, 23)
    x = np.column_stack([x, x[:, 0]])
    with pytest.raises((NoFiniteOptimum, ConvergenceWarning), match=r"'column 5'|drop columns"):  # the latter: Huber
        clone(model).set_params(alpha=0.0).fit(x, y)
    coefficients = np.ravel(clone(model).fit(x, y).coef_)
    assert coefficients[0] == pytest.approx(coefficients[5], rel=1e-6)


@pytest.mark.parametrize("sparse", [False, True])
@every_model
def test_a_constant_column_has_no_coefficient(model: Estimator, sparse: bool) -> None:
    x, y = draw(model, 24)
    x -= x.mean(axis=0)
    kind = csr_matrix if sparse else np.asarray
    wide = kind(np.column_stack([x[:, :2], np.full(len(y), 0.1), x[:, 2:]]))
    rest = [0, 1, 3, 4, 5]
    for alpha in (0.0, 0.01):
        plain = clone(model).set_params(alpha=alpha).fit(kind(x), y)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted = clone(model).set_params(alpha=alpha).fit(wide, y)
        assert [str(w.message)[:8] for w in caught] == (["column 2"] if alpha == 0.0 else [])
        coefficients = np.ravel(fitted.coef_)
        assert abs(coefficients[2]) <= (1e-10 if sparse else 0.0)
        assert coefficients[rest] == pytest.approx(np.ravel(plain.coef_), rel=1e-8)
        assert fitted.objective_ == pytest.approx(plain.objective_, rel=1e-12)


def test_an_answer_without_a_bound_comes_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    # No ordinary data ends here: make the certificate believe that nothing converged.
    monkeypatch.setattr("batchlearn.training.certificate.bounds", lambda *_: None)
    x, y = draw(LinearClassifier(), 25)
    with pytest.warns(ConvergenceWarning, match="not certified because"):
        fitted = LinearClassifier().fit(x, y)
    assert fitted.certificate_.status == "not certified"
    assert fitted.certificate_.loss_bound is None
