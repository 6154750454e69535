"""Triangles in strips: the bits are those of one thread, and the residuals those that the bounds stand on."""

from __future__ import annotations

import numpy as np
import pytest

from batchlearn.data.rows.threads import one_blas_thread
from batchlearn.kernels.design import Floats
from batchlearn.kernels.rounding import accumulated
from batchlearn.objectives import factor
from batchlearn.objectives.factor import NotPositiveDefinite, factorise, inverse_for_statistics
from batchlearn.objectives.triangles import factor_in_strips, invert_in_strips, square_in_strips


def made(size: int, seed: int = 0) -> Floats:
    """Return a symmetric matrix with a unit diagonal and a condition of some thousands."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(size, size)) * np.geomspace(1.0, 0.01, size)
    matrix = half @ half.T + 1e-3 * np.eye(size)
    root = np.sqrt(np.diagonal(matrix))
    return np.asfortranarray(matrix / root[:, None] / root)


@pytest.mark.parametrize("size", [1, 2, 127, 128, 129, 257, 700, 1100, 2049])
def test_factor_inverse_and_square_have_the_residuals_that_are_charged(size: int) -> None:
    matrix = made(size)
    lower, gamma = matrix.copy(order="F"), accumulated(size + 4)
    assert factor_in_strips(lower, 1) == 0
    kept = np.tril(lower)
    slack = 2.0 * accumulated(size + 4)  # of the products that look
    assert np.all(np.abs(kept @ kept.T - matrix) <= (gamma + slack) * (np.abs(kept) @ np.abs(kept).T))
    invert_in_strips(lower, 1)
    assert np.array_equal(lower, np.tril(lower))
    assert np.all(np.abs(kept @ lower - np.eye(size)) <= (gamma + slack) * (np.abs(kept) @ np.abs(lower)) + 1e-300)
    scale = np.linspace(1.0, 2.0, size)
    square = square_in_strips(lower, scale, 1)
    assert np.array_equal(square, square.T)
    size_of = np.abs(lower).T @ np.abs(lower) * scale[:, None] * scale
    assert np.all(np.abs(square - scale[:, None] * (lower.T @ lower) * scale) <= slack * size_of)


def test_no_bit_depends_on_the_number_of_threads() -> None:
    matrix = np.ascontiguousarray(made(1300))
    with one_blas_thread():
        alone = factorise(matrix, 0.0)
        for threads in (2, 3, 8):
            shared = factorise(matrix, 0.0, threads)
            assert np.array_equal(shared.inverse, alone.inverse)
            assert np.array_equal(shared.inverse_hessian, alone.inverse_hessian)


@pytest.mark.parametrize(("condition", "single"), [(1e1, True), (1e2, True), (1e9, False)])
def test_an_inverse_for_statistics_has_three_digits_in_either_precision(
    condition: float, single: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    basis, _ = np.linalg.qr(rng.normal(size=(300, 300)))
    size = np.geomspace(1e-6, 1e3, 300)
    matrix = (basis * np.geomspace(1.0, 1.0 / condition, 300)) @ basis.T * size[:, None] * size
    exact = factorise(matrix, 0.0).inverse_hessian
    assert np.array_equal(inverse_for_statistics(matrix), exact)
    monkeypatch.setattr(factor, "_LARGEST_IN_DOUBLE", 299)
    found = inverse_for_statistics(matrix, 2)
    assert found.dtype == (np.float32 if single else np.float64)
    root = np.sqrt(np.diagonal(exact))
    assert np.all(np.abs(found - exact) <= 1e-3 * root[:, None] * root)
    matrix[7] = matrix[:, 7] = 0.0
    with pytest.raises(NotPositiveDefinite, match="no curvature"):
        inverse_for_statistics(matrix)
    matrix[7, 7] = -1.0 + 1e-300
    with pytest.raises(NotPositiveDefinite):
        inverse_for_statistics(matrix)


@pytest.mark.parametrize("bad", [0, 300, 699, 900])
def test_where_a_minor_has_no_factor_it_is_said_at_which(bad: int) -> None:
    matrix = np.asfortranarray(np.eye(901))
    matrix[bad, bad] = -1.0
    assert factor_in_strips(matrix, 2) == bad + 1
