"""Values that stand for missing ones: noted with their count and the flag, and used as they are."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

import batchlearn as bl
from batchlearn.cli import main
from batchlearn.data.bins import BinTerm
from batchlearn.formatting.notes import Code
from batchlearn.tables.readings import ColumnRemark

ROWS = 400
RNG = np.random.default_rng(3)
X, Y = RNG.normal(5.0, 1.0, ROWS), RNG.normal(size=ROWS)
AMOUNTS = RNG.exponential(300.0, ROWS)
DAYS = [datetime(2024, 1, 1) + timedelta(days=k % 300) for k in range(ROWS)]


def with_some(values: Iterable[object], some: object, every: int = 10) -> list[object]:
    """The values, each tenth of them another one."""
    return [some if k % every == 0 else value for k, value in enumerate(values)]


def spikes(table: dict[str, object], target: str = "y") -> dict[str, ColumnRemark]:
    fit = bl.train(bl.read(pa.table(table), target=target), bl.Recipe(alpha=0.1, holdout=0.0))
    codes = (Code.SPIKE, Code.TIME_SPIKE)
    return {use.name: one for use in fit.columns for one in use.remarks if one.note.code in codes}


@pytest.mark.parametrize(
    ("values", "some", "change"),
    [
        (X, -999.0, "--null=-999"),
        (X, 9999.0, "--null 9999"),
        (X, 99.99, "--null 99.99"),
        # As in hourly measurements of a street's air: less far from the others than they are from each other.
        (AMOUNTS, -200.0, "--null=-200"),
        (X, 0.5e6, '--where \'"x" is null or "x" <> 500000\''),
    ],
)
def test_a_spike_is_noted_with_its_rows_and_the_flag(values: np.ndarray, some: float, change: str) -> None:
    found = spikes({"x": with_some(values, some), "y": Y})
    assert list(found) == ["x"]
    note, others = found["x"].note, [value for k, value in enumerate(values) if k % 10]
    assert (note.values["value"], note.values["rows"], note.values["of"]) == (some, ROWS // 10, ROWS)
    assert (note.values["low"], note.values["high"]) == (min(others), max(others))
    assert (found["x"].used, found["x"].change) == (True, change)
    assert change in str(note)


def test_values_that_stand_for_missing_ones_at_both_ends_are_both_found() -> None:
    both = with_some(with_some(X, -999.0), 9999.0, every=7)
    table = bl.read({"x": both, "y": Y}, target="y")
    fit = bl.train(table, bl.Recipe(alpha=0.1, holdout=0.0))
    noted = [one.note.values["value"] for use in fit.columns for one in use.remarks if one.note.code is Code.SPIKE]
    assert noted == [-999.0, 9999.0]


def test_a_spike_in_a_target_is_noted() -> None:
    found = spikes({"x": X, "y": with_some(Y, -999.0)})
    assert (found["y"].note.values["rows"], found["y"].change) == (ROWS // 10, "--null=-999")


def test_a_time_that_stands_for_none_is_noted() -> None:
    found = spikes({"t": pa.array(with_some(DAYS, datetime(1900, 1, 1)), pa.timestamp("us")), "y": Y})
    values = found["t"].note.values
    assert (values["value"], values["rows"], values["low"]) == ("1900-01-01", ROWS // 10, "2024-01-02")
    assert found["t"].change == "--where '\"t\" is null or \"t\" <> '\"'\"'1900-01-01'\"'\"''"


@pytest.mark.parametrize(
    "values",
    [
        np.round(RNG.normal(50.0, 20.0, ROWS)),
        np.floor(RNG.exponential(3.0, ROWS)),
        RNG.integers(0, 100, ROWS),  # 99 is one of them
        RNG.lognormal(0.0, 2.5, ROWS),
        RNG.integers(0, 2, ROWS) * 1000.0,
        with_some(X, 1e6, every=ROWS // 2),  # two rows are no spike
        np.where(np.arange(ROWS) % 10, 5.0, np.where(np.arange(ROWS) % 20, 6.0, 100.0)),  # of three values
    ],
)
def test_what_is_no_spike_is_not_noted(values: object) -> None:
    assert spikes({"x": values, "y": Y}) == {}


def test_the_flag_does_what_the_note_says_it_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pa_csv.write_csv(pa.table({"x": with_some(X, -999.0), "y": Y}), "rows.csv")
    assert main(["train", "rows.csv", "--target", "y", "--output", "first"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "'x' is -999 in 40 rows (10.0%), far from all other values" in said
    assert main(["train", "rows.csv", "--target", "y", "--output", "second", "--null=-999"]) == 0
    assert "-999 in 40 rows" not in capsys.readouterr().out
    (term,) = bl.load("second").encoding.groups
    assert isinstance(term, BinTerm)
    assert (term.low, term.missing) == (min(v for k, v in enumerate(X) if k % 10), True)
