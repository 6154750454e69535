"""The loop ends with a proof, says so when there is nothing to find, and answers the same however it is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.objectives.oracle import Oracle, exact
from tests.training.trials import amounts, dense_rows

from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.errors import DataError, NoFiniteOptimum
from batchlearn.kernels.design import Floats, Layout
from batchlearn.objectives.factor import FACTOR_LIMIT
from batchlearn.objectives.losses import LOSSES
from batchlearn.objectives.stopping import LossWithin, PredictionsWithin, Stopping
from batchlearn.solvers.newton import Newton
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training import certificate as certificates
from batchlearn.training.certificate import LOWER_BOUND, Units
from batchlearn.training.optimise import Optimum, Problem, Status, iter_optimise, leading_names, optimise
from batchlearn.training.regimes import choose_solver

SOLVERS = (Newton(), LimitedMemory())


def problem(rows: MemoryRows, loss: str, alpha: float, stopping: Stopping | None = None) -> Problem:
    size = rows.layout.size
    names = [f"column {j}" for j in range(size)]
    objective = Objective(LOSSES[loss], ridge(rows.layout, alpha))
    return Problem(objective, rows, stopping or PredictionsWithin(), Units.plain(size), names)


def data(loss: str, n: int = 400, columns: int = 5, seed: int = 0) -> tuple[np.ndarray[Any, Any], Floats]:
    rng = np.random.default_rng((seed, n, columns))
    X = rng.normal(size=(n, columns))
    eta = np.clip(X @ rng.normal(size=columns) * 0.7, -5.0, 5.0)
    if loss == "squared":
        return X, eta + rng.normal(size=n)
    if loss in ("gamma", "tweedie"):
        return X, amounts(rng, loss, np.exp(eta))
    if loss == "poisson":
        return X, rng.poisson(np.exp(eta)).astype(np.float64)
    return X, (rng.random(n) < 1.0 / (1.0 + np.exp(-eta))).astype(np.float64)


def apart(one: Optimum, other: Optimum) -> tuple[float, float]:
    """Return how far two fits are apart and how far their bounds allow, in the worst coefficient."""
    bounds = one.certification.certificate.coefficient_bound, other.certification.certificate.coefficient_bound
    assert bounds[0] is not None
    assert bounds[1] is not None
    return float(np.max(np.abs(one.parameters - other.parameters))), bounds[0] + bounds[1]


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_loop_whose_time_is_spent_ends_where_it_stands_and_says_what_is_proved(
    solver: Newton | LimitedMemory,
) -> None:
    X, label = data("logistic")
    posed = problem(dense_rows(X, label), "logistic", 1e-3)
    whole, stopped = (optimise(replace(posed, seconds=seconds), solver=solver) for seconds in (60.0, 0.0))
    assert whole.status is Status.TOLERANCE
    assert stopped.status is Status.OUT_OF_TIME
    assert len(stopped.trace) == 1
    bound = stopped.certification.certificate.loss_bound
    assert bound is None or whole.value >= stopped.value - bound
    assert stopped.value <= stopped.null_value


# --- agreement ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_any_two_certified_fits_differ_by_no_more_than_their_bounds(loss: str) -> None:
    X, label = data(loss)
    rng = np.random.default_rng(1)
    fits = [
        optimise(problem(dense_rows(X, label, chunk=chunk), loss, 1e-3), start, solver)
        for solver in SOLVERS
        for chunk in (17, 128, 1000)
        for start in (None, 0.1 * rng.normal(size=6))
    ]
    for one in fits:
        assert one.status is Status.TOLERANCE
        assert one.certification.certificate.certified
        for other in fits:
            distance, allowed = apart(one, other)
            assert distance <= allowed
            assert abs(one.value - other.value) <= sum(
                fit.certification.certificate.loss_bound or 0.0 for fit in (one, other)
            ) + 1e-14 * (1.0 + one.value)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.name)
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_the_number_of_threads_changes_no_bit(loss: str, solver: Newton | LimitedMemory) -> None:
    X, label = data(loss, n=700)
    fits = [
        optimise(problem(replace(dense_rows(X, label, chunk=100), threads=threads), loss, 1e-3), None, solver)
        for threads in (1, 2, 3)
    ]
    for other in fits[1:]:
        assert other.parameters.tobytes() == fits[0].parameters.tobytes()
        assert other.certification.certificate == fits[0].certification.certificate


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_limited_memory_reaches_the_bound_for_many_coefficients(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "FACTOR_LIMIT", 4)
    X, label = data(loss)
    many = problem(dense_rows(X, label), loss, 1e-2, LossWithin(1e-6))
    found = optimise(many, None, LimitedMemory())
    assert found.status is Status.TOLERANCE
    certificate = found.certification.certificate
    assert certificate.method == LOWER_BOUND
    assert certificate.loss_bound is not None
    assert certificate.loss_bound <= 1e-6 * found.null_value
    oracle = Oracle.of(many.objective, many.rows)
    gap = oracle.value(exact(found.parameters)) - oracle.value(oracle.optimum(found.parameters))
    assert 0.0 <= gap <= certificate.loss_bound


# --- nothing to find ------------------------------------------------------------------------------------------------


def test_no_certificate_is_tried_where_none_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    X = rng.normal(size=(3000, 40)) * (rng.random((3000, 40)) < 0.1) * 10.0
    y = (rng.random(3000) < 1.0 / (1.0 + np.exp(-X[:, :5].sum(axis=1) - 1.0))).astype(np.float64)
    monkeypatch.setattr(certificates, "FACTOR_LIMIT", 0)
    refused = []

    def counted(rows: MemoryRows, reason: Any, *rest: Any) -> Any:
        refused.append(reason)
        return given(rows, reason, *rest)

    given = certificates.not_certified
    monkeypatch.setattr(certificates, "not_certified", counted)
    found = optimise(problem(dense_rows(X, y), "logistic", 1.0 / 3000, LossWithin(1e-2)), solver=LimitedMemory())
    assert found.certification.certificate.method == LOWER_BOUND
    assert found.certification.certificate.certified
    assert not refused


def test_separated_classes_have_no_finite_optimum() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(200, 3))
    label = (X[:, 1] > 0.1).astype(np.float64)
    with pytest.raises(NoFiniteOptimum, match=r"'column 2'.* separate the classes") as refusal:
        optimise(problem(dense_rows(X, label), "logistic", 0.0), None, Newton())
    assert refusal.value.code == "no-finite-optimum"


def test_classes_that_touch_in_one_column_have_no_finite_optimum() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(300, 3))
    X[:, 1] = rng.random(300) < 0.2  # whoever has it is of class 1
    label = np.where(X[:, 1] > 0, 1.0, (rng.random(300) < 0.4).astype(np.float64))
    with pytest.raises(NoFiniteOptimum, match="'column 2' separate the classes"):
        optimise(problem(dense_rows(X, label), "logistic", 0.0), None, Newton())


def test_a_level_without_any_count_has_no_finite_optimum() -> None:
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 4, (1, 300)).astype(np.int32)
    label = np.where(codes[0] == 2, 0.0, rng.poisson(2.0, 300)).astype(np.float64)
    chunk = StoredChunk(rng.normal(size=(1, 300)), codes, label)
    rows = MemoryRows(Layout(True, 1, (3,)), (chunk,), np.zeros(1), np.ones(1))  # code 3 is no level: the reference
    with pytest.raises(NoFiniteOptimum, match="'column 4' send the mean of rows whose label is 0 to zero"):
        optimise(problem(rows, "poisson", 0.0), None, Newton())
    assert optimise(problem(rows, "poisson", 1e-6), None, Newton()).status is Status.TOLERANCE


def test_a_huge_row_does_not_hide_that_there_is_an_optimum() -> None:
    X = np.array([[1e8], [1.0], [-1e8], [1.0], [-1.0]])
    label = np.array([1.0, 0.0, 0.0, 1.0, 1.0])
    found = optimise(problem(dense_rows(X, label, intercept=False), "logistic", 0.0), None, Newton())
    assert np.isfinite(found.parameters).all()
    assert found.certification.certificate.certified


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_columns_that_repeat_each_other_are_named(loss: str) -> None:
    X, label = data(loss, n=100)
    X[:, 3] = X[:, 0] - 2.0 * X[:, 1]
    with pytest.raises(NoFiniteOptimum, match="no unique finite optimum: 'column") as refusal:
        optimise(problem(dense_rows(X, label), loss, 0.0), None, Newton())
    named = {name for name in ("column 1", "column 2", "column 4") if name in refusal.value.message}
    assert len(named) >= 2
    assert "column 3" not in refusal.value.message
    assert "column 5" not in refusal.value.message


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_has_no_finite_intercept(label: float) -> None:
    features = np.random.default_rng(5).normal(size=(20, 2))
    with pytest.raises(NoFiniteOptimum, match="rows of both classes"):
        optimise(problem(dense_rows(features, np.full(20, label)), "logistic", 1e-2))
    with pytest.raises(NoFiniteOptimum, match=r"count above 0|finite"):
        optimise(problem(dense_rows(features, np.zeros(20)), "poisson", 1e-2))


def test_columns_too_large_to_square_are_refused() -> None:
    rows = dense_rows(np.full((10, 1), 1e200) * np.arange(10.0)[:, None], np.arange(10.0))
    with pytest.raises(DataError, match="overflow"):
        optimise(problem(rows, "squared", 1e-2), None, Newton())


# --- hard, but there ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1e-2, 1e-4, 1e-8])
@pytest.mark.parametrize("kind", ["separated", "touching", "repeated", "wide"])
def test_a_small_penalty_is_enough(kind: str, alpha: float) -> None:
    X, label = data("logistic", n=4 if kind == "wide" else 200, columns=6)
    if kind == "separated":
        label = (X[:, 0] > 0).astype(np.float64)
    elif kind == "touching":
        X[:, 0] = X[:, 0] > 1.0
        label = np.where(X[:, 0] > 0, 1.0, label)
    elif kind == "repeated":
        X[:, 1] = X[:, 0]
    else:
        label = np.array([0.0, 1.0, 0.0, 1.0])
    posed = problem(dense_rows(X, label), "logistic", alpha)
    found = optimise(posed, None, Newton())
    certificate = found.certification.certificate
    assert certificate.certified
    assert certificate.coefficient_bound is not None
    truth = Oracle.of(posed.objective, posed.rows).optimum(found.parameters)
    wrong = max(abs(a - b) for a, b in zip(exact(found.parameters), truth, strict=True))
    assert wrong <= certificate.coefficient_bound <= 0.1 * (1.0 + float(np.max(np.abs(found.parameters))))


def test_predictors_of_eight_hundred_do_no_harm() -> None:
    X = np.array([[-800.0], [-1.0], [0.5], [800.0], [1.0], [-0.5]])
    label = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    posed = problem(dense_rows(X, label), "logistic", 1e-6)
    for start in (None, np.array([0.0, 1.0]), np.array([3.0, -1.0])):
        found = optimise(posed, start, Newton())
        assert found.status is Status.TOLERANCE
        distance, allowed = apart(found, optimise(posed, None, LimitedMemory()))
        assert distance <= allowed


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_one_row_and_one_column(loss: str) -> None:
    rows = dense_rows(np.array([[2.0]]), np.array([1.0]), intercept=False)
    found = optimise(problem(rows, loss, 0.1, LossWithin(1e-20)))
    assert found.certification.certificate.certified
    posed = Oracle.of(Objective(LOSSES[loss], ridge(rows.layout, 0.1)), rows)
    assert found.parameters[0] == pytest.approx(float(posed.optimum(found.parameters)[0]), rel=1e-8)


def test_an_intercept_alone_is_the_mean() -> None:
    label = np.array([1.0, 0.0, 0.0, 1.0, 1.0])
    found = optimise(problem(dense_rows(np.empty((5, 0)), label), "logistic", 0.0))
    assert found.parameters[0] == pytest.approx(np.log(1.5), rel=1e-12)
    assert found.certification.certificate.certified


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e9, 1e15])
def test_labels_of_any_size_end_at_the_tolerance_or_the_floor(size: float) -> None:
    X, label = data("squared")
    found = optimise(problem(dense_rows(X, size * label), "squared", 1e-3))
    assert found.status is Status.TOLERANCE
    assert len(found.trace) < 10


def test_large_counts_need_few_steps() -> None:
    X, label = data("poisson")
    found = optimise(problem(dense_rows(X, 1e9 * label), "poisson", 1e-3))
    assert found.status is Status.TOLERANCE
    assert found.passes < 40


# --- weights, offsets, order ----------------------------------------------------------------------------------------


def solved(rows: MemoryRows, loss: str) -> Floats:
    return optimise(problem(rows, loss, 1e-3, LossWithin(1e-26)), None, Newton()).parameters


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_weight_of_k_is_the_row_k_times_and_zero_is_no_row(loss: str) -> None:
    X, label = data(loss)
    rng = np.random.default_rng(6)
    count = rng.integers(0, 4, len(label))
    weighted = solved(dense_rows(X, label, weight=count.astype(np.float64)), loss)
    repeated = solved(dense_rows(np.repeat(X, count, axis=0), np.repeat(label, count)), loss)
    np.testing.assert_allclose(weighted, repeated, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_rows_may_come_in_any_order(loss: str) -> None:
    X, label = data(loss)
    order = np.random.default_rng(7).permutation(len(label))
    np.testing.assert_allclose(
        solved(dense_rows(X, label), loss), solved(dense_rows(X[order], label[order], chunk=64), loss), atol=1e-12
    )


def test_rows_without_weight_may_hold_anything_finite() -> None:
    X, label = data("poisson")
    weight = np.ones(len(label))
    weight[:3] = 0.0
    strange = X.copy()
    strange[:2], strange[2] = 1e6, -1e6
    one = optimise(problem(dense_rows(strange, label, weight=weight), "poisson", 1e-3))
    other = optimise(problem(dense_rows(X[3:], label[3:]), "poisson", 1e-3))
    assert one.certification.certificate.certified
    distance, allowed = apart(one, other)
    assert distance <= allowed


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_an_offset_for_all_rows_moves_the_intercept(loss: str) -> None:
    X, label = data(loss)
    moved = solved(dense_rows(X, label, offset=np.full(len(label), 30.0)), loss)
    np.testing.assert_allclose(moved + np.append(30.0, np.zeros(5)), solved(dense_rows(X, label), loss), atol=1e-11)


# --- how it ends ----------------------------------------------------------------------------------------------------


def test_every_step_is_seen_and_the_last_is_the_best() -> None:
    X, label = data("logistic")
    seen = list(iter_optimise(problem(dense_rows(X, label), "logistic", 1e-3)))
    assert len(seen) >= 3
    assert [step.passes for step in seen] == sorted({step.passes for step in seen})
    assert seen[-1].decrement == min(step.decrement for step in seen if step.decrement is not None)
    assert seen[-1].bound is not None


def test_what_rounding_does_not_allow_ends_at_the_floor() -> None:
    X, label = data("logistic")
    found = optimise(problem(dense_rows(X, label), "logistic", 1e-3, LossWithin(1e-60)))
    assert found.status is Status.FLOOR
    certificate = found.certification.certificate
    assert certificate.loss_bound is not None
    assert certificate.floor is not None
    assert certificate.floor <= certificate.loss_bound <= 16.0 * certificate.floor


def test_limited_memory_ends_where_rounding_hides_any_further_fall() -> None:
    X, label = data("logistic")
    found = optimise(problem(dense_rows(X, label), "logistic", 1e-3, LossWithin(1e-60)), None, LimitedMemory())
    assert found.certification.certificate.certified
    assert len(found.trace) < 200


def test_the_default_stop_is_one_part_in_a_hundred_of_a_standard_error() -> None:
    X, label = data("logistic")
    found = optimise(problem(dense_rows(X, label), "logistic", 1e-3))
    assert (found.certification.certificate.radius or 1.0) * np.sqrt(len(label)) <= 0.01


def test_the_solver_follows_from_the_size() -> None:
    few = dense_rows(np.zeros((10, 20)), np.zeros(10))
    assert isinstance(choose_solver(few), Newton)
    wide = MemoryRows(Layout(True, 0, (FACTOR_LIMIT,)), (), np.zeros(0), np.zeros(0))
    assert isinstance(choose_solver(wide), LimitedMemory)


def test_leading_names_are_those_that_move_most() -> None:
    assert leading_names(["a", "b", "c"], np.array([1e-9, -2.0, 1.0])) == "'b' and 'c'"


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.name)
def test_rows_that_repeat_are_merged_on_the_way_and_all_certified(solver: Newton | LimitedMemory) -> None:
    X, label = data("logistic", 60)
    rows = dense_rows(np.repeat(X, 9, axis=0), np.repeat(label, 9), chunk=120)
    posed = problem(rows, "logistic", 1e-3)
    assert len(posed.deduplicated) < 0.2 * len(rows)
    found = optimise(posed, solver=solver)
    assert found.certification.certificate.certified
    assert found.certification.certificate.rows == len(rows)
    alone = optimise(problem(dense_rows(X, label), "logistic", 1e-3), solver=solver)
    distance, allowed = apart(found, alone)
    assert distance <= allowed
