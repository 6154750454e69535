"""Which rows were known when: conditions on the times at which rows were seen and labelled.

A row is known at a time if it was seen by then and its label was known by then. The condition is part of what a version
has on record, so `verify` reads the very rows that it was trained on, whatever has come since.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.formatting.notes import Code, Note
from batchlearn.kernels.design import Floats
from batchlearn.retraining.policies import Span
from batchlearn.tables.columns import Kind
from batchlearn.tables.conditions import After, And, Before, Condition, Missing, Moment, literal
from batchlearn.tables.fingerprint import Fingerprint
from batchlearn.tables.table import Table
from batchlearn.tables.table.row_list import Standing

_EPOCH = datetime.datetime(1970, 1, 1)
# What 64 bits of nanoseconds hold, to the year; so no length of time that is added leaves what a date can be.
_FIRST, _LAST = ((datetime.datetime(year, 1, 1) - _EPOCH).total_seconds() * 1e6 for year in (1678, 2262))
# Of the rows seen last, this share is looked at to see how many have a label yet; below the other share it is said.
RECENT, MOSTLY = 0.1, 0.8


def instant_of(moment: datetime.datetime) -> float:
    """Return a moment as microseconds since 1970 in UTC; one without a zone is taken to be in UTC."""
    plain = moment if moment.tzinfo is None else moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return float((plain - _EPOCH) // datetime.timedelta(microseconds=1))


def parse_instant(text: str, stamped: bool) -> float:
    """Read a time as a person writes it: 2016-02-01, 2016-02-01 12:30:00, or a number where times are numbers."""
    try:
        value = instant_of(datetime.datetime.fromisoformat(text.strip())) if stamped else float(text)
    except (ValueError, OverflowError) as problem:
        needed = "2016-02-01 or 2016-02-01 12:30:00" if stamped else "a number, as the time column holds"
        raise UsageError(f"{quoted(text)} is no time; write {needed}.", code="time-not-valid") from problem
    if not math.isfinite(value):
        raise UsageError(f"{quoted(text)} is no finite time.", code="time-not-valid")
    if stamped and not _FIRST <= value <= _LAST:
        raise UsageError(f"{quoted(text)} is not between the years 1678 and 2261.", code="time-not-valid")
    return value


def shown_instant(instant: float, stamped: bool) -> str:
    """Write a time so that `parse_instant` reads it back to the last bit."""
    return literal(_moment(instant, stamped)).strip("'")


def _moment(instant: float, stamped: bool) -> Moment:
    return _EPOCH + datetime.timedelta(microseconds=int(instant)) if stamped else float(instant)


@dataclass(frozen=True)
class LabelTimes:
    """The columns that say when a row was seen and when its label was known, and how long a row has to rest."""

    seen: str
    labelled: str | None
    stamped: bool
    wait: float  # on the scale of the columns
    zoned: bool = False
    """Whether times are moments: in a condition they are written as those of UTC."""
    lateness: float | None = None
    """How late rows may land, on the scale of the columns; None: nothing is said of it."""

    @classmethod
    def of(
        cls,
        table: Table,
        seen: str,
        labelled: str | None,
        wait: str | float | None = None,
        lateness: str | float | None = None,
    ) -> LabelTimes:
        """Look the columns up in a table: both must hold timestamps, or both numbers."""
        kinds = [table.column(name).kind for name in (seen, labelled) if name is not None]
        if len(set(kinds)) > 1 or kinds[0] not in (Kind.TIMESTAMP, Kind.NUMBER):
            raise DataError(
                f"The columns with times, {quoted(seen)} and {quoted(labelled)}, hold {' and '.join(kinds)}; both need "
                "to hold timestamps, or both numbers.",
                code="role-kind",
            )
        columns = [table.column(name) for name in (seen, labelled) if name is not None]
        zoned = {column.zone is not None for column in columns}
        if len(zoned) > 1:
            raise DataError(
                f"The columns with times, {quoted(seen)} and {quoted(labelled)}, are stored as "
                f"{' and '.join(column.stored_as for column in columns)}; such times cannot be compared: write both "
                "with a time zone, or both without one, or say whose clock they are of (zone in [source]).",
                code="time-zones-mixed",
            )
        stamped = kinds[0] is Kind.TIMESTAMP
        rest, late = (None if span is None else Span.parse(span).on(stamped) for span in (wait, lateness))
        return cls(seen, labelled, stamped, rest or 0.0, True in zoned, late)

    def literal(self, instant: float) -> str:
        """Write a time as a literal of a condition."""
        return literal(self.moment(instant))

    def moment(self, instant: float) -> Moment:
        """Return a time as a condition holds it."""
        moment = _moment(instant, self.stamped)
        return moment.replace(tzinfo=datetime.UTC) if isinstance(moment, datetime.datetime) and self.zoned else moment

    def seen_by(self, instant: float) -> Condition:
        """Return the condition that a row was seen."""
        return Before(self.seen, self.moment(instant))

    def untimed(self) -> Condition:
        """Return the condition that nobody knows when a row was seen."""
        return Missing(self.seen)

    def after(self, instant: float) -> Condition:
        """Return the condition that a row was seen later than a time."""
        return After(self.seen, self.moment(instant))

    def labelled_by(self, instant: float) -> Condition:
        """Return the condition that a row was seen, has rested, and has its label."""
        rested = self.seen_by(instant - self.wait)
        if self.labelled is None:
            return rested
        return And((rested, Before(self.labelled, self.moment(instant))))


@dataclass(frozen=True)
class NewRows:
    """What there is at a time: counts of rows, and the window of those that are known.

    Of the rows that are known now and were not learned from, each is new, late or labelled; changed and gone are rows
    that were learned from.
    """

    seen: int
    known: int
    new: int
    late: int  # landed after the last training, and dated before what had landed by then
    labelled: int  # had landed, and has its label since
    changed: int  # other values stand in their place
    gone: int
    first: float | None  # the earliest and latest time at which a known row was seen
    last: float | None
    latest: float | None  # the latest time at which any row was seen
    notes: tuple[Note, ...]

    @property
    def unlearned(self) -> int:
        """The rows to learn from that came since the last training."""
        return self.new + self.late + self.labelled

    def to_json(self) -> dict[str, int]:
        """Return the counts."""
        names = ("seen", "known", "new", "late", "labelled", "changed", "gone")
        return {name: getattr(self, name) for name in names}


class Landed(NamedTuple):
    """How the rows of the last training stand now, and the latest time at which one that had landed was seen."""

    standing: Standing
    latest: float


def count_new_rows(
    table: Table, times: LabelTimes, now: float, before: float | None, then: Landed | None = None
) -> NewRows:
    """Count the rows of a table, which holds what was seen up to `now` and has a target; reads three columns once.

    Without `then` the rows of the last training, as of `before`, are told by their times alone. Rows without a time are
    no rows of any time; the notes tell how many there are. DataError where no row has one.
    """
    at, label_at, labels, places = times_and_labels(table, times)
    known, changed, gone = labels & _labelled(at, label_at, times, now), np.zeros(len(at), dtype=bool), 0
    since = -np.inf if before is None else before
    learned, landed, latest = labels & _labelled(at, label_at, times, since), at <= since, -np.inf
    if then is not None:
        standing, latest = then
        landed, changed = standing.landed.among(places), known & standing.changed.among(places)
        learned &= standing.listed.among(places)
        gone = sum(standing.gone.values()) + sum(one.learned for one in standing.replaced) - int(changed.sum())
    fresh = known & ~learned & ~changed
    late, labelled = fresh & ~landed & (at < latest), fresh & landed & (at <= since)
    window, timed = at[known], ~np.isnan(at)
    if len(at) and not timed.any():
        raise no_times(times.seen)
    notes = _notes(at[timed], (labels & (label_at <= now))[timed], times) if len(at) else ()
    if not timed.all():
        notes = (*notes, Note(Code.ROWS_WITHOUT_TIME, {"rows": int(np.sum(~timed)), "column": times.seen}))
    if times.lateness is not None and (past := late & (at < latest - times.lateness)).any():
        notes = (
            *notes,
            Note(Code.LATER_THAN_LATENESS, {"rows": int(past.sum()), "since": times.literal(at[past].min())}),
        )
    return NewRows(
        seen=int(timed.sum()),
        known=int(known.sum()),
        new=int((fresh & ~late & ~labelled).sum()),
        late=int(late.sum()),
        labelled=int(labelled.sum()),
        changed=int(changed.sum()),
        gone=max(gone, 0),
        first=float(window.min()) if len(window) else None,
        last=float(window.max()) if len(window) else None,
        latest=float(at[timed].max()) if timed.any() else None,
        notes=notes,
    )


class SettledRows(NamedTuple):
    """Rows of a stretch of time of which no label is still to come, by a condition, and why there are none."""

    condition: Condition
    rows: int
    reason: Note | None


def settled_rows(table: Table, times: LabelTimes, now: float, trained: float, until: float | None) -> SettledRows:
    """Return the rows that a look may be at: seen since the last look, or after any that a training knew.

    `table` holds what was seen up to `now`, and is read once. Rows whose labels are known early may be of another kind
    than the others of their time, so they wait until the longest that a label has taken has passed. Where nothing says
    when labels were known, a stretch with a row that has none waits. `until` is the time of the last row that was
    looked at or, before the first look, learned from; None where only the time of the training, `trained`, is known.
    """
    at, label_at, labels, _ = times_and_labels(table, times)
    known, learned = _labelled(at, label_at, times, now), _labelled(at, label_at, times, trained)
    after = float(np.max(at[learned], initial=-np.inf)) if until is None else until
    longest = float(np.max(label_at[known] - at[known], initial=0.0))
    end = now - max(times.wait, longest, times.lateness or 0.0)
    stretch = known & (at > after) & (at <= end)
    rows, newer = int(np.sum(stretch & labels)), int(np.sum(known & labels & (at > after)))
    reason = None
    if times.labelled is None and not labels[stretch].all():
        reason = Note(Code.LABELS_MISSING, {"rows": int(stretch.sum()), "without": int(np.sum(stretch & ~labels))})
        rows = 0
    elif not rows and newer:
        taken = f"{longest / 86_400e6:.3g} days" if times.stamped else f"{longest:g}"
        reason = Note(Code.LABELS_STILL_TO_COME, {"taken": taken, "rows": newer})
    begins = [] if after == -np.inf else [times.after(after)]
    return SettledRows(And((*begins, times.seen_by(end), times.labelled_by(now))), rows, reason)


def _labelled(seen: Floats, labelled: Floats, times: LabelTimes, now: float) -> np.ndarray:
    return np.asarray((seen <= now - times.wait) & ((labelled <= now) | (times.labelled is None)))


def numbers_of(array: pa.Array) -> Floats:
    """Return numbers, or timestamps as microseconds, NaN where there is none."""
    if pa.types.is_timestamp(array.type):
        array = pc.cast(pc.cast(array, pa.int64()), pa.float64())
    return np.asarray(pc.fill_null(array, np.nan).to_numpy(zero_copy_only=False))


def times_and_labels(table: Table, times: LabelTimes) -> tuple[Floats, Floats, np.ndarray, NDArray[np.int64]]:
    """Return when each row was seen, when its label was known, whether it has one, and its place in the source."""
    columns = [times.seen, *([times.labelled] if times.labelled else []), table.roles.target or ""]
    seen, labelled, has_label = [np.empty(0)], [np.empty(0)], [np.empty(0, dtype=bool)]
    places = [np.empty(0, dtype=np.int64)]
    scan = table.scan(list(dict.fromkeys(columns)))
    for batch in scan:
        places.append(scan.places)
        seen.append(numbers_of(batch.column(times.seen)))
        labelled.append(numbers_of(batch.column(times.labelled)) if times.labelled else seen[-1])
        has_label.append(np.asarray(batch.column(table.roles.target or "").is_valid()))
    return np.concatenate(seen), np.concatenate(labelled), np.concatenate(has_label), np.concatenate(places)


def _notes(seen: Floats, labelled: np.ndarray, times: LabelTimes) -> tuple[Note, ...]:
    """Say where recent rows mostly have no label yet: those that have one early may be of another kind."""
    cut = np.nanquantile(seen, 1.0 - RECENT) if np.isfinite(seen).any() else np.inf
    recent = (seen >= cut) & (seen <= np.nanmax(seen) - times.wait) if times.wait else seen >= cut
    if not recent.any() or float(labelled[recent].mean()) >= MOSTLY:
        return ()
    since = shown_instant(float(cut), times.stamped)
    return (Note(Code.LATE_LABELS, {"share": float(labelled[recent].mean()), "since": since}),)


def fingerprint(table: Table) -> str:
    """Return the SHA-256 of all columns of the rows of a table, as `tables.fingerprint` defines it."""
    digest = Fingerprint()
    for batch in table.scan([column.name for column in table.columns]):
        digest.update(batch)
    return digest.hexdigest()


def no_times(seen: str) -> DataError:
    """Return the refusal of rows of which none has a time."""
    return DataError(f"Column {quoted(seen)} holds no time; each row needs one.", code="no-times")


def latest_time(table: Table, times: LabelTimes) -> float:
    """Return the present by the clock of the data: the latest time at which a row was seen or labelled.

    DataError where there is none.
    """
    names = [name for name in (times.seen, times.labelled) if name is not None]
    latest = [
        float(np.nanmax(numbers_of(batch.column(name)), initial=-np.inf))
        for batch in table.scan(names)
        for name in names
    ]
    if not np.isfinite(found := max(latest, default=-np.inf)):
        raise no_times(times.seen)
    return found
