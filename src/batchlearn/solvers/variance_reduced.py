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
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.kernels.native.epochs import follow_reduced
from batchlearn.kernels.native.lapack import factor_lower, invert_lower, square_lower
from batchlearn.kernels.single_rows import batch_predictor, padded
from batchlearn.kernels.sums import symmetric
from batchlearn.kernels.variance_reduced import Averaged, follow_batches
from batchlearn.objectives.factor import NotPositiveDefinite, StepFactor, factorise, step_factor
from batchlearn.solvers import Distance, ReadingPlan, RowsAtOnce, Solver
from batchlearn.solvers.batches import compiled, labelled, strengths
from batchlearn.solvers.stochastic import StochasticGradient
from batchlearn.statistics.curvature import AnchorTotal, LargestCurvatureTotal
from batchlearn.statistics.objective import Objective

# Rows of the sample that the Hessian is made from: a share of all, and at least so many a coefficient.
_SAMPLE_SHARE, _SAMPLE_ROWS = 8, 20
# A batch of b rows of d coefficients has curvature of up to about 1 + d / b in the metric of the Hessian; the length of
# a step is one over 1 + this times d / b. Of 2, 4 and faster decay, 4 lost on no table tried.
_NOISE = 4.0
# Of the step from an anchor whose pass failed.
_LENGTHS = tuple(0.5**k for k in range(13))
# What one row of a batch may move of its own predictor through one coefficient, as a share of a full step.
_SHARE_OF_ROW = 0.25
# Numbers of an inverse are so much cheaper than those of rows.
_SHARE_OF_INVERSE = 0.2
# Of the roots of what columns hold beside others: its square, 1e-4, is known to a hundredth in single precision.
_CERTAIN = 1e-2
# Anchors in a row that come no nearer.
_SLOW_ANCHORS = 3


class Anchor(NamedTuple):
    """A point whose gradient of all rows is known, flat."""

    parameters: Floats
    value: float
    gradient: Floats
    decrement: float


@dataclass(frozen=True)
class SampledHessian:
    """A Hessian (d, d) made from a sample, factored where a step asks for it, and the least diagonal that is safe."""

    matrix: Floats
    floor: Floats | float  # of the diagonal

    @cached_property
    def factor(self) -> StepFactor:
        """Its factor; raises NotPositiveDefinite."""
        try:
            return step_factor(self.matrix)
        except NotPositiveDefinite:  # a level that the sample does not hold, without a penalty
            return step_factor(self.safe())

    def safe(self) -> Floats:
        """Return it with a diagonal that is nowhere below the floor."""
        matrix = self.matrix.copy()
        on = np.diag_indices_from(matrix)
        matrix[on] = np.maximum(matrix[on], self.floor)
        return matrix


@dataclass(frozen=True)
class ReducedState:
    """Where the point, its mean, and the anchor stand; flat arrays (d,)."""

    point: Averaged
    passes: int
    length: float  # of a step
    hessian: SampledHessian  # for the anchor
    inverse: NDArray[np.float32]  # of one that is safe for batches, in single precision
    anchor: Anchor | None
    fresh: bool  # no batch yet since the anchor
    further_rows: int
    before: Floats  # where the run began
    value_before: float  # there, over the sample
    reading: ReadingPlan

    @property
    def delivered(self) -> Floats:
        """The anchor, the best point that all rows vouch for; before there is one, the mean of the first pass."""
        return self.point.mean.copy() if self.anchor is None else self.anchor.parameters.copy()


@dataclass(frozen=True)
class VarianceReducedNewton(Solver["ReducedState"]):
    """The update above."""

    name: ClassVar[str] = "variance-reduced-newton"
    needs: ClassVar[RowsAtOnce] = RowsAtOnce.SOME
    without_factor: ClassVar[StochasticGradient] = StochasticGradient()
    most_passes: ClassVar[float] = 100.0

    def start(self, objective: Objective, rows: Rows, parameters: Floats, reading: ReadingPlan) -> ReducedState:
        """Make the first preconditioner from a sample. Raises NotPositiveDefinite."""
        sample = _sample(rows, reading, 0)
        length = 1.0 / (1.0 + _NOISE * len(parameters) / reading.size)
        hessian, inverse = _precondition(objective, sample, parameters, length, None, reading.size)
        return ReducedState(
            point=Averaged(parameters, parameters, 0),
            passes=0,
            length=length,
            hessian=hessian,
            inverse=inverse,
            anchor=None,
            fresh=True,
            further_rows=len(sample),
            before=parameters,
            value_before=objective.value(sample, parameters),
            reading=reading,
        )

    def values_of_row(self, coefficients: int, size: int) -> float:
        """Return its share of the inverse Hessian that a batch is multiplied by, which is read as fast as it can be."""
        return coefficients * max(1.0, _SHARE_OF_INVERSE * coefficients / size)

    def begin_pass(self, objective: Objective, rows: Rows, state: ReducedState) -> ReducedState:
        """Read all rows at the mean of the last pass, from the second pass on."""
        reading = state.reading
        if state.passes == 0 and not reading.whole:
            return replace(state, passes=1)
        mean = state.point.mean
        value, gradient, diagonal = _totals_at(objective, rows, mean)
        read, anchor = state.further_rows + reading.rows, state.anchor
        if state.passes > 0 and anchor is None and not value <= state.value_before:
            # The first pass led nowhere: back to where it began, now with what all rows say of it.
            first_value, first, _ = _totals_at(objective, rows, state.before)
            anchor = Anchor(state.before, first_value, first, state.hessian.factor.norm(first))
            read += reading.rows
        if anchor is not None and not value <= anchor.value:
            # Worse than where the pass began: batches that hold an outlying row threw it. All rows say how far the
            # anchor's own step may go, and batches go on from there, more carefully.
            direction = -state.hessian.factor.solve(anchor.gradient)
            values, _ = objective.along(rows, anchor.parameters, direction, _LENGTHS)
            mean = np.asarray(anchor.parameters + _LENGTHS[int(np.argmin(values))] * direction)
            state = replace(state, length=0.5 * state.length)
            value, gradient, diagonal = _totals_at(objective, rows, mean)
            read += 2 * reading.rows
        if anchor is None or value <= anchor.value:
            sample = _sample(rows, reading, state.passes)
            hessian, inverse = _precondition(objective, sample, mean, state.length, diagonal, reading.size)
            anchor = Anchor(mean, value, gradient, hessian.factor.norm(gradient))
            state = replace(state, hessian=hessian, inverse=inverse)
        point = Averaged(anchor.parameters, anchor.parameters, 0)
        passes = state.passes + 1
        return replace(state, point=point, passes=passes, anchor=anchor, fresh=True, further_rows=read)

    def step(self, objective: Objective, rows: Rows, state: ReducedState) -> ReducedState:
        """Return the state after the batches of a stretch."""
        loss, point, anchor = objective.loss, state.point, state.anchor
        if anchor is not None and state.fresh:
            # The whole Newton step of the anchor's gradient, as far as the rows at hand say that it is safe.
            direction = -state.hessian.factor.solve(anchor.gradient)
            change = batch_predictor(labelled(rows).rows, 0, len(rows), padded(direction, loss.outputs))
            reach = loss.self_concordance * float(np.max(np.abs(change), initial=0.0))
            length = math.log1p(reach) / reach if reach > 0.0 else 1.0
            moved = anchor.parameters + length * direction
            point = point._replace(parameters=moved, mean=moved)
        batches, metric = list(state.reading.cut(len(rows))), (state.inverse, state.length)
        fixed = None if anchor is None else (anchor.parameters, anchor.gradient)
        fast = compiled(loss, rows)
        if fast is not None:
            point = follow_reduced(fast, strengths(objective.penalty), batches, metric, fixed, point)
        else:
            point = follow_batches(loss, objective.penalty, labelled(rows), batches, metric, fixed, point)
        return replace(state, point=point, fresh=False)

    def watch(self, objective: Objective, rows: Rows, parameters: Floats) -> Callable[[ReducedState], Distance | None]:  # noqa: ARG002 - all is in the states
        """Return what the sample's factor tells of each anchor; in the first pass there is none to speak of."""
        nearest, told = math.inf, 1

        def known(state: ReducedState) -> Distance | None:
            nonlocal nearest, told
            if state.anchor is None or state.passes == told:
                return None
            told = state.passes
            value, decrement = state.anchor.value, state.anchor.decrement
            stalled, nearest = not decrement < 0.7 * nearest, min(decrement, nearest)
            return Distance(value, decrement, stalled=stalled, patience=_SLOW_ANCHORS)

        return known


def _totals_at(objective: Objective, rows: Rows, parameters: Floats) -> tuple[float, Floats, Floats]:
    """Return the objective, its gradient and the diagonal of its Hessian, reading all rows once."""
    value, gradient, diagonal = rows.total(AnchorTotal(objective.loss), parameters)
    weight, penalty = rows.total_weight, objective.penalty
    gradient = gradient / weight + penalty.gradient(parameters)
    return value / weight + penalty.value(parameters), gradient, diagonal / weight + penalty.diagonal


def _sample(rows: Rows, reading: ReadingPlan, number: int) -> Rows:
    wanted = max(reading.rows // _SAMPLE_SHARE, _SAMPLE_ROWS * rows.layout.size)
    if wanted >= reading.rows:
        return rows
    return rows.sample([reading.seed, 3, number], wanted)


def _precondition(
    objective: Objective, sample: Rows, parameters: Floats, length: float, diagonal: Floats | None, size: int
) -> tuple[SampledHessian, NDArray[np.float32]]:
    """Return the Hessian of a sample, whose diagonal is nowhere below that of all rows, and an inverse.

    In the inverse, for batches, it is nowhere below what one row alone may bring to a step either: a rare level, which
    a batch meets once or not at all, would otherwise be thrown about by its own rows.
    """
    hessian = objective.expand(sample, parameters).hessian
    on = np.diag_indices_from(hessian)
    if diagonal is not None:
        hessian[on] = np.maximum(hessian[on], diagonal)
    (largest,) = sample.total(LargestCurvatureTotal(objective.loss), parameters)
    floor = largest * (len(sample) / sample.total_weight) * length / (size * _SHARE_OF_ROW)
    found = SampledHessian(hessian, floor)
    return found, _inverse(found.safe())


def _inverse(hessian: Floats) -> NDArray[np.float32]:
    """Return the inverse of a Hessian (d, d) in single precision, worked out in it where that says enough.

    Raises NotPositiveDefinite.
    """
    diagonal = np.sqrt(np.diagonal(hessian))
    if np.all(np.isfinite(hessian)) and np.all(diagonal > 0.0):
        scaled: NDArray[np.float32] = np.empty(hessian.shape, dtype=np.float32)
        np.divide(hessian, np.multiply.outer(diagonal, diagonal), out=scaled, casting="same_kind")
        lower = scaled.T  # the same matrix in the order of LAPACK
        # What is left of a column beside those before it, of one.
        if factor_lower(lower) == 0 and float(np.min(np.diagonal(lower))) > _CERTAIN:
            invert_lower(lower)
            square_lower(lower)
            whole = symmetric(scaled)
            whole /= diagonal.astype(np.float32)[:, None]
            return np.divide(whole, diagonal.astype(np.float32), out=whole)
    return factorise(hessian, 0.0).inverse_hessian.astype(np.float32)
