from __future__ import annotations

import string
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.tables.text.files_of_text import Write, column_of, scanned

from batchlearn.formatting.flags import flag
from batchlearn.tables.columns import Kind
from batchlearn.tables.readings import ColumnReading, parse
from batchlearn.tables.table import read
from batchlearn.tables.text.inspection import TextRules, inspected
from batchlearn.tables.text.numbers import NumberStyle, numbers
from batchlearn.tables.text.survey import ColumnSurvey

STYLES = [
    NumberStyle(decimal, thousands, affixes)
    for decimal, thousands in ((".", ""), (".", ","), (",", "."), (",", ""), (".", "'"), (",", " "))
    for affixes in ((), ("%",), ("$",), ("EUR",))
]


def written(number: float, style: NumberStyle) -> str:
    """Write a number in a style, as a spreadsheet would."""
    digits = f"{abs(number):,.3f}".replace(",", "\0").replace(".", style.decimal).replace("\0", style.thousands)
    sign = "-" if number < 0 else ""
    before = "$" if "$" in style.affixes else ""
    after = "".join(f"{'' if affix == '%' else ' '}{affix}" for affix in style.affixes if affix != "$")
    return f"{sign}{before}{digits}{after}"


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1), st.sampled_from(STYLES))
def test_numbers_in_every_style_are_the_numbers_that_were_written(thousandths: list[int], style: NumberStyle) -> None:
    texts = pa.array([written(number / 1000, style) for number in thousandths])
    assert numbers(texts, style).to_pylist() == [number / 1000 for number in thousandths]


TEXTS = st.one_of(
    st.integers(-2000, 99999).map(str),
    st.floats(-1e6, 1e6).map(repr),
    st.sampled_from(
        ["NA", " ", "", "?", "1,234", "12,5", "$3", "4%", "007", "01/02/2020", "13/02/2020", "2020-01-01", "x"]
    ),
    st.text(string.ascii_letters, max_size=3),
)


@given(st.lists(TEXTS, min_size=1, max_size=40), st.integers(1, 40))
@example(["1"] * 3 + ["NA"], 3)
@example(["2020-01-01", "NA"], 1)
@example(["01/02/2020", "13/02/2020"], 1)
def test_where_blocks_end_decides_nothing(texts: Sequence[str], size: int) -> None:
    whole, parts = ColumnSurvey(), ColumnSurvey()
    array = pa.array([text or None for text in texts], pa.string())
    whole.add(array)
    for start in range(0, len(array), size):
        parts.add(array.slice(start, size))
    first, second = (inspected("x", survey, TextRules(), None) for survey in (whole, parts))
    assert first.reading == second.reading
    assert [(each.used, each.note.code) for each in first.remarks] == [
        (each.used, each.note.code) for each in second.remarks
    ]


def test_texts_become_values_of_each_kind() -> None:
    array = pa.array([" 1", "2", "NA", "?", "", " ", "1O0", None])
    values, unreadable = parse(array, ColumnReading(Kind.NUMBER, ("NA", "?")))
    assert values.to_pylist() == [1.0, 2.0, *[None] * 6]
    assert np.flatnonzero(unreadable).tolist() == [6]
    for given_array in (array, array.dictionary_encode()):
        levels, unreadable = parse(given_array, ColumnReading(Kind.CATEGORY, ("?",)))
        assert levels.type == pa.dictionary(pa.int32(), pa.string())
        assert levels.to_pylist() == ["1", "2", "NA", None, None, None, "1O0", None]
        assert not unreadable.any()
    flags, unreadable = parse(pa.array(["True", "false", "1", "0", "yes"]), ColumnReading(Kind.BOOLEAN))
    assert flags.to_pylist() == [True, False, True, False, None]
    assert unreadable.tolist() == [False] * 4 + [True]


def test_equal_levels_but_for_spaces_are_one() -> None:
    levels, _ = parse(pa.array(["a ", " a", "b", "a"]), ColumnReading(Kind.CATEGORY))
    assert levels.dictionary.to_pylist() == ["a", "b"]
    assert levels.to_pylist() == ["a", "a", "b", "a"]


@pytest.mark.parametrize("values", [["1.5", "NA"], ["a", " a"], ["31/12/2020", "13/01/2020"], ["true", ""]])
def test_what_was_found_in_training_reads_the_same_again(write: Write, values: list[str]) -> None:
    path = write(column_of(values))
    trained = read(path)
    again = read(path, like=trained.readings)
    assert again.readings == trained.readings
    assert again.remarks == ()
    assert scanned(again) == scanned(trained)


def test_a_model_reads_what_a_typed_source_stores_as_text() -> None:
    like = {"x": ColumnReading(Kind.NUMBER, decimal=","), "k": ColumnReading(Kind.CATEGORY)}
    table = read(pa.table({"x": ["1,5", "z"], "k": [1, 2], "n": [-999, 3]}), like=like, null=["-999"])
    scan = table.scan(["x", "k", "n"])
    assert pa.Table.from_batches(list(scan)).to_pydict() == {"x": [1.5, None], "k": ["1", "2"], "n": [None, 3.0]}
    assert scan.unreadable == {"x": 1}


def test_a_condition_reads_what_the_scan_reads(write: Write) -> None:
    table = read(write(column_of(["$5", "$7", "NA"])), where="x > 6")
    assert scanned(table)["x"] == [7.0]


@pytest.mark.parametrize(
    ("option", "values", "typed"),
    [
        ("--categories", ("zip",), "--categories zip"),
        ("--categories", ("zip code",), "--categories 'zip code'"),
        ("--drop", ("a,b",), "--drop '\"a,b\"'"),
        ("--null", ("-999",), "--null=-999"),
        ("--null", (">100", "<1"), "--null '>100,<1'"),
        ("--date-format", ("%b %d, %Y",), "--date-format '%b %d, %Y'"),
    ],
)
def test_flags_are_typed_as_a_shell_reads_them(option: str, values: tuple[str, ...], typed: str) -> None:
    assert flag(option, *values) == typed


def test_texts_count_as_stored_in_the_type_that_they_are_read_as(write: Write) -> None:
    path = write("a,b,c,d,e\n1,x,2020-01-01,2020-01-01T00:00:00Z,true\n")
    stored = [column.stored_as for column in read(path).columns]
    assert stored == ["double", "string", "timestamp[us]", "timestamp[us, tz=UTC]", "bool"]


def test_a_file_is_looked_at_once_until_it_is_written_again(write: Write) -> None:
    path = write(column_of(["1.5", "2.5"]))
    first = read(path, target="y")
    assert read(path, target="y").source is first.source
    assert read(path, target="y", null=["1.5"]).source is not first.source
    write(column_of(["a", "b", "c"]))
    assert read(path, target="y").column("x").kind is Kind.CATEGORY


def test_times_of_another_form_are_read_where_they_are_written_as_iso() -> None:
    reading = ColumnReading(Kind.TIMESTAMP, times="%d/%m/%Y")
    values, unreadable = parse(pa.array(["31/01/2024", "2024-02-01", "2024-02-03T04:05:06", "02/13/2024"]), reading)
    assert values.to_pylist() == [datetime(2024, 1, 31), datetime(2024, 2, 1), datetime(2024, 2, 3, 4, 5, 6), None]
    assert unreadable.tolist() == [False, False, False, True]
