"""What model.json says of the terms of an encoding: closed descriptions, and the way from a term to one and back."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import CalendarTerm, GroupTerm, LevelTerm, NumberTerm
from batchlearn.data.pairs import PairTerm
from batchlearn.data.profile import CALENDAR_PARTS
from batchlearn.errors import quoted

_LONGEST_NAME = 512
_MOST_BUCKETS = 1 << 20
# Control characters, lone surrogates, line and paragraph separators; and what reorders the text around it.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _name(name: str) -> str:
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"the name {quoted(name)} has {len(name):,} characters; {_LONGEST_NAME} is the most")
    if any(unicodedata.category(sign) in _UNPRINTABLE or sign in _REORDERING for sign in name):
        raise ValueError(f"the name {quoted(name)} has a character that cannot be printed")
    return name


def distinct(values: Iterable[Hashable], what: str) -> None:
    """Refuse values that repeat: ValueError."""
    listed = list(values)
    if len(set(listed)) != len(listed):
        raise ValueError(f"{what} are not distinct")


Name = Annotated[str, AfterValidator(_name)]


class Closed(BaseModel):
    """A description that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class NumberSchema(Closed):
    """A `NumberTerm`."""

    column: Name
    mean: float
    deviation: float = Field(gt=0.0)
    low: float
    high: float
    missing_share: float = Field(ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _ordered(self) -> NumberSchema:
        if self.low > self.high:
            raise ValueError(f"the range of {quoted(self.column)} ends before it begins")
        return self

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return 2 if self.missing_share > 0.0 else 1

    def term(self) -> NumberTerm:
        """Return the term described."""
        return NumberTerm(self.column, self.mean, self.deviation, self.low, self.high, self.missing_share)


class LevelSchema(Closed):
    """A `LevelTerm`."""

    kind: Literal["category"]
    column: Name
    levels: list[str]
    buckets: int = Field(ge=0, le=_MOST_BUCKETS)
    rare: bool
    missing: bool
    reference: str | None

    @model_validator(mode="after")
    def _consistent(self) -> LevelSchema:
        known = [*self.levels, *([] if self.reference is None else [self.reference])]
        distinct(known, f"the levels of {quoted(self.column)}")
        if self.rare and self.buckets:
            raise ValueError(f"the rare levels of {quoted(self.column)} are both pooled and hashed")
        return self

    @property
    def key(self) -> str:
        """What the term is called."""
        return self.column

    @property
    def serves(self) -> list[tuple[str, tuple[str, ...]]]:
        """The kinds that it can read, by column."""
        return [(self.column, ("category",))]

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return len(self.levels) + self.buckets + self.rare + self.missing

    def term(self) -> LevelTerm:
        """Return the term described."""
        return LevelTerm(self.column, tuple(self.levels), self.buckets, self.rare, self.missing, self.reference)


class CalendarSchema(Closed):
    """A `CalendarTerm`."""

    kind: Literal["calendar"]
    column: Name
    part: Literal["hour", "weekday", "month"]
    values: list[int]
    missing: bool
    reference: int | None

    @model_validator(mode="after")
    def _consistent(self) -> CalendarSchema:
        known = [*self.values, *([] if self.reference is None else [self.reference])]
        distinct(known, f"the values of {self.part}({quoted(self.column)})")
        if any(not 0 <= value < CALENDAR_PARTS[self.part] for value in known):
            raise ValueError(f"a value of {self.part}({quoted(self.column)}) is no {self.part}")
        return self

    @property
    def key(self) -> str:
        """What the term is called."""
        return f"{self.part}({self.column})"

    @property
    def serves(self) -> list[tuple[str, tuple[str, ...]]]:
        """The kinds that it can read, by column."""
        return [(self.column, ("timestamp",))]

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return len(self.values) + self.missing

    def term(self) -> CalendarTerm:
        """Return the term described."""
        return CalendarTerm(self.column, self.part, tuple(self.values), self.missing, self.reference)


class BinSchema(Closed):
    """A `BinTerm`."""

    kind: Literal["bins"]
    column: Name
    edges: list[float] = Field(min_length=1, max_length=4096)
    low: float
    high: float
    missing: bool

    @model_validator(mode="after")
    def _ordered(self) -> BinSchema:
        if any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError(f"the edges of {quoted(self.column)} do not ascend")
        if self.low > self.high:
            raise ValueError(f"the range of {quoted(self.column)} ends before it begins")
        return self

    @property
    def key(self) -> str:
        """What the term is called."""
        return self.column

    @property
    def serves(self) -> list[tuple[str, tuple[str, ...]]]:
        """The kinds that it can read, by column."""
        return [(self.column, ("number", "boolean"))]

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return len(self.edges) + 1 + self.missing

    def term(self) -> BinTerm:
        """Return the term described."""
        return BinTerm(self.column, tuple(self.edges), self.low, self.high, self.missing)


SingleSchema = Annotated[LevelSchema | CalendarSchema | BinSchema, Field(discriminator="kind")]


class PairSchema(Closed):
    """A `PairTerm`."""

    kind: Literal["pair"]
    first: SingleSchema
    second: SingleSchema

    @model_validator(mode="after")
    def _two(self) -> PairSchema:
        if self.first.key == self.second.key:
            raise ValueError(f"a pair has {quoted(self.first.key)} twice")
        return self

    @property
    def key(self) -> str:
        """What the term is called."""
        return f"{self.first.key} x {self.second.key}"

    @property
    def serves(self) -> list[tuple[str, tuple[str, ...]]]:
        """The kinds that it can read, by column."""
        return [*self.first.serves, *self.second.serves]

    @property
    def width(self) -> int:
        """Its number of coefficients."""
        return self.first.width * self.second.width

    def term(self) -> PairTerm:
        """Return the term described."""
        return PairTerm(self.first.term(), self.second.term())


GroupSchema = Annotated[LevelSchema | CalendarSchema | BinSchema | PairSchema, Field(discriminator="kind")]


def describe_group(group: GroupTerm) -> dict[str, Any]:
    """Return the description of a group of levels, unchecked."""
    if isinstance(group, PairTerm):
        return {"kind": group.kind, "first": describe_group(group.first), "second": describe_group(group.second)}
    if isinstance(group, BinTerm):
        bounds = {"low": group.low, "high": group.high}
        return {
            "kind": group.kind,
            "column": group.column,
            "edges": list(group.edges),
            **bounds,
            "missing": group.missing,
        }
    if isinstance(group, LevelTerm):
        levels = {"levels": list(group.levels), "buckets": group.buckets, "rare": group.rare}
        shared = {"missing": group.missing, "reference": group.reference}
        return {"kind": group.kind, "column": group.column, **levels, **shared}
    if isinstance(group, CalendarTerm):
        values = {"part": group.part, "values": list(group.values), "reference": group.reference}
        return {"kind": group.kind, "column": group.column, **values, "missing": group.missing}
    raise TypeError(f"no description for {type(group).__name__}")
