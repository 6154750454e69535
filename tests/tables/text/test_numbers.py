from __future__ import annotations

import pytest
from tests.tables.text.files_of_text import Write, column_of, refusal, remarks, scanned, values

from batchlearn.tables.table import Kind, read


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["12.3%", "-0.5%"], [12.3, -0.5]),
        (["$12.30", "-$1,200.50"], [12.3, -1200.5]),
        (["1.234,50 EUR", "999,00 EUR"], [1234.5, 999.0]),
        (["1,5", "2,75"], [1.5, 2.75]),
        (["1,234", "12.5"], [1234.0, 12.5]),
        (["1,234", "12,5"], [1.234, 12.5]),
        (["1,234,567", "1,234"], [1234567.0, 1234.0]),
        (["1.234.567", "1.234"], [1234567.0, 1234.0]),
        (["12,345,678.90", "7"], [12345678.9, 7.0]),
        (["1'234.50", "7"], [1234.5, 7.0]),
        (["1 234,5", "12\u00a0345,25"], [1234.5, 12345.25]),
        (["0,123", "0,456"], [0.123, 0.456]),
        (["(1,200.50)", "7.25"], [-1200.5, 7.25]),
        (["($5.00)", "$7.25"], [-5.0, 7.25]),
        (["5 kg", "7.5 kg"], [5.0, 7.5]),
        (["159lbs", "183lbs"], [159.0, 183.0]),
        (["1.37kg", "2kg"], [1.37, 2.0]),
        (["8GB", "16GB"], [8.0, 16.0]),
        (["$28.3M", "$0.5k", "$2bn", "$7"], [28.3e6, 500.0, 2e9, 7.0]),
        (["-€105.5M", "(€565K)", "€0"], [-105.5e6, -565e3, 0.0]),
        (["+1.5", "2."], [1.5, 2.0]),
        ([" 12", "13 "], [12.0, 13.0]),
    ],
)
def test_numbers_in_the_forms_of_people(write: Write, texts: list[str], expected: list[float]) -> None:
    assert values(write(column_of(texts * 20)))["x"] == expected * 20


def test_a_form_that_is_read_is_noted(write: Write) -> None:
    table = read(write(column_of(["1.234,50 EUR", "7,00 EUR"] * 20)))
    assert remarks(table) == [("x", True, "written_numbers", "--categories x")]
    assert str(table.remarks[0].note) == "'x' is read as a number: '1.234,50 EUR' is 1234.5."
    reading = table.readings["x"]
    assert (reading.kind, reading.decimal, reading.thousands, reading.affixes) == (Kind.NUMBER, ",", ".", ("EUR",))


def test_minus_signs_of_print_and_brackets_are_noted(write: Write) -> None:
    table = read(write(column_of(["0.25", "\u22120.123", "4", "\u22125e\u22121"] * 9)))
    assert scanned(table)["x"][:4] == [0.25, -0.123, 4.0, -0.5]
    assert remarks(table) == [("x", True, "written_numbers", "--categories x")]
    assert "'\u22120.123' is -0.123" in str(table.remarks[0].note)
    table = read(write(column_of([*map(str, range(1, 100)), "(7)"])))
    assert scanned(table)["x"][-1] == -7.0
    assert "'(7)' is -7." in str(table.remarks[0].note)
    table = read(write(column_of([*map(str, range(1, 100)), "(7\u00a0kg)"])))
    assert remarks(table) == [("x", False, "unreadable_texts", "--null '(7\u00a0kg)'")]
    assert values(write(column_of(["\u22121.234,50", "2,5"], delimiter=";")))["x"] == [-1234.5, 2.5]


def test_numbers_of_which_some_have_a_unit_are_not_read_silently(write: Write) -> None:
    path = write(column_of([text for k in range(100) for text in (f"{k}.5%", f"{k}.25%", f"{k}.5")]))
    assert [each[1:3] for each in remarks(read(path))] == [(False, "unreadable_texts")]
    error = refusal(path, target="x")
    assert error.code == "csv-mixed-column"
    assert "200 of its 300 values" in error.message


def test_a_category_that_is_half_numbers_is_noted(write: Write) -> None:
    table = read(write(column_of(["1", "2", "3", ".a", ".b"] * 90)))
    assert remarks(table) == [("x", True, "some_numbers", "--null .a,.b")]
    assert "270 of its 450 values are numbers, and others are '.a', '.b'." in str(table.remarks[0].note)
    assert table.column("x").kind is Kind.CATEGORY
    assert remarks(read(write(column_of(["1", "low", "high"] * 90)))) == []


def test_a_single_point_is_the_decimal_sign(write: Write) -> None:
    table = read(write(column_of(["20.123", "NA", "19.456"])))
    assert scanned(table)["x"] == [20.123, None, 19.456]
    assert [code for _, _, code, _ in remarks(table)] == ["missing_texts"]


def test_a_comma_before_three_digits_is_asked_about(write: Write) -> None:
    path = write(column_of(["1,234", "2,345", "17"]))
    table = read(path, target="y")
    assert [column.name for column in table.features] == []
    assert remarks(table) == [("x", False, "comma_before_three", "--decimal=.")]
    assert values(path, decimal=".")["x"] == [1234.0, 2345.0, 17.0]
    assert values(path, decimal=",")["x"] == [1.234, 2.345, 17.0]
    for role in ("target", "weight", "exposure", "time"):
        error = refusal(path, **{role: "x"})
        assert error.code == "csv-decimal-comma"
        assert "--decimal=. or --decimal=," in error.message


def test_a_semicolon_leaves_the_comma_to_decimals(write: Write) -> None:
    assert values(write(column_of(["1,234", "2,345"], delimiter=";")))["x"] == [1.234, 2.345]
    assert values(write("a;b\n1;1,5\n2;12,25\n3;4\n"))["b"] == [1.5, 12.25, 4.0]


@pytest.mark.parametrize("odd", ["12", "$12"])
def test_every_value_needs_the_form(write: Write, odd: str) -> None:
    table = read(write(column_of([*["12.3%"] * 300, odd])))
    assert remarks(table) == [("x", False, "unreadable_texts", f"--null '{odd}'" if "$" in odd else "--null 12")]


def test_magnitudes_without_a_currency_may_be_sizes(write: Write) -> None:
    assert read(write(column_of(["19M", "201k", "5M"] * 20))).column("x").kind is Kind.CATEGORY


def test_addresses_are_no_numbers(write: Write) -> None:
    table = read(write(column_of([f"{k} {street}" for k in range(20) for street in ("Main", "Oak", "Elm")])))
    assert table.column("x").kind is Kind.CATEGORY
    assert table.remarks == ()


def test_a_form_that_a_later_block_shows(write: Write) -> None:
    table = read(write(column_of([*["12.3456789012"] * 300_000, "1,234.5"])))
    assert scanned(table)["x"][-2:] == [12.3456789012, 1234.5]


def test_declared_categories_are_left_alone(write: Write) -> None:
    path = write('a,b\n1,"1,5"\n2,"1,234"\n3, 007\n')
    assert values(path, categories=["b"])["b"] == ["1,5", "1,234", "007"]


def test_numbers_with_a_dot_for_thousands_keep_their_sign_in_scoring(write: Write) -> None:
    trained = read(write(column_of(["1.234,50", "7,25"] * 20)))
    later = read(write(column_of(["1.234", "2.000", "x", "5"]), "later.csv"), like=trained.readings)
    scan = later.scan(["x"])
    assert [value for batch in scan for value in batch.column(0).to_pylist()] == [1234.0, 2000.0, None, 5.0]
    assert scan.unreadable == {"x": 1}
