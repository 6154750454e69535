"""The ledger of a table's rows: which can be learned from, and what each is worth.

One pass over the columns that have a role. Every row is accounted for: read = used + unlabelled + rejected by reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.data.target import MOST_CLASSES, Class, Target, Task, infer_target
from batchlearn.errors import DataError, UsageError
from batchlearn.kernels.design import Floats
from batchlearn.tables.columns import Kind, floats
from batchlearn.tables.row_hashes import Hashes, RowHashes, bits_of, mixed
from batchlearn.tables.table import Scan, Table

EXCLUDED, UNSEEN = "excluded by the condition", "a class not seen in training"
ZERO_WEIGHT = "a weight of 0"
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
    rejected: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {"read": self.read, "used": self.used, "unlabelled": self.unlabelled, "rejected": dict(self.rejected)}


@dataclass(frozen=True)
class Lots:
    """What chance decides by: numbers that follow from the values of a row, and not from its place in the table."""

    features: Hashes  # equal where all features are
    row: Hashes  # of features and label; equal where both are
    lot: Hashes  # a number of its own for each row, which follows from its features and the rows that share them

    def at(self, entries: NDArray[np.intp]) -> Lots:
        """Return the lots of some rows."""
        return Lots(self.features[entries], self.row[entries], self.lot[entries])


@dataclass(frozen=True)
class Ledger:
    """One entry for each row that met the condition, in order; only `used` rows, all of weight above 0, count."""

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


def usable_rows(table: Table, batch: pa.RecordBatch) -> NDArray[np.bool_]:
    """Say which rows of a batch with the role columns a ledger uses, or would, if it knew their class, (rows,)."""
    needed = [name for name in role_columns(table) if name != table.roles.group]
    usable = np.logical_and.reduce([np.asarray(batch.column(name).is_valid()) for name in needed])
    for name in (table.roles.weight, table.roles.exposure):
        if name is not None:
            usable &= floats(batch.column(name)) > 0.0
    return np.asarray(usable)


def read_ledger(
    table: Table,
    target: Target | None = None,
    loss: str | None = None,
    *,
    beside: Sequence[str] = (),
    visit: Callable[[pa.RecordBatch], None] | None = None,
) -> Ledger:
    """Read the role columns of all rows once. `target` is a model's; otherwise it is inferred, with `loss`.

    Rows with a label but without a weight above 0, an offset or a time are set aside. `visit` is handed each batch of
    the same reading, with the columns named by `beside` too. Raises DataError, UsageError.
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
    usable, rejected = labelled.copy(), {EXCLUDED: scan.rows_read - scan.rows_kept}
    for reason, lacking in _lacks(table, weight, offset, time):
        rejected[reason] = int((usable & lacking).sum())
        usable &= ~lacking
    unlabelled = int((~labelled).sum())
    if scan.unreadable.get(roles.target or "") and not labelled.any():
        raise DataError(
            f"No value of column '{roles.target}' of {table.name} can be read as a "
            f"{table.column(roles.target or '').kind}, which the model predicts. Convert the column, or name the right "
            "one.",
            code="target-kind",
        )
    if labelled.any() and not usable.any():
        raise _none_left(table, unlabelled, rejected)
    given = target
    target = given or infer_target(table.column(roles.target or ""), _distinct(labels, usable), loss)
    _check_offset(target, table)
    label, unseen = _encoded(target, table, labels)
    unseen &= usable
    used = usable & ~unseen
    _check_range(target, label, used, to_learn=given is None)
    rejected[UNSEEN] = int(unseen.sum())
    if not used.any():
        raise _none_left(table, unlabelled, rejected)
    if weight is not None and float(np.sum(weight[used])) < _LEAST_WEIGHT:
        raise DataError(
            f"The weights in column '{roles.weight}' add up to {np.sum(weight[used]):g}; sums need to be at least "
            f"{_LEAST_WEIGHT:g}, or products with them vanish. Multiply them all by the same number.",
            code="weight-vanishes",
        )
    found = {reason: number for reason, number in rejected.items() if number}
    counts = RowCounts(scan.rows_read, int(used.sum()), unlabelled, found)
    return Ledger(target, used, label, unseen, weight, offset, time, group, counts, unreadable=dict(scan.unreadable))


def with_lots(table: Table, ledger: Ledger) -> Ledger:
    """Read the features once; return the ledger with the lots of its rows."""
    hashes = RowHashes()
    names = [column.name for column in table.features]
    scan = table.scan(names) if names else None
    # Where there are no features, rows are told apart by their labels.
    read = [np.zeros(len(ledger.used), dtype=np.uint64)] if scan is None else [hashes.of(batch) for batch in scan]
    unreadable = {**ledger.unreadable, **({} if scan is None else scan.unreadable)}
    return with_lots_of(replace(ledger, unreadable=unreadable), np.concatenate(read))


def with_lots_of(ledger: Ledger, features: Hashes) -> Ledger:
    """Return the ledger with the lots of its rows, from the hash of each row's features.

    Rows with the same features get different lots, in the order of their labels: neither the unit of the labels nor the
    features of other rows have a say. Of rows equal in all that is read it does not matter which of them gets which.
    """
    row = whole = mixed(features ^ bits_of(ledger.label), np.uint64(1))
    for salt, role in enumerate((ledger.weight, ledger.offset, ledger.time, ledger.group), start=2):
        if role is not None:
            whole = mixed(whole ^ bits_of(role.astype(np.float64)), np.uint64(salt))
    order = np.lexsort((whole, ledger.label, ~ledger.used, features))
    starts = np.flatnonzero(np.diff(features[order], prepend=~features[order[0]]))
    copy = np.arange(len(row)) - np.repeat(starts, np.diff(starts, append=len(row)))
    lot = np.empty_like(row)
    lot[order] = mixed(features[order] + copy.astype(np.uint64), np.uint64(0))
    return replace(ledger, read_lots=Lots(features, row, lot))


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
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each reason to set rows aside, with the rows that it holds for."""
    if weight is not None:
        if np.any(weight < 0.0):
            row = int(np.argmax(weight < 0.0))
            raise DataError(
                f"Column '{table.roles.weight}' holds the weight {weight[row]:g} in {_row(table, row)}; weights need "
                "to be 0 or more. Correct it, or leave such rows out with --where.",
                code="weight-negative",
            )
        yield "no weight", np.isnan(weight)
        yield ZERO_WEIGHT, weight == 0.0
    if offset is not None:
        given = [name for name in ("offset", "exposure") if getattr(table.roles, name) is not None]
        yield f"no {' or '.join(given)}", np.isnan(offset)
    if time is not None:
        yield "no time", np.isnan(time)


def _none_left(table: Table, unlabelled: int, rejected: dict[str, int]) -> DataError:
    found = {reason: number for reason, number in rejected.items() if number and reason != EXCLUDED}
    if list(found) == [ZERO_WEIGHT]:
        return DataError(
            f"The weights in column '{table.roles.weight}' add up to 0; some need to be above 0. Correct them, or "
            "train without weights.",
            code="weight-zero",
        )
    aside = ", ".join(f"{number:,} for {reason}" for reason, number in found.items()) or "none"
    return DataError(
        f"{table.name} has no row that can be used: {unlabelled:,} have no label; set aside: {aside}. Rows with "
        "a label and with all that their roles need are needed. Fill those columns, or leave the roles out.",
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
    logarithm = np.log(exposure)
    return logarithm if offset is None else offset + logarithm


def _check_offset(target: Target, table: Table) -> None:
    named = table.roles.offset or table.roles.exposure
    if len(target.classes) > 2 and named is not None:
        raise UsageError(
            f"Column '{named}' is to be added to the predictor, but there is one for each of the "
            f"{len(target.classes)} classes; offsets and exposures need one. Leave the role out.",
            code="offset-classes",
        )


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
        stop = start + batch.num_rows
        yield slice(start, stop), batch
        start = stop
