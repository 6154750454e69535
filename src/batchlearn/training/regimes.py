"""Regimes: how rows are presented to one update. A way of reading, not a kind of solver.

`FullBatch()` gives all rows to every update, `MiniBatch(size)` so many, `Online()` one. Objective, loss, penalty,
weights and encoding are the same under each. Rows are read in passes: in a fresh random order each, or as stored.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.rows import Rows
from batchlearn.errors import UsageError, quoted
from batchlearn.kernels.design import Floats
from batchlearn.objectives.objective import Objective
from batchlearn.solvers.batches import BatchSolver, Reading, counted
from batchlearn.solvers.newton import Newton
from batchlearn.solvers.online_newton import MOST_COEFFICIENTS, OnlineNewton
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.solvers.stochastic import StochasticGradient
from batchlearn.solvers.variance_reduced import VarianceReducedNewton
from batchlearn.training.optimise import choose_solver

FullBatchSolver = Newton | LimitedMemory
Solver = FullBatchSolver | StochasticGradient | OnlineNewton | VarianceReducedNewton

# Rows handed to a solver at once: enough that calls cost little, few enough to watch and to stop.
_STRETCH_ROWS = 16_384
# Multiplications a row, for the inverse Hessian times one gradient a batch.
_LARGEST_SQUARE = 50_000
DEFAULT_PASSES = 10.0


@dataclass(frozen=True)
class FullBatch:
    """Every update sees all rows."""

    @property
    def size(self) -> None:
        """All rows, however many."""
        return None

    def __str__(self) -> str:
        return "full"


@dataclass(frozen=True)
class MiniBatch:
    """Every update sees `size` rows; the last of a pass may see fewer."""

    size: int

    def __post_init__(self) -> None:
        # type() and not isinstance(): True is no number of rows.
        if type(self.size) is not int or self.size < 1:
            raise _unknown(self.size)

    def __str__(self) -> str:
        return str(self.size)


@dataclass(frozen=True)
class Online:
    """Every update sees one row."""

    @property
    def size(self) -> int:
        """One row."""
        return 1

    def __str__(self) -> str:
        return "1"


Regime = FullBatch | MiniBatch | Online


class Stretch(NamedTuple):
    """Where a run stands after a stretch of rows."""

    rows_read: int  # each as often as it was read, for whatever purpose
    passes: float  # the same, in readings of all rows
    seconds: float
    parameters: Floats  # (d,): what would be delivered now, averaged where the solver averages
    solver: str
    notes: tuple[str, ...] = ()


def parse_regime(batch_size: Any) -> Regime:
    """Return the regime that a user means by "full", 1 or a number of rows. Raises UsageError."""
    if isinstance(batch_size, str):
        text = batch_size.strip().lower()
        if text == "full":
            return FullBatch()
        try:
            batch_size = int(text)
        except ValueError:
            raise _unknown(batch_size) from None
    if isinstance(batch_size, np.integer):
        batch_size = int(batch_size)
    return Online() if batch_size == 1 and not isinstance(batch_size, bool) else MiniBatch(batch_size)


def _unknown(batch_size: Any) -> UsageError:
    return UsageError(
        f'The batch size is {quoted(batch_size)}; it needs to be "full" for all rows at once, 1 for one row at a time, '
        "or a whole number of rows such as 256.",
        code="batch-size",
    )


def check_pair(regime: Regime, solver: Solver) -> None:
    """Refuse a solver that cannot serve a regime: UsageError."""
    if solver.needs_all_rows and not isinstance(regime, FullBatch):
        raise UsageError(
            f"{type(solver).__name__} needs all rows at every step; the regime given is {regime!r}. Use FullBatch(), "
            "or a solver that can do with fewer: StochasticGradient().",
            code="solver-regime",
        )


def default_solver(objective: Objective, rows: Rows, regime: Regime) -> Solver:
    """Return the solver of a regime that nobody has to tune."""
    if isinstance(regime, FullBatch):
        return choose_solver(rows)
    if isinstance(regime, Online) and objective.loss.outputs == 1 and rows.layout.size <= MOST_COEFFICIENTS:
        return OnlineNewton()
    if isinstance(regime, MiniBatch) and rows.layout.size**2 <= _LARGEST_SQUARE * regime.size:
        return VarianceReducedNewton()
    return StochasticGradient()


def epochs(  # noqa: PLR0913 - what, on what, how, from where; and three settings of the order and the end
    objective: Objective,
    rows: Rows,
    regime: Regime,
    solver: Solver | None = None,
    start: Floats | None = None,
    *,
    seed: int = 0,
    order: str = "shuffled",
    passes: float = DEFAULT_PASSES,
) -> Generator[Stretch, None, Floats]:
    """Minimise the objective under a regime, yielding after each stretch of rows; return the parameters (d,).

    `start` is the null model unless given. `order` is "shuffled", a fresh order from the seed each pass, or "stored".
    The run ends at the end of the stretch in which `passes` readings of all rows are spent; closing the generator
    before is fine. Raises UsageError for a solver that cannot serve the regime.
    """
    solver = solver or default_solver(objective, rows, regime)
    check_pair(regime, solver)
    if order not in ("shuffled", "stored"):
        raise UsageError(f'The order is {quoted(order)}; it needs to be "shuffled" or "stored".', code="order-unknown")
    began = time.perf_counter()
    parameters = objective.null_parameters(rows) if start is None else start
    if isinstance(solver, Newton | LimitedMemory):
        return (yield from _full_batches(objective, rows, solver, parameters, passes, began))
    numbers = counted(rows)
    size = len(numbers) if regime.size is None else min(regime.size, len(numbers))
    reading = Reading(size, len(numbers), rows.total_weight, seed)
    return (yield from _stretches(_Run(objective, rows, solver, reading, order, began), parameters, numbers, passes))


class _Run(NamedTuple):
    objective: Objective
    rows: Rows
    solver: BatchSolver[Any]
    reading: Reading
    order: str
    began: float

    def report(self, read: int, parameters: Floats) -> Stretch:
        seconds = time.perf_counter() - self.began
        return Stretch(read, read / self.reading.rows, seconds, parameters, self.solver.name)


def _stretches(
    run: _Run, parameters: Floats, numbers: NDArray[np.intp], passes: float
) -> Generator[Stretch, None, Floats]:
    state = run.solver.start(run.objective, run.rows, parameters, run.reading)
    read = state.further_rows
    number = 0
    while read < passes * run.reading.rows:
        state = run.solver.begin_pass(run.objective, run.rows, state, run.reading)
        own = 0
        for stretch in _cut(run, numbers, number):
            state = run.solver.advance(run.objective, stretch, state, run.reading)
            own += len(stretch)
            total = number * run.reading.rows + own + state.further_rows
            read = total
            yield run.report(read, state.delivered)
            if read >= passes * run.reading.rows:
                break
        number += 1
    delivered: Floats = state.delivered
    return delivered


def _cut(run: _Run, numbers: NDArray[np.intp], number: int) -> Iterator[Rows]:
    """Yield the rows of one pass, a stretch at a time; all rows as stored where one batch is all of them."""
    if run.reading.whole:
        yield run.rows
        return
    if run.order == "shuffled":
        numbers = np.random.default_rng([run.reading.seed, 2, number]).permutation(numbers)
    length = max(_STRETCH_ROWS // run.reading.size, 1) * run.reading.size
    for first in range(0, len(numbers), length):
        yield run.rows.take(numbers[first : first + length])


def _full_batches(
    objective: Objective, rows: Rows, solver: FullBatchSolver, parameters: Floats, passes: float, began: float
) -> Generator[Stretch, None, Floats]:
    state: Any = solver.start(objective, rows, parameters)
    count = len(rows)
    while True:
        seconds = time.perf_counter() - began
        yield Stretch(state.passes * count, float(state.passes), seconds, state.parameters, solver.name)
        if state.passes >= passes or getattr(state, "stuck", False):
            return np.asarray(state.parameters)
        state = solver.step(objective, rows, state)
