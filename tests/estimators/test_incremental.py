"""partial_fit goes on row by row, and does not depend on how rows are cut into calls."""

from __future__ import annotations

import pickle
import warnings
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, hstack
from sklearn.exceptions import ConvergenceWarning

from batchlearn import LinearClassifier, LinearRegressor
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.errors import DataError, UsageError
from batchlearn.estimators.incremental import Learner, _faded, _share_of_prior
from batchlearn.kernels import native
from batchlearn.kernels.normalised import NormalisedState
from batchlearn.objectives.losses import LogisticLoss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.solvers import ReadingPlan
from batchlearn.solvers.online.normalised import NormalisedGradient
from batchlearn.statistics.objective import Objective


def drawn(kind: str, rows: int = 500, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4)) * [1.0, 1e3, 1e-4, 2.0] + [0.0, 5e3, 0.0, 2008.0]
    eta = 0.8 * x[:, 0] + 0.5 * (x[:, 1] - 5e3) / 1e3 - 5e3 * x[:, 2]
    if kind == "classes":
        return x, np.where(rng.random(rows) < 1.0 / (1.0 + np.exp(-eta)), "yes", "no")
    return x, rng.poisson(np.exp(0.5 * eta)).astype(float) if kind == "poisson" else eta + rng.normal(size=rows)


def estimator(kind: str, **settings: Any) -> Any:
    return LinearClassifier(**settings) if kind == "classes" else LinearRegressor(loss=kind, **settings)


def learn(model: Any, kind: str, x: Any, y: Any, cuts: list[int], weight: Any = None) -> Any:
    extra = {"classes": ["no", "yes"]} if kind == "classes" else {}
    for a, b in zip([0, *cuts], [*cuts, len(y)], strict=True):
        model.partial_fit(x[a:b], y[a:b], sample_weight=None if weight is None else weight[a:b], **extra)
    return model


@pytest.mark.parametrize("kind", ["classes", "squared", "poisson"])
@pytest.mark.parametrize("sparse", [False, True])
def test_the_cuts_do_not_change_a_bit(kind: str, sparse: bool) -> None:
    x, y = drawn(kind, 200)
    x = csr_array(np.where(np.abs(x) > 0.5, x, 0.0)) if sparse else x
    whole = learn(estimator(kind), kind, x, y, [])
    for cuts in ([1], [31, 32, 33], list(range(1, 60)), [150]):
        pieces = learn(estimator(kind), kind, x, y, cuts)
        assert pieces.coef_.tobytes() == whole.coef_.tobytes()
        assert np.ravel(pieces.intercept_).tobytes() == np.ravel(whole.intercept_).tobytes()


@pytest.mark.skipif(not native.built(), reason="the kernels are not compiled here")
@pytest.mark.parametrize("kind", ["classes", "squared", "poisson"])
@pytest.mark.parametrize("shape", ["dense", "single", "sparse", "wide"])
def test_compiled_loops_learn_what_their_twins_learn(kind: str, shape: str) -> None:
    x, y = drawn(kind, 700)
    x = x.astype(np.float32) if shape == "single" else x
    if shape in ("sparse", "wide"):
        x = csr_array(np.where(np.abs(x) > 0.5, x / [1.0, 5e3, 1.0, 2008.0], 0.0))
        x = hstack([x] * 150, format="csr") if shape == "wide" else x
    fitted = estimator(kind, alpha=1e-3).fit(x[:300], y[:300]) if shape != "wide" else None
    for start in (None, fitted):
        models = []
        for serving in (nullcontext(), native.numpy_serves()):
            with serving:
                model = estimator(kind, alpha=1e-3) if start is None else deepcopy(start)
                models.append(learn(model, kind, x, y, [100, 111, 400]))
        compiled, twin = (np.append(model.coef_, model.intercept_) for model in models)
        np.testing.assert_allclose(compiled, twin, rtol=1e-6, atol=1e-7 * np.abs(twin).max())
        if start is None:
            with native.numpy_serves():
                whole = learn(estimator(kind, alpha=1e-3), kind, x, y, [])
            assert np.append(whole.coef_, whole.intercept_).tobytes() == twin.tobytes()


@pytest.mark.parametrize("kind", ["classes", "squared", "poisson"])
def test_one_time_through_comes_near_the_batch_fit(kind: str) -> None:
    x, y = drawn(kind, 3000)
    batch, online = estimator(kind).fit(x, y), learn(estimator(kind), kind, x, y, [])
    a, b = (m.decision_function(x) if kind == "classes" else np.log(m.predict(x)) if kind == "poisson" else m.predict(x)
            for m in (batch, online))  # fmt: skip
    assert np.sqrt(np.mean((a - b) ** 2)) < 0.05


def test_least_squares_are_exact_row_by_row() -> None:
    x, y = drawn("squared", 640)
    batch = LinearRegressor(alpha=1e-4).fit(x, y)
    online = learn(LinearRegressor(alpha=1e-4), "squared", x, y, [100])
    # But for the faint curvature of a hundredth of a row and the turns of the penalty.
    np.testing.assert_allclose(online.predict(x), batch.predict(x), atol=2e-3)


@pytest.mark.parametrize("kind", ["classes", "squared", "poisson"])
def test_it_goes_on_from_a_certified_fit(kind: str) -> None:
    x, y = drawn(kind, 4000)
    half = estimator(kind).fit(x[:3000], y[:3000])
    before = half.coef_.copy()
    half.partial_fit(x[3000:], y[3000:])
    whole = estimator(kind).fit(x, y)
    away = np.abs(half.coef_ - whole.coef_).max(), np.abs(before - whole.coef_).max()
    assert 0.0 < away[0] < 0.25 * away[1]
    assert not half.certificate_.certified
    assert half.certificate_.rows == 4000
    assert "one by one" in str(half.certificate_)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_first_row_that_leads_far_off_is_forgotten(compiled: bool) -> None:
    """Of two first rows, alike but for their labels, came predictors of 100: steps ended on the way down from there.

    A curvature of e^74 then held the point for good: coefficients were 75 off after 2,000 rows.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    truth = np.array([0.5, 0.3, -0.2])
    rng.gamma(2.0, 0.5, 2000)
    y = rng.poisson(np.exp(X @ truth)).astype(np.float64)
    with nullcontext() if compiled else native.numpy_serves():
        model = LinearRegressor(loss="poisson", alpha=0.0).partial_fit(X, y)
    assert np.abs(model.coef_ - truth).max() < 0.1


def test_the_first_rows_are_not_predicted_as_if_for_sure() -> None:
    """Fewer rows than columns can be told apart without error, of which a faint penalty made logits of 20."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 28))
    eta = X @ (rng.normal(size=28) / 28**0.5)
    y = rng.uniform(size=400) < 1.0 / (1.0 + np.exp(-eta))
    model, lost = LinearClassifier(alpha=1e-5).partial_fit(X[:1], y[:1], classes=[False, True]), 0.0
    for row in range(1, 400):
        (found,) = model.decision_function(X[row : row + 1])
        lost += np.logaddexp(0.0, -found if y[row] else found)
        model.partial_fit(X[row : row + 1], y[row : row + 1])
    assert lost / 399 < 0.72  # the model without features: 0.69; it was 1.7


def test_the_prior_of_the_first_rows_is_taken_back() -> None:
    x, y = drawn("classes", 16_384)
    model = learn(LinearClassifier(alpha=1e-3), "classes", x, y, [31, 500])
    learner: Learner = model._learner
    assert _share_of_prior(learner, 0) == 1.0
    assert _share_of_prior(learner, learner.blocks) < 0.003
    batch = LinearClassifier(alpha=1e-3).fit(x, y)
    np.testing.assert_allclose(model.predict_proba(x), batch.predict_proba(x), atol=5e-3)


def test_what_is_taken_from_the_prior_is_taken_from_the_curvature_alone() -> None:
    x, y = drawn("classes", 1024)
    before: Learner = learn(LinearClassifier(alpha=1e-3), "classes", x[:1000], y[:1000], [])._learner
    after = _faded(replace(before, blocks=16))
    assert before.prior is not None
    gone = np.append(0.0, before.prior * (_share_of_prior(before, 4) - _share_of_prior(before, 16)))
    assert gone[1] > 0.1
    states: Any = before.state, after.state
    curvatures = [np.linalg.inv(state.inverse) for state in states]
    np.testing.assert_allclose(curvatures[0] - np.diag(gone), curvatures[1], rtol=1e-7, atol=1e-7)
    # What the rows said, curvature times parameters, stays.
    said = [curvature @ state.parameters for curvature, state in zip(curvatures, states, strict=True)]
    np.testing.assert_allclose(said[0], said[1], rtol=1e-7, atol=1e-7)
    assert _faded(replace(before, blocks=32)).state is before.state


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("alpha", [1e-2, 1.0])
def test_payments_of_the_penalty_that_wait_are_made(alpha: float, compiled: bool) -> None:
    x, y = drawn("squared", 2048)
    with nullcontext() if compiled else native.numpy_serves():
        online = learn(LinearRegressor(alpha=alpha), "squared", x / [1.0, 1e3, 1e-4, 2.0], y, [100])
    batch = LinearRegressor(alpha=alpha).fit(x / [1.0, 1e3, 1e-4, 2.0], y)
    without = LinearRegressor(alpha=0.0).fit(x / [1.0, 1e3, 1e-4, 2.0], y)
    away = np.abs(online.coef_ - batch.coef_).max(), np.abs(without.coef_ - batch.coef_).max()
    assert away[0] < 0.04 * away[1]


def test_learners_of_normalised_updates_go_on() -> None:
    """Pickles of before have them for many columns, and know neither a prior nor blocks."""
    x = csr_array((np.random.default_rng(1).random((60, 700)) < 0.02).astype(float))
    y = np.where(np.arange(60) % 3 == 0, "yes", "no")
    model = LinearClassifier().partial_fit(x[:1], y[:1], classes=["no", "yes"])
    layout = model._learner.layout
    rows = MemoryRows(layout, (), np.zeros(0), np.ones(0))
    objective = Objective(LogisticLoss(), Quadratic(np.zeros(701)))
    state = NormalisedGradient().start(objective, rows, np.zeros(701), ReadingPlan(1, 512, 1.0, 0))
    old = replace(model._learner, state=state)
    for name in ("prior", "blocks"):
        del old.__dict__[name]
    model._learner = pickle.loads(pickle.dumps(old))
    model.partial_fit(x, y)
    assert isinstance(model._learner.state, NormalisedState)
    assert model.score(x, y) > 0.7


def test_units_of_columns_do_not_matter_without_a_penalty() -> None:
    x, y = drawn("classes", 300)
    plain = learn(LinearClassifier(alpha=0.0), "classes", x, y, [])
    scaled = learn(LinearClassifier(alpha=0.0), "classes", x * [1e6, 1e-6, 8.0, 1.0], y, [])
    np.testing.assert_allclose(plain.predict_proba(x), scaled.predict_proba(x * [1e6, 1e-6, 8.0, 1.0]), atol=1e-2)


def test_rows_without_weight_change_nothing() -> None:
    x, y = drawn("classes", 200)
    weight = np.where(np.arange(200) % 3 == 0, 0.0, 2.0)
    kept = weight > 0.0
    one = learn(LinearClassifier(), "classes", x, y, [50], weight)
    other = learn(LinearClassifier(), "classes", x[kept], y[kept], [], weight[kept])
    assert one.coef_.tobytes() == other.coef_.tobytes()


def test_more_columns_than_a_matrix_is_kept_of() -> None:
    rng = np.random.default_rng(1)
    x = csr_array((rng.random((150, 700)) < 0.02).astype(float))
    y = np.where(x @ rng.normal(size=700) > 0.0, "yes", "no")
    whole = learn(LinearClassifier(), "classes", x, y, [])
    pieces = learn(LinearClassifier(), "classes", x, y, [20, 21, 90])
    assert whole.coef_.tobytes() == pieces.coef_.tobytes()
    assert whole.score(x, y) > 0.8
    fitted = LinearClassifier().fit(x, y)
    with pytest.raises(UsageError, match="at most 512 coefficients"):
        fitted.partial_fit(x, y)


def test_what_partial_fit_needs_is_said() -> None:
    x, y = drawn("classes", 60)
    with pytest.raises(UsageError, match=r"Give all: classes=\[0, 1\]"):
        LinearClassifier().partial_fit(x, y)
    with pytest.raises(UsageError, match="the same ones, two or more"):
        LinearClassifier().partial_fit(x, y, classes=["no"])
    with pytest.raises(DataError, match="A label is 'yes'"):
        LinearClassifier().partial_fit(x, y, classes=["no", "nay"])
    with pytest.raises(UsageError, match="needs all rows first"):
        LinearClassifier(standardize=True).partial_fit(x, y, classes=["no", "yes"])


@pytest.mark.parametrize("kind", ["classes", "squared", "poisson"])
@pytest.mark.parametrize("batch_size", [1, 64, "full"])
def test_every_batch_size_has_the_same_objective(kind: str, batch_size: Any) -> None:
    x, y = drawn(kind, 800)
    full = estimator(kind).fit(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # online may end where nothing can be proved
        model = estimator(kind, batch_size=batch_size).fit(x, y)
    proved = model.certificate_.loss_bound
    assert proved is not None or batch_size == 1
    away = model.objective_ - full.objective_
    assert -1e-12 <= away < (1e-3 if batch_size == 1 else 1e-9)
    assert proved is None or away <= proved + full.certificate_.loss_bound + 1e-14


def test_a_batch_size_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="The batch size is 'some'"):
        LinearClassifier(batch_size="some").fit(*drawn("classes", 50))


@pytest.mark.parametrize(
    ("loss", "code"), [("squared", "label-not-finite"), ("huber", "label-not-finite"), ("poisson", "label-negative")]
)
@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_a_label_that_is_none_is_refused(loss: str, code: str, fit: str) -> None:
    """scikit-learn makes numbers of objects after it looked for those that are missing."""
    y = np.array([None, *range(19)], dtype=object)
    with pytest.raises(DataError) as refused:
        getattr(LinearRegressor(loss=loss), fit)(np.arange(20.0)[:, None], y)
    assert refused.value.code == code


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_sums_that_overflow_are_refused(fit: str) -> None:
    """Squares of labels, and weights: an error of the floats came of them, and numbers that are none."""
    x, y = np.arange(20.0)[:, None], np.arange(20.0)
    with pytest.raises(DataError, match="squares overflow") as refused:
        getattr(LinearRegressor(), fit)(x, y + 1e200)
    assert refused.value.code == "value-too-large"
    with pytest.raises(DataError, match="largest float") as refused:
        getattr(LinearRegressor(), fit)(x, y, sample_weight=np.full(20, 1e308))
    assert refused.value.code == "weight-not-usable"
