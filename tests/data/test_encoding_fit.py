"""Fitting an encoding: which columns stay, which levels keep a coefficient, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchlearn.data.encoding import CalendarTerm, Encoding, LevelTerm
from batchlearn.data.encoding_fit import EncodingRules, check_kinds, fit_encoding
from batchlearn.data.profile import empty_profile
from batchlearn.errors import DataError, UsageError
from batchlearn.tables.columns import Kind
from batchlearn.tables.table import read


def fitted(columns: Mapping[str, Any], time: str | None = None, **rules: Any) -> Encoding:
    """Fit an encoding to columns of Python or NumPy values."""
    table = read(pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()}))
    profiles = {column.name: empty_profile(column.kind) for column in table.columns}
    for batch in table.scan([column.name for column in table.columns]):
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            profiles[name].update(array, np.ones(len(array)), np.arange(len(array), dtype=np.uint64))
    return fit_encoding(table.columns, profiles, EncodingRules(**rules), time)


def level_term(encoding: Encoding) -> LevelTerm:
    (term,) = encoding.groups
    assert isinstance(term, LevelTerm)
    return term


def repeated(counts: Mapping[str | None, int]) -> list[str | None]:
    return [level for level, count in counts.items() for _ in range(count)]


# --- levels -----------------------------------------------------------------------------------------------------------


def test_levels_are_ordered_by_rows_then_by_name_whatever_the_order_of_rows() -> None:
    rows = repeated({"b": 20, "c": 30, "a": 20, "d": 20})
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(rows))
        assert level_term(fitted({"x": [rows[k] for k in order]})).levels == ("c", "a", "b", "d")


def test_rare_levels_are_pooled() -> None:
    term = level_term(fitted({"x": repeated({"a": 30, "b": 10, "c": 9, "d": 1})}))
    assert (term.levels, term.rare, term.missing) == (("a", "b"), True, False)
    assert term.names == ("x = a", "x = b", "x = (rare)")


def test_a_single_rare_level_keeps_its_coefficient() -> None:
    term = level_term(fitted({"x": repeated({"a": 30, "b": 10, "c": 9})}))
    assert (term.levels, term.rare) == (("a", "b", "c"), False)


def test_levels_that_are_all_rare_are_left_out_with_the_reason() -> None:
    encoding = fitted({"x": repeated({"a": 9, "b": 9, "c": 9})})
    assert encoding.groups == ()
    assert encoding.left_out == {"x": "none of its 3 levels has 10 rows"}
    kept = level_term(fitted({"x": repeated({"a": 9, "b": 9, "c": 9})}, minimum_rows=9))
    assert kept.levels == ("a", "b", "c")


@pytest.mark.parametrize(("reference", "names"), [(False, ("x = (rare)", "x = (missing)")), (True, ("x = (missing)",))])
def test_rare_levels_with_missing_values_still_say_something(reference: bool, names: tuple[str, ...]) -> None:
    term = level_term(fitted({"x": repeated({"a": 9, "b": 9, None: 9})}, reference=reference))
    assert term.names == names


def test_beyond_the_cap_levels_share_buckets() -> None:
    rows = [f"l{i:02d}" for i in range(40) for _ in range(10 + i)]
    term = level_term(fitted({"x": rows}, level_cap=30, buckets=8))
    assert term.levels == tuple(f"l{i:02d}" for i in range(39, 17, -1))
    assert (term.buckets, term.rare) == (8, False)
    assert {term.code(f"l{i:02d}") for i in range(18)} <= set(range(22, 30))


def test_without_a_penalty_the_most_frequent_level_is_the_reference() -> None:
    term = level_term(fitted({"x": repeated({"a": 20, "b": 30, None: 5})}, reference=True))
    assert (term.reference, term.levels, term.missing) == ("b", ("a",), True)


def test_literal_names_of_ours_are_levels_of_their_own() -> None:
    term = level_term(
        fitted({"x": repeated({"(missing)": 20, "(rare)": 15, "__unseen__": 12, "y": 2, "z": 2, None: 5})})
    )
    assert term.names == (
        'x = "(missing)"', 'x = "(rare)"', "x = __unseen__", "x = (rare)", "x = (missing)",
    )  # fmt: skip
    array = pa.array(["(missing)", "(rare)", "__unseen__", "new", None]).dictionary_encode()
    assert term.encode(array).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("rules", [{"minimum_rows": 0}, {"buckets": 512}, {"buckets": 0}, {"level_cap": 10}])
def test_rules_that_contradict_themselves_are_refused(rules: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="rules for levels") as refused:
        EncodingRules(**rules)  # type: ignore[arg-type]  # none of them is the boolean
    assert refused.value.code == "encoding-rules"


# --- what is left out -------------------------------------------------------------------------------------------------


def test_columns_that_say_nothing_are_left_out_with_the_reason() -> None:
    n = 200
    encoding = fitted(
        {
            "constant": np.full(n, 0.1),
            "one_level": ["a"] * n,
            "nothing": pa.nulls(n, pa.float64()),
            "no_level": pa.nulls(n, pa.string()),
            "row": np.arange(n),
            "key": [f"k{i}" for i in range(n)],
            "x": np.random.default_rng(0).normal(size=n),
        }
    )
    assert [term.column for term in encoding.numbers] == ["x"]
    assert encoding.columns == ("x",)
    assert encoding.left_out == {
        "constant": "it is constant",
        "one_level": "it is constant",
        "nothing": "every value is missing",
        "no_level": "every value is missing",
        "row": "every row has a number of its own: an identifier",
        "key": "200 levels in 200 rows: an identifier",
    }


def test_a_constant_with_missing_values_keeps_its_indicator() -> None:
    encoding = fitted({"x": [3.0, None, 3.0, None]})
    (term,) = encoding.numbers
    assert (term.mean, term.deviation, term.missing_share) == (3.0, 1.0, 0.5)
    assert encoding.names == ("(intercept)", "x", "x = (missing)")


def test_numbers_too_small_to_square_are_not_constant() -> None:
    (term,) = fitted({"x": np.array([1.0, 2.0, 3.0]) * 1e-300}).numbers
    assert term.deviation == pytest.approx(np.std([1.0, 2.0, 3.0]) * 1e-300)


def test_bins_of_numbers_far_from_zero_have_names_of_their_own() -> None:
    encoding = fitted({"x": 1e9 + np.arange(400.0) % 7}, additive=True)
    assert "1000000000.5 < x <= 1000000001.5" in encoding.names
    assert len(set(encoding.names)) == encoding.layout.size == 8


def test_free_text_and_identifiers_are_left_out() -> None:
    rows = [f"the {i}th customer wrote a long complaint" for i in range(120)]
    names = [f"Braund{i}, Mr." for i in range(120)]
    codes = [f"C{i}" for i in range(120)]
    encoding = fitted({"note": rows, "full name": names, "code": codes, "x": np.arange(120.0) / 3.0})
    assert encoding.left_out == {
        "note": "it is free text",
        "full name": "120 levels in 120 rows: an identifier",
        "code": "120 levels in 120 rows: an identifier",
    }
    assert encoding.columns == ("x",)


def test_two_coefficients_never_share_a_name() -> None:
    with pytest.raises(DataError, match="Rename a column") as refused:
        fitted({"x": [1.0, None, 2.0], "x = (missing)": [1.0, 2.0, 4.0]})
    assert refused.value.code == "coefficient-name-repeated"


# --- time -------------------------------------------------------------------------------------------------------------


def test_a_number_that_orders_the_rows_is_no_feature() -> None:
    encoding = fitted({"t": np.arange(10.0) / 7.0, "x": np.arange(10.0) % 3}, time="t")
    assert [term.column for term in encoding.numbers] == ["x"]
    assert encoding.left_out == {"t": "it orders the rows; a trend is no feature"}


def test_times_become_the_calendar_parts_that_vary() -> None:
    first = datetime(1969, 12, 25, 7)
    encoding = fitted({"t": [first + timedelta(days=i) for i in range(14)]}, time="t")
    terms = [term for term in encoding.groups if isinstance(term, CalendarTerm)]
    assert [(term.part, term.values) for term in terms] == [("weekday", tuple(range(7))), ("month", (0, 11))]
    assert encoding.left_out == {}


def test_a_missing_time_has_one_coefficient_and_the_reference_none() -> None:
    first = datetime(2020, 1, 1)
    shown = [first + timedelta(hours=17 * i) for i in range(60)]
    encoding = fitted({"t": [*shown, None]}, reference=True)
    terms = [term for term in encoding.groups if isinstance(term, CalendarTerm)]
    assert [term.missing for term in terms] == [True, False, False]
    assert all(term.reference is not None and term.reference not in term.values for term in terms)


def test_a_constant_time_is_left_out() -> None:
    encoding = fitted({"t": [datetime(2020, 1, 1)] * 5})
    assert encoding.left_out == {"t": "its calendar parts are constant"}


# --- another table ----------------------------------------------------------------------------------------------------


def test_a_table_must_have_the_columns_in_their_kinds() -> None:
    encoding = fitted({"x": [1.0, 2.0], "c": ["a", "b"]}, minimum_rows=1)
    assert encoding.kinds == {"x": Kind.NUMBER, "c": Kind.CATEGORY}
    check_kinds(encoding, {"x": Kind.NUMBER, "c": Kind.CATEGORY, "more": Kind.BOOLEAN}, "new.csv")
    check_kinds(encoding, {"x": Kind.NUMBER}, "new.csv")
    with pytest.raises(DataError, match="category values; the model was trained on number values") as other:
        check_kinds(encoding, {"x": Kind.CATEGORY, "c": Kind.CATEGORY}, "new.csv")
    assert other.value.code == "column-kind"
