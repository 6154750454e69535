from __future__ import annotations

import operator
from fractions import Fraction

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchlearn.errors import DataError, UsageError
from batchlearn.tables.table import Table, read


def _rows() -> pa.Table:
    rng = np.random.default_rng(7)
    n = 400

    def holes() -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return rng.random(n) < 0.2

    return pa.table(
        {
            "row": np.arange(n),
            "a": pa.array(rng.integers(-3, 4, n), mask=holes()),
            "b": pa.array(rng.integers(-6, 7, n) / 2, mask=holes()),
            "small": pa.array(rng.integers(0, 5, n).astype(np.uint8), mask=holes()),
            "Town": pa.array(rng.choice(["Ulm", "Köln", "a%", ""], n), mask=holes()).dictionary_encode(),
            "odd name": pa.array(rng.choice(["x", "y"], n), mask=holes()),
            "open": pa.array(rng.random(n) < 0.5, mask=holes()),
            "day": pa.array(np.datetime64("2020-01-01", "us") + rng.integers(0, 4, n) * np.timedelta64(1, "D")),
        }
    )


ROWS = _rows()
TABLE = read(ROWS)


def kept(condition: str, table: Table = TABLE) -> list[float]:
    scan = read(ROWS, where=condition).scan(["row"]) if table is TABLE else table.scan(["row"])
    found: list[float] = [value for batch in scan for value in batch.column(0).to_pylist()]
    assert (scan.rows_read, scan.rows_kept) == (len(ROWS), len(found))
    return found


def expected(condition: str) -> list[float]:
    connection = duckdb.connect()
    connection.register("rows", ROWS)
    return [
        float(row) for (row,) in connection.execute(f"select row from rows where {condition} order by row").fetchall()
    ]


NUMBERS = st.sampled_from(["-2", "0", "1", "1.5", "-2.5", "1e0", "NULL"])
NUMERIC = st.sampled_from(["a", "b", "small", '"A"'])
TEXTS = st.sampled_from(["'Ulm'", "'Köln'", "'a%'", "''", "'none'", "NULL"])
DAYS = st.sampled_from(
    ["'2020-01-02'", "DATE '2020-01-03'", "TIMESTAMP '2020-01-02 12:00:00'", "'2020-01-03 00:00:00'"]
)
SIGNS = st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="])


def lists(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, min_size=1, max_size=3).map(", ".join)


SIMPLE = st.one_of(
    st.builds("{} {} {}".format, NUMERIC, SIGNS, NUMBERS | NUMERIC),
    st.builds("{} {} {}".format, NUMBERS, SIGNS, NUMERIC),
    st.builds("{} {} ({})".format, NUMERIC, st.sampled_from(["in", "not in"]), lists(NUMBERS)),
    st.builds("{} {} {} and {}".format, NUMERIC, st.sampled_from(["between", "not between"]), NUMBERS, NUMBERS),
    st.builds("town {} {}".format, SIGNS, TEXTS),
    st.builds("town {} ({})".format, st.sampled_from(["in", "not in"]), lists(TEXTS)),
    st.builds("Town {} {}".format, st.sampled_from(["like", "not like"]), st.sampled_from(["'%l%'", "'a_'", "'Ulm'"])),
    st.builds(
        "{} {}".format,
        st.sampled_from(["a", "town", "open", '"odd name"']),
        st.sampled_from(["is null", "is not null"]),
    ),
    st.sampled_from(
        ["open", "not open", "open = true", "open <> FALSE", "open is true", "open is not false", "true", "null"]
    ),
    st.builds("day {} {}".format, SIGNS, DAYS),
    st.builds("day in ({})".format, lists(DAYS)),
    st.builds("\"odd name\" {} 'x'".format, SIGNS),
)
CONDITIONS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds("({}) and ({})".format, inner, inner),
        st.builds("({}) or ({})".format, inner, inner),
        st.builds("not ({})".format, inner),
        st.builds("{} or {} and not {}".format, SIMPLE, SIMPLE, SIMPLE),
        st.builds("({}) = ({})".format, inner, st.sampled_from(["open", "true", "a < 1"])),
    ),
    max_leaves=6,
)


@settings(max_examples=150)
@given(CONDITIONS)
def test_a_condition_keeps_the_rows_that_duckdb_keeps(condition: str) -> None:
    assert kept(condition) == expected(condition)


@pytest.mark.parametrize(
    ("condition", "construct"),
    [
        ("lower(town) = 'ulm'", "a function"),
        ("abs(a) > 1", "a function"),
        ("day > current_date", "a function"),
        ("a in (select 1)", "a subquery"),
        ("a = (select 1)", "a subquery"),
        ("exists (select 1)", "a subquery"),
        ("a + 1 = 2", "an operator"),
        ("a || 'x' = 'y'", "an operator"),
        ("-a < 1", "an operator"),
        ("a = 1; drop table rows", "more than one statement"),
        ("a = 1 -- all", "a comment"),
        ("a /* b */ = 1", "a comment"),
        ("a::text = 'x'", "a cast"),
        ("case when open then true end", "CASE"),
        ("a = ?", "a placeholder"),
        ("rows.a = 1", "a name with a point"),
        ("a in (b)", "inside IN"),
        ("town like '\\\\'", "LIKE"),
        ("a is distinct from 1", "an operator"),
        ("drop table rows", "a command"),
        ("a as b", "AS"),
        ("a = 1" + " or a = 1" * 2000, "characters"),
        ("(" * 4000 + "a = 1" + ")" * 4000, "nesting"),
    ],
)
def test_other_constructs_are_refused_by_name(condition: str, construct: str) -> None:
    with pytest.raises(UsageError, match=construct) as caught:
        read(ROWS, where=condition)
    assert caught.value.code == "where-unsupported"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("condition", ["", "  ", "a =", "a, b", "= 1", "a = 'x", "(a = 1", "select > 1"])
def test_what_is_no_sql_is_refused(condition: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(ROWS, where=condition)
    assert caught.value.code == "where-not-sql"


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        ("a = 'x'", "column 'a', a number"),
        ("town > 3", "column 'Town', a category"),
        ("open = 1", "column 'open', a boolean"),
        ("day = 3", "column 'day', a timestamp"),
        ("day = town", "timestamp"),
        ("a", "column 'a' .* is a number"),
        ("not town", "is a category"),
        ("a like 'x'", "a number"),
        ("a in (1, 'x')", "a number"),
        ("a < b < 1", "boolean"),
    ],
)
def test_kinds_that_do_not_compare_are_refused(condition: str, kind: str) -> None:
    with pytest.raises(UsageError, match=kind) as caught:
        read(ROWS, where=condition)
    assert caught.value.code == "where-kind"


def test_a_text_that_is_no_time_is_refused() -> None:
    with pytest.raises(UsageError, match="31 Jan") as caught:
        read(ROWS, where="day > '31 Jan 2020'")
    assert caught.value.code == "where-not-a-time"


def test_an_unknown_column_is_named_with_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'Town'") as caught:
        read(ROWS, where="twon = 'Ulm'")
    assert caught.value.code == "column-missing"


def test_large_integers_are_compared_exactly() -> None:
    ids = pa.table({"id": [2**53, 2**53 + 1], "row": [0, 1]})
    scan = read(ids, where=f"id = {2**53 + 1}", drop=["id"]).scan(["row"])
    assert [batch.to_pydict() for batch in scan] == [{"row": [1.0]}]


WHOLE = [0, 5, 6, -5, -6, 2**24 + 1, 2**53 + 1, 2**63 - 1, -(2**63), 1_699_999_872]


@pytest.mark.parametrize("floating", [False, True], ids=["integers", "floats"])
@pytest.mark.parametrize(
    "literal", ["5.5", "-5.5", "5.0", "1699999872.0", "16777217.0", "16777216.5", "1e-300", "1e300", "-1e300"]
)
def test_whole_numbers_compare_with_any_fraction_as_numbers_do(literal: str, floating: bool) -> None:
    column = [float(value) for value in WHOLE] if floating else WHOLE
    rows = pa.table({"value": column, "row": np.arange(len(column))})
    for sign, holds in (("<", operator.lt), ("<=", operator.le), (">", operator.gt), ("=", operator.eq)):
        scan = read(rows, where=f"value {sign} {literal}").scan(["row"])
        found = [row for batch in scan for row in batch.column(0).to_pylist()]
        assert found == [row for row, value in enumerate(column) if holds(Fraction(value), Fraction(literal))]


def test_an_integer_that_no_float_holds_is_not_compared_with_one() -> None:
    with pytest.raises(DataError, match="an integer beyond 2\\^53") as refusal:
        list(read(pa.table({"value": [0.5, 1.0]}), where="value < 9007199254740993").scan(["value"]))
    assert refusal.value.code == "integer-too-large"


def test_a_time_with_a_zone_is_compared_in_utc() -> None:
    day = pa.array([0, 3600], pa.timestamp("s", tz="Europe/Berlin"))
    scan = read(pa.table({"day": day, "row": [0, 1]}), where="day >= '1970-01-01 02:00:00+01:00'").scan(["row"])
    assert [batch.to_pydict() for batch in scan] == [{"row": [1.0]}]


def test_nan_is_a_missing_value() -> None:
    scan = read({"x": np.array([np.nan, 1.0]), "row": np.arange(2)}, where="x is null").scan(["row"])
    assert [batch.to_pydict() for batch in scan] == [{"row": [0.0]}]
