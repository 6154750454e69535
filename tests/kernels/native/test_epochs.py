"""Compiled loops over single rows and batches: their twins in NumPy, row for row, whatever rows are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.kernels import native
from batchlearn.kernels.design import Floats, Layout
from batchlearn.objectives.losses import LOSSES, Loss
from batchlearn.objectives.losses.huber import HuberLoss, MajorisedHuber
from batchlearn.objectives.losses.log_link import TweedieLoss
from batchlearn.objectives.penalties import Quadratic
from batchlearn.solvers import ReadingPlan
from batchlearn.solvers.batches import compiled
from batchlearn.solvers.online.diagonal import DiagonalNewton
from batchlearn.solvers.online.newton import OnlineNewton
from batchlearn.solvers.stochastic import StochasticGradient
from batchlearn.solvers.variance_reduced import VarianceReducedNewton
from batchlearn.statistics.objective import Objective
from batchlearn.training.regimes import MiniBatch, epochs

module: Any = native.compiled()
pytestmark = pytest.mark.skipif(module is None, reason="the kernels are not compiled here")

LEVELS = [level for level in (2, 3, 4) if module is not None and level <= module.level()] or [0]
KINDS: dict[str, Loss] = {**LOSSES, "tweedie 1.2": TweedieLoss(1.2), "huber": HuberLoss(1.5)}


def drawn(loss: str, seed: int, count: int = 150, **parts: Any) -> tuple[Objective, MemoryRows]:
    """Draw rows of dense columns, levels (some of them none) and sparse columns, as `parts` says, and a penalty."""
    rng = np.random.default_rng(seed)
    intercept, columns = parts.get("intercept", True), parts.get("columns", 5)
    groups, sparse = parts.get("groups", (3, 4)), parts.get("sparse", 9)
    layout = Layout(intercept, columns, groups, sparse)
    dense = rng.normal(size=(count, columns)).astype(parts.get("dtype", np.float64))
    stored = dense.T if parts.get("by_row", True) else np.ascontiguousarray(dense.T)
    codes = np.empty((len(groups), count), dtype=parts.get("codes", np.uint8))
    for place, levels in enumerate(groups):
        codes[place] = rng.integers(0, levels + 1, count)
    matrix = rng.normal(size=(count, sparse)) * (rng.random((count, sparse)) < 0.3)
    entries = csr_array(matrix.astype(parts.get("dtype", np.float64))) if sparse else None
    eta = 0.5 * rng.normal(size=count)
    label = {
        "squared": eta + rng.normal(size=count),
        "huber": eta + rng.standard_t(2, size=count),
        "logistic": (rng.random(count) < 0.5).astype(np.float64),
        "poisson": rng.poisson(np.exp(eta)).astype(np.float64),
        "gamma": rng.gamma(2.0, 1.0, count) + 0.01,
    }.get(loss, rng.poisson(1.0, count) * rng.gamma(2.0, 1.0, count))
    weight = rng.integers(0, 3, count).astype(np.float64) if parts.get("weighted") else None
    offset = 0.2 * rng.normal(size=count) if parts.get("offset") else None
    chunk = StoredChunk(stored, codes, label, weight, offset, entries)
    shift, scale = 0.1 * rng.normal(size=columns), rng.choice([0.5, 1.0, 0.7, 3.0], columns)
    strengths = rng.uniform(0.0, 1e-2, layout.size)
    blocks: tuple[tuple[slice, Floats], ...] = ()
    if groups and parts.get("blocks"):
        steps = np.diff(np.eye(groups[0]), axis=0)
        blocks = ((layout.group_slices[0], 1e-2 * steps.T @ steps),)
    rows = MemoryRows(layout, (chunk,), shift, scale)
    return Objective(KINDS[loss], Quadratic(strengths, blocks)), rows


made = st.fixed_dictionaries(
    {
        "intercept": st.booleans(),
        "columns": st.sampled_from([0, 1, 5, 8, 19]),
        "groups": st.sampled_from([(), (3,), (4, 300)]),
        "sparse": st.sampled_from([0, 6, 40]),
        "dtype": st.sampled_from([np.float32, np.float64]),
        "codes": st.sampled_from([np.uint16, np.int64]),
        "by_row": st.booleans(),
        "weighted": st.booleans(),
        "offset": st.booleans(),
        "blocks": st.booleans(),
    }
)


def online(solver: Any, objective: Objective, rows: MemoryRows, shown: MemoryRows | None = None) -> tuple[Any, Floats]:
    start = np.linspace(-0.1, 0.1, rows.layout.size)
    state = solver.start(objective, rows, start, ReadingPlan(1, len(rows), rows.total_weight, 0))
    with np.errstate(over="ignore", invalid="ignore"):
        after, predictors = solver.follow(objective, rows, state, shown)
    return after.delivered, predictors


@pytest.mark.parametrize("solver", [DiagonalNewton(), OnlineNewton()], ids=lambda solver: solver.name)
@given(loss=st.sampled_from(sorted(KINDS)), parts=made, seed=st.integers(0, 99), apart=st.booleans())
@settings(max_examples=25, deadline=None)
def test_single_rows_are_learned_as_the_twin_learns_them(
    solver: Any, loss: str, parts: dict[str, Any], seed: int, apart: bool
) -> None:
    if not parts["intercept"] and not parts["columns"] and not parts["groups"] and not parts["sparse"]:
        parts["intercept"] = True
    objective, rows = drawn(loss, seed, **parts)
    shown = drawn(loss, seed + 1, **parts)[1] if apart else None
    assert compiled(objective.loss, rows) is not None
    delivered, predictors = online(solver, objective, rows, shown)
    with native.numpy_serves():
        assert compiled(objective.loss, rows) is None
        as_twin, made_by_twin = online(solver, objective, rows, shown)
    assert np.abs(predictors).max() > 1e-3
    # A corner of Huber's loss may be met on one side by one and on the other by the other.
    close = 1e-3 if loss == "huber" else 1e-9
    np.testing.assert_allclose(predictors, made_by_twin, rtol=close, atol=close)
    np.testing.assert_allclose(delivered, as_twin, rtol=close, atol=close)


@given(loss=st.sampled_from(sorted(KINDS)), parts=made, seed=st.integers(0, 99), size=st.sampled_from([1, 7, 64, 300]))
@settings(max_examples=25, deadline=None)
def test_batches_are_stepped_along_as_the_twin_does(loss: str, parts: dict[str, Any], seed: int, size: int) -> None:
    parts["intercept"] = True
    objective, rows = drawn(loss, seed, 260, **parts)
    if size >= len(rows.counted()):
        return  # all rows at once: another path
    solver, plan = StochasticGradient(5e-4), ReadingPlan(size, 260, rows.total_weight, 0)
    state = solver.start(objective, rows, np.linspace(-0.1, 0.1, rows.layout.size), plan)
    once = solver.step(objective, rows, solver.step(objective, rows, state))
    with native.numpy_serves():
        twin = solver.step(objective, rows, solver.step(objective, rows, state))
    assert np.abs(twin.parameters - state.parameters).max() > 1e-6
    assert (once.steps, once.mean.batches, once.mean.length) == (twin.steps, twin.mean.batches, twin.mean.length)
    np.testing.assert_allclose(once.parameters, twin.parameters, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(once.delivered, twin.delivered, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("loss", sorted(KINDS))
@pytest.mark.parametrize("parts", [{}, {"weighted": True, "offset": True, "blocks": True, "sparse": 0}])
def test_variance_reduced_steps_are_those_of_the_twin_in_single_precision(loss: str, parts: dict[str, Any]) -> None:
    objective, rows = drawn(loss, 4, 600, **parts)

    def end() -> Floats:
        *_, last = epochs(objective, rows, MiniBatch(50), VarianceReducedNewton(), passes=4.0)
        return last.parameters

    found = end()
    with native.numpy_serves():
        np.testing.assert_allclose(found, end(), rtol=0.0, atol=1e-5)
    assert np.abs(found).max() > 1e-2


@pytest.mark.parametrize("level", LEVELS)
def test_diagonal_steps_have_the_same_bits_in_every_instruction_set_and_however_rows_are_cut(level: int) -> None:
    solver, (objective, rows) = DiagonalNewton(), drawn("logistic", 8, 400, groups=(3, 7), sparse=40)
    expected, predictors = online(solver, objective, rows)
    state = solver.start(objective, rows, np.linspace(-0.1, 0.1, rows.layout.size), ReadingPlan(1, 400, 400.0, 0))
    highest = module.level()
    try:
        module.use_level(level)
        for stretch in rows.stretches(np.arange(400), 37):
            first = 400 - len(predictors)
            state, made_now = solver.follow(objective, stretch, state)
            np.testing.assert_array_equal(made_now, predictors[: len(made_now)])
            predictors = predictors[len(made_now) :]
            assert first >= 0
    finally:
        module.use_level(highest)
    np.testing.assert_array_equal(state.delivered, expected)


@pytest.mark.parametrize("level", LEVELS)
def test_steps_along_gradients_have_the_same_bits_in_every_instruction_set(level: int) -> None:
    solver, (objective, rows) = StochasticGradient(0.01), drawn("poisson", 8, 300, columns=19)
    state = solver.start(objective, rows, np.zeros(rows.layout.size), ReadingPlan(64, 300, 300.0, 0))
    highest, expected = module.level(), solver.step(objective, rows, state)
    try:
        module.use_level(level)
        found = solver.step(objective, rows, state)
    finally:
        module.use_level(highest)
    np.testing.assert_array_equal(found.parameters, expected.parameters)
    np.testing.assert_array_equal(found.delivered, expected.delivered)


@pytest.mark.parametrize("level", LEVELS)
def test_online_newton_agrees_in_every_instruction_set_and_cuts_at_blocks_change_no_bit(level: int) -> None:
    solver, (objective, rows) = OnlineNewton(), drawn("poisson", 8, 320)
    expected, _ = online(solver, objective, rows)
    state = solver.start(objective, rows, np.linspace(-0.1, 0.1, rows.layout.size), ReadingPlan(1, 320, 320.0, 0))
    highest = module.level()
    try:
        module.use_level(level)
        for stretch in rows.stretches(np.arange(320), 32):
            state, _ = solver.follow(objective, stretch, state)
        whole, _ = online(solver, objective, rows)
    finally:
        module.use_level(highest)
    np.testing.assert_array_equal(state.delivered, whole)
    np.testing.assert_allclose(whole, expected, rtol=1e-9, atol=1e-12)


def test_the_inverse_curvature_stays_symmetric_to_the_bit() -> None:
    objective, rows = drawn("logistic", 2, 500)
    state = OnlineNewton().start(objective, rows, np.zeros(rows.layout.size), ReadingPlan(1, 500, 500.0, 0))
    after, _ = OnlineNewton().follow(objective, rows, state)
    np.testing.assert_array_equal(after.inverse, after.inverse.T)
    np.linalg.cholesky(after.inverse)


def test_a_state_is_not_changed_by_what_follows_from_it() -> None:
    objective, rows = drawn("logistic", 3)
    solvers: tuple[Any, ...] = (DiagonalNewton(), OnlineNewton())
    for solver in solvers:
        plan = ReadingPlan(1, len(rows), rows.total_weight, 0)
        start = solver.start(objective, rows, np.zeros(rows.layout.size), plan)
        once, _ = solver.follow(objective, rows, start)
        twice, _ = solver.follow(objective, rows, once)
        again, _ = solver.follow(objective, rows, once)
        np.testing.assert_array_equal(twice.parameters, again.parameters)
        assert not np.any(start.parameters)


def test_twin_and_compiled_loops_go_on_from_each_other() -> None:
    solver, (objective, rows) = DiagonalNewton(), drawn("logistic", 5)
    state = solver.start(objective, rows, np.zeros(rows.layout.size), ReadingPlan(1, 150, 150.0, 0))
    plain, _ = solver.follow(objective, rows, state)
    plain, _ = solver.follow(objective, rows, plain)
    with native.numpy_serves():
        mixed, _ = solver.follow(objective, rows, state)
    mixed, _ = solver.follow(objective, rows, mixed)
    np.testing.assert_allclose(mixed.delivered, plain.delivered, rtol=1e-10, atol=1e-13)
    with native.numpy_serves():
        mixed, _ = solver.follow(objective, rows, mixed)
    plain, _ = solver.follow(objective, rows, plain)
    np.testing.assert_allclose(mixed.delivered, plain.delivered, rtol=1e-10, atol=1e-13)


def test_losses_written_in_numpy_go_through_the_twin() -> None:
    _, rows = drawn("huber", 1)

    class Own(HuberLoss):
        """Of the same name, and another loss."""

    for loss in (MajorisedHuber(1.0), Own(1.0)):
        assert compiled(loss, rows) is None


def test_what_does_not_fit_is_refused_before_anything_is_read() -> None:
    none = np.empty((0, 3))
    label, whole = np.zeros(3), np.empty((0, 3), dtype=np.uint8)
    empty, places = np.empty(0), np.empty(0, dtype=np.int64)
    rows = module.LearnedRows(none, empty, empty, True, whole, places, label, None, None)
    pointers, indices = np.array([0, 1, 1, 2]), np.array([0, 4])
    with pytest.raises(ValueError, match="indices are columns"):
        rows.set_sparse(pointers, indices, np.ones(2), 4, None)
    with pytest.raises(ValueError, match="pointers rise"):
        rows.set_sparse(np.array([0, 2, 1, 2]), indices, np.ones(2), 5, None)
    with pytest.raises(ValueError, match="pointers rise"):
        rows.set_sparse(np.array([0, 1, 1, 3]), indices, np.ones(2), 5, None)
    with pytest.raises(ValueError, match="a label a row"):
        module.LearnedRows(none, empty, empty, True, whole, places, np.zeros(2), None, None)
    with pytest.raises(ValueError, match="within the coefficients"):
        module.Penalised(np.zeros(2), np.array([1]), np.array([3]), np.zeros(4))
    with pytest.raises(ValueError, match="a state of such rows"):
        module.follow_newton(
            rows,
            None,
            0,
            0.0,
            np.zeros(2),
            np.eye(2),
            None,
            None,
            np.zeros(1),
            np.zeros(1, dtype=np.int64),
            32,
            1,
            0.0,
            label,
        )


def test_codes_beyond_the_levels_touch_nothing() -> None:
    layout, count = Layout(True, 0, (3,)), 6
    label = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    results = []
    for beyond in (3, 200):
        codes = np.array([[0, beyond, 2, beyond, 1, 0]], dtype=np.uint8)
        rows = MemoryRows(layout, (StoredChunk(np.empty((0, count)), codes, label),), np.zeros(0), np.ones(0))
        objective = Objective(LOSSES["logistic"], Quadratic(np.zeros(4)))
        state = DiagonalNewton().start(objective, rows, np.zeros(4), ReadingPlan(1, count, 6.0, 0))
        results.append(DiagonalNewton().follow(objective, rows, state)[1])
    np.testing.assert_array_equal(results[0], results[1])
