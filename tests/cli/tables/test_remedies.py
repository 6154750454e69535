"""Whole command lines that errors print: typed as printed they work."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from tests.cli.made import Run, one_object


def write_towns(name: str) -> None:
    rng = np.random.default_rng(0)
    towns = np.array(["Köln", "Orléans", "Málaga"])[rng.integers(0, 3, 300)]
    rows = (f"{town},{x:.3f},{2.0 * x:.3f}" for town, x in zip(towns, rng.normal(size=300), strict=True))
    Path(name).write_bytes("\n".join(["town,x,miles a day", *rows, ""]).encode("latin-1"))


@pytest.mark.parametrize("given", [(), ("--encoding", "utf-8"), ("--encoding=utf-8",)])
def test_a_file_in_another_encoding_is_refused_with_the_command_that_reads_it(run: Run, given: tuple[str, ...]) -> None:
    write_towns("it's mine.csv")
    code, _, err = run("train", "it's mine.csv", *given, "--target", "miles a day", "--output", "m")
    message, command = err.splitlines()
    assert code == 3
    assert message.startswith("error: ")
    program, *typed = shlex.split(command)
    assert program == "batchlearn"
    assert typed.count("--encoding") == 1
    assert "--encoding=utf-8" not in typed
    code, _, err = run(*typed)
    assert code == 0, err
    assert "Köln" in Path("m/model.json").read_text(encoding="utf-8")


def test_json_has_the_command_too(run: Run) -> None:
    write_towns("towns.csv")
    _, out, _ = run("inspect", "towns.csv", "--json")
    command = one_object(out)["error"]["command"]
    assert command == "batchlearn inspect towns.csv --json --encoding cp1252"
    assert run(*shlex.split(command)[1:])[0] == 0


def test_labels_written_otherwise_are_shown_and_not_called_missing(run: Run) -> None:
    rng = np.random.default_rng(1)
    rows = [f"{x:.3f},{2.0 * x:.3f}" for x in rng.normal(size=200)]
    Path("rows.csv").write_text("\n".join(["x,y", *rows, ""]), encoding="utf-8")
    assert run("train", "rows.csv", "--target", "y", "--output", "m")[0] == 0
    commas = [row.replace(",", ";").replace(".", ",") for row in rows]
    Path("commas.csv").write_text("\n".join(["x;y", *commas, ""]), encoding="utf-8")
    code, _, err = run("evaluate", "m", "commas.csv")
    assert code == 3
    assert "200 values cannot be read as a number, such as '" + commas[0].split(";")[1] + "'" in err
    # Those that have a label lack a weight.
    weighted = [f"{row.replace(',', ';')};1" for row in rows]
    Path("rows.csv").write_text("\n".join(["x;y;w", *weighted, ""]), encoding="utf-8")
    assert run("train", "rows.csv", "--target", "y", "--weight", "w", "--output", "m", "--force")[0] == 0
    others = ["0.5;0.5;", "0.5;0.7;", *(f"{row};1" for row in commas)]
    Path("commas.csv").write_text("\n".join(["x;y;w", *others, ""]), encoding="utf-8")
    code, _, err = run("evaluate", "m", "commas.csv")
    assert code == 3
    assert "200 have no label (200 values cannot be read as a number, such as '" in err


def test_sentences_call_a_kind_of_column_a_time(run: Run) -> None:
    days = [str(np.datetime64("2024-01-01") + number % 50) for number in range(200)]
    Path("rows.csv").write_text("\n".join(["when,y", *(f"{day},{k % 7}.5" for k, day in enumerate(days)), ""]))
    assert run("train", "rows.csv", "--target", "y", "--output", "m")[0] == 0
    odd = ["31/12/2024,1.5", *(f"{day},{k % 7}.5" for k, day in enumerate(days))]
    Path("odd.csv").write_text("\n".join(["when,y", *odd, ""]))
    code, out, err = run("evaluate", "m", "odd.csv")
    assert code == 0, err
    assert "'when' has values in 1 row that cannot be read as a time" in " ".join(out.split())
    assert "timestamp" not in out


def test_names_that_differ_in_case_alone_are_checked_where_both_are_used(run: Run) -> None:
    rng = np.random.default_rng(2)
    rows = [f"{x:.3f},{z:.3f},{3.0 * x:.3f}" for x, z in rng.normal(size=(200, 2))]
    Path("rows.csv").write_text("\n".join(["x,X,y", *rows, ""]), encoding="utf-8")
    code, _, err = run("train", "rows.csv", "--target", "y", "--output", "m")
    assert code == 3
    assert "leave one out (--drop X)" in err
    code, out, err = run("train", "rows.csv", "--target", "y", "--output", "m", "--drop", "X", "--json")
    assert code == 0, err
    assert one_object(out)["evaluation"]["metrics"]["mse"]["value"] < 0.01
    # The model knows x alone: later files may have both.
    assert run("predict", "m", "rows.csv", "-o", "out.csv")[0] == 0
    assert run("evaluate", "m", "rows.csv")[0] == 0
    assert run("verify", "m", "rows.csv")[0] == 0
    assert run("inspect", "rows.csv", "--target", "y", "--drop", "x")[0] == 0
