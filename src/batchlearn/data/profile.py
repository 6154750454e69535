"""What one pass over a table finds out about each column: totals that can be merged.

`merge(profile of A, profile of B)` is the profile of A followed by B, so parts of a table are profiled once and put
together as needed. Rows count once each; a row of weight zero is not shown to a profile at all.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchlearn.data.text import has_words, token_counts
from batchlearn.kernels.design import Floats
from batchlearn.tables.columns import Kind, floats
from batchlearn.tables.row_hashes import Hashes

CALENDAR_PARTS = {"hour": 24, "weekday": 7, "month": 12}
# Fewer rows than this may all differ by chance.
_FEWEST_NAMES = 100
# No repeat where five are to be expected has a chance of 1 in 150.
_EXPECTED_REPEATS = 5.0
_STRETCH = 4096
# Values kept for the cut points of bins: a quantile of so many is right to about a tenth of a per cent.
_SAMPLE = 200_000
# Texts kept to count words in: one in a thousand of them is in twenty.
_TEXTS = 20_000


def calendar_part(times: pa.Array, part: str) -> NDArray[np.int64]:
    """Return hour (0-23), weekday (Monday 0) or month (0-11) of timestamps; -1 where there is none."""
    values = {"hour": pc.hour, "weekday": pc.day_of_week, "month": pc.month}[part](times)
    numbers = pc.fill_null(pc.cast(values, pa.int64()), -1).to_numpy(zero_copy_only=False)
    return np.asarray(np.where(numbers >= 0, numbers - 1, -1) if part == "month" else numbers)


def level_digest(level: str) -> int:
    """Return 64 bits that tell a level from nearly all others: those of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(level.encode(), digest_size=8).digest(), "big")


class Sample(NamedTuple):
    """Some rows: their values and their lots."""

    values: Floats
    lots: Hashes


def lowest(samples: Sequence[Sample]) -> Sample:
    """Return the rows with the lowest lots, in their order: a sample of fixed size of all of them."""
    values, lots = (np.concatenate(parts) for parts in zip(*samples, strict=True))
    if len(lots) > _SAMPLE:
        kept = np.flatnonzero(lots <= np.partition(lots, _SAMPLE - 1)[_SAMPLE - 1])[:_SAMPLE]
        values, lots = values[kept], lots[kept]
    return Sample(values, lots)


class Moments(NamedTuple):
    """Weighted mean and spread of some values, so that two can be put together (Chan, Golub and LeVeque 1983)."""

    weight: float = 0.0  # of the known values
    missing: float = 0.0  # weight of the rows without a value
    mean: float = 0.0
    # Root of the weighted sum of squared deviations: the sum itself would overflow, or vanish, long before the values.
    spread: float = 0.0

    @staticmethod
    def of(values: Floats, weight: Floats) -> Moments:
        """Return the moments of values (NaN where missing) with one positive weight each."""
        known = ~np.isnan(values)
        missing = float(np.sum(weight[~known]))
        values, weight = values[known], weight[known]
        if not len(values):
            return Moments(missing=missing)
        total = float(np.sum(weight))
        mean = float(values[0] + weight @ (values - values[0]) / total)
        size = float(np.max(np.abs(values - mean)))
        spread = size * math.sqrt(float(weight @ ((values - mean) / size) ** 2)) if size > 0.0 else 0.0
        return Moments(total, missing, mean, spread)

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both."""
        weight, missing = self.weight + other.weight, self.missing + other.missing
        if self.weight == 0.0 or other.weight == 0.0:
            known = other if self.weight == 0.0 else self
            return Moments(weight, missing, known.mean, known.spread)
        gap = other.mean - self.mean
        between = abs(gap) * math.sqrt(self.weight) * math.sqrt(other.weight / weight)
        mean = self.mean + gap * (other.weight / weight)
        return Moments(weight, missing, mean, math.hypot(self.spread, other.spread, between))


class End(NamedTuple):
    """The lowest of some values, the rows that have it, and the next one above it; infinite where there is none."""

    value: float = math.inf
    rows: int = 0
    next: float = math.inf

    @staticmethod
    def of(values: NDArray[Any]) -> End:
        """Return the lowest of values without a missing one."""
        return NO_END.add(values)

    def add(self, values: NDArray[Any]) -> End:
        """Return that of more values; as a rule one look says that their lowest is no lower."""
        if not len(values):
            return self
        low = values.min().item()
        if low > self.value:
            return End(self.value, self.rows, min(self.next, low))
        others = values[values != low]
        return self.merge(End(low, len(values) - len(others), others.min().item() if len(others) else math.inf))

    def merge(self, other: End) -> End:
        """Return that of both."""
        first, second = (self, other) if self.value <= other.value else (other, self)
        if first.value == second.value:
            return End(first.value, first.rows + second.rows, min(first.next, second.next))
        return End(first.value, first.rows, min(first.next, second.value))


NO_END = End()


@dataclass
class NumberProfile:
    """Weighted moments, range and missing values of a number or boolean.

    Moments are taken of stretches of one length, whatever batches the rows came in, and put together in order: the
    way a table is stored does not change a bit of them.
    """

    rows: int = 0
    missing: int = 0
    low: float = np.inf
    high: float = -np.inf
    below_zero: int = 0
    lowest: End = NO_END
    highest: End = NO_END
    """Of the values with their signs turned round."""
    # Whole numbers that differ in every row so far; None once a value came twice or was no whole number.
    distinct: list[Floats] | None = field(default_factory=list)
    # Those that may be drawn: put together when they are twice too many.
    _samples: list[Sample] = field(default_factory=lambda: [Sample(np.empty(0), np.empty(0, dtype=np.uint64))])
    _done: Moments = field(default_factory=Moments)
    _waiting: list[tuple[Floats, Floats]] = field(default_factory=list)  # values and weights, less than a stretch

    def update(self, array: pa.Array, weight: Floats, lots: Hashes) -> None:
        """Add a batch; `weight` has one positive entry a row, `lots` one that decides who is in a sample."""
        values = floats(array)
        if not len(values):
            return
        there = ~np.isnan(values)
        known = values[there]
        self._samples.append(Sample(known, lots[there]))
        if sum(len(sample.lots) for sample in self._samples) > 2 * _SAMPLE:
            self._samples = [lowest(self._samples)]
        self.rows += len(values)
        self.missing += len(values) - len(known)
        if len(known):
            self.low, self.high = min(self.low, float(known.min())), max(self.high, float(known.max()))
            self.below_zero += int(np.count_nonzero(known < 0.0)) if self.low < 0.0 else 0
            self.lowest, self.highest = self.lowest.add(known), self.highest.add(-known)
            # More rows than whole numbers between the ends repeat some.
            whole = self.distinct is not None and float(np.ptp(known)) + 1.0 >= len(known)
            whole = whole and bool(np.all(known == np.trunc(known)))
            self._add_distinct([known] if whole and len(np.unique(known)) == len(known) else None)
        self._waiting.append((values, weight))
        if sum(len(part) for part, _ in self._waiting) >= _STRETCH:
            values, weight = self._joined()
            full = len(values) // _STRETCH * _STRETCH
            for start in range(0, full, _STRETCH):
                stretch = slice(start, start + _STRETCH)
                self._done = self._done.merge(Moments.of(values[stretch], weight[stretch]))
            # Copies, so that a short rest does not keep a whole batch alive.
            self._waiting = [(values[full:].copy(), weight[full:].copy())]

    def _joined(self) -> tuple[Floats, Floats]:
        values, weights = zip(*self._waiting, strict=True)
        return np.concatenate(values), np.concatenate(weights)

    def _add_distinct(self, more: list[Floats] | None) -> None:
        self.distinct = None if self.distinct is None or more is None else [*self.distinct, *more]

    @property
    def sample(self) -> Floats:
        """Known values of at most 200,000 rows, chosen at random."""
        return lowest(self._samples).values

    @property
    def moments(self) -> Moments:
        """The moments of all rows so far."""
        return self._done.merge(Moments.of(*self._joined())) if self._waiting else self._done

    def merge(self, other: NumberProfile) -> NumberProfile:
        """Return the profile of both."""
        merged = NumberProfile(self.rows + other.rows, self.missing + other.missing)
        merged.low, merged.high = min(self.low, other.low), max(self.high, other.high)
        merged.below_zero = self.below_zero + other.below_zero
        merged.lowest, merged.highest = self.lowest.merge(other.lowest), self.highest.merge(other.highest)
        merged.distinct = self.distinct
        merged._add_distinct(other.distinct)
        merged._samples = [lowest([*self._samples, *other._samples])]
        merged._done = self.moments.merge(other.moments)
        return merged

    @property
    def mean(self) -> float:
        """The weighted mean of the known values."""
        return self.moments.mean

    @property
    def deviation(self) -> float:
        """The weighted standard deviation of the known values."""
        moments = self.moments
        return moments.spread / math.sqrt(moments.weight) if moments.weight > 0.0 else 0.0

    @property
    def missing_share(self) -> float:
        """The share of the weight that is in rows without a value."""
        moments = self.moments
        return moments.missing / (moments.missing + moments.weight) if self.missing else 0.0

    @property
    def names_rows(self) -> bool:
        """Whether every row has a whole number of its own, where measurements in such a range would repeat."""
        if self.distinct is None or self.missing or self.rows < _FEWEST_NAMES:
            return False
        # Pairs of equal numbers among so many, were they drawn evenly from the range.
        if 0.5 * self.rows * (self.rows - 1.0) < _EXPECTED_REPEATS * (self.high - self.low + 1.0):
            return False
        values = np.concatenate(self.distinct)
        return len(np.unique(values)) == len(values)


@dataclass
class CategoryProfile:
    """How often each level occurs, and how its text looks."""

    rows: int = 0
    missing: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def update(self, array: pa.DictionaryArray, _weight: Floats, _lots: Hashes) -> None:
        """Add a batch; weights and lots do not matter to counts."""
        self.rows += len(array)
        self.missing += array.null_count
        codes = array.indices.drop_null().to_numpy(zero_copy_only=False)
        levels = array.dictionary.to_pylist()
        for level, count in zip(levels, np.bincount(codes, minlength=len(levels)), strict=True):
            if count:
                self.counts[level] += int(count)

    def merge(self, other: CategoryProfile) -> CategoryProfile:
        """Return the profile of both."""
        return CategoryProfile(self.rows + other.rows, self.missing + other.missing, self.counts + other.counts)

    @property
    def known(self) -> int:
        """Rows that have a level."""
        return self.rows - self.missing

    @property
    def is_text(self) -> bool:
        """Whether the column reads as free text: mostly different values of several words."""
        levels = len(self.counts)
        if levels < 50 or levels <= 0.5 * self.known:
            return False
        spaces, characters = sum(level.count(" ") for level in self.counts), sum(map(len, self.counts))
        return spaces >= 3 * levels and characters >= 25 * levels

    @property
    def names_rows(self) -> bool:
        """Whether the levels are as good as row names: most known rows have one of their own."""
        return self.known >= _FEWEST_NAMES and len(self.counts) > 0.5 * self.known


@dataclass
class TextProfile:
    """Rows without a word, and a sample of the texts: those with the lowest lots, whatever order the rows came in."""

    rows: int = 0
    missing: int = 0
    wordless: int = 0  # missing, or without a letter or digit
    _texts: list[tuple[int, str]] = field(default_factory=list)  # lots and texts, ascending
    _repeated: list[tuple[str, int]] | None = None  # of these, once asked for

    def update(self, array: pa.DictionaryArray, _weight: Floats, lots: Hashes) -> None:
        """Add a batch; `lots` has one entry a row that decides who is in the sample."""
        self.rows += len(array)
        self.missing += array.null_count
        there = np.flatnonzero(has_words(array))
        self.wordless += len(array) - len(there)
        lowest = there[np.argsort(lots[there], kind="stable")[:_TEXTS]]
        texts = array.take(pa.array(lowest)).dictionary_decode().to_pylist()
        self._add(list(zip(lots[lowest].tolist(), texts, strict=True)))

    def _add(self, more: list[tuple[int, str]]) -> None:
        self._texts, self._repeated = sorted([*self._texts, *more])[:_TEXTS], None

    def merge(self, other: TextProfile) -> TextProfile:
        """Return the profile of both."""
        merged = TextProfile(self.rows + other.rows, self.missing + other.missing, self.wordless + other.wordless)
        merged._add([*self._texts, *other._texts])
        return merged

    @property
    def repeated(self) -> list[tuple[str, int]]:
        """Words and pairs in more than one of at most 20,000 texts, chosen at random, with their texts; most first."""
        if self._repeated is None:
            counts = token_counts(text for _, text in self._texts)
            several = ((token, rows) for token, rows in counts.items() if rows > 1)
            self._repeated = sorted(several, key=lambda item: (-item[1], item[0]))
        return self._repeated


@dataclass
class TimeProfile:
    """How often each calendar part occurs of what a clock showed, and where the times end, in microseconds."""

    rows: int = 0
    missing: int = 0
    first: End = NO_END
    last: End = NO_END
    """Of the times with their signs turned round."""
    parts: dict[str, NDArray[np.int64]] = field(
        default_factory=lambda: {part: np.zeros(size, dtype=np.int64) for part, size in CALENDAR_PARTS.items()}
    )

    def update(self, array: pa.Array, _weight: Floats, _lots: Hashes) -> None:
        """Add a batch; weights and lots do not matter to counts."""
        self.rows += len(array)
        self.missing += array.null_count
        known = array.drop_null().cast(pa.int64()).to_numpy(zero_copy_only=False)
        self.first, self.last = self.first.add(known), self.last.add(-known)
        for part, size in CALENDAR_PARTS.items():
            values = calendar_part(array, part)
            self.parts[part] = self.parts[part] + np.bincount(values[values >= 0], minlength=size)

    def merge(self, other: TimeProfile) -> TimeProfile:
        """Return the profile of both."""
        parts = {part: counts + other.parts[part] for part, counts in self.parts.items()}
        ends = self.first.merge(other.first), self.last.merge(other.last)
        return TimeProfile(self.rows + other.rows, self.missing + other.missing, *ends, parts)


Profile = NumberProfile | CategoryProfile | TextProfile | TimeProfile


def empty_profile(kind: Kind, *, is_text: bool = False) -> Profile:
    """Return the profile of no rows of a kind, or of text that is to be taken as words."""
    if is_text:
        return TextProfile()
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
