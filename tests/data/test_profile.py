"""Profiles: totals that can be merged, exact where they count and stable where they average."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from batchlearn.data.profile import (
    CategoryProfile,
    Moments,
    NumberProfile,
    TimeProfile,
    calendar_part,
    empty_profile,
    merge,
)
from batchlearn.tables.columns import Kind

NUMBERS = st.one_of(st.none(), st.floats(-1e12, 1e12), st.integers(-5, 5).map(float))
ROWS = st.lists(st.tuples(NUMBERS, st.floats(1e-6, 1e6)), max_size=30)
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "(missing)", ""]), st.text(max_size=3)), max_size=30)
TIMES = st.lists(
    st.one_of(st.none(), st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1))), max_size=20
)


def lots(rows: int) -> NDArray[np.uint64]:
    return np.arange(rows, dtype=np.uint64)


def number_profile(rows: list[tuple[float | None, float]]) -> NumberProfile:
    profile = NumberProfile()
    profile.update(
        pa.array([value for value, _ in rows], pa.float64()), np.array([weight for _, weight in rows]), lots(len(rows))
    )
    return profile


def category_profile(levels: list[str | None]) -> CategoryProfile:
    profile = CategoryProfile()
    profile.update(pa.array(levels, pa.string()).dictionary_encode(), np.ones(len(levels)), lots(len(levels)))
    return profile


def time_profile(times: list[datetime | None]) -> TimeProfile:
    profile = TimeProfile()
    profile.update(pa.array(times, pa.timestamp("us")), np.ones(len(times)), lots(len(times)))
    return profile


# --- merging --------------------------------------------------------------------------------------------------------


@given(ROWS, ROWS)
@settings(max_examples=150, deadline=None)
def test_numbers_merge_to_the_profile_of_both(
    first: list[tuple[float | None, float]], second: list[tuple[float | None, float]]
) -> None:
    both, merged = number_profile([*first, *second]), number_profile(first).merge(number_profile(second))
    assert (merged.rows, merged.missing, merged.low, merged.high) == (both.rows, both.missing, both.low, both.high)
    assert merged.below_zero == both.below_zero == sum(value is not None and value < 0.0 for value, _ in first + second)
    assert merged.names_rows == both.names_rows
    size = max((abs(value) for value, _ in [*first, *second] if value is not None), default=0.0)
    assert merged.mean == pytest.approx(both.mean, rel=1e-12, abs=1e-12 * size)
    assert merged.deviation == pytest.approx(both.deviation, rel=1e-9, abs=1e-12 * size)
    assert merged.missing_share == pytest.approx(both.missing_share, rel=1e-12)


@given(TEXTS, TEXTS)
@settings(max_examples=100, deadline=None)
def test_categories_merge_to_the_profile_of_both(first: list[str | None], second: list[str | None]) -> None:
    assert category_profile(first).merge(category_profile(second)) == category_profile([*first, *second])


@given(TIMES, TIMES)
@settings(max_examples=50, deadline=None)
def test_times_merge_to_the_profile_of_both(first: list[datetime | None], second: list[datetime | None]) -> None:
    both, merged = time_profile([*first, *second]), time_profile(first).merge(time_profile(second))
    assert (merged.rows, merged.missing) == (both.rows, both.missing)
    assert all(np.array_equal(merged.parts[part], both.parts[part]) for part in both.parts)


def test_merging_changes_neither_part() -> None:
    first, second = number_profile([(1.0, 1.0), (5.0, 2.0)]), number_profile([(9.0, 1.0)])
    before = first.moments, second.moments, first.names_rows
    merge({"x": first}, {"x": second})
    assert (first.moments, second.moments, first.names_rows) == before
    assert first.rows == 2


def test_an_empty_profile_is_neutral() -> None:
    profile = number_profile([(2.0, 1.0), (None, 3.0), (4.0, 1.0)])
    for merged in (profile.merge(NumberProfile()), NumberProfile().merge(profile)):
        assert merged.moments == profile.moments
        assert (merged.low, merged.high, merged.missing) == (2.0, 4.0, 1)
    assert NumberProfile().deviation == 0.0
    assert NumberProfile().missing_share == 0.0


@pytest.mark.parametrize(
    ("kind", "profile"),
    [
        (Kind.NUMBER, NumberProfile),
        (Kind.BOOLEAN, NumberProfile),
        (Kind.CATEGORY, CategoryProfile),
        (Kind.TIMESTAMP, TimeProfile),
    ],
)
def test_every_kind_has_a_profile(kind: Kind, profile: type) -> None:
    assert type(empty_profile(kind)) is profile


# --- moments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_weighted_moments_are_those_of_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, weight = rng.normal(3.0, 2.0, 9000), rng.uniform(0.1, 5.0, 9000)
    missing = rng.random(9000) < 0.1
    profile = NumberProfile()
    for part in np.array_split(np.arange(9000), 7):
        shown = pa.array(np.where(missing[part], np.nan, values[part]), from_pandas=True)
        profile.update(shown, weight[part], lots(len(part)))
    known, counted = values[~missing], weight[~missing]
    mean = np.average(known, weights=counted)
    assert profile.mean == pytest.approx(mean, rel=1e-13)
    assert profile.deviation == pytest.approx(np.sqrt(np.average((known - mean) ** 2, weights=counted)), rel=1e-12)
    assert profile.missing_share == pytest.approx(weight[missing].sum() / weight.sum(), rel=1e-13)


def test_a_large_offset_cancels_nothing() -> None:
    rng = np.random.default_rng(0)
    small = np.round(rng.normal(size=20_000), 5)
    profile = NumberProfile()
    for part in np.array_split(small, 9):
        profile.update(pa.array(part + 1e9), np.ones(len(part)), lots(len(part)))
    stored = small + 1e9 - 1e9  # what 1e9 leaves of the digits
    assert profile.deviation == pytest.approx(stored.std(), rel=1e-10)
    assert profile.mean - 1e9 == pytest.approx(stored.mean(), abs=1e-6)


@pytest.mark.parametrize("factor", [2.0**-1040, 2.0**-600, 2.0**-500, 2.0**490])
def test_very_small_and_very_large_numbers_have_a_deviation(factor: float) -> None:
    values = np.random.default_rng(1).normal(size=5000)
    plain, scaled = NumberProfile(), NumberProfile()
    plain.update(pa.array(values), np.ones(5000), lots(5000))
    scaled.update(pa.array(values * factor), np.ones(5000), lots(5000))
    assert scaled.deviation / factor == pytest.approx(plain.deviation, rel=1e-7)
    assert scaled.deviation > 0.0


def test_moments_do_not_depend_on_the_batches() -> None:
    rng = np.random.default_rng(2)
    values, weight = rng.normal(1e3, 1.0, 30_000), rng.uniform(0.5, 2.0, 30_000)
    values[rng.random(30_000) < 0.2] = np.nan
    found = set()
    for cuts in ([], [1], [4096, 8192], list(range(100, 30_000, 777)), [29_999]):
        profile = NumberProfile()
        for part in np.split(np.arange(30_000), cuts):
            profile.update(pa.array(values[part], from_pandas=True), weight[part], lots(len(part)))
        found.add((profile.moments, profile.low, profile.high, profile.missing))
    assert len(found) == 1


def test_moments_of_nothing_and_of_one_value() -> None:
    assert Moments.of(np.array([np.nan]), np.array([2.0])) == Moments(missing=2.0)
    assert Moments.of(np.array([7.0]), np.array([2.0])) == Moments(2.0, 0.0, 7.0, 0.0)
    assert math.isclose(Moments(1.0, 0.0, 0.0).merge(Moments(1.0, 0.0, 2.0)).spread, math.sqrt(2.0))


def test_booleans_are_numbers() -> None:
    profile = NumberProfile()
    profile.update(pa.array([True, False, None, True]), np.ones(4), lots(4))
    assert (profile.rows, profile.missing, profile.low, profile.high) == (4, 1, 0.0, 1.0)
    assert profile.mean == pytest.approx(2.0 / 3.0)


# --- names of rows and free text --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.arange(100.0), True),
        (np.arange(99.0), False),
        (np.arange(100.0) + 0.5, False),
        (np.append(np.arange(99.0), 5.0), False),
        (np.arange(3000.0) ** 2, False),  # spread so wide that numbers differ by chance
        (np.arange(3000.0) * 299.0, True),
        (np.arange(200.0) * 1e30, False),  # whole only because floats of that size are
        (np.append(np.arange(150.0), np.nan), False),
    ],
)
def test_a_whole_number_for_each_row_names_the_row(values: Any, expected: bool) -> None:
    whole = NumberProfile()
    whole.update(pa.array(values, from_pandas=True), np.ones(len(values)), lots(len(values)))
    parts = NumberProfile()
    for part in np.array_split(values, 3):
        parts.update(pa.array(part, from_pandas=True), np.ones(len(part)), lots(len(part)))
    assert whole.names_rows is parts.names_rows is expected


def test_levels_that_name_rows() -> None:
    assert category_profile([f"id{i}" for i in range(100)]).names_rows
    assert not category_profile([f"id{i}" for i in range(99)]).names_rows
    assert not category_profile([f"id{i % 50}" for i in range(100)]).names_rows
    assert category_profile([*(f"id{i}" for i in range(100)), *([None] * 500)]).names_rows


def test_sentences_are_text_and_codes_are_not() -> None:
    sentences: list[str | None] = [f"the parcel number {i} arrived late again" for i in range(60)]
    assert category_profile(sentences).is_text
    assert not category_profile(sentences[:49]).is_text
    assert not category_profile([f"code-{i}" for i in range(60)]).is_text
    assert not category_profile(sentences * 2).is_text


def test_batches_do_not_decide_what_is_text() -> None:
    levels: list[str | None] = [f"{i} of many words in one line" for i in range(40)]
    levels += [f"x{i}" for i in range(40)]
    parts = CategoryProfile()
    for level in levels:
        parts.update(pa.array([level], pa.string()).dictionary_encode(), np.ones(1), lots(1))
    assert parts == category_profile(levels)
    assert parts.is_text == category_profile(levels).is_text


# --- the calendar -----------------------------------------------------------------------------------------------------


def test_calendar_parts_are_those_of_python() -> None:
    times = [datetime(1969, 12, 31, 23, 59), datetime(1900, 2, 28, 1), datetime(2024, 2, 29), datetime(2008, 12, 1, 13)]
    array = pa.array([*times, None], pa.timestamp("us"))
    assert calendar_part(array, "hour").tolist() == [*(t.hour for t in times), -1]
    assert calendar_part(array, "weekday").tolist() == [*(t.weekday() for t in times), -1]
    assert calendar_part(array, "month").tolist() == [*(t.month - 1 for t in times), -1]


def test_a_time_profile_counts_each_part() -> None:
    profile = time_profile([datetime(1969, 12, 31, 23), datetime(1970, 1, 1, 23), None])
    assert (profile.rows, profile.missing) == (3, 1)
    assert profile.parts["hour"][23] == 2
    assert profile.parts["month"].tolist() == [1, *([0] * 10), 1]
    assert [int(counts.sum()) for counts in profile.parts.values()] == [2, 2, 2]
