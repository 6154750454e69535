"""Unit penalties: what they leave free, their rank, and a centre that changes no optimum of a single term."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.training.trials import amounts

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels.design import Floats, Layout
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.penalties import Quadratic
from batchlearn.objectives.penalties.smoothing import UnitPenalty, differences, product, squares
from batchlearn.solvers.newton import Newton
from batchlearn.statistics.objective import Objective

UNITS = {
    "squares": squares(5),
    "differences": differences(6),
    "with missing": differences(6, 1),
    "cyclic": differences(7, cyclic=True),
    "cyclic of two": differences(2, cyclic=True),
    "one level": differences(1, 1),
    "bins x bins": product(differences(4), differences(3)),
    "bins x levels": product(differences(4, 1), squares(3)),
    "levels x levels": product(squares(4), squares(3)),
    "hours x bins": product(differences(5, cyclic=True), differences(3, 1)),
}


@pytest.mark.parametrize("name", UNITS)
def test_the_rank_is_that_of_the_matrix(name: str) -> None:
    unit = UNITS[name]
    assert np.array_equal(unit.matrix, unit.matrix.T)
    values = np.linalg.eigvalsh(unit.matrix)
    assert values.min() > -1e-13
    assert np.sum(values > 1e-10) == unit.rank


@pytest.mark.parametrize("name", UNITS)
def test_the_centre_holds_what_the_penalty_leaves_free_and_nothing_else(name: str) -> None:
    unit = UNITS[name]
    if unit.centre is None:
        assert unit.rank == len(unit.matrix)
        return
    assert np.abs(unit.matrix @ unit.centre).max() < 1e-14
    assert np.linalg.matrix_rank(unit.centre) == len(unit.matrix) - unit.rank
    assert np.linalg.eigvalsh(unit.matrix + unit.centre).min() > 1e-3


def test_differences_are_those_of_neighbours() -> None:
    values = np.asarray([1.0, 3.0, 2.0, 7.0])
    assert values @ differences(4).matrix @ values == pytest.approx(4.0 + 1.0 + 25.0)
    assert values @ differences(4, cyclic=True).matrix @ values == pytest.approx(30.0 + 36.0)
    assert values @ differences(3, 1).matrix @ values == pytest.approx(4.0 + 1.0 + 49.0 / 3.0)
    assert values @ squares(4).matrix @ values == pytest.approx(63.0)


def test_two_levels_are_neighbours_once() -> None:
    assert np.array_equal(differences(2, cyclic=True).matrix, differences(2).matrix)


def test_a_product_costs_a_table_its_interaction_alone() -> None:
    rng = np.random.default_rng(0)
    first, second = differences(5), differences(4)
    unit = product(first, second)
    table, rows, columns = rng.normal(size=(5, 4)), rng.normal(size=(5, 1)), rng.normal(size=(1, 4))
    inner = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    along = np.sum(np.diff(inner, axis=0) ** 2) + np.sum(np.diff(inner, axis=1) ** 2)
    for shown in (table, table + rows + columns):
        flat = shown.ravel()
        assert flat @ unit.matrix @ flat == pytest.approx(along)
    assert unit.centre is not None
    assert inner.ravel() @ unit.centre @ inner.ravel() == pytest.approx(0.0, abs=1e-14)


def one_term(rng: np.random.Generator, loss: str, levels: int, n: int = 300) -> MemoryRows:
    codes = rng.integers(0, levels, n)
    eta = np.sin(codes) + 0.3
    label: Any = eta + rng.normal(size=n)
    if loss in ("gamma", "tweedie"):
        label = amounts(rng, loss, np.exp(eta))
    elif loss != "squared":
        label = (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))) if loss == "logistic" else rng.poisson(np.exp(eta))
    empty = np.zeros((0, n))
    return MemoryRows(
        Layout(True, 0, (levels,)),
        (StoredChunk(empty, codes[None], label.astype(np.float64)),),
        np.zeros(0),
        np.ones(0),
    )


def fitted(rows: MemoryRows, loss: str, unit: UnitPenalty, strength: float, centre: float) -> Floats:
    assert unit.centre is not None
    block = strength * unit.matrix + centre * unit.centre
    objective = Objective(LOSSES[loss], Quadratic(np.zeros(rows.layout.size), ((slice(1, None), block),)))
    solver = Newton()
    state = solver.start(objective, rows, objective.null_parameters(rows))
    for _ in range(30):
        state = solver.step(objective, rows, state)
    return state.parameters


@pytest.mark.parametrize("loss", sorted(LOSSES))
@pytest.mark.parametrize("cyclic", [False, True])
def test_a_centre_ten_thousand_times_as_large_changes_no_prediction(loss: str, cyclic: bool) -> None:
    rows = one_term(np.random.default_rng(1), loss, 9)
    unit = differences(9, cyclic=cyclic)
    for strength in (1e-4, 1.0):
        plain, held = (fitted(rows, loss, unit, strength, centre) for centre in (1.0, 1e4))
        assert plain[0] + plain[1:] == pytest.approx(held[0] + held[1:], abs=1e-8)
        assert plain[1:].sum() == pytest.approx(0.0, abs=1e-8)
        # It would show: without the differences the sum alone would not hold the shape.
        assert np.ptp(plain[1:]) > 1e-3
