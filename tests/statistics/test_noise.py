"""Gradient noise against covariances of written-out row gradients, and against what it says about batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from tests.statistics.test_totals import written
from tests.training.trials import dense_rows, random_trial

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import Factor, factorise
from batchlearn.objectives.losses import LOSSES, LogisticLoss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.statistics.noise import Noise, NoiseTotal, gradient_noise
from batchlearn.statistics.objective import Objective


@pytest.fixture(params=[(loss, seed) for loss in sorted(LOSSES) for seed in range(4)], ids=str)
def posed(request: pytest.FixtureRequest) -> tuple[Objective, MemoryRows, Floats]:
    loss, seed = request.param
    rng = np.random.default_rng(seed)
    trial = random_trial(rng, ("weighted", "sparse", "everything", "grouped")[seed], loss)
    return trial.objective, trial.rows, 0.3 * rng.normal(size=trial.rows.layout.size)


def row_gradients(objective: Objective, rows: MemoryRows, w: Floats) -> Floats:
    """Write out the gradient of each row that counts, weight / mean weight times its own, (n, d)."""
    X, label, weight, offset = written(rows, objective.loss.name)
    slope = objective.loss.slope(X @ w + offset, label)
    return np.asarray(X * (slope * weight / weight.mean())[:, None])


def one_noise(objective: Objective, rows: MemoryRows, w: Floats, factor: Factor | None = None) -> Noise:
    (noise,) = gradient_noise(objective, rows, (w,), factor)
    return noise


def factor_at(objective: Objective, rows: MemoryRows, w: Floats) -> Factor:
    return factorise(objective.expand(rows, w).hessian, 0.0)


def test_the_noise_is_the_trace_of_the_covariance_of_row_gradients(posed: tuple[Objective, MemoryRows, Floats]) -> None:
    objective, rows, w = posed
    gradients = row_gradients(objective, rows, w)
    covariance = np.atleast_2d(np.cov(gradients.T, bias=True))
    full = gradients.mean(axis=0) + objective.penalty.gradient(w)
    scale = float(np.sum(gradients**2)) / len(gradients)
    noise = one_noise(objective, rows, w)
    assert noise.rows == len(gradients)
    assert noise.trace == pytest.approx(np.trace(covariance), rel=1e-9, abs=1e-12 * scale)
    assert noise.gradient_square == pytest.approx(full @ full, rel=1e-9, abs=1e-12 * scale)
    factor = factor_at(objective, rows, w)
    inverse = factor.inverse_hessian
    preconditioned = one_noise(objective, rows, w, factor)
    scale = float(np.einsum("nd,de,ne->", gradients, inverse, gradients)) / len(gradients)
    assert preconditioned.trace == pytest.approx(np.trace(inverse @ covariance), rel=1e-9, abs=1e-12 * scale)
    assert preconditioned.gradient_square == pytest.approx(full @ inverse @ full, rel=1e-9, abs=1e-12 * scale)


def test_a_batch_is_noisier_by_the_trace_over_its_size(posed: tuple[Objective, MemoryRows, Floats]) -> None:
    objective, rows, w = posed
    gradients = row_gradients(objective, rows, w) + objective.penalty.gradient(w)
    pairs = (gradients[:, None, :] + gradients[None, :, :]) / 2.0  # every batch of two, drawn with replacement
    noise = one_noise(objective, rows, w)
    scale = float(np.sum(gradients**2)) / len(gradients)
    expected = float(np.sum(pairs**2)) / len(gradients) ** 2
    assert noise.gradient_square + noise.trace / 2.0 == pytest.approx(expected, rel=1e-9, abs=1e-12 * scale)


def test_rows_without_weight_and_the_size_of_weights_change_nothing() -> None:
    rng = np.random.default_rng(3)
    dense, label = rng.normal(size=(50, 3)), rng.normal(size=50)
    weight = rng.uniform(0.5, 2.0, 50) * (np.arange(50) % 5 > 0)
    objective, w = Objective(LOSSES["squared"], Quadratic(np.full(4, 0.1))), rng.normal(size=4)
    rows = dense_rows(dense, label, weight)
    kept = weight > 0
    fewer = dense_rows(dense[kept], label[kept], 7.0 * weight[kept])
    a, b = one_noise(objective, rows, w), one_noise(objective, fewer, w)
    assert a.rows == b.rows == 40
    assert a.trace == pytest.approx(b.trace, rel=1e-12)
    assert a.gradient_square == pytest.approx(b.gradient_square, rel=1e-12)


class ThreeClasses(LogisticLoss):
    """The slopes of a softmax of three classes, the first one the reference: two outputs a row."""

    outputs: ClassVar[int] = 2

    def slope(self, eta: Floats, label: Floats) -> Floats:
        odds = np.exp(eta)
        shares = odds / (1.0 + odds.sum(axis=0))
        return np.asarray(shares - np.stack([label == 1.0, label == 2.0]))


@pytest.mark.parametrize("kind", ["diagonal", "matrix"])
def test_several_outputs_add_up(kind: str) -> None:
    rng = np.random.default_rng(5)
    dense, label = rng.normal(size=(30, 2)), rng.integers(0, 3, 30).astype(float)
    rows, w = dense_rows(dense, label), rng.normal(size=6)
    X = np.column_stack([np.ones(30), dense])
    slopes = ThreeClasses().slope(w.reshape(2, 3) @ X.T, label)
    gradients = np.concatenate([slopes[0][:, None] * X, slopes[1][:, None] * X], axis=1)
    root = rng.normal(size=(6, 6))
    metric = np.diagonal(root @ root.T).copy() if kind == "diagonal" else root @ root.T
    square, gradient, _ = rows.total(NoiseTotal(ThreeClasses(), metric), w[None])
    matrix = np.diag(metric) if kind == "diagonal" else metric
    assert square[0] == pytest.approx(float(np.einsum("nd,de,ne->", gradients, matrix, gradients)), rel=1e-12)
    np.testing.assert_allclose(gradient[0], gradients.sum(axis=0), rtol=1e-10)
    noise = one_noise(Objective(ThreeClasses(), Quadratic(np.zeros(6))), rows, w)
    assert noise.trace == pytest.approx(np.trace(np.cov(gradients.T, bias=True)), rel=1e-10)


def test_the_sampling_loss_is_what_fresh_rows_show() -> None:
    rng = np.random.default_rng(8)
    truth, excess, said = rng.normal(size=6), [], []
    objective = Objective(LOSSES["squared"], Quadratic(np.zeros(6)))
    for _ in range(200):
        X = np.column_stack([np.ones(300), rng.normal(size=(300, 5))])
        label = X @ truth + rng.standard_t(8, size=300)
        rows = dense_rows(X[:, 1:], label)
        w: Floats = np.linalg.solve(X.T @ X, X.T @ label)
        excess.append(0.5 * float((w - truth) @ (w - truth)))  # over the population, whose second moments are I
        said.append(one_noise(objective, rows, w, factor_at(objective, rows, w)).sampling_loss)
    assert np.mean(said) == pytest.approx(np.mean(excess), rel=0.15)


def test_where_the_gradient_is_zero_no_batch_is_large_enough() -> None:
    assert Noise(2.0, 0.0, 10).critical_batch == float("inf")
    assert Noise(0.0, 0.0, 10).critical_batch == 0.0
    assert Noise(2.0, 0.5, 10).critical_batch == 4.0


def test_chunks_and_threads_do_not_matter(posed: tuple[Objective, MemoryRows, Floats]) -> None:
    objective, rows, w = posed
    assert one_noise(objective, replace(rows, threads=3), w) == one_noise(objective, rows, w)


def test_several_points_are_each_as_if_alone(posed: tuple[Objective, MemoryRows, Floats]) -> None:
    objective, rows, w = posed
    points = (w, 0.5 * w, np.zeros_like(w))
    for factor in (None, factor_at(objective, rows, w)):
        together = gradient_noise(objective, rows, points, factor)
        assert together == tuple(one_noise(objective, rows, point, factor) for point in points)


def test_one_row_has_no_noise() -> None:
    objective: Any = Objective(LOSSES["logistic"], Quadratic(np.full(2, 1.0)))
    noise = one_noise(objective, dense_rows(np.array([[2.0]]), np.array([1.0])), np.array([0.3, -0.1]))
    assert noise.trace == pytest.approx(0.0, abs=1e-15)
    assert noise.rows == 1
