"""The factor: right where it answers, refusing where it could not vouch."""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import mp
from tests.objectives.oracle import exact

from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import Factor, NotPositiveDefinite, factorise, step_factor


def spread(rng: np.random.Generator, size: int, condition: float) -> Floats:
    """Draw a positive definite matrix with this condition and columns of very different sizes."""
    basis, _ = np.linalg.qr(rng.normal(size=(size, size)))
    matrix = (basis * np.geomspace(1.0, 1.0 / condition, size)) @ basis.T
    scale = 10.0 ** rng.uniform(-6, 6, size)
    matrix = matrix * scale[:, None] * scale
    return np.asarray((matrix + matrix.T) / 2.0)


def test_solve_and_inverse_are_those_of_linear_algebra() -> None:
    rng = np.random.default_rng(1)
    matrix = spread(rng, 7, 1e3)
    vector = rng.normal(size=7)
    factor = factorise(matrix, 0.0)
    inverse = mp.inverse(mp.matrix([exact(row) for row in matrix]))
    solution = [float(v) for v in inverse * mp.matrix(exact(vector))]
    expected = np.array(inverse.tolist(), dtype=np.float64)
    root = np.sqrt(np.diagonal(expected))
    np.testing.assert_allclose(factor.solve(vector), solution, rtol=1e-11)
    np.testing.assert_allclose(
        factor.inverse_hessian / root[:, None] / root, expected / root[:, None] / root, atol=1e-11
    )
    np.testing.assert_allclose(factor.coefficient_norms(), root, rtol=1e-11)


@pytest.mark.parametrize("condition", [1.0, 1e4, 1e8, 1e11])
def test_norms_are_upper_bounds(condition: float) -> None:
    rng = np.random.default_rng(2)
    for _ in range(10):
        size = int(rng.integers(1, 6))
        matrix = spread(rng, size, condition)
        factor = factorise(matrix, 0.0)
        inverse = mp.inverse(mp.matrix(size, size) + mp.matrix([exact(row) for row in matrix]))
        for vector in rng.normal(size=(5, size)):
            v = mp.matrix(exact(vector))
            truth = mp.sqrt((v.T * inverse * v)[0])
            assert truth <= factor.norm(vector) <= truth * (1 + mp.mpf("1e-13") * condition)
        for j, norm in enumerate(factor.coefficient_norms()):
            assert mp.sqrt(inverse[j, j]) <= norm


@pytest.mark.parametrize("condition", [1.0, 1e8])
def test_a_factor_to_step_by_solves_as_the_proved_one(condition: float) -> None:
    rng = np.random.default_rng(6)
    matrix = spread(rng, 7, condition)
    vector = rng.normal(size=7)
    light, proved = step_factor(matrix), factorise(matrix, 0.0)
    np.testing.assert_allclose(light.solve(vector), proved.solve(vector), rtol=1e-12 * condition)
    column = rng.normal(size=(7, 6))
    with pytest.raises(NotPositiveDefinite):
        step_factor(column @ column.T)


def test_a_norm_covers_every_vector_within_the_error() -> None:
    rng = np.random.default_rng(3)
    matrix = spread(rng, 4, 1e4)
    factor, vector, error = factorise(matrix, 0.0), rng.normal(size=4), rng.uniform(0.0, 0.1, 4)
    for signs in np.array(np.meshgrid(*[[-1.0, 1.0]] * 4)).reshape(4, -1).T:
        assert factor.norm(vector + signs * error) <= factor.norm(vector, error) * (1.0 + 1e-12)


def test_an_error_of_the_matrix_makes_every_norm_larger_by_what_it_may_hide() -> None:
    rng = np.random.default_rng(4)
    matrix, vector, size = spread(rng, 5, 1e2), rng.normal(size=5), np.ones((5, 5))
    relative = 1e-5
    factor = factorise(matrix, relative)
    root = np.sqrt(np.diagonal(matrix))
    for _ in range(50):
        noise = rng.choice([-1.0, 1.0], (5, 5))
        noise = np.triu(noise) + np.triu(noise, 1).T
        other = matrix + relative * noise * root[:, None] * root * size
        assert np.sqrt(vector @ np.linalg.solve(other, vector)) <= factor.norm(vector)


def test_the_form_of_a_row_is_within_its_error() -> None:
    rng = np.random.default_rng(5)
    for condition in (1e2, 1e10):
        matrix = spread(rng, 4, condition)
        factor = factorise(matrix, 0.0)
        assert factor.form_error > 0.0
        lower = mp.cholesky(mp.matrix([exact(row) for row in matrix]))
        for row in rng.normal(size=(20, 4)):
            reach = mp.lu_solve(lower, mp.matrix(exact(row)))
            truth = mp.fdot(reach, reach)
            room = factor.form_error * float(np.sum((row / factor.diagonal) ** 2))
            form = float(row @ factor.inverse_hessian @ row)
            assert truth <= (form + room) * factor.inflation**2


def refusal(matrix: Floats, relative: float = 0.0) -> NotPositiveDefinite:
    with pytest.raises(NotPositiveDefinite) as caught:
        factorise(matrix, relative)
    return caught.value


def test_repeated_columns_are_refused_with_the_direction() -> None:
    X = np.random.default_rng(6).normal(size=(50, 3))
    X = np.column_stack([X, X[:, 0] + X[:, 1]])
    direction = refusal(X.T @ X, 1e-14).direction
    direction = direction / direction[3]
    np.testing.assert_allclose(direction, [-1.0, -1.0, 0.0, 1.0], atol=1e-6)


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.array([[1.0, 0.0], [0.0, 0.0]]), "no curvature"),
        (np.array([[1.0, 0.0], [0.0, 1e-300]]), "no curvature"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "singular"),
        (np.array([[1.0, np.inf], [np.inf, 1.0]]), "overflow"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "overflow"),
    ],
)
def test_what_has_no_factor_is_refused(matrix: Floats, said: str) -> None:
    assert said in str(refusal(matrix))


def test_a_matrix_known_too_badly_is_refused() -> None:
    matrix = np.array([[1.0, 0.999], [0.999, 1.0]])
    assert isinstance(factorise(matrix, 1e-6), Factor)
    assert "singular to working precision" in str(refusal(matrix, 1e-3))


def test_a_factor_for_steps_measures_and_takes_a_matrix_in_either_order() -> None:
    rng = np.random.default_rng(5)
    matrix, vector = spread(rng, 40, 1e3), rng.normal(size=40)
    light, turned = step_factor(matrix), step_factor(np.asfortranarray(matrix))
    assert light.norm(vector) == pytest.approx(factorise(matrix, 0.0).norm(vector), rel=1e-9)
    assert np.array_equal(light.lower, turned.lower)
    assert np.array_equal(light.lower, np.tril(light.lower)), "nothing is left above the diagonal"
