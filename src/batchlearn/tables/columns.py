"""What a column is (one of four kinds), and how an Arrow column of any type becomes that kind's one canonical type."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlearn.errors import DataError, quoted
from batchlearn.formatting.flags import flag
from batchlearn.kernels.design import Floats

EXACT_INTEGER = 2**53
"""Above it neighbouring integers share one float64, so an integer would silently become another one."""
LARGEST = 1e150
"""Above it a square overflows float64, and every total of squares with it."""

# What one row may stand for: more is a mistake, and no machine holds so many.
_MOST_TIMES = 1_000_000_000
_SECONDS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_MICROSECONDS = pa.timestamp("us")


class Kind(StrEnum):
    """What the values of a column are."""

    NUMBER = "number"
    CATEGORY = "category"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True)
class Column:
    """A column of a table; `stored_as` is its Arrow type as text, for messages.

    Of times that are moments, `zone` is whose clock their calendar parts and the literals of conditions are of; times
    without one are what some clock showed.
    """

    name: str
    kind: Kind
    stored_as: str
    zone: str | None = None


@dataclass(frozen=True)
class Place:
    """Where a column's values are stored: a field, or one position of a field that holds lists of one size."""

    field: str
    position: int | None = None


def kind_of(stored: pa.DataType) -> Kind | None:
    """Give the kind that an Arrow type is read as, or None where there is none."""
    if pa.types.is_dictionary(stored):
        return kind_of(stored.value_type)
    if is_text(stored):
        return Kind.CATEGORY
    if pa.types.is_boolean(stored):
        return Kind.BOOLEAN
    if pa.types.is_timestamp(stored) or pa.types.is_date(stored):
        return Kind.TIMESTAMP
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    if any(test(stored) for test in (*numeric, pa.types.is_time, pa.types.is_duration)):
        return Kind.NUMBER
    return None


def kind_of_field(field: pa.Field) -> Kind | None:
    """Give the kind that a column is read as; None for extension types too, whether this process knows them or not."""
    if isinstance(field.type, pa.BaseExtensionType) or b"ARROW:extension:name" in (field.metadata or {}):
        return None
    return kind_of(field.type)


def is_text(stored: pa.DataType) -> bool:
    """Say whether an Arrow type holds text, in any of its layouts."""
    return bool(pa.types.is_string(stored) or pa.types.is_large_string(stored) or pa.types.is_string_view(stored))


def _is_vector(stored: pa.DataType) -> bool:
    """Say whether each row holds one list of numbers of a size known in advance."""
    return bool(pa.types.is_fixed_size_list(stored)) and kind_of(stored.value_type) is Kind.NUMBER


def places(schema: pa.Schema) -> dict[str, Place]:
    """Map every column name to where it is stored; lists of one size give one column per position."""
    found: dict[str, Place] = {}
    for field in schema:
        if _is_vector(field.type):
            found.update({f"{field.name}_{i}": Place(field.name, i) for i in range(field.type.list_size)})
        else:
            found[field.name] = Place(field.name)
    return found


def columns_of(schema: pa.Schema, categories: Collection[str]) -> tuple[Column, ...]:
    """List the columns of a schema that have a kind, in order; those in `categories` are categories.

    The unnamed index of a pandas frame is none.
    """
    found: list[Column] = []
    for field in schema:
        if is_index(field.name):
            continue
        if _is_vector(field.type):
            stored = str(field.type.value_type)
            found += [Column(f"{field.name}_{i}", Kind.NUMBER, stored) for i in range(field.type.list_size)]
            continue
        kind = kind_of_field(field)
        if kind is not None:
            found.append(Column(field.name, Kind.CATEGORY if field.name in categories else kind, str(field.type)))
    return tuple(found)


def is_index(name: str) -> bool:
    """Say whether a column holds row labels that pandas stores under a name of its own: they describe nothing."""
    return name.startswith("__index_level_") and name.endswith("__")


def without_kind(schema: pa.Schema) -> dict[str, str]:
    """Return the columns of a schema that are of no kind, each with how it is stored."""
    odd = [field for field in schema if not _is_vector(field.type) and kind_of_field(field) is None]
    return {field.name: str(field.type) for field in odd}


def unsupported(name: str, stored: str, where: str) -> DataError:
    """Make the error for a column that is needed and of no kind."""
    return DataError(
        f"column {quoted(name)} of {where} is stored as {quoted(stored)}; a column must hold numbers, text, booleans, "
        "dates or lists of numbers of one size: name another, or convert it first",
        code="unsupported-type",
    )


def refuse_equal_names(names: Sequence[str], where: str, needed: Collection[str] | None = None) -> None:
    """Raise DataError where two names are equal, or look equal: after Unicode normalisation and without case.

    Where only some columns are needed, those alone must differ from all others, letter by letter.
    """
    seen: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFKC", name).casefold() if needed is None else name
        if folded in seen and (needed is None or name in needed):
            twin = seen[folded]
            same = f"two columns named {quoted(name)}"
            alike = f"columns {quoted(twin)} and {quoted(name)}, which differ only in case or in Unicode form"
            # Dropping one of two equal names would drop both.
            drop = "" if twin == name else f", or leave one out ({flag('--drop', name)})"
            raise DataError(
                f"{where} has {same if twin == name else alike}; every column needs a name of its own: rename "
                f"one{drop}",
                code="column-name-repeated",
            )
        seen[folded] = name


def name_advice(name: str, names: Sequence[str]) -> str:
    """Say which column a name that is not in the table may mean, or which there are."""
    folded = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.5)
    return f"did you mean {quoted(folded[close[0]])}?" if close else f"it has {quoted(', '.join(names), 200)}"


def stored_arrays(batch: pa.RecordBatch, wanted: Sequence[Place]) -> list[pa.Array]:
    """Take the values of several columns, as they are stored, out of a batch."""
    vectors = {place.field: batch.column(place.field) for place in wanted if place.position is not None}
    tables = {name: _positions(array) for name, array in vectors.items()}
    return [
        batch.column(place.field) if place.position is None else tables[place.field][place.position] for place in wanted
    ]


def _positions(array: pa.FixedSizeListArray) -> list[pa.Array]:
    """Split lists of one size into one array for each position."""
    size = array.type.list_size
    if array.null_count or array.flatten().null_count:
        return [pc.list_element(array, i) for i in range(size)]
    # Arrow's list_element takes ten times as long, which matters for pictures.
    return [pa.array(values) for values in np.ascontiguousarray(array.flatten().to_numpy().reshape(-1, size).T)]


def comparable(array: pa.Array, kind: Kind) -> pa.Array:
    """Bring a column to a type that conditions compare: int64 or float64, string, bool, timestamp[us].

    Nothing is refused here: a condition may exist to leave the very rows out that would be.
    """
    if kind is Kind.CATEGORY:
        return _categories(array).cast(pa.string())
    if kind is Kind.BOOLEAN:
        return _plain(array)
    if kind is Kind.TIMESTAMP:
        return _timestamps(array)
    array = _plain(array)
    if pa.types.is_uint64(array.type):
        largest = pc.max(array).as_py() or 0
        return array.cast(pa.int64() if largest < 2**63 else pa.float64(), safe=False)
    return array.cast(pa.int64()) if pa.types.is_integer(array.type) else _numbers(array)


class Canonical:
    """Turns one column, batch by batch, into its canonical type, and refuses values that would spoil a total.

    NUMBER float64 (NaN is null), BOOLEAN bool, CATEGORY dictionary<int32, string> without outer spaces unless they are
    kept, TIMESTAMP timestamp[us] in UTC.
    """

    def __init__(self, column: Column, where: str, *, is_target: bool, outer_spaces: bool = False) -> None:
        self.column = column
        self.where = where
        self.is_target = is_target
        self.outer_spaces = outer_spaces

    def __call__(self, array: pa.Array, rows: Sequence[int] | np.ndarray[Any, Any]) -> pa.Array:
        """Convert `array`; `rows` are the numbers of its rows in the source, from 1, for messages."""
        match self.column.kind:
            case Kind.CATEGORY:
                array = _categories(array)
                try:
                    array.dictionary.validate(full=True)
                except pa.ArrowInvalid as problem:
                    raise DataError(
                        f"column {quoted(self.column.name)} of {self.where} holds text that is not UTF-8 ({problem}); "
                        "write it again as UTF-8, or drop the column",
                        code="not-utf8",
                    ) from problem
                return array if self.outer_spaces else without_outer_spaces(array)
            case Kind.BOOLEAN:
                return _plain(array).cast(pa.bool_())
            case Kind.TIMESTAMP:
                try:
                    return _timestamps(array)
                except pa.ArrowInvalid as problem:
                    raise DataError(
                        f"column {quoted(self.column.name)} of {self.where} holds a time that microseconds since 1970 "
                        f"cannot ({problem}); times must be within the years ±290,000: correct it, or drop the column",
                        code="time-out-of-range",
                    ) from problem
            case Kind.NUMBER:
                array = _plain(array)
                if pa.types.is_integer(array.type) and array.type in (pa.int64(), pa.uint64()):
                    self._refuse_inexact(array, rows)
                return self._checked_numbers(_numbers(array), rows)

    def _refuse_inexact(self, array: pa.Array, rows: Sequence[int] | np.ndarray[Any, Any]) -> None:
        bounds = pc.min_max(array)
        low, high = bounds["min"].as_py(), bounds["max"].as_py()
        if low is None or (low >= -EXACT_INTEGER and high <= EXACT_INTEGER):
            return
        values = array.fill_null(0).to_numpy(zero_copy_only=False)
        too_low = values < -EXACT_INTEGER if low < 0 else False  # unsigned values have no such side
        index = int(np.flatnonzero((values > EXACT_INTEGER) | too_low)[0])
        name, place = self.column.name, f"row {rows[index]:,} of {self.where}"
        remedy = f"add {flag('--categories', name)} if they name something, or {flag('--drop', name)}"
        raise inexact_integer(name, str(array[index].as_py()), place, remedy)

    def _checked_numbers(self, array: pa.Array, rows: Sequence[int] | np.ndarray[Any, Any]) -> pa.Array:
        bounds = pc.min_max(array)
        low, high = bounds["min"].as_py(), bounds["max"].as_py()
        if low is None or (low >= -LARGEST and high <= LARGEST):
            return array
        values = array.fill_null(0.0).to_numpy(zero_copy_only=False)
        index = int(np.flatnonzero(np.abs(values) > LARGEST)[0])
        value, place = float(values[index]), f"row {rows[index]:,} of {self.where}"
        name = quoted(self.column.name)
        if np.isinf(value) and self.is_target:
            raise DataError(
                f"the label {name} is {value} in {place}; a label must be finite: correct it, or leave the row out "
                "with --where",
                code="label-infinite",
            )
        if np.isinf(value):
            raise DataError(
                f"column {name} is {value} in {place}; numbers must be finite: store a missing value instead, or leave "
                "the row out with --where",
                code="number-infinite",
            )
        raise DataError(
            f"column {name} is {value} in {place}; its square overflows, so numbers must be within ±{LARGEST:g}: use "
            "another unit, or leave the row out with --where",
            code="number-overflows",
        )


def empty(kind: Kind, rows: int) -> pa.Array:
    """Return a canonical column in which every value is missing."""
    types = {Kind.NUMBER: pa.float64(), Kind.BOOLEAN: pa.bool_(), Kind.CATEGORY: _DICTIONARY}
    return pa.nulls(rows, types.get(kind, _MICROSECONDS))


def without_outer_spaces(array: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return a column of texts without spaces at either end; equal texts are one then."""
    trimmed = pc.utf8_trim_whitespace(array.dictionary)
    if trimmed.equals(array.dictionary):
        return array
    merged = trimmed.dictionary_encode()
    return pa.DictionaryArray.from_arrays(merged.indices.take(array.indices), merged.dictionary)


def floats(array: pa.Array | pa.ChunkedArray) -> Floats:
    """Return a canonical column of numbers or booleans as float64, NaN where missing."""
    values = pc.cast(array, pa.float64()) if not pa.types.is_float64(array.type) else array
    return np.asarray(pc.fill_null(values, np.nan).to_numpy(zero_copy_only=False))


def frequencies(canonical: Canonical, stored: pa.Array, rows: range | np.ndarray[Any, Any]) -> Floats:
    """Return how often each row of a column of frequencies occurs, once where it does not say; DataError."""
    times = floats(canonical(stored, rows))
    odd = (times < 0.0) | (times > _MOST_TIMES) | (np.isfinite(times) & (times != np.trunc(times)))
    if odd.any():
        place = int(np.argmax(odd))
        raise DataError(
            f"column {quoted(canonical.column.name)} holds {times[place]:g} in row {rows[place]:,} of {canonical.where}"
            f"; weights of kind frequency say how often a row occurs and need to be whole numbers from 0 to "
            f"{_MOST_TIMES:,}: leave --weight-kind out where they say how much a row counts",
            code="weight-frequency",
        )
    return np.where(times >= 1.0, times, 1.0)


def inexact_integer(name: str, value: str, place: str, remedy: str) -> DataError:
    """Make the error for an integer that float64 cannot hold."""
    return DataError(
        f"column {quoted(name)} is {quoted(value)} in {place}; integers must be within ±2^53, because float64 rounds "
        f"larger ones to another integer: {remedy}",
        code="integer-too-large",
    )


def _plain(array: pa.Array) -> pa.Array:
    """Decode a dictionary, as pandas writes for categoricals of any type, to its values."""
    return array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array


def _numbers(array: pa.Array) -> pa.Array:
    """Convert to float64: seconds for times of day and durations; NaN becomes null."""
    stored = array.type
    if pa.types.is_time(stored):
        counts = array.cast(pa.int32() if pa.types.is_time32(stored) else pa.int64()).cast(pa.float64(), safe=False)
        return pc.divide(counts, _SECONDS[stored.unit])
    if pa.types.is_duration(stored):
        return pc.divide(array.cast(pa.int64()).cast(pa.float64(), safe=False), _SECONDS[stored.unit])
    if not pa.types.is_floating(stored):
        return array.cast(pa.float64(), safe=False)
    array = array.cast(pa.float64())
    missing = pc.is_nan(array)
    return pc.if_else(missing, pa.scalar(None, pa.float64()), array) if missing.true_count else array


def _timestamps(array: pa.Array) -> pa.Array:
    """Convert to timestamp[us] without zone, in UTC; finer units are rounded towards 1970."""
    array = _plain(array)
    if pa.types.is_null(array.type):  # a column that training knows as one of times, and that has none here
        return array.cast(_MICROSECONDS)
    if pa.types.is_date(array.type):
        return array.cast(pa.timestamp("s") if pa.types.is_date32(array.type) else pa.timestamp("ms")).cast(
            _MICROSECONDS
        )
    fine = array.cast(pa.timestamp("us", tz=array.type.tz), safe=array.type.unit != "ns")
    return fine.view(_MICROSECONDS)


def _categories(array: pa.Array) -> pa.DictionaryArray:
    """Convert to dictionary<int32, string>; other values are written as text, whole numbers without a point."""
    if not pa.types.is_dictionary(array.type):
        return _as_text(array).dictionary_encode()
    if array.dictionary.null_count:
        return _as_text(_plain(array)).dictionary_encode()
    if array.type == _DICTIONARY:
        return array
    return pa.DictionaryArray.from_arrays(array.indices.cast(pa.int32()), _as_text(array.dictionary))


def _as_text(array: pa.Array) -> pa.Array:
    if pa.types.is_floating(array.type):
        numbers = _numbers(array)
        whole = pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less(pc.abs(numbers), float(EXACT_INTEGER)))
        integers = pc.if_else(whole, numbers, pa.scalar(None, pa.float64())).cast(pa.int64()).cast(pa.string())
        return pc.coalesce(integers, numbers.cast(pa.string()))
    return array.cast(pa.string())
