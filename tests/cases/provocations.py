"""A command for each error whose message names a flag, on a table made to provoke it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

ROWS = 120
NUMBER = np.random.default_rng(0).normal(size=ROWS)
SLOPE = (3.0 * NUMBER + np.random.default_rng(1).normal(size=ROWS)).round(3)
COUNT = np.random.default_rng(2).poisson(np.exp(0.5 * NUMBER)).astype(float)
COLOUR = np.array(["red", "green", "blue"])[np.arange(ROWS) % 3]
BOUGHT = np.where(NUMBER + np.random.default_rng(3).logistic(size=ROWS) > 0, "yes", "no")
DAYS = np.datetime64("2024-01-01", "us") + 86_400_000_000 * np.arange(ROWS)

Make = Callable[[], object]


def rows(**columns: Any) -> Make:
    """Return what writes rows.csv and rows.parquet of these columns, beside a column `x` of numbers."""

    def write() -> None:
        table = pa.table({"x": NUMBER, **columns})
        pacsv.write_csv(table, "rows.csv")
        pq.write_table(table, "rows.parquet")

    return write


def file(name: str, content: str, encoding: str = "utf-8") -> Make:
    """Return what writes a text file."""
    return lambda: Path(name).write_bytes(content.encode(encoding))


def texts(name: str, *values: str) -> Make:
    """Return what writes rows.csv with a column of texts that repeat, beside `x` and a number `y`."""
    lines = (f"{NUMBER[row]},{values[row % len(values)]},{SLOPE[row]}" for row in range(ROWS))
    return file("rows.csv", "\n".join([f"x,{name},y", *lines]) + "\n")


def database() -> None:
    """Write rows.db with two tables, of which one's name has a space."""
    with contextlib.closing(sqlite3.connect("rows.db")) as base, base:
        for name in ("rows", "more rows"):
            base.execute(f'create table "{name}" (x real, y real)')
            base.executemany(f'insert into "{name}" values (?, ?)', zip(NUMBER.tolist(), SLOPE.tolist(), strict=True))


def workbook() -> None:
    """Write rows.xlsx with two sheets, of which one's name has a space."""
    book = openpyxl.Workbook()
    for sheet in (book.active, book.create_sheet("more rows")):
        sheet.append(["x", "y"])
        for row in zip(NUMBER.tolist(), SLOPE.tolist(), strict=True):
            sheet.append(row)
    book.save("rows.xlsx")


@dataclass(frozen=True)
class Provocation:
    """A command that fails, and how to complete what its message leaves to the reader."""

    code: str
    make: Make
    command: tuple[str, ...]
    values: Mapping[str, str | None] = field(default_factory=dict)
    """Values of flags that the message names without one; None where the flag is no remedy but what came."""
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Words of the command that the message says to leave out for a remedy, by what is typed for it."""
    before: tuple[tuple[str, ...], ...] = ()
    """Commands that have to be run first."""
    then: str | None = None
    """The code of the next error, where the message promises no more than a step."""


def changed(table: np.ndarray[Any, Any], value: Any, place: int = 7) -> np.ndarray[Any, Any]:
    """Return an array with another value at one place."""
    copy = table.copy()
    copy[place] = value
    return copy


TRAIN = ("train", "rows.csv", "--target", "y", "--output", "model", "--force")
STORED = ("train", "rows.parquet", "--target", "y", "--output", "model", "--force")
PREDICT = ("predict", "model", "rows.csv", "-o", "scored.csv")
REGRESSION = rows(y=SLOPE)
SEPARATED = rows(y=np.where(NUMBER > 0, "yes", "no"))
LINES = "".join(f"{NUMBER[row]},{COLOUR[row]},{SLOPE[row]}\n" for row in range(ROWS))
MANY = file("rows.csv", "x,z\n" + "".join(f"{row % 7},{row}\n" for row in range(201)))
LONG = str(2**53 + 1)
AMBIGUOUS = tuple(f"{day:02d}/{month:02d}/2024" for day in range(1, 11) for month in range(1, 13))
QUERY = ("--query", "select 1")
ONE_DAY = np.full(ROWS, np.datetime64("2024-01-01", "us"))

PROVOCATIONS = (
    Provocation(
        "class-weight-rule", rows(y=BOUGHT), (*TRAIN, "--class-weight", "all"), {"--class-weight": "yes=5,no=1"}
    ),
    Provocation(
        "class-weight-without-classes",
        rows(y=SLOPE, w=np.abs(NUMBER)),
        (*TRAIN, "--class-weight", "balanced"),
        {"--weight": "w"},
        without={"--weight w": ("--class-weight", "balanced")},
    ),
    Provocation("cost-missing", rows(y=BOUGHT), (*TRAIN, "--cost-false-positive", "1"), {"--cost-false-negative": "5"}),
    Provocation("csv-decimal-comma", texts("w", '"1,234"', '"4,555"'), (*TRAIN, "--weight", "w")),
    Provocation(
        "exposure-loss",
        rows(y=COUNT + 1.0, e=np.abs(NUMBER) + 0.1, o=NUMBER),
        (*TRAIN, "--loss", "squared", "--exposure", "e"),
        {"--offset": "o"},
        without={"--offset o": ("--exposure", "e")},
    ),
    Provocation("labels-by-case", texts("z", "Yes", "yes", "no"), ("train", "rows.csv", "--target", "z")),
    Provocation(
        "part-not-known",
        REGRESSION,
        (*TRAIN, "--query", "select 1"),
        {"--query": None, "--where": "x < 1"},
        {"--where x < 1": QUERY},
    ),
    Provocation("part-not-known", REGRESSION, (*TRAIN, "--sheet", "One"), {"--sheet": None}),
    Provocation("query-not-given", database, ("train", "rows.db", "--target", "y")),
    Provocation("sheet-not-named", workbook, ("train", "rows.xlsx", "--target", "y")),
    Provocation("positive-unknown", rows(y=BOUGHT), (*TRAIN, "--positive", "maybe"), {"--positive": "yes"}),
    Provocation("positive-without-two-classes", rows(y=COLOUR), (*TRAIN, "--positive", "red")),
    Provocation(
        "weight-frequency",
        rows(y=SLOPE, w=np.abs(NUMBER)),
        (*TRAIN, "--weight", "w", "--weight-kind", "frequency"),
    ),
    Provocation("weight-kind", rows(y=SLOPE, w=COUNT + 1.0), (*TRAIN, "--weight-kind", "frequency"), {"--weight": "w"}),
    Provocation(
        "exposure-not-positive",
        rows(y=COUNT, e=changed(np.abs(NUMBER), 0.0)),
        (*TRAIN, "--exposure", "e"),
        {"--where": "e > 0"},
    ),
    Provocation("header-is-data", file("rows.csv", LINES), TRAIN, then="column-missing"),
    Provocation(
        "integer-too-large",
        rows(y=SLOPE, id=2**53 + 1 + np.arange(ROWS)),
        STORED,
        {"--drop": "id", "--categories": "id"},
    ),
    Provocation("label-infinite", rows(y=changed(SLOPE, np.inf)), STORED, {"--where": "y < 1000"}),
    Provocation("label-negative", rows(y=SLOPE), (*TRAIN, "--loss", "poisson")),
    Provocation(
        "label-not-positive", rows(y=changed(np.abs(SLOPE) + 1, 0.0)), (*TRAIN, "--loss", "gamma"), {"--where": "y > 0"}
    ),
    Provocation("loss-for-classes", rows(y=COLOUR), (*TRAIN, "--loss", "squared")),
    Provocation("loss-for-two", rows(y=COLOUR), (*TRAIN, "--loss", "logistic")),
    Provocation("loss-unknown", REGRESSION, (*TRAIN, "--loss", "quantile")),
    Provocation("many-classes", MANY, ("train", "rows.csv", "--target", "z", "--loss", "softmax")),
    Provocation("no-finite-optimum", SEPARATED, (*TRAIN, "--alpha", "0"), {"--alpha": "0.1"}),
    Provocation("no-unique-optimum", rows(y=SLOPE, twin=2.0 * NUMBER), (*TRAIN, "--alpha", "0"), {"--alpha": "0.1"}),
    Provocation(
        "no-bounds",
        SEPARATED,
        (*PREDICT, "--bounds"),
        {"--alpha": None},
        before=((*TRAIN, "--alpha", "0", "--batch-size", "32"),),
    ),
    Provocation(
        "no-costs",
        rows(y=BOUGHT),
        (*PREDICT, "--fee", "1"),
        {"--cost-false-positive": None, "--cost-false-negative": None},
        before=(TRAIN,),
    ),
    Provocation("column-name-repeated", texts("X", "red", "green"), TRAIN),
    Provocation("not-utf8", file("rows.csv", "x,town,y\n" + LINES.replace("red", "Köln"), "cp1252"), TRAIN),
    Provocation("number-infinite", rows(y=SLOPE, v=changed(NUMBER, np.inf)), STORED, {"--where": "v < 1000"}),
    Provocation("number-overflows", rows(y=SLOPE, v=changed(NUMBER, 1e200)), STORED, {"--where": "v < 1000"}),
    Provocation(
        "one-group",
        rows(y=SLOPE, g=np.full(ROWS, "a"), g2=COLOUR),
        (*TRAIN, "--group", "g", "--split", "group"),
        {"--group": "g2"},
    ),
    Provocation(
        "one-time", rows(y=SLOPE, t=ONE_DAY, t2=DAYS), (*STORED, "--time", "t", "--split", "time"), {"--time": "t2"}
    ),
    Provocation("output-exists", REGRESSION, TRAIN[:-1], before=(TRAIN,)),
    Provocation("output-exists", REGRESSION, PREDICT, before=(TRAIN, PREDICT)),
    Provocation(
        "output-exists",
        REGRESSION,
        ("compare", "rows.csv", "--target", "y", "--output", "c.html"),
        {"--output": "d.html"},
        before=(("compare", "rows.csv", "--target", "y", "--output", "c.html"),),
    ),
    Provocation(
        "power-range",
        rows(y=COUNT + 1.0),
        (*TRAIN, "--power", "1.5"),
        without={"--loss poisson": ("--power", "1.5"), "--loss gamma": ("--power", "1.5")},
    ),
    Provocation("split-needs-group", rows(y=SLOPE, g=COLOUR), (*TRAIN, "--split", "group"), {"--group": "g"}),
    Provocation("split-needs-time", rows(y=SLOPE, t=DAYS), (*STORED, "--split", "time"), {"--time": "t"}),
    Provocation("threshold-range", REGRESSION, (*TRAIN, "--threshold", "1")),
    Provocation(
        "time-unit",
        rows(y=SLOPE, t=changed(DAYS, np.datetime64("2700-01-01", "us"))),
        (*STORED, "--time", "t"),
        {"--where": "t < '2100-01-01'"},
    ),
    Provocation(
        "time-zones-mixed",
        rows(y=SLOPE, t=["2024-01-31T10:00:00Z", "2024-02-01T11:00:00"] * (ROWS // 2), t2=DAYS),
        (*TRAIN, "--time", "t"),
        without={"--drop t": ("--time", "t")},
    ),
    Provocation(
        "tolerance-not-met", REGRESSION, (*TRAIN, "--tolerance", "1e-300"), {"--tolerance": "1e-6", "--alpha": None}
    ),
    Provocation(
        "weight-negative",
        rows(y=SLOPE, w=changed(np.abs(NUMBER), -1.0)),
        (*TRAIN, "--weight", "w"),
        {"--where": "w >= 0"},
    ),
    Provocation("strict", texts("price", "$1.50", "$2.50"), (*TRAIN, "--strict")),
    Provocation("csv-mixed-column", file("rows.csv", "x,c,y\n" + LINES.replace(f"{SLOPE[5]}\n", ">100\n")), TRAIN),
    Provocation("date-order", texts("t", *AMBIGUOUS), (*TRAIN, "--time", "t")),
)


REMARKS: Mapping[str, Make] = {
    "missing_texts": texts("c", "1.5", "2.5", "n/a"),
    "stray_texts": file(
        "rows.csv", "x,c,y\n" + "".join(f"{x},{'closed' if x == NUMBER[3] else x},{x}\n" for x in NUMBER)
    ),
    "unreadable_texts": file(
        "rows.csv", "x,c,y\n" + "".join(f"{x},{'>100' if x == NUMBER[3] else x},{x}\n" for x in NUMBER)
    ),
    "written_numbers": texts("c", "$1.50", '"$1,002.50"', "$7.00"),
    "comma_before_three": texts("c", '"1,234"', '"7,891"', '"4,555"'),
    "written_times": texts("c", "31/01/2024", "15/02/2024", "07/03/2024"),
    "order_of_date": texts("c", *AMBIGUOUS),
    "zones_mixed": texts("c", "2024-01-31T10:00:00Z", "2024-01-31T11:00:00"),
    "leading_zeros": texts("c", "00501", "10001", "02134"),
    "mixed_codes": texts("c", *(f"{'C' if code % 12 == 0 else ''}{code}" for code in range(536365, 536425))),
    "long_integers": texts("c", LONG, "12", "13"),
    "unnamed_index": file("rows.csv", ",x,y\n" + "".join(f"{row},{NUMBER[row]},{SLOPE[row]}\n" for row in range(ROWS))),
    "unnamed_column": file("rows.csv", "x,,y\n" + LINES),
    "trailing_delimiters": file("rows.csv", "x,c,y,\n" + LINES.replace("\n", ",\n")),
    "repeated_name": file("rows.csv", "x,x,y\n" + "".join(f"{x},{1.0 - x * x},{x}\n" for x in NUMBER)),
    "times_of_day": texts("c", "8:05", "12:30", "23:59"),
    "forms_of_times": texts("c", "2024-01-31", "31/01/2024"),
    "some_numbers": texts("c", "1", "2.5", "3", "low"),
    "delimiter_in_text": file(
        "rows.csv",
        "x,c,y\n" + LINES.replace("red", "red, dark").replace("green", "green, light").replace("blue", "blue, pale"),
    ),
    "offsets_mixed": texts("c", "2024-01-31T10:00:00+01:00", "2024-07-31T10:00:00+02:00"),
    "spike": file(
        "rows.csv", "x,c,y\n" + "".join(f"{x},{-999 if row % 10 == 0 else x},{x}\n" for row, x in enumerate(NUMBER))
    ),
    "time_spike": texts("c", *(f"2024-01-{day:02d}" for day in range(1, 20)), "1900-01-01"),
    "total_row": file("rows.csv", "x,my colour,y\n" + LINES + "1.0,Total,2.0\n"),
}
"""What provokes each note on a column `c` or on what the columns are called, in rows.csv with the target `y`."""
