"""How the texts of a column are read as numbers, times, booleans or categories: a value, and what it makes of texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.tables.columns import Kind
from batchlearn.tables.text.numbers import NumberStyle, numbers
from batchlearn.tables.text.times import MICROSECONDS, moments, seconds_of_day
from batchlearn.words.notes import Note

DICTIONARY = pa.dictionary(pa.int32(), pa.string())
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


@dataclass(frozen=True)
class ColumnRemark:
    """What is worth saying about how a column is read, and the flag that changes it."""

    column: str
    used: bool
    note: Note
    change: str | None


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
        try:
            return array.cast(MICROSECONDS if reading.zone is None else pa.timestamp("us", "UTC")).view(MICROSECONDS)
        except pa.ArrowInvalid:
            return None
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
            return moments(texts, reading.times, zoned=reading.zone is not None)
        case _ if reading.times is not None:
            return seconds_of_day(texts, reading.times)
        case _:
            return numbers(texts, NumberStyle(reading.decimal, reading.thousands, reading.affixes))


def _categories(indices: pa.Array, texts: pa.Array) -> pa.Array:
    """Return categories from the place of each row's text; texts equal but for outer spaces become one level."""
    levels = texts.drop_null().unique()
    if len(levels) == len(texts):
        return pa.DictionaryArray.from_arrays(indices.cast(pa.int32()), texts)
    places = pc.index_in(texts, levels)
    return pa.DictionaryArray.from_arrays(places.take(indices).cast(pa.int32()), levels)
