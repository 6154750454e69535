"""Small tables of the shapes that people have: each does what the page beside their maker says, remedies included."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from tests.cases.made import Answer, Command, remedies

ROWS = 600
NUMBER, CATEGORY, TIME = ("number", True), ("category", True), ("timestamp", True)
FOUND_IN_NOISE = 1.5
"""Held-out squared error of a model that has both numbers behind `amount`, whose noise has variance 1."""
XZ = {"x": NUMBER, "z": NUMBER, "amount": NUMBER}


@dataclass(frozen=True)
class Case:
    """A file that trains without any flag but the target and time: how its columns are read, and what is said."""

    target: str
    columns: Mapping[str, tuple[str | None, bool]]
    said: tuple[str, ...] = ()
    """Regular expressions of what the notes say."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    time: str | None = None
    noise: float | None = None
    """A bound on the held-out squared error."""
    rows: int = ROWS


def dated(form: str) -> Case:
    return Case("y", {"when": TIME, "x": NUMBER, "y": NUMBER}, (rf"'when'.*{re.escape(form)}",), time="when")


TRAINING: Mapping[str, Case] = {
    "blank.csv": Case("left", {"plan": CATEGORY, "total": NUMBER, "left": CATEGORY}, (r"'total'.*6 rows.*' ' \(6\)",)),
    "missing_texts.csv": Case(
        "amount",
        {"plan": CATEGORY, "total": NUMBER, "amount": NUMBER},
        (r"'total'.*9 rows.*'#N/A' \(1\)", r"'' \(1\)", r"'-' \(1\)", r"'\?' \(1\)", r"'\.' \(1\)"),
        noise=2 * FOUND_IN_NOISE,
    ),
    "leading_zeros.csv": Case(
        "amount",
        {"zip": CATEGORY, "x": NUMBER, "amount": NUMBER},
        (r"'zip' is read as a category.*leading zeros, such as '0\d{4}'",),
        noise=0.7,  # levels of fewer than ten earlier rows share a coefficient
    ),
    "mixed_codes.csv": Case(
        "amount",
        {"invoice": ("category", False), "plan": CATEGORY, "x": NUMBER, "amount": NUMBER},
        (r"invoice.*left out.*identifier",),
        noise=2 * FOUND_IN_NOISE,
    ),
    "dates_dmy.csv": dated("%d/%m/%Y"),
    "dates_mdy.csv": dated("%m/%d/%Y"),
    "dates_dots.csv": dated("%d.%m.%Y %H:%M"),
    "dates_month.csv": dated("%d-%b-%Y"),
    "dates_slashes.csv": dated("%Y/%m/%d"),
    "dates_ampm.csv": dated("%m/%d/%Y %I:%M %p"),
    "dates_ambiguous.csv": Case(
        "y",
        {"when": ("category", False), "x": NUMBER, "y": NUMBER},
        (r"'when' was left out.*%d/%m/%Y.*%m/%d/%Y",),
    ),
    "positive.csv": Case("outcome", {"x": NUMBER, "z": NUMBER, "outcome": CATEGORY}, (r"[Pp]ositive.*'fraud'.*rarer",)),
    "three_decimals.csv": Case(
        "amount",
        {"x": NUMBER, "amount": NUMBER},
        (r"'x' is read as a number; missing in 1 row, written as 'NA' \(1\)",),
    ),
    "sentinel.csv": Case("amount", XZ, (r"'x'.*-999\b.*--null=-999",)),
    "pandas_index.csv": Case(
        "amount", {"column_1": ("number", False), **XZ}, (r"first column has no name.*left out",), noise=FOUND_IN_NOISE
    ),
    "trailing.csv": Case(
        "amount",
        {**XZ, "column_4": (None, False), "column_5": (None, False)},
        (r"Column 4 has neither a name nor values", r"Column 5 has"),
        noise=FOUND_IN_NOISE,
    ),
    "sep_line.csv": Case("amount", XZ, passed_over={"separator line": 1}, noise=FOUND_IN_NOISE),
    "preamble.csv": Case("amount", XZ, passed_over={"preamble": 2, "blank line": 1}, noise=FOUND_IN_NOISE),
    "footnote.csv": Case("amount", XZ, passed_over={"footnote": 1, "blank line": 1}, noise=FOUND_IN_NOISE),
    "repeated_header.csv": Case("amount", XZ, passed_over={"repeated header": 1}, noise=FOUND_IN_NOISE),
    "repeated_names.csv": Case(
        "amount",
        {"x": NUMBER, "x.2": NUMBER, "amount": NUMBER},
        (r"'x' more than once.*'x\.2'",),
        noise=FOUND_IN_NOISE,
    ),
    "utf16.csv": Case("amount", {"town": CATEGORY, "x": NUMBER, "amount": NUMBER}, noise=2 * FOUND_IN_NOISE),
    "total_row.csv": Case(
        "amount",
        {"item": CATEGORY, "x": NUMBER, "amount": NUMBER},
        passed_over={"total row": 1},
        noise=2 * FOUND_IN_NOISE,
    ),
    "units.csv": Case(
        "amount",
        {"share": NUMBER, "price": NUMBER, "euro": NUMBER, "amount": NUMBER},
        (r"'10\.6%' is 10\.6", r"'\$627\.55' is 627\.55", r"'6\.275,50 EUR' is 6275\.5"),
        noise=2 * FOUND_IN_NOISE,
    ),
    "free_text.csv": Case(
        "left",
        {"name": ("category", False), "plan": CATEGORY, "x": NUMBER, "left": CATEGORY},
        (r"name.*left out.*free text",),
    ),
    "partitions": Case("amount", {"date": TIME, **XZ}, time="date", rows=500),
}
REFUSED = {"labels_by_case.csv", "no_header.csv", "latin1.csv"}
"""Each has a test of its own below."""


def trained(ask: Command, folder: Path, name: str, *more: str) -> Answer:
    case = TRAINING[name]
    time = ("--time", case.time) if case.time else ()
    return ask("train", str(folder / name), "--target", case.target, *time, "--output", "model", "--force", *more)


def predictions(ask: Command, data: Path, output: str = "scored.csv") -> pa.Table:
    answer = ask("predict", "model", str(data), "-o", output, "--force")
    assert answer.code == 0, answer.record
    return pacsv.read_csv(output)


def test_every_table_and_every_row_of_its_page_is_tried(shared_cases: Path) -> None:
    made = {path.name for path in shared_cases.iterdir()}
    assert made == {*TRAINING, *REFUSED}
    page = Path(__file__).resolve().parents[2] / ".." / "shared" / "cases" / "README.md"
    cells = re.findall(r"^\| (.+?) \|", page.read_text(encoding="utf-8"), re.M)
    named = re.findall(r"[a-z0-9_*]+\.csv|partitions", "\n".join(cells))
    assert [name for name in named if not any(fnmatch(each, name) for each in made)] == []
    assert [each for each in made if not any(fnmatch(each, name) for name in named)] == []


@pytest.mark.parametrize("name", TRAINING)
def test_it_trains_and_says_what_is_read_in_a_special_way(ask: Command, shared_cases: Path, name: str) -> None:
    case, answer = TRAINING[name], trained(ask, shared_cases, name)
    assert answer.code == 0, answer.record
    assert answer.columns == case.columns
    assert answer.record["rows"]["read"] == answer.record["rows"]["used"] == case.rows
    assert answer.record["lines_passed_over"] == case.passed_over
    assert [pattern for pattern in case.said if not re.search(pattern, answer.said)] == [], answer.said
    assert answer.record["certificate"]["status"] == "certified"
    if case.noise is not None:
        assert answer.metric("mse") < case.noise


@pytest.mark.parametrize("name", TRAINING)
def test_every_flag_that_it_names_trains_as_printed(ask: Command, shared_cases: Path, name: str) -> None:
    case = TRAINING[name]
    said = trained(ask, shared_cases, name)
    time = ("--time", case.time) if case.time else ()
    command = ["train", str(shared_cases / name), "--target", case.target, *time, "--output", "again", "--force"]
    for remedy in remedies("\n".join([said.said, *(each["change"] or "" for each in said.record["columns"])])):
        assert remedy.complete, (remedy, said.said)
        if time and remedy.flag == "--categories":
            continue  # as a category the column of time orders nothing
        answer = ask(*remedy.applied(command))
        assert answer.code == 0, (remedy, answer.record)


def test_codes_keep_their_zeros(ask: Command, shared_cases: Path) -> None:
    assert trained(ask, shared_cases, "leading_zeros.csv").code == 0
    texts = pacsv.ConvertOptions(column_types={"zip": pa.string()})
    table = pacsv.read_csv(shared_cases / "leading_zeros.csv", convert_options=texts)
    pq.write_table(table, "exact.parquet")
    zeros_lost = table.set_column(0, "zip", pa.array([str(int(code)) for code in table["zip"].to_pylist()]))
    pq.write_table(zeros_lost, "lost.parquet")
    found = predictions(ask, shared_cases / "leading_zeros.csv")
    assert found.equals(predictions(ask, Path("exact.parquet")))
    assert not found.equals(predictions(ask, Path("lost.parquet")))


@pytest.mark.parametrize("name", [name for name in TRAINING if name.startswith("dates_") and "ambiguous" not in name])
def test_dates_that_could_be_read_otherwise_are_scored_in_the_form_of_the_training(
    ask: Command, shared_cases: Path, name: str
) -> None:
    assert trained(ask, shared_cases, name).code == 0
    header, *lines = (shared_cases / name).read_text().splitlines()
    # Both parts of the first twelve days of a month could be the day.
    places = [number for number, line in enumerate(lines) if all(int(part) <= 12 for part in _parts(line))]
    assert 0 < len(places) < len(lines)
    Path("few.csv").write_text("\n".join([header, *(lines[number] for number in places)]) + "\n")
    expected = predictions(ask, shared_cases / name).take(places)
    assert predictions(ask, Path("few.csv"), "few_scored.csv").equals(expected.combine_chunks())
    assert predictions(ask, Path("few.csv"), "again.csv")["prediction"].null_count == 0


def _parts(line: str) -> list[str]:
    """Return the parts of one or two digits of a date."""
    return [part for part in re.split(r"[^0-9]", re.split(r"[ ,]", line)[0]) if 0 < len(part) <= 2]


def test_an_ambiguous_date_as_time_is_refused_with_two_choices_that_train(ask: Command, shared_cases: Path) -> None:
    command = ["train", str(shared_cases / "dates_ambiguous.csv"), "--target", "y", "--time", "when"]
    refused = ask(*command)
    assert (refused.code, refused.error) == (3, "date-order")
    choices = remedies(refused.message)
    assert list(dict.fromkeys(choice.words for choice in choices)) == [
        ("--date-format", "%d/%m/%Y"),
        ("--date-format", "%m/%d/%Y"),
    ]
    for choice in choices:
        answer = ask(*choice.applied(command))
        assert answer.code == 0, answer.record
        assert answer.columns["when"] == TIME


def test_the_rarer_class_is_predicted_or_the_one_asked_for(ask: Command, shared_cases: Path) -> None:
    first = trained(ask, shared_cases, "positive.csv")
    assert predictions(ask, shared_cases / "positive.csv").column_names[:2] == ["prediction", "probability_fraud"]
    scored = predictions(ask, shared_cases / "positive.csv")["probability_fraud"].to_pylist()
    outcomes = pacsv.read_csv(shared_cases / "positive.csv")["outcome"].to_pylist()
    share = outcomes.count("fraud") / ROWS
    assert sum(scored) / ROWS == pytest.approx(share, rel=0.01)
    # A ranking by chance has the share of the positive class as its average precision.
    constant = first.record["evaluation"]["baselines"]["constant"]["average_precision"]["value"]
    assert constant == pytest.approx(share, abs=0.05)

    turned = trained(ask, shared_cases, "positive.csv", "--positive", "ok")
    assert turned.record["evaluation"]["baselines"]["constant"]["average_precision"]["value"] > 0.8
    assert predictions(ask, shared_cases / "positive.csv")["probability_ok"].to_pylist() == pytest.approx(
        [1.0 - value for value in scored], abs=1e-6
    )


def test_a_point_before_three_digits_is_never_one_of_thousands(ask: Command, shared_cases: Path) -> None:
    answer = trained(ask, shared_cases, "three_decimals.csv")
    assert "thousand" not in str(answer.record)
    (column,) = answer.record["facts"]["columns"]
    assert column["median"] == pytest.approx(20.0, abs=0.2)


def test_labels_that_differ_by_case_are_refused_with_a_condition_that_trains(ask: Command, shared_cases: Path) -> None:
    command = ["train", str(shared_cases / "labels_by_case.csv"), "--target", "left"]
    refused = ask(*command)
    assert (refused.code, refused.error) == (3, "labels-by-case")
    (remedy,) = remedies(refused.message)
    answer = ask(*remedy.applied(command))
    assert answer.code == 0, answer.record
    # Spaces around a label are no part of it: "No" and " no" differ in case, " no" and "no" do not.
    assert answer.record["loss"] == "logistic"


def test_a_sentinel_taken_as_missing_predicts_better(ask: Command, shared_cases: Path) -> None:
    taken_as_number = trained(ask, shared_cases, "sentinel.csv")
    (remedy,) = {each for each in remedies(taken_as_number.said) if each.flag == "--null"}
    answer = trained(ask, shared_cases, "sentinel.csv", *remedy.words)
    assert answer.code == 0
    rows = (shared_cases / "sentinel.csv").read_text().count("-999")
    assert {each["column"]: each["missing"] for each in answer.record["facts"]["columns"]} == {"x": rows, "z": 0}
    assert answer.metric("mse") < taken_as_number.metric("mse")


def test_a_table_without_header_is_refused_and_then_named(ask: Command, shared_cases: Path) -> None:
    command = ["train", str(shared_cases / "no_header.csv"), "--target", "amount"]
    refused = ask(*command)
    assert (refused.code, refused.error) == (3, "header-is-data")
    (remedy,) = remedies(refused.message)
    unnamed = ask(*remedy.applied(command))
    assert (unnamed.code, unnamed.error) == (3, "column-missing")
    assert "column_3" in unnamed.message
    answer = ask(*remedy.applied([*command[:-1], "column_3"]))
    assert answer.code == 0, answer.record
    assert answer.columns == {"column_1": NUMBER, "column_2": NUMBER, "column_3": NUMBER}
    assert answer.record["rows"]["used"] == ROWS
    assert answer.metric("mse") < FOUND_IN_NOISE


def test_another_encoding_is_refused_with_the_flag_that_reads_it(ask: Command, shared_cases: Path) -> None:
    command = ["train", str(shared_cases / "latin1.csv"), "--target", "amount"]
    refused = ask(*command)
    assert (refused.code, refused.error) == (3, "not-utf8")
    (remedy,) = remedies(refused.message)
    answer = ask(*remedy.applied(command), "--output", "model")
    assert answer.code == 0, answer.record
    assert answer.columns == {"town": CATEGORY, "x": NUMBER, "amount": NUMBER}
    towns = [effect for effect in str(Path("model/model.json").read_text(encoding="utf-8")).split('"')]
    assert {"Köln", "Orléans", "Málaga"} <= set(towns)
    # The encoding is part of the model, and is not asked for again.
    assert len(predictions(ask, shared_cases / "latin1.csv")) == ROWS


def test_a_text_is_used_where_it_is_asked_for(ask: Command, shared_cases: Path) -> None:
    left_out = trained(ask, shared_cases, "free_text.csv")
    assert left_out.column("name")["change"] == "--text name"
    answer = trained(ask, shared_cases, "free_text.csv", "--text", "name")
    assert answer.code == 0, answer.record
    assert answer.column("name")["used"]
    assert answer.record["coefficients"] > left_out.record["coefficients"]


def test_one_partition_is_scored_alone(ask: Command, shared_cases: Path) -> None:
    assert trained(ask, shared_cases, "partitions").code == 0
    whole = predictions(ask, shared_cases / "partitions")
    for number, name in enumerate(["date=2024-03-02", "date=2024-03-04/part.csv"]):
        day = int(name[13:15])
        alone = predictions(ask, shared_cases / "partitions" / name, f"{number}.csv")
        assert alone.equals(whole.slice(100 * (day - 1), 100).combine_chunks())
