"""A comparison made by formula; `name` gives each text that comes from data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from tests.report.made import Name, certificate, harmless

from batchlearn.comparison.contenders import Budget, Contender, Run, RunCheckpoint, RunEnd
from batchlearn.comparison.critical import MeasuredBatchSizes, NoiseAt, NoisePlace
from batchlearn.comparison.judging import HeldOutScore, Memory
from batchlearn.comparison.outcome import Comparison, Outcome, Rates, Recommendation
from batchlearn.comparison.problem import Benchmark
from batchlearn.data.rows.memory import MemoryRows
from batchlearn.data.rows.stored import StoredChunk
from batchlearn.data.target import Target
from batchlearn.evaluation.intervals import Estimate
from batchlearn.formatting.notes import Code, Note, recorded
from batchlearn.kernels.design import Layout
from batchlearn.objectives.losses import loss_of
from batchlearn.statistics.noise import Noise
from batchlearn.statistics.objective import Objective, ridge
from batchlearn.training.certificate import Certification, Proved
from batchlearn.training.optimise import Optimum, Status
from batchlearn.training.regimes import FullBatch, MiniBatch, Online

ROWS, BEST, NULL = 39_074, 0.315073, 0.5499
CONTENDERS = (
    Contender("full batch", FullBatch()),
    Contender("mini-batch 32", MiniBatch(32)),
    Contender("mini-batch 128", MiniBatch(128)),
    Contender("online", Online()),
)


def comparison(name: Name | None = None) -> Comparison:
    """Return a result with every part that the page can show."""
    name = name or harmless()
    tried = tuple((10.0**at, math.inf if at == 2 else 0.1 / (at + 3)) for at in range(-2, 3))
    return Comparison(
        benchmark=benchmark(name()),
        table=name(),
        budget=Budget(10.0, 2.0),
        outcomes=tuple(outcome(at, one) for at, one in enumerate(CONTENDERS)),
        noise=noise(),
        measured=measured(),
        rates=Rates(128, 1.0, tried),
        recommendation=Recommendation(
            "full batch", f"It is quick, says {name()}.", (f"Another {name()}.", "More rows.")
        ),
        seconds=61.5,
        notes=(recorded(name()), Note(Code.COMPARED_TERMS, {"coefficients": 109, "model": "linear", "alpha": 1.0})),
    )


def benchmark(column: str) -> Benchmark:
    """Return what all were given: rows without a feature, whose optimum is certified."""
    layout, nothing = Layout(True, 0), np.zeros((0, ROWS))
    rows = MemoryRows(
        layout, (StoredChunk(nothing, nothing.astype(np.intp), np.zeros(ROWS)),), np.zeros(0), np.zeros(0)
    )
    target = Target(column, "logistic", ("no", "yes"))
    proof = Certification(certificate(), None, None, None)
    optimum = Optimum(np.zeros(109), proof, Status.TOLERANCE, "newton-cholesky", BEST, NULL, (), 12, 1.1)
    objective = Objective(loss_of(target), ridge(layout, 1.0))
    return Benchmark(objective, rows, np.zeros(109), optimum, target, None, np.zeros(0, dtype=np.intp), False, ())


def run(contender: Contender, at: int, excess: float, seed: int = 0) -> Run:
    """Return a run that ends so far above the optimum, after 9.49 passes."""
    points = [
        RunCheckpoint(1000 * k, 1.6**k - 1.0, 0.1 * k * (at + 1), BEST + 0.2348 * 0.1**k + min(excess, 1.0))
        for k in range(5)
    ]
    # A hair more, so that the difference to the best is not a hair less.
    last = RunCheckpoint(5000, 1.6**5 - 1.0, 0.5 * (at + 1), BEST + excess * (1.0 + 1e-12))
    return Run(contender, seed, "shuffled", "newton-cholesky", (*points, last), np.zeros(109), RunEnd.PASSES_SPENT)


def outcome(at: int, contender: Contender) -> Outcome:
    """Return what came out for one contender; the first is at the optimum, each later one farther from it."""
    excess = 0.0 if at == 0 else 10.0 ** (at - 6)
    seeds = (1.0,) if at == 0 else (0.5, 1.0, 2.0)
    return Outcome(
        contender=contender,
        runs=tuple(run(contender, at, excess * times, seed) for seed, times in enumerate(seeds)),
        stored=None if at == 0 else run(contender, at, 10.0 * excess),
        held_out=HeldOutScore("log_loss", 9768, Estimate(0.3236, 0.31, 0.34), around(0.001 * at, 0.0015)),
        memory=Memory(4_688_880 if at == 0 else 120_000, 8_553_132),
        best=BEST,
        loss_bound=certificate().loss_bound,
        row_bytes=120.0,
    )


def around(value: float, reach: float) -> Estimate:
    """Return an estimate with an interval of this reach."""
    return Estimate(value, value - reach, value + reach)


def ended_at(result: Comparison, name: str, excess: float) -> Comparison:
    """Return the result with all runs of a contender ended so far above the optimum."""
    outcomes = [
        replace(one, runs=tuple(run(one.contender, at, excess, of.seed) for of in one.runs))
        if one.contender.name == name
        else one
        for at, one in enumerate(result.outcomes)
    ]
    return replace(result, outcomes=tuple(outcomes))


def judged_as(result: Comparison, name: str, difference: Estimate) -> Comparison:
    """Return the result with the held-out difference of a contender to the optimum's model."""
    outcomes = [
        replace(one, held_out=replace(one.held_out, difference=difference))
        if one.contender.name == name and one.held_out is not None
        else one
        for one in result.outcomes
    ]
    return replace(result, outcomes=tuple(outcomes))


def stored_as(result: Comparison, name: str, excess: float | None) -> Comparison:
    """Return the result with where a contender ended on rows as stored; None where it was not tried."""
    outcomes = [
        replace(one, stored=None if excess is None else run(one.contender, at, excess))
        if one.contender.name == name
        else one
        for at, one in enumerate(result.outcomes)
    ]
    return replace(result, outcomes=tuple(outcomes))


def without_certificate(result: Comparison) -> Comparison:
    """Return the result with an optimum of which nothing is proved."""
    refused = replace(certificate(), status=Proved.NOT_CERTIFIED, reason=recorded("of a reason"), loss_bound=None)
    optimum = replace(result.benchmark.optimum, certification=Certification(refused, None, None, None))
    outcomes = tuple(replace(one, loss_bound=None) for one in result.outcomes)
    return replace(result, benchmark=replace(result.benchmark, optimum=optimum), outcomes=outcomes)


def noise() -> tuple[NoiseAt, ...]:
    """Return the noise at three places; at the optimum a Newton-like step has no gradient left."""
    sampling = 2.0 * 1.1e-3 * ROWS
    figures = ((0.2348, 37.1, 65.4), (1.2e-3, 4406.8, 33_089.8), (0.0, 2e13, math.inf))
    return tuple(
        NoiseAt(where, excess, Noise(4.4, 4.4 / plain, ROWS), Noise(sampling, sampling / fitting, ROWS))
        for where, (excess, plain, fitting) in zip(NoisePlace, figures, strict=True)
    )


def measured() -> MeasuredBatchSizes:
    """Return what each batch size left."""
    excess = (2.8e-7, 4.3e-7, 6.1e-7, 1.08e-5, 1.3e-2)
    sizes = tuple((2 ** (5 + 2 * at), value, 0.5 * value, 2.0 * value) for at, value in enumerate(excess))
    return MeasuredBatchSizes(4.96, sizes, 1.1e-5)
