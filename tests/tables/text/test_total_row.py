from __future__ import annotations

import shlex

import numpy as np
import pytest
from tests.tables.text.files_of_text import Write, remarks, scanned

from batchlearn.tables.table import read

X = np.random.default_rng(0).gamma(2, 300, 600).round(2)


def with_last(label: str, total: str, size: int = 600) -> str:
    rows = [f"i{k % 9},{x},{k}" for k, x in enumerate(X[:size])]
    return "\n".join(["item,x,n", *rows, f"{label},{total}"]) + "\n"


@pytest.mark.parametrize("label", ["Total", "TOTAL:", "", "Summe"])
@pytest.mark.parametrize("digits", [2, 0])
def test_a_row_of_sums_is_passed_over(write: Write, label: str, digits: int) -> None:
    table = read(write(with_last(label, f"{X.sum():.{digits}f},{sum(range(600))}")))
    assert table.lines_passed_over == {"total row": 1}
    assert len(scanned(table)["x"]) == 600
    assert table.remarks == ()


def test_null_does_not_bring_it_back(write: Write) -> None:
    table = read(write(with_last("Total", f"{X.sum():.2f},{sum(range(600))}")), null=["Total"])
    assert len(scanned(table)["x"]) == 600


@pytest.mark.parametrize(
    ("name", "label"), [("item", "Total"), ("Item name", "Total général"), ("Größe", "TOTAL:"), ('2" pipes', " total ")]
)
def test_a_total_that_is_no_sum_is_noted(write: Write, name: str, label: str) -> None:
    header = '"' + name.replace('"', '""') + '"'
    text = with_last(label, "5.0,7").replace("item", header, 1) + ",3.0,4\n"
    path = write(text.replace(f"{label},5.0,7\n,3.0,4\n", f",3.0,4\n{label},5.0,7\n"))
    table = read(path)
    ((column, used, code, change),) = remarks(table)
    assert (column, used, code) == (name, True, "total_row")
    assert len(scanned(table)["x"]) == 602
    option, condition = shlex.split(change or "")
    assert option == "--where"
    rows = scanned(read(path, where=condition))
    # The row without a label stays.
    assert rows["x"] == [*X, 3.0]
    assert rows[name][-1] is None


def test_a_class_of_that_name_is_no_total(write: Write) -> None:
    path = write("x,kind\n" + "1.5,ALL\n2.5,AML\n" * 40)
    assert read(path, target="kind").remarks == ()
    assert [each[2] for each in remarks(read(path))] == ["total_row"]


def test_a_total_in_a_column_of_numbers_is_taken_out_by_the_same_flag(write: Write) -> None:
    path = write("id,x\n" + "".join(f"{k},{k + 0.5}\n" for k in range(1, 300)) + "Total,7.0\n")
    (change,) = (each[3] for each in remarks(read(path)) if each[2] == "total_row")
    assert scanned(read(path, where=shlex.split(change or "")[1]))["id"] == [float(k) for k in range(1, 300)]


def test_rows_without_a_label_are_rows(write: Write) -> None:
    table = read(write(with_last("", "5.0,7")))
    assert len(scanned(table)["x"]) == 601
    assert table.remarks == ()


def test_the_total_of_numbers_with_units(write: Write) -> None:
    rows = "".join(f'i{k},"${1000 + k:,.2f}"\n' for k in range(40))
    table = read(write(f'item,x\n{rows}Total,"${40 * 1000 + 780:,.2f}"\n'))
    assert len(scanned(table)["x"]) == 40
    assert table.lines_passed_over == {"total row": 1}


def test_a_total_word_among_numbers_is_no_stray(write: Write) -> None:
    rows = "".join(f"{k},{k + 0.5}\n" for k in range(1, 300))
    table = read(write(f"id,x\n{rows}Total,{sum(k + 0.5 for k in range(1, 300))}\n"))
    assert table.remarks == ()
    assert len(scanned(table)["id"]) == 299


def with_first(label: str, total: str) -> str:
    return "\n".join(["item,x,n", f"{label},{total}", *(f"i{k % 9},{x},{k}" for k, x in enumerate(X)), ""])


@pytest.mark.parametrize("label", ["Gesamt", "TOTAL:", "All"])
def test_a_first_row_of_sums_is_passed_over(write: Write, label: str) -> None:
    table = read(write(with_first(label, f"{X.sum():.2f},{sum(range(600))}")))
    assert table.lines_passed_over == {"total row": 1}
    found = scanned(table)
    assert found["x"] == list(X)
    assert found["item"][0] == "i0"
    assert table.remarks == ()


def test_sums_may_be_first_and_last(write: Write) -> None:
    sums = f"{X.sum():.2f},{sum(range(600))}"
    table = read(write(with_first("Total", sums) + f"Total,{sums}\n"))
    # Of both the numbers are not the sums of the other rows.
    assert [each[2] for each in remarks(table)] == ["total_row", "total_row"]


def test_a_first_row_is_a_row_where_nothing_says_otherwise(write: Write) -> None:
    table = read(write(with_first("", f"{X.sum():.2f},{sum(range(600))}")))
    assert len(scanned(table)["x"]) == 601
    table = read(write(with_first("Total", "5.0,7")))
    assert len(scanned(table)["x"]) == 601
    (remark,) = table.remarks
    assert str(remark.note).startswith("The first row has 'Total' in 'item'")


def test_nothing_is_said_of_a_total_that_the_condition_leaves_out(write: Write) -> None:
    path = write(with_last("Total", "5.0,7"))
    assert [each[2] for each in remarks(read(path, where="x > 1"))] == ["total_row"]
    for condition in ("item <> 'Total'", "x > 5", "n <> 7"):
        assert remarks(read(path, where=condition)) == []
    folder = path.parent / "day=2"
    folder.mkdir()
    path.rename(folder / "rows.csv")
    assert [each[2] for each in remarks(read(path.parent, where="day = 2"))] == ["total_row"]
    assert remarks(read(path.parent, where="day = 2 AND item <> 'Total'")) == []
