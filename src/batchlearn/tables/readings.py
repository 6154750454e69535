"""How the texts of a column are read as numbers, times, booleans or categories: a value, and what it makes of texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.errors import DataError, quoted
from batchlearn.formatting.notes import Note
from batchlearn.tables.columns import Kind
from batchlearn.tables.text.numbers import NumberStyle, numbers
from batchlearn.tables.text.times import MICROSECONDS, is_place, local_times, moments, moments_of, seconds_of_day

_FALSE_AND_TRUE = {"false": False, "true": True, "0": False, "1": True}


@dataclass(frozen=True)
class ColumnReading:
    """How the values of one column are read; part of a model, used by every command on it."""

    kind: Kind
    null: tuple[str, ...] = ()
    """Texts, outer spaces off, that mean a missing value, besides blank."""
    decimal: str = "."
    thousands: str = ""
    """What stands between groups of three digits: nothing, a comma, a point, a space or an apostrophe."""
    affixes: tuple[str, ...] = ()
    """Texts that are taken off numbers, such as "$", "%" or "EUR"; 12.3% is 12.3."""
    times: str | None = None
    """The form of times written as text, in strptime's words; None is ISO 8601. Of a number: a time of day."""
    zone: str | None = None
    """Calendar parts are taken in it; None: times without a zone."""
    zoneless: str | None = None
    """Whose clock times without a zone are of, where the reading or what is stored has none; None: they are refused."""

    def __post_init__(self) -> None:
        for name, sign, signs in (("decimal", self.decimal, [*".,"]), ("thousands", self.thousands, ["", *"., '"])):
            if sign not in signs:
                raise ValueError(f"{name} is {quoted(sign)}; needed is one of {signs}")


@dataclass(frozen=True)
class ColumnRemark:
    """What is worth saying about how a column is read, and the flag that changes it."""

    column: str
    used: bool
    note: Note
    change: str | None
    row: pa.RecordBatch | None = None
    """The row that it is about, as stored: under a condition that this does not meet there is nothing to say."""


@dataclass(frozen=True)
class ColumnUse:
    """What became of one column of a table: what it is read as, whether it is used, and what is said about that."""

    name: str
    kind: Kind | None
    """None where the column is stored as something that is of no kind."""
    used: bool
    remarks: tuple[ColumnRemark, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values: the remarks as one text, with the flag that changes the most."""
        return {
            "name": self.name,
            "read_as": None if self.kind is None else str(self.kind),
            "used": self.used,
            "reason": " ".join(str(remark.note) for remark in self.remarks) or None,
            "change": self.change,
        }

    @property
    def change(self) -> str | None:
        """The first flag that changes something: where the column is left out, that."""
        telling = sorted(self.remarks, key=lambda remark: remark.used)
        return next((remark.change for remark in telling if remark.change is not None), None)


@dataclass(frozen=True)
class ReadingRules:
    """How rows are read from a source: which of them, and what their values mean.

    Flags of the command line and keys of a project's file are made from these fields: `help` and `example` are theirs.
    """

    where: str | None = field(
        default=None,
        metadata={"help": "Keep the rows that meet a condition in SQL's words.", "example": "not cancelled"},
    )
    null: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Texts that mean a missing value in text files, besides blank ones: NA,none. Repeatable.",
            "example": ("NA",),
        },
    )
    categories: tuple[str, ...] = field(
        default=(), metadata={"help": "Columns of numbers that name categories: a,b. Repeatable.", "example": ("code",)}
    )
    encoding: str | None = field(
        default=None, metadata={"help": "Encoding of text files, where it is not UTF-8.", "example": "cp1252"}
    )
    date_format: str | None = field(
        default=None,
        metadata={"help": "Form of dates in text files, in strptime's words.", "example": "%d/%m/%Y"},
    )
    decimal: Literal[".", ","] | None = field(
        default=None, metadata={"help": "Sign of decimals in text files: a point or a comma.", "example": ","}
    )
    zone: str | None = field(
        default=None,
        metadata={
            "help": "Time zone of times that have none, or only their distance from UTC.",
            "example": "Europe/Berlin",
        },
    )
    no_header: bool = field(
        default=False,
        metadata={"help": "The first line of text files has values and no names.", "example": True},
    )
    strict: bool = field(
        default=False,
        metadata={"help": "Refuse columns that cannot be read as they stand.", "example": True},
    )


def parse(array: pa.Array, reading: ColumnReading) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Return the values that texts mean, and which of them are not blank and mean no value: those are missing too.

    Texts come as strings or dictionaries of them. NUMBER gives float64, BOOLEAN bool, TIMESTAMP timestamp[us] in UTC,
    CATEGORY dictionary<int32, string> of the texts without outer spaces.
    """
    if not pa.types.is_dictionary(array.type) and (quick := _as_programs_write(array, reading)) is not None:
        return quick, np.zeros(len(array), bool)
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    texts = pc.utf8_trim_whitespace(encoded.dictionary.cast(pa.string()))
    blank = pc.is_in(texts, pa.array(["", *reading.null], pa.string())).fill_null(True)
    texts = pc.if_else(blank, pa.scalar(None, pa.string()), texts)
    if reading.kind is Kind.CATEGORY:
        return _categories(encoded.indices, texts), np.zeros(len(array), bool)
    values = _values(texts, reading)
    unreadable = pc.and_(pc.is_null(values), pc.invert(blank))
    if reading.kind is Kind.NUMBER:
        values = without(values, reading)
    indices = encoded.indices
    return values.take(indices), np.asarray(unreadable.take(indices).fill_null(False))


def _as_programs_write(array: pa.Array, reading: ColumnReading) -> pa.Array | None:
    """Return the values where all are written as a program would, which Arrow reads fastest; else None."""
    if reading.kind is Kind.NUMBER and reading.times is None and reading.decimal == "." and not reading.affixes:
        try:
            values = array.cast(pa.float64())
        except pa.ArrowInvalid:
            return None
        return without(values, reading) if all_finite(values) else None
    if reading.kind is Kind.TIMESTAMP and reading.times is None and not reading.null:
        for zoned in (True, False):
            try:
                values = array.cast(pa.timestamp("us", "UTC") if zoned else MICROSECONDS).view(MICROSECONDS)
            except pa.ArrowInvalid:
                continue
            return _as_read(values, zoned, reading)
    return None


def all_finite(values: pa.Array) -> bool:
    """Whether no number among the values is infinite or NaN."""
    return bool(pc.all(pc.is_finite(values)).as_py() is not False)


def without(values: pa.Array, reading: ColumnReading) -> pa.Array:
    """Return numbers without those that mean a missing value, however they are written: -999 is -999.0."""
    if not reading.null:
        return values
    plain = numbers(pa.array(reading.null, pa.string()), NumberStyle()).drop_null()
    missing = pc.is_in(values, plain) if len(plain) else None
    return values if missing is None else pc.if_else(missing, pa.scalar(None, values.type), values)


def _values(texts: pa.Array, reading: ColumnReading) -> pa.Array:
    """Return the values of texts without outer spaces: null where one means none."""
    match reading.kind:
        case Kind.BOOLEAN:
            words = pc.index_in(pc.utf8_lower(texts), pa.array(list(_FALSE_AND_TRUE)))
            return pa.array(list(_FALSE_AND_TRUE.values())).take(words)
        case Kind.TIMESTAMP:
            forms: list[tuple[str | None, bool]]
            forms = [] if reading.times is None else [(reading.times, "%z" in reading.times)]
            # ISO 8601, as other formats write times, is taken for no other form.
            forms += [(None, True), (None, False)]
            found = [_as_read(moments(texts, form, zoned=zoned), zoned, reading) for form, zoned in forms]
            known = [values for values in found if values is not None]
            return pc.coalesce(*known) if known else pa.nulls(len(texts), MICROSECONDS)
        case _ if reading.times is not None:
            return seconds_of_day(texts, reading.times)
        case _:
            return numbers(texts, NumberStyle(reading.decimal, reading.thousands, reading.affixes))


def stored_reading(kind: Kind, null: tuple[str, ...], stored: str | None, given: str | None) -> ColumnReading:
    """Return how a column is read whose times are stored in a zone, or in none, where another was given for those.

    Where only the distance from UTC is stored, as databases do, the zone given says whose clock is meant.
    """
    if kind is not Kind.TIMESTAMP:
        return ColumnReading(kind, null)
    zone = given if given is not None and (stored is None or not is_place(stored)) else stored
    return ColumnReading(kind, null, zone=zone, zoneless=given)


def _as_read(values: pa.Array, zoned: bool, reading: ColumnReading) -> pa.Array | None:
    """Bring moments in UTC (`zoned`), or what a clock showed, to what a reading has; None where no zone joins them."""
    if zoned == (reading.zone is not None):
        return values
    if reading.zoneless is None:
        return None
    return local_times(values, reading.zoneless) if zoned else moments_of(values, reading.zoneless)


def in_zone(values: pa.Array, zoned: bool, reading: ColumnReading, name: str, where: str) -> pa.Array:
    """Bring moments in UTC (`zoned`), or what a clock showed, to what a reading has.

    Raises DataError where no zone joins them: what a clock showed is hours from the moment of the same figures.
    """
    read = _as_read(values, zoned, reading)
    if read is not None:
        return read
    have, lack = ("have a zone", "have none") if zoned else ("have no zone", "have one")
    raise DataError(
        f"the times in column {quoted(name)} of {where} {have}, and those that the model was trained on {lack}: they "
        f"would be hours off; say whose clock the times without a zone are of with --zone, as in --zone Europe/Berlin",
        code="time-zones-mixed",
    )


def refuse_other_times(texts: pa.Array, reading: ColumnReading, name: str, where: str) -> None:
    """Raise DataError where texts that a reading does not take are times all the same, with a zone or without one."""
    if reading.times is None and reading.zoneless is None:
        zoned = reading.zone is None
        others = moments(pc.utf8_trim_whitespace(texts.cast(pa.string())), None, zoned=zoned).drop_null()
        if len(others):
            in_zone(others, zoned, reading, name, where)


def _categories(indices: pa.Array, texts: pa.Array) -> pa.Array:
    """Return categories from the place of each row's text; texts equal but for outer spaces become one level."""
    levels = texts.drop_null().unique()
    if len(levels) == len(texts):
        return pa.DictionaryArray.from_arrays(indices.cast(pa.int32()), texts)
    places = pc.index_in(texts, levels)
    return pa.DictionaryArray.from_arrays(places.take(indices).cast(pa.int32()), levels)
