"""The ledger of a table's rows: which can be learned from, and what each is worth.

One pass over the columns that have a role. Every row is accounted for: read = used + unlabelled + rejected by reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.data.table import Scan, Table
from batchlearn.data.target import Class, Target, Task, class_values, infer_target
from batchlearn.errors import DataError, quoted
from batchlearn.kernels.design import Floats

EXCLUDED = "excluded by the condition"
# Distinct labels worth remembering: more than two are a regression or too many classes already.
_DISTINCT = 50


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
class Ledger:
    """One entry for each row that met the condition, in order; only `used` rows are learned from."""

    target: Target
    used: NDArray[np.bool_]
    label: Floats  # NaN where there is none
    unseen: NDArray[np.bool_]  # the label is a class the target does not know
    weight: Floats | None
    offset: Floats | None
    time: Floats | None  # microseconds since 1970 for timestamps, the number itself otherwise
    group: NDArray[np.intp] | None  # codes in order of appearance, -1 where missing
    counts: RowCounts


def role_columns(table: Table) -> list[str]:
    """Return the columns with a role, target first."""
    roles = table.roles
    named = (roles.target, roles.weight, roles.offset, roles.exposure, roles.time, roles.group)
    return [name for name in named if name is not None]


def read_ledger(table: Table, target: Target | None = None, loss: str | None = None) -> Ledger:
    """Read the role columns of all rows once. `target` is a model's; otherwise it is inferred, with `loss`."""
    scan = table.scan(role_columns(table))
    columns = _collect(scan)
    roles = table.roles
    labels = columns[roles.target or ""]
    if not scan.rows_kept:
        raise DataError(
            f"{table.name} has no rows{' that meet the condition' if table.condition else ''}; rows are needed.",
            code="no-rows",
        )
    target = target or infer_target(table.column(roles.target or ""), _distinct(labels), loss)
    label, unseen = _joined([target.encode(chunk) for chunk in labels.chunks])
    _check_labels(target, label)
    weight = _floats(columns[roles.weight]) if roles.weight else None
    offset = _offset(table, columns)
    time = _times(columns[roles.time]) if roles.time else None
    group = _group_codes(columns[roles.group]) if roles.group else None
    unlabelled = np.isnan(label) & ~unseen
    rejected = {EXCLUDED: scan.rows_read - scan.rows_kept}
    used = ~unlabelled & ~unseen
    for reason, values in (("no weight", weight), ("no offset", offset), ("no time", time)):
        if values is not None:
            missing = used & np.isnan(values)
            rejected[reason] = int(missing.sum())
            used &= ~missing
    rejected["a class not seen in training"] = int(unseen.sum())
    if weight is not None:
        _check_weights(roles.weight or "", weight[used])
    counts = RowCounts(
        scan.rows_read, int(used.sum()), int(unlabelled.sum()), {reason: n for reason, n in rejected.items() if n}
    )
    if not counts.used:
        raise DataError(
            f"{table.name} has no row that can be used: {counts.unlabelled} have no label, {counts.rejected} were set "
            "aside. Labels are needed to learn from.",
            code="no-usable-rows",
        )
    return Ledger(target, used, label, unseen, weight, offset, time, group, counts)


def _collect(scan: Scan) -> dict[str, pa.ChunkedArray]:
    chunks: dict[str, list[pa.Array]] = {}
    for batch in scan:
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            chunks.setdefault(name, []).append(array)
    return {name: pa.chunked_array(arrays) for name, arrays in chunks.items()} or _Empty()


class _Empty(dict[str, pa.ChunkedArray]):
    def __missing__(self, name: str) -> pa.ChunkedArray:
        return pa.chunked_array([], type=pa.float64())


def _distinct(labels: pa.ChunkedArray) -> list[Class]:
    found: dict[Class, None] = {}
    for chunk in labels.chunks:
        values = pc.unique(chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk)
        found.update((value, None) for value in values.to_pylist()[: 2 * _DISTINCT] if value is not None)
        if len(found) > _DISTINCT:
            break
    return list(found)


def _joined(parts: list[tuple[Floats, NDArray[np.bool_]]]) -> tuple[Floats, NDArray[np.bool_]]:
    return np.concatenate([label for label, _ in parts]), np.concatenate([unseen for _, unseen in parts])


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.fill_null(column, np.nan).to_numpy())


def _times(column: pa.ChunkedArray) -> Floats:
    if pa.types.is_timestamp(column.type):
        known = pc.cast(pc.cast(column, pa.int64()), pa.float64())
        return _floats(known)
    return _floats(column)


def _group_codes(column: pa.ChunkedArray) -> NDArray[np.intp]:
    plain = pa.chunked_array([c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in column.chunks])
    encoded = plain.combine_chunks().dictionary_encode()
    return np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), dtype=np.intp)


def _offset(table: Table, columns: dict[str, pa.ChunkedArray]) -> Floats | None:
    """Return what is added to the linear predictor: the offset, and the logarithm of the exposure."""
    offset = _floats(columns[table.roles.offset]) if table.roles.offset else None
    if table.roles.exposure is None:
        return offset
    exposure = _floats(columns[table.roles.exposure])
    if np.any(exposure <= 0.0):
        row = int(np.argmax(exposure <= 0.0))
        raise DataError(
            f"Column '{table.roles.exposure}' is {exposure[row]!r} in row {row + 1}; an exposure needs to be above 0. "
            "Leave such rows out with --where.",
            code="exposure-not-positive",
        )
    logarithm = np.log(exposure)
    return logarithm if offset is None else offset + logarithm


def _check_labels(target: Target, label: Floats) -> None:
    if target.task is Task.COUNT and np.any(label < 0.0):
        row = int(np.argmax(label < 0.0))
        raise DataError(
            f"Column '{target.column}' is {label[row]!r} in row {row + 1}; --loss poisson needs counts of 0 or more. "
            "Use --loss squared for numbers that may be negative.",
            code="label-negative",
        )
    if target.task is Task.COUNT and np.nansum(label) == 0.0:
        raise DataError(
            f"Column '{target.column}' is 0 in every row; counts above 0 are needed to learn from.", code="one-class"
        )


def _check_weights(name: str, weight: Floats) -> None:
    if np.any(weight < 0.0):
        row = int(np.argmax(weight < 0.0))
        raise DataError(
            f"Column '{name}' holds the weight {quoted(weight[row])}; weights need to be 0 or more.",
            code="weight-negative",
        )
    total = float(np.sum(weight))
    if total == 0.0:
        raise DataError(f"The weights in column '{name}' add up to 0; some need to be above 0.", code="weight-zero")
    if not np.isfinite(total) or float(weight.max()) > 1e150:
        raise DataError(
            f"Column '{name}' holds the weight {quoted(weight.max())}; sums of such weights overflow. Divide them all by "
            "the same number.",
            code="weight-overflow",
        )


def walk(table: Table, columns: list[str]) -> Iterator[tuple[slice, pa.RecordBatch]]:
    """Yield the batches of a scan with the ledger entries that they stand for."""
    start = 0
    for batch in table.scan(columns):
        stop = start + batch.num_rows
        yield slice(start, stop), batch
        start = stop
