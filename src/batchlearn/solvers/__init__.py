"""Solvers: update rules that lead towards the minimum of an objective, one step after the other.

A regime decides how many rows one update sees, a solver says how many it needs; `training.regimes.run` brings them
together. What is special about a solver it says here: no one asks which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from batchlearn.data.rows import Rows
from batchlearn.kernels.design import Floats
from batchlearn.objectives.factor import Factor
from batchlearn.statistics.objective import Expansion, NearPoint, Objective


class RowsAtOnce(IntEnum):
    """How many rows one update sees, or needs."""

    ONE = 1
    SOME = 2
    ALL = 3


class LeadPoint(NamedTuple):
    """Where steps that are cheaper than a solver's own have led, and how often they have read all rows."""

    parameters: Floats  # (d,)
    passes: int
    value: float | None = None  # the objective there, where steps have read all rows for it


class ReadingPlan(NamedTuple):
    """How rows come: the batch size, the rows that count and their total weight, and the seed of what is drawn."""

    size: int
    rows: int
    weight: float
    seed: int

    @property
    def whole(self) -> bool:
        """Whether one batch is all rows."""
        return self.size >= self.rows

    @property
    def batches(self) -> int:
        """Batches in one pass."""
        return -(-self.rows // self.size)

    def cut(self, rows: int) -> Iterator[tuple[int, int, float]]:
        """Yield the batches of a stretch: the first row, the one after the last, and the weight it stands for.

        Each stands for all rows: its total is divided by its share of their weight.
        """
        for start in range(0, rows, self.size):
            stop = min(start + self.size, rows)
            yield start, stop, self.weight * ((stop - start) / self.rows)


class Distance(NamedTuple):
    """What a solver knows, from what it computed anyway, of how far it is from the optimum."""

    value: float  # the objective
    decrement: float | None = None  # sqrt(g' H^-1 g); None where nothing tells it
    kappa: float | None = None  # what the bound of the decrement stands on; None where it knows none
    exact: bool = False  # whether the Hessian is that of all rows at this point, else what is known may flatter
    stalled: bool = False  # whether it came no nearer since the last time
    patience: int = 1  # times in a row that it may stall before it is taken to be as near as it gets
    anchored: AnchoredPoint | None = None  # where the Hessian is that of another point: enough for a certificate
    factored: FactoredPoint | None = None  # what a certificate would read and factor again


class AnchoredPoint(NamedTuple):
    """A point, all that one reading said there, and the Hessian (d, d) at the anchor with its factor.

    The Hessian may be that of some of the rows: theirs, times their share of the weight, is no more than that of all.
    """

    near: NearPoint | None  # None where it has not been read
    hessian: Floats
    factor: Factor
    anchor: Floats  # (d,)
    share: float = 1.0


class FactoredPoint(NamedTuple):
    """The objective around a point, from all rows as the solver reads them, and the factor of its Hessian."""

    expansion: Expansion
    factor: Factor


State = TypeVar("State", bound="SolverState")


class SolverState(Protocol):
    """Where a solver stands; a new value after each step."""

    @property
    def delivered(self) -> Floats:
        """The parameters, flat, that would be delivered now: averaged where the solver averages."""
        ...


class Solver(Protocol[State]):
    """An update rule."""

    name: ClassVar[str]
    needs: ClassVar[RowsAtOnce]
    # Where the factor of a Hessian that it needs does not exist, another solver serves.
    without_factor: ClassVar[Solver[Any] | None] = None
    # Readings of all rows within which it comes as near as it can.
    most_passes: ClassVar[float]

    def start(self, objective: Objective, rows: Rows, parameters: Floats, reading: ReadingPlan) -> State:
        """Return the state before the first step. Raises NotPositiveDefinite where it needs a factor."""
        ...

    def step(self, objective: Objective, rows: Rows, state: State) -> State:
        """Return the state after the rows that the regime shows: all of them, or a stretch to be cut into batches."""
        ...

    def values_of_row(self, coefficients: int, size: int) -> float:  # noqa: ARG002 - most cost as much in any batch
        """Return how many numbers a row in a batch of so many meets at the most."""
        return coefficients

    def begin_pass(self, objective: Objective, rows: Rows, state: State) -> State:  # noqa: ARG002 - most need nothing
        """Return the state at the beginning of a pass over all rows."""
        return state

    def lead(
        self,
        objective: Objective,  # noqa: ARG002 - most begin where they are told
        rows: Rows,  # noqa: ARG002 - the same
        parameters: Floats,  # noqa: ARG002 - the same
        *,
        fresh: bool,  # noqa: ARG002 - the same
    ) -> Iterator[LeadPoint]:
        """Yield where cheaper steps than its own lead from the parameters, step by step; nothing where they do not.

        `fresh`: nothing is known of the parameters but that they are those of the null model.
        """
        return iter(())

    def watch(
        self,
        objective: Objective,  # noqa: ARG002 - most never know
        rows: Rows,  # noqa: ARG002 - the same
        parameters: Floats,  # noqa: ARG002 - the same
    ) -> Callable[[State], Distance | None] | None:
        """Return what tells from each state in turn what is known there, None where it is nothing yet.

        Instead of that None where the solver never knows.
        """
        return None

    def direction(self, state: State) -> Floats | None:  # noqa: ARG002 - most have no factor
        """Return the whole step (d,) that the state's factor asks for, where it has one."""
        return None

    def finished(self, state: State) -> bool:  # noqa: ARG002 - most cannot tell
        """Whether no further step can lower the objective."""
        return False
