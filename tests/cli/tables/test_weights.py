"""Weights by the command line: frequencies are rows repeated, and a scale changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli.made import ROWS, Run, one_object, small_table


def test_frequencies_are_rows_repeated_and_the_model_knows_it(run: Run) -> None:
    table = small_table().append_column("times", pa.array(np.arange(ROWS) % 3 + 1.0))
    pq.write_table(table, "often.parquet")
    rows = np.repeat(np.arange(ROWS), np.arange(ROWS) % 3 + 1)
    pq.write_table(table.take(pa.array(rows)).drop(["times"]), "written.parquet")
    kind = ["--weight", "times", "--weight-kind", "frequency", "--output", "often"]
    often, written = (
        one_object(run("train", name, "--target", "bought", "--time", "day", *flags, "--json")[1])
        for name, flags in (("often.parquet", kind), ("written.parquet", ["--output", "written"]))
    )
    assert often["rows"]["used"] == written["rows"]["used"] == len(rows)
    assert often["evaluation"]["metrics"] == written["evaluation"]["metrics"]
    assert run("verify", "often", "often.parquet")[0] == 0
    evaluations = [
        one_object(run("evaluate", name, f"{name}.parquet", "--json")[1])["evaluation"]["metrics"]
        for name in ("often", "written")
    ]
    assert evaluations[0] == evaluations[1]
    assert run("predict", "often", "often.parquet", "-o", "scored.csv", "--json")[0] == 0
    assert len(Path("scored.csv").read_text(encoding="utf-8").splitlines()) == ROWS + 1
    code, _, err = run("train", "often.parquet", "--target", "bought", "--weight-kind", "frequency")
    assert (code, "--weight" in err) == (2, True)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_scale_of_the_weights_changes_nothing_that_is_printed(run: Run, scale: float) -> None:
    worth = np.random.default_rng(0).uniform(0.5, 2.0, ROWS)
    found = []
    for name, weight in (("plain", worth), ("scaled", scale * worth)):
        pq.write_table(small_table().append_column("worth", pa.array(weight)), f"{name}.parquet")
        flags = ["--time", "day", "--weight", "worth", "--output", name, "--json"]
        found.append(one_object(run("train", f"{name}.parquet", "--target", "bought", *flags)[1]))
    first, second = found
    assert second["alpha"] == pytest.approx(first["alpha"], rel=1e-12)
    metrics = [one["evaluation"]["metrics"]["log_loss"] for one in found]
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-6)
    assert second["structure"]["strengths"] == pytest.approx(first["structure"]["strengths"], rel=1e-6)
