from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

import batchlearn as bl
from batchlearn.errors import UsageError
from batchlearn.tables.conditions import (
    After,
    And,
    Before,
    Condition,
    Missing,
    Not,
    Or,
    Written,
    for_any_time,
    together,
)

NOON = datetime.datetime(2024, 1, 2, 12, 0, 0, 7)
A, B = Written("a = 1 or b = 2"), Written("b <> 3")
CONDITIONS: list[Condition] = [
    A,
    Not(A),
    Not(Not(B)),
    And((A, B)),
    And((A,)),
    Or((And((A, B)), Missing("a"))),
    Before("at", NOON),
    After("at", NOON),
    Not(Before("at", NOON)),
    And((Before("at", NOON), Not(And((A, After("b", 1.5)))))),
    Before("b", 2.0),
    After("b", -1.0),
    Before('an odd "name"', 1e300),
    Not(Missing("at")),
]


def table() -> pa.Table:
    """Every pair of values, missing ones among them."""
    values = [(a, b, at) for a in (None, 1.0, 2.0) for b in (None, -1.0, 1.5, 2.0, 3.0) for at in (None, -1, 0, 1)]
    moments = [None if at is None else NOON + datetime.timedelta(microseconds=at) for *_, at in values]
    return pa.table(
        {
            "a": pa.array([a for a, *_ in values], pa.float64()),
            "b": pa.array([b for _, b, _ in values], pa.float64()),
            "at": pa.array(moments, pa.timestamp("us")),
            'an odd "name"': pa.array([b for _, b, _ in values], pa.float64()),
            "row": pa.array([float(row) for row in range(len(values))]),
        }
    )


def kept(where: Condition | str) -> list[float]:
    return [row for batch in bl.read(table(), where=where).scan(["row"]) for row in batch.column("row").to_pylist()]


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_a_condition_keeps_the_rows_that_its_text_keeps(condition: Condition) -> None:
    assert kept(condition) == kept(str(condition))


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_a_condition_and_all_other_rows_are_all_rows(condition: Condition) -> None:
    assert sorted([*kept(condition), *kept(Not(condition))]) == [float(row) for row in range(table().num_rows)]


def test_conditions_are_joined_whole() -> None:
    joined = together(None, A, None, Written("c = 3"))
    assert str(joined) == "(a = 1 or b = 2) and (c = 3)"
    assert together(None) is None
    # Each stands by itself: else a stray bracket would change what the others mean, and let later rows in.
    with pytest.raises(UsageError) as refusal:
        kept(And((Written("a > -1) or (a < -100"), Written("b = 2"))))
    assert refusal.value.code == "where-not-sql"


def test_a_column_that_is_not_there_is_refused_in_the_words_of_the_whole() -> None:
    with pytest.raises(bl.DataError, match="and") as refusal:
        kept(And((Before("nowhere", 1.0), A)))
    assert refusal.value.code == "column-missing"


def test_what_rows_of_any_time_can_meet_is_what_people_wrote() -> None:
    known = And((Before("at", NOON), Not(Missing("b")), After("b", 1.5)))
    assert for_any_time(together(A, Not(B), known)) == And((A, Not(B)))
    assert for_any_time(A) == A
    assert for_any_time(known) is None
    assert for_any_time(None) is None
