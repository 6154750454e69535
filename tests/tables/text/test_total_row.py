from __future__ import annotations

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


def test_a_total_that_is_no_sum_is_noted(write: Write) -> None:
    path = write(with_last("Total", "5.0,7"))
    table = read(path)
    assert remarks(table) == [("item", True, "total_row", "--where 'item <> '\"'\"'Total'\"'\"''")]
    assert len(scanned(table)["x"]) == 601
    assert len(scanned(read(path, where="item <> 'Total'"))["x"]) == 600


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
