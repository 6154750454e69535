"""The loop that changes parameters, and the proof it ends with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.errors import DataError, NoFiniteOptimum
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import NotPositiveDefinite
from batchlearn.objectives.losses.huber import HuberLoss
from batchlearn.objectives.lower_bound import LowerBound
from batchlearn.objectives.objective import Objective
from batchlearn.objectives.statistics import RecessionTotal
from batchlearn.solvers.falling_threshold import from_above
from batchlearn.solvers.newton import Newton, NewtonState
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.training.certificate import FACTOR_LIMIT, Bounds, Certification, Units, bounds, certify, not_certified
from batchlearn.training.stopping import Situation, Stopping
from batchlearn.words.notes import Code, Note

_NEWTON_STEPS = 200
# What each solver took: about 10 Newton steps; a few hundred readings of the rows on plain columns, thousands on tables
# with many levels.
_NEWTON_STEPS_EXPECTED, _READINGS_EXPECTED, _READINGS_WITH_LEVELS = 10.0, 1_000.0, 10_000.0
# Preconditioned by a block a class, whatever the columns.
_READINGS_OF_CLASSES = 200.0
# What may be rounding of a direction: of its entries against its largest, of a row's rise against the row's own terms.
_RECESSION_TOLERANCE = 1e-6
_RECESSION_AFTER = 12
_CHUNKS_TO_SAMPLE, _HEAD_STEPS = 8, 10
# Steps with a block a class: until the gain that is left is this little, in total, for each coefficient.
_STEPS_BY_BLOCKS, _BLOCKS_LEAD = 100, 1e-6


class Status(Enum):
    """How a fit ended, as a sentence."""

    TOLERANCE = "the bound is within the tolerance"
    FLOOR = "the bound is at the floor that rounding leaves, above the tolerance"
    OUT_OF_STEPS = "the steps were spent before the bound met the tolerance"
    OUT_OF_TIME = "the time was spent before the bound met the tolerance"
    REFUSED = "no bound could be proved"


class Step(NamedTuple):
    """One line of the trace."""

    passes: int
    value: float
    decrement: float | None  # None where nothing on the way knows it
    bound: float | None  # C2 without the rounding term, where it exists
    seconds: float


@dataclass(frozen=True)
class Optimum:
    """What the loop found: parameters (d,) and everything proved about them."""

    parameters: Floats
    certification: Certification
    status: Status
    solver: str
    value: float
    null_value: float
    trace: tuple[Step, ...]
    passes: int
    seconds: float


@dataclass(frozen=True)
class Problem:
    """An objective over rows, with what is needed to stop and to speak about its coefficients.

    `seconds`: a loop that has taken so many ends where it stands.
    """

    objective: Objective
    rows: Rows
    stopping: Stopping
    units: Units
    names: Sequence[str]
    seconds: float = math.inf

    @cached_property
    def merged(self) -> Rows:
        """The rows as a solver reads them on its way; what is certified is read from all."""
        return self.rows.merged()

    def situation(self, value: float, null_value: float) -> Situation:
        """Return what a stopping rule may look at."""
        weight = max(self.rows.total_weight, float(len(self.rows)))
        if isinstance(self.objective.loss, HuberLoss):
            # Of the noise: what lies far beyond the threshold says nothing about how well the centre is known.
            value = min(value, 0.5 * self.objective.loss.threshold**2)
        return Situation(value, null_value, weight, self.objective.loss.free_scale)


def choose_solver(rows: Rows, outputs: int = 1) -> Newton | LimitedMemory:
    """Return the cheaper solver: Newton's Gram and factor, or many readings of the rows.

    In nanoseconds on one core: 20 multiplications a nanosecond in matrix products, 2-4 nanoseconds for one count or
    one look-up of a category code.
    """
    layout = rows.layout
    if outputs * layout.size > FACTOR_LIMIT:
        return LimitedMemory()
    groups, count = len(layout.groups), float(len(rows))
    stored = float(rows.stored_entries)
    if outputs == 1:
        # However few the rows: a call of NumPy for each column and each group, in each chunk.
        calls = 2e5 * (layout.lead + groups) * max(rows.chunk_count, 1)
        reading = count * (2.0 * layout.lead + 4.0 * groups) + 3.0 * stored + calls
    else:  # by matrix products
        reading = count * (2.0 * layout.lead + outputs * (0.2 * layout.lead + 4.0 * groups + 20.0)) + 3.0 * stored
    gram = count * (0.05 * layout.lead**2 + 3.0 * groups * layout.lead + 2.0 * groups**2)
    gram += 3.0 * stored * stored / max(count, 1.0)
    step = gram * outputs * (outputs + 1) / 2.0 + 0.05 * float(outputs * layout.size) ** 3
    readings = _READINGS_WITH_LEVELS if groups else _READINGS_EXPECTED
    readings = readings if outputs == 1 else _READINGS_OF_CLASSES
    return Newton() if _NEWTON_STEPS_EXPECTED * step <= readings * reading else LimitedMemory()


def optimise(problem: Problem, start: Floats | None = None, solver: Newton | LimitedMemory | None = None) -> Optimum:
    """Minimise the objective and certify the answer. Raises NoFiniteOptimum."""
    steps = optimising(problem, start, solver)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            optimum: Optimum = end.value
            return optimum


def optimising(
    problem: Problem, start: Floats | None = None, solver: Newton | LimitedMemory | None = None
) -> Generator[Step, None, Optimum]:
    """Yield after every step; return the optimum."""
    began = time.perf_counter()
    objective, rows = problem.objective, problem.merged
    null = objective.null_parameters(rows)
    null_value = objective.value(rows, null)
    solver = solver or choose_solver(rows, objective.loss.outputs)
    # A start that is worse than no model at all costs more steps than it saves.
    useful = start is not None and objective.value(rows, start) <= null_value
    parameters = start if start is not None and useful else null
    spent = 0
    if start is None and isinstance(solver, Newton):
        parameters, spent = _head_start(problem, solver, null)
    if isinstance(solver, Newton):
        try:
            if isinstance(objective.loss, HuberLoss):
                parameters = from_above(objective, rows, objective.loss, solver, parameters)
            found = yield from _newton(problem, solver, parameters, null_value, spent)
        except NotPositiveDefinite:
            solver = LimitedMemory()
    if isinstance(solver, LimitedMemory):
        found = yield from _limited_memory(problem, solver, parameters, null_value)
    return Optimum(
        found.parameters,
        found.certification,
        found.status,
        solver.name,
        objective.value(problem.rows, found.parameters),
        null_value,
        tuple(found.trace),
        found.passes,
        time.perf_counter() - began,
    )


def _head_start(problem: Problem, solver: Newton, parameters: Floats) -> tuple[Floats, int]:
    """Return where a quarter of the chunks lead: far from the optimum a sample says as much as all rows, sooner.

    And how often all rows were read for it.
    """
    objective, rows = problem.objective, problem.merged
    if objective.loss.outputs > 1:
        return _led_by_blocks(problem, parameters)
    if rows.chunk_count < _CHUNKS_TO_SAMPLE or objective.quadratic:
        return parameters, 0
    sample = rows.of_chunks(slice(None, None, 4))
    try:
        state = solver.start(objective, sample, parameters)
        for _ in range(_HEAD_STEPS):
            # Half the gain that is left, in total, against half a unit for each coefficient that is noise.
            if state.decrement**2 * sample.total_weight < len(parameters):
                break
            state = solver.step(objective, sample, state)
    except NotPositiveDefinite:
        return parameters, 0
    better = objective.value(rows, state.parameters) < objective.value(rows, parameters)
    return (state.parameters if better else parameters), state.passes // 4 + 2


def _led_by_blocks(problem: Problem, parameters: Floats) -> tuple[Floats, int]:
    """Return where steps with a block a class lead: each costs readings of the rows, not a factor of all classes."""
    solver, enough = LimitedMemory(), _BLOCKS_LEAD * len(parameters) / problem.merged.total_weight
    began, state = time.perf_counter(), solver.start(problem.objective, problem.merged, parameters)
    while not state.stuck and state.steps < _STEPS_BY_BLOCKS and not state.smallest < enough:
        if time.perf_counter() - began > problem.seconds:
            break
        state = solver.step(problem.objective, problem.merged, state)
    return state.parameters, state.passes


class _Found(NamedTuple):
    parameters: Floats
    certification: Certification
    status: Status
    trace: list[Step]
    passes: int


def _newton(
    problem: Problem, solver: Newton, parameters: Floats, null_value: float, spent: int
) -> Generator[Step, None, _Found]:
    objective, rows = problem.objective, problem.merged
    constant, quadratic = objective.loss.self_concordance, objective.quadratic
    began, trace, previous, slow = time.perf_counter(), list[Step](), float("inf"), 0
    state = _guarded(problem, partial(solver.start, objective, rows, parameters), None)
    for number in range(_NEWTON_STEPS):
        decrement = state.decrement
        reached = bounds(decrement, state.expansion.kappa, constant)
        # A loss with corners has no bound before it is shown that no row crosses one.
        shown = reached.loss if reached is not None and (constant > 0.0 or quadratic) else None
        step = Step(spent + state.passes, state.expansion.value, decrement, shown, time.perf_counter() - began)
        trace.append(step)
        yield step
        situation = problem.situation(state.expansion.value, null_value)
        # On the way to a far optimum (classes almost apart) the decrement falls by e^-1/2 a step: not yet the floor.
        small = 1e-3 if constant > 0.0 else 1e-4 * math.sqrt(2.0 * abs(situation.value))
        stalled = decrement > 0.5 * previous if quadratic else 0.9 * previous < decrement < small
        slow = slow + 1 if stalled else 0
        # A quadratic needs no reason to go on but digits: refinement steps are cheap and only rounding ends them.
        finished = slow >= 1 if quadratic else slow >= 2 or _near(problem, reached, decrement, situation)
        if finished:
            certification = certify(objective, problem.rows, state.parameters, problem.units)
            status = judge(problem, certification, situation)
            # A decrement that stalls or rises far above its rounding is on its way: one row may still have to turn.
            floor = certification.certificate.floor
            turning = status is Status.REFUSED and floor is not None and 0.5 * decrement**2 > 16.0 * floor
            if status in (Status.TOLERANCE, Status.FLOOR) or (slow >= 2 and not turning) or quadratic:
                return _Found(state.parameters, certification, status, trace, spent + state.passes + 3)
            slow = 0 if turning else slow
        if step.seconds > problem.seconds:
            return _out_of_time(problem, state.parameters, reached, trace, spent + state.passes)
        if number >= _RECESSION_AFTER:
            _refuse_recession(problem, -state.factor.solve(state.expansion.gradient))
        previous = decrement
        state = _guarded(problem, partial(solver.step, objective, rows, state), state)
    certification = certify(objective, problem.rows, state.parameters, problem.units)
    return _Found(state.parameters, certification, Status.OUT_OF_STEPS, trace, spent + state.passes + 3)


def _out_of_time(
    problem: Problem, parameters: Floats, reached: Bounds | None, trace: list[Step], passes: int
) -> _Found:
    """Return where a loop stands whose time is spent; certified where a bound is in reach, for it costs readings."""
    if reached is None:
        proof = Certification(not_certified(problem.rows, Note(Code.TIME_SPENT)), None, None, None)
        return _Found(parameters, proof, Status.OUT_OF_TIME, trace, passes)
    proof = certify(problem.objective, problem.rows, parameters, problem.units)
    return _Found(parameters, proof, Status.OUT_OF_TIME, trace, passes + 3)


def _near(problem: Problem, reached: Bounds | None, decrement: float, situation: Situation) -> bool:
    """Whether a certificate is worth its readings: the stop seems met, or would be with exact leverages."""
    if reached is None:
        reached = Bounds(decrement, 0.5 * decrement**2)
        return decrement < 1e-4 and problem.stopping.met(reached, situation)
    return problem.stopping.met(reached, situation)


def judge(problem: Problem, certification: Certification, situation: Situation) -> Status:
    """Say how a certified point stands to the stopping rule."""
    certificate = certification.certificate
    if certificate.loss_bound is None or certificate.radius is None or certificate.floor is None:
        return Status.REFUSED
    if problem.stopping.met(Bounds(certificate.radius, certificate.loss_bound), situation):
        return Status.TOLERANCE
    return Status.FLOOR if certificate.loss_bound <= 16.0 * certificate.floor else Status.OUT_OF_STEPS


def _limited_memory(
    problem: Problem, solver: LimitedMemory, parameters: Floats, null_value: float
) -> Generator[Step, None, _Found]:
    objective, rows = problem.objective, problem.merged
    began, trace, wanted = time.perf_counter(), list[Step](), 1.0
    state = solver.start(objective, rows, parameters)
    error = objective.gradient_error(rows, parameters)
    lower = LowerBound(objective.loss, objective.penalty, error, rows.layout.intercept)
    kappa = min(error.kappa, lower.reach(rows))
    for _ in range(50 * _NEWTON_STEPS):
        decrement = lower.norm(state.gradient)
        reached = bounds(decrement, kappa, objective.loss.self_concordance)
        step = Step(state.passes, state.value, decrement, reached and reached.loss, time.perf_counter() - began)
        trace.append(step)
        yield step
        situation = problem.situation(state.value, null_value)
        assumed = Bounds(decrement / wanted, 0.5 * (decrement / wanted) ** 2)
        if state.stuck or problem.stopping.met(assumed, situation):
            certification = certify(objective, problem.rows, state.parameters, problem.units)
            status = judge(problem, certification, situation)
            if state.stuck or status in (Status.TOLERANCE, Status.FLOOR):
                return _Found(state.parameters, certification, status, trace, state.passes + 3)
            wanted *= 0.3  # curvature at the start flattered: ask for more before paying for another certificate
        if step.seconds > problem.seconds:
            return _out_of_time(problem, state.parameters, reached, trace, state.passes)
        state = solver.step(objective, rows, state)
    certification = certify(objective, problem.rows, state.parameters, problem.units)
    return _Found(state.parameters, certification, Status.OUT_OF_STEPS, trace, state.passes + 3)


def _guarded(problem: Problem, work: Callable[[], NewtonState], state: NewtonState | None) -> NewtonState:
    """Do one step; where the Hessian has no factor and the penalty does not decide, say what that means."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return work()
    except NotPositiveDefinite as refusal:
        if not np.any(refusal.direction):
            raise DataError(
                "The squares of the columns, weighted, overflow or come near it; they need to stay below 1e250. "
                "Divide the largest columns by their size first.",
                code="numbers-overflow",
            ) from refusal
        if isinstance(problem.objective.loss, HuberLoss):
            raise  # rows beyond the threshold have no curvature here, and may have some at the optimum
        if state is not None:
            _refuse_recession(problem, -state.factor.solve(state.expansion.gradient))
        _refuse_recession(problem, refusal.direction)
        _refuse_recession(problem, -refusal.direction)
        if problem.objective.penalty.stops(_significant(refusal.direction)):
            raise  # there is one optimum; only the factor cannot be vouched for
        columns = leading_names(problem.names, refusal.direction)
        raise NoFiniteOptimum(
            f"The objective has no unique finite optimum: {columns} repeat each other, or nothing changes along them, "
            f"and the penalty does not decide ({refusal}). Ask for a penalty above 0 (--alpha), or drop one of them.",
            code="no-unique-optimum",
        ) from refusal


def _refuse_recession(problem: Problem, direction: Floats) -> None:
    """Raise NoFiniteOptimum where the loss falls for ever along the direction and no penalty stops it."""
    loss, penalty = problem.objective.loss, problem.objective.penalty
    if loss.self_concordance == 0.0 or not np.any(direction):
        return
    direction = _significant(direction)
    if penalty.stops(direction):
        return
    change = problem.rows.total(RecessionTotal(loss), direction)
    if change.rise <= _RECESSION_TOLERANCE and change.fall >= 100.0 * _RECESSION_TOLERANCE:
        columns = leading_names(problem.names, direction)
        separated = loss.name in ("logistic", "softmax")
        what = "separate the classes" if separated else "send the mean of rows whose label is 0 to zero"
        raise NoFiniteOptimum(
            f"The objective has no finite optimum: {columns} {what}, so the loss falls for ever along them. "
            "Ask for a penalty above 0 (--alpha), or drop what gives the answer away.",
            code="no-finite-optimum",
        )


def _significant(direction: Floats) -> Floats:
    """Return the direction with a largest entry of one, and zeros where rounding may have made the entry."""
    largest = np.max(np.abs(direction))
    return np.asarray(np.where(np.abs(direction) > _RECESSION_TOLERANCE * largest, direction / largest, 0.0))


def leading_names(names: Sequence[str], direction: Floats, most: int = 3) -> str:
    """Return the coefficients that a direction moves most, as words."""
    size = np.abs(direction)
    order = [int(j) for j in np.argsort(-size)[:most] if size[j] > 1e-3 * size.max()]
    return " and ".join(f"'{names[j]}'" for j in order)
