"""Newton's method with a Cholesky factor, safe from any start."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import Factor, NotPositiveDefinite, factorise
from batchlearn.solvers import AnchoredPoint, Distance, FactoredPoint, LeadPoint, ReadingPlan, RowsAtOnce, Solver
from batchlearn.solvers.costs import pass_costs
from batchlearn.solvers.falling_threshold import from_above
from batchlearn.solvers.preconditioner import sampled_hessian
from batchlearn.solvers.quasi_newton import LimitedMemory
from batchlearn.statistics.lower_bound import largest_square
from batchlearn.statistics.objective import Expansion, NearPoint, Objective

_LENGTHS = tuple(0.5**k for k in range(1, 9))
# Of a loss with corners no length is sure: a descent direction has one, and the next corner may be near.
_CORNERED = tuple(0.5**k for k in range(1, 41))
# Half the square of a decrement is what is left to gain: this is below the rounding of any objective.
_AT_ROUNDING = 1e-9
# A decrement below which the Hessian at hand serves on, and what a step with it has to take off.
_NEAR, _WORTH_IT = 0.05, 0.3
# Of the logarithm of a row's curvature since the anchor: bounds are wider by half of it.
_LARGEST_DRIFT = 0.6
# A reading that says all about a point near an anchor beside one of loss and gradient; and the nanoseconds to be saved
# from which on it is worth a thought.
_NEAR_READING, _LEAST_SAVED = 1.6, 5e6
# Where all rows are many the Hessian is that of every so many-th: of so many for each coefficient, and one in so many
# at least and at most. Where gradients lead there are fewer for each: they prove where that led, and make no step.
_SAMPLED_A_COEFFICIENT, _SAMPLED_SHARE, _FEWEST_SHARE = 400, 16, 4
# It is taken anew after a step as long as this, and rounding looked at where, after the step, twice the gain that is
# left, in total, may be this little.
_RENEWED_BEYOND, _ROUNDING_MATTERS = 0.025, 6e-3
# Samples that lead: of how many rows for each coefficient and which share at least, how much larger the next one is,
# which share the last one is at most, and the steps on each.
_ROWS_A_COEFFICIENT, _FIRST_SHARE, _GROWTH = 10, 64, 6
_LAST_SHARE, _HEAD_STEPS = 8, 10
# Coefficients from which on a Hessian costs so much more than a gradient that gradients of all rows lead instead.
MANY = 400
# Steps along preconditioned gradients: of classes until the gain that is left is this little, in total, for each
# coefficient; of one output until it is what the default stop asks for, anew where so many came to no end, and for no
# longer than so many Newton steps would take; a share of that without a factor.
_STEPS_BY_BLOCKS, _BLOCKS_LEAD = 100, 1e-6
_GRADIENTS_LEAD, _RENEWED_AFTER, _STEPS_WORTH, _SHARE_WITHOUT_FACTOR = 3e-7, 16, 2.0, 0.25


class NewtonState(NamedTuple):
    """The point, the objective around it, and the factor of its Hessian, or of that of the anchor."""

    parameters: Floats
    expansion: Expansion
    factor: Factor
    passes: int  # readings of all rows so far
    anchor: Floats  # (d,): where the Hessian is from
    near: NearPoint | None = None  # what is known where that is another point
    slow: bool = False  # whether the last step with this factor was worth less than a new one
    sample: Rows | None = None  # the rows that the Hessian is of, where those are not all
    share: float = 1.0  # of the weight, theirs
    ratio: float = 1.0  # of the last two steps' lengths

    @property
    def length(self) -> float:
        """Of the step, in the metric of the Hessian at hand."""
        return self.factor.norm(self.expansion.gradient)

    @property
    def decrement(self) -> float:
        """sqrt(g' H^-1 g), without the rounding of the gradient; no less, where the Hessian is that of an anchor.

        Or of some of the rows. Where it is of another point and `near` was not read it is an estimate.
        """
        drift = 0.0 if self.near is None else self.near.drift
        return self.length * math.exp(0.5 * drift) / math.sqrt(self.share)

    @property
    def delivered(self) -> Floats:
        """The point."""
        return self.parameters


def _as_they_are(parameters: Floats) -> Floats:
    return parameters


@dataclass(frozen=True)
class Newton(Solver["NewtonState"]):
    """w - H^-1 g, shortened where the objective does not fall by what the decrement promises.

    The shorter step is the best of a few lengths, all tried in one reading. One of them is sure to lower a generalised
    self-concordant objective from any point: ln(1 + a) / a, a the largest change of a row's predictor (Sun and
    Tran-Dinh 2019). Near the optimum the Hessian at hand serves as long as steps with it come nearer fast: a gradient
    costs a fraction of a Hessian.

    `delivered`: what becomes of parameters on their way to whoever asked; steps end at points that stay as they are.
    """

    delivered: Callable[[Floats], Floats] = _as_they_are

    name: ClassVar[str] = "newton-cholesky"
    needs: ClassVar[RowsAtOnce] = RowsAtOnce.ALL
    without_factor: ClassVar[LimitedMemory] = LimitedMemory()
    most_passes: ClassVar[float] = 600.0

    def start(
        self,
        objective: Objective,
        rows: Rows,
        parameters: Floats,
        reading: ReadingPlan | None = None,  # noqa: ARG002 - it reads all rows
    ) -> NewtonState:
        """Expand the objective at the start, by the Hessian of some of the rows where they are many.

        Raises NotPositiveDefinite.
        """
        step = _sample_step(objective, rows)
        if step is not None:
            known = objective.gradient(rows, parameters)
            with suppress(NotPositiveDefinite):
                state = _of_a_sample(objective, rows, rows.thin(step), parameters, known, 1)
                return state if len(parameters) < MANY else state._replace(slow=True)
        return _factored(parameters, objective.expand(rows, parameters), 1)

    def step(self, objective: Objective, rows: Rows, state: NewtonState) -> NewtonState:
        """Return the state after one step. Raises NotPositiveDefinite where the new Hessian cannot be factored."""
        direction = self.direction(state)
        parameters = self.delivered(state.parameters + direction)
        if objective.quadratic:
            # The Hessian is the same everywhere: a gradient is enough, and steps refine each other.
            value, gradient = objective.gradient(rows, parameters)
            expansion = state.expansion._replace(value=value, gradient=gradient)
            return state._replace(parameters=parameters, expansion=expansion, passes=state.passes + 1)
        costly = objective.loss.self_concordance > 0.0 and _saved(rows, objective.loss.outputs) > _LEAST_SAVED
        if not state.slow and (state.sample is not None or (costly and state.decrement < _NEAR)):
            # 1. The whole step with the same factor, or that of some rows, where it comes nearer.
            by = _with_the_same_factor if state.sample is None else _with_a_sample
            moved = by(objective, rows, state, parameters)
            if moved is not None:
                return moved
            state = state._replace(passes=state.passes + 1)
        # 2. The whole step, where the objective falls by half of what the decrement promises.
        promise = 0.25 * float(-(state.expansion.gradient @ direction))
        with np.errstate(over="ignore", invalid="ignore"):
            expansion = objective.expand(rows, parameters)
        if expansion.value <= state.expansion.value - promise + _slack(state):
            return _factored(parameters, expansion, state.passes + 1)
        # 3. The best of shorter ones, or the one that is sure.
        cornered = objective.loss.self_concordance == 0.0
        lengths = _CORNERED if cornered else _LENGTHS
        values, reach = objective.along(rows, state.parameters, direction, lengths)
        best = int(np.argmin(values))
        length = lengths[best]
        if not cornered:
            reach *= objective.loss.self_concordance
            sure = math.log1p(reach) / reach if reach > 0.0 else 1.0
            length = max(length, sure) if values[best] < state.expansion.value else sure
        parameters = self.delivered(state.parameters + length * direction)
        return _factored(parameters, objective.expand(rows, parameters), state.passes + 3)

    def direction(self, state: NewtonState) -> Floats:
        """Return -H^-1 g, shape (d,)."""
        return -state.factor.solve(state.expansion.gradient)

    def finished(self, state: NewtonState) -> bool:
        """Whether rounding hides any further fall."""
        return state.decrement < _AT_ROUNDING

    def watch(self, objective: Objective, rows: Rows, parameters: Floats) -> Callable[[NewtonState], Distance]:  # noqa: ARG002 - all is in the states
        """Return what the factor tells of each state, and whether only rounding is left."""
        constant, quadratic, before = objective.loss.self_concordance, objective.quadratic, math.inf

        def known(state: NewtonState) -> Distance:
            nonlocal before
            value, decrement = state.expansion.value, state.decrement
            # Towards a far optimum (classes almost apart) the decrement falls by e^-1/2 a step: not yet the floor.
            small = 1e-3 if constant > 0.0 else 1e-4 * math.sqrt(2.0 * abs(objective.loss.noise(value)))
            # A quadratic needs no reason to go on but digits: refinement steps are cheap and only rounding ends them.
            stalled = decrement > 0.5 * before if quadratic else 0.9 * before < decrement < small
            before = decrement
            near, expansion, factor = state.near, state.expansion, state.factor
            # Of a quadratic the Hessian is as old as the start, and only its gradient is new: as good.
            whole = near is None and state.sample is None
            factored = FactoredPoint(expansion, factor) if whole else None
            anchored = None if whole else AnchoredPoint(near, expansion.hessian, factor, state.anchor, state.share)
            exact, patience = whole or near is not None, 1 if quadratic else 2
            kappa = expansion.kappa if exact else None
            if whole and objective.loss.outputs > 1 and decrement < _NEAR and not decrement * expansion.kappa < 0.5:
                # Of classes the least curvature of a row may be next to nothing; its length says more.
                longest = factor.longest(largest_square(rows, objective.loss, factor.diagonal))
                kappa = min(expansion.kappa, longest)
            return Distance(value, decrement, kappa, exact, stalled, patience, anchored, factored)

        return known

    def lead(self, objective: Objective, rows: Rows, parameters: Floats, *, fresh: bool) -> Iterator[LeadPoint]:
        """Yield where steps lead that cost no factor of all rows: far from the optimum they say as much, sooner.

        Of a loss with corners, where its own factor says something.
        """
        steps: Iterator[LeadPoint] = iter(())
        led = LeadPoint(parameters, 0)
        if fresh and objective.loss.outputs > 1:
            steps = self._led_by_blocks(objective, rows, parameters)
        elif fresh and not objective.quadratic and (_saved(rows) > _LEAST_SAVED or _sample_step(objective, rows)):
            by = self._led_by_gradients if len(parameters) >= MANY else self._led_by_a_sample
            steps = by(objective, rows, parameters)
        for led in steps:
            yield led._replace(parameters=self.delivered(led.parameters))
        if objective.loss.corners is not None:
            with suppress(NotPositiveDefinite):
                near = from_above(objective, rows, objective.loss.corners, self, led.parameters)
                yield LeadPoint(self.delivered(near) if led.passes else near, led.passes)

    def _led_by_a_sample(self, objective: Objective, rows: Rows, parameters: Floats) -> Iterator[LeadPoint]:
        """Yield where growing samples lead, every so many-th row (Mokhtari et al. 2016; damped)."""
        start, coefficients, spent = parameters, len(parameters), 0.0
        count = max(_ROWS_A_COEFFICIENT * coefficients, len(rows) // _FIRST_SHARE)
        # All rows, with the Hessian of as many, come as near as a sample of them would.
        own = _sample_step(objective, rows)
        largest = len(rows) // (_LAST_SHARE if own is None else 2 * own)
        while count <= largest:
            step = len(rows) // count
            sample = rows.thin(step)
            try:
                state = self.start(objective, sample, parameters)
                for _ in range(_HEAD_STEPS):
                    # Half the gain that is left, in total, against half a unit for each coefficient that is noise.
                    if state.decrement**2 * sample.total_weight < coefficients:
                        break
                    state = self.step(objective, sample, state)
            except NotPositiveDefinite:
                yield LeadPoint(start, math.ceil(spent))
                return
            # What a smaller sample led to may be worse than nothing to a larger one.
            parameters = state.parameters if state.expansion.value < objective.value(sample, start) else start
            spent += (state.passes + 1) / step
            count *= _GROWTH
            yield LeadPoint(parameters, math.ceil(spent))

    @staticmethod
    def _led_by_gradients(objective: Objective, rows: Rows, parameters: Floats) -> Iterator[LeadPoint]:
        """Yield where gradients of all rows lead, preconditioned by the Hessian of some (Xu et al. 2020, L-BFGS)."""
        costs, solver, spent = pass_costs(rows), LimitedMemory(renewed=()), 0
        most = _STEPS_WORTH * costs.expansion / costs.gradient
        # Of levels whose squares alone are penalised their counts about the mean row say as much, as a rule.
        sampled = not rows.layout.groups or bool(objective.penalty.blocks)
        steps = max(_RENEWED_AFTER, int(_SHARE_WITHOUT_FACTOR * most))
        while spent < most:
            found = sampled_hessian(objective, rows, parameters) if sampled else None
            if sampled and found is None:
                return
            state = solver.start(objective, rows, parameters, found=found)
            yield LeadPoint(state.parameters, spent + state.passes, state.value)
            while not state.stuck and state.steps < (_RENEWED_AFTER if sampled else steps):
                if state.smallest * rows.total_weight < _GRADIENTS_LEAD:
                    return
                state = solver.step(objective, rows, state)
                yield LeadPoint(state.parameters, spent + state.passes, state.value)
            parameters, spent, sampled = state.parameters, spent + state.passes, True
            if state.stuck:
                break

    @staticmethod
    def _led_by_blocks(objective: Objective, rows: Rows, parameters: Floats) -> Iterator[LeadPoint]:
        """Yield where steps with a block a class lead: each costs readings, not a factor of all classes."""
        solver, enough = LimitedMemory(), _BLOCKS_LEAD * len(parameters) / rows.total_weight
        state = solver.start(objective, rows, parameters)
        yield LeadPoint(state.parameters, state.passes, state.value)
        while not state.stuck and state.steps < _STEPS_BY_BLOCKS and not state.smallest < enough:
            state = solver.step(objective, rows, state)
            yield LeadPoint(state.parameters, state.passes, state.value)


def _saved(rows: Rows, outputs: int = 1) -> float:
    """Return the nanoseconds by which a reading with the Hessian at hand is cheaper than with one of its own, about."""
    costs = pass_costs(rows, outputs)
    return costs.expansion - _NEAR_READING * costs.gradient


def _slack(state: NewtonState) -> float:
    return 4e-15 * (1.0 + abs(state.expansion.value))


def _with_the_same_factor(
    objective: Objective, rows: Rows, state: NewtonState, parameters: Floats
) -> NewtonState | None:
    """Return the state at a point near the anchor of the factor; None where it is no nearer to the optimum."""
    with np.errstate(over="ignore", invalid="ignore"):
        near = objective.near(rows, parameters, state.anchor, state.factor.diagonal)
    if not (near.value <= state.expansion.value + _slack(state) and near.drift < _LARGEST_DRIFT):
        return None
    longest = state.factor.longest(near.spread) * math.exp(0.5 * near.drift) / math.sqrt(state.share)
    expansion = Expansion(near.value, near.gradient, state.expansion.hessian, min(near.kappa, longest))
    return _moved(state, parameters, expansion, near)


def _with_a_sample(objective: Objective, rows: Rows, state: NewtonState, parameters: Floats) -> NewtonState | None:
    """Return the state at the next point by the Hessian of some of the rows; None where it is no nearer.

    By a gradient alone as long as no certificate is in reach, for the bound on its rounding costs half of it more.
    """
    assert state.sample is not None
    expected = state.length * min(state.ratio, 0.1)
    if state.length < _RENEWED_BEYOND and expected**2 * rows.total_weight < _ROUNDING_MATTERS * state.share:
        return _with_the_same_factor(objective, rows, state, parameters)
    with np.errstate(over="ignore", invalid="ignore"):
        value, gradient = objective.gradient(rows, parameters)
    if not value <= state.expansion.value + _slack(state):
        return None
    if state.length < _RENEWED_BEYOND:
        return _moved(state, parameters, state.expansion._replace(value=value, gradient=gradient), None)
    with suppress(NotPositiveDefinite):
        return _of_a_sample(objective, rows, state.sample, parameters, (value, gradient), state.passes + 1)
    return None


def _moved(state: NewtonState, parameters: Floats, expansion: Expansion, near: NearPoint | None) -> NewtonState:
    """Return the state at the next point with the same factor."""
    moved = state._replace(parameters=parameters, expansion=expansion, passes=state.passes + 1, near=near)
    return moved._replace(
        slow=not moved.decrement < _WORTH_IT * state.decrement, ratio=moved.length / max(state.length, 1e-300)
    )


def _sample_step(objective: Objective, rows: Rows) -> int | None:
    """Return which rows, every so many-th, have a Hessian that serves for that of all.

    None where the Hessian of all costs too little, or the rows are too few.
    """
    size, costs = rows.layout.size, pass_costs(rows)
    if objective.loss.self_concordance == 0.0 or objective.loss.outputs > 1 or rows.layout.sparse:
        return None
    wanted = _ROWS_A_COEFFICIENT if size >= MANY else _SAMPLED_A_COEFFICIENT
    step = min(len(rows) // (wanted * size), _SAMPLED_SHARE)
    return step if step >= _FEWEST_SHARE and costs.expansion - 1.2 * costs.gradient > _LEAST_SAVED else None


def _of_a_sample(
    objective: Objective, rows: Rows, sample: Rows, parameters: Floats, known: tuple[float, Floats], passes: int
) -> NewtonState:
    """Return the state at a point whose value and gradient are known, by the Hessian of a sample there.

    Raises NotPositiveDefinite.
    """
    expansion = objective.expand(sample, parameters)._replace(value=known[0], gradient=known[1])
    share = sample.total_weight / rows.total_weight
    factor = factorise(expansion.hessian, 0.0, rows.threads)
    return NewtonState(parameters, expansion, factor, passes, parameters, sample=sample, share=share)


def _factored(parameters: Floats, expansion: Expansion, passes: int) -> NewtonState:
    """Return the state at a point: what its own rounding did to the Hessian is for a certificate to bound."""
    return NewtonState(parameters, expansion, factorise(expansion.hessian, 0.0), passes, parameters)
