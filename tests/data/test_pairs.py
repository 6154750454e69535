"""Pairs: one cell for each pair of levels, and coarse terms that hold what the fine ones held."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchlearn.data.bins import BinTerm
from batchlearn.data.encoding import CalendarTerm, LevelTerm, PairTerm
from batchlearn.selection.coarsening import coarsened

BINS = BinTerm("x", (0.0, 1.0), -1.0, 2.0, missing=True)
LEVELS = LevelTerm("c", ("a", "b"), rare=True)


def categories(values: list[str | None]) -> Any:
    return pa.array(values).dictionary_encode()


def test_a_cell_for_each_pair_of_levels_the_first_varying_slowest() -> None:
    pair = PairTerm(BINS, LEVELS)
    assert pair.names[:4] == ("x <= 0 & c = a", "x <= 0 & c = b", "x <= 0 & c = (rare)", "0 < x <= 1 & c = a")
    assert len(pair.names) == 12
    numbers = pa.array([-1.0, 0.5, 2.0, None])
    assert pair.encode(numbers, categories(["a", "b", "never seen", "a"])).tolist() == [0, 4, 8, 9]
    assert pair.columns == ("x", "c")
    assert pair.column == "x x c"


def test_a_row_without_a_level_in_either_has_no_cell() -> None:
    pair = PairTerm(BinTerm("x", (0.0,), -1.0, 2.0), LevelTerm("c", ("a", "b")))
    none = len(pair.names)
    codes = pair.encode(pa.array([None, -1.0, 1.0, None]), categories(["a", "never seen", None, None]))
    assert codes.tolist() == [none] * 4


def test_a_part_of_a_time_is_named_with_its_column() -> None:
    hour, weekday = CalendarTerm("when", "hour", (3, 4)), CalendarTerm("when", "weekday", (0, 1))
    assert hour.key == "hour(when)"
    pair = PairTerm(hour, weekday)
    assert pair.key == pair.column == "hour(when) x weekday(when)"
    assert hour.key == "hour(when)"
    assert LEVELS.key == "c"
    monday = pa.array([datetime(2024, 1, 1, 4, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    assert pair.encode(monday, monday).tolist() == [2]


def test_neighbouring_bins_merge_into_ones_of_about_equal_counts() -> None:
    fine = BinTerm("x", tuple(np.arange(1.0, 64.0)), 0.0, 64.0)
    coarse = coarsened(fine, np.full(64, 100), 8)
    assert isinstance(coarse, BinTerm)
    assert coarse.edges == (8.0, 16.0, 24.0, 32.0, 40.0, 48.0, 56.0)
    uneven = coarsened(fine, np.where(np.arange(64) < 8, 1000, 1), 8)
    assert isinstance(uneven, BinTerm)
    assert set(uneven.edges) <= set(fine.edges)
    assert len([edge for edge in uneven.edges if edge <= 8.0]) >= 6


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("most", [3, 5, 12])
def test_no_coarse_term_has_more_levels_than_asked_for(most: int, missing: bool) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, 40 + missing)
    terms = (
        BinTerm("x", tuple(np.arange(39.0)), 0.0, 40.0, missing),
        LevelTerm("c", tuple(f"l{k}" for k in range(39)), rare=True, missing=missing),
        LevelTerm("c", tuple(f"l{k}" for k in range(30)), buckets=10, missing=missing),
    )
    for term in terms:
        coarse = coarsened(term, counts, most)
        assert 2 <= len(coarse.names) <= most
        assert coarse.missing == missing


def test_the_most_frequent_levels_stay_and_the_others_are_pooled() -> None:
    term = LevelTerm("c", ("a", "b", "c", "d", "e"), missing=True)
    coarse = coarsened(term, np.asarray([5, 50, 4, 40, 3, 9]), 4)
    assert coarse == LevelTerm("c", ("b", "d"), rare=True, missing=True)


def test_a_term_that_is_coarse_already_stays_as_it_is() -> None:
    hours = CalendarTerm("when", "hour", tuple(range(24)))
    assert coarsened(hours, np.ones(24, dtype=np.intp), 12) is hours
    assert coarsened(BINS, np.ones(4, dtype=np.intp), 4) is BINS
