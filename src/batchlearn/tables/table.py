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
    check_zone,
    columns_of,
    comparable,
    is_text,
    kind_of,
    name_advice,
    places,
    refuse_equal_names,
    stored_arrays,
    zone_of,
)
from batchlearn.tables.conditions import Condition, Written
from batchlearn.tables.files import Files, Format, find
from batchlearn.tables.readings import (
    ColumnReading,
    ColumnRemark,
    in_zone,
    parse,
    refuse_other_times,
    stored_reading,
    without,
)
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
    zone: str | None = field(
        default=None,
        metadata={"help": "Time zone of times that are stored without one.", "example": "Europe/Berlin"},
    )


@dataclass(frozen=True)
class Table:
    """Rows as they are stored, with the kinds and roles of their columns; `read` makes one, nothing is read yet.

    Attributes:
        source: Where the rows come from.
        columns: Each column with its name, its kind (number, boolean, category or timestamp) and its stored type.
        roles: What columns are for: target, time, group, weight, offset, exposure, and those dropped.
        condition: What a row has to meet to be read; None where all are.
        name: What messages and reports call the table.

    Example:
        >>> import batchlearn as bl
        >>> table = bl.read({"hour": [7, 8, 9], "delay": [1.0, 4.0, 2.0]}, target="delay", where="hour < 9")
        >>> [column.name for column in table.features]
        ['hour']
        >>> [batch.column("delay").to_pylist() for batch in table.scan(["delay"])]
        [[1.0, 4.0]]
    """

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
        """Look a column up.

        Args:
            name: Its exact name.

        Returns:
            Its name, kind and stored type.

        Raises:
            DataError: There is none of this name; the message has the nearest one.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise _missing(name, [column.name for column in self.columns], self.name)

    def scan(self, columns: Sequence[str]) -> Scan:
        """Read columns of all rows that meet the condition, in the order in which they are stored.

        Args:
            columns: The names of the columns.

        Returns:
            Arrow record batches, none of them empty, with numbers as float64 (missing is null), booleans as bool,
            categories as dictionaries of texts and timestamps as microseconds in UTC.

        Raises:
            DataError: A column is missing, or while rows are read a value is not what its column holds.
            UsageError: The condition cannot be read.
        """
        return Scan(self, columns)


class Scan(Iterator[pa.RecordBatch]):
    """The rows of a table, batch by batch; the two counts are right once it is exhausted.

    A number is float64 (NaN is null), a boolean bool, a category dictionary<int32, string> with a dictionary of its
    own in each batch, a timestamp timestamp[us] in UTC. No batch is empty.
    """

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self._readings, self._untyped, self._name = table.readings, table.source.untyped, table.name
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
                    values = self._in_zone(name, array, canonical(values, rows))
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
        if reading.kind is Kind.TIMESTAMP and unreadable.any():
            refuse_other_times(array.filter(pa.array(unreadable)), reading, name, quoted(self._name))
        return values, int(np.count_nonzero(unreadable))

    def _in_zone(self, name: str, stored: pa.Array, values: pa.Array) -> pa.Array:
        """Return times that are stored as such in the zone of their reading; what is stored as text was read so."""
        if self._readings[name].kind is not Kind.TIMESTAMP or kind_of(stored.type) is not Kind.TIMESTAMP:
            return values
        return in_zone(values, zone_of(stored.type) is not None, self._readings[name], name, quoted(self._name))

    def _filtered(self, batch: pa.RecordBatch, condition: Filter) -> tuple[pa.RecordBatch, np.ndarray[Any, Any]]:
        """Return the rows that meet the condition and their positions in the batch."""
        stored = stored_arrays(batch, [self._places[name] for name in condition.columns])
        tested = [
            self._in_zone(name, array, comparable(self._read(name, array)[0], self._kinds[name]))
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
    zone: str | None = None,
    like: Mapping[str, ColumnReading] | None = None,
) -> Table:
    """Open a table. Text files are read once, to see what their columns hold; nothing else is read yet.

    Args:
        source: A path (a Parquet or CSV file, a folder of them, or a pattern such as `day-*.parquet`), a data frame,
            Arrow data, a dictionary of columns, or a NumPy array of two dimensions.
        target: The column to predict.
        time: The column of timestamps or numbers that orders the rows.
        group: The column of what rows belong to, such as a person or a machine.
        weight: The column of numbers, 0 or more, that says how much each row counts; each counts once without it.
        offset: The column of numbers that is added to the linear predictor.
        exposure: The column of numbers above 0 whose logarithm is added to it, such as days at risk.
        drop: Columns to leave out.
        where: Keeps the rows for which a condition in SQL's words is true, such as "not cancelled".
        null: Texts that mean a missing value in text files, and numbers that do anywhere.
        categories: Columns that are categories although they look like numbers.
        encoding: That of text files which are neither UTF-8 nor marked, such as "latin-1".
        date_format: The form of dates in text files, in strptime's words, such as "%d/%m/%Y".
        decimal: The sign of decimals in text files.
        header: Whether the first line of text files has the names of the columns.
        zone: The time zone of times that are stored without one, such as "Europe/Berlin"; also of those of which only
            the distance from UTC is stored.
        like: How a model reads columns, by name; only others are looked at.

    Returns:
        The table; its rows are read when it is trained on, evaluated or scanned.

    Raises:
        UsageError: The source is of no known kind, a column has two roles, or the condition cannot be read.
        DataError: The file or a column is missing, the source has no rows, or a role's column is of the wrong kind.
        ResourceError: The file may not be read.

    Example:
        >>> import batchlearn as bl
        >>> flights = {"day": [1, 1, 2], "carrier": ["AA", "DL", "AA"], "delay": [3.0, 12.5, 0.0]}
        >>> table = bl.read(flights, target="delay", time="day")
        >>> {column.name: str(column.kind) for column in table.columns}
        {'day': 'number', 'carrier': 'category', 'delay': 'number'}
    """
    roles = Roles(target, time, group, weight, offset, exposure, tuple([drop] if isinstance(drop, str) else drop))
    given = tuple(dict.fromkeys(text.strip() for text in null if text.strip()))
    if zone is not None:
        check_zone(zone)
        like = like and {name: replace(each, zoneless=zone) for name, each in like.items()}
    rules = TextRules(given, frozenset(categories), encoding, date_format, decimal, header, zone)
    opened, name = _open(source, rules, roles, like)
    refuse_equal_names(opened.schema.names, quoted(name))
    columns, readings = _read_as(opened, columns_of(opened.schema, categories, roles.drop, quoted(name)), rules, like)
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


def _open(
    source: object, rules: TextRules, roles: Roles, like: Mapping[str, ColumnReading] | None
) -> tuple[Source, str]:
    if not isinstance(source, (str, os.PathLike, Files)):
        return ArrowSource(arrow_table(source)), "table"
    files = source if isinstance(source, Files) else find(source)
    if files.format is Format.PARQUET:
        return ParquetSource(files), files.name
    needed = {getattr(roles, role): role for role in ("target", "time", "weight", "offset", "exposure")}
    return DelimitedSource(files, rules, {name: role for name, role in needed.items() if name}, like), files.name


def _read_as(
    source: Source, columns: tuple[Column, ...], rules: TextRules, like: Mapping[str, ColumnReading] | None
) -> tuple[tuple[Column, ...], dict[str, ColumnReading]]:
    """Return the columns with their kinds, and how the values of each are read."""
    if isinstance(source, DelimitedSource):
        read = source.readings
        return tuple(_with(column, read[column.name]) for column in columns), dict(read)
    found, readings = [], {}
    stored = places(source.schema)
    for column in columns:
        known = like.get(column.name) if like is not None else None
        # Categories are made of anything, and anything is made of texts; other kinds stay what they are stored as.
        made = known is not None and Kind.CATEGORY in (known.kind, column.kind)
        kind = known.kind if known is not None and made else column.kind
        zone = zone_of(source.schema.field(stored[column.name].field).type)
        own = stored_reading(kind, rules.null, zone, rules.zone)
        readings[column.name] = known if known is not None and known.kind is kind else own
        found.append(_with(column, readings[column.name]))
    return tuple(found), readings


def _with(column: Column, reading: ColumnReading) -> Column:
    return replace(column, kind=reading.kind, zone=reading.zone)


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


@lru_cache(maxsize=16)  # opening a table and each scan ask for the same one
def _compiled(condition: Condition | None, columns: tuple[Column, ...]) -> Filter | None:
    if condition is None:
        return None
    # Imported here because it loads sqlglot, which most tables do not need.
    from batchlearn.tables.where import compile_condition

    return compile_condition(condition, columns)
