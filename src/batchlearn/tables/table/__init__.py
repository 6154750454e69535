"""Table: the raw rows, what their columns are, and one lazy way to read them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa

from batchlearn.errors import DataError, quoted
from batchlearn.formatting.flags import flag
from batchlearn.formatting.notes import Code, Note
from batchlearn.tables.columns import Column, Kind, columns_of, is_index, places, refuse_equal_names, without_kind
from batchlearn.tables.conditions import Condition, Written
from batchlearn.tables.files import Files, PartOfFile, find
from batchlearn.tables.readings import ColumnReading, ColumnRemark, ColumnUse, ReadingRules, stored_reading
from batchlearn.tables.sources import ArrowSource, Source, arrow_table
from batchlearn.tables.sources.opening import open_files
from batchlearn.tables.table.kept import KeptColumns, KeptScan
from batchlearn.tables.table.roles import ROLES, Fading, Roles, WeightKind, check_roles, missing
from batchlearn.tables.table.scan import Scan, compiled
from batchlearn.tables.text.delimited import DelimitedSource
from batchlearn.tables.text.inspection import TextRules
from batchlearn.tables.text.times import check_zone, zone_of

__all__ = ["Column", "Kind", "ReadingRules", "Roles", "Scan", "Table", "WeightKind", "open_by", "read"]

# What --strict lets pass: names that a column has got, which change no value.
_OF_NAMES = (Code.UNNAMED_INDEX, Code.UNNAMED_COLUMN, Code.TRAILING_DELIMITERS, Code.REPEATED_NAME)


@dataclass(frozen=True)
class Table:
    """Rows as they are stored, with the kinds and roles of their columns; `read` makes one, nothing is read yet.

    Attributes:
        source: Where the rows come from.
        columns: Each column with its name, its kind (number, boolean, category or timestamp) and its stored type.
        roles: What columns are for: target, time, group, weight, offset, exposure, and those dropped.
        condition: What a row has to meet to be read; None where all are.
        name: What messages and reports call the table.
        readings: How the values of each column are read.
        remarks: What is worth saying about that.
        absent: Columns that a model reads and the table does not have; they are scanned as missing values.
        strict: Whether an absent column is refused, and a value that its column's reading does not take.
        outer_spaces: Whether spaces around a text tell it from others, as they did for models of before they did not.
        fading: How much less older rows count to learn from; None where rows of all ages count alike.
        files: The files that the rows are in; none where they are in memory or in a database elsewhere.
        kept: Columns that were read once and need not be decoded again; None where none were.

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
    remarks: tuple[ColumnRemark, ...] = ()
    absent: tuple[Column, ...] = ()
    strict: bool = False
    outer_spaces: bool = False
    fading: Fading | None = None
    files: tuple[Path, ...] = ()
    kept: KeptColumns | None = field(default=None, repr=False, compare=False)

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns to learn from, all but target, weight, offset, exposure, those dropped and those left out."""
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

    def like(self, readings: Mapping[str, ColumnReading]) -> Table:
        """Return the same rows with the columns of a model read as it reads them.

        Args:
            readings: How the model reads columns, by name; none change nothing.

        Returns:
            The table. Columns that it does not have are among its `absent` ones; how others are read stays.
        """
        if not readings:
            return self
        # What was said of times without a zone is of these rows.
        said = {name: own.zoneless for name, own in self.readings.items() if own.zoneless is not None}
        readings = {name: replace(each, zoneless=said.get(name, each.zoneless)) for name, each in readings.items()}
        source = self.source.like(readings)
        columns, found = _read_as(source, self.columns, TextRules(), {**self.readings, **readings})
        remarks = tuple(
            remark
            for remark in self.remarks
            if remark.column not in readings or (remark.used and found[remark.column] == self.readings[remark.column])
        )
        there = {*(column.name for column in columns), *without_kind(source.schema)}
        absent = tuple(Column(name, each.kind, "absent") for name, each in readings.items() if name not in there)
        return replace(self, source=source, columns=columns, readings=found, remarks=remarks, absent=absent)

    def uses(
        self, beside: Sequence[ColumnRemark] = (), only: Collection[str | None] | None = None
    ) -> tuple[ColumnUse, ...]:
        """Say of every column, in order, what it is read as and whether it is used.

        Args:
            beside: What else is worth saying of columns; one that is not used there is not used.
            only: The columns that are used; all that have a role or may be learned from unless given.

        Returns:
            An entry for each column.
        """
        remarks = (*self.remarks, *beside)
        out = {remark.column for remark in remarks if not remark.used} | {*self.roles.drop}
        held = {getattr(self.roles, role) for role in ROLES}
        kinds = {column.name: column.kind for column in (*self.columns, *self.absent)}
        stored = [name for name in places(self.source.schema) if not is_index(name)]
        absent = [column.name for column in self.absent if only is None or column.name in only]
        # What ends the lines of a text file has no name and yet a remark.
        names = dict.fromkeys([*stored, *absent, *(remark.column for remark in remarks)])
        return tuple(
            ColumnUse(
                name,
                kinds.get(name),
                name in (held | (kinds.keys() - out) if only is None else only),
                tuple(remark for remark in remarks if remark.column == name),
            )
            for name in names
        )

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
        raise missing(name, [column.name for column in self.columns], self.name)

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
        kept = self.kept
        return Scan(self, columns) if kept is None or not kept.serves(self, columns) else KeptScan(self, columns, kept)


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
    text: Sequence[str] = (),
    where: str | Condition | None = None,
    null: Sequence[str] = ("",),
    categories: Sequence[str] = (),
    encoding: str | None = None,
    date_format: str | None = None,
    decimal: Literal[".", ","] | None = None,
    zone: str | None = None,
    header: bool = True,
    query: str | None = None,
    sheet: str | None = None,
    strict: bool = False,
    like: Mapping[str, ColumnReading] | None = None,
) -> Table:
    """Open a table. Text files are read once, to see what their columns hold; nothing else is read yet.

    Args:
        source: A path (a Parquet, CSV, Arrow, JSON lines, Excel, SQLite or DuckDB file, a zip file with one of them,
            a folder of files, or a pattern such as `day-*.parquet`), a data frame, Arrow data, a dictionary of
            columns, or a NumPy array of two dimensions.
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
        text: Columns of free text, which are used by their words and word pairs.
        where: Keeps the rows for which a condition in SQL's words is true, such as "not cancelled".
        null: Texts that mean a missing value in text files, and numbers that do anywhere.
        categories: Columns that are categories although they look like numbers.
        encoding: That of text files which are neither UTF-8 nor marked, such as "latin-1".
        date_format: The form of dates in text files, in strptime's words, such as "%d/%m/%Y".
        decimal: The sign of decimals in text files.
        zone: The time zone of times that are stored without one, such as "Europe/Berlin", or with no more than their
            distance from UTC.
        header: Whether the first line of text files has the names of the columns.
        query: The SELECT that gives the rows of a SQLite or DuckDB file; not needed where it has one table.
        sheet: The sheet of an Excel file that has several.
        strict: Refuses columns that can only be read in a special way or in part, instead of saying so.
        like: How a model reads columns, by name; only others are looked at. Columns that it names may be absent, and
            there may be no rows.

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
    dropped, texts = (tuple([names] if isinstance(names, str) else names) for names in (drop, text))
    roles = Roles(target, time, group, weight, weight_kind, offset, exposure, dropped, texts)
    # Numbers among them are texts too.
    categories = [*categories, *texts]
    given = tuple(dict.fromkeys(text.strip() for text in null if text.strip()))
    rules = TextRules(given, frozenset(categories), encoding, date_format, decimal, header, zone)
    if zone is not None:
        check_zone(zone)
    if like and (given or zone):
        like = {
            name: replace(each, null=tuple(dict.fromkeys((*each.null, *given))), zoneless=zone or each.zoneless)
            for name, each in like.items()
        }
    opened, name, paths = _open(source, PartOfFile(query, sheet), rules, roles, like)
    stored = opened.schema.names
    needed = None if like is None else {*like, *(getattr(roles, role) for role in ROLES)}
    refuse_equal_names([each for each in stored if each not in roles.drop], quoted(name), needed)
    columns, readings = _read_as(opened, columns_of(opened.schema, categories), rules, like)
    refuse_equal_names([column.name for column in columns if column.name not in roles.drop], quoted(name), needed)
    # A dropped list of numbers stands for the columns that it becomes.
    stored_in = {name: place.field for name, place in places(opened.schema).items()}
    positions = [name for name, field in stored_in.items() if field != name and field in roles.drop]
    roles = replace(roles, drop=(*roles.drop, *positions))
    condition = Written(where) if isinstance(where, str) else where
    remarks = tuple(remark for remark in _remarks(opened, like) if remark.column not in roles.drop)
    table = Table(opened, columns, roles, condition, name, readings, remarks, strict=strict, files=paths)
    table = table.like(like or {})
    check_roles(table, opened.schema.names)
    for category in categories:
        table.column(category)
    if compiled(condition, columns) is not None:
        rows = Scan(table, [])
        table = replace(table, remarks=tuple(one for one in remarks if one.row is None or rows.meets(one.row)))
    if strict:
        _refuse_remarks(table)
    return table


def open_by(
    source: object,
    roles: Roles,
    rules: ReadingRules,
    like: Mapping[str, ColumnReading] | None = None,
    where: Condition | None = None,
) -> Table:
    """Open a table by what roles and rules say, as `read` does by single arguments; `where` counts if it is given."""
    return read(
        source,
        **asdict(roles),
        where=rules.where if where is None else where,
        null=rules.null,
        categories=rules.categories,
        encoding=rules.encoding,
        date_format=rules.date_format,
        decimal=rules.decimal,
        zone=rules.zone,
        header=not rules.no_header,
        strict=rules.strict,
        like=like,
    )


def _remarks(source: Source, like: Mapping[str, ColumnReading] | None) -> Iterator[ColumnRemark]:
    """Yield what is worth saying of columns as they are stored; nothing of those that a model does not read."""
    yield from source.remarks
    for name, stored in without_kind(source.schema).items() if like is None else ():
        note = Note(Code.UNSUPPORTED_TYPE, {"column": name, "stored": stored})
        yield ColumnRemark(name, False, note, flag("--drop", name))
    for name, files in source.lacking.items():
        if like is None or name in like:
            yield ColumnRemark(name, True, Note(Code.NOT_IN_ALL_FILES, {"column": name, "files": files}), None)


def _refuse_remarks(table: Table) -> None:
    """Refuse what is read in a special way or not at all: DataError with the first of it."""
    for remark in table.remarks:
        if remark.note.code not in _OF_NAMES:
            remedy = "correct the column" if remark.change is None else f"correct the column, or add {remark.change}"
            raise DataError(f"{remark.note} --strict refuses that: {remedy}, or leave --strict out.", code="strict")


def _open(
    source: object, part: PartOfFile, rules: TextRules, roles: Roles, like: Mapping[str, ColumnReading] | None
) -> tuple[Source, str, tuple[Path, ...]]:
    if not isinstance(source, (str, os.PathLike, Files)):
        arrow = arrow_table(source)
        if not arrow.num_rows and like is None:
            raise DataError("the table has 0 rows; at least one is needed", code="no-rows")
        return ArrowSource(arrow), "table", ()
    files = source if isinstance(source, Files) else find(source, part=part)
    needed = {getattr(roles, role): role for role in ("target", "time", "weight", "offset", "exposure")}
    opened = open_files(files, rules, {name: role for name, role in needed.items() if name}, like)
    return opened, files.name, tuple(files.paths)


def _read_as(
    source: Source, columns: tuple[Column, ...], rules: TextRules, like: Mapping[str, ColumnReading] | None
) -> tuple[tuple[Column, ...], dict[str, ColumnReading]]:
    """Return the columns with their kinds, and how the values of each are read."""
    types = {Kind.NUMBER: pa.float64(), Kind.BOOLEAN: pa.bool_(), Kind.CATEGORY: pa.string()}
    found, readings = [], {}
    stored = places(source.schema)
    for column in columns:
        if column.name in source.readings:
            # A text counts as stored in the type that it is read as.
            reading = readings[column.name] = source.readings[column.name]
            stored_as = types.get(reading.kind, pa.timestamp("us", reading.zone))
            found.append(replace(_with(column, reading), stored_as=str(stored_as)))
            continue
        known = like.get(column.name) if like is not None else None
        kind = known.kind if known is not None and _made_of(known.kind, column) else column.kind
        zone = zone_of(source.schema.field(stored[column.name].field).type)
        own = stored_reading(kind, rules.null, zone, rules.zone)
        readings[column.name] = known if known is not None and known.kind is kind else own
        found.append(_with(column, readings[column.name]))
    return tuple(found), readings


def _with(column: Column, reading: ColumnReading) -> Column:
    return replace(column, kind=reading.kind, zone=reading.zone)


def _made_of(kind: Kind, column: Column) -> bool:
    """Whether values as they are stored can be read as a kind: any as categories, and texts or none at all as any."""
    if kind is Kind.CATEGORY or column.kind is Kind.CATEGORY or column.stored_as == "null":
        return True
    return kind is Kind.NUMBER and column.kind is Kind.BOOLEAN
