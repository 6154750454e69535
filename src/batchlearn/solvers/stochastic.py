"""Stochastic gradient descent with a probed rate, and the mean of the last parameters (Polyak and Juditsky 1992)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.kernels.single_rows import padded, unpadded
from batchlearn.kernels.window_mean import WindowMean
from batchlearn.solvers import Reading, RowsAtOnce, Solver
from batchlearn.solvers.batches import Stretch, only_stretch, whole_gradient
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
    reading: Reading

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

    def start(self, objective: Objective, rows: Rows, parameters: Floats, reading: Reading) -> GradientState:
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
        if state.reading.whole:
            return _whole_step(objective, rows, state)
        stretch, walk = only_stretch(rows), _Walk(objective, rows, state)
        for start, stop in stretch.cut(state.reading.size):
            walk.step(stretch, start, stop)
        walk.catch_up()
        return walk.state()


def _whole_step(objective: Objective, rows: Rows, state: GradientState) -> GradientState:
    rate = state.rate / math.sqrt(1.0 + state.steps)
    change = padded(-rate * whole_gradient(objective, rows, state.parameters), objective.loss.outputs)
    parameters = state.parameters + change
    mean = state.mean._replace(moves=state.mean.moves + state.mean.batches * change, batches=state.mean.batches + 1)
    return replace(state, parameters=parameters, mean=mean.turned(parameters), steps=state.steps + 1)


class _Walk:
    """The batches of one stretch; works on copies of the state's arrays."""

    def __init__(self, objective: Objective, rows: Rows, state: GradientState) -> None:
        self._objective, self._reading, self._state = objective, state.reading, state
        self._parameters, self._mean = state.parameters.copy(), state.mean
        self._moves, self._steps = state.mean.moves.copy(), state.steps
        terms = max(rows.layout.lead + len(rows.layout.groups), 1)
        # Touching every coefficient for the penalty may cost as much as touching those of the rows.
        self._interval = math.ceil(self._parameters.size / (terms * state.reading.size))
        self._due, self._waiting = 0.0, 0
        self._majorant = objective.penalty.magnitude(np.ones(self._parameters.size - objective.loss.outputs))

    def step(self, rows: Stretch, start: int, stop: int) -> None:
        rate = self._state.rate / math.sqrt(1.0 + self._steps / self._reading.batches)
        slope = rows.slope(self._objective.loss, start, stop, self._parameters)
        slope *= -rate / self._reading.weight_of(stop - start)
        rows.add(start, stop, self._parameters, slope)
        rows.add(start, stop, self._moves, self._mean.batches * slope)
        self._due, self._waiting = self._due + rate, self._waiting + 1
        if self._waiting >= self._interval:
            self.catch_up()
        self._steps += 1
        self._mean = self._mean._replace(batches=self._mean.batches + 1)
        if self._mean.batches >= self._mean.length:
            self._mean = self._mean._replace(moves=self._moves).turned(self._parameters)
            self._moves = self._mean.moves

    def catch_up(self) -> None:
        """Step along the penalty for the batches since the last time, no further than is stable at any rate."""
        flat = unpadded(self._parameters)
        change = -self._due * self._objective.penalty.gradient(flat) / (1.0 + self._due * self._majorant)
        moved = padded(change, self._objective.loss.outputs)
        self._parameters += moved
        self._moves += self._mean.batches * moved
        self._due, self._waiting = 0.0, 0

    def state(self) -> GradientState:
        mean = self._mean._replace(moves=self._moves)
        return replace(self._state, parameters=self._parameters, mean=mean, steps=self._steps)


def _probe(objective: Objective, rows: Rows, point: Floats, reading: Reading) -> tuple[tuple[Probed, ...], int]:
    """Try rates on a sample and judge them on other rows; return what was tried and the rows that were read for it.

    From one over the mean squared length of a row upwards, by factors of four, while that helps; else downwards.
    """
    numbers = np.random.default_rng([reading.seed, 1]).permutation(rows.counted())
    count = max(min(reading.size * _PROBE_STEPS, len(numbers) // _PROBE_SHARE, _PROBE_ROWS), _FEWEST_ROWS)
    count = min(count, len(numbers) // 2)
    drawn = numbers[:count], np.sort(numbers[count : 2 * count])
    trained, judged = (next(rows.stretches(own, count)) for own in drawn)
    size = max(1, min(reading.size, count // _FEWEST_STEPS))
    part = Reading(size, count, trained.total_weight, reading.seed)
    unit = 1.0 / _squared_length(objective, trained, unpadded(point))
    tried: dict[int, Probed] = {}

    def value(power: int) -> float:
        if power not in tried:
            tried[power] = Probed(unit * 4.0**power, _tried(objective, trained, judged, point, unit * 4.0**power, part))
        return tried[power].objective

    way = 1 if value(1) <= value(0) < math.inf else -1
    power = max(way, 0)
    while abs(power + way) <= _MOST_POWERS and value(power + way) <= value(power):
        power += way
    probe = tuple(tried[power] for power in sorted(tried))
    return probe, 2 * count * len(probe) + count


def _tried(objective: Objective, trained: Rows, judged: Rows, point: Floats, rate: float, part: Reading) -> float:
    """Return the objective on other rows after one pass over the sample, infinite where it diverged."""
    state = GradientState(point, WindowMean.start(point, 1), rate, 0, (), 0, part)
    with np.errstate(over="ignore", invalid="ignore"):
        state = StochasticGradient(rate).step(objective, trained, state)
        value = objective.value(judged, state.delivered) if np.all(np.isfinite(state.parameters)) else math.inf
    return value if math.isfinite(value) else math.inf


def _squared_length(objective: Objective, rows: Rows, parameters: Floats) -> float:
    """Return the trace of the Hessian's data part: the mean of curvature times the squared length of a row."""
    diagonal: Any = objective.hessian_diagonal(rows, parameters) - objective.penalty.diagonal
    trace = float(np.sum(diagonal))
    return trace if math.isfinite(trace) and trace > 0.0 else 1.0
