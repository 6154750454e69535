"""More than two classes: the softmax optimum with its certificate, in the units of the columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

import batchlearn as bl
from batchlearn import DataError, LinearClassifier
from batchlearn.kernels.normalised import NormalisedState

NAMES = np.array(["ash", "birch", "oak"])


def draw(seed: int, rows: int = 400, classes: int = 3) -> tuple[Any, Any]:
    """Columns of very different scales far from zero, and labels 0 to `classes` - 1."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 4))
    eta = z @ rng.normal(size=(4, classes)) + rng.gumbel(size=(rows, classes))
    return z * [1.0, 0.1, 10.0, 3.0] + [5.0, 100.0, -3.0, 1e4], np.argmax(eta, axis=1)


def objective(fitted: LinearClassifier, coefficients: Any, x: Any, y: Any, weight: Any = None) -> float:
    """F from its definition, with K logits."""
    logits = x @ coefficients.T + fitted.intercept_
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(y)), y]
    return float(np.average(losses, weights=weight) + 0.5 * fitted.alpha * np.sum(coefficients**2))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_optimum_is_scikit_learns_and_is_certified(weighted: bool, fit_intercept: bool) -> None:
    x, y = draw(1)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    weight = np.random.default_rng(2).uniform(0.2, 3.0, len(y)) if weighted else None
    ours = LinearClassifier(alpha=0.003, fit_intercept=fit_intercept).fit(x, NAMES[y], weight)
    strength = 0.003 * (len(y) if weight is None else weight.sum())
    peer = LogisticRegression(C=1 / strength, tol=1e-12, max_iter=10_000, fit_intercept=fit_intercept)
    peer.set_params(solver="newton-cg").fit(x, NAMES[y], sample_weight=weight)
    assert ours.classes_.tolist() == NAMES.tolist()
    assert ours.coef_ == pytest.approx(peer.coef_, abs=1e-7)
    assert ours.predict_proba(x) == pytest.approx(peer.predict_proba(x), abs=1e-7)
    assert ours.predict_log_proba(x) == pytest.approx(peer.predict_log_proba(x), abs=1e-6)
    assert ours.decision_function(x).shape == (len(y), 3)
    assert (ours.predict(x) == peer.predict(x)).all()
    assert (ours.certificate_.loss_bound or 1.0) <= 1e-20
    assert ours.objective_ == pytest.approx(objective(ours, ours.coef_, x, y, weight), rel=1e-13)


def test_columns_far_from_zero_are_centred_inside_and_the_penalty_stays_theirs() -> None:
    x, y = draw(3)
    fitted = LinearClassifier(alpha=0.003).fit(x, y)
    assert (fitted.certificate_.loss_bound or 1.0) <= 1e-20
    assert fitted.objective_ == pytest.approx(objective(fitted, fitted.coef_, x, y), rel=1e-12)
    assert fitted.coef_.sum(axis=0) == pytest.approx(0.0, abs=1e-12)
    for move in (1e-4, -1e-4):  # along a column of one class, the others making room
        for j in range(4):
            moved = fitted.coef_.copy()
            moved[:, j] += move / x[:, j].std() * np.array([1.0, -0.5, -0.5])
            centred = x - x.mean(axis=0)
            at = LinearClassifier(alpha=0.003).fit(centred, y)
            assert objective(at, moved, centred, y) > objective(at, fitted.coef_, centred, y)


def test_the_bounds_hold_between_a_rough_answer_and_a_fine_one() -> None:
    x, y = draw(4)
    rough = LinearClassifier(alpha=0.01, tol=0.05).fit(x, y)
    fine = LinearClassifier(alpha=0.01, tol=1e-14).fit(x, y)
    assert rough.objective_ - fine.objective_ <= (rough.certificate_.loss_bound or 0.0) + 1e-13
    both = [rough.certificate_, fine.certificate_]
    for change, bounds in (
        (rough.coef_ - fine.coef_, [one.coefficient_bound for one in both]),
        (rough.intercept_ - fine.intercept_, [one.coefficient_bound for one in both]),
        (rough.predict_proba(x) - fine.predict_proba(x), [one.prediction_bound for one in both]),
    ):
        assert 0.0 < np.abs(change).max() <= sum(bound or 0.0 for bound in bounds)


def test_an_intercept_that_is_known_worse_than_any_coefficient_is_in_the_bound() -> None:
    # At a mean of 1e9 the intercept carries the slope's error 1e9 times.
    rng = np.random.default_rng(5)
    x = 1e9 + np.round(rng.normal(size=(200, 1)) * 64.0) / 64.0
    y = np.argmax(np.column_stack([x[:, 0] - 1e9, 0 * x[:, 0], 1e9 - x[:, 0]]) + rng.gumbel(size=(200, 3)), axis=1)
    rough = LinearClassifier(alpha=0.01, tol=0.05).fit(x, y)
    fine = LinearClassifier(alpha=0.01, tol=1e-14).fit(x, y)
    bound = rough.certificate_.coefficient_bound
    assert bound is not None
    assert np.abs(rough.coef_ - fine.coef_).max() < 1e-6 * np.abs(rough.intercept_ - fine.intercept_).max()
    assert np.abs(rough.intercept_ - fine.intercept_).max() <= bound


@pytest.mark.parametrize("rule", ["balanced", {"ash": 1.0, "birch": 7.0, "oak": 0.5}])
def test_class_weights_mean_what_they_mean_in_scikit_learn(rule: Any) -> None:
    x, y = draw(6)
    x, label = (x - x.mean(axis=0)) / x.std(axis=0), NAMES[y]
    each = compute_sample_weight(rule, label)
    weighted = LinearClassifier(alpha=0.01, class_weight=rule).fit(x, label)
    assert weighted.coef_ == pytest.approx(LinearClassifier(alpha=0.01).fit(x, label, each).coef_, abs=1e-12)
    assert bl.verify(weighted, x, label).loss_bound == pytest.approx(weighted.certificate_.loss_bound, abs=1e-15)


def test_sparse_columns_and_threads_have_the_same_optimum() -> None:
    x, y = draw(7)
    x = np.where(np.abs(x - x.mean(axis=0)) > x.std(axis=0), x - x.mean(axis=0), 0.0)
    dense, sparse = LinearClassifier(alpha=0.01).fit(x, y), LinearClassifier(alpha=0.01).fit(csr_matrix(x), y)
    assert sparse.coef_ == pytest.approx(dense.coef_, abs=1e-9)
    assert sparse.predict_proba(csr_matrix(x)) == pytest.approx(dense.predict_proba(x), abs=1e-9)
    threads = LinearClassifier(alpha=0.01, threads=3).fit(x, y)
    assert threads.coef_.tobytes() == dense.coef_.tobytes()


def test_verify_reads_the_classes_and_knows_a_moved_coefficient() -> None:
    x, y = draw(8)
    fitted = LinearClassifier(alpha=0.01).fit(x, NAMES[y])
    assert bl.verify(fitted, x, NAMES[y]).loss_bound == pytest.approx(fitted.certificate_.loss_bound, abs=1e-15)
    fitted.coef_[1, 2] += 0.01
    assert (bl.verify(fitted, x, NAMES[y]).loss_bound or 1.0) > 1e-6


def test_rows_are_learned_in_calls_however_they_are_cut() -> None:
    x, y = draw(9, rows=3000)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    whole = LinearClassifier().partial_fit(x, NAMES[y], classes=NAMES)
    pieces = LinearClassifier()
    for part in (slice(0, 1), slice(1, 700), slice(700, 3000)):
        pieces.partial_fit(x[part], NAMES[y][part], classes=NAMES)
    assert pieces.coef_.tobytes() == whole.coef_.tobytes()
    best = LinearClassifier().fit(x, NAMES[y])
    assert whole.score(x, NAMES[y]) > best.score(x, NAMES[y]) - 0.02


def test_learning_goes_on_from_a_fit_with_steps_as_short_as_after_all_its_rows() -> None:
    x, y = draw(9, rows=3000)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    start = LinearClassifier(alpha=1e-4).fit(x[:2000], y[:2000])
    on = (
        LinearClassifier(alpha=1e-4)
        .fit(x[:2000], y[:2000])
        .partial_fit(x[2000:], y[2000:], sample_weight=np.ones(1000))
    )
    best, fresh = (
        LinearClassifier(alpha=1e-4).fit(x, y),
        LinearClassifier(alpha=1e-4).partial_fit(x, y, classes=[0, 1, 2]),
    )
    lost = [objective(best, one.coef_, x, y) - best.objective_ for one in (on, fresh)]
    assert 0.0 < lost[0] < 0.2 * lost[1]
    assert 0.0 < np.abs(on.coef_ - start.coef_).max() < 0.2
    # The sums are those of learning the rows one by one, could the point stay where it is.
    learner: Any = getattr(start, "_learner")  # noqa: B009 - nothing public says it
    assert isinstance(learner.state, NormalisedState)
    assert learner.state.rows == 2000.0
    slope = start.predict_proba(x[:2000]) - np.eye(3)[y[:2000]]
    assert learner.state.slopes == pytest.approx(np.sum(slope**2), rel=1e-9)


def test_a_class_whose_rows_do_not_count_is_refused() -> None:
    x, y = draw(10)
    with pytest.raises(DataError) as caught:
        LinearClassifier().fit(x, NAMES[y], sample_weight=y != 1)
    assert caught.value.code == "class-without-rows"
    assert "birch" in caught.value.message


def test_online_reading_learns_classes_too() -> None:
    x, y = draw(11)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    best = LinearClassifier(alpha=0.01).fit(x, y)
    for batch_size in (1, 64):
        with pytest.warns(ConvergenceWarning, match="not certified"):
            fitted = LinearClassifier(alpha=0.01, batch_size=batch_size).fit(x, y)
        assert objective(fitted, fitted.coef_, x, y) < best.objective_ + 0.02


def test_many_rows_are_certified_by_what_is_near_and_their_bound_holds() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=(20_000, 80)).astype(np.float32)
    y = np.argmax(x @ rng.normal(size=(80, 4)) * 0.2 + rng.gumbel(size=(20_000, 4)), axis=1)
    fitted, nearer = (LinearClassifier(alpha=1e-3, tol=one).fit(x, y) for one in (1e-5, 1e-13))
    found, optimum = (objective(one, one.coef_, x.astype(np.float64), y) for one in (fitted, nearer))
    bound, furthest = fitted.certificate_.loss_bound, fitted.certificate_.coefficient_bound
    assert bound is not None
    assert furthest is not None
    # Exact leverages would cost more than the rest of the fit.
    assert fitted.certificate_.method == "second order, leverage bound"
    assert found - optimum <= bound <= 1e-5
    assert np.abs(fitted.coef_ - nearer.coef_).max() <= 1.001 * furthest
