"""The loop that changes parameters until a proof says that they are near enough, and the proof it ends with."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.errors import DataError, NoFiniteOptimum
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.objectives.class_weights import log_odds_shift, moved_intercepts
from batchlearn.objectives.factor import NotPositiveDefinite
from batchlearn.objectives.self_concordance import Bounds, bounds
from batchlearn.objectives.stopping import Stopping, StoppingContext
from batchlearn.progress import finish
from batchlearn.solvers import AnchoredPoint, Distance, RowsAtOnce, Solver
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.totals import RecessionTotal, ValueTotal
from batchlearn.training.certificate import Certification, Units, certify, not_certified
from batchlearn.training.regimes import Checkpoint, FullBatch, Regime, check_pair, default_solver, run

# What may be rounding of a direction: of its entries against its largest, of a row's rise against the row's own terms.
_RECESSION_TOLERANCE = 1e-6
_RECESSION_AFTER = 12


class Status(Enum):
    """How a fit ended, as a sentence."""

    TOLERANCE = "the bound is within the tolerance"
    FLOOR = "the bound is at the floor that rounding leaves, above the tolerance"
    OUT_OF_STEPS = "the steps were spent before the bound met the tolerance"
    OUT_OF_TIME = "the time was spent before the bound met the tolerance"
    REFUSED = "no bound could be proved"
    BROUGHT = "the estimator that was brought along ended by its own rule"


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

    `seconds`: a loop that has taken so many ends where it stands. `quick`: no reading of the rows is worth a tighter
    bound than the tolerance, or leave-one-out losses. `proof_alone`: nobody reads what else a factor would tell.
    """

    objective: Objective
    rows: Rows
    stopping: Stopping
    units: Units
    names: Sequence[str]
    seconds: float = math.inf
    quick: bool = False
    proof_alone: bool = False

    @cached_property
    def deduplicated(self) -> Rows:
        """The rows as a solver reads them on its way; what is certified is read from all."""
        return self.rows.deduplicate()

    def stopping_context(self, value: float, null_value: float) -> StoppingContext:
        """Return what a stopping rule may look at."""
        weight, loss = max(self.rows.total_weight, float(len(self.rows))), self.objective.loss
        return StoppingContext(loss.noise(value), null_value, weight, loss.free_scale)


def optimise(
    problem: Problem,
    start: Floats | None = None,
    solver: Solver[Any] | None = None,
    *,
    regime: Regime | None = None,
    seed: int = 0,
) -> Optimum:
    """Minimise the objective and certify the answer. Raises NoFiniteOptimum."""
    return finish(iter_optimise(problem, start, solver, regime=regime, seed=seed))


def iter_optimise(
    problem: Problem,
    start: Floats | None = None,
    solver: Solver[Any] | None = None,
    *,
    regime: Regime | None = None,
    seed: int = 0,
) -> Generator[Step, None, Optimum]:
    """Yield whenever something new is known of the way to the optimum; return it with the certificate of all rows.

    All rows at every step unless another regime is given, with the regime's default solver unless one is given. Steps
    go on until the certificate meets the stopping rule. Solvers whose noise never ends stop after a few passes: the
    certificate then says how far they came, or that it cannot say. Raises NoFiniteOptimum.
    """
    began, objective, regime = time.perf_counter(), problem.objective, regime or FullBatch()
    solver = solver or default_solver(objective, problem.rows, regime)
    check_pair(regime, solver)
    rows = problem.deduplicated if solver.needs is RowsAtOnce.ALL else problem.rows
    null = objective.null_parameters(rows)
    null_value = _null_value(objective, rows, null)
    # A start that is worse than no model at all costs more steps than it saves.
    useful = start is not None and objective.value(rows, start) <= null_value
    begin = start if start is not None and useful else null
    parameters, spent, trace = begin, 0, list[Step]()
    for led in solver.lead(objective, rows, begin, fresh=start is None):
        parameters, spent, seconds = led.parameters, led.passes, time.perf_counter() - began
        if led.value is not None:
            trace.append(Step(spent, led.value, None, None, seconds))
            yield trace[-1]
        if seconds > problem.seconds:
            break
    way = _SolverRun(problem, rows, regime, solver, parameters, null_value, spent, solver.most_passes, seed, began)
    try:
        found = yield from _proved(way)
    except NotPositiveDefinite:
        other = solver.without_factor
        if other is None:
            raise
        solver = other
        most_passes = max(way.most_passes, solver.most_passes)
        found = yield from _proved(way._replace(solver=solver, spent=0, most_passes=most_passes))
    proved, value = found.certification.expansion, found.certification.value
    if value is None:
        value = objective.value(problem.rows, found.parameters) if proved is None else proved.value
    return Optimum(
        found.parameters,
        found.certification,
        found.status,
        solver.name,
        value,
        null_value,
        (*trace, *found.trace),
        found.passes,
        time.perf_counter() - began,
    )


def _null_value(objective: Objective, rows: Rows, null: Floats) -> float:
    """Return the objective of the null model, whose only coefficients are intercepts."""
    if not rows.layout.intercept:
        return objective.value(rows, null)
    (total,) = rows.intercept_only().total(ValueTotal(objective.loss), null[:: rows.layout.size].copy())
    return float(total / rows.total_weight) + objective.penalty.value(null)


class _SolverRun(NamedTuple):
    """A solver, and from where it goes on after so many readings of all rows."""

    problem: Problem
    rows: Rows
    regime: Regime
    solver: Solver[Any]
    parameters: Floats
    null_value: float
    spent: int
    most_passes: float
    seed: int
    began: float


class _LoopResult(NamedTuple):
    parameters: Floats
    certification: Certification
    status: Status
    trace: list[Step]
    passes: int


def _watched_checkpoints(way: _SolverRun) -> Generator[tuple[Checkpoint, Distance | None, int], None, None]:
    """Yield where the solver stands after each step, for as many passes as it may take.

    With what is known there, None where nothing new is, and the readings of all rows so far, those for the objective
    among them.
    """
    objective, rows, solver = way.problem.objective, way.rows, way.solver
    watch, valued, checkpoint = solver.watch(objective, rows, way.parameters), 0, None
    try:
        for checkpoint in run(objective, rows, way.regime, solver, way.parameters, seed=way.seed):
            known = watch(checkpoint.state) if watch is not None else None
            if watch is None and checkpoint.passes >= valued + 1:
                valued = int(checkpoint.passes)
                with np.errstate(over="ignore", invalid="ignore"):
                    known = Distance(objective.value(rows, checkpoint.parameters))
            yield checkpoint, known, math.ceil(way.spent + checkpoint.passes + valued)
            if checkpoint.passes >= way.most_passes or (watch is None and solver.finished(checkpoint.state)):
                return
    except NotPositiveDefinite as refusal:
        if solver.needs is RowsAtOnce.ALL:
            _explain(way.problem, refusal, None if checkpoint is None else solver.direction(checkpoint.state))
        raise


def _proved(way: _SolverRun) -> Generator[Step, None, _LoopResult]:
    """Go on until a bound seems to be within what was asked for and its certificate agrees, or until nothing helps."""
    problem, objective, rows = way.problem, way.problem.objective, way.problem.rows
    prove = partial(certify, objective, rows, units=problem.units, proof_alone=problem.proof_alone)
    trace, wanted, stalled = list[Step](), 1.0, 0
    parameters, passes = way.parameters, way.spent
    for checkpoint, known, passes in _watched_checkpoints(way):
        parameters = checkpoint.parameters
        if known is None:
            continue
        # 1. What is known goes on the trace.
        reached = None
        if known.decrement is not None and known.kappa is not None:
            reached = bounds(known.decrement, known.kappa, objective.loss.self_concordance)
        # A loss with corners has no bound before it is shown that no row crosses one.
        shown = reached.loss if reached is not None and objective.loss.corners is None else None
        trace.append(Step(passes, known.value, known.decrement, shown, time.perf_counter() - way.began))
        yield trace[-1]
        # 2. A certificate, where it seems to be within what was asked for or no further step helps.
        stopping_context = problem.stopping_context(known.value, way.null_value)
        stalled = stalled + 1 if known.stalled else 0
        exhausted = stalled >= known.patience
        if exhausted or _near(problem, known, reached, stopping_context, wanted):
            anchored, factored = known.anchored if problem.quick else None, known.factored
            # Rows that repeat each other, read as one, add up to other bits.
            factored = factored if way.rows is rows else None
            if problem.quick and factored is not None:  # a point is near itself
                anchored = AnchoredPoint(None, factored.expansion.hessian, factored.factor, parameters)
            another = anchored is not None and factored is None and not exhausted
            proof = prove(parameters, anchored=anchored, factored=factored, steps_are_cheaper=another)
            status, floor = judge(problem, proof, stopping_context), proof.certificate.floor
            # What stalls or rises far above its rounding is on its way: one row may still have to turn.
            decrement = known.decrement if known.exact else None
            far = decrement is not None and floor is not None and 0.5 * decrement**2 > 16.0 * floor
            turning = status is Status.REFUSED and far
            if status in (Status.TOLERANCE, Status.FLOOR) or (exhausted and not turning):
                return _LoopResult(parameters, proof, status, trace, passes + 3)
            stalled = 0 if turning else stalled
            wanted *= 0.3  # what is known flattered: ask for more before paying for another certificate
        # 3. The end where the time is spent; certified where a bound is in reach, for it costs readings.
        if trace[-1].seconds > problem.seconds and reached is None:
            proof = Certification(not_certified(rows, Note(Code.TIME_SPENT)))
            return _LoopResult(parameters, proof, Status.OUT_OF_TIME, trace, passes)
        if trace[-1].seconds > problem.seconds:
            proof = prove(parameters)
            return _LoopResult(parameters, proof, Status.OUT_OF_TIME, trace, passes + 3)
        if len(trace) > _RECESSION_AFTER:
            _refuse_recession(problem, way.solver.direction(checkpoint.state))
    proof = prove(parameters)
    stopping_context = problem.stopping_context(objective.value(rows, parameters), way.null_value)
    return _LoopResult(parameters, proof, judge(problem, proof, stopping_context), trace, passes + 3)


def _near(
    problem: Problem, known: Distance, reached: Bounds | None, stopping_context: StoppingContext, wanted: float
) -> bool:
    """Whether a certificate is worth its readings: the stop seems met, or would be with exact leverages."""
    if known.decrement is None:
        return False
    if not known.exact:
        # Where even what flatters gives no bound a certificate would cost its readings for nothing.
        hopeless, decrement = reached is None and known.kappa is not None, known.decrement / wanted
        return not hopeless and problem.stopping.met(Bounds(decrement, 0.5 * decrement**2), stopping_context)
    if problem.objective.quadratic:  # whose steps end at rounding alone
        return False
    if reached is None and problem.quick:  # another step is cheaper than exact leverages
        return False
    if reached is None:
        near = Bounds(known.decrement, 0.5 * known.decrement**2)
        return known.decrement < 1e-4 and problem.stopping.met(near, stopping_context)
    return problem.stopping.met(reached, stopping_context)


def judge(problem: Problem, certification: Certification, stopping_context: StoppingContext) -> Status:
    """Say how a certified point stands to the stopping rule."""
    certificate = certification.certificate
    if certificate.loss_bound is None or certificate.radius is None or certificate.floor is None:
        return Status.REFUSED
    if problem.stopping.met(Bounds(certificate.radius, certificate.loss_bound), stopping_context):
        return Status.TOLERANCE
    return Status.FLOOR if certificate.loss_bound <= 16.0 * certificate.floor else Status.OUT_OF_STEPS


def _explain(problem: Problem, refusal: NotPositiveDefinite, direction: Floats | None) -> None:
    """Raise what it means that the Hessian has no factor, unless there is one optimum nevertheless."""
    if not np.any(refusal.direction):
        raise DataError(
            "The squares of the columns, weighted, overflow or come near it; they need to stay below 1e250. "
            "Divide the largest columns by their size first.",
            code="numbers-overflow",
        ) from refusal
    if problem.objective.loss.corners is not None:
        return  # rows beyond the threshold have no curvature here, and may have some at the optimum
    _refuse_recession(problem, direction)
    _refuse_recession(problem, refusal.direction)
    _refuse_recession(problem, -refusal.direction)
    if problem.objective.penalty.stops(_significant(refusal.direction)):
        return  # there is one optimum; only the factor cannot be vouched for
    columns = leading_names(problem.names, refusal.direction)
    raise NoFiniteOptimum(
        f"The objective has no unique finite optimum: {columns} repeat each other, or nothing changes along them, "
        f"and the penalty does not decide ({refusal}). Ask for a penalty above 0 (--alpha), or drop one of them.",
        code="no-unique-optimum",
    ) from refusal


def _refuse_recession(problem: Problem, direction: Floats | None) -> None:
    """Raise NoFiniteOptimum where the loss falls for ever along the direction and no penalty stops it."""
    loss, penalty = problem.objective.loss, problem.objective.penalty
    if loss.self_concordance == 0.0 or direction is None or not np.any(direction):
        return
    direction = _significant(direction)
    if penalty.stops(direction):
        return
    rise, fall = problem.rows.total(RecessionTotal(loss), direction)
    if rise <= _RECESSION_TOLERANCE and fall >= 100.0 * _RECESSION_TOLERANCE:
        columns = leading_names(problem.names, direction)
        what = "separate the classes" if loss.of_classes else "send the mean of rows whose label is 0 to zero"
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


def correct_intercepts(problem: Problem, optimum: Optimum, weights: Floats) -> Optimum:
    """Return the optimum with intercepts whose probabilities are those of the rows as they are.

    The certificate is for exactly what a verification will add up again: the intercepts delivered, and the shift.
    Leave-one-out losses would be those of the weighted rows, so there are none.
    """
    shift = log_odds_shift(weights)
    delivered = moved_intercepts(optimum.parameters, -shift)
    parameters = moved_intercepts(delivered, shift)
    proof = optimum.certification
    if not np.array_equal(parameters, optimum.parameters):
        alone = problem.proof_alone
        proof = certify(problem.objective, problem.rows, parameters, problem.units, proof_alone=alone)
    proof = replace(proof, certificate=proof.certificate.of_moved(shift), leave_one_out=None)
    value = problem.objective.value(problem.rows, parameters)
    return replace(optimum, parameters=delivered, certification=proof, value=value)
