"""Stochastic gradient descent with a probed rate, and the mean of the last parameters (Polyak and Juditsky 1992)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.kernels.native.epochs import follow_gradients
from batchlearn.kernels.single_rows import padded, unpadded
from batchlearn.kernels.stochastic import follow_batches
from batchlearn.kernels.window_mean import WindowMean
from batchlearn.solvers import ReadingPlan, RowsAtOnce, Solver
from batchlearn.solvers.batches import compiled, labelled, strengths
from batchlearn.statistics.objective import Objective

# A probe takes so many batches, no more than a share of the rows and no fewer rows than are needed to tell rates apart.
_PROBE_STEPS, _PROBE_ROWS, _PROBE_SHARE = 40, 8_192, 32
_FEWEST_ROWS, _FEWEST_STEPS = 64, 8
# Rates from 4^-6 to 4^6 times one over the mean squared length of a row.
_MOST_POWERS = 6


class Probed(NamedTuple):
    """One rate that was tried: the objective after a few steps, infinite where it diverged."""

    rate: float
    objective: float


@dataclass(frozen=True)
class GradientState:
    """Where the parameters, their mean and the decay of the rate stand; parameters are padded."""

    parameters: Floats
    mean: WindowMean
    rate: float
    steps: int
    probe: tuple[Probed, ...]
    further_rows: int
    reading: ReadingPlan

    @property
    def delivered(self) -> Floats:
        """The mean of the last parameters, flat."""
        return unpadded(self.mean.mean(self.parameters))


@dataclass(frozen=True)
class StochasticGradient(Solver["GradientState"]):
    """w - rate_t * (gradient of a batch), rate_t = rate / sqrt(1 + passes so far).

    Without a rate, some are tried on a sample, and the one with the lowest objective on other rows is taken.
    """

    rate: float | None = None
    name: ClassVar[str] = "sgd"
    needs: ClassVar[RowsAtOnce] = RowsAtOnce.SOME
    most_passes: ClassVar[float] = 5.0

    def start(self, objective: Objective, rows: Rows, parameters: Floats, reading: ReadingPlan) -> GradientState:
        """Probe the rate and return the state before the first row."""
        point = padded(parameters, objective.loss.outputs)
        mean = WindowMean.start(point, max(reading.batches // 16, 1))
        if self.rate is not None:
            return GradientState(point, mean, self.rate, 0, (), 0, reading)
        probe, read = _probe(objective, rows, point, reading)
        best = min(probe, key=lambda tried: tried.objective)
        return GradientState(point, mean, best.rate, 0, probe, read, reading)

    def step(self, objective: Objective, rows: Rows, state: GradientState) -> GradientState:
        """Return the state after the batches of a stretch."""
        reading, outputs = state.reading, objective.loss.outputs
        if reading.whole:
            # By `Rows.total` in the stored order: a batch of all rows has the bits of the full batch.
            rate = state.rate / math.sqrt(1.0 + state.steps)
            change = padded(-rate * objective.gradient(rows, unpadded(state.parameters))[1], outputs)
            parameters, mean = state.parameters + change, state.mean
            mean = mean._replace(moves=mean.moves + mean.batches * change, batches=mean.batches + 1)
            return replace(state, parameters=parameters, mean=mean.turned(parameters), steps=state.steps + 1)
        batches = [
            (*cut, state.rate / math.sqrt(1.0 + (state.steps + number) / reading.batches))
            for number, cut in enumerate(reading.cut(len(rows)))
        ]
        # Touching every coefficient for the penalty may cost as much as touching those of the rows.
        terms = max(rows.layout.lead + len(rows.layout.groups), 1)
        interval = math.ceil(state.parameters.size / (terms * reading.size))
        fast, penalty = compiled(objective.loss, rows), objective.penalty
        if fast is not None:
            majorant = penalty.magnitude(np.ones(rows.layout.size))
            parameters, mean = follow_gradients(
                fast, strengths(penalty), majorant, batches, interval, state.parameters, state.mean
            )
        else:
            stretch = labelled(rows)
            parameters, mean = follow_batches(
                objective.loss, penalty, stretch, batches, interval, state.parameters, state.mean
            )
        return replace(state, parameters=parameters, mean=mean, steps=state.steps + len(batches))


def _probe(objective: Objective, rows: Rows, point: Floats, reading: ReadingPlan) -> tuple[tuple[Probed, ...], int]:
    """Try rates on a sample and judge them on other rows; return what was tried and the rows that were read for it.

    From one over the mean squared length of a row upwards, by factors of four, while that helps; else downwards.
    """
    numbers = np.random.default_rng([reading.seed, 1]).permutation(rows.counted())
    count = max(min(reading.size * _PROBE_STEPS, len(numbers) // _PROBE_SHARE, _PROBE_ROWS), _FEWEST_ROWS)
    count = min(count, len(numbers) // 2)
    drawn = numbers[:count], np.sort(numbers[count : 2 * count])
    trained, judged = (next(rows.stretches(own, count)) for own in drawn)
    size = max(1, min(reading.size, count // _FEWEST_STEPS))
    part = ReadingPlan(size, count, trained.total_weight, reading.seed)
    # The trace of the Hessian's data part is the mean of curvature times the squared length of a row.
    diagonal: Any = objective.hessian_diagonal(trained, unpadded(point)) - objective.penalty.diagonal
    trace = float(np.sum(diagonal))
    unit = 1.0 / trace if math.isfinite(trace) and trace > 0.0 else 1.0
    tried: dict[int, Probed] = {}

    def value(power: int) -> float:
        """Return the objective on other rows after one pass over the sample, infinite where it diverged."""
        if power not in tried:
            rate, reached = unit * 4.0**power, math.inf
            state = GradientState(point, WindowMean.start(point, 1), rate, 0, (), 0, part)
            with np.errstate(over="ignore", invalid="ignore"):
                state = StochasticGradient(rate).step(objective, trained, state)
                if np.all(np.isfinite(state.parameters)):
                    reached = objective.value(judged, state.delivered)
            tried[power] = Probed(rate, reached if math.isfinite(reached) else math.inf)
        return tried[power].objective

    way = 1 if value(1) <= value(0) < math.inf else -1
    power = max(way, 0)
    while abs(power + way) <= _MOST_POWERS and value(power + way) <= value(power):
        power += way
    probe = tuple(tried[power] for power in sorted(tried))
    return probe, 2 * count * len(probe) + count
