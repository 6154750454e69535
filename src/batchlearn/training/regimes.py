"""Regimes: how rows are presented to one update. A way of reading, not a kind of solver.

`FullBatch()` gives all rows to every update, `MiniBatch(size)` so many, `Online()` one. Objective, loss, penalty,
weights and encoding are the same under each. Rows are read in passes: in a fresh random order each, or as stored.
`run` is the one loop that takes a solver's steps, whatever the regime.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.errors import UsageError, quoted
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import FACTOR_LIMIT, NotPositiveDefinite
from batchlearn.solvers import LeadPoint, ReadingPlan, RowsAtOnce, Solver
from batchlearn.solvers.costs import pass_costs
from batchlearn.solvers.newton import MANY, Newton
from batchlearn.solvers.online import learns_from_single_rows
from batchlearn.solvers.online.newton import MOST_COEFFICIENTS, OnlineNewton
from batchlearn.solvers.online.normalised import NormalisedGradient
from batchlearn.solvers.online.progressive import predictors_before
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.solvers.stochastic import StochasticGradient
from batchlearn.solvers.variance_reduced import VarianceReducedNewton
from batchlearn.statistics.objective import Objective

# Rows handed to a solver at once: enough that calls cost little, few enough to watch and to stop. Halved, but not
# below the fewest, while rows times the numbers that one meets are more than so many.
_STRETCH_ROWS, _FEWEST_STRETCH_ROWS, _STRETCH_VALUES = 16_384, 1_024, 2e7
# Multiplications a row, for the inverse Hessian times one gradient a batch.
_LARGEST_SQUARE = 50_000
DEFAULT_PASSES = 10.0
# What each solver took: about 10 Newton steps, 3 where gradients lead; a few hundred readings of the rows on plain
# columns, thousands on tables with many levels.
_NEWTON_STEPS_EXPECTED, _READINGS_EXPECTED, _READINGS_WITH_LEVELS = 10.0, 1_000.0, 10_000.0
_LED_STEPS_EXPECTED = 3.0
# Preconditioned by a block a class, whatever the columns.
_READINGS_OF_CLASSES = 200.0


@dataclass(frozen=True)
class FullBatch:
    """Every update sees all rows; by default Newton's method, or L-BFGS for many coefficients.

    Example:
        >>> from batchlearn import FullBatch, Recipe
        >>> Recipe(batch_size="full").regime == FullBatch()
        True
    """

    shows: ClassVar[RowsAtOnce] = RowsAtOnce.ALL

    @property
    def size(self) -> None:
        """None, which stands for all rows, however many."""
        return None

    def __str__(self) -> str:
        return "full"


@dataclass(frozen=True)
class MiniBatch:
    """Every update sees `size` rows; the last of a pass may see fewer.

    By default variance-reduced Newton steps (Derezinski 2022), or stochastic gradients for many coefficients.

    Args:
        size: Rows an update sees, 1 or more; 32 to 512 serve most tables.

    Raises:
        UsageError: `size` is no whole number of 1 or more.

    Example:
        >>> from batchlearn import MiniBatch, Recipe
        >>> Recipe(batch_size=128).regime == MiniBatch(128)
        True
    """

    size: int

    shows: ClassVar[RowsAtOnce] = RowsAtOnce.SOME

    def __post_init__(self) -> None:
        # type() and not isinstance(): True is no number of rows.
        if type(self.size) is not int or self.size < 1:
            raise _unknown(self.size)

    def __str__(self) -> str:
        return str(self.size)


@dataclass(frozen=True)
class Online:
    """Every update sees one row.

    By default online Newton, above 512 coefficients normalised gradients (Ross, Mineiro and Langford 2013).

    Example:
        >>> from batchlearn import Online, Recipe
        >>> Recipe(batch_size=1).regime == Online()
        True
    """

    shows: ClassVar[RowsAtOnce] = RowsAtOnce.ONE

    @property
    def size(self) -> int:
        """One row."""
        return 1

    def __str__(self) -> str:
        return "1"


Regime = FullBatch | MiniBatch | Online


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


def check_pair(regime: Regime, solver: Solver[Any]) -> None:
    """Refuse a solver that cannot serve a regime: UsageError."""
    if solver.needs is RowsAtOnce.ALL and regime.shows is not RowsAtOnce.ALL:
        online = regime.shows is RowsAtOnce.ONE
        others = "OnlineNewton()" if online else "VarianceReducedNewton() or StochasticGradient()"
        raise UsageError(
            f"{type(solver).__name__} needs all rows at every step; the regime given is {regime!r}. Use FullBatch(), "
            f"or a solver that can do with fewer: {others}.",
            code="solver-regime",
        )


def choose_solver(rows: Rows, outputs: int = 1) -> Newton | LimitedMemory:
    """Return the cheaper solver of the full batch: Newton's Gram and factor, or many readings of the rows."""
    size = outputs * rows.layout.size
    if size > FACTOR_LIMIT:
        return LimitedMemory()
    costs = pass_costs(rows, outputs)
    # Of many coefficients gradients lead, and few Hessians are left to make.
    steps = _LED_STEPS_EXPECTED if outputs == 1 and size >= MANY else _NEWTON_STEPS_EXPECTED
    readings = _READINGS_WITH_LEVELS if rows.layout.groups else _READINGS_EXPECTED
    readings = readings if outputs == 1 else _READINGS_OF_CLASSES
    return Newton() if steps * costs.expansion <= readings * costs.gradient else LimitedMemory()


def default_solver(objective: Objective, rows: Rows, regime: Regime) -> Solver[Any]:
    """Return the solver of a regime that nobody has to tune.

    An inverse Hessian where it costs no more than reading the rows does; else gradients alone.
    """
    single, size = objective.loss.outputs == 1, rows.layout.size
    if regime.size is None:
        return choose_solver(rows, objective.loss.outputs)
    if regime.shows is RowsAtOnce.ONE:
        return OnlineNewton() if single and size <= MOST_COEFFICIENTS else NormalisedGradient()
    affordable = single and size**2 <= _LARGEST_SQUARE * regime.size and size <= FACTOR_LIMIT
    return VarianceReducedNewton() if affordable else StochasticGradient()


class Checkpoint(NamedTuple):
    """Where a run stands after the rows that it was shown last."""

    rows_read: int  # each as often as it was read, for whatever purpose
    passes: float  # the same, in readings of all rows
    parameters: Floats  # (d,): what would be delivered now, averaged where the solver averages
    solver: str
    state: Any  # the solver's own; None where cheaper steps lead to it


def run(
    objective: Objective,
    rows: Rows,
    regime: Regime,
    solver: Solver[Any],
    parameters: Floats,
    *,
    seed: int = 0,
    order: str = "shuffled",
) -> Generator[Checkpoint, None, None]:
    """Take a solver's steps from the parameters (d,) for as long as anyone looks, yielding after each.

    A step is shown all rows, or a stretch of them that the solver cuts into batches. Where a start has read all rows,
    it is looked at as well. Raises NotPositiveDefinite where a solver's Hessian has no factor.
    """
    whole = solver.needs is RowsAtOnce.ALL
    numbers = None if whole else rows.counted()
    counted = len(rows) if numbers is None else len(numbers)
    size = counted if regime.size is None else min(regime.size, counted)
    reading = ReadingPlan(size, counted, rows.total_weight, seed)
    length = _STRETCH_ROWS
    values = solver.values_of_row(len(parameters), size)
    while length > _FEWEST_STRETCH_ROWS and length * values > _STRETCH_VALUES:
        length //= 2
    length = max(length // size, 1) * size

    def step(shown: Rows, state: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):
            return solver.step(objective, shown, state)

    def checkpoint(turn: int, shown: int) -> Checkpoint:
        read = state.passes * counted if whole else turn * counted + shown + state.further_rows
        return Checkpoint(read, read / counted, state.delivered, solver.name, state)

    with np.errstate(over="ignore", invalid="ignore"):
        state = solver.start(objective, rows, parameters, reading)
    if whole:
        yield checkpoint(0, 0)
    for turn in count():
        with np.errstate(over="ignore", invalid="ignore"):
            state = solver.begin_pass(objective, rows, state)
        if numbers is None or reading.whole:  # as stored
            state = step(rows, state)
            yield checkpoint(turn, len(rows))
            continue
        shuffled = order == "shuffled"
        asked = np.random.default_rng([seed, 2, turn]).permutation(numbers) if shuffled else numbers
        for reached, shown in rows.walk(asked, length, step, state):
            state = reached
            yield checkpoint(turn, shown)


def epochs(  # noqa: PLR0913 - as `run`, and the end
    objective: Objective,
    rows: Rows,
    regime: Regime,
    solver: Solver[Any] | None = None,
    start: Floats | None = None,
    *,
    seed: int = 0,
    order: str = "shuffled",
    passes: float = DEFAULT_PASSES,
) -> Generator[Checkpoint, None, None]:
    """Minimise the objective under a regime, yielding after each stretch of rows.

    `start` is the null model unless given. `order` is "shuffled", a fresh order from the seed each pass, or "stored".
    The run ends where the solver can get no nearer, or at the end of the stretch in which `passes` readings of all rows
    are spent; closing the generator before is fine. Raises UsageError for a solver that cannot serve the regime.
    """
    solver = solver or default_solver(objective, rows, regime)
    check_pair(regime, solver)
    if order not in ("shuffled", "stored"):
        raise UsageError(f'The order is {quoted(order)}; it needs to be "shuffled" or "stored".', code="order-unknown")
    begin = objective.null_parameters(rows) if start is None else start
    led = LeadPoint(begin, 0)
    for led in solver.lead(objective, rows, begin, fresh=start is None):
        yield Checkpoint(led.passes * len(rows), led.passes, led.parameters, solver.name, None)
        if led.passes >= passes:
            return
    reached = None
    while True:
        try:
            for reached in run(objective, rows, regime, solver, led.parameters, seed=seed, order=order):
                read, whole = reached.rows_read + led.passes * len(rows), reached.passes + led.passes
                yield reached._replace(rows_read=read, passes=whole)
                if solver.finished(reached.state) or whole >= passes:
                    return
        except NotPositiveDefinite:
            # No factor can be vouched for: what needs none serves. On the way the run ends where it stands.
            if reached is not None:
                return
            if solver.without_factor is None:
                raise
            solver = solver.without_factor


def progressive(
    objective: Objective, rows: Rows, regime: Regime, solver: Solver[Any] | None = None, *, delay: int = 0
) -> Floats:
    """Return each row's linear predictor made before its label was used, (rows,) or (outputs, rows), rows as stored.

    With a delay, the label of row t is learned from just before row t + delay + 1 is predicted. Raises UsageError for
    a regime or a solver that looks at more than the rows before.
    """
    solver = solver or default_solver(objective, rows, regime)
    if regime.shows is not RowsAtOnce.ONE or not learns_from_single_rows(solver):
        raise UsageError(
            f"Progressive evaluation reads one row at a time; {type(solver).__name__} under {regime!r} reads more. Use "
            "Online() with OnlineNewton() or NormalisedGradient().",
            code="solver-regime",
        )
    return predictors_before(objective, rows, solver, delay=delay)
