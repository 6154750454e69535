"""One contender: a regime with a solver, run from the same start under a budget of rows read and of seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from batchlearn.comparison.problem import Benchmark
from batchlearn.errors import UsageError
from batchlearn.kernels.design import Floats
from batchlearn.progress import Progress
from batchlearn.solvers import Solver
from batchlearn.training.regimes import FullBatch, MiniBatch, Online, Regime, check_pair, epochs

# The next checkpoint is when so many times more rows have been read: each reads all rows for the objective.
_NEXT_CHECKPOINT = 1.2
SHUFFLED, STORED = "shuffled", "stored"
# Of a run by default: what a full batch does in less the others are given, and who compares waits.
_FEWEST_SECONDS, _MOST_SECONDS = 0.1, 1.0
# Of those that draw rows; a full batch is not held to a number: its passes are gradients, and only seconds count.
_PASSES_OF_BATCHES = 10.0


class RunEnd(StrEnum):
    """How a run ended: of its own accord, where more is not worth it, or a budget spent; `--json` says the value."""

    FINISHED = "finished"
    GOOD_ENOUGH = "good enough"
    PASSES_SPENT = "passes"
    SECONDS_SPENT = "seconds"


@dataclass(frozen=True)
class Contender:
    """A way of reading the rows, as one entry of a comparison.

    Args:
        name: What its outcome is called.
        regime: `FullBatch()`, `MiniBatch(size)` or `Online()`.
        solver: One of `batchlearn.solvers`; None is the regime's default, which has no learning rate to tune.

    Raises:
        UsageError: The solver cannot serve the regime.

    Example:
        >>> import batchlearn as bl
        >>> bl.Contender("64 rows", bl.MiniBatch(64)).name
        '64 rows'
    """

    name: str
    regime: Regime
    solver: Solver[Any] | None = None

    def __post_init__(self) -> None:
        if self.solver is not None:
            check_pair(self.regime, self.solver)


def default_contenders() -> tuple[Contender, ...]:
    """Return full batch, mini-batches of 32, 128 and 512, and online, each with its default solver."""
    return (
        Contender("full batch", FullBatch()),
        *(mini_batch(size) for size in (32, 128, 512)),
        Contender("online", Online()),
    )


def mini_batch(size: int) -> Contender:
    """Return the mini-batch contender of this size."""
    return Contender(f"mini-batch {size:,}", MiniBatch(size))


@dataclass(frozen=True)
class Budget:
    """What each run of a comparison may spend; whichever is spent first ends it.

    Args:
        passes: Readings of all rows, above 0. Full batch, mini-batch and online count rows alike. None is ten for those
            that draw rows, and no limit for a full batch.
        seconds: Seconds of the run's own work, above 0; looks at the objective are not counted. None is as many as the
            steps to the certified optimum took, without its proof; a tenth at least and one at most.

    Raises:
        UsageError: One of them is not a number above 0.

    Example:
        >>> import batchlearn as bl
        >>> bl.Budget(passes=4)
        Budget(passes=4, seconds=None)
    """

    passes: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value, usual in (("passes", self.passes, _PASSES_OF_BATCHES), ("seconds", self.seconds, 1.0)):
            if value is not None and not (math.isfinite(value) and value > 0.0):
                raise UsageError(
                    f"The budget of {name} is {value!r}; it needs to be a number above 0, such as {usual:g}.",
                    code="budget-range",
                )


def seconds_each(budget: Budget, steps: float) -> float:
    """Return the seconds that each run may take where the steps to the optimum took so many."""
    return min(max(steps, _FEWEST_SECONDS), _MOST_SECONDS) if budget.seconds is None else budget.seconds


def passes_each(budget: Budget, regime: Regime) -> float:
    """Return the readings of all rows that a run may make."""
    if budget.passes is not None:
        return budget.passes
    return math.inf if regime.size is None else _PASSES_OF_BATCHES


class RunCheckpoint(NamedTuple):
    """Where a run stood: what it had spent, and the objective over all rows (infinite where it overflowed)."""

    rows_read: int
    passes: float
    seconds: float
    value: float


@dataclass(frozen=True)
class Run:
    """One run of one contender."""

    contender: Contender
    seed: int
    order: str
    solver: str
    points: tuple[RunCheckpoint, ...]
    parameters: Floats
    ended: RunEnd

    @property
    def last(self) -> RunCheckpoint:
        """Where it ended."""
        return self.points[-1]

    def value_at(self, passes: float) -> float | None:
        """Return the objective at the last checkpoint within so many passes; None where it had not begun by then."""
        seen = [point.value for point in self.points if 0.0 < point.passes <= passes * (1.0 + 1e-9)]
        return seen[-1] if seen else None


def run_of_optimum(benchmark: Benchmark, contender: Contender, budget: Budget, seed: int) -> Run | None:
    """Return the steps that led to the optimum as the run of the full batch that they were.

    None for another contender, and where its budget does not hold them all.
    """
    optimum, start = benchmark.optimum, RunCheckpoint(0, 0.0, 0.0, benchmark.optimum.null_value)
    if contender.regime.size is not None or contender.solver is not None or not optimum.trace:
        return None
    end, seconds = optimum.trace[-1], seconds_each(budget, benchmark.steps_seconds)
    if end.seconds > seconds or end.passes > passes_each(budget, contender.regime):
        return None
    rows = len(benchmark.rows)
    steps = (RunCheckpoint(one.passes * rows, one.passes, one.seconds, one.value) for one in optimum.trace)
    return Run(contender, seed, SHUFFLED, optimum.solver, (start, *steps), optimum.parameters, RunEnd.FINISHED)


def run_contender(
    benchmark: Benchmark,
    contender: Contender,
    budget: Budget,
    seed: int = 0,
    order: str = SHUFFLED,
    enough: float = -math.inf,
) -> Generator[Progress, None, Run]:
    """Yield progress; return the run. Only the contender's own work is timed, not the objective at checkpoints.

    It ends where a look finds the objective within `enough` of the optimum's. The budget of seconds is checked after
    each stretch of rows, so a run may overspend by one stretch.
    """
    seconds, passes = seconds_each(budget, benchmark.steps_seconds), passes_each(budget, contender.regime)
    points = [RunCheckpoint(0, 0.0, 0.0, benchmark.optimum.null_value)]
    # All start at the model that knows only the mean.
    objective, rows = benchmark.objective, benchmark.rows
    stretches = epochs(objective, rows, contender.regime, contender.solver, seed=seed, order=order, passes=passes)
    latest, read, spent, next_checkpoint = None, 0, 0.0, 0.0
    ended: RunEnd | None = None
    while ended is None:
        began = time.perf_counter()
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is said in the result
            stretch = next(stretches, None)
        spent += time.perf_counter() - began
        if stretch is None:
            break
        latest = stretch
        if spent >= seconds:
            ended = RunEnd.SECONDS_SPENT
        elif stretch.passes >= passes * (1.0 - 1e-9):
            ended = RunEnd.PASSES_SPENT
        yield Progress(f"{contender.name}, seed {seed}", rows=stretch.rows_read - read, passes=int(stretch.passes))
        read = stretch.rows_read
        if ended is not None or stretch.passes >= next_checkpoint:
            points.append(RunCheckpoint(read, stretch.passes, spent, value_at(benchmark, stretch.parameters)))
            next_checkpoint = stretch.passes * _NEXT_CHECKPOINT
            if ended is None and points[-1].value - benchmark.optimum.value <= enough:
                ended = RunEnd.GOOD_ENOUGH
    stretches.close()
    if latest is not None and points[-1].rows_read < read:
        points.append(RunCheckpoint(read, latest.passes, spent, value_at(benchmark, latest.parameters)))
    parameters, solver = (benchmark.start, "") if latest is None else (latest.parameters, latest.solver)
    return Run(contender, seed, order, solver, tuple(points), parameters, ended or RunEnd.FINISHED)


def value_at(benchmark: Benchmark, parameters: Floats) -> float:
    """Return the objective; infinity where it overflows or is no number, so that it can be compared."""
    with np.errstate(over="ignore", invalid="ignore"):
        value = benchmark.objective.value(benchmark.rows, parameters)
    return value if math.isfinite(value) else math.inf
