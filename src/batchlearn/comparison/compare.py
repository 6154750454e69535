"""Comparing ways of reading the rows: one table, one objective, one optimum, equal budgets."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from batchlearn.comparison.contenders import (
    SHUFFLED,
    STORED,
    Budget,
    Contender,
    Run,
    default_contenders,
    mini_batch,
    run_contender,
    run_of_optimum,
)
from batchlearn.comparison.critical import MeasuredBatchSizes, NoiseAt, judge_batch_sizes, noise_along, sampling_loss
from batchlearn.comparison.judging import held_out_scores, measure_memory
from batchlearn.comparison.outcome import Comparison, Outcome, Rates, good_enough
from batchlearn.comparison.problem import Benchmark, build_problem
from batchlearn.comparison.recommend import recommend
from batchlearn.data.rows.threads import one_blas_thread, thread_count
from batchlearn.errors import UsageError, quoted
from batchlearn.formatting.notes import Code, Note
from batchlearn.progress import Progress, at_once, finish
from batchlearn.solvers import RowsAtOnce
from batchlearn.solvers.stochastic import StochasticGradient
from batchlearn.tables.table import Table
from batchlearn.tables.table.budget import budget_of
from batchlearn.tables.table.segments import within
from batchlearn.training.recipe import Recipe
from batchlearn.training.regimes import MiniBatch

# The second says what chance does to the first; each more costs as much as the first.
DEFAULT_SEEDS, MOST_SEEDS = 2, 100
# So many rows that 100,000 are learned from when a fifth is held out.
DEFAULT_ROWS = 125_000
# Batch sizes beyond those of the contenders at which the loss per row read is measured, in one pass each.
_LARGER_BATCHES = (2_048, 8_192)
# Rates of plain stochastic gradients, times one over the mean curvature of a row along itself.
_RATES = (0.01, 0.1, 1.0, 10.0, 100.0)
_RATES_BATCH = 128
# Seconds after which larger batches and rates are left out: who compares waits.
_PATIENCE = 75.0
_LOSSES = ("logistic", "softmax", "squared", "poisson")


@dataclass(frozen=True)
class ComparisonPlan:
    """What is compared, on how much, and how often. Checked here, once.

    Args:
        contenders: Full batch, mini-batches of 32, 128 and 512, and online unless given.
        budget: What each run may spend: ten passes, and as many seconds as the optimum took, unless given.
        seeds: Runs of each contender whose result depends on a seed, 1 to 100.
        rows: A larger table is compared on a random sample of so many rows, 2 or more.

    Raises:
        UsageError: A number is out of its range, or two contenders have one name.

    Example:
        >>> import batchlearn as bl
        >>> plan = bl.ComparisonPlan((bl.Contender("all", bl.FullBatch()), bl.Contender("one", bl.Online())), seeds=1)
        >>> [contender.name for contender in plan.entrants]
        ['all', 'one']
    """

    contenders: tuple[Contender, ...] = ()
    budget: Budget = field(default_factory=Budget)
    seeds: int = DEFAULT_SEEDS
    rows: int = DEFAULT_ROWS

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= MOST_SEEDS:
            raise UsageError(
                f"The number of seeds is {self.seeds}; it needs to be from 1 to {MOST_SEEDS}.", code="seeds-range"
            )
        if self.rows < 2:
            raise UsageError(
                f"The rows to compare on are {self.rows}; there need to be at least 2, such as {DEFAULT_ROWS}.",
                code="rows-range",
            )
        names = [contender.name for contender in self.entrants]
        if len(set(names)) < len(names):
            raise UsageError(
                f"Two contenders have the same name ({', '.join(names)}); each needs a name of its own.",
                code="contender-names",
            )

    @property
    def entrants(self) -> tuple[Contender, ...]:
        """The contenders, the default ones where none were given."""
        return self.contenders or default_contenders()


def compare(
    table: Table, plan: ComparisonPlan | None = None, recipe: Recipe | None = None, *, threads: int | None = None
) -> Comparison:
    """Compare ways of reading the rows of a table that has a target, by default full batch, mini-batch and online.

    All minimise one objective over the same rows (those before the held-out part) from the same start.

    Args:
        table: Rows with a target, as `read` opens them; logistic, softmax, squared and Poisson losses are compared.
        plan: Who takes part and what each may spend; `ComparisonPlan()` unless given.
        recipe: Loss, penalty, held-out share and seed; `Recipe()` unless given: the model is the one that `train` would
            fit.
        threads: Threads that read rows; as many as there are cores, at most 8, unless given.

    Returns:
        One outcome for each contender, measured from the certified optimum, and a recommendation.

    Raises:
        UsageError: The table has no target, or the loss is not compared.
        DataError: The rows are not what they should be, or fewer than ten have a label.
        NoFiniteOptimum: The penalty is 0 and the objective has no minimum.

    Example:
        >>> import numpy as np
        >>> import batchlearn as bl
        >>> hour = np.arange(60.0) % 24
        >>> table = bl.read({"hour": hour, "delay": 3.0 * hour + hour % 5}, target="delay")
        >>> contenders = (bl.Contender("all rows", bl.FullBatch()), bl.Contender("8 rows", bl.MiniBatch(8)))
        >>> plan = bl.ComparisonPlan(contenders, bl.Budget(passes=3, seconds=0.1), seeds=1)
        >>> [outcome.contender.name for outcome in bl.compare(table, plan).outcomes]
        ['all rows', '8 rows']
    """
    with within(budget_of()):
        return finish(iter_compare(table, plan or ComparisonPlan(), recipe or Recipe(), threads=threads))


def iter_compare(
    table: Table, plan: ComparisonPlan, recipe: Recipe, *, threads: int | None = None
) -> Generator[Progress, None, Comparison]:
    """Yield progress while comparing; return the comparison."""
    if recipe.loss is not None and recipe.loss not in _LOSSES:
        raise UsageError(
            f"The loss {quoted(recipe.loss)} is not compared; {', '.join(_LOSSES)} are. `batchlearn train` "
            "takes it, and so do models, which are compared on any loss: --models additive,linear.",
            code="comparison-loss",
        )
    began = time.perf_counter()
    with one_blas_thread():
        benchmark = yield from build_problem(table, recipe, plan.rows, thread_count(threads))
        noise, certified = tuple(noise_along(benchmark)), benchmark.optimum.certification.certificate.certified
        # Others may get below an optimum that is only the best known.
        enough = good_enough(benchmark, noise) if certified else -math.inf
        arena = _Arena(benchmark, plan, recipe.seed, began, enough)
        runs = yield from _all_runs(arena)
        outcomes = yield from _outcomes(arena, runs)
        batch = yield from _measured(arena, noise, outcomes)
        rates = yield from _rates(arena)
        left_out = [Note(Code.COMPARISON_OUT_OF_TIME, {"seconds": _PATIENCE})] if rates is None and arena.late else []
    return Comparison(
        benchmark=benchmark,
        table=table.name,
        budget=plan.budget,
        outcomes=outcomes,
        noise=noise,
        measured=batch,
        rates=rates,
        recommendation=recommend(outcomes, good_enough(benchmark, noise), certified),
        seconds=time.perf_counter() - began,
        notes=(*benchmark.notes, *left_out),
    )


@dataclass(frozen=True)
class _Arena:
    benchmark: Benchmark
    plan: ComparisonPlan
    seed: int
    began: float
    enough: float  # above the optimum, where runs that do not end in it end

    @property
    def late(self) -> bool:
        """Whether what is not needed should be left out."""
        return time.perf_counter() - self.began > _PATIENCE

    @property
    def seeds(self) -> range:
        return range(self.seed, self.seed + self.plan.seeds)


def _all_runs(arena: _Arena) -> Generator[Progress, None, dict[str, tuple[tuple[Run, ...], Run | None]]]:
    """Run each contender with each seed and on the rows as stored; once where nothing is drawn at random.

    Those that draw end where more is not worth it: only a full batch gets to the optimum. Full batch, whose readings
    are shared out over the threads, has run where the optimum was found, or runs by itself; the others at once.
    """
    benchmark, budget, runs = arena.benchmark, arena.plan.budget, {}
    drawn = [contender for contender in arena.plan.entrants if contender.regime.size is not None]
    for contender in arena.plan.entrants:
        if contender not in drawn:
            run = run_of_optimum(benchmark, contender, budget, arena.seed)
            run = run or (yield from run_contender(benchmark, contender, budget, arena.seed))
            runs[contender.name] = (run,), None
    asked = [(contender, seed, SHUFFLED) for contender in drawn for seed in arena.seeds]
    asked += [(contender, arena.seed, STORED) for contender in drawn]
    enough = arena.enough
    works = [run_contender(benchmark, contender, budget, seed, order, enough) for contender, seed, order in asked]
    done = yield from at_once(works, benchmark.rows.threads)
    for contender in drawn:
        shuffled = tuple(run for run in done if run.contender is contender and run.order == SHUFFLED)
        stored = next(run for run in done if run.contender is contender and run.order == STORED)
        runs[contender.name] = shuffled, stored
    return {contender.name: runs[contender.name] for contender in arena.plan.entrants}


def _outcomes(
    arena: _Arena, runs: dict[str, tuple[tuple[Run, ...], Run | None]]
) -> Generator[Progress, None, tuple[Outcome, ...]]:
    benchmark = arena.benchmark
    every = [run for kept, stored in runs.values() for run in (*kept, *([stored] if stored else []))]
    best = min([benchmark.optimum.value, *(point.value for run in every for point in run.points)])
    # Of one solver the largest batch is measured: another size takes less by what is at hand of a batch.
    firsts = sorted((kept[0] for kept, _ in runs.values()), key=lambda run: run.contender.regime.size or 0)
    largest = {_memory_of(run): run.contender for run in firsts}
    memory = {}
    for kind, contender in largest.items():
        memory[kind] = yield from measure_memory(benchmark, contender)
    bound, row_bytes = benchmark.loss_bound, benchmark.row_bytes
    found = [
        Outcome(kept[0].contender, kept, stored, None, memory[_memory_of(kept[0])], best, bound, row_bytes)
        for kept, stored in runs.values()
    ]
    scores = held_out_scores(benchmark, {one.contender.name: one.typical.parameters for one in found}, arena.seed)
    return tuple(replace(one, held_out=scores.get(one.contender.name)) for one in found)


def _memory_of(run: Run) -> tuple[RowsAtOnce, Any]:
    """Return what decides about the memory that a run takes."""
    return run.contender.regime.shows, run.contender.solver or run.solver


def _measured(
    arena: _Arena, noise: Sequence[NoiseAt], outcomes: Sequence[Outcome]
) -> Generator[Progress, None, MeasuredBatchSizes | None]:
    """Measure what each batch size leaves after the passes that every mini-batch run has made."""
    entrants = {
        one.contender.regime.size or 0: one
        for one in outcomes
        if one.contender.regime.shows is RowsAtOnce.SOME and one.contender.solver is None
    }
    if not entrants:
        return None
    benchmark, best = arena.benchmark, outcomes[0].best
    passes = min(run.last.passes for one in entrants.values() for run in one.runs)
    values = {size: [run.value_at(passes) for run in one.runs] for size, one in entrants.items()}
    budget, enough = replace(arena.plan.budget, passes=passes), arena.enough
    # One seed each: the noise of a batch falls with its size, and smaller ones have shown how seeds differ.
    larger = [size for size in _LARGER_BATCHES if size not in values and 4 * size <= len(benchmark.rows)]
    works = [
        run_contender(benchmark, mini_batch(size), budget, arena.seed, enough=enough)
        for size in larger
        if not arena.late
    ]
    for run in (yield from at_once(works, benchmark.rows.threads)):
        values[run.contender.regime.size or 0] = [run.value_at(passes)]
    excess = {size: [value - best for value in found if value is not None] for size, found in values.items()}
    return judge_batch_sizes(excess, passes, sampling_loss(noise), benchmark.loss_bound)


def _rates(arena: _Arena) -> Generator[Progress, None, Rates | None]:
    """Try learning rates far apart for plain stochastic gradients: what the defaults spare their users."""
    benchmark = arena.benchmark
    if len(benchmark.rows) < 2 * _RATES_BATCH or arena.late:
        return None
    # The trace of the Hessian's data part: the mean over rows of curvature times squared length.
    diagonal = (
        benchmark.objective.hessian_diagonal(benchmark.rows, benchmark.start) - benchmark.objective.penalty.diagonal
    )
    curvature = max(float(diagonal.sum()), 1e-300)
    budget, rates = replace(arena.plan.budget, passes=1.0), [one / curvature for one in _RATES]
    contenders = [
        Contender(f"learning rate {rate:.2g}", MiniBatch(_RATES_BATCH), StochasticGradient(rate)) for rate in rates
    ]
    works = [run_contender(benchmark, contender, budget, arena.seed) for contender in contenders]
    runs = yield from at_once(works, benchmark.rows.threads)
    excess = (max(run.last.value - benchmark.optimum.value, 0.0) for run in runs)
    return Rates(_RATES_BATCH, 1.0, tuple(zip(rates, excess, strict=True)))
