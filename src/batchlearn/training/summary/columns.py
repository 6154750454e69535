"""What each column holds, as the profiles of a training already know it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from batchlearn.data.build import PreparedRows, Profiles
from batchlearn.data.encoding import Encoding
from batchlearn.data.ledger import role_columns
from batchlearn.data.profile import CategoryProfile, NumberProfile, Profile, TextProfile
from batchlearn.data.rows import Rows
from batchlearn.errors import DataError
from batchlearn.formatting.flags import flag
from batchlearn.formatting.notes import Code, Note
from batchlearn.models.shapes import TextUse
from batchlearn.tables.columns import Column
from batchlearn.tables.readings import ColumnReading, ColumnRemark, ColumnUse
from batchlearn.tables.table import Table
from batchlearn.training.summary.labels import (
    LabelSummary,
    NeighbourSummary,
    SplitSummary,
    part_labels,
    summarise_neighbours,
    summarise_split,
)
from batchlearn.training.summary.levels import LeakingLevel, LevelCounts, count_levels, leaking_levels

_PER_CENTS = (0.01, 0.5, 0.99)


@dataclass(frozen=True)
class Spread:
    """Where the numbers of a column lie: the percentiles are of at most 200,000 rows, the ends of all of them."""

    low: float
    per_cent_1: float
    median: float
    per_cent_99: float
    high: float
    below_zero: int


@dataclass(frozen=True)
class ColumnSummary:
    """What one column holds; `left_out` is the reason why the model does not read it."""

    column: str
    kind: str
    rows: int
    missing: int
    left_out: str | None
    levels: int | None = None  # of a category
    spread: Spread | None = None  # of numbers, where there are any
    leaking: tuple[LeakingLevel, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values; what only numbers or only categories have stands where it is known."""
        plain = {name: value for name, value in vars(self).items() if name not in ("levels", "spread", "leaking")}
        levels = {} if self.levels is None else {"levels": self.levels}
        spread = {} if self.spread is None else vars(self.spread)
        return {**plain, **levels, **spread, "telling": [one.to_json() for one in self.leaking]}


@dataclass(frozen=True)
class JudgedFit:
    """The fit to the earlier rows, which is the one that is judged."""

    coefficients: int
    passes: int


@dataclass(frozen=True)
class DataSummary:
    """What a training found out beside its model; of rows all that it learned from, unless it says otherwise."""

    repeated_rows: int
    split: SplitSummary | None  # None where no rows were held out
    judged: JudgedFit | None
    labels: Mapping[str, LabelSummary]  # of "all" rows, and of the "early" and the "late" ones
    neighbours: NeighbourSummary | None  # None without a time
    columns: Sequence[ColumnSummary]
    seconds: Mapping[str, float]  # of each stage
    levels: Mapping[str, LevelCounts] = field(default_factory=dict)  # by term; not printed
    texts: Mapping[str, TextUse] = field(default_factory=dict)  # by column; not printed

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return {
            "repeated_rows": self.repeated_rows,
            "split": None if self.split is None else self.split.to_json(),
            "judged": None if self.judged is None else asdict(self.judged),
            "labels": {part: asdict(found) for part, found in self.labels.items()},
            "neighbours": None if self.neighbours is None else asdict(self.neighbours),
            "columns": [one.to_json() for one in self.columns],
            "seconds": dict(self.seconds),
        }


class Clock:
    """Takes the seconds of one stage after the other."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def stop(self, stage: str) -> None:
        """End a stage here; the next one begins."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now


def summarise(
    table: Table, prepared: PreparedRows, encoding: Encoding, rows: Rows, judged: JudgedFit | None
) -> DataSummary:
    """Return what a training found out about its rows, as a model of this encoding has them."""
    ledger, split = prepared.ledger, prepared.split
    levels = count_levels(rows, encoding, ledger.target)
    leaking = leaking_levels(encoding, levels, ledger.target)
    return DataSummary(
        repeated_rows=prepared.repeated,
        split=summarise_split(table, ledger, split),
        judged=judged,
        labels=part_labels(ledger, split),
        neighbours=summarise_neighbours(ledger),
        columns=summarise_columns(table.features, prepared.all, leaking, encoding.left_out),
        seconds={},
        levels=levels,
    )


def summarise_columns(
    columns: Sequence[Column],
    profiles: Profiles,
    leaking: Mapping[str, tuple[LeakingLevel, ...]],
    left_out: Mapping[str, str],
) -> list[ColumnSummary]:
    """Return of each column its rows without a value, the range of numbers, and the levels that tell the label."""
    return [
        ColumnSummary(
            column=column.name,
            kind="text" if isinstance(profile, TextProfile) else str(column.kind),
            rows=profile.rows,
            missing=profile.missing,
            left_out=left_out.get(column.name),
            levels=len(profile.counts) if isinstance(profile, CategoryProfile) else None,
            spread=_spread(profile),
            leaking=leaking.get(column.name, ()),
        )
        for column, profile in ((column, profiles[column.name]) for column in columns)
    ]


def column_uses(
    table: Table,
    encoding: Encoding,
    profiles: Mapping[str, Profile] | None = None,
    unreadable: Mapping[str, int] | None = None,
    beside: Sequence[ColumnRemark] = (),
) -> tuple[ColumnUse, ...]:
    """Return what became of each column of a table in a model of this encoding.

    `unreadable` says by column in how many rows its reading, where it is that of an earlier model, takes no value;
    `beside` is what else there is to say of columns.
    """
    remarks = [
        ColumnRemark(
            name,
            False,
            Note(Code.LEFT_OUT, {"column": name, "reason": reason}),
            flag("--text", name) if profiles is not None and _has_words(profiles.get(name)) else None,
        )
        for name, reason in encoding.left_out.items()
    ]
    for name, rows in (unreadable or {}).items():
        values = {"column": name, "kind": str(table.readings[name].kind), "rows": rows}
        remarks.append(ColumnRemark(name, True, Note(Code.UNREADABLE_VALUES, values), None))
    return table.uses([*remarks, *beside], {*encoding.columns, *role_columns(table)})


def model_readings(table: Table, encoding: Encoding) -> dict[str, ColumnReading]:
    """Return how the columns of a model are read: those of its encoding, and those that had a role."""
    return {name: table.readings[name] for name in dict.fromkeys([*encoding.columns, *role_columns(table)])}


def refuse_text(table: Table, profiles: Mapping[str, Profile]) -> None:
    """Refuse a column of free text where no column may be left out: DataError."""
    found = [name for name, profile in profiles.items() if _is_text(profile)] if table.strict else []
    if found:
        raise DataError(
            f"Column '{found[0]}' of {table.name} is free text; --strict refuses to leave it out unasked: add "
            f"{flag('--drop', found[0])}, or leave --strict out.",
            code="strict",
        )


def _is_text(profile: Profile | None) -> bool:
    return isinstance(profile, CategoryProfile) and profile.is_text


def _spread(profile: Profile) -> Spread | None:
    if not isinstance(profile, NumberProfile) or profile.missing == profile.rows:
        return None
    low, middle, high = np.quantile(profile.sample, _PER_CENTS, method="nearest").tolist()
    return Spread(profile.low, low, middle, high, profile.high, profile.below_zero)


def _has_words(profile: Profile | None) -> bool:
    """Whether the values of a column that is left out are of several words."""
    if not isinstance(profile, CategoryProfile):
        return False
    return profile.is_text or (
        profile.names_rows and sum(level.count(" ") for level in profile.counts) >= len(profile.counts)
    )
