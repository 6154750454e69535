"""Regimes read the same rows of the same objective; each has a default that needs no tuning."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from tests.solvers.problems import Posed, posed, taken
from tests.training.made import made, table_of
from tests.training.trials import dense_rows

import batchlearn as bl
from batchlearn.data.rows import Rows
from batchlearn.errors import UsageError
from batchlearn.kernels.design import Floats, Layout
from batchlearn.objectives.factor import NotPositiveDefinite
from batchlearn.objectives.losses.softmax import SoftmaxLoss
from batchlearn.objectives.stopping import LossWithin
from batchlearn.solvers import LeadPoint, Solver
from batchlearn.solvers.newton import Newton, NewtonState
from batchlearn.solvers.online.newton import OnlineNewton
from batchlearn.solvers.online.normalised import NormalisedGradient
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.solvers.stochastic import StochasticGradient
from batchlearn.solvers.variance_reduced import VarianceReducedNewton
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training.certificate import Units
from batchlearn.training.optimise import Problem, Status, optimise
from batchlearn.training.regimes import (
    Checkpoint,
    FullBatch,
    MiniBatch,
    Online,
    Regime,
    default_solver,
    epochs,
    parse_regime,
    progressive,
)

BATCH_SOLVERS: list[Solver[Any]] = [StochasticGradient(0.3), StochasticGradient(), VarianceReducedNewton()]
ONLINE_SOLVERS: list[Solver[Any]] = [OnlineNewton(), NormalisedGradient()]
REGIMES: list[Regime] = [FullBatch(), MiniBatch(32), MiniBatch(128), Online()]


def run(problem: Posed, regime: Regime, solver: Solver[Any] | None = None, **settings: Any) -> list[Checkpoint]:
    start = settings.pop("start", None)
    return list(epochs(problem.objective, problem.rows, regime, solver, start, **settings))


@pytest.mark.parametrize(
    ("given", "regime"),
    [
        ("full", FullBatch()),
        (" FULL ", FullBatch()),
        ("256", MiniBatch(256)),
        (256, MiniBatch(256)),
        (np.int64(32), MiniBatch(32)),
        ("1", Online()),
        (1, Online()),
    ],
)
def test_a_batch_size_names_a_regime(given: Any, regime: Regime) -> None:
    assert parse_regime(given) == regime


@pytest.mark.parametrize("given", ["half", "1.5", "", 0, -3, 2.0, None, True, "0"])
def test_what_is_no_batch_size_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match='"full" for all rows at once, 1 for one row at a time') as caught:
        parse_regime(given)
    assert caught.value.code == "batch-size"


def test_a_recipe_is_checked_when_it_is_built() -> None:
    with pytest.raises(UsageError):
        bl.Recipe(batch_size="some")
    assert bl.Recipe(batch_size=64).to_json()["batch_size"] == "64"


@pytest.mark.parametrize("solver", [Newton(), LimitedMemory()])
@pytest.mark.parametrize("regime", [MiniBatch(64), Online()])
def test_a_solver_that_needs_all_rows_is_refused_with_what_to_use(solver: Solver[Any], regime: Regime) -> None:
    with pytest.raises(UsageError, match=r"needs all rows at every step.*Use FullBatch\(\), or a solver") as caught:
        run(posed(rows=50), regime, solver)
    assert caught.value.code == "solver-regime"


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(UsageError, match='"shuffled" or "stored"'):
        run(posed(rows=50), Online(), order="backwards")


@pytest.mark.parametrize("loss", ["logistic", "poisson", "squared"])
@pytest.mark.parametrize("solver", [StochasticGradient(0.2), VarianceReducedNewton()], ids=lambda s: s.name)
def test_a_batch_of_all_rows_is_the_full_batch_bit_for_bit(loss: str, solver: Solver[Any]) -> None:
    problem = posed(loss)
    whole, batch = (run(problem, r, solver, passes=6.0) for r in (FullBatch(), MiniBatch(len(problem.rows))))
    assert len(whole) == len(batch) > 1
    for one, other in zip(whole, batch, strict=True):
        assert one.parameters.tobytes() == other.parameters.tobytes()
        assert one.rows_read == other.rows_read


@pytest.mark.parametrize("solver", ONLINE_SOLVERS, ids=lambda s: f"{s.name}-{s}")
def test_row_by_row_a_batch_of_all_rows_is_all_rows(solver: Solver[Any]) -> None:
    problem = posed()
    assert problem.rows.chunk_count > 1
    regimes = MiniBatch(len(problem.rows)), Online()
    whole, single = (run(problem, r, solver, passes=1.0, order="stored")[-1].parameters for r in regimes)
    assert whole.tobytes() == single.tobytes()


@pytest.mark.parametrize("regime", [MiniBatch(100), Online()])
@pytest.mark.parametrize("order", ["shuffled", "stored"])
def test_one_pass_reads_every_row_exactly_once(regime: Regime, order: str) -> None:
    problem = posed(rows=2050)
    seen: list[Floats] = []

    class Recorder(StochasticGradient):
        def step(self, objective: Objective, rows: Rows, state: Any) -> Any:
            seen.append(rows.together().block.dense[1])
            assert state.reading.size == regime.size
            return super().step(objective, rows, state)

    stretches = run(problem, regime, Recorder(0.01), passes=2.0, order=order)
    assert stretches[-1].rows_read == 2 * 2050
    assert stretches[-1].passes == 2.0
    values = np.concatenate([chunk.dense[0] for chunk in problem.rows.chunks])
    read = np.concatenate(seen).reshape(2, -1)
    for one in read:
        np.testing.assert_array_equal(np.sort(one), np.sort(values))
    assert np.array_equal(read[0], values) == (order == "stored")
    assert np.array_equal(read[0], read[1]) == (order == "stored")


@pytest.mark.parametrize("solver", [*BATCH_SOLVERS, *ONLINE_SOLVERS], ids=lambda s: f"{s.name}-{s}")
def test_rows_without_weight_change_nothing(solver: Solver[Any]) -> None:
    problem = posed(rows=900, weighted=True)
    counted = np.concatenate([chunk.weight for chunk in problem.rows.chunks if chunk.weight is not None]) > 0.0
    assert not counted.all()
    without = taken(problem.rows, np.flatnonzero(counted))
    regime = Online() if solver in ONLINE_SOLVERS else MiniBatch(32)
    answers = [
        list(epochs(problem.objective, rows, regime, solver, np.zeros(13), passes=2.5))[-1].parameters
        for rows in (problem.rows, without)
    ]
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("solver", [*BATCH_SOLVERS, *ONLINE_SOLVERS], ids=lambda s: f"{s.name}-{s}")
def test_the_seed_decides_every_bit(solver: Solver[Any]) -> None:
    problem, regime = posed(rows=600), Online() if solver in ONLINE_SOLVERS else MiniBatch(32)
    bits = [run(problem, regime, solver, seed=seed, passes=2.0)[-1].parameters.tobytes() for seed in (1, 1, 2)]
    assert bits[0] == bits[1] != bits[2]


@pytest.mark.parametrize("loss", ["logistic", "poisson", "squared"])
@pytest.mark.parametrize("regime", REGIMES, ids=str)
def test_every_default_comes_near_the_optimum(loss: str, regime: Regime) -> None:
    problem = posed(loss, rows=2000)
    end = run(problem, regime, passes=3.0 if isinstance(regime, Online) else 8.0)[-1]
    assert -1e-12 <= problem.excess(end.parameters) < 5e-4


@pytest.mark.parametrize("regime", REGIMES, ids=str)
def test_scales_of_columns_do_not_matter_to_a_default(regime: Regime) -> None:
    sizes = [1e-6, 1.0, 1e3, 1e6]
    plain, scaled = (run(posed(rows=600, scale=s), regime, passes=3.0)[-1].parameters for s in (1.0, sizes))
    np.testing.assert_allclose(plain, scaled, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("regime", REGIMES, ids=str)
def test_rows_in_the_order_of_their_labels_do_no_harm(regime: Regime) -> None:
    problem = posed(rows=2000)
    label = np.concatenate([chunk.label for chunk in problem.rows.chunks])
    ordered = problem._replace(rows=taken(problem.rows, np.argsort(label, kind="stable")))
    end = run(ordered, regime, passes=3.0 if isinstance(regime, Online) else 8.0)[-1]
    assert ordered.excess(end.parameters) < 5e-4


@pytest.mark.parametrize("loss", ["logistic", "poisson", "squared"])
def test_mini_batches_end_with_the_certificate_of_the_full_batch(loss: str) -> None:
    posed_ = posed(loss)
    problem = Problem(posed_.objective, posed_.rows, LossWithin(1e-9), Units.plain(13), ["x"] * 13)
    found = optimise(problem, regime=MiniBatch(128))
    assert found.solver == "variance-reduced-newton"
    assert found.status is Status.TOLERANCE
    bound = found.certification.certificate.loss_bound
    assert bound is not None
    assert posed_.excess(found.parameters) <= bound + 1e-14
    assert bound <= 1e-9 * found.null_value
    assert found.passes < 25
    assert [step.passes for step in found.trace] == sorted({step.passes for step in found.trace})


def test_online_says_what_is_proved_about_where_it_ended() -> None:
    posed_ = posed(rows=1000)
    problem = Problem(posed_.objective, posed_.rows, LossWithin(1e-9), Units.plain(13), ["x"] * 13)
    found = optimise(problem, regime=Online())
    assert found.solver == "online-newton"
    assert found.status in (Status.OUT_OF_STEPS, Status.REFUSED)
    bound = found.certification.certificate.loss_bound
    assert bound is None or bound >= posed_.excess(found.parameters)
    assert [step.decrement for step in found.trace] == [None] * 5
    json.dumps([step._asdict() for step in found.trace], allow_nan=False)


def test_defaults_follow_from_the_size_of_the_problem() -> None:
    problem = posed(rows=50)
    assert default_solver(problem.objective, problem.rows, MiniBatch(128)) == VarianceReducedNewton()
    assert default_solver(problem.objective, problem.rows, Online()) == OnlineNewton()
    many = replace(problem.rows, layout=replace(problem.rows.layout, groups=(6, 100_000)))
    assert default_solver(problem.objective, many, MiniBatch(128)) == StochasticGradient()
    assert default_solver(problem.objective, many, Online()) == NormalisedGradient()
    # Of many classes the factor is of all predictors, not of one.
    classes = replace(problem.objective, loss=SoftmaxLoss(200))
    assert default_solver(problem.objective, problem.rows, FullBatch()) == Newton()
    assert default_solver(classes, replace(problem.rows, layout=Layout(True, 40)), FullBatch()) == LimitedMemory()


def test_progressive_predictions_need_a_solver_that_sees_nothing_ahead() -> None:
    problem = posed(rows=60)
    assert progressive(problem.objective, problem.rows, Online()).shape == (60,)
    for regime, solver in ((MiniBatch(32), None), (Online(), StochasticGradient(0.1))):
        with pytest.raises(UsageError, match="one row at a time"):
            progressive(problem.objective, problem.rows, regime, solver)


def test_training_takes_a_batch_size_and_keeps_its_promises() -> None:
    table = table_of(made(600, loss="logistic"), time=None)
    full, batch = (bl.train(table, bl.Recipe(alpha=1e-3, holdout=0.0, batch_size=b)) for b in ("full", 64))
    assert batch.to_json()["regime"] == "64"
    assert full.to_json()["regime"] == "full"
    assert batch.solver == "variance-reduced-newton"
    assert batch.certificate.loss_bound is not None
    assert full.certificate.loss_bound is not None
    assert abs(batch.objective - full.objective) <= batch.certificate.loss_bound + full.certificate.loss_bound
    assert batch.model.encoding == full.model.encoding
    json.dumps(batch.record(), allow_nan=False)


def test_closing_a_run_early_is_fine() -> None:
    steps = epochs(posed().objective, posed().rows, MiniBatch(32))
    assert next(steps).rows_read > 0
    steps.close()


def test_what_leads_to_a_solver_is_seen_and_counted_whoever_goes_on() -> None:
    @dataclass(frozen=True)
    class Led(Newton):
        def lead(self, objective: Objective, rows: Rows, parameters: Floats, *, fresh: bool) -> Iterator[LeadPoint]:  # noqa: ARG002 - by formula
            assert fresh
            yield from (LeadPoint(parameters + 0.1 * passes, passes) for passes in (2, 5))

    class Refused(Led):
        def start(self, *_: Any) -> NewtonState:
            raise NotPositiveDefinite("made", np.zeros(1))

    problem = posed()
    null = problem.objective.null_parameters(problem.rows)
    owns: list[tuple[Newton, Newton | LimitedMemory]] = [(Led(), Newton()), (Refused(), LimitedMemory())]
    for solver, own in owns:
        seen = run(problem, FullBatch(), solver, passes=30.0)
        assert [one.passes for one in seen[:2]] == [2, 5]
        assert np.array_equal(seen[1].parameters, null + 0.5)
        assert [one.solver for one in seen[2:]] == [own.name] * (len(seen) - 2)
        assert all(one.rows_read == one.passes * len(problem.rows) for one in seen)
        passes = [one.passes for one in seen]
        assert passes == sorted(set(passes))
        # Its own steps begin where those led.
        alone = list(epochs(problem.objective, problem.rows, FullBatch(), own, null + 0.5, passes=25.0))
        assert [one.passes + 5 for one in alone] == passes[2:]
        assert np.array_equal(alone[-1].parameters, seen[-1].parameters)
    assert [one.passes for one in run(problem, FullBatch(), Led(), passes=4.0)] == [2, 5]


def test_what_led_to_a_solver_counts_among_the_seconds_of_its_steps() -> None:
    @dataclass(frozen=True)
    class Led(Newton):
        def lead(self, objective: Objective, rows: Rows, parameters: Floats, *, fresh: bool) -> Iterator[LeadPoint]:  # noqa: ARG002 - leads nowhere
            time.sleep(0.2)
            yield LeadPoint(parameters, 7)

    found = posed()
    names = [str(j) for j in range(found.rows.layout.size)]
    problem = Problem(found.objective, found.rows, LossWithin(1e-9), Units.plain(len(names)), names)
    led, alone = optimise(problem, solver=Led()), optimise(problem, solver=Newton())
    assert led.trace[0].seconds >= 0.2
    assert [step.passes for step in led.trace] == [step.passes + 7 for step in alone.trace]


def test_steps_with_a_block_a_class_lead_newton_near_the_optimum() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(600, 4))
    label = np.argmax(X[:, :3] + rng.gumbel(size=(600, 3)), axis=1).astype(np.float64)
    rows = dense_rows(X, label, chunk=200)
    objective = Objective(SoftmaxLoss(3), ridge(rows.layout, 1e-3, outputs=2))
    problem = Problem(objective, rows, LossWithin(1e-12), Units.plain(5), [str(j) for j in range(10)])
    led, alone = optimise(problem, solver=Newton()), optimise(problem, solver=LimitedMemory())
    assert led.certification.certificate.certified
    before = list(Newton().lead(objective, rows, objective.null_parameters(rows), fresh=True))
    assert [(point.passes, point.value) for point in before] == [step[:2] for step in led.trace[: len(before)]]
    assert [point.value for point in before] == [objective.value(rows, point.parameters) for point in before]
    own = led.trace[len(before) :]
    assert 1 <= len(own) <= 3
    assert led.passes > own[0].passes == before[-1].passes + 1 > 5  # what led there was read too
    bounds = led.certification.certificate.coefficient_bound, alone.certification.certificate.coefficient_bound
    assert np.max(np.abs(led.parameters - alone.parameters)) <= sum(bound or 0.0 for bound in bounds)
