"""Tables of every format from the shell, by the first natural command or the one that a message prints."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from tests.cli.made import Run
from tests.tables.formats.made import WRITERS, small_table


@pytest.mark.parametrize("name", list(WRITERS))
def test_each_format_is_trained_judged_scored_and_verified(run: Run, here: Path, name: str) -> None:
    WRITERS[name](small_table(), here / name)
    code, out, err = run("train", name, "--target", "label", "--time", "seen", "--output", "model", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["certificate"]["status"] == "certified"
    for command in (("evaluate", "model", name), ("verify", "model", name), ("inspect", name)):
        assert run(*command)[0] == 0
    assert run("predict", "model", name, "-o", "scored.csv")[0] == 0
    assert len((here / "scored.csv").read_text().splitlines()) == small_table().num_rows + 1


@pytest.mark.parametrize("name", list(WRITERS))
def test_of_no_rows_none_are_scored(run: Run, here: Path, name: str) -> None:
    WRITERS[name](small_table(), here / name)
    WRITERS[name](small_table(0), here / f"none-{name}")
    assert run("train", name, "--target", "label", "--output", "model")[0] == 0
    code, _, err = run("predict", "model", f"none-{name}", "-o", "scored.csv")
    assert (code, (here / "scored.csv").read_text()) == (0, '"prediction"\n'), err


def printed(message: str, flag: str) -> list[list[str]]:
    """Return each way in which a message says how to type a flag, as words."""
    return [shlex.split(found) for found in re.findall(rf"{flag} (?:'[^']*'|\S+)", message)]


def test_of_several_tables_the_message_prints_what_to_type(run: Run, here: Path) -> None:
    import sqlite3

    WRITERS["rows.sqlite"](small_table(), here / "shop.sqlite")
    with sqlite3.connect("shop.sqlite") as connection:
        connection.execute('CREATE TABLE "other rows" AS SELECT * FROM rows')
    connection.close()
    train = ("train", "shop.sqlite", "--target", "label", "--output", "model")
    code, _, err = run(*train)
    assert code == 2
    choices = printed(err, "--query")
    assert choices == [["--query", 'SELECT * FROM "rows"'], ["--query", 'SELECT * FROM "other rows"']]
    for choice in choices:
        code, out, _ = run(*train, *choice, "--force")
        assert code == 0
        # The command that is printed to go on with is typed as it is printed, too.
        after = next(line.strip() for line in out.splitlines() if "batchlearn verify" in line)
        assert run(*shlex.split(after)[1:])[0] == 0
        assert run("evaluate", "model", "shop.sqlite", *choice)[0] == 0
        assert run("predict", "model", "shop.sqlite", *choice, "-o", "scored.csv", "--force")[0] == 0


def test_of_several_sheets_the_message_prints_what_to_type(run: Run, here: Path) -> None:
    import openpyxl

    WRITERS["rows.xlsx"](small_table(), here / "book.xlsx")
    book = openpyxl.load_workbook("book.xlsx")
    book.copy_worksheet(book["Sheet"]).title = "it's 2024"
    book.save("book.xlsx")
    train = ("train", "book.xlsx", "--target", "label", "--output", "model")
    code, _, err = run(*train)
    assert code == 2
    assert "--sheet Sheet or --sheet " in err
    for words in shlex.split(err[err.index("--sheet Sheet") :])[1::3]:
        assert run(*train, "--sheet", words, "--force")[0] == 0
    assert (
        run("compare", "book.xlsx", "--target", "label", "--sheet", "Sheet", "--rows", "100", "--passes", "2")[0] == 0
    )


def test_integers_that_float64_rounds_train_by_either_printed_flag(run: Run) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = small_table()
    table = rows.append_column("order id", pa.array([2**60 + i % 7 for i in range(rows.num_rows)], pa.int64()))
    pq.write_table(table, "long.parquet")
    train = ("train", "long.parquet", "--target", "label", "--output", "model", "--force")
    code, _, err = run(*train)
    assert code == 3
    for flag in ("--categories", "--drop"):
        (words,) = printed(err, flag)
        assert run(*train, *words)[0] == 0


def test_one_folder_of_a_day_is_scored_alone(run: Run, here: Path) -> None:
    for number in range(5):
        folder = here / "parts" / f"date=2024-03-0{number + 1}"
        folder.mkdir(parents=True)
        WRITERS["rows.csv"](small_table().slice(24 * number, 24), folder / "part.csv")
    assert run("train", "parts", "--target", "label", "--time", "date", "--output", "model")[0] == 0
    for number, part in enumerate(("date=2024-03-02", "date=2024-03-02/part.csv")):
        assert run("predict", "model", f"parts/{part}", "-o", f"{number}.csv")[0] == 0
    assert run("predict", "model", "parts", "-o", "all.csv")[0] == 0
    lines = (here / "all.csv").read_text().splitlines()
    assert (here / "0.csv").read_text().splitlines()[1:] == lines[25:49]
    assert (here / "1.csv").read_text() == (here / "0.csv").read_text()
    shutil.rmtree(here / "parts")
