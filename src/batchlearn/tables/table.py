"""Table: the raw rows, what their columns are, and one lazy way to read them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.tables.columns import (
    Canonical,
    Column,
    Kind,
    columns_of,
    comparable,
    is_text,
    name_advice,
    places,
    refuse_equal_names,
    stored_arrays,
)
from batchlearn.tables.conditions import Condition, Written
from batchlearn.tables.files import Files, Format, Stamp, find
from batchlearn.tables.readings import ColumnReading, ColumnRemark, parse, without
from batchlearn.tables.sources import ArrowSource, ParquetSource, Source, arrow_table
from batchlearn.tables.text.delimited import DelimitedSource
from batchlearn.tables.text.inspection import TextRules

if TYPE_CHECKING:
    from batchlearn.tables.where import Filter

__all__ = ["Column", "Kind", "ReadingRules", "Roles", "Scan", "Table", "read"]


@dataclass(frozen=True)
class Roles:
    """What columns are for; each names a column of the table.

    Flags of the command line and keys of a project's file are made from these fields: `help` and `example` are theirs.
    """

    target: str | None = field(default=None, metadata={"help": "Column to predict.", "example": "y"})
    time: str | None = field(default=None, metadata={"help": "Column that orders the rows.", "example": "t"})
    group: str | None = field(
        default=None, metadata={"help": "Column of what rows belong to: a person, a machine.", "example": "store"}
    )
    weight: str | None = field(
        default=None, metadata={"help": "Column that says how much each row counts.", "example": "amount"}
    )
    offset: str | None = field(
        default=None, metadata={"help": "Column added to the linear predictor.", "example": "known_effect"}
    )
    exposure: str | None = field(
        default=None, metadata={"help": "Column whose logarithm is added to it.", "example": "days"}
    )
    drop: tuple[str, ...] = field(
        default=(), metadata={"help": "Columns to leave out: a,b. Repeatable.", "example": ("id",)}
    )

    @property
    def apart(self) -> frozenset[str]:
        """The columns that are no features."""
        named = (self.target, self.weight, self.offset, self.exposure)
        return frozenset([*(name for name in named if name is not None), *self.drop])


@dataclass(frozen=True)
class ReadingRules:
    """How rows are read from a source: which of them, and what their values mean."""

    where: str | None = field(
        default=None,
        metadata={"help": "Keep the rows that meet a condition in SQL's words.", "example": "not cancelled"},
    )
    null: tuple[str, ...] = field(
        default=(),
        metadata={"help": "Texts that mean a missing value in CSV files, besides nothing: NA,.", "example": ("NA",)},
    )
    categories: tuple[str, ...] = field(
        default=(), metadata={"help": "Columns of numbers that name categories: a,b. Repeatable.", "example": ("code",)}
    )


@dataclass(frozen=True)
class Table:
    """Rows as they are stored, with the kinds and roles of their columns; nothing is read before `scan`."""

    source: Source
    columns: tuple[Column, ...]
    roles: Roles
    condition: Condition | None
    name: str
    readings: Mapping[str, ColumnReading]
    """How the values of each column are read."""
    remarks: tuple[ColumnRemark, ...] = ()
    """What is worth saying about that."""

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns to learn from: all but target, weight, offset, exposure, those dropped and those left out."""
        left_out = {remark.column for remark in self.remarks if not remark.used}
        return tuple(column for column in self.columns if column.name not in self.roles.apart | left_out)

    @property
    def lines_passed_over(self) -> Mapping[str, int]:
        """Lines of text files that are neither header nor rows, by reason, as of the last reading to the end."""
        return self.source.lines_passed_over if isinstance(self.source, DelimitedSource) else {}

    @property
    def text_encoding(self) -> str | None:
        """The encoding that text files were said to have; None is UTF-8, or what their first bytes say."""
        return self.source.text_encoding if isinstance(self.source, DelimitedSource) else None

    def column(self, name: str) -> Column:
        """Look a column up by its exact name; DataError names the nearest one."""
        for column in self.columns:
            if column.name == name:
                return column
        raise _missing(name, [column.name for column in self.columns], self.name)

    def scan(self, columns: Sequence[str]) -> Scan:
        """Read the named columns of all rows that meet the condition, in order, as canonical batches."""
        return Scan(self, columns)


class Scan(Iterator[pa.RecordBatch]):
    """The rows of a table, batch by batch; the two counts are right once it is exhausted.

    A number is float64 (NaN is null), a boolean bool, a category dictionary<int32, string> with a dictionary of its
    own in each batch, a timestamp timestamp[us] in UTC. No batch is empty.
    """

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._readings, self._untyped = table.readings, table.source.untyped
        self.rows_read = 0
        """Rows read from the source so far."""
        self.rows_kept = 0
        """Rows among them that meet the condition: all, if there is none."""
        self.unreadable: Counter[str] = Counter()
        """Texts so far, by column, that are not what the column's reading takes: they count as missing."""
        wanted = [table.column(name) for name in columns]
        target = table.roles.target
        self._canonical = [Canonical(column, table.name, is_target=column.name == target) for column in wanted]
        self._places = places(table.source.schema)
        self._kinds = {column.name: column.kind for column in table.columns}
        self._condition = _compiled(table.condition, table.columns)
        named = [*columns, *(self._condition.columns if self._condition else ())]
        stored = dict.fromkeys(self._places[name].field for name in named)
        # Counting rows alone needs some column too.
        self._stored = list(stored) or [self._places[table.columns[0].name].field]
        self._batches = table.source.batches(self._stored)

    def __next__(self) -> pa.RecordBatch:
        """Return the next rows, at least one."""
        while True:
            batch = next(self._batches)
            first = self.rows_read + 1
            self.rows_read += batch.num_rows
            rows: range | np.ndarray[Any, Any] = range(first, self.rows_read + 1)
            if self._condition is not None:
                batch, kept = self._filtered(batch, self._condition)
                rows = first + kept
            self.rows_kept += batch.num_rows
            if batch.num_rows:
                names = [canonical.column.name for canonical in self._canonical]
                stored = stored_arrays(batch, [self._places[name] for name in names])
                arrays = []
                for name, canonical, array in zip(names, self._canonical, stored, strict=True):
                    values, unreadable = self._read(name, array)
                    self.unreadable.update({name: unreadable} if unreadable else {})
                    values = canonical(values, rows)
                    number = canonical.column.kind is Kind.NUMBER
                    arrays.append(without(values, self._readings[name]) if number else values)
                return pa.RecordBatch.from_arrays(arrays, names=names)

    def _read(self, name: str, array: pa.Array) -> tuple[pa.Array, int]:
        """Read texts that mean something else, or have no type; return how many mean nothing that the reading takes."""
        reading = self._readings[name]
        stored = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
        if not is_text(stored) or (reading.kind is Kind.CATEGORY and not self._untyped):
            return array, 0
        values, unreadable = parse(array, reading)
        return values, int(np.count_nonzero(unreadable))

    def _filtered(self, batch: pa.RecordBatch, condition: Filter) -> tuple[pa.RecordBatch, np.ndarray[Any, Any]]:
        """Return the rows that meet the condition and their positions in the batch."""
        stored = stored_arrays(batch, [self._places[name] for name in condition.columns])
        tested = [
            comparable(self._read(name, array)[0], self._kinds[name])
            for array, name in zip(stored, condition.columns, strict=True)
        ]
        positions = pa.array(np.arange(batch.num_rows))
        arrays = [*tested, positions, *batch.columns]
        # The condition refers to its columns by position, so these names only have to differ.
        numbered = pa.RecordBatch.from_arrays(arrays, names=[str(i) for i in range(len(arrays))])
        try:
            kept = numbered.filter(condition.expression)
        except pa.ArrowInvalid as problem:
            # All types are known to compare: what is left are integers that float64 does not hold.
            raise DataError(
                f"the condition compares an integer beyond 2^53 with floating-point numbers, which would round it "
                f"({problem}); use numbers within 2^53 there, or store that column as integers",
                code="integer-too-large",
            ) from problem
        columns = kept.columns[len(tested) + 1 :]
        return pa.RecordBatch.from_arrays(columns, names=batch.schema.names), kept.column(len(tested)).to_numpy()


def read(  # noqa: PLR0913 - the one door for users: each argument is a role or says how the source is to be read
    source: object,
    *,
    target: str | None = None,
    time: str | None = None,
    group: str | None = None,
    weight: str | None = None,
    offset: str | None = None,
    exposure: str | None = None,
    drop: Sequence[str] = (),
    where: str | Condition | None = None,
    null: Sequence[str] = ("",),
    categories: Sequence[str] = (),
    encoding: str | None = None,
    date_format: str | None = None,
    decimal: Literal[".", ","] | None = None,
    header: bool = True,
    like: Mapping[str, ColumnReading] | None = None,
) -> Table:
    """Open a table: files, data frames, Arrow data or NumPy arrays. Text files are read once, to see what they hold.

    `where` keeps the rows for which a condition in SQL's words is true. `null` lists the texts that mean a missing
    value in text files, and numbers that do anywhere; `categories` the columns that are categories although they look
    like numbers. Of text files, `encoding` is theirs where it is neither UTF-8 nor marked, `date_format` the form of
    dates in strptime's words, `decimal` the sign of decimals, `header` whether the first line has names. `like` are the
    readings of a model: columns are read as they say, and only others are looked at.
    """
    roles = Roles(target, time, group, weight, offset, exposure, tuple([drop] if isinstance(drop, str) else drop))
    given = tuple(dict.fromkeys(text.strip() for text in null if text.strip()))
    opened: Source
    if not isinstance(source, (str, os.PathLike, Files)):
        opened, name = ArrowSource(arrow_table(source)), "table"
    else:
        files = source if isinstance(source, Files) else find(source)
        name = files.name
        if files.format is Format.PARQUET:
            opened = ParquetSource(files)
        else:
            rules = TextRules(given, frozenset(categories), encoding, date_format, decimal, header)
            needed = {target: "target", time: "time", weight: "weight", offset: "offset", exposure: "exposure"}
            named = tuple((column, role) for column, role in needed.items() if column)
            stamps = tuple(Stamp.of(path) for path in files.paths)
            opened = (
                DelimitedSource(files, rules, named, like)
                if like is not None
                else _surveyed(files, stamps, rules, named)
            )
    refuse_equal_names(opened.schema.names, quoted(name))
    columns, readings = _read_as(opened, columns_of(opened.schema, categories, roles.drop, quoted(name)), given, like)
    # A dropped list of numbers stands for the columns that it becomes.
    stored_in = {name: place.field for name, place in places(opened.schema).items()}
    positions = [name for name, field in stored_in.items() if field != name and field in roles.drop]
    roles = replace(roles, drop=(*roles.drop, *positions))
    condition = Written(where) if isinstance(where, str) else where
    remarks = opened.remarks if isinstance(opened, DelimitedSource) else ()
    remarks = tuple(remark for remark in remarks if remark.column not in roles.drop)
    table = Table(opened, columns, roles, condition, name, readings, remarks)
    _check_roles(table, opened.schema.names)
    for category in categories:
        table.column(category)
    _compiled(condition, columns)
    return table


def _read_as(
    source: Source, columns: tuple[Column, ...], null: tuple[str, ...], like: Mapping[str, ColumnReading] | None
) -> tuple[tuple[Column, ...], dict[str, ColumnReading]]:
    """Return the columns with their kinds, and how the values of each are read."""
    if isinstance(source, DelimitedSource):
        # Texts count as stored in the type that they are read as.
        read = source.readings
        types = {Kind.NUMBER: pa.float64(), Kind.BOOLEAN: pa.bool_(), Kind.CATEGORY: pa.string()}
        kinds = {name: types.get(one.kind, pa.timestamp("us", one.zone)) for name, one in read.items()}
        return tuple(
            replace(column, kind=read[column.name].kind, stored_as=str(kinds[column.name])) for column in columns
        ), dict(read)
    found, readings = [], {}
    stored = places(source.schema)
    for column in columns:
        known = like.get(column.name) if like is not None else None
        # Categories are made of anything, and anything is made of texts; other kinds stay what they are stored as.
        made = known is not None and Kind.CATEGORY in (known.kind, column.kind)
        kind = known.kind if known is not None and made else column.kind
        zone = getattr(source.schema.field(stored[column.name].field).type, "tz", None)
        own = ColumnReading(kind, null, zone=zone)
        readings[column.name] = known if known is not None and known.kind is kind else own
        found.append(replace(column, kind=kind))
    return tuple(found), readings


def _check_roles(table: Table, stored: Sequence[str]) -> None:
    """Refuse roles whose column is missing, of the wrong kind or already has another role."""
    holders: dict[str, str] = {}
    for role in ("target", "time", "group", "weight", "offset", "exposure"):
        name = getattr(table.roles, role)
        if name is None:
            continue
        column = table.column(name)
        holder = "drop" if name in table.roles.drop else holders.setdefault(name, role)
        if holder != role:
            raise UsageError(
                f"column {quoted(name)} was given as {holder} and as {role}; a column has one role: leave one out",
                code="role-repeated",
            )
        if role == "time" and column.kind not in (Kind.TIMESTAMP, Kind.NUMBER):
            raise _wrong_kind(column, role, "timestamps or numbers: write times as 2008-01-31 23:59:00")
        if role in ("weight", "offset", "exposure") and column.kind is not Kind.NUMBER:
            raise _wrong_kind(column, role, "numbers: name another column")
    known = {*stored, *(column.name for column in table.columns)}
    for name in table.roles.drop:
        if name not in known:
            raise _missing(name, sorted(known), table.name)


def _wrong_kind(column: Column, role: str, needed: str) -> DataError:
    return DataError(
        f"the {role} column {quoted(column.name)} is a {column.kind} (stored as {column.stored_as}); it must hold "
        f"{needed}",
        code="role-kind",
    )


def _missing(name: str, names: list[str], table: str) -> DataError:
    what = f"there is no column {quoted(name)} in {quoted(table)}; {name_advice(name, names)}"
    return DataError(what, code="column-missing")


@lru_cache(maxsize=8)  # a command opens a file more than once, and each time would read it whole
def _surveyed(
    files: Files, stamps: tuple[Stamp, ...], rules: TextRules, roles: tuple[tuple[str, str], ...]
) -> DelimitedSource:
    del stamps  # with them a file that was written again is another one
    return DelimitedSource(files, rules, roles)


@lru_cache(maxsize=16)  # opening a table and each scan ask for the same one
def _compiled(condition: Condition | None, columns: tuple[Column, ...]) -> Filter | None:
    if condition is None:
        return None
    # Imported here because it loads sqlglot, which most tables do not need.
    from batchlearn.tables.where import compile_condition

    return compile_condition(condition, columns)
