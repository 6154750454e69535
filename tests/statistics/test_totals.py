"""Totals against arithmetic on the written-out design matrix, and the rounding bound against the true error."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.special import expit
from tests.objectives.oracle import Oracle, exact
from tests.training.trials import dense_rows, random_trial

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Floats
from batchlearn.kernels.rounding import accumulated
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.penalties import Quadratic
from batchlearn.statistics.curvature import DiagonalTotal
from batchlearn.statistics.leverage import LeverageTotal
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.totals import HessianTotal, LabelTotal, LineTotal, RecessionTotal


class Written(NamedTuple):
    """A problem with everything written out as plain arrays."""

    X: Floats
    label: Floats
    weight: Floats
    offset: Floats


def written(rows: MemoryRows, loss: str) -> Written:
    size = rows.layout.size
    oracle = Oracle.of(Objective(LOSSES[loss], Quadratic(np.zeros(size))), rows)
    design = np.array([[float(v) for v in row] for row in oracle.design]).reshape(-1, size)
    parts = (np.array([float(v) for v in part]) for part in (oracle.label, oracle.weight, oracle.offset))
    return Written(design, *parts)


@pytest.fixture(params=[(loss, seed) for loss in sorted(LOSSES) for seed in range(4)], ids=str)
def posed(request: pytest.FixtureRequest) -> tuple[str, MemoryRows, Floats]:
    loss, seed = request.param
    rng = np.random.default_rng(seed)
    trial = random_trial(rng, ("weighted", "sparse", "everything", "grouped")[seed], loss)
    return loss, trial.rows, 0.3 * rng.normal(size=trial.rows.layout.size)


def derivatives(loss: str, eta: Floats, label: Floats) -> tuple[Floats, Floats]:
    if loss == "gamma":
        return 1.0 - label / np.exp(eta), label / np.exp(eta)
    if loss == "tweedie":
        root = np.exp(0.5 * eta)
        return root - label / root, 0.5 * (root + label / root)
    mean = {"squared": eta, "logistic": expit(eta), "poisson": np.exp(eta)}[loss]
    bend = {"squared": np.ones_like(eta), "logistic": mean * (1.0 - mean), "poisson": mean}[loss]
    return mean - label, bend


def test_totals_are_sums_over_the_written_out_rows(posed: tuple[str, MemoryRows, Floats]) -> None:
    loss, rows, w = posed
    X, label, weight, offset = written(rows, loss)
    slope, bend = derivatives(loss, X @ w + offset, label)
    total = rows.total(HessianTotal(LOSSES[loss]), w)
    np.testing.assert_allclose(total.gradient, X.T @ (weight * slope), rtol=1e-9, atol=1e-9 * np.abs(label).sum())
    expected = X.T @ (X * (weight * bend)[:, None])
    upper = np.triu_indices(len(w))
    np.testing.assert_allclose(total.grams[0][upper], expected[upper], rtol=1e-9, atol=1e-12)
    assert total.smallest == pytest.approx(float((weight * bend).min()), rel=1e-9)
    (diagonal,) = rows.total(DiagonalTotal(LOSSES[loss]), w)
    np.testing.assert_allclose(diagonal, np.diagonal(expected), rtol=1e-9)


def test_the_line_is_the_loss_along_it(posed: tuple[str, MemoryRows, Floats]) -> None:
    loss, rows, w = posed
    X, label, weight, offset = written(rows, loss)
    direction = np.linspace(-1.0, 1.0, len(w))
    values, reach = rows.total(LineTotal(LOSSES[loss], direction, (0.5, 0.25)), w)
    for length, value in zip((0.5, 0.25), values, strict=True):
        expected = weight @ LOSSES[loss].value(X @ (w + length * direction) + offset, label)
        assert value == pytest.approx(expected, rel=1e-9)
    assert reach == pytest.approx(float(np.abs(X @ direction).max()), rel=1e-9)


def test_leverages_and_what_follows_from_them() -> None:
    rng = np.random.default_rng(8)
    X = rng.normal(size=(30, 3))
    label = (rng.random(30) < 0.5).astype(np.float64)
    rows, w = dense_rows(X, label, chunk=7), 0.5 * rng.normal(size=4)
    design = np.column_stack([np.ones(30), X])
    root = rng.normal(size=(4, 4))
    inverse = root @ root.T
    total = rows.total(LeverageTotal(LOSSES["logistic"], inverse, np.ones(4), 0.01, 0.0, 30.0), w)
    form = np.einsum("ij,jk,ik->i", design, inverse, design)
    eta = design @ w
    slope, bend = derivatives("logistic", eta, label)
    assert total.form == pytest.approx(form.max())
    assert total.scaled == pytest.approx(np.sum(design**2, axis=1).max())
    moved = 0.01 * np.sqrt(form)
    steepest = np.maximum(expit(eta + moved) - expit(eta), expit(eta) - expit(eta - moved)).max()
    assert steepest <= total.response <= 1.2 * steepest
    left_out = eta + form / 30.0 * slope / np.maximum(1.0 - form / 30.0 * bend, 1e-10)
    losses = np.logaddexp(0.0, left_out) - label * left_out
    assert total.loss == pytest.approx(losses.sum())
    assert total.square == pytest.approx((losses**2).sum())


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_the_error_of_a_gradient_is_within_its_bound_and_not_far_from_it(loss: str) -> None:
    shares = []
    for number in range(24):
        rng = np.random.default_rng((9, number))
        trial = random_trial(rng, ("weighted", "shifted", "everything", "wild_weights")[number % 4], loss)
        w = 0.3 * rng.normal(size=trial.rows.layout.size)
        with np.errstate(over="ignore", invalid="ignore"):
            _, gradient = trial.objective.gradient(trial.rows, w)
            error = trial.objective.gradient_error(trial.rows, w).error
        if not np.all(np.isfinite(error)):
            continue
        truth = Oracle.of(trial.objective, trial.rows).gradient(exact(w))
        shares += [float(abs(g - t) / e) for g, t, e in zip(gradient, truth, error, strict=True)]
    assert len(shares) > 40
    assert max(shares) <= 1.0
    assert max(shares) >= 0.01  # a bound a hundred times too wide would be a floor a hundred times too high


def recession(X: Any, label: Any, loss: str, direction: Any, weight: Floats | None = None) -> tuple[float, float]:
    rows = dense_rows(np.asarray(X, dtype=np.float64), np.asarray(label, dtype=np.float64), weight, intercept=False)
    rise, fall = rows.total(RecessionTotal(LOSSES[loss]), np.asarray(direction, dtype=np.float64))
    return float(rise), float(fall)


def test_a_direction_that_separates_never_rises() -> None:
    assert recession([[1.0], [-2.0]], [1, 0], "logistic", [1.0]) == (0.0, 1.0)
    assert recession([[1.0], [-2.0]], [1, 0], "logistic", [-1.0]) == (1.0, 0.0)
    assert recession([[1.0], [1e9]], [0, 1], "logistic", [1.0]) == (1.0, 1.0)
    assert recession([[1.0, 0.0], [0.0, 1.0]], [3, 0], "poisson", [0.0, -1.0]) == (0.0, 1.0)
    assert recession([[1.0, 0.0], [1.0, 1.0]], [3, 0], "poisson", [-1.0, -1.0]) == (1.0, 1.0)
    assert recession([[1.0, 0.0], [0.0, 1.0]], [3, 0], "tweedie", [0.0, -1.0]) == (0.0, 1.0)
    # An amount above 0 pulls back whichever way its mean goes: gamma rows have no such direction.
    assert recession([[1.0], [2.0]], [3, 1], "gamma", [-1.0])[0] == 1.0
    assert recession([[1.0], [2.0]], [3, 1], "gamma", [1.0])[0] == 1.0


def test_rows_without_weight_have_no_say() -> None:
    assert recession([[1.0], [-2.0], [5.0]], [1, 0, 0], "logistic", [1.0], np.array([1.0, 1.0, 0.0])) == (0.0, 1.0)


def test_labels_and_offsets_are_summed_with_their_weights() -> None:
    rows = dense_rows(np.zeros((3, 1)), np.array([1.0, 2.0, 4.0]), np.array([1.0, 0.0, 2.0]), np.array([1.0, 5.0, 3.0]))
    assert rows.total(LabelTotal(LOSSES["squared"]), np.zeros(2)) == (np.array([9.0]), 7.0)


def test_gamma_is_a_little_more_than_n_roundings() -> None:
    assert accumulated(0) == 0.0
    assert accumulated(1) > 2.0**-53
    assert accumulated(10**6) == pytest.approx(10**6 * 2.0**-53, rel=1e-9)
