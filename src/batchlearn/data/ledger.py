"""The ledger of a table's rows: which can be learned from, and what each is worth.

One pass over the columns that have a role. Every row is accounted for: read = used + unlabelled + rejected by reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.data.target import (
    MOST_CLASSES,
    Class,
    Target,
    Task,
    check_offset,
    check_spellings,
    infer_target,
    loss_of_rate,
    with_positive,
)
from batchlearn.errors import DataError
from batchlearn.formatting.rejections import Rejection
from batchlearn.kernels.design import Floats
from batchlearn.tables.columns import Kind, floats
from batchlearn.tables.row_hashes import Hashes
from batchlearn.tables.table import Scan, Table

_LEAST_WEIGHT = 1e-150
# Seconds since 1970 until the year 2100, taken for milliseconds, end before February 17th 1970; milliseconds taken for
# seconds begin in the year 3,000 or so, and 9999-12-31 is a common stand-in for "never".
_EPOCH, _EPOCH_AS_MILLISECONDS, _LATEST = (
    np.datetime64(day, "us") for day in ("1970-01-01", "1970-02-17", "2200-01-01")
)


@dataclass(frozen=True)
class RowCounts:
    """Where every row that was read has gone."""

    read: int
    used: int
    unlabelled: int
    rejected: Mapping[Rejection, int]

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        rejected = {reason.value: rows for reason, rows in self.rejected.items()}
        return {"read": self.read, "used": self.used, "unlabelled": self.unlabelled, "rejected": rejected}


@dataclass(frozen=True)
class Lots:
    """What chance decides by: numbers that follow from the values of a row, and not from its place in the table."""

    features: Hashes  # equal where all features are
    lot: Hashes  # a number of its own for each row, which follows from its features and the rows that share them
    repeated: int | None  # used rows that repeat another in all that is read; None of some of the rows

    def at(self, entries: NDArray[np.intp]) -> Lots:
        """Return the lots of some rows."""
        return Lots(self.features[entries], self.lot[entries], None)


@dataclass(frozen=True)
class Ledger:
    """One entry for each row that met the condition, in order; only `used` rows, all of weight above 0, count.

    Weights are over their mean in the training, and fade if the table says so; None where all are 1 or repeat rows.
    """

    target: Target
    used: NDArray[np.bool_]
    label: Floats  # NaN where there is none
    unseen: NDArray[np.bool_]  # usable, but for a label of a class that the target does not know
    weight: Floats | None
    offset: Floats | None
    time: Floats | None  # microseconds since 1970 for timestamps, the number itself otherwise
    group: NDArray[np.intp] | None  # codes in the order of the groups' values, -1 where missing
    counts: RowCounts
    read_lots: Lots | None = None  # by `with_lots`
    weight_constant: float = 1.0  # what the weights as they came were divided by
    unreadable: Mapping[str, int] = field(default_factory=dict)  # rows by column whose value its reading does not take

    @property
    def lots(self) -> Lots:
        """What chance decides by: to be read before it has to."""
        assert self.read_lots is not None
        return self.read_lots


def role_columns(table: Table) -> list[str]:
    """Return the columns with a role, target first."""
    roles = table.roles
    named = (roles.target, roles.weight, roles.offset, roles.exposure, roles.time, roles.group)
    return [name for name in named if name is not None]


def columns_read(table: Table) -> list[str]:
    """Return all columns that a training reads: the features, then those with a role that are none."""
    return list(dict.fromkeys([*(column.name for column in table.features), *role_columns(table)]))


def usable_rows(table: Table, batch: pa.RecordBatch) -> NDArray[np.bool_]:
    """Say which rows of a batch with the role columns a ledger uses, or would, if it knew their class, (rows,)."""
    needed = [name for name in role_columns(table) if name != table.roles.group]
    usable = np.logical_and.reduce([np.asarray(batch.column(name).is_valid()) for name in needed])
    for name in (table.roles.weight, table.roles.exposure):
        if name is not None:
            usable &= floats(batch.column(name)) > 0.0
    return np.asarray(usable)


def read_ledger(  # noqa: PLR0913 - each says what labels and weights mean, or what else is read with them
    table: Table,
    target: Target | None = None,
    loss: str | None = None,
    *,
    weight_constant: float | None = None,
    positive: Class | None = None,
    before: Target | None = None,
    beside: Sequence[str] = (),
    visit: Callable[[pa.RecordBatch], None] | None = None,
) -> Ledger:
    """Read the role columns of all rows once. `target` is a model's; otherwise it is inferred, with `loss`.

    Weights are over `weight_constant`, a model's too; over their mean in the used rows unless it is given. Of two
    classes the positive one is then `positive`, else that of an earlier version's target, `before`. Rows with a label
    but without a weight above 0, an offset or a time are set aside. `visit` is handed each batch of the same reading,
    with the columns named by `beside` too. Raises DataError, UsageError.
    """
    scan = table.scan(list(dict.fromkeys([*role_columns(table), *beside])))
    columns = _collect(scan, role_columns(table), visit)
    roles = table.roles
    labels = columns[roles.target or ""]
    if not scan.rows_kept:
        raise DataError(
            f"{table.name} has no rows{' that meet the condition' if table.condition else ''}; rows are needed.",
            code="no-rows",
        )
    weight = floats(columns[roles.weight]) if roles.weight else None
    offset = _offset(table, columns)
    time = _times(columns[roles.time]) if roles.time else None
    if time is not None and table.column(roles.time or "").kind is Kind.TIMESTAMP:
        _check_years(table, time)
    group = _group_codes(columns[roles.group]) if roles.group else None
    labelled = np.asarray(pc.is_valid(labels).to_numpy())
    usable, rejected = labelled.copy(), {Rejection.EXCLUDED: scan.rows_read - scan.rows_kept}
    for reason, lacking in _lacks(table, weight, offset, time):
        rejected[reason] = int((usable & lacking).sum())
        usable &= ~lacking
    unlabelled = int((~labelled).sum())
    unread = scan.said_of_unreadable(roles.target or "")
    if unread and not labelled.any():
        raise DataError(
            f"No value of column '{roles.target}' of {table.name} can be read as the model reads it: {unread}. "
            "Write them as in the training, or name the right column.",
            code="target-kind",
        )
    if labelled.any() and not usable.any():
        raise _none_left(table, unlabelled, rejected, unread and f" ({unread})")
    given, column = target, table.column(roles.target or "")
    target = given or infer_target(column, _distinct(labels, usable), loss_of_rate(column, roles.exposure, loss))
    if given is None:
        check_spellings(target, table)
    check_offset(target, table)
    label, unseen = _encoded(target, table, labels)
    unseen &= usable
    used = usable & ~unseen
    _check_range(target, label, used, to_learn=given is None)
    rejected[Rejection.UNSEEN] = int(unseen.sum())
    if not used.any():
        raise _none_left(table, unlabelled, rejected, unread and f" ({unread})")
    weight, constant = _scaled(table, weight, used, usable, weight_constant)
    weight = weight if table.fading is None else table.fading.faded(weight, time)
    if given is None:
        ordered = with_positive(target, label[used], None if weight is None else weight[used], positive, before)
        label = label if ordered.classes == target.classes else 1.0 - label
        target = ordered
    counts = RowCounts(scan.rows_read, int(used.sum()), unlabelled, {why: n for why, n in rejected.items() if n})
    if table.kept is not None:
        label, time = table.kept.beside(label), None if time is None else table.kept.beside(time)
    found = (target, used, label, unseen, weight, offset, time, group, counts)
    return Ledger(*found, weight_constant=constant, unreadable=dict(scan.unreadable))


def _scaled(
    table: Table, weight: Floats | None, used: NDArray[np.bool_], usable: NDArray[np.bool_], given: float | None
) -> tuple[Floats | None, float]:
    """Return the weights over a constant, None where all are 1 then, and the constant: the mean unless given."""
    if weight is None or table.roles.frequency is not None:  # a row comes as often as its frequency says
        return None, given or 1.0
    shares, largest = weight[used], float(weight[used].max())
    # The same bits in any order of the rows, and the weight itself where all are equal; shares of it do not overflow.
    constant = given or largest * (math.fsum(shares / largest) / len(shares)) or largest
    scaled = weight / constant
    if float(np.sum(scaled[used])) < _LEAST_WEIGHT:
        raise DataError(
            f"The weights in column '{table.roles.weight}' add up to {np.sum(scaled[used]):g} times the mean weight of "
            f"the training; products with sums below {_LEAST_WEIGHT:g} vanish. Give them in its unit, or train again.",
            code="weight-vanishes",
        )
    return (None if np.all(scaled[usable] == 1.0) else scaled), constant


def with_classes_of(ledger: Ledger, part: NDArray[np.bool_]) -> Ledger:
    """Return the ledger as who has seen only the labels of a part would have it.

    The target's classes are those of the part; used rows of other classes are marked as unseen and not used.
    """
    target = ledger.target
    if target.task is not Task.CLASSES:
        return ledger
    present = np.unique(ledger.label[part]).astype(np.intp)
    if len(present) == len(target.classes) or len(present) < 2:
        return ledger
    code = np.full(len(target.classes) + 1, np.nan)
    code[present] = np.arange(len(present), dtype=np.float64)
    label = code[np.where(np.isnan(ledger.label), len(target.classes), ledger.label).astype(np.intp)]
    unseen = ledger.unseen | (ledger.used & np.isnan(label))
    classes = tuple(target.classes[k] for k in present)
    known = replace(target, loss="logistic" if len(classes) == 2 else target.loss, classes=classes)
    return replace(ledger, target=known, label=label, used=ledger.used & ~unseen, unseen=unseen)


def _lacks(
    table: Table, weight: Floats | None, offset: Floats | None, time: Floats | None
) -> Iterator[tuple[Rejection, NDArray[np.bool_]]]:
    """Yield each reason to set rows aside, with the rows that it holds for."""
    if weight is not None:
        if np.any(weight < 0.0):
            row = int(np.argmax(weight < 0.0))
            raise DataError(
                f"Column '{table.roles.weight}' holds the weight {weight[row]:g} in {_row(table, row)}; weights need "
                "to be 0 or more. Correct it, or leave such rows out with --where.",
                code="weight-negative",
            )
        yield Rejection.NO_WEIGHT, np.isnan(weight)
        yield Rejection.ZERO_WEIGHT, weight == 0.0
    if offset is not None:
        only = Rejection.NO_EXPOSURE if table.roles.offset is None else Rejection.NO_OFFSET
        both = table.roles.offset is not None and table.roles.exposure is not None
        yield Rejection.NO_OFFSET_OR_EXPOSURE if both else only, np.isnan(offset)
    if time is not None:
        yield Rejection.NO_TIME, np.isnan(time)


def _none_left(table: Table, unlabelled: int, rejected: Mapping[Rejection, int], unread: str) -> DataError:
    found = {reason: number for reason, number in rejected.items() if number and reason is not Rejection.EXCLUDED}
    if list(found) == [Rejection.ZERO_WEIGHT]:
        return DataError(
            f"The weights in column '{table.roles.weight}' add up to 0; some need to be above 0. Correct them, or "
            "train without weights.",
            code="weight-zero",
        )
    aside = ", ".join(f"{number:,} for {reason}" for reason, number in found.items()) or "none"
    return DataError(
        f"{table.name} has no row that can be used: {unlabelled:,} have no label{unread}; set aside: {aside}. Rows "
        "with a label and with all that their roles need are needed. Fill those columns, or leave the roles out.",
        code="no-usable-rows",
    )


def _row(table: Table, index: int) -> str:
    """Name a row by its number; under a condition it counts the rows that meet it."""
    return f"row {index + 1:,}" + (" of those that meet the condition" if table.condition else "")


def _collect(
    scan: Scan, names: Sequence[str], visit: Callable[[pa.RecordBatch], None] | None
) -> dict[str, pa.ChunkedArray]:
    """Return the named columns of a scan, showing each batch to `visit` on the way."""
    read: dict[str, list[pa.Array]] = {name: [] for name in names}
    for batch in scan:
        for name, arrays in read.items():
            arrays.append(batch.column(name))
        if visit is not None:
            visit(batch)
    return {name: pa.chunked_array(arrays, None if arrays else pa.float64()) for name, arrays in read.items()}


def _distinct(labels: pa.ChunkedArray, usable: NDArray[np.bool_]) -> list[Class]:
    """Return the distinct labels of the usable rows, as many as are worth remembering."""
    found: dict[Class, None] = {}
    start = 0
    for chunk in labels.iterchunks():
        kept = chunk.filter(pa.array(usable[start : start + len(chunk)]))
        values = pc.unique(kept.dictionary_decode() if pa.types.is_dictionary(kept.type) else kept)
        found.update((value, None) for value in values.to_pylist()[: 2 * MOST_CLASSES] if value is not None)
        start += len(chunk)
        if len(found) > MOST_CLASSES:
            break
    return list(found)


def _encoded(target: Target, table: Table, labels: pa.ChunkedArray) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the labels as numbers and which are of an unknown class, one entry a row."""
    column = table.column(target.column)
    if target.task is not Task.CLASSES and column.kind not in (Kind.NUMBER, Kind.BOOLEAN):
        raise DataError(
            f"Column '{column.name}' of {table.name} holds {column.kind} values; the model predicts numbers. Convert "
            "the column, or name the right one.",
            code="target-kind",
        )
    parts = [target.encode(chunk) for chunk in labels.iterchunks()]
    return np.concatenate([label for label, _ in parts]), np.concatenate([unseen for _, unseen in parts])


def _times(column: pa.ChunkedArray) -> Floats:
    if pa.types.is_timestamp(column.type):
        # Beyond 285 years from 1970 floats have no single microseconds any more: order is kept, near times become one.
        column = pc.cast(pc.cast(column, pa.int64()), pa.float64(), safe=False)
    return floats(column)


def _check_years(table: Table, time: Floats) -> None:
    """Refuse times that were read in the wrong unit, or that stand for a missing one: DataError."""
    known = time[~np.isnan(time)]
    if not len(known):
        return
    first, last = (np.datetime64(int(end), "us") for end in (known.min(), known.max()))
    if last >= _LATEST:
        row = int(np.nanargmax(time))
        raise DataError(
            f"Column '{table.roles.time}' holds the time {last} in {_row(table, row)}; times before {_LATEST} are "
            "needed. Later ones are milliseconds that were taken for seconds, or stand for a missing time: convert the "
            "column, or leave such rows out with --where.",
            code="time-unit",
        )
    if first >= _EPOCH and last < _EPOCH_AS_MILLISECONDS and last > first:
        raise DataError(
            f"All times of column '{table.roles.time}' lie between {first} and {last}; that is what seconds since 1970 "
            "look like when they are taken for milliseconds or less. Convert the column with the right unit.",
            code="time-unit",
        )


def _group_codes(column: pa.ChunkedArray) -> NDArray[np.intp]:
    parts = column.iterchunks()
    plain = pa.chunked_array([c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in parts])
    encoded = plain.combine_chunks().dictionary_encode()
    codes = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), dtype=np.intp)
    place = np.full(len(encoded.dictionary) + 1, -1, dtype=np.intp)
    place[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(encoded.dictionary))
    return place[codes]


def _offset(table: Table, columns: dict[str, pa.ChunkedArray]) -> Floats | None:
    """Return what is added to the linear predictor: the offset, and the logarithm of the exposure."""
    offset = floats(columns[table.roles.offset]) if table.roles.offset else None
    if table.roles.exposure is None:
        return offset
    exposure = floats(columns[table.roles.exposure])
    if np.any(exposure <= 0.0):
        row = int(np.argmax(exposure <= 0.0))
        raise DataError(
            f"Column '{table.roles.exposure}' is {exposure[row]:g} in {_row(table, row)}; an exposure needs to be "
            "above 0. Leave such rows out with --where.",
            code="exposure-not-positive",
        )
    return np.log(exposure) if offset is None else offset + np.log(exposure)


def _check_range(target: Target, label: Floats, used: NDArray[np.bool_], *, to_learn: bool) -> None:
    """Refuse counts and amounts that the loss cannot have, and those that are all 0, where they are learned from."""
    if target.task not in (Task.COUNT, Task.AMOUNT):
        return
    least = float(label[used].min(initial=np.inf))
    if least < 0.0:
        what = "counts" if target.task is Task.COUNT else "amounts"
        raise DataError(
            f"Column '{target.column}' holds {least:g}; --loss {target.loss} needs {what} of 0 or more. Use "
            "--loss squared for numbers that may be negative.",
            code="label-negative",
        )
    if target.loss == "gamma" and least == 0.0:
        raise DataError(
            f"Column '{target.column}' holds 0; --loss gamma needs amounts above 0. Use --loss tweedie for amounts "
            "some of which are 0, or leave such rows out with --where.",
            code="label-not-positive",
        )
    if to_learn and not np.any(label[used] > 0.0):
        raise DataError(
            f"Column '{target.column}' is 0 in every row; labels above 0 are needed to learn from.", code="one-class"
        )


def walk(table: Table, columns: list[str]) -> Iterator[tuple[slice, pa.RecordBatch]]:
    """Yield the batches of a scan with the ledger entries that they stand for."""
    start = 0
    for batch in table.scan(columns):
        yield slice(start, start + batch.num_rows), batch
        start += batch.num_rows
