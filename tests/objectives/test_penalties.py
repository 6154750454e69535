"""Quadratic penalties: value, gradient, Hessian and diagonal are those of one quadratic form."""

from __future__ import annotations

import numpy as np
import pytest

from batchlearn.kernels.design import Floats
from batchlearn.objectives.penalties import Penalty, Quadratic
from batchlearn.objectives.penalties.smoothing import differences, product, squares


def drawn(seed: int) -> tuple[Quadratic, Floats]:
    rng = np.random.default_rng(seed)
    strengths = rng.uniform(0.0, 2.0, 20)
    strengths[:1] = strengths[3:] = 0.0
    units = (differences(5, 1), product(differences(3), squares(2)))
    matrices = [unit.matrix * rng.uniform(0.1, 9.0) + unit.centre for unit in units if unit.centre is not None]
    return Quadratic(strengths, ((slice(3, 9), matrices[0]), (slice(10, 16), matrices[1]))), rng.normal(size=20)


def dense(penalty: Quadratic) -> Floats:
    matrix = np.diag(penalty.strengths)
    for part, block in penalty.blocks:
        matrix[part, part] += block
    return matrix


@pytest.mark.parametrize("seed", range(3))
def test_everything_is_that_of_one_quadratic_form(seed: int) -> None:
    penalty, w = drawn(seed)
    matrix = dense(penalty)
    assert penalty.value(w) == pytest.approx(0.5 * w @ matrix @ w)
    assert penalty.gradient(w) == pytest.approx(matrix @ w)
    assert penalty.diagonal == pytest.approx(np.diagonal(matrix))
    hessian = np.full((20, 20), 0.25)
    penalty.add_to(hessian)
    assert hessian == pytest.approx(matrix + 0.25)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_a_difference_quotient_of_the_value_and_the_hessian_of_the_gradient(seed: int) -> None:
    penalty, w = drawn(seed)
    steps = 1e-6 * np.eye(20)
    slopes = [(penalty.value(w + step) - penalty.value(w - step)) / 2e-6 for step in steps]
    assert penalty.gradient(w) == pytest.approx(np.asarray(slopes), abs=1e-7)
    curves = [(penalty.gradient(w + step) - penalty.gradient(w - step)) / 2e-6 for step in steps]
    hessian = np.zeros((20, 20))
    penalty.add_to(hessian)
    assert np.asarray(curves) == pytest.approx(hessian, abs=1e-7)


def test_asking_changes_neither_the_penalty_nor_the_parameters() -> None:
    penalty, w = drawn(4)
    before, kept = dense(penalty), w.copy()
    penalty.gradient(w)
    penalty.magnitude(w)
    penalty.add_to(np.zeros((20, 20)))
    assert penalty.diagonal is not penalty.strengths
    assert np.array_equal(dense(penalty), before)
    assert np.array_equal(w, kept)


def test_magnitudes_bound_what_rounding_can_do_to_the_gradient() -> None:
    penalty, w = drawn(5)
    assert penalty.terms == 7
    assert np.all(penalty.magnitude(w) >= np.abs(penalty.gradient(w)) * (1.0 - 1e-15))
    # On a level shape the differences cancel; the terms that cancel do not.
    shape, level = Quadratic(np.zeros(4), ((slice(0, 4), differences(4).matrix),)), np.full(4, 1e8)
    assert np.array_equal(shape.gradient(level), np.zeros(4))
    assert shape.magnitude(level) == pytest.approx(np.asarray([2.0, 4.0, 4.0, 2.0]) * 1e8)
    assert Quadratic(np.ones(3)).terms == 1


def test_a_direction_along_which_nothing_rises_does_not_stop() -> None:
    unit = differences(4)
    penalty = Quadratic(np.asarray([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]), ((slice(2, 6), unit.matrix),))
    assert not penalty.stops(np.asarray([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert not penalty.stops(np.asarray([0.0, 0.0, 1.0, 1.0, 1.0, 1.0]))
    assert penalty.stops(np.asarray([0.0, 0.0, 1.0, 1.0, 1.0, 0.0]))
    assert penalty.stops(np.asarray([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]))


@pytest.mark.parametrize("weight", [1.0, 37.5, 1e6])
def test_the_penalty_of_so_many_rows_is_what_is_in_total_and_what_is_per_row(weight: float) -> None:
    (first, w), (second, _) = drawn(6), drawn(7)
    found = Penalty(in_total=first, per_row=Quadratic(second.strengths, second.blocks[:1])).over(weight)
    matrix = dense(first) / weight + dense(Quadratic(second.strengths, second.blocks[:1]))
    assert dense(found) == pytest.approx(matrix)
    assert [part for part, _ in found.blocks] == [slice(3, 9), slice(10, 16)], "one block a term"
    assert found.value(w) == pytest.approx(0.5 * w @ matrix @ w)
    assert dense(found.times(weight)) == pytest.approx(weight * matrix)
