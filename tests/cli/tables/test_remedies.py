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
    code, out, err = run(*typed)
    assert code == 0, err
    assert "Köln" in Path("m/model.json").read_text(encoding="utf-8")


def test_json_has_the_command_too(run: Run) -> None:
    write_towns("towns.csv")
    code, out, _ = run("inspect", "towns.csv", "--json")
    command = one_object(out)["error"]["command"]
    assert command == "batchlearn inspect towns.csv --json --encoding cp1252"
    assert run(*shlex.split(command)[1:])[0] == 0
