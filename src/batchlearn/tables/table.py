"""Table: the raw rows, what their columns are, and one lazy way to read them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pyarrow as pa

from batchlearn.errors import DataError, UsageError, quoted
from batchlearn.tables.columns import (
    Canonical,
    Column,
    Kind,
    columns_of,
    comparable,
    frequencies,
    name_advice,
    places,
    refuse_equal_names,
    stored_arrays,
)
from batchlearn.tables.conditions import Condition, Written
from batchlearn.tables.delimited import DelimitedSource
from batchlearn.tables.files import Files, Format, find
from batchlearn.tables.sources import ArrowSource, ParquetSource, Source, arrow_table

if TYPE_CHECKING:
    from batchlearn.tables.where import Filter

__all__ = ["Column", "Kind", "ReadingRules", "Roles", "Scan", "Table", "WeightKind", "read"]

WeightKind = Literal["importance", "frequency"]
# Rows of a batch that are repeated as often as their weights say come in batches of at most so many.
_REPEATED_AT_ONCE = 65_536


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
    weight_kind: WeightKind | None = field(
        default=None,
        metadata={
            "help": "importance, where only ratios of weights matter (unless given), or frequency: rows repeated.",
            "example": "frequency",
        },
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

    @property
    def frequency(self) -> str | None:
        """The column that says how often each row occurs; None where weights are none or of importance."""
        return self.weight if self.weight_kind == "frequency" else None


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
    """Rows as they are stored, with the kinds and roles of their columns; `read` makes one, nothing is read yet.

    Attributes:
        source: Where the rows come from.
        columns: Each column with its name, its kind (number, boolean, category or timestamp) and its stored type.
        roles: What columns are for: target, time, group, weight, offset, exposure, and those dropped.
        condition: What a row has to meet to be read; None where all are.
        name: What messages and reports call the table.
        outer_spaces: Whether spaces around a text tell it from others, as they did for models of before they did not.

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
    outer_spaces: bool = False

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns to learn from, which are all but target, weight, offset, exposure and those dropped."""
        return tuple(column for column in self.columns if column.name not in self.roles.apart)

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
            categories as dictionaries of texts and timestamps as microseconds in UTC. Where weights are of kind
            frequency each row comes as often as its weight says, and once where that is missing or 0.

        Raises:
            DataError: A column is missing, or while rows are read a value is not what its column holds.
            UsageError: The condition cannot be read.
        """
        return Scan(self, columns)


class Scan(Iterator[pa.RecordBatch]):
    """The rows of a table, batch by batch; the two counts are right once it is exhausted.

    A number is float64 (NaN is null), a boolean bool, a category dictionary<int32, string> with a dictionary of its
    own in each batch, a timestamp timestamp[us] in UTC. No batch is empty. A row whose weight is a frequency comes as
    often as that says; one without a frequency above 0 comes once, for the ledger to set it aside.
    """

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        self.rows_read = 0
        """Rows read from the source so far, those that meet the condition as often as they are repeated."""
        self.rows_kept = 0
        """Rows among them that meet the condition: all, if there is none."""
        self._place = 0
        self._again: Iterator[tuple[int, pa.RecordBatch]] = iter(())
        frequency = table.roles.frequency
        self._frequency: Canonical | None = None
        if frequency is not None:
            self._frequency = Canonical(table.column(frequency), table.name, is_target=False)
        wanted = [table.column(name) for name in columns]
        target = table.roles.target
        self._canonical = [
            Canonical(column, table.name, is_target=column.name == target, outer_spaces=table.outer_spaces)
            for column in wanted
        ]
        self._places = places(table.source.schema)
        self._kinds = {column.name: column.kind for column in table.columns}
        self._condition = _compiled(table.condition, table.columns)
        named = [*columns, *(self._condition.columns if self._condition else ()), *([frequency] if frequency else [])]
        stored = dict.fromkeys(self._places[name].field for name in named)
        # Counting rows alone needs some column too.
        self._stored = list(stored) or [self._places[table.columns[0].name].field]
        self._batches = table.source.batches(self._stored)

    def __next__(self) -> pa.RecordBatch:
        """Return the next rows, at least one."""
        while (again := next(self._again, None)) is None:
            batch = next(self._batches)
            first, read = self._place + 1, batch.num_rows
            self._place += read
            rows: range | np.ndarray[Any, Any] = range(first, self._place + 1)
            if self._condition is not None:
                batch, kept = self._filtered(batch, self._condition)
                rows = first + kept
            self.rows_read += read - batch.num_rows
            if not batch.num_rows:
                continue
            names = [canonical.column.name for canonical in self._canonical]
            stored = stored_arrays(batch, [self._places[name] for name in names])
            arrays = [canonical(array, rows) for canonical, array in zip(self._canonical, stored, strict=True)]
            found = pa.RecordBatch.from_arrays(arrays, names=names)
            if self._frequency is None:
                return self._counted(batch.num_rows, found)
            (times,) = stored_arrays(batch, [self._places[self._frequency.column.name]])
            self._again = _repeated(found, frequencies(self._frequency, times, rows))
        return self._counted(*again)

    def _counted(self, rows: int, batch: pa.RecordBatch) -> pa.RecordBatch:
        self.rows_read += rows
        self.rows_kept += rows
        return batch

    def _filtered(self, batch: pa.RecordBatch, condition: Filter) -> tuple[pa.RecordBatch, np.ndarray[Any, Any]]:
        """Return the rows that meet the condition and their positions in the batch."""
        stored = stored_arrays(batch, [self._places[name] for name in condition.columns])
        tested = [comparable(array, self._kinds[name]) for array, name in zip(stored, condition.columns, strict=True)]
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
    weight_kind: WeightKind | None = None,
    offset: str | None = None,
    exposure: str | None = None,
    drop: Sequence[str] = (),
    where: str | Condition | None = None,
    null: Sequence[str] = ("",),
    categories: Sequence[str] = (),
) -> Table:
    """Open a table without reading its rows.

    Args:
        source: A path (a Parquet or CSV file, a folder of them, or a pattern such as `day-*.parquet`), a data frame,
            Arrow data, a dictionary of columns, or a NumPy array of two dimensions.
        target: The column to predict.
        time: The column of timestamps or numbers that orders the rows.
        group: The column of what rows belong to, such as a person or a machine.
        weight: The column of numbers, 0 or more, that says how much each row counts; each counts once without it.
        weight_kind: "importance", the default: what counts is how weights compare, and all of them times one number
            changes nothing. "frequency": a whole number that says how often the row occurs, and everything is as if it
            stood there so often.
        offset: The column of numbers that is added to the linear predictor.
        exposure: The column of numbers above 0 whose logarithm is added to it, such as days at risk.
        drop: Columns to leave out.
        where: Keeps the rows for which a condition in SQL's words is true, such as "not cancelled".
        null: Texts that mean a missing value in CSV files.
        categories: Columns that are categories although they look like numbers.

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
    dropped = tuple([drop] if isinstance(drop, str) else drop)
    roles = Roles(target, time, group, weight, weight_kind, offset, exposure, dropped)
    opened: Source
    if not isinstance(source, (str, os.PathLike, Files)):
        opened, name = ArrowSource(arrow_table(source)), "table"
    else:
        files = source if isinstance(source, Files) else find(source)
        name = files.name
        if files.format is Format.PARQUET:
            opened = ParquetSource(files)
        else:
            opened = DelimitedSource(files, tuple(null), frozenset(categories))
    refuse_equal_names(opened.schema.names, quoted(name))
    columns = columns_of(opened.schema, categories, roles.drop, quoted(name))
    # A dropped list of numbers stands for the columns that it becomes.
    stored_in = {name: place.field for name, place in places(opened.schema).items()}
    positions = [name for name, field in stored_in.items() if field != name and field in roles.drop]
    roles = replace(roles, drop=(*roles.drop, *positions))
    condition = Written(where) if isinstance(where, str) else where
    table = Table(opened, columns, roles, condition, name)
    _check_roles(table, opened.schema.names)
    for category in categories:
        table.column(category)
    _compiled(condition, columns)
    return table


def _check_roles(table: Table, stored: Sequence[str]) -> None:
    """Refuse roles whose column is missing, of the wrong kind or already has another role."""
    kind = table.roles.weight_kind
    if kind is not None and (kind not in get_args(WeightKind) or table.roles.weight is None):
        without = "" if table.roles.weight else ", and no column of weights was"
        raise UsageError(
            f"the kind of weights was given as {quoted(kind)}{without}; it needs to be importance or frequency, beside "
            "the column of weights (--weight)",
            code="weight-kind",
        )
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


def _repeated(batch: pa.RecordBatch, times: np.ndarray[Any, Any]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the rows of a batch, each so many times, some at once, with their number: a batch may have no column."""
    ends = np.cumsum(times)
    for start in range(0, int(ends[-1]), _REPEATED_AT_ONCE):
        entries = np.arange(start, min(start + _REPEATED_AT_ONCE, int(ends[-1])))
        rows = pa.array(np.searchsorted(ends, entries, side="right"))
        yield len(entries), batch.take(rows) if batch.num_columns else batch


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
