"""What each column holds, as the profiles of a training already know it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from batchlearn.data.build import Profiles
from batchlearn.data.profile import CategoryProfile, NumberProfile, Profile
from batchlearn.tables.columns import Column
from batchlearn.training.facts.levels import LevelCounts

_PER_CENTS = (0.01, 0.5, 0.99)


@dataclass(frozen=True)
class Facts:
    """What a training found out beside its model; of rows all that it learned from, unless it says otherwise."""

    repeated_rows: int
    split: Mapping[str, Any] | None  # how the rows that judge were told apart, and when
    judged: Mapping[str, int] | None  # coefficients and passes of the fit to the earlier rows
    labels: Mapping[str, Mapping[str, Any]]  # of all rows, and of the earlier and the later ones
    neighbours: Mapping[str, Any] | None  # how alike the labels of rows next to each other in time are
    columns: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, float]  # of each stage
    levels: Mapping[str, LevelCounts] = field(default_factory=dict)  # by term; not printed

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return {
            "repeated_rows": self.repeated_rows,
            "split": None if self.split is None else dict(self.split),
            "judged": None if self.judged is None else dict(self.judged),
            "labels": {part: dict(found) for part, found in self.labels.items()},
            "neighbours": None if self.neighbours is None else dict(self.neighbours),
            "columns": [dict(one) for one in self.columns],
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


def column_facts(
    columns: Sequence[Column], profiles: Profiles, telling: Mapping[str, list[Any]], left_out: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return one record a column: rows without a value, the range of numbers, and the levels that tell the label."""
    return [
        {
            "column": column.name,
            "kind": str(column.kind),
            "rows": profiles[column.name].rows,
            "missing": profiles[column.name].missing,
            "left_out": left_out.get(column.name),
            **_held(profiles[column.name]),
            "telling": telling.get(column.name, []),
        }
        for column in columns
    ]


def _held(profile: Profile) -> dict[str, Any]:
    if isinstance(profile, CategoryProfile):
        return {"levels": len(profile.counts)}
    if not isinstance(profile, NumberProfile) or profile.missing == profile.rows:
        return {}
    # Of at most 200,000 rows: the range is of all of them.
    low, middle, high = np.quantile(profile.sample, _PER_CENTS, method="nearest").tolist()
    return {
        "low": profile.low,
        "per_cent_1": low,
        "median": middle,
        "per_cent_99": high,
        "high": profile.high,
        "below_zero": profile.below_zero,
    }
