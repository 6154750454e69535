from __future__ import annotations

import pytest
from tests.tables.text.files_of_text import Write, column_of, refusal, remarks, scanned, values

from batchlearn.tables.table import Kind, read


def test_leading_zeros_make_a_category(write: Write) -> None:
    texts = ["00501", "10001", "unknown", "99999"]
    table = read(write(column_of(texts * 9)))
    assert remarks(table) == [("x", True, "leading_zeros", None)]
    assert scanned(table)["x"][:4] == ["00501", "10001", None, "99999"]


@pytest.mark.parametrize("texts", [["0.5", "0"], ["00.5", "1"], ["-01", "2"]])
def test_zeros_of_numbers_are_no_codes(write: Write, texts: list[str]) -> None:
    assert read(write(column_of(texts * 9))).column("x").kind is Kind.NUMBER


def test_leading_zeros_after_the_first_block(write: Write) -> None:
    assert values(write(column_of([*["1234567890123"] * 400_000, "0012"])))["x"][-2:] == ["1234567890123", "0012"]


def test_codes_may_look_like_exponents(write: Write) -> None:
    digests = [f"{k * 7 % 400:05d}e{k % 9}" for k in range(400)]
    table = read(write(column_of(digests)))
    assert remarks(table) == [("x", True, "leading_zeros", None)]
    assert scanned(table)["x"][:2] == ["00000e0", "00007e1"]
    # Blocks without a leading zero, which are read at once, are of codes too.
    later = read(write(column_of([*["1234567e1"] * 600_000, "0012e1"])))
    assert later.column("x").kind is Kind.CATEGORY
    assert read(write(column_of(["1e5", "0.5", "0e0", "12"] * 9))).column("x").kind is Kind.NUMBER
    assert read(write(column_of(["1e5", "00e-1"] * 9))).column("x").kind is Kind.NUMBER


def test_a_weight_with_leading_zeros_is_a_number(write: Write) -> None:
    assert values(write(column_of(["05", "10"])), weight="x")["x"] == [5.0, 10.0]


def test_codes_with_and_without_letters_are_a_category(write: Write) -> None:
    table = read(write(column_of([*map(str, range(536365, 536865)), "C536379", "C536381"])))
    assert remarks(table) == [("x", True, "mixed_codes", None)]
    assert scanned(table)["x"][-2:] == ["536864", "C536379"] or scanned(table)["x"][-1] == "C536381"
    diagnoses = [*(f"{k}.{k % 90 + 10}" for k in range(250, 850)), *(f"V{k}" for k in range(40, 60)), "E849.0"]
    assert remarks(read(write(column_of(diagnoses)))) == [("x", True, "mixed_codes", None)]
    many = [*map(str, range(85000, 85300)), *(f"{k}A" for k in range(85000, 85020))]
    assert read(write(column_of(many))).column("x").kind is Kind.CATEGORY


MEASURED = [*(f"{k / 100:.2f}" for k in range(390)), *(f"{k / 100:.2f}T" for k in range(12))]


def test_a_letter_after_a_measured_value_makes_no_code(write: Write) -> None:
    path = write(column_of(MEASURED))
    assert remarks(read(path)) == [("x", False, "unreadable_texts", "--categories x")]
    error = refusal(path, target="x")
    assert error.code == "csv-mixed-column"
    assert "'0.00T', '0.01T'" in error.message
    # 390 classes are no way out, nor is it to type 12 texts.
    assert error.message.endswith("Correct the column.")
    assert refusal(path, weight="x").code == "csv-mixed-column"


def test_few_texts_beside_the_numbers_of_a_target_are_all_typed(write: Write) -> None:
    path = write(column_of(MEASURED[:-2], "yield"))
    error = refusal(path, target="yield")
    flags = f"--null {','.join(f'{k / 100:.2f}T' for k in range(10))}"
    assert error.message.endswith(f" Add {flags}, or correct the column.")
    found = values(path, target="yield", null=flags.removeprefix("--null ").split(","))["yield"]
    assert found == [*(k / 100 for k in range(390)), *[None] * 10]


def test_codes_as_a_target_may_be_classes(write: Write) -> None:
    path = write(column_of([*(str(k % 7) for k in range(200)), *(f"{k % 3}A" for k in range(9))]))
    assert refusal(path, target="x").message.endswith("Add --null 0A,1A,2A or --categories x, or correct the column.")
    assert read(path, target="x", categories=["x"]).column("x").kind is Kind.CATEGORY


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,9007199254740993\n",
        "a,b\n1,9007199254740993\n2,0.5\n",
        "a,b\n" + "1,2\n" * 1_200_000 + "1,-9007199254740993\n",
    ],
    ids=["integers", "among floats", "in a later block"],
)
def test_d25_integer_beyond_2_to_the_53(write: Write, text: str) -> None:
    path = write(text)
    table = read(path)
    assert remarks(table) == [("b", False, "long_integers", "--categories b")]
    assert "9007199254740993" in str(table.remarks[0].note)
    error = refusal(path, target="b")
    assert error.code == "integer-too-large"
    assert "--categories b or --drop b" in error.message


def test_d26_integer_of_20_digits(write: Write) -> None:
    path = write("a,b\n1,7\n2,12345678901234567890\n")
    assert [column.name for column in read(path).features] == ["a"]
    assert values(path, categories=["b"])["b"] == ["7", "12345678901234567890"]


def test_2_to_the_53_itself_is_a_number(write: Write) -> None:
    assert values(write("a,b\n1,9007199254740992\n"))["b"] == [2.0**53]
