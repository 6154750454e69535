"""What is odd in the data: each finding with its figures and what to do about it.

The thresholds only decide what is pointed out; the figures behind them are in the result.
"""

from __future__ import annotations

from collections.abc import Iterator

from batchlearn.formatting.notes import Code
from batchlearn.formatting.numbers import count, listed, percent, plain
from batchlearn.report.document import Finding
from batchlearn.report.training.data_summary import order_tells, outcome, rarest, repeated_share, time_name
from batchlearn.report.values import short
from batchlearn.training.fit import Fit
from batchlearn.training.summary.columns import ColumnSummary
from batchlearn.training.summary.leaks import leaking_levels

# Repeated rows below the first share are not worth a word, above the second they flatter every comparison.
_REPEATED, _MUCH_REPEATED = 0.005, 0.05
# Negative numbers are suspicious where so small a share of a column is and the others begin at 0, as amounts do; or
# where there are no more than a few of them. A temperature has more, and none of its own at 0.
_NEGATIVE, _FEW_NEGATIVE = 0.01, 3
# An extreme is far outside where it lies so many times as far from the median as 99 % of the values do.
_FAR = 10.0
_MISSING = 0.1
_RARE_CLASS = 0.1
_MOST_NAMED, _MOST_EXTREMES = 3, 8


def data_checks(fit: Fit) -> Iterator[Finding]:
    """Yield what is odd in rows, labels and columns."""
    for look in (_order, _leakage, _repeated, _values, _missing, _classes):
        yield from look(fit)


def columns(fit: Fit) -> list[ColumnSummary]:
    """Return the facts of the columns that the model may read."""
    return [] if fit.summary is None else [one for one in fit.summary.columns if one.left_out is None]


def _order(fit: Fit) -> Iterator[Finding]:
    said = order_tells(fit)
    if said is not None:
        do = "See how the file is sorted; give a finer time, or sort rows of equal times at random."
        yield Finding("data", 88, *said, do, "scores")


def leaking_columns(fit: Fit) -> list[str]:
    """Return the columns of which a level that many rows have nearly gives the label away."""
    return [one.column for one in columns(fit) if leaking_levels(one.leaking, fit.rows.used)]


def _leakage(fit: Fit) -> Iterator[Finding]:
    found: list[tuple[int, str]] = []
    for one in columns(fit):
        levels = leaking_levels(one.leaking, fit.rows.used)
        if levels:
            first = max(levels, key=lambda level: level.rows)
            said = f"{short(first.level)} ({count(first.rows, 'row')}: {percent(first.share)} "
            said += f"{outcome(fit, first.label)})"
            more = f" and {count(len(levels) - 1, 'more level')} of it" if len(levels) > 1 else ""
            found.append((first.rows, said + more))
    if found:
        found.sort(key=lambda pair: -pair[0])
        named = listed([said for _, said in found], _MOST_NAMED)
        do = "Check that these columns are filled in before the answer is known; drop the ones that are not (--drop)."
        yield Finding("data", 82, "Nearly certain labels", f": {named}.", do, "terms")


def _repeated(fit: Fit) -> Iterator[Finding]:
    share = repeated_share(fit)
    if fit.summary is not None and share >= _REPEATED:
        rows = f"{count(fit.summary.repeated_rows, 'row')} ({percent(share)})"
        what = f"{rows} repeat an earlier row in every column, label included"
        # Rows that repeat in every column have one time: a split by time parts none from its copy.
        flattered = "leave-one-out" if time_name(fit) else "every score where copies are on both sides"
        do = f"Find out whether they are the same thing twice; copies flatter {flattered}."
        yield Finding("data", 84 if share >= _MUCH_REPEATED else 35, what, ".", do, "rows")


def _values(fit: Fit) -> Iterator[Finding]:
    spikes = dict(_spikes(fit))
    others = (one for one in columns(fit) if one.column not in spikes)
    extremes = sorted((extreme for one in others for extreme in _extremes(one)), key=lambda extreme: -extreme[0])
    found = [*spikes.values(), *(said for _, said in extremes)]
    if found:
        named = listed(found, _MOST_EXTREMES)
        do = "Look the rows up; correct such values, or leave the rows out (--where)."
        yield Finding("data", 60, "Values far from all others", f": {named}.", do, "terms")


def _spikes(fit: Fit) -> Iterator[tuple[str, str]]:
    """Yield the columns in which several rows share a value far from all others, each with its sentence."""
    for note in (remark.note for use in fit.columns for remark in use.remarks if remark.used):
        if note.code in (Code.SPIKE, Code.TIME_SPIKE):
            column, value = note.values["column"], note.values["value"]
            said = value if note.code is Code.TIME_SPIKE else plain(value)
            yield column, f"{short(column)} at {said} in {count(note.values['rows'], 'row')}"


def _extremes(one: ColumnSummary) -> Iterator[tuple[float, str]]:
    """Yield how far out a column's ends lie, as a multiple of what 99 % of the values do, each with its sentence."""
    found, name = one.spread, short(one.column)
    if found is None:
        return
    low, first, middle, last, high = found.low, found.per_cent_1, found.median, found.per_cent_99, found.high
    negative = found.below_zero
    if 0 < negative <= _NEGATIVE * max(one.rows - one.missing, 1) and (first == 0.0 or negative <= _FEW_NEGATIVE):
        few = "1 value" if negative == 1 else f"{negative:,} values"
        yield 1e300, f"{name} below 0 in {few}, down to {plain(low)}"
    elif first < middle and middle - low > _FAR * (middle - first):
        said = f"{name} down to {plain(low)} (99\u00a0% are at least {plain(first)})"
        yield (middle - low) / (middle - first), said
    if last > middle and high - middle > _FAR * (last - middle):
        said = f"{name} up to {plain(high)} (99\u00a0% are at most {plain(last)})"
        yield (high - middle) / (last - middle), said


def _missing(fit: Fit) -> Iterator[Finding]:
    shares = [(short(one.column), one.missing / one.rows) for one in columns(fit) if one.rows]
    found = sorted(((name, share) for name, share in shares if share >= _MISSING), key=lambda pair: -pair[1])
    if found:
        named = listed([f"{name} ({percent(share)})" for name, share in found], _MOST_NAMED + 1)
        do = "Make sure that they will be missing in the same way when you predict."
        yield Finding("data", 30, "Missing values", f": {named}.", do, "terms")


def _classes(fit: Fit) -> Iterator[Finding]:
    found = rarest(fit)
    if found is not None and found[1] < _RARE_CLASS:
        said = f": {outcome(fit, found[0])} in {percent(found[1])} of rows only; accuracy says little."
        do = "Judge by average precision, and by what a threshold finds."
        yield Finding("data", 40, "Unequal classes", said, do, "scores")
