from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from tests.comparison.made import benchmark, run_of

from batchlearn.comparison import contenders
from batchlearn.comparison.contenders import (
    STORED,
    Budget,
    Contender,
    Run,
    RunEnd,
    default_contenders,
    mini_batch,
    passes_each,
    run_contender,
    run_of_optimum,
    seconds_each,
    value_at,
)
from batchlearn.comparison.problem import Benchmark
from batchlearn.errors import UsageError
from batchlearn.objectives.stopping import PredictionsWithin
from batchlearn.progress import finish
from batchlearn.solvers import newton, preconditioner
from batchlearn.solvers.newton import Newton
from batchlearn.training.certificate import Units
from batchlearn.training.optimise import Problem, optimise
from batchlearn.training.regimes import Checkpoint, FullBatch, MiniBatch, Online

AMPLE = Budget(3.0, 60.0)


@pytest.fixture(scope="module")
def posed() -> Benchmark:
    return benchmark()


def run(posed: Benchmark, contender: Contender, budget: Budget = AMPLE, seed: int = 0, order: str = "shuffled") -> Run:
    found: Run = finish(run_contender(posed, contender, budget, seed, order))
    return found


@pytest.mark.parametrize("contender", default_contenders(), ids=lambda one: one.name)
def test_a_run_spends_its_passes_and_comes_nearer(posed: Benchmark, contender: Contender) -> None:
    found = run(posed, contender)
    first, last = found.points[0], found.last
    assert first == (0, 0.0, 0.0, posed.optimum.null_value)
    for a, b in zip(found.points, found.points[1:], strict=False):
        assert a.rows_read < b.rows_read
        assert a.passes < b.passes
        assert a.seconds < b.seconds
    assert last.passes == pytest.approx(last.rows_read / len(posed.rows))
    assert last.value == value_at(posed, found.parameters)
    assert posed.optimum.value - (posed.loss_bound or 0.0) <= last.value < first.value
    assert 3.0 <= last.passes <= 6.0  # no more than a stretch, or an anchor, beyond


def test_full_batch_reaches_the_certified_optimum(posed: Benchmark) -> None:
    last = run(posed, Contender("full batch", FullBatch()), Budget(30.0, 60.0)).last
    assert posed.loss_bound is not None
    assert abs(last.value - posed.optimum.value) <= posed.loss_bound + 1e-15


def test_a_full_batch_goes_the_way_of_train(posed: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newton, "_LEAST_SAVED", -math.inf)
    monkeypatch.setattr(newton, "MANY", 1)
    monkeypatch.setattr(newton, "_STEPS_WORTH", 100.0)
    monkeypatch.setattr(preconditioner, "_FEWEST_ROWS", 100)
    problem = Problem(posed.objective, posed.rows, PredictionsWithin(), Units.plain(len(posed.start)), ["x"] * 99)
    posed, full, unlimited = (
        replace(posed, optimum=optimise(problem)),
        Contender("full batch", FullBatch()),
        Budget(None, 60.0),
    )
    again, found = run(posed, full, unlimited), run_of_optimum(posed, full, unlimited, 0)
    assert found is not None
    assert found.ended is again.ended is RunEnd.FINISHED
    # Among the gradients that lead it is looked at as well, and goes on from there; no number of passes ends it.
    steps = {point.passes: point for point in found.points}
    assert len([step for step in posed.optimum.trace if step.bound is None]) > 3
    for point in again.points[:-2]:
        assert point.value == pytest.approx(steps[point.passes].value, rel=1e-12)
        assert point.rows_read == steps[point.passes].rows_read
    assert posed.loss_bound is not None
    assert abs(found.last.value - again.last.value) <= posed.loss_bound
    assert posed.steps_seconds == found.last.seconds <= posed.optimum.seconds
    assert np.array_equal(found.parameters, posed.optimum.parameters)
    # With less than these steps, or another solver, it is another run.
    assert run_of_optimum(posed, full, Budget(4.0, 60.0), 0) is None
    assert run_of_optimum(posed, full, Budget(None, 1e-9), 0) is None
    assert run_of_optimum(posed, Contender("mine", FullBatch(), Newton()), unlimited, 0) is None
    assert run_of_optimum(posed, mini_batch(32), unlimited, 0) is None
    assert run(posed, full, Budget(4.0, 60.0)).last.passes == 4.0


def test_by_default_passes_end_those_that_draw_rows() -> None:
    assert [passes_each(Budget(), regime) for regime in (FullBatch(), MiniBatch(32), Online())] == [
        math.inf,
        10.0,
        10.0,
    ]
    assert [passes_each(Budget(3.0), regime) for regime in (FullBatch(), Online())] == [3.0, 3.0]


def test_seconds_end_a_run_after_the_stretch_in_which_they_are_spent(posed: Benchmark) -> None:
    found = run(posed, mini_batch(32), Budget(1000.0, 1e-9))
    assert found.ended is RunEnd.SECONDS_SPENT
    assert len(found.points) == 2
    assert run(posed, mini_batch(32)).ended in (RunEnd.PASSES_SPENT, RunEnd.FINISHED)


def test_a_run_ends_where_more_is_not_worth_it(posed: Benchmark) -> None:
    long = Budget(10.0, 60.0)
    whole = run(posed, mini_batch(32), long)
    enough = 0.1 * (posed.optimum.null_value - posed.optimum.value)
    ended: Run = finish(run_contender(posed, mini_batch(32), long, enough=enough))
    within = [point.value - posed.optimum.value <= enough for point in ended.points]
    assert ended.ended is RunEnd.GOOD_ENOUGH
    assert within == [False] * (len(within) - 1) + [True]
    assert ended.last.passes < whole.last.passes
    assert [point.value for point in ended.points] == [point.value for point in whole.points[: len(ended.points)]]


def test_by_default_a_run_may_take_as_long_as_the_steps_to_the_optimum(posed: Benchmark) -> None:
    assert [seconds_each(Budget(), optimum) for optimum in (1e-3, 0.4, 30.0)] == [0.1, 0.4, 1.0]
    assert seconds_each(Budget(seconds=2.0), 0.4) == 2.0
    steps = (posed.optimum.trace[-1]._replace(seconds=0.4),)
    slow = replace(posed, optimum=replace(posed.optimum, trace=steps, seconds=60.0))  # of which most were its proof
    spent = run(slow, mini_batch(1), Budget(1e6))
    assert spent.ended is RunEnd.SECONDS_SPENT
    assert spent.points[-2].seconds < 0.4 <= spent.last.seconds


def test_a_seed_decides_a_run_and_the_stored_order_is_another(posed: Benchmark) -> None:
    one, same, other = (run(posed, mini_batch(32), seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.parameters, same.parameters)
    assert not np.array_equal(one.parameters, other.parameters)
    assert not np.array_equal(one.parameters, run(posed, mini_batch(32), order=STORED).parameters)


def test_looks_at_the_objective_are_not_timed(posed: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def stretches(*_: object, **__: object) -> Iterator[Checkpoint]:
        nonlocal now
        for passes in (1.0, 2.0, 4.0):
            now += 1.0
            yield Checkpoint(round(passes * len(posed.rows)), passes, posed.start, "made", None)

    def slow_look(*_: object) -> float:
        nonlocal now
        now += 1000.0
        return 0.5

    monkeypatch.setattr(contenders, "epochs", stretches)
    monkeypatch.setattr(contenders, "value_at", slow_look)
    monkeypatch.setattr("time.perf_counter", lambda: now)
    assert [point.seconds for point in run(posed, mini_batch(32), Budget(4.0, 60.0)).points] == [0.0, 1.0, 2.0, 3.0]


def test_an_overflow_counts_as_infinite(posed: Benchmark) -> None:
    poisson = benchmark("poisson")
    far = np.full(len(poisson.start), 1e6)
    assert value_at(poisson, far) == math.inf
    assert value_at(posed, posed.optimum.parameters) == posed.optimum.value


def test_the_loss_after_so_many_passes_is_the_last_one_seen_by_then() -> None:
    found = run_of("online", (0.5, 1.0, 0.9), (1.0, 2.0, 0.8), (2.0, 3.0, 0.7))
    assert found.value_at(1.0) == 0.8
    assert found.value_at(1.9) == 0.8
    assert found.value_at(0.4) is None


def test_a_solver_that_cannot_serve_a_regime_is_refused_at_once() -> None:
    with pytest.raises(UsageError) as refusal:
        Contender("newton on few rows", MiniBatch(32), Newton())
    assert refusal.value.code == "solver-regime"
    assert Contender("newton", FullBatch(), Newton()).solver == Newton()


@pytest.mark.parametrize("name", ["passes", "seconds"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_budget_is_above_zero(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"budget of {name}") as refusal:
        Budget(**{name: value})
    assert refusal.value.code == "budget-range"
