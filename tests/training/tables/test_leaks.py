"""What gives the answer away, and rows that a model was trained on: said in the terminal and the JSON."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

import batchlearn as bl
from batchlearn.cli import main
from batchlearn.formatting.notes import Code

ROWS = 1500
RNG = np.random.default_rng(5)
X = RNG.normal(size=ROWS)
Y = (X + RNG.normal(size=ROWS) > 0).astype(int)
CLOSED = np.where((Y == 1) & (RNG.random(ROWS) < 0.3), "closed", "open")


def notes(columns: dict[str, object]) -> dict[Code, dict[str, object]]:
    fit = bl.train(bl.read(pa.table({**columns, "y": Y}), target="y"), bl.Recipe(alpha=1e-3))
    return {note.code: dict(note.values) for note in fit.notes}


def test_a_column_that_all_but_is_the_answer_is_named() -> None:
    found = notes({"x": X, "paid": 100.0 * Y + RNG.normal(size=ROWS)})[Code.TOO_GOOD]
    assert (found["metric"], found["column"], found["change"]) == ("auc", "paid", "--drop paid")


def test_a_level_that_tells_the_answer_is_named_with_its_rows() -> None:
    found = notes({"x": X, "state": CLOSED})[Code.LEAK]
    rows = int(np.sum(CLOSED == "closed"))
    assert found["levels"] == [
        {"class": "1", "level": "state = closed", "rows": rows, "share": 1.0, "share_of_all": pytest.approx(Y.mean())}
    ]
    assert found["change"] == "--drop state"


def test_honest_columns_are_no_leak() -> None:
    assert not {Code.LEAK, Code.TOO_GOOD} & notes({"x": X, "c": RNG.choice(["a", "b"], ROWS)}).keys()


def test_a_level_of_the_class_that_most_rows_have_is_no_leak() -> None:
    # As ages of 20 in a census: nearly none of them earns much, and neither do most people.
    rare = np.where(CLOSED == "closed", 1, (RNG.random(ROWS) < 0.3) & (X > 0.5)).astype(int)
    young = np.where((rare == 0) & (RNG.random(ROWS) < 0.2), "young", "old")
    assert rare.mean() < 0.3
    fit = bl.train(bl.read(pa.table({"x": X, "age": young, "y": rare}), target="y"), bl.Recipe(alpha=1e-3))
    assert Code.LEAK not in {note.code for note in fit.notes}


def test_a_perfect_score_of_many_columns_names_none() -> None:
    columns = {f"x{k}": RNG.normal(size=ROWS) for k in range(6)}
    label = (np.sum(list(columns.values()), axis=0) > 0).astype(int)
    fit = bl.train(bl.read(pa.table({**columns, "y": label}), target="y"), bl.Recipe(alpha=1e-6))
    (note,) = [note for note in fit.notes if note.code is Code.TOO_GOOD]
    assert (note.values["column"], note.values["change"]) == (None, None)


def test_leaks_and_own_rows_are_in_the_terminal_and_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = pa.table({"x": X, "state": CLOSED, "y": Y})
    pa_csv.write_csv(table, "rows.csv")
    pa_csv.write_csv(table.slice(0, ROWS - 1), "others.csv")
    assert main(["train", "rows.csv", "--target", "y", "--output", "model"]) == 0
    assert "state = closed" in " ".join(capsys.readouterr().out.split()).partition("give the label away")[2]
    assert main(["train", "rows.csv", "--target", "y", "--output", "again", "--json"]) == 0
    assert "leak" in [note["code"] for note in json.loads(capsys.readouterr().out)["noted"]]
    assert main(["evaluate", "model", "rows.csv"]) == 0
    assert "trained on these very 1,500 rows" in " ".join(capsys.readouterr().out.split())
    for file, said in (("rows.csv", ["own_rows"]), ("others.csv", [])):
        assert main(["evaluate", "model", file, "--json"]) == 0
        assert [note["code"] for note in json.loads(capsys.readouterr().out)["noted"]] == said


@pytest.mark.parametrize("named", [{"weight": "w"}, {"exposure": "days"}, {"time": "x"}])
def test_own_rows_are_known_whatever_columns_had_a_role(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, named: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    days = RNG.uniform(1.0, 3.0, ROWS)
    counts = RNG.poisson(days * np.exp(0.3 * X))
    weights = np.where(np.arange(ROWS) % 9, 1.5, 0.0)  # a row of no weight is not trained on
    pa_csv.write_csv(
        pa.table({"x": X, "w": weights, "days": days, "z": RNG.normal(size=ROWS), "y": counts}), "rows.csv"
    )
    flags = [part for role, column in named.items() for part in (f"--{role}", column)]
    assert main(["train", "rows.csv", "--target", "y", "--loss", "poisson", "--output", "model", *flags]) == 0
    capsys.readouterr()
    assert main(["evaluate", "model", "rows.csv", "--json"]) == 0
    assert [note["code"] for note in json.loads(capsys.readouterr().out)["noted"]] == ["own_rows"]
