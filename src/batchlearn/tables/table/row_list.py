"""The rows of a version as a list: of each file, or part of a query, how many there were and a digest of their values.

New is what is there now and not in that list, whatever its time says: a day's file that lands after its midnight, a
backfill, a label that came later. A file of the same size and time of change is taken to be unchanged; another one grew
where its first rows have the digest of the list, and was replaced where they have not.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter

from batchlearn.tables.conditions import Listed
from batchlearn.tables.files import Files, Stamp
from batchlearn.tables.fingerprint import Fingerprint
from batchlearn.tables.readings import ColumnReading, ReadingRules
from batchlearn.tables.table import Roles, Table, open_by

_NO_PLACES = np.empty(0, dtype=np.int64)


class LabelColumns(NamedTuple):
    """The columns that hold the label and say when it was known."""

    target: str
    labelled: str | None

    @property
    def names(self) -> list[str]:
        """Those there are."""
        return [self.target] if self.labelled is None else [self.target, self.labelled]

    def known(self, batch: pa.RecordBatch) -> NDArray[np.bool_]:
        """Return which rows of a batch have their label."""
        valid = [batch.column(name).is_valid().to_numpy(zero_copy_only=False) for name in self.names]
        return np.asarray(np.logical_and.reduce(valid))


@dataclass(frozen=True)
class PartRows:
    """The rows of one file, or of one part of a query, as they were when a version was trained."""

    name: str
    file: str  # its path below the project; parts of a query have another one whenever they are fetched again
    bytes: int
    modified: int  # nanoseconds since 1970
    rows: int
    values: str  # `tables.fingerprint` of all columns of the list but those of the label, of all rows
    labels: str  # and of those, of the rows with a label
    unlabelled: str  # which rows had none: `packed`
    learned: int  # rows that the version was trained on

    @property
    def without_label(self) -> NDArray[np.int64]:
        """The places of the rows without a label."""
        bits = np.frombuffer(zlib.decompress(base64.b64decode(self.unlabelled)), dtype=np.uint8)
        return np.flatnonzero(np.unpackbits(bits, count=self.rows)) if len(bits) else _NO_PLACES


@dataclass(frozen=True)
class RowList:
    """The rows that were there when a version was trained; a condition on their times says which of them it knew."""

    columns: Mapping[str, ColumnReading]  # those that were digested, with how they were read
    label: LabelColumns
    parts: tuple[PartRows, ...]

    @classmethod
    def parse(cls, data: bytes) -> RowList:
        """Read what `dump` wrote."""
        return TypeAdapter(RowList).validate_json(data)

    def dump(self) -> bytes:
        """Return the list as JSON."""
        return TypeAdapter(RowList).dump_json(self)


class ReplacedPart(NamedTuple):
    """A file whose rows, of which some were learned from, are others now."""

    name: str
    start: int  # the places of as many rows as there were
    stop: int
    learned: int


@dataclass(frozen=True)
class Standing:
    """How the rows of a list stand now, by their places among the rows that are there."""

    landed: Listed
    """Rows that were there, with the values that they had."""
    listed: Listed
    """Those of them that had a label."""
    replaced: tuple[ReplacedPart, ...]
    gone: Mapping[str, int]
    """Files that are not there any more, with how many of their rows the version was trained on."""

    @property
    def changed(self) -> Listed:
        """The rows that stand where others did."""
        return Listed(tuple((part.start, part.stop) for part in self.replaced), _NO_PLACES)

    @property
    def lost(self) -> tuple[str, ...]:
        """The files whose rows the version was trained on and that cannot be read any more as they were."""
        return (*(one.name for one in self.replaced), *(name for name, rows in self.gone.items() if rows))


class OpenPart(NamedTuple):
    """One file as it is now, to be read by itself: all of its rows, without any role."""

    name: str
    file: str
    stamp: Stamp
    table: Callable[[], Table]

    def like(self, part: PartRows) -> bool:
        """Whether the file has the size and time of change that a list says."""
        return (part.bytes, part.modified) == (self.stamp.size, self.stamp.modified)


def open_parts(
    files: Files, names: Sequence[str], root: Path, rules: ReadingRules, readings: Mapping[str, ColumnReading]
) -> tuple[OpenPart, ...]:
    """Return the files of a table one by one, by the names they have in lists; their paths are told below `root`."""

    def opener(path: Path, name: str) -> Callable[[], Table]:
        file = replace(files, paths=(path,), name=name)
        return lambda: open_by(file, Roles(), replace(rules, where=None), like=readings)

    return tuple(
        OpenPart(name, path_below(path, root), Stamp.of(path), opener(path, name))
        for path, name in zip(files.paths, names, strict=True)
    )


def path_below(path: Path, root: Path) -> str:
    """Return a path as it is told below a folder, whole where it lies elsewhere."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def list_rows(
    parts: Sequence[OpenPart],
    trained: Table,
    columns: Mapping[str, ColumnReading],
    label: LabelColumns,
    before: RowList | None,
    rehash: bool = False,
) -> RowList:
    """Return the rows that are there as a list, with how many of each part the table holds that was trained on.

    `columns` are those whose values count. What an earlier list says of a part that is as it was is not found out
    again.
    """
    same = before is not None and (before.columns, before.label) == (columns, label)
    known = {part.name: part for part in before.parts} if before is not None and same and not rehash else {}
    found = [
        known[part.name] if part.name in known and part.like(known[part.name]) else _read(part, columns, label)
        for part in parts
    ]
    ends, learned = np.cumsum([part.rows for part in found]), np.zeros(len(found), dtype=np.int64)
    scan = trained.scan([label.target])
    for batch in scan:
        places = scan.places[batch.column(0).is_valid().to_numpy(zero_copy_only=False)]
        learned += np.bincount(np.searchsorted(ends, places, side="right"), minlength=len(found))
    return RowList(
        columns, label, tuple(replace(part, learned=int(rows)) for part, rows in zip(found, learned, strict=True))
    )


def _read(part: OpenPart, columns: Mapping[str, ColumnReading], label: LabelColumns) -> PartRows:
    values, labels, without, rows = Fingerprint(), Fingerprint(), [np.empty(0, dtype=bool)], 0
    for batch in part.table().like(columns).scan(list(columns)):
        known = label.known(batch)
        values.update(batch.drop_columns(label.names))
        labels.update(batch.select(label.names).filter(pa.array(known)))
        without.append(~known)
        rows += batch.num_rows
    return PartRows(
        name=part.name,
        file=part.file,
        bytes=part.stamp.size,
        modified=part.stamp.modified,
        rows=rows,
        values=values.hexdigest(),
        labels=labels.hexdigest(),
        unlabelled=_packed(np.concatenate(without)),
        learned=0,
    )


def _packed(marks: NDArray[np.bool_]) -> str:
    """Return which of some rows are marked as text, a short one where none is."""
    bits = np.packbits(marks).tobytes() if marks.any() else b""
    return base64.b64encode(zlib.compress(bits)).decode()


def compare(parts: Sequence[OpenPart], then: RowList, rehash: bool = False) -> Standing:
    """Return how the rows of a list stand now. Only parts are read that are not as they were."""
    before, start = {part.name: part for part in then.parts}, 0
    landed: list[tuple[int, int]] = []
    without: list[NDArray[np.int64]] = []
    replaced: list[ReplacedPart] = []
    for now in parts:
        part = before.pop(now.name, None)
        if part is None:
            start += sum(batch.num_rows for batch in now.table().like(then.columns).scan([then.label.target]))
            continue
        rows, same = (part.rows, True) if now.like(part) and not rehash else _check(now, part, then)
        stop = start + part.rows
        if same:
            landed.append((start, stop))
            without.append(start + part.without_label)
        elif part.learned:  # else nothing was learned from it, and its rows are new
            replaced.append(ReplacedPart(part.name, start, min(stop, start + rows), part.learned))
        start += rows
    places = np.concatenate([_NO_PLACES, *without])
    gone = {name: part.learned for name, part in before.items()}
    return Standing(Listed(tuple(landed), _NO_PLACES), Listed(tuple(landed), places), tuple(replaced), gone)


def _check(now: OpenPart, before: PartRows, then: RowList) -> tuple[int, bool]:
    """Return how many rows a part has now, and whether the first of them are those of a list.

    Labels that were not there may be anything.
    """
    values, labels, rows, without = Fingerprint(), Fingerprint(), 0, before.without_label
    for batch in now.table().like(then.columns).scan(list(then.columns)):
        old = batch.slice(0, max(before.rows - rows, 0))
        if old.num_rows:
            had = ~np.isin(rows + np.arange(old.num_rows), without)
            values.update(old.drop_columns(then.label.names))
            labels.update(old.select(then.label.names).filter(pa.array(had)))
        rows += batch.num_rows
    found = (values.hexdigest(), labels.hexdigest())
    return rows, rows >= before.rows and found == (before.values, before.labels)
