"""The rows of a version as a list: of each file, or part of a query, how many there were and a digest of their values.

New is what is there now and not in that list, whatever its time says: a day's file that lands after its midnight, a
backfill, a label that came later. A file of the same size and time of change is taken to be unchanged; another one grew
where its first rows have the digest of the list, and was replaced where they have not.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter

from batchlearn.tables.conditions import Listed
from batchlearn.tables.files import Stamp
from batchlearn.tables.fingerprint import Fingerprint
from batchlearn.tables.readings import ColumnReading
from batchlearn.tables.table import Table

_NO_PLACES = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class PartRows:
    """The rows of one file, or of one part of a query, as they were when a version was trained."""

    name: str
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
    parts: tuple[PartRows, ...]

    @classmethod
    def parse(cls, data: bytes) -> RowList:
        """Read what `dump` wrote."""
        return TypeAdapter(RowList).validate_json(data)

    def dump(self) -> bytes:
        """Return the list as JSON."""
        return TypeAdapter(RowList).dump_json(self)


class ReplacedPart(NamedTuple):
    """A file whose rows are others now."""

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
        return (
            *(one.name for one in self.replaced if one.learned),
            *(name for name, rows in self.gone.items() if rows),
        )


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


def read_part(
    table: Table, name: str, stamp: Stamp, columns: Mapping[str, ColumnReading], of: LabelColumns
) -> PartRows:
    """Read the rows of one part, whatever the condition of the table; how many were learned from is said later."""
    values, labels, without, rows = Fingerprint(), Fingerprint(), [np.empty(0, dtype=bool)], 0
    for batch in table.like(columns).scan(list(columns)):
        known = of.known(batch)
        values.update(batch.drop_columns(of.names))
        labels.update(batch.select(of.names).filter(pa.array(known)))
        without.append(~known)
        rows += batch.num_rows
    unlabelled = packed(np.concatenate(without))
    return PartRows(name, stamp.size, stamp.modified, rows, values.hexdigest(), labels.hexdigest(), unlabelled, 0)


def packed(marks: NDArray[np.bool_]) -> str:
    """Return which of some rows are marked as text, a short one where none is."""
    bits = np.packbits(marks).tobytes() if marks.any() else b""
    return base64.b64encode(zlib.compress(bits)).decode()


class PrefixCheck(NamedTuple):
    """How many rows a part has now, and whether the first of them are those of a list."""

    rows: int
    same: bool


def check_part(table: Table, before: PartRows, columns: Mapping[str, ColumnReading], of: LabelColumns) -> PrefixCheck:
    """Compare the first rows of a part with what a list says of it; labels that were not there may be anything."""
    values, labels, rows, without = Fingerprint(), Fingerprint(), 0, before.without_label
    for batch in table.like(columns).scan(list(columns)):
        old = batch.slice(0, max(before.rows - rows, 0))
        if old.num_rows:
            had = ~np.isin(rows + np.arange(old.num_rows), without)
            values.update(old.drop_columns(of.names))
            labels.update(old.select(of.names).filter(pa.array(had)))
        rows += batch.num_rows
    found = (values.hexdigest(), labels.hexdigest())
    return PrefixCheck(rows, rows >= before.rows and found == (before.values, before.labels))
