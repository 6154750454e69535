"""What is odd in the data: each finding with its figures and what to do about it.

The thresholds only decide what is pointed out; the figures behind them are in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from batchlearn.report.answer import Finding
from batchlearn.report.training.facts import facts, order_tells, outcome, rarest, repeated_share
from batchlearn.report.values import mapping, number, records, text, whole
from batchlearn.words.numbers import count, listed, percent, plain

# Repeated rows below the first share are not worth a word, above the second they flatter every comparison.
_REPEATED, _MUCH_REPEATED = 0.005, 0.05
# Negative numbers are suspicious where so small a share of a column is and the others begin at 0, as amounts do; or
# where there are no more than a few of them. A temperature has more, and none of its own at 0.
_NEGATIVE, _FEW_NEGATIVE = 0.01, 3
# An extreme is far outside where it lies so many times as far from the median as 99 % of the values do.
_FAR = 10.0
# A level that tells the label is pointed out where at least this share of the rows has it.
_TELLING_ROWS = 0.02
_MISSING = 0.1
_RARE_CLASS = 0.1
_MOST_NAMED, _MOST_EXTREMES = 3, 8


def oddities(result: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is odd in rows, labels and columns."""
    looks: tuple[Callable[[Mapping[str, Any]], Iterator[Finding]], ...] = (
        _order,
        _telling,
        _repeated,
        _values,
        _missing,
        _classes,
    )
    for look in looks:
        yield from look(result)


def columns(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the records of the columns that the model may read."""
    return [one for one in records(facts(result).get("columns")) if not text(one.get("left_out"))]


def _order(result: Mapping[str, Any]) -> Iterator[Finding]:
    said = order_tells(result)
    if said is not None:
        do = "See how the file is sorted; give a finer time, or sort rows of equal times at random."
        yield Finding("data", 88, said, do, "scores")


def telling_columns(result: Mapping[str, Any]) -> list[str]:
    """Return the columns of which a level that many rows have nearly gives the label away."""
    return [text(one.get("column")) or "?" for one in columns(result) if _telling_levels(result, one)]


def _telling_levels(result: Mapping[str, Any], one: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    used = whole(mapping(result.get("rows")).get("used")) or 0
    return [level for level in records(one.get("telling")) if _rows(level) >= max(_TELLING_ROWS * used, 1)]


def _telling(result: Mapping[str, Any]) -> Iterator[Finding]:
    found: list[tuple[int, str]] = []
    for one in columns(result):
        levels = _telling_levels(result, one)
        if levels:
            first = max(levels, key=_rows)
            share = percent(number(first.get("share")) or 0.0)
            said = f"{text(first.get('level')) or '?'} ({count(_rows(first), 'row')}: {share} "
            said += f"{outcome(result, text(first.get('class')) or '?')})"
            more = f" and {count(len(levels) - 1, 'more level')} of it" if len(levels) > 1 else ""
            found.append((_rows(first), said + more))
    if found:
        found.sort(key=lambda pair: -pair[0])
        what = f"Nearly certain labels: {listed([said for _, said in found], _MOST_NAMED)}."
        do = "Check that these columns are filled in before the answer is known; drop the ones that are not (--drop)."
        yield Finding("data", 82, what, do, "terms")


def _rows(one: Mapping[str, Any]) -> int:
    return whole(one.get("rows")) or 0


def _repeated(result: Mapping[str, Any]) -> Iterator[Finding]:
    share = repeated_share(result)
    if share >= _REPEATED:
        number_of_rows = whole(facts(result).get("repeated_rows")) or 0
        what = (
            f"{count(number_of_rows, 'row')} ({percent(share)}) repeat an earlier row in every column, label included."
        )
        # Rows that repeat in every column have one time: a split by time parts none from its copy.
        flattered = "leave-one-out" if text(result.get("time")) else "every score where copies are on both sides"
        do = f"Find out whether they are the same thing twice; copies flatter {flattered}."
        yield Finding("data", 84 if share >= _MUCH_REPEATED else 35, what, do, "rows")


class _Extreme(NamedTuple):
    size: float
    said: str


def _values(result: Mapping[str, Any]) -> Iterator[Finding]:
    found = [extreme for one in columns(result) for extreme in _extremes(one)]
    if found:
        found.sort(key=lambda extreme: -extreme.size)
        what = f"Values far from all others: {listed([extreme.said for extreme in found], _MOST_EXTREMES)}."
        do = "Look the rows up; correct such values, or leave the rows out (--where)."
        yield Finding("data", 60, what, do, "terms")


def _extremes(one: Mapping[str, Any]) -> Iterator[_Extreme]:
    name, rows, missing = text(one.get("column")) or "?", whole(one.get("rows")) or 0, whole(one.get("missing")) or 0
    keys = ("low", "per_cent_1", "median", "per_cent_99", "high")
    low, first, middle, last, high = (number(one.get(key)) for key in keys)
    if low is None or first is None or middle is None or last is None or high is None:
        return
    negative = whole(one.get("below_zero")) or 0
    if 0 < negative <= _NEGATIVE * max(rows - missing, 1) and (first == 0.0 or negative <= _FEW_NEGATIVE):
        few = "1 value" if negative == 1 else f"{negative:,} values"
        yield _Extreme(1e300, f"{name} below 0 in {few}, down to {plain(low)}")
    elif first < middle and middle - low > _FAR * (middle - first):
        yield _Extreme(
            (middle - low) / (middle - first), f"{name} down to {plain(low)} (99\u00a0% are at least {plain(first)})"
        )
    if last > middle and high - middle > _FAR * (last - middle):
        yield _Extreme(
            (high - middle) / (last - middle), f"{name} up to {plain(high)} (99\u00a0% are at most {plain(last)})"
        )


def _missing(result: Mapping[str, Any]) -> Iterator[Finding]:
    shares = {
        text(one.get("column")) or "?": min((whole(one.get("missing")) or 0) / rows, 1.0)
        for one in columns(result)
        if (rows := whole(one.get("rows")) or 0) > 0
    }
    found = sorted(((name, share) for name, share in shares.items() if share >= _MISSING), key=lambda pair: -pair[1])
    if found:
        what = f"Missing values: {listed([f'{name} ({percent(share)})' for name, share in found], _MOST_NAMED + 1)}."
        do = "Make sure that they will be missing in the same way when you predict."
        yield Finding("data", 30, what, do, "terms")


def _classes(result: Mapping[str, Any]) -> Iterator[Finding]:
    found = rarest(result)
    if found is not None and found[1] < _RARE_CLASS:
        what = (
            f"Unequal classes: {outcome(result, found[0])} in only {percent(found[1])} of rows; accuracy says little."
        )
        yield Finding("data", 40, what, "Judge by average precision, and by what a threshold finds.", "scores")
