from __future__ import annotations

import pytest
from tests.tables.text.files_of_text import Write, column_of, refusal, remarks, scanned, values

from batchlearn.tables.table import Kind, read

WORDS = ["NA", "N/A", "#N/A", "null", "None", "-", "?", ".", " "]


def test_what_people_write_for_no_value(write: Write) -> None:
    table = read(write(column_of(["1.5", *WORDS, "", "3"])))
    assert scanned(table)["x"] == [1.5, *[None] * 10, 3.0]
    assert remarks(table) == [("x", True, "missing_texts", "--categories x")]
    note = table.remarks[0].note
    assert note.values["texts"] == {"": 1, **dict.fromkeys(WORDS, 1)}
    assert note.values["rows"] == 10
    assert set(table.readings["x"].null) == {word for word in WORDS if word.strip()}


def test_what_a_spreadsheet_could_not_compute_is_missing(write: Write) -> None:
    texts = [*map(str, range(20)), "#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!"]
    table = read(write(column_of(texts)))
    assert remarks(table) == [("x", True, "missing_texts", "--categories x")]
    assert scanned(table)["x"] == [*map(float, range(20)), *[None] * 5]


def test_a_role_is_not_asked_to_be_a_category(write: Write) -> None:
    path = write(column_of(["1.5%", "NA", "2.5%"]))
    for table in (read(path, target="x"), read(path, weight="x"), read(path, exposure="x")):
        assert remarks(table) == [("x", True, "written_numbers", None), ("x", True, "missing_texts", None)]


def test_d23_na_is_a_category(write: Write) -> None:
    path = write("country,b\nNA,1\nNaN,2\nnull,3\nDE,\n")
    assert values(path)["country"] == ["NA", "NaN", "null", "DE"]
    assert values(path, null=["NA", ""])["country"] == [None, "NaN", "null", "DE"]
    assert values(write(column_of(["NA", "?", "NA"])), categories=["x"])["x"] == ["NA", "?", "NA"]


def test_categories_keep_their_texts_but_for_outer_spaces(write: Write) -> None:
    path = write(column_of(["Yes", "yes ", " Yes", "  ", "a  b", "\u00a0No"]))
    assert values(path)["x"] == ["Yes", "yes", "Yes", None, "a  b", "No"]


@pytest.mark.parametrize("numbers", [["7"] * 2_000, [f"{k}.25" for k in range(2_000)]])
def test_stray_texts_are_missing_and_noted(write: Write, numbers: list[str]) -> None:
    table = read(write(column_of([*numbers, "lost", "broken", "lost"])))
    assert scanned(table)["x"][-4:] == [float(numbers[-1]), None, None, None]
    assert remarks(table) == [("x", True, "stray_texts", "--categories x")]
    assert table.remarks[0].note.values["texts"] == {"lost": 2, "broken": 1}


@pytest.mark.parametrize("odd", [">100", "1O0", "x7"])
def test_texts_with_a_digit_leave_the_column_out(write: Write, odd: str) -> None:
    path = write(column_of([*map(str, range(600)), odd]))
    table = read(path, target="y")
    assert [column.name for column in table.features] == []
    assert [each[:3] for each in remarks(table)] == [("x", False, "unreadable_texts")]
    assert repr(odd) in str(table.remarks[0].note)
    error = refusal(path, target="x")
    assert error.code == "csv-mixed-column"
    assert repr(odd) in error.message
    assert values(path, null=[odd])["x"][-1] is None


def test_too_many_stray_texts_leave_the_column_out(write: Write) -> None:
    table = read(write(column_of([*["1.5"] * 95, *["lost"] * 5])))
    assert remarks(table) == [("x", False, "unreadable_texts", "--null lost")]


def test_words_among_few_numbers_are_categories(write: Write) -> None:
    assert read(write(column_of([*["1"] * 80, *["other"] * 20]))).column("x").kind is Kind.CATEGORY


@pytest.mark.parametrize("value", ["1", "1.5", "true", "2020-01-01"])
def test_d24_a_stray_text_after_the_first_block(write: Write, value: str) -> None:
    path = write("b,a\n" + f"01234567890123,{value}\n" * 300_000 + "01234567890123,abc\n")
    table = read(path)
    assert table.column("a").kind is not Kind.CATEGORY
    assert ("a", True, "stray_texts", "--categories a") in remarks(table)
    last = [batch.column(0)[-1].as_py() for batch in table.scan(["a"])]
    assert last[-1] is None
    assert last[0] is not None


def test_null_means_the_text_without_its_spaces_and_the_number_in_any_form(write: Write) -> None:
    path = write(column_of(["-999", "-999.0", " -999 ", "5", " "]))
    assert values(path, null=["-999"])["x"] == [None, None, None, 5.0, None]
    assert values(path, null=[" "])["x"] == [-999.0, -999.0, -999.0, 5.0, None]


def test_infinity_as_text_is_a_stray(write: Write) -> None:
    assert values(write(column_of([*["1.5"] * 300, "inf"])))["x"][-1] is None


def test_a_later_file_of_other_texts_is_one_column_with_it(write: Write) -> None:
    folder = write("a,b\n1,2\n" * 1, "1.csv").parent
    write("a,b\nx,2\n", "2.csv")
    assert values(folder)["a"] == ["1", "x"]


def test_columns_that_a_model_does_not_know_are_looked_at(write: Write) -> None:
    trained = read(write(column_of(["1.5", "NA"])))
    later = read(write("new,x,y\n1.5,2.5,a\n2.5,?,b\n", "later.csv"), like=trained.readings)
    assert scanned(later) == {"new": [1.5, 2.5], "x": [2.5, None], "y": [None, None]}
    assert later.column("y").kind is Kind.NUMBER
