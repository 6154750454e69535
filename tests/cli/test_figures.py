from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli.made import Run, small_table

import batchlearn as bl
from batchlearn.evaluation.intervals import Estimate
from batchlearn.formatting.names import in_short
from batchlearn.formatting.numbers import count, fixed, in_ascii, listed
from batchlearn.report.terminal import clean
from batchlearn.report.training.brief import strongest_effects
from batchlearn.report.values import interval, places_of


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.479, 0.534, "0.506"), (1281.0, 1889.0, "1,474"), (0.0994, 0.1026, "0.1011"), (None, None, "0.1011")],
)
def test_a_figure_has_two_digits_of_half_its_interval(low: float | None, high: float | None, expected: str) -> None:
    value = {0.479: 0.50590, 1281.0: 1473.8}.get(low or 0.0, 0.10111)
    assert in_ascii(fixed(value, places_of(Estimate(value, low, high)))) == expected


def test_figures_of_the_edges() -> None:
    assert in_ascii(fixed(None, None)) == "-"
    assert in_ascii(fixed(-0.0001, 3)) == "0.000"
    assert in_ascii(fixed(-3e20, 2)) == "-3.00e20"
    assert places_of(Estimate(1.0, 1.0, 1.0)) is None
    assert places_of(Estimate(1e-12, 0.0, 1e-12)) is None
    assert interval(Estimate(1.0, None, None)) == ""
    assert interval(Estimate(1.0, 1.0, 1.0)) == "1 to 1"
    assert interval(Estimate(0.5, 0.25, 0.75), 3) == "0.250 to 0.750"
    # A sentence may hold names from the data, which stay as they are.
    assert in_ascii("a\u2013b\u00a0c: \u22120.5 of 9\u00a0%, 3.6 \u00d7 10\u207b\u00b9\u00b2") == (
        "a\u2013b\u00a0c: -0.5 of 9 %, 3.6e-12"
    )
    assert (count(1, "row"), count(1234, "row")) == ("1 row", "1,234 rows")
    assert (in_short("auc"), in_short("log_loss"), in_short("r2")) == ("AUC", "log loss", "R2")
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\rb", "\u202egnp", "\x9b31m", "\x07"])
def test_clean_text_is_printable(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(text).isascii()


def test_effects_of_levels_are_contrasts_that_ignore_a_shift_between_levels_and_intercept() -> None:
    fit = bl.train(
        bl.read(small_table(rows=2000), target="bought", drop=["count", "day"]), bl.Recipe(holdout=0.0, alpha=5e-4)
    )
    found = {one.name: one for one in strongest_effects(fit.model, 10)}
    levels = [found[f"colour = {name}"] for name in ("red", "green", "blue")]
    assert abs(sum(one.estimate for one in levels)) < 1e-9
    # One level against the mean of three: a design with indicators of two levels has the same contrast and error.
    assert all(one.error is not None and 0.02 < one.error < 0.2 for one in levels)
    plain = fit.standard_errors["colour = red"]
    error = found["colour = red"].error
    assert error is not None
    assert plain > 3.0 * error
    assert np.isclose(found["size"].estimate, fit.coefficients["size"])
    assert np.isclose(found["size"].error or 0.0, fit.standard_errors["size"], rtol=1e-6)


@pytest.mark.parametrize(("split", "said"), [("time", True), ("random", False)])
def test_drift_is_said_where_rows_are_later_and_the_world_moved(run: Run, here: Path, split: str, said: bool) -> None:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=3000), np.arange(3000)
    chance = 1.0 / (1.0 + np.exp(-np.where(t < 2400, 1.5, -1.5) * x))
    pq.write_table(pa.table({"x": x, "t": t, "y": rng.random(3000) < chance}), here / "moved.parquet")
    code, out, _ = run("train", "moved.parquet", "--target", "y", "--time", "t", "--split", split)
    assert code == 0
    assert (
        "which is worse: the later rows differ from the earlier ones, a sign of drift." in " ".join(out.split())
    ) == said
    assert ("drift" in out) == said
    assert out.isascii()
