"""Newton steps from batches, with the noise of the batches taken out (Derezinski 2022, SVRN; Johnson and Zhang 2013).

The first pass is plain: a batch's gradient times an inverse Hessian made from a sample. Each later pass begins with one
reading of all rows, which gives the gradient at an anchor, and its batches then correct it:

    g = gradient of the batch at w  -  gradient of the batch at the anchor  +  gradient of all rows at the anchor

The noise of g vanishes with the distance from the anchor, so the run ends at the optimum, with no rate to tune. Two
things make every batch safe: the step is shortened by what the batch size says about noise, and no step goes beyond
the lowest point of its own batch along its direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.kernels.single_rows import padded, unpadded
from batchlearn.objectives.factor import Factor, NotPositiveDefinite, factorise
from batchlearn.solvers import Known, Reading, RowsAtOnce, Solver
from batchlearn.solvers.batches import Stretch, only_stretch
from batchlearn.solvers.stochastic import StochasticGradient
from batchlearn.statistics.curvature import Anchored, AnchorTotal, LargestCurvatureTotal
from batchlearn.statistics.objective import Objective
from batchlearn.statistics.totals import LineTotal

# Rows of the sample that the Hessian is made from: a share of all, and at least so many a coefficient.
_SAMPLE_SHARE, _SAMPLE_ROWS = 8, 20
# The weight of the mean's newest point after t batches is this over t (Shamir and Zhang 2013, polynomial decay).
_DECAY = 3.0
# A batch of b rows of d coefficients has curvature of up to about 1 + d / b in the metric of the Hessian; the length of
# a step is one over 1 + this times d / b. Of 2, 4 and faster decay, 4 lost on no table tried.
_NOISE = 4.0
# Of the step from an anchor whose pass failed.
_LENGTHS = tuple(0.5**k for k in range(13))
# What one row of a batch may move of its own predictor through one coefficient, as a share of a full step.
_SHARE_OF_ROW = 0.25
# Anchors in a row that come no nearer.
_SLOW_ANCHORS = 3


@dataclass(frozen=True)
class Preconditioner:
    """The inverse of a Hessian made from a sample: in single precision for batches, as a factor for the anchor."""

    factor: Factor
    inverse: NDArray[np.float32]

    def apply(self, gradient: Floats) -> Floats:
        """Return the inverse times a gradient (d,), in single precision: a direction needs no more digits."""
        size = float(np.max(np.abs(gradient))) or 1.0
        return np.asarray(self.inverse @ (gradient / size).astype(np.float32), dtype=np.float64) * size


class Anchor(NamedTuple):
    """A point whose gradient of all rows is known, flat."""

    parameters: Floats
    value: float
    gradient: Floats
    decrement: float


@dataclass(frozen=True)
class ReducedState:
    """Where the point, its mean, and the anchor stand; flat arrays (d,)."""

    parameters: Floats
    mean: Floats
    batches: int  # in the mean
    passes: int
    length: float  # of a step
    preconditioner: Preconditioner
    anchor: Anchor | None
    fresh: bool  # no batch yet since the anchor
    further_rows: int
    before: Floats  # where the run began
    value_before: float  # there, over the sample
    reading: Reading

    @property
    def delivered(self) -> Floats:
        """The anchor, the best point that all rows vouch for; before there is one, the mean of the first pass."""
        return self.mean.copy() if self.anchor is None else self.anchor.parameters.copy()


@dataclass(frozen=True)
class VarianceReducedNewton(Solver["ReducedState"]):
    """The update above."""

    name: ClassVar[str] = "variance-reduced-newton"
    needs: ClassVar[RowsAtOnce] = RowsAtOnce.SOME
    without_factor: ClassVar[StochasticGradient] = StochasticGradient()
    most_passes: ClassVar[float] = 100.0

    def start(self, objective: Objective, rows: Rows, parameters: Floats, reading: Reading) -> ReducedState:
        """Make the first preconditioner from a sample. Raises NotPositiveDefinite."""
        sample = _sample(rows, reading, 0)
        length = 1.0 / (1.0 + _NOISE * len(parameters) / reading.size)
        preconditioner = _precondition(objective, sample, parameters, length, None, reading.size)
        read = len(sample)
        value = objective.value(sample, parameters)
        return ReducedState(
            parameters, parameters, 0, 0, length, preconditioner, None, True, read, parameters, value, reading
        )  # fmt: skip

    def begin_pass(self, objective: Objective, rows: Rows, state: ReducedState) -> ReducedState:
        """Read all rows at the mean of the last pass, from the second pass on."""
        reading = state.reading
        if state.passes == 0 and not reading.whole:
            return replace(state, passes=1)
        total, value = _looked_at(objective, rows, state.mean)
        read = state.further_rows + reading.rows
        if state.passes > 0 and state.anchor is None and not value <= state.value_before:
            # The first pass led nowhere: back to where it began, now with what all rows say of it.
            first, value_first = _looked_at(objective, rows, state.before)
            gradient = first.gradient / rows.total_weight + objective.penalty.gradient(state.before)
            decrement = state.preconditioner.factor.norm(gradient)
            state = replace(state, anchor=Anchor(state.before, value_first, gradient, decrement))
            read += reading.rows
        if state.anchor is not None and not value <= state.anchor.value:
            # Worse than where the pass began: batches that hold an outlying row threw it. All rows say how far the
            # anchor's own step may go, and batches go on from there, more carefully.
            moved = _safe_step(objective, rows, state.anchor, state.preconditioner)
            state = replace(state, length=0.5 * state.length, mean=moved)
            total, value = _looked_at(objective, rows, moved)
            read += 2 * reading.rows
        if state.anchor is not None and not value <= state.anchor.value:
            anchor = state.anchor
        else:
            gradient = total.gradient / rows.total_weight + objective.penalty.gradient(state.mean)
            diagonal = total.diagonal / rows.total_weight + objective.penalty.diagonal
            sample = _sample(rows, reading, state.passes)
            preconditioner = _precondition(objective, sample, state.mean, state.length, diagonal, reading.size)
            anchor = Anchor(state.mean, value, gradient, preconditioner.factor.norm(gradient))
            state = replace(state, preconditioner=preconditioner)
        point = anchor.parameters
        return replace(
            state, parameters=point, mean=point, batches=0, passes=state.passes + 1, anchor=anchor, fresh=True,
            further_rows=read,
        )  # fmt: skip

    def step(self, objective: Objective, rows: Rows, state: ReducedState) -> ReducedState:
        """Return the state after the batches of a stretch."""
        walk = _Walk(objective, only_stretch(rows), state)
        for start, stop in walk.rows.cut(state.reading.size):
            walk.step(start, stop)
        return walk.state()

    def watch(self, objective: Objective, rows: Rows, parameters: Floats) -> Callable[[ReducedState], Known | None]:  # noqa: ARG002 - all is in the states
        """Return what the sample's factor tells of each anchor; in the first pass there is none to speak of."""
        nearest, told = math.inf, 1

        def known(state: ReducedState) -> Known | None:
            nonlocal nearest, told
            if state.anchor is None or state.passes == told:
                return None
            told = state.passes
            value, decrement = state.anchor.value, state.anchor.decrement
            stalled, nearest = not decrement < 0.7 * nearest, min(decrement, nearest)
            return Known(value, decrement, stalled=stalled, patience=_SLOW_ANCHORS)

        return known


class _Walk:
    """The batches of one stretch."""

    def __init__(self, objective: Objective, rows: Stretch, state: ReducedState) -> None:
        self.rows = rows
        self._objective, self._state, self._reading = objective, state, state.reading
        self._parameters, self._mean, self._batches = state.parameters, state.mean, state.batches
        self._outputs = objective.loss.outputs
        anchor = state.anchor
        if anchor is not None:
            self._still = rows.slope(objective.loss, 0, len(rows), padded(anchor.parameters, self._outputs))
            if state.fresh:
                self._first_step(anchor)

    def _first_step(self, anchor: Anchor) -> None:
        """Take the whole Newton step of the anchor's gradient, as far as the rows at hand say that it is safe."""
        direction = -self._state.preconditioner.factor.solve(anchor.gradient)
        change = self.rows.change(direction, self._outputs)
        reach = self._objective.loss.self_concordance * float(np.max(np.abs(change), initial=0.0))
        length = math.log1p(reach) / reach if reach > 0.0 else 1.0
        self._parameters = anchor.parameters + length * direction
        self._mean = self._parameters

    def step(self, start: int, stop: int) -> None:
        objective, rows, loss = self._objective, self.rows, self._objective.loss
        weight = self._reading.weight_of(stop - start)
        point = padded(self._parameters, self._outputs)
        eta = rows.predictor(start, stop, point)
        slope = rows.weighted_slope(loss, start, stop, eta)
        gradient = self._gradient(start, stop, slope, weight)
        direction = -self._state.length * self._state.preconditioner.apply(gradient)
        change = rows.change(direction, self._outputs, start, stop)
        reach = loss.self_concordance * float(np.max(np.abs(change)))
        if reach > 1.0:  # further, curvature here says nothing about curvature there
            direction, change = direction / reach, change / reach
        bend = rows.weighted_slope(loss, start, stop, eta + change) - slope
        fall = -float(gradient @ direction)
        curvature = float(np.sum(bend * change)) / weight + float(direction @ objective.penalty.gradient(direction))
        if curvature > fall:
            direction *= max(fall, 0.0) / curvature
        self._parameters = self._parameters + direction
        self._batches += 1
        share = min(1.0, _DECAY / (self._batches + _DECAY - 1.0))
        self._mean = self._mean + share * (self._parameters - self._mean)

    def _gradient(self, start: int, stop: int, slope: Floats, weight: float) -> Floats:
        penalty, anchor = self._objective.penalty, self._state.anchor
        total = padded(np.zeros_like(self._parameters), self._outputs)
        if anchor is None:
            self.rows.add(start, stop, total, slope / weight)
            return unpadded(total) + penalty.gradient(self._parameters)
        self.rows.add(start, stop, total, (slope - self._still[..., start:stop]) / weight)
        return unpadded(total) + penalty.gradient(self._parameters - anchor.parameters) + anchor.gradient

    def state(self) -> ReducedState:
        return replace(
            self._state, parameters=self._parameters, mean=self._mean, batches=self._batches, fresh=False
        )  # fmt: skip


def _looked_at(objective: Objective, rows: Rows, parameters: Floats) -> tuple[Anchored, float]:
    total = rows.total(AnchorTotal(objective.loss), parameters)
    return total, total.value / rows.total_weight + objective.penalty.value(parameters)


def _safe_step(objective: Objective, rows: Rows, anchor: Anchor, preconditioner: Preconditioner) -> Floats:
    """Return the best of several lengths of the anchor's Newton step, reading all rows once."""
    direction = -preconditioner.factor.solve(anchor.gradient)
    with np.errstate(over="ignore", invalid="ignore"):
        line = rows.total(LineTotal(objective.loss, direction, _LENGTHS), anchor.parameters)
    penalties = [objective.penalty.value(anchor.parameters + length * direction) for length in _LENGTHS]
    values = line.values / rows.total_weight + penalties
    best = int(np.argmin(np.where(np.isfinite(values), values, np.inf)))
    return np.asarray(anchor.parameters + _LENGTHS[best] * direction)


def _sample(rows: Rows, reading: Reading, number: int) -> Rows:
    wanted = max(reading.rows // _SAMPLE_SHARE, _SAMPLE_ROWS * rows.layout.size)
    if wanted >= reading.rows:
        return rows
    return rows.sample([reading.seed, 3, number], wanted)


def _precondition(
    objective: Objective, sample: Rows, parameters: Floats, length: float, diagonal: Floats | None, size: int
) -> Preconditioner:
    """Return the inverse Hessian of a sample, whose diagonal is nowhere below that of all rows.

    For batches it is nowhere below what one row alone may bring to a step either: a rare level, which a batch meets
    once or not at all, would otherwise be thrown about by its own rows.
    """
    hessian = objective.expand(sample, parameters).hessian
    on = np.diag_indices_from(hessian)
    if diagonal is not None:
        hessian[on] = np.maximum(hessian[on], diagonal)
    largest = sample.total(LargestCurvatureTotal(objective.loss), parameters).size * (len(sample) / sample.total_weight)
    floor = largest * length / (size * _SHARE_OF_ROW)
    safe = hessian.copy()
    safe[on] = np.maximum(hessian[on], floor)
    inner = factorise(safe, 0.0)
    try:
        factor = factorise(hessian, 0.0)
    except NotPositiveDefinite:  # a level that the sample does not hold, without a penalty
        factor = inner
    return Preconditioner(factor, inner.inverse_hessian.astype(np.float32))
