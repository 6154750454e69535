"""Regimes: how rows are presented to one update. A way of reading, not a kind of solver.

`FullBatch()` gives all rows to every update, `MiniBatch(size)` so many, `Online()` one. Objective, loss, penalty,
weights and encoding are the same under each. Rows are read in passes: in a fresh random order each, or as stored.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.rows import Rows
from batchlearn.errors import UsageError, quoted
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import NotPositiveDefinite
from batchlearn.objectives.objective import Objective
from batchlearn.solvers.batches import BatchSolver, BatchState, Reading
from batchlearn.solvers.gradient_descent import GradientDescent
from batchlearn.solvers.newton import Newton, NewtonState
from batchlearn.solvers.online.newton import MOST_COEFFICIENTS, OnlineNewton
from batchlearn.solvers.online.normalised import NormalisedGradient
from batchlearn.solvers.online.progressive import predictors_before
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.solvers.stochastic import GradientState, Probed, StochasticGradient
from batchlearn.solvers.variance_reduced import Anchor, ReducedState, VarianceReducedNewton
from batchlearn.training.certificate import FACTOR_LIMIT, Bounds, Certification, certify
from batchlearn.training.optimise import Optimum, Problem, Status, Step, choose_solver, judge, optimising

FullBatchSolver = Newton | LimitedMemory | GradientDescent
Solver = FullBatchSolver | StochasticGradient | VarianceReducedNewton | OnlineNewton | NormalisedGradient

# Rows handed to a solver at once: enough that calls cost little, few enough to watch and to stop. Halved, but not
# below the fewest, while rows times coefficients are more than so many.
_STRETCH_ROWS, _FEWEST_STRETCH_ROWS, _STRETCH_VALUES = 16_384, 1_024, 2e7
# Multiplications a row, for the inverse Hessian times one gradient a batch.
_LARGEST_SQUARE = 50_000
DEFAULT_PASSES = 10.0
# Until the certificate is what was asked for; and where noise never ends, what gains little from more.
_ANCHORED_PASSES, _NOISY_PASSES = 100.0, 5.0
_SLOW_ANCHORS = 3
# Half the square of a decrement is what is left to gain: this is below the rounding of any objective.
_AT_ROUNDING = 1e-9


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
    turn: int = 0  # passes begun before this one
    anchor: Anchor | None = None  # the last point whose gradient of all rows is known, where the solver keeps one
    probe: tuple[Probed, ...] = ()  # the rates that were tried, where the solver has one


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
        others = "OnlineNewton()" if isinstance(regime, Online) else "VarianceReducedNewton() or StochasticGradient()"
        raise UsageError(
            f"{type(solver).__name__} needs all rows at every step; the regime given is {regime!r}. Use FullBatch(), "
            f"or a solver that can do with fewer: {others}.",
            code="solver-regime",
        )


def default_solver(objective: Objective, rows: Rows, regime: Regime) -> Solver:
    """Return the solver of a regime that nobody has to tune.

    An inverse Hessian where it costs no more than reading the rows does; else gradients alone.
    """
    single, size = objective.loss.outputs == 1, rows.layout.size
    if isinstance(regime, FullBatch):
        return choose_solver(rows, objective.loss.outputs)
    if isinstance(regime, Online):
        return OnlineNewton() if single and size <= MOST_COEFFICIENTS else NormalisedGradient()
    affordable = single and size**2 <= _LARGEST_SQUARE * regime.size and size <= FACTOR_LIMIT
    return VarianceReducedNewton() if affordable else StochasticGradient()


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
    if isinstance(solver, FullBatchSolver):
        return (yield from _full_batches(objective, rows, solver, parameters, passes, began))
    numbers = rows.counted()
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

    def report(self, read: int, state: BatchState, turn: int) -> Stretch:
        seconds = time.perf_counter() - self.began
        anchor = state.anchor if isinstance(state, ReducedState) else None
        probe = state.probe if isinstance(state, GradientState) else ()
        return Stretch(read, read / self.reading.rows, seconds, state.delivered, self.solver.name, turn, anchor, probe)


def _stretches(
    run: _Run, parameters: Floats, numbers: NDArray[np.intp], passes: float
) -> Generator[Stretch, None, Floats]:
    try:
        state = run.solver.start(run.objective, run.rows, parameters, run.reading)
    except NotPositiveDefinite:
        # No inverse Hessian can be made from the sample: what needs none serves.
        run = run._replace(solver=StochasticGradient())
        state = run.solver.start(run.objective, run.rows, parameters, run.reading)
    read = state.further_rows
    number = 0
    while number == 0 or read < passes * run.reading.rows:
        state = run.solver.begin_pass(run.objective, run.rows, state, run.reading)
        own = 0
        for stretch in _cut(run, numbers, number, len(parameters)):
            state = run.solver.advance(run.objective, stretch, state, run.reading)
            own += len(stretch)
            total = number * run.reading.rows + own + state.further_rows
            read = total
            yield run.report(read, state, number)
            if read >= passes * run.reading.rows:
                break
        number += 1
    delivered: Floats = state.delivered
    return delivered


def _cut(run: _Run, numbers: NDArray[np.intp], number: int, coefficients: int) -> Iterator[Rows]:
    """Yield the rows of one pass, a stretch at a time; all rows as stored where one batch is all of them."""
    if run.reading.whole:
        yield run.rows
        return
    if run.order == "shuffled":
        numbers = np.random.default_rng([run.reading.seed, 2, number]).permutation(numbers)
    length = _STRETCH_ROWS
    while length > _FEWEST_STRETCH_ROWS and length * coefficients > _STRETCH_VALUES:
        length //= 2
    length = max(length // run.reading.size, 1) * run.reading.size
    yield from run.rows.stretches(numbers, length)


def _full_batches(
    objective: Objective, rows: Rows, solver: FullBatchSolver, parameters: Floats, passes: float, began: float
) -> Generator[Stretch, None, Floats]:
    state: Any
    try:
        state = solver.start(objective, rows, parameters)
    except NotPositiveDefinite:
        # No factor can be vouched for: what needs none serves, as in `optimise`.
        solver = LimitedMemory()
        state = solver.start(objective, rows, parameters)
    while True:
        seconds = time.perf_counter() - began
        yield Stretch(state.passes * len(rows), float(state.passes), seconds, state.parameters, solver.name)
        finished = state.stuck if not isinstance(state, NewtonState) else state.decrement < _AT_ROUNDING
        if finished or state.passes >= passes:
            return np.asarray(state.parameters)
        try:
            state = solver.step(objective, rows, state)
        except NotPositiveDefinite:
            return np.asarray(state.parameters)


def progressive(
    objective: Objective, rows: Rows, regime: Regime, solver: Solver | None = None, *, delay: int = 0
) -> Floats:
    """Return each row's linear predictor made before its label was used, (rows,) or (outputs, rows), rows as stored.

    With a delay, the label of row t is learned from just before row t + delay + 1 is predicted. What it is worth says
    `evaluation.progressive`. Raises UsageError for a regime or a solver that looks at more than the rows before.
    """
    solver = solver or default_solver(objective, rows, regime)
    if not (isinstance(regime, Online) and isinstance(solver, OnlineNewton | NormalisedGradient)):
        raise UsageError(
            f"Progressive evaluation reads one row at a time; {type(solver).__name__} under {regime!r} reads more. Use "
            "Online() with OnlineNewton() or NormalisedGradient().",
            code="solver-regime",
        )
    return predictors_before(objective, rows, solver, delay=delay)


def minimising(
    problem: Problem, regime: Regime, solver: Solver | None = None, start: Floats | None = None, *, seed: int = 0
) -> Generator[Step, None, Optimum]:
    """Minimise under a regime, yielding about once a pass; return the optimum with the certificate of all rows.

    Variance-reduced steps go on until the certificate meets the stopping rule, as the full batch does. Solvers whose
    noise never ends stop after a few passes: the certificate then says how far they came, or that it cannot say.
    Raises NoFiniteOptimum.
    """
    objective, rows = problem.objective, problem.rows
    solver = solver or default_solver(objective, rows, regime)
    check_pair(regime, solver)
    if isinstance(solver, Newton | LimitedMemory):
        return (yield from optimising(problem, start, solver if isinstance(regime, FullBatch) else None))
    began = time.perf_counter()
    null_value = objective.null_value(rows)
    reduced = isinstance(solver, VarianceReducedNewton)
    passes = _ANCHORED_PASSES if reduced or solver.needs_all_rows else _NOISY_PASSES
    stretches = epochs(objective, rows, regime, solver, start, seed=seed, passes=passes)
    trace = list[Step]()
    with np.errstate(over="ignore", invalid="ignore"):
        last = yield from (_anchored if reduced else _noisy)(_Watch(problem, null_value, trace, began), stretches)
    parameters = last.parameters if last.anchor is None else last.anchor.parameters
    certification = last.certification or certify(objective, rows, parameters, problem.units)
    value = objective.value(rows, parameters)
    status = judge(problem, certification, problem.situation(value, null_value))
    seconds = time.perf_counter() - began
    read = math.ceil(last.passes) + 3
    return Optimum(parameters, certification, status, last.solver, value, null_value, tuple(trace), read, seconds)


def minimised(problem: Problem, regime: Regime, *, seed: int = 0) -> Optimum:
    """Minimise under a regime with its default solver; return the optimum. Raises NoFiniteOptimum."""
    steps = minimising(problem, regime, seed=seed)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            optimum: Optimum = end.value
            return optimum


class _Last(NamedTuple):
    """Where a run ended; with an anchor, at that."""

    parameters: Floats
    passes: float
    solver: str
    anchor: Anchor | None = None
    certification: Certification | None = None


class _Watch(NamedTuple):
    problem: Problem
    null_value: float
    trace: list[Step]
    began: float

    def step(self, passes: float, value: float, decrement: float | None) -> Step:
        step = Step(math.ceil(passes), value, decrement, None, time.perf_counter() - self.began)
        self.trace.append(step)
        return step


_Stretches = Generator[Stretch, None, Floats]


def _anchored(watch: _Watch, stretches: _Stretches) -> Generator[Step, None, _Last]:
    """Go on until an anchor seems near enough and its certificate agrees, or until anchors get no nearer."""
    problem, wanted, previous, slow, turn = watch.problem, 1.0, math.inf, 0, 0
    latest = None
    for latest in stretches:
        anchor = latest.anchor
        if latest.turn == turn or anchor is None:
            continue
        turn = latest.turn
        yield watch.step(latest.passes, anchor.value, anchor.decrement)
        slow, previous = (0 if anchor.decrement < 0.7 * previous else slow + 1), min(anchor.decrement, previous)
        situation = problem.situation(anchor.value, watch.null_value)
        assumed = Bounds(anchor.decrement / wanted, 0.5 * (anchor.decrement / wanted) ** 2)
        if slow >= _SLOW_ANCHORS or problem.stopping.met(assumed, situation):
            found = certify(problem.objective, problem.rows, anchor.parameters, problem.units)
            if slow >= _SLOW_ANCHORS or judge(problem, found, situation) in (Status.TOLERANCE, Status.FLOOR):
                return _Last(latest.parameters, latest.passes + 3, latest.solver, anchor, found)
            wanted *= 0.3  # the sample's Hessian flattered: ask for more before paying for another certificate
    if latest is None:
        raise ValueError("a run without a stretch")
    return _Last(latest.parameters, latest.passes, latest.solver)


def _noisy(watch: _Watch, stretches: _Stretches) -> Generator[Step, None, _Last]:
    """Go through the passes to their end; look at the objective after each."""
    problem, looks, latest = watch.problem, 0, None
    for latest in stretches:
        if latest.passes >= looks + 1:
            looks = int(latest.passes)
            yield watch.step(latest.passes + looks, problem.objective.value(problem.rows, latest.parameters), None)
    if latest is None:
        raise ValueError("a run without a stretch")
    return _Last(latest.parameters, latest.passes + looks, latest.solver)
