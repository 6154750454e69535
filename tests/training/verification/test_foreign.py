from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from glum import GeneralizedLinearRegressor
from scipy.sparse import csr_matrix
from sklearn.linear_model import (
    GammaRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    TweedieRegressor,
)
from tests.training.trials import amounts

from batchlearn import BatchlearnError, Certificate, LinearClassifier, LinearRegressor, UsageError, verify
from batchlearn.objectives.losses import LOSSES

ROWS, COLUMNS = 300, 5


class Data(NamedTuple):
    """Columns of scales 0.03 to 30 around distant means, one label for each loss, and weights."""

    x: np.ndarray[Any, Any]
    labels: dict[str, np.ndarray[Any, Any]]
    weight: np.ndarray[Any, Any]

    @property
    def with_ones(self) -> np.ndarray[Any, Any]:
        return np.asarray(sm.add_constant(self.x))


def draw(seed: int) -> Data:
    rng = np.random.default_rng(seed)
    scales = np.geomspace(0.03, 30.0, COLUMNS)
    x = rng.normal(size=(ROWS, COLUMNS)) * scales + 10.0 * rng.normal(size=COLUMNS)
    eta = (x - x.mean(axis=0)) / scales @ rng.normal(size=COLUMNS) * 0.5
    labels = {
        "logistic": (rng.random(ROWS) < 1.0 / (1.0 + np.exp(-eta))).astype(float),
        "poisson": rng.poisson(np.exp(np.clip(eta, -3.0, 3.0))).astype(float),
        "squared": eta + rng.normal(size=ROWS),
    }
    weight = rng.uniform(0.1, 3.0, ROWS)
    for loss in ("gamma", "tweedie"):
        labels[loss] = amounts(rng, loss, np.exp(np.clip(eta, -3.0, 3.0)))
    return Data(x, labels, weight)


class Case(NamedTuple):
    """Another library's model and the same objective in our words."""

    loss: str
    weighted: bool
    theirs: Callable[[Data], Any]
    alpha: Callable[[Data], float]


def logistic(**settings: Any) -> Callable[[Data], Any]:
    return lambda d: LogisticRegression(max_iter=10_000, **settings).fit(d.x, d.labels["logistic"])


def glum(family: str, loss: str) -> Callable[[Data], Any]:
    settings: dict[str, Any] = {"family": family, "alpha": 0.02, "l1_ratio": 0}
    return lambda d: GeneralizedLinearRegressor(**settings).fit(d.x, d.labels[loss], sample_weight=d.weight)


def glm(family: Any, loss: str) -> Callable[[Data], Any]:
    return lambda d: sm.GLM(d.labels[loss], d.with_ones, family=family, freq_weights=d.weight).fit()


CASES = {
    "sklearn logistic": Case("logistic", False, logistic(), lambda d: 1.0 / len(d.x)),
    "sklearn logistic C": Case("logistic", False, logistic(C=0.1), lambda d: 10.0 / len(d.x)),
    "sklearn logistic free": Case("logistic", False, logistic(C=np.inf), lambda _: 0.0),
    "sklearn ridge": Case(
        "squared",
        True,
        lambda d: Ridge(alpha=3.0).fit(d.x, d.labels["squared"], sample_weight=d.weight),
        lambda d: 3.0 / float(d.weight.sum()),
    ),
    "sklearn least squares": Case(
        "squared", False, lambda d: LinearRegression().fit(d.x, d.labels["squared"]), lambda _: 0.0
    ),
    "sklearn poisson": Case(
        "poisson",
        True,
        lambda d: PoissonRegressor(alpha=0.1, max_iter=1000).fit(d.x, d.labels["poisson"], sample_weight=d.weight),
        lambda _: 0.1,
    ),
    "sklearn tweedie 0": Case(
        "squared", False, lambda d: TweedieRegressor(power=0, alpha=0.1).fit(d.x, d.labels["squared"]), lambda _: 0.1
    ),
    "sklearn tweedie 1": Case(
        "poisson", False, lambda d: TweedieRegressor(power=1, alpha=0.1).fit(d.x, d.labels["poisson"]), lambda _: 0.1
    ),
    "sklearn tweedie 1.5": Case(
        "tweedie",
        True,
        lambda d: TweedieRegressor(power=1.5, alpha=0.1).fit(d.x, d.labels["tweedie"], sample_weight=d.weight),
        lambda _: 0.1,
    ),
    "sklearn gamma": Case(
        "gamma", False, lambda d: GammaRegressor(alpha=0.1).fit(d.x, d.labels["gamma"]), lambda _: 0.1
    ),
    "glum gamma": Case("gamma", True, glum("gamma", "gamma"), lambda _: 0.02),
    "glum tweedie": Case("tweedie", True, glum("tweedie", "tweedie"), lambda _: 0.02),
    "glum normal": Case("squared", True, glum("normal", "squared"), lambda _: 0.02),
    "glum poisson": Case("poisson", True, glum("poisson", "poisson"), lambda _: 0.02),
    "glum binomial": Case("logistic", True, glum("binomial", "logistic"), lambda _: 0.02),
    "statsmodels ols": Case("squared", False, lambda d: sm.OLS(d.labels["squared"], d.with_ones).fit(), lambda _: 0.0),
    "statsmodels logit": Case(
        "logistic", False, lambda d: sm.Logit(d.labels["logistic"], d.with_ones).fit(disp=0), lambda _: 0.0
    ),
    "statsmodels poisson": Case(
        "poisson", False, lambda d: sm.Poisson(d.labels["poisson"], d.with_ones).fit(disp=0, maxiter=200), lambda _: 0.0
    ),
    "statsmodels glm gaussian": Case("squared", True, glm(sm.families.Gaussian(), "squared"), lambda _: 0.0),
    "statsmodels glm poisson": Case("poisson", True, glm(sm.families.Poisson(), "poisson"), lambda _: 0.0),
    "statsmodels glm gamma": Case(
        "gamma", True, glm(sm.families.Gamma(sm.families.links.Log()), "gamma"), lambda _: 0.0
    ),
    "statsmodels glm tweedie": Case(
        "tweedie", True, glm(sm.families.Tweedie(sm.families.links.Log(), var_power=1.5), "tweedie"), lambda _: 0.0
    ),
    "statsmodels glm binomial": Case("logistic", True, glm(sm.families.Binomial(), "logistic"), lambda _: 0.0),
}


def certified(case: Case, data: Data) -> tuple[Any, Certificate]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other libraries think of their own convergence
        fitted = case.theirs(data)
    if hasattr(fitted, "model"):
        return fitted, verify(fitted)
    return fitted, verify(fitted, data.x, data.labels[case.loss], data.weight if case.weighted else None)


def gap(case: Case, data: Data, theirs: Any, ours: Any, alpha: float) -> float:
    """F at their coefficients minus F at ours: sums of long doubles, from the definition."""
    y: Any = data.labels[case.loss].astype(np.longdouble)
    weight = data.weight.astype(np.longdouble) if case.weighted else np.ones(ROWS, np.longdouble)

    def value(coefficients: Any, intercept: Any) -> Any:
        w = np.ravel(coefficients).astype(np.longdouble)
        eta: Any = data.x.astype(np.longdouble) @ w + np.longdouble(intercept)
        mean: Any = weight @ LOSSES[case.loss].value(eta, y) / weight.sum()
        return mean + np.longdouble(alpha) * (w @ w) / 2

    params = getattr(theirs, "params", None)
    pair = (theirs.coef_, np.ravel(theirs.intercept_)[0]) if params is None else (params[1:], params[0])
    return float(value(*pair) - value(ours.coef_, np.ravel(ours.intercept_)[0]))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", CASES)
def test_their_coefficients_get_a_bound_and_ours_is_the_smaller(name: str, seed: int) -> None:
    case, data = CASES[name], draw(seed)
    theirs, bound = certified(case, data)
    alpha, weight = case.alpha(data), data.weight if case.weighted else None
    ours: Any = (
        LinearClassifier(alpha=alpha) if case.loss == "logistic" else LinearRegressor(alpha=alpha, loss=case.loss)
    )
    ours.fit(data.x, data.labels[case.loss], sample_weight=weight)
    assert bound.status == "certified"
    assert bound.loss_bound is not None
    assert bound.floor is not None
    # Where both are at the floor, chance decides whose gradient rounds to the smaller number.
    assert ours.certificate_.loss_bound <= max(bound.loss_bound, 1.2 * bound.floor)
    true = gap(case, data, theirs, ours, alpha)
    noise = 1e-16 * max(ours.objective_, 1.0)
    assert true <= bound.loss_bound + noise
    # The bound is of their objective and no other: where the gap can be seen it is close to it.
    if true > 100.0 * noise:
        assert bound.loss_bound <= 1.5 * true


def test_the_bound_is_tight_somewhere() -> None:
    """The default stop of scikit-learn leaves a gap that can be seen, so the test above is not vacuous."""
    case, data = CASES["sklearn poisson"], draw(1)
    _, bound = certified(case, data)
    assert bound.loss_bound is not None
    assert bound.loss_bound > 1e-11


@pytest.mark.parametrize("shift", [0.0, 1e-3])
def test_a_coefficient_that_was_changed_is_noticed(shift: float) -> None:
    data = draw(4)
    fitted = LogisticRegression(tol=1e-12, max_iter=10_000).fit(data.x, data.labels["logistic"])
    fitted.coef_[0, 2] += shift
    bound = verify(fitted, data.x, data.labels["logistic"])
    assert bound.coefficient_bound is not None
    assert bool(bound.coefficient_bound > 0.5e-3) == bool(shift)


def test_our_own_estimators_are_read() -> None:
    data = draw(5)
    for standardize in (False, True):
        classifier = LinearClassifier(alpha=0.1, standardize=standardize).fit(
            data.x, data.labels["logistic"], data.weight
        )
        assert verify(classifier, data.x, data.labels["logistic"], data.weight) == classifier.certificate_
        for loss in ("poisson", "gamma", "tweedie"):
            regressor = LinearRegressor(loss=loss, standardize=standardize, power=1.3).fit(data.x, data.labels[loss])
            assert verify(regressor, data.x, data.labels[loss]) == regressor.certificate_


PRECISE: dict[str, Any] = {"tol": 1e-12, "max_iter": 10_000}


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "liblinear"},
        {"solver": "liblinear", "intercept_scaling": 5.0},
        {"solver": "liblinear", "fit_intercept": False},
        {"solver": "newton-cholesky", "class_weight": "balanced"},
        {"solver": "newton-cholesky", "class_weight": {0.0: 1.0, 1.0: 4.0}},
        {"solver": "newton-cholesky", "fit_intercept": False},
    ],
)
def test_the_objective_is_read_from_the_settings(settings: dict[str, Any]) -> None:
    """A solver that went to the end is at the optimum of the objective we read, and at no other's."""
    data = draw(6)
    fitted = LogisticRegression(**settings, **PRECISE).fit(data.x, data.labels["logistic"])
    bound = verify(fitted, data.x, data.labels["logistic"])
    assert bound.loss_bound is not None
    assert bound.loss_bound < 1e-11
    fitted.set_params(solver="lbfgs", class_weight=None, C=0.9)
    other = verify(fitted, data.x, data.labels["logistic"])
    assert other.loss_bound is None or other.loss_bound > 1e-9


def test_penalties_on_scaled_columns_are_read_from_glum() -> None:
    data = draw(7)
    fitted = GeneralizedLinearRegressor(
        family="poisson", alpha=0.1, l1_ratio=0, scale_predictors=True, gradient_tol=1e-10
    ).fit(data.x, data.labels["poisson"])
    bound = verify(fitted, data.x, data.labels["poisson"])
    assert bound.loss_bound is not None
    assert bound.loss_bound < 1e-16


def test_offsets_and_exposures_are_read_from_statsmodels() -> None:
    data = draw(8)
    offset = np.random.default_rng(9).normal(size=ROWS)
    count, design = data.labels["poisson"], data.with_ones
    for model in (
        sm.GLM(count, design, family=sm.families.Poisson(), offset=offset),
        sm.GLM(count, design, family=sm.families.Poisson(), exposure=np.exp(offset)),
        sm.Poisson(count, design, exposure=np.exp(offset)),
    ):
        results = model.fit() if isinstance(model, sm.GLM) else model.fit(disp=0, maxiter=200)
        bound = verify(results)
        assert bound.loss_bound is not None
        assert bound.loss_bound < 1e-16
        with pytest.raises(UsageError, match="offset"):
            verify(results, design, count)


def test_rows_may_be_given_beside_results_of_statsmodels() -> None:
    data = draw(10)
    results = sm.Logit(data.labels["logistic"], data.with_ones).fit(disp=0)
    assert verify(results, data.with_ones, data.labels["logistic"]) == verify(results)
    weighted = sm.GLM(data.labels["squared"], data.with_ones, var_weights=data.weight).fit()
    assert verify(weighted, data.with_ones, data.labels["squared"], data.weight) == verify(weighted)
    with pytest.raises(UsageError, match="weights"):
        verify(weighted, data.with_ones, data.labels["squared"])


def test_sparse_rows_and_frames_are_read() -> None:
    data = draw(11)
    frame = pd.DataFrame(data.x, columns=[f"x{j}" for j in range(COLUMNS)])
    fitted = LogisticRegression(max_iter=10_000).fit(frame, data.labels["logistic"])
    dense = verify(fitted, frame, data.labels["logistic"])
    sparse = verify(fitted, csr_matrix(data.x), data.labels["logistic"])
    assert dense.loss_bound == pytest.approx(sparse.loss_bound, rel=1e-6)
    with pytest.raises(BatchlearnError, match="same columns in the same order"):
        verify(fitted, frame[frame.columns[::-1]], data.labels["logistic"])


def refused(data: Data) -> dict[str, tuple[Any, str]]:
    x, y, z = data.x, data.labels["logistic"], data.labels["squared"]
    three = np.arange(ROWS) % 3
    count = data.labels["poisson"] + 1.0
    ones = data.with_ones
    return {
        "l1": (LogisticRegression(solver="saga", l1_ratio=1, tol=0.1).fit(x, y), "L1 part"),
        "three classes": (LogisticRegression(max_iter=10_000).fit(x, three), "multinomial"),
        "positive": (LinearRegression(positive=True).fit(x, z), "positive"),
        "two outputs": (Ridge().fit(x, np.column_stack([z, z])), "2 outputs"),
        "inverse gaussian": (TweedieRegressor(power=3, max_iter=10_000).fit(x, count), "power 3"),
        "lasso": (Lasso().fit(x, z), "Lasso"),
        "ridge classifier": (RidgeClassifier().fit(x, y), "RidgeClassifier"),
        "glum l1": (GeneralizedLinearRegressor(alpha=0.1, l1_ratio=1).fit(x, z), "L1 part"),
        "glum inverse gaussian": (
            GeneralizedLinearRegressor(family="inverse.gaussian").fit(x, count),
            "InverseGaussian",
        ),
        "glum bounds": (
            GeneralizedLinearRegressor(alpha=0.1, l1_ratio=0, lower_bounds=np.zeros(COLUMNS)).fit(x, z),
            "constraints",
        ),
        "glum matrix": (GeneralizedLinearRegressor(alpha=0.1, l1_ratio=0, P2=np.ones(COLUMNS)).fit(x, z), "P2"),
        "probit": (sm.GLM(y, ones, family=sm.families.Binomial(sm.families.links.Probit())).fit(), "probit"),
        "wls": (sm.WLS(z, ones, weights=data.weight).fit(), "WLS"),
        "regularised": (sm.OLS(z, ones).fit_regularized(alpha=0.1), "Regularized"),
        "constrained": (sm.GLM(z, ones).fit_constrained("x1 = 0"), "constrained"),
        "no model": ("a string", "builtins.str"),
    }


def test_what_cannot_be_read_is_refused_with_the_reason() -> None:
    data = draw(12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = refused(data)
    for name, (model, reason) in models.items():
        rows = () if name in ("probit", "wls", "regularised", "constrained") else (data.x, data.labels["logistic"])
        with pytest.raises(UsageError, match=reason) as caught:
            verify(model, *rows)
        assert caught.value.code == "verify-unsupported", name
        assert "scikit-learn's LogisticRegression" in str(caught.value)


def test_rows_that_do_not_fit_are_refused() -> None:
    data = draw(13)
    y = data.labels["logistic"]
    fitted = LogisticRegression(max_iter=10_000).fit(data.x, y)
    balanced = LogisticRegression(class_weight="balanced", max_iter=10_000).fit(data.x, y, data.weight)
    calls: list[tuple[Any, tuple[Any, ...], str]] = [
        (fitted, (), "verify-rows-missing"),
        (LogisticRegression(), (data.x, y), "verify-not-fitted"),
        (fitted, (data.x[:, 1:], y), "columns-do-not-match"),
        (fitted, (data.x, y + 1.0), "label-unknown"),
        (fitted, (data.x, y, -data.weight), "weight-not-usable"),
        (balanced, (data.x, y, data.weight), "verify-unsupported"),
    ]
    for model, rows, code in calls:
        with pytest.raises(BatchlearnError) as caught:
            verify(model, *rows)
        assert caught.value.code == code
