"""Encoding: what one row becomes, and that neither batches nor names can change it."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchlearn.data.bins import NumberTerm
from batchlearn.data.encoding import CalendarTerm, Encoding, LevelTerm, level_label
from batchlearn.tables.columns import Kind


def levels(values: list[str | None]) -> pa.DictionaryArray:
    return pa.array(values, pa.string()).dictionary_encode()


def times(values: list[datetime | None]) -> pa.Array:
    return pa.array(values, pa.timestamp("us"))


ENCODING = Encoding(
    numbers=(NumberTerm("size", 2.0, 0.5, 0.0, 9.0, 0.25), NumberTerm("flag", 0.5, 0.5, 0.0, 1.0)),
    groups=(
        LevelTerm("colour", ("red", "green"), rare=True, missing=True),
        LevelTerm("code", ("a",), buckets=5),
        CalendarTerm("when", "month", (0, 5, 11), missing=True),
    ),
    kinds={
        "size": Kind.NUMBER,
        "flag": Kind.BOOLEAN,
        "colour": Kind.CATEGORY,
        "code": Kind.CATEGORY,
        "when": Kind.TIMESTAMP,
    },
    left_out={},
)


def made(rows: int, seed: int) -> dict[str, list[Any]]:
    rng = np.random.default_rng(seed)
    colours = ["red", "green", "blue", None]
    return {
        "size": [None if u < 0.3 else float(10.0 * u) for u in rng.random(rows)],
        "flag": [None if u < 0.3 else bool(u < 0.6) for u in rng.random(rows)],
        "colour": [colours[k] for k in rng.integers(0, 4, rows)],
        "code": [None if k == 0 else "abcdefghij"[k] for k in rng.integers(0, 10, rows)],
        "when": [None if k == 0 else datetime(1960, int(k), 3) for k in rng.integers(0, 13, rows)],
    }


def batch_of(columns: dict[str, list[Any]], start: int, stop: int) -> pa.RecordBatch:
    part = {name: values[start:stop] for name, values in columns.items()}
    arrays = [
        pa.array(part["size"], pa.float64()),
        pa.array(part["flag"], pa.bool_()),
        levels(part["colour"]),
        levels(part["code"]),
        times(part["when"]),
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_a_missing_number_is_the_mean_with_an_indicator() -> None:
    term = NumberTerm("x", 2.0, 0.5, 0.0, 9.0, 0.25)
    out = np.empty((2, 3))
    term.encode(pa.array([1.0, None, 3.0]), out)
    assert out.tolist() == [[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]
    assert term.names == ("x", "x = (missing)")
    assert term.shift == (2.0, 0.25)
    assert list(term.scale) == pytest.approx([0.5, np.sqrt(0.25 * 0.75)])


def test_a_missing_number_where_training_had_none_is_the_mean() -> None:
    term = NumberTerm("x", 2.0, 0.5, 0.0, 9.0)
    out = np.empty((1, 2))
    term.encode(pa.array([None, 3.0], pa.float64()), out)
    assert out.tolist() == [[2.0, 3.0]]
    assert (term.names, term.shift, term.scale) == (("x",), (2.0,), (0.5,))


def test_booleans_are_zero_and_one() -> None:
    term = NumberTerm("x", 0.75, 0.4, 0.0, 1.0, 0.5)
    out = np.empty((2, 3))
    term.encode(pa.array([True, False, None]), out)
    assert out.tolist() == [[1.0, 0.0, 0.75], [0.0, 0.0, 1.0]]


# --- levels -----------------------------------------------------------------------------------------------------------


def test_codes_are_the_levels_then_buckets_then_rare_then_missing() -> None:
    term = LevelTerm("c", ("a", "b"), rare=True, missing=True)
    assert term.names == ("c = a", "c = b", "c = (rare)", "c = (missing)")
    assert term.labels == ("a", "b", "(rare)", "(missing)")
    assert term.encode(levels(["b", "a", "other", None])).tolist() == [1, 0, 2, 3]


def test_what_training_never_saw_meets_no_coefficient() -> None:
    term = LevelTerm("c", ("a", "b"))
    assert term.encode(levels(["new", None, "a"])).tolist() == [2, 2, 0]
    assert term.unseen(levels(["new", None, "a"])).tolist() == [True, False, False]


def test_the_reference_level_meets_no_coefficient_and_is_not_unseen() -> None:
    term = LevelTerm("c", ("b",), rare=True, reference="a")
    assert term.names == ("c = b", "c = (rare)")
    assert term.encode(levels(["a", "b", "x"])).tolist() == [2, 0, 1]
    assert term.unseen(levels(["a", "b", "x", None])).tolist() == [False, False, True, False]


def test_hash_buckets_are_the_same_in_every_process() -> None:
    term = LevelTerm("c", ("a",), buckets=128)
    # From `b2sum -l 64` of the text, modulo the buckets, after the one level. Models depend on these figures.
    assert [term.code(level) for level in ("b", "türkis", "")] == [118, 89, 53]
    assert term.code("a") == 0
    codes = [term.code(f"level {i}") for i in range(2000)]
    assert min(codes) == 1
    assert max(codes) == 128
    assert max(np.bincount(codes)) < 40


def test_a_level_named_as_one_of_ours_collides_with_nothing() -> None:
    ours = ("(missing)", "(rare)", "(hash 0)", "__unseen__", "(not seen in training)")
    term = LevelTerm("c", ours, buckets=1, missing=True)
    assert term.encode(levels([*ours, None, "new"])).tolist() == [0, 1, 2, 3, 4, 6, 5]
    assert len(set(term.names)) == len(term.names) == 7
    assert term.names[0] == 'c = "(missing)"'
    assert term.names[3] == "c = __unseen__"


def test_labels_of_levels_never_meet() -> None:
    texts = ["(missing)", '"(missing)"', '"\\"(missing)\\""', "missing", "", '"', "(", "'(missing)'"]
    assert len({level_label(text) for text in texts}) == len(texts)
    assert level_label("türkis (hell)") == "türkis (hell)"
    assert not level_label("(rare)").startswith("(")


# --- the calendar -----------------------------------------------------------------------------------------------------


def test_months_are_coded_by_value_and_shown_from_one() -> None:
    term = CalendarTerm("t", "month", (0, 11), missing=True)
    assert term.names == ("month(t) = 1", "month(t) = 12", "month(t) = (missing)")
    assert term.labels == ("1", "12", "(missing)")
    shown = times([datetime(1950, 12, 31), None, datetime(2000, 1, 1), datetime(2000, 6, 1)])
    assert term.encode(shown).tolist() == [1, 2, 0, 3]


def test_a_time_missing_where_training_had_none_meets_no_coefficient() -> None:
    term = CalendarTerm("t", "hour", (3, 23), reference=4)
    shown = times([None, datetime(1969, 12, 31, 23), datetime(1969, 12, 31, 3), datetime(1969, 12, 31, 4)])
    assert term.encode(shown).tolist() == [2, 1, 0, 2]


# --- the whole --------------------------------------------------------------------------------------------------------


def test_layout_names_shift_and_units_speak_of_the_same_coefficients() -> None:
    assert ENCODING.layout.size == len(ENCODING.names) == len(ENCODING.units) == 1 + 3 + 4 + 6 + 4
    assert ENCODING.names[:4] == ("(intercept)", "size", "size = (missing)", "flag")
    assert ENCODING.units[:4].tolist() == [1.0, 0.5, pytest.approx(np.sqrt(0.1875)), 0.5]
    assert len(ENCODING.shift) == len(ENCODING.scale) == ENCODING.layout.dense
    for group, part in zip(ENCODING.groups, ENCODING.layout.group_slices, strict=True):
        assert all(group.column in name for name in ENCODING.names[part])


@pytest.mark.parametrize("cuts", [[1], [7, 8, 9], list(range(10, 200, 10))])
def test_batches_do_not_change_what_a_row_becomes(cuts: list[int]) -> None:
    columns = made(200, seed=3)
    dense, codes = ENCODING.encode(batch_of(columns, 0, 200))
    bounds = [0, *cuts, 200]
    parts = [ENCODING.encode(batch_of(columns, a, b)) for a, b in pairwise(bounds)]
    assert np.array_equal(dense, np.hstack([part for part, _ in parts]))
    assert np.array_equal(codes, np.hstack([part for _, part in parts]))
    assert dense.shape == (3, 200)
    assert codes.shape == (3, 200)


def test_columns_are_found_by_name() -> None:
    batch = batch_of(made(50, seed=4), 0, 50)
    turned = batch.select([*reversed(batch.schema.names)])
    for one, other in zip(ENCODING.encode(turned), ENCODING.encode(batch), strict=True):
        assert np.array_equal(one, other)


def test_levels_never_seen_are_counted_by_column() -> None:
    columns = made(4, seed=5)
    columns["colour"], columns["code"] = ["red", "blue", None, "pink"], ["a", "a", "z", None]
    assert ENCODING.count_unseen(batch_of(columns, 0, 4)) == {"colour": 2, "code": 1}


def test_an_encoding_of_nothing_is_an_intercept() -> None:
    nothing = Encoding((), (), {}, {})
    assert nothing.layout.size == 1
    assert nothing.names == ("(intercept)",)
    dense, codes = nothing.encode(batch_of(made(5, seed=6), 0, 5))
    assert dense.shape == codes.shape == (0, 5)
