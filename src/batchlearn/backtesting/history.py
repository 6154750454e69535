"""History: rows with the times at which each was seen and could be learned from, cut into windows of time.

A row is seen at one time, labelled at another and may land at a third. Rows that a model learns from, or a policy is
told of, are those that had arrived; rows that judge are all that have a label by the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.formatting.notes import Note
from batchlearn.kernels.design import Floats
from batchlearn.retraining.policies.span import Span
from batchlearn.retraining.sources.label_times import LabelTimes, no_times, numbers_of, shown_instant, times_and_labels
from batchlearn.tables.conditions import Before, Condition, together
from batchlearn.tables.readings import ColumnReading
from batchlearn.tables.table import Table
from batchlearn.tables.table.row_list import RowList, Standing

FEWEST_WINDOWS, MOST_WINDOWS = 2, 2_000
_HOUR = 3_600e6
_DAY = 86_400e6


@dataclass(frozen=True)
class Arrivals:
    """When rows can be learned from: seen, which the table's time says, labelled, landed and rested.

    Args:
        labelled: The column with the time at which a row's label was known; at once unless given.
        landed: The column with the time at which a row came to be there; at once unless given.
        wait: How long a row rests before it is learned from: "90d".

    Example:
        >>> import batchlearn as bl
        >>> bl.Arrivals("returned_at", wait="2d")
        Arrivals(labelled='returned_at', landed=None, wait='2d')
    """

    labelled: str | None = None
    landed: str | None = None
    wait: str | float | None = None


@dataclass(frozen=True)
class ArrivedRows:
    """The rows that had landed by a time: a source for the cycle, which cannot tell it from a live one."""

    whole: Table
    label_times: LabelTimes
    landed: str | None
    now: float
    readings: Mapping[str, ColumnReading]

    @property
    def notes(self) -> tuple[Note, ...]:
        """Nothing is worth saying of rows that are all there."""
        return ()

    def table(self, *conditions: Condition | None) -> Table:
        """Return the rows that had landed and meet all conditions, not read yet."""
        times, landed = self.label_times, self.landed
        there = None if landed is None else Before(landed, replace(times, seen=landed).moment(self.now))
        return replace(self.whole, condition=together(self.whole.condition, there, *conditions)).like(self.readings)

    def times(self) -> LabelTimes:
        """Return which columns say when a row was seen and labelled."""
        return self.label_times

    def like(self, readings: Mapping[str, ColumnReading]) -> ArrivedRows:
        """Return the same rows with their columns read as a model reads them."""
        return replace(self, readings=readings)

    def compare(self, then: RowList) -> Standing:
        """Never asked: rows of history are told by their times, and the versions of a backtest have no lists."""
        raise AssertionError(f"a version of a backtest lists {len(then.parts)} parts of rows")


@dataclass(frozen=True)
class History:
    """Labelled rows in the order in which they were seen, and the edges of the windows that judge.

    `seen`, `known`, `weight` and `place` have shape (rows,): when a row was seen, from when on it could be learned
    from, what it counts, and where it stands among the rows that the table reads. `sighted` has when each of those was
    seen, NaN where that is missing. A window holds the rows seen after an edge and up to the next. At each edge but the
    last a policy decides; at the first one all have the first model trained.
    """

    table: Table
    times: LabelTimes
    landed: str | None
    seen: Floats
    known: Floats
    weight: Floats
    place: NDArray[np.intp]
    sighted: Floats
    edges: Floats

    @property
    def windows(self) -> int:
        """How many windows judge."""
        return len(self.edges) - 1

    @property
    def window_hours(self) -> float:
        """How long a window is, in hours, or in units of times that are numbers."""
        return self.hours(float(np.median(np.diff(self.edges))))

    @property
    def starts(self) -> NDArray[np.intp]:
        """The first row of each window, and one past the last row, (windows + 1,)."""
        return np.searchsorted(self.seen, self.edges, side="right")

    def rows(self, now: float) -> ArrivedRows:
        """Return what had landed by a time."""
        return ArrivedRows(self.table, self.times, self.landed, now, {})

    def known_by(self, now: float) -> int:
        """Count the rows that could be learned from by a time."""
        return int(np.sum(self.known <= now))

    def shown(self, instant: float) -> str | float:
        """Return a time as a record has it: a text in UTC, or the number that it is."""
        return shown_instant(instant, stamped=True) if self.times.stamped else instant

    def hours(self, span: float) -> float:
        """Return a length of time in hours; of times that are numbers, in units of them."""
        return span / _HOUR if self.times.stamped else span


def read_history(table: Table, arrivals: Arrivals, windows: int | str | float, first_share: float) -> History:
    """Read the times of all rows and cut them into windows.

    `windows` is how many of equal length follow the first training, or how long each is, "7d"; the first training has
    the share of the rows that was known first. UsageError, DataError where there are no times, labels or windows.
    """
    if table.roles.target is None:
        raise UsageError(
            "The table has no target; name the column to predict with target= (--target).", code="no-target"
        )
    if table.roles.time is None:
        raise UsageError(
            "The table has no time column, and a backtest asks when rows were seen; name it with time= (--time).",
            code="no-time",
        )
    own = [name for name in (arrivals.labelled, arrivals.landed) if name is not None]
    for name in own:
        table.column(name)
    roles = table.roles
    table = replace(table, roles=replace(roles, drop=tuple(dict.fromkeys([*roles.drop, *own]))))
    times = LabelTimes.of(table, roles.time or "", arrivals.labelled, arrivals.wait)
    seen, labelled, has_label, _ = times_and_labels(table, times)
    weight = np.ones(len(seen))
    if roles.weight is not None and roles.weight_kind != "frequency":
        weight = np.nan_to_num(read_column(table, roles.weight))
    usable = has_label & ~np.isnan(seen) & (weight > 0.0)
    if len(seen) and not (~np.isnan(seen)).any():
        raise no_times(times.seen)
    if not usable.any():
        raise DataError(
            f"No row of {table.name} has both a label in {quoted(roles.target)} and a time in {quoted(times.seen)}, so "
            "there is nothing to learn from and nothing to judge by.",
            code="no-labels",
        )
    known = np.maximum(seen + times.wait, np.where(np.isnan(labelled), np.inf, labelled))
    if arrivals.landed is not None:
        LabelTimes.of(table, times.seen, arrivals.landed)  # of one kind with the other times
        landed = read_column(table, arrivals.landed)
        known = np.maximum(known, np.where(np.isnan(landed), np.inf, landed))
    place = np.flatnonzero(usable)
    place = place[np.argsort(seen[place], kind="stable")]
    edges = _edges(seen[place], known[place], windows, first_share, times)
    return History(table, times, arrivals.landed, seen[place], known[place], weight[place], place, seen, edges)


def read_column(table: Table, name: str) -> Floats:
    """Return a column of numbers or timestamps as numbers, (rows,), NaN where missing."""
    return np.concatenate([np.empty(0), *(numbers_of(batch.column(0)) for batch in table.scan([name]))])


def _edges(seen: Floats, known: Floats, windows: int | str | float, first_share: float, times: LabelTimes) -> Floats:
    """Return the edges of the windows, (windows + 1,); the last one is where the last row was seen."""
    ordered, last = np.sort(known), float(seen[-1])
    first = float(ordered[min(int(first_share * len(ordered)), len(ordered) - 1)])
    if not first < last:
        raise DataError(
            f"The first training would be when {first_share:.0%} of the rows were known, and no row was seen after "
            f"{times.literal(last)}: there is no window that could judge. Give a smaller share for the first training, "
            "or rows of more times.",
            code="one-window",
        )
    if isinstance(windows, int):
        count = windows
        if not FEWEST_WINDOWS <= count <= MOST_WINDOWS:
            raise UsageError(
                f"{count} windows were asked for; from {FEWEST_WINDOWS} to {MOST_WINDOWS:,} are possible, such as 40, "
                'or a length of time such as "7d".',
                code="windows-range",
            )
        edges = np.linspace(first, last, count + 1)
        return np.floor(edges) if times.stamped else edges
    length = Span.parse(windows).on(times.stamped)
    # Of whole days windows begin at midnight.
    if times.stamped and length % _DAY == 0.0:
        first = float(np.ceil(first / _DAY) * _DAY)
    count = int(np.ceil((last - first) / length))
    if not FEWEST_WINDOWS <= count <= MOST_WINDOWS:
        raise UsageError(
            f"Windows of {quoted(str(windows))} make {max(count, 0):,} between the first training, at "
            f"{times.literal(first)}, and the last row, at {times.literal(last)}; from {FEWEST_WINDOWS} to "
            f"{MOST_WINDOWS:,} are possible. Choose another length, or how many there are to be.",
            code="one-window" if count < FEWEST_WINDOWS else "windows-range",
        )
    return first + length * np.arange(count + 1, dtype=np.float64)
