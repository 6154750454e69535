"""What one pass over a table finds out about each column: totals that can be merged.

`merge(profile of A, profile of B)` is the profile of A followed by B, so parts of a table are profiled once and put
together as needed. Rows count once each; a row of weight zero is not shown to a profile at all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.data.columns import Kind

CALENDAR_PARTS = {"hour": 24, "weekday": 7, "month": 12}
_TEXT_SAMPLE = 20_000


def calendar_part(times: pa.Array, part: str) -> NDArray[np.int64]:
    """Return hour (0-23), weekday (Monday 0) or month (0-11) of timestamps; -1 where there is none."""
    values = {"hour": pc.hour, "weekday": pc.day_of_week, "month": pc.month}[part](times)
    numbers = pc.fill_null(pc.cast(values, pa.int64()), -1).to_numpy(zero_copy_only=False)
    return np.asarray(np.where(numbers >= 0, numbers - 1, -1) if part == "month" else numbers)


@dataclass
class NumberProfile:
    """Weighted moments (Chan, Golub and LeVeque 1983), range and missing values of a number or boolean."""

    rows: int = 0
    missing: int = 0
    weight: float = 0.0
    mean: float = 0.0
    squares: float = 0.0  # weighted sum of squared deviations from the mean
    low: float = np.inf
    high: float = -np.inf
    # Whole numbers that differ in every row so far; None once a value came twice or was no whole number.
    distinct: list[NDArray[np.float64]] | None = field(default_factory=list)

    def update(self, array: pa.Array, weight: NDArray[np.float64]) -> None:
        """Add a batch; `weight` has one positive entry a row."""
        values = _numbers(array)
        known = ~np.isnan(values)
        self.rows += len(values)
        self.missing += int(len(values) - known.sum())
        values, weight = values[known], weight[known]
        if not len(values):
            return
        total = float(weight.sum())
        mean = float(values[0] + weight @ (values - values[0]) / total)
        part = NumberProfile(weight=total, mean=mean, squares=float(weight @ (values - mean) ** 2))
        part.low, part.high = float(values.min()), float(values.max())
        whole = bool(np.all(values == np.trunc(values)))
        part.distinct = [values] if whole and len(np.unique(values)) == len(values) else None
        self._absorb(part)

    def _absorb(self, other: NumberProfile) -> None:
        total = self.weight + other.weight
        if total > 0.0:
            gap = other.mean - self.mean
            self.squares += other.squares + gap**2 * self.weight * other.weight / total
            self.mean += gap * other.weight / total
        self.weight = total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        both = self.distinct is not None and other.distinct is not None
        self.distinct = [*(self.distinct or []), *(other.distinct or [])] if both else None

    def merge(self, other: NumberProfile) -> NumberProfile:
        """Return the profile of both."""
        merged = NumberProfile(self.rows, self.missing, self.weight, self.mean, self.squares, self.low, self.high)
        merged.distinct = None if self.distinct is None else list(self.distinct)
        merged.rows += other.rows
        merged.missing += other.missing
        merged._absorb(other)
        return merged

    @property
    def deviation(self) -> float:
        """The weighted standard deviation of the known values."""
        return float(np.sqrt(self.squares / self.weight)) if self.weight > 0.0 else 0.0

    @property
    def names_rows(self) -> bool:
        """Whether every row has a whole number of its own: a row number or an identifier, not a measurement."""
        if self.distinct is None or self.missing or self.rows < 100:
            return False
        values = np.concatenate(self.distinct)
        return len(np.unique(values)) == len(values)


@dataclass
class CategoryProfile:
    """How often each level occurs, and how its text looks."""

    rows: int = 0
    missing: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    characters: int = 0  # in a sample of the level texts
    spaces: int = 0
    sampled: int = 0

    def update(self, array: pa.DictionaryArray, weight: NDArray[np.float64]) -> None:
        """Add a batch; the weights do not matter to counts."""
        self.rows += len(array)
        self.missing += array.null_count
        codes = array.indices.drop_null().to_numpy(zero_copy_only=False)
        levels = array.dictionary.to_pylist()
        for level, count in zip(levels, np.bincount(codes, minlength=len(levels)), strict=True):
            if count:
                self.counts[level] += int(count)
                if self.sampled < _TEXT_SAMPLE:
                    self.sampled += 1
                    self.characters += len(level)
                    self.spaces += level.count(" ")

    def merge(self, other: CategoryProfile) -> CategoryProfile:
        """Return the profile of both."""
        return CategoryProfile(
            self.rows + other.rows,
            self.missing + other.missing,
            self.counts + other.counts,
            self.characters + other.characters,
            self.spaces + other.spaces,
            self.sampled + other.sampled,
        )

    @property
    def known(self) -> int:
        """Rows that have a level."""
        return self.rows - self.missing

    @property
    def is_text(self) -> bool:
        """Whether the column reads as free text: mostly different values of several words."""
        if self.sampled < 50 or len(self.counts) <= 0.5 * self.known:
            return False
        return self.spaces >= 3 * self.sampled and self.characters >= 25 * self.sampled

    @property
    def names_rows(self) -> bool:
        """Whether the levels are as good as row names: most known rows have one of their own."""
        return self.known >= 100 and len(self.counts) > 0.5 * self.known


@dataclass
class TimeProfile:
    """How often each calendar part occurs."""

    rows: int = 0
    missing: int = 0
    parts: dict[str, NDArray[np.int64]] = field(
        default_factory=lambda: {part: np.zeros(size, dtype=np.int64) for part, size in CALENDAR_PARTS.items()}
    )

    def update(self, array: pa.Array, weight: NDArray[np.float64]) -> None:
        """Add a batch; the weights do not matter to counts."""
        self.rows += len(array)
        self.missing += array.null_count
        for part, size in CALENDAR_PARTS.items():
            values = calendar_part(array, part)
            self.parts[part] = self.parts[part] + np.bincount(values[values >= 0], minlength=size)

    def merge(self, other: TimeProfile) -> TimeProfile:
        """Return the profile of both."""
        parts = {part: counts + other.parts[part] for part, counts in self.parts.items()}
        return TimeProfile(self.rows + other.rows, self.missing + other.missing, parts)


Profile = NumberProfile | CategoryProfile | TimeProfile


def empty_profile(kind: Kind) -> Profile:
    """Return the profile of no rows."""
    if kind is Kind.CATEGORY:
        return CategoryProfile()
    return TimeProfile() if kind is Kind.TIMESTAMP else NumberProfile()


def merge(first: dict[str, Profile], second: dict[str, Profile]) -> dict[str, Profile]:
    """Return the profiles of two parts of a table put together, column by column."""
    merged: dict[str, Profile] = {}
    for name, profile in first.items():
        other: Any = second[name]
        merged[name] = profile.merge(other)
    return merged


def _numbers(array: pa.Array) -> NDArray[np.float64]:
    values = pc.cast(array, pa.float64()) if not pa.types.is_float64(array.type) else array
    return np.asarray(pc.fill_null(values, np.nan).to_numpy(zero_copy_only=False))
