"""Encoding: from the columns of a table to dense columns and level codes, fitted by totals and kept in the model.

A fitted encoding is a tuple of terms. Each term reads one column, or two, and gives dense columns, one group of levels
or the sparse columns of a text; it knows its domain, so that an objective can build penalties from it and a later
update can tell whether new rows still fit. Training, scoring and serving call the same `encode` and `encode_texts`.
What terms consist of is what model files hold: the ranges beside their fields are checked there, what several fields
must be together wherever one is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.artifacts.checks import Checked
from batchlearn.data.bins import BinTerm, NumberTerm
from batchlearn.data.profile import CALENDAR_PARTS, calendar_part, level_digest
from batchlearn.data.text import TextTerm, sparse_rows
from batchlearn.errors import quoted
from batchlearn.kernels.design import Floats, Layout
from batchlearn.tables.columns import Kind
from batchlearn.tables.text.times import local_times

Codes = NDArray[np.intp]

# Levels whose bucket is remembered: a batch after the other asks for the same ones.
_REMEMBERED = 1_000_000

INTERCEPT, MISSING, RARE = "(intercept)", "(missing)", "(rare)"
SMALLEST_UNIT = 1e-280
"""A column that deviates by less has no coefficient in its own units: it would be beyond the largest float."""


def level_label(level: str) -> str:
    """Return how a level is shown: in quotes where it could be taken for one of our own names, such as "(missing)"."""
    return json.dumps(level, ensure_ascii=False) if level.startswith(("(", '"')) else level


def _refuse_repeats(what: str, values: Iterable[object]) -> None:
    listed = list(values)
    if len(set(listed)) != len(listed):
        raise ValueError(f"{what} are not distinct")


def _rows_with(array: pa.DictionaryArray, holds: Callable[[str], bool]) -> NDArray[np.bool_]:
    """Return which rows have a level for which something holds."""
    levels = array.dictionary.to_pylist()
    found = np.asarray([*(level is not None and holds(level) for level in levels), False])
    return np.asarray(found[pc.fill_null(array.indices, len(levels)).to_numpy(zero_copy_only=False)], dtype=bool)


@dataclass(frozen=True)
class LevelTerm:
    """A category: one coefficient a level, pooled and hashed buckets for the others, one for missing.

    Codes in order: the kept levels, the hash buckets, the rare bucket, the missing bucket; then "no level", which meets
    no coefficient: a level never seen in training (unless levels were pooled or hashed, then it joins those), a
    missing value where training had none, and the reference level where there is one.
    """

    kind: Literal["category"] = field(default="category", kw_only=True)
    column: str
    levels: tuple[str, ...]
    buckets: Annotated[int, Checked(ge=0, le=1 << 20)] = 0
    rare: bool = False
    missing: bool = False
    reference: str | None = None  # the level without a coefficient, where no penalty tells levels and intercept apart
    # The first 32 bits of the digests of other levels that training met; None where they are not kept.
    pooled: tuple[Annotated[int, Checked(ge=0, lt=1 << 32)], ...] | None = None
    reads: ClassVar = (Kind.CATEGORY,)

    def __post_init__(self) -> None:
        known = self.levels if self.reference is None else (*self.levels, self.reference)
        _refuse_repeats(f"the levels of {quoted(self.column)}", known)
        if self.rare and self.buckets:
            raise ValueError(f"the rare levels of {quoted(self.column)} are both pooled and hashed")

    @property
    def key(self) -> str:
        """What it is called wherever terms are listed."""
        return self.column

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return len(self.levels) + self.buckets + self.rare + self.missing

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The levels, and what buckets are called."""
        hashed = [f"(hash {k})" for k in range(self.buckets)]
        return (*map(level_label, self.levels), *hashed, *[RARE] * self.rare, *[MISSING] * self.missing)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One name a coefficient."""
        return tuple(f"{self.column} = {label}" for label in self.labels)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column it reads."""
        return (self.column,)

    @cached_property
    def _code(self) -> dict[str, int]:
        return {level: code for code, level in enumerate(self.levels)}

    @cached_property
    def _hashed(self) -> dict[str, int]:
        return {}

    def code(self, level: str) -> int:
        """Return the code of a level."""
        known = self._code.get(level)
        if known is not None:
            return known
        none = len(self.names)
        if level == self.reference:
            return none
        if self.buckets:
            if len(self._hashed) > _REMEMBERED:
                self._hashed.clear()
            if level not in self._hashed:
                self._hashed[level] = len(self.levels) + level_digest(level) % self.buckets
            return self._hashed[level]
        return len(self.levels) if self.rare else none

    def encode(self, array: pa.DictionaryArray) -> Codes:
        """Return the codes of the rows."""
        dictionary = array.dictionary
        last, codes = self._latest[-1]
        if not dictionary.equals(last):
            none = len(self.names)
            of_level = [none if level is None else self.code(level) for level in dictionary.to_pylist()]
            codes = np.asarray([*of_level, none - 1 if self.missing else none], dtype=np.intp)
            self._latest[:] = [(dictionary, codes)]
        return np.asarray(codes[pc.fill_null(array.indices, len(dictionary)).to_numpy(zero_copy_only=False)])

    @cached_property
    def _latest(self) -> list[tuple[pa.Array, Codes]]:
        """The dictionary that came last, with its codes: batches of one table share theirs."""
        return [(pa.nulls(0), np.empty(0, dtype=np.intp))]

    def unseen(self, array: pa.DictionaryArray) -> NDArray[np.bool_]:
        """Return which rows hold a level that has no coefficient of its own."""
        return _rows_with(array, self._is_new)

    def was_pooled(self, array: pa.DictionaryArray) -> NDArray[np.bool_]:
        """Return which of those rows hold a level that training met; by chance one in 2^32 / pooled that it did not."""
        return _rows_with(array, lambda level: self._is_new(level) and level_digest(level) >> 32 in self._marks)

    @cached_property
    def _marks(self) -> frozenset[int]:
        return frozenset(self.pooled or ())

    def _is_new(self, level: str) -> bool:
        return level not in self._code and level != self.reference


@dataclass(frozen=True)
class CalendarTerm:
    """One calendar part of what a clock showed (hour, weekday or month), one coefficient for each that occurred."""

    kind: Literal["calendar"] = field(default="calendar", kw_only=True)
    column: str
    part: str
    values: tuple[int, ...]
    reference: int | None = None
    missing: bool = False
    reads: ClassVar = (Kind.TIMESTAMP,)

    def __post_init__(self) -> None:
        if self.part not in CALENDAR_PARTS:
            raise ValueError(f"{quoted(self.part)} is no part of a time; needed is one of {', '.join(CALENDAR_PARTS)}")
        known = self.values if self.reference is None else (*self.values, self.reference)
        _refuse_repeats(f"the values of {quoted(self.key)}", known)
        odd = [value for value in known if not 0 <= value < CALENDAR_PARTS[self.part]]
        if odd:
            raise ValueError(f"a value of {quoted(self.key)} is {odd[0]}, which is no {self.part}")

    @property
    def key(self) -> str:
        """What it is called wherever terms are listed: its column and the part of the time."""
        return f"{self.part}({self.column})"

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return len(self.values) + self.missing

    @property
    def columns(self) -> tuple[str, ...]:
        """The column it reads."""
        return (self.column,)

    @property
    def labels(self) -> tuple[str, ...]:
        """The values; months count from 1, as people do."""
        shown = [value + 1 if self.part == "month" else value for value in self.values]
        return (*map(str, shown), *[MISSING] * self.missing)

    @property
    def names(self) -> tuple[str, ...]:
        """One name a coefficient."""
        return tuple(f"{self.key} = {label}" for label in self.labels)

    def encode(self, array: pa.Array) -> Codes:
        """Return the codes of the rows."""
        none = len(self.names)
        table = np.full(33, none, dtype=np.intp)
        table[list(self.values)] = np.arange(len(self.values))
        table[-1] = none - 1 if self.missing else none
        return table[calendar_part(array, self.part)]


SingleTerm = BinTerm | LevelTerm | CalendarTerm
_Single = Annotated[SingleTerm, Checked(discriminator="kind")]


@dataclass(frozen=True)
class PairTerm:
    """The cells of two terms, the first varying slowest; a row without a level in either has no cell."""

    kind: Literal["pair"] = field(default="pair", kw_only=True)
    first: _Single
    second: _Single

    def __post_init__(self) -> None:
        if self.first.key == self.second.key:
            raise ValueError(f"a pair has {quoted(self.first.key)} twice")

    @property
    def key(self) -> str:
        """What it is called wherever terms are listed: both terms."""
        return f"{self.first.key} x {self.second.key}"

    @property
    def column(self) -> str:
        """Both terms, for messages."""
        return self.key

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return (self.first.column, self.second.column)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the cells: neither column says which of the two a level is of."""
        return self.names

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return self.first.width * self.second.width

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One name a coefficient."""
        return tuple(f"{a} & {b}" for a in self.first.names for b in self.second.names)

    def encode(self, first: pa.Array, second: pa.Array) -> Codes:
        """Return the codes of the rows from the arrays of both columns."""
        a, b = self.first.encode(first), self.second.encode(second)
        rows, columns = self.first.width, self.second.width
        cell = a * columns + b
        cell[(a == rows) | (b == columns)] = rows * columns
        return np.asarray(cell)


# One group of levels, each with a coefficient of its own.
GroupTerm = Annotated[SingleTerm | PairTerm, Checked(discriminator="kind")]


@dataclass(frozen=True)
class Encoding:
    """The fitted terms of a model, and the columns left out with the reason."""

    numbers: tuple[NumberTerm, ...]
    groups: tuple[GroupTerm, ...]
    kinds: Mapping[str, Kind]  # of every column it reads
    left_out: Mapping[str, str]  # column -> reason
    texts: tuple[TextTerm, ...] = ()
    zones: Mapping[str, str] = field(default_factory=dict)  # column of moments in UTC -> whose clock its parts are of

    def __post_init__(self) -> None:
        plain: tuple[NumberTerm | TextTerm, ...] = (*self.numbers, *self.texts)
        _refuse_repeats("the terms", [*(term.column for term in plain), *(g.key for g in self.groups)])
        halves = [half for g in self.groups for half in ((g.first, g.second) if isinstance(g, PairTerm) else (g,))]
        terms: tuple[NumberTerm | SingleTerm | TextTerm, ...] = (*plain, *halves)
        if {term.column for term in terms} != self.kinds.keys():
            raise ValueError("the columns of the terms are not those that have a kind")
        for term in terms:
            kind = self.kinds[term.column]
            if kind not in term.reads:
                raise ValueError(f"column {quoted(term.column)} is a {kind} and its term is for a {term.reads[0]}")
        if any(self.kinds.get(name) is not Kind.TIMESTAMP for name in self.zones):
            raise ValueError("a column that holds no times has a zone")

    @cached_property
    def layout(self) -> Layout:
        """Where each coefficient stands."""
        dense, sparse = (sum(term.width for term in terms) for terms in (self.numbers, self.texts))
        return Layout(True, dense, tuple(group.width for group in self.groups), sparse)

    @cached_property
    def text_slices(self) -> tuple[slice, ...]:
        """The coefficients of each text."""
        ends = self.layout.sparse_slice.start + np.cumsum((0, *(term.width for term in self.texts)))
        return tuple(slice(int(a), int(b)) for a, b in pairwise(ends))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One name a coefficient, the intercept first."""
        numbers = (name for term in self.numbers for name in term.names)
        return (INTERCEPT, *numbers, *(name for term in (*self.groups, *self.texts) for name in term.names))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return tuple(self.kinds)

    @cached_property
    def may_be_missing(self) -> frozenset[str]:
        """The columns that were missing in some row of the training, so that a missing value has a coefficient."""
        numbers = {term.column for term in self.numbers if term.missing_share > 0.0}
        groups = {group.column for group in self.groups if not isinstance(group, PairTerm) and group.missing}
        return frozenset(numbers | groups)

    @cached_property
    def shift(self) -> Floats:
        """What is subtracted from the dense columns, shape (dense,)."""
        return np.asarray([value for term in self.numbers for value in term.shift], dtype=np.float64)

    @cached_property
    def scale(self) -> Floats:
        """What the dense columns are divided by, shape (dense,)."""
        return np.asarray([value for term in self.numbers for value in term.scale], dtype=np.float64)

    @cached_property
    def units(self) -> Floats:
        """What each coefficient is divided by to be one of the column as given, shape (coefficients,).

        One where a column varies so little that its coefficient would overflow: that one stays as it is.
        """
        return np.where(self.own_units < SMALLEST_UNIT, 1.0, self.own_units)

    @cached_property
    def own_units(self) -> Floats:
        """The same without the exception: what bounds on coefficients are stated in."""
        units = np.ones(self.layout.size)
        units[1 : self.layout.lead] = self.scale
        return units

    def encode(self, batch: pa.RecordBatch) -> tuple[Floats, NDArray[np.unsignedinteger[Any]]]:
        """Encode the rows of a batch in canonical types.

        Returns the dense columns (dense, rows), not yet shifted and scaled, and the codes (groups, rows), in as few
        bytes as hold them.
        """
        columns = {name: local_times(batch.column(name), self.zones.get(name)) for name in self.columns}
        dense = np.empty((self.layout.dense, batch.num_rows))
        row = 0
        for term in self.numbers:
            term.encode(columns[term.column], dense[row : row + term.width])
            row += term.width
        codes = np.empty((len(self.groups), batch.num_rows), dtype=self.layout.code_type)
        for out, group in zip(codes, self.groups, strict=True):
            out[:] = group.encode(*(columns[name] for name in group.columns))
        return dense, codes

    def encode_texts(self, batch: pa.RecordBatch) -> Any:
        """Return the sparse columns of the rows of a batch, a CSR array (rows, sparse); None where there is no text."""
        return sparse_rows(self.texts, batch) if self.texts else None

    def count_unseen(self, batch: pa.RecordBatch) -> dict[str, int]:
        """Return, for each category, how many rows hold a level never seen in training (or pooled, if not kept)."""
        terms, pooled = (term for term in self.groups if isinstance(term, LevelTerm)), self.count_pooled(batch)
        return {term.column: int(term.unseen(batch.column(term.column)).sum()) - pooled[term.column] for term in terms}

    def count_pooled(self, batch: pa.RecordBatch) -> dict[str, int]:
        """Return, for each category, how many rows hold a level that was too rare in training for a coefficient."""
        terms = [term for term in self.groups if isinstance(term, LevelTerm)]
        return {term.column: int(term.was_pooled(batch.column(term.column)).sum()) for term in terms}
