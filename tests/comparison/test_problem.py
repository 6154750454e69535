from __future__ import annotations

import numpy as np
import pytest
from tests.comparison.made import benchmark
from tests.training.made import arrow, made

import batchlearn as bl
from batchlearn.comparison.problem import build_problem
from batchlearn.objectives.penalties import Quadratic
from batchlearn.progress import finish
from batchlearn.statistics.objective import Objective
from batchlearn.training.recipe import Recipe


def test_contenders_start_from_the_mean_and_are_measured_from_the_certified_optimum() -> None:
    posed = benchmark()
    label = posed.rows.together().label
    mean = float(label.mean())
    assert posed.start[0] == pytest.approx(np.log(mean / (1.0 - mean)))
    assert not posed.start[1:].any()
    assert posed.objective.value(posed.rows, posed.start) == posed.optimum.null_value
    assert posed.loss_bound is not None
    assert posed.loss_bound < 1e-6


def test_the_optimum_is_that_of_all_rows_at_once_whatever_the_recipe_reads() -> None:
    posed = benchmark(recipe=Recipe(loss="logistic", batch_size=32))
    assert posed.optimum.solver == "newton-cholesky"
    assert posed.loss_bound is not None


def test_a_penalty_that_is_asked_for_is_one_for_all_terms() -> None:
    objective: Objective = benchmark(recipe=Recipe(alpha=0.25)).objective
    assert isinstance(objective.penalty, Quadratic)
    assert objective.penalty.strengths[0] == 0.0
    np.testing.assert_allclose(objective.penalty.strengths[1:], 0.25)


def test_the_model_is_the_one_that_training_would_choose() -> None:
    hour = np.arange(2_000.0) % 24
    curved = {"hour": hour, "delay": (hour - 12.0) ** 2 + np.arange(2_000) % 5}
    posed = finish(build_problem(bl.read(curved, target="delay"), Recipe(), 10_000, 1))
    fit = bl.train(bl.read(curved, target="delay"))
    assert fit.structure.name == "additive"
    assert posed.notes[-1].values == {"coefficients": len(posed.start), "model": "additive", "alpha": None}
    assert len(posed.start) > 10
    # Not the line that --alpha asks for.
    line = finish(build_problem(bl.read(curved, target="delay"), Recipe(alpha=1e-3), 10_000, 1))
    assert (len(line.start), line.notes[-1].values["model"]) == (2, "linear")
    assert posed.optimum.value < 0.1 * line.optimum.value


def test_later_rows_are_judged_in_the_order_of_their_time() -> None:
    columns = made(300, 2, "logistic")
    when = np.random.default_rng(0).permutation(300).astype(float)
    kept = {name: columns[name] for name in ("first", "second", "label")} | {"when": when}
    posed = finish(build_problem(bl.read(arrow(kept), target="label", time="when"), Recipe(), 1000, 1))
    assert posed.ordered
    assert posed.later is not None
    later = np.sort(when)[240:]
    stored = when[when >= later[0]]
    np.testing.assert_array_equal(stored[posed.later_order], later)
    assert [len(posed.rows), len(posed.later)] == [240, 60]


def test_rows_are_as_wide_as_they_are_stored() -> None:
    posed = benchmark()
    assert posed.row_bytes == 2 * 8 + 1 + 8, "two numbers, a category of four levels, a label"
