"""Conditions on rows as values: what a person wrote, times, and how they go together.

A condition is true, false or unknown, as in SQL, and keeps the rows for which it is true. As text it is SQL that reads
back as the same condition: that is what goes on record. Nothing is made by joining texts.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Moment = datetime.datetime | float  # a time in UTC, or what a clock showed, or a number


@dataclass(frozen=True)
class Written:
    """What a person wrote in SQL's words; it has to stand by itself.

    Times without a zone are what clocks of `zone` showed, or of the zone of the column beside them where that is None.
    """

    text: str
    zone: str | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Before:
    """The time in a column is a moment or before it; unknown where there is no time."""

    column: str
    moment: Moment

    def __str__(self) -> str:
        return f"{identifier(self.column)} <= {literal(self.moment)}"


@dataclass(frozen=True)
class After:
    """The time in a column is after a moment; unknown where there is no time."""

    column: str
    moment: Moment

    def __str__(self) -> str:
        return f"{identifier(self.column)} > {literal(self.moment)}"


@dataclass(frozen=True)
class Missing:
    """A column holds no value."""

    column: str

    def __str__(self) -> str:
        return f"{identifier(self.column)} is null"


@dataclass(frozen=True, eq=False)
class Listed:
    """A row stands at one of some places of its source, counted from 0 in the order in which it is read.

    It is of one source as it stands now and goes on no record: its text is no SQL.
    """

    ranges: tuple[tuple[int, int], ...]  # first and last + 1, in order, none within another
    but: NDArray[np.int64]  # places among them that are not meant, in order

    def among(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of the places, (m,), are meant."""
        if not self.ranges:
            return np.zeros(len(places), dtype=bool)
        starts, stops = np.asarray(self.ranges).T
        which = np.searchsorted(starts, places, side="right") - 1
        return np.asarray((which >= 0) & (places < stops[which]) & ~np.isin(places, self.but))

    def __str__(self) -> str:
        return "listed"


@dataclass(frozen=True)
class Not:
    """All other rows, those for which a condition is unknown among them."""

    part: Condition

    def __str__(self) -> str:
        return f"not (({self.part}) is true)"


@dataclass(frozen=True)
class And:
    """All of its parts, of which there is at least one."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " and ".join(f"({part})" for part in self.parts)


@dataclass(frozen=True)
class Or:
    """Any of its parts, of which there is at least one."""

    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return " or ".join(f"({part})" for part in self.parts)


Condition = Written | Before | After | Missing | Listed | Not | And | Or


def together(*conditions: Condition | None) -> Condition | None:
    """Return the condition that all of them hold; None for none."""
    given = tuple(condition for condition in conditions if condition is not None)
    return And(given) if given else None


def written(text: str | None) -> Condition | None:
    """Return what a person wrote, if anything, as a condition."""
    return None if text is None else Written(text)


def for_any_time(condition: Condition | None) -> Condition | None:
    """Return what of a condition rows of any time can meet: what people wrote, without when rows were seen or known."""
    if isinstance(condition, And):
        return together(*map(for_any_time, condition.parts))
    wrote = isinstance(condition, Written) or (isinstance(condition, Not) and isinstance(condition.part, Written))
    return condition if wrote else None


def literal(moment: Moment) -> str:
    """Write a moment so that it reads back to the last bit."""
    return f"'{moment.isoformat(sep=' ')}'" if isinstance(moment, datetime.datetime) else repr(float(moment))


def identifier(column: str) -> str:
    """Write the name of a column as SQL reads it."""
    return '"' + column.replace('"', '""') + '"'
