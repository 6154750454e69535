"""Rows that are fewer, rarer, more alike, more unequal or more than they should be: refused with a code, or said."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.training.made import arrow, made, table_of

from batchlearn.data import build
from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.data.ledger import read_ledger
from batchlearn.errors import DataError, NoFiniteOptimum, ResourceError
from batchlearn.tables.table import read
from batchlearn.tables.table.budget import physical_memory
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train

PLAIN = Recipe(alpha=0.0025, holdout=0.0)


def notes(columns: dict[str, Any], words: str, recipe: Recipe = PLAIN, **roles: Any) -> list[str]:
    fit = train(table_of(columns, **roles), recipe, threads=1)
    assert np.isfinite(fit.model.predict(arrow(columns)).response).all()
    return [note for note in map(str, fit.notes) if words in note]


# --- how many ---------------------------------------------------------------------------------------------------------


def wide(rows: int = 12, columns: int = 20) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"label": rng.normal(size=rows), **{f"x{k}": rng.normal(size=rows) for k in range(columns)}}


def test_d4_fewer_rows_than_columns_are_allowed_with_a_penalty_and_said() -> None:
    (note,) = notes(wide(), "more coefficients")
    assert "(21) than rows (12)" in note
    assert notes(wide(30), "more coefficients") == []


def test_d4_fewer_rows_than_columns_are_refused_without_a_penalty() -> None:
    with pytest.raises(NoFiniteOptimum) as caught:
        train(table_of(wide()), Recipe(alpha=0.0, holdout=0.0), threads=1)
    assert caught.value.code == "no-unique-optimum"


def test_d6_a_class_that_the_earlier_rows_lack_ends_the_evaluation_with_a_sentence() -> None:
    columns = made(100, loss="logistic")
    columns["time"] = np.arange(100.0)
    columns["label"] = (columns["time"] >= 90).astype(float)
    fit = train(table_of(columns, time="time"), Recipe(alpha=0.01), threads=1)
    assert fit.evaluation is None
    assert "No evaluation: the earlier rows hold only the label 0 of 'label'." in map(str, fit.notes)


def test_d6_a_class_that_the_later_rows_lack_is_said() -> None:
    columns = made(100, loss="logistic")
    columns["time"] = np.arange(100.0)
    columns["label"] = ((columns["time"] < 70) & (columns["time"] % 2 == 0)).astype(float)
    fit = train(table_of(columns, time="time"), Recipe(alpha=0.01), threads=1)
    assert fit.evaluation is not None
    assert any("All held-out rows with a known class have label 0" in note for note in map(str, fit.evaluation.notes))
    assert fit.evaluation.metrics["auc"].value is None


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(alpha=1e-5, class_weight="balanced")])
def test_d7_a_base_rate_of_one_in_a_hundred_thousand_runs_and_is_said(recipe: Recipe) -> None:
    rng = np.random.default_rng(0)
    label = np.zeros(100_000)
    label[[70, 99_000]] = 1.0
    columns = {"label": label, "first": rng.normal(size=100_000), "second": rng.normal(size=100_000)}
    fit = train(table_of(columns), recipe, threads=1)
    assert fit.certificate.certified
    (note,) = [note for note in map(str, fit.notes) if "too few" in note]
    assert note.startswith("Only 2 of 100,000 rows are 1.0")
    assert fit.model.predict(arrow(columns)).response.mean() < 1e-3


def test_d7_classes_of_ordinary_size_are_not_mentioned() -> None:
    assert notes(made(loss="logistic"), "too few") == []


# --- alike ------------------------------------------------------------------------------------------------------------


def test_d8_rows_that_are_all_the_same_have_the_base_rate() -> None:
    columns = {"label": [1.0] * 30 + [0.0] * 70, "first": [2.0] * 100, "colour": ["red"] * 100}
    fit = train(table_of(columns), PLAIN, threads=1)
    assert "98 rows (98.00%) repeat an earlier row in every column; they are kept." in map(str, fit.notes)
    assert any("No feature is left" in note for note in map(str, fit.notes))
    assert fit.model.predict(arrow(columns)).response == pytest.approx(np.full(100, 0.3))
    assert fit.certificate.certified
    assert fit.rows.used == 100


def test_d9_repeated_rows_are_counted_and_kept() -> None:
    columns = made(300)
    twice = {name: [*values, *values[:40]] for name, values in columns.items()}
    (note,) = notes(twice, "repeat an earlier row")
    assert note.startswith("40 rows (11.76%)")
    assert notes(columns, "repeat an earlier row") == []
    assert train(table_of(twice), PLAIN, threads=1).rows.used == 340


def test_d9_rows_that_are_not_used_repeat_nothing() -> None:
    columns = {**made(100), "label": np.where(np.arange(100) < 90, np.arange(100.0), np.nan)}
    columns["first"][90:] = columns["first"][:10]
    assert notes(columns, "repeat an earlier row") == []


# --- weights and levels -----------------------------------------------------------------------------------------------


def test_d42_one_weight_far_above_the_others_is_said() -> None:
    columns = made()
    columns["weight"] = np.ones(400)
    assert notes(columns, "unequal", weight="weight") == []
    columns["weight"][7] = 1e12
    (note,) = notes(columns, "unequal", weight="weight")
    assert "400 rows say no more than 1.0 rows of equal weight" in note


def test_d44_a_category_of_very_many_levels_is_capped_and_said() -> None:
    rng = np.random.default_rng(0)
    columns = {
        "label": rng.normal(size=60_000),
        "first": rng.normal(size=60_000),
        "code": [f"c{k}" for k in rng.integers(0, 3_000, 60_000)],
    }
    rules = EncodingRules(minimum_rows=5, level_cap=64, buckets=16)
    (note,) = notes(columns, "code has more levels", Recipe(alpha=1e-3, holdout=0.0, rules=rules))
    assert "the 48 most frequent have one, all others share 16" in note
    columns["code"] = [f"c{k % 40}" for k in range(60_000)]
    assert notes(columns, "has more levels", Recipe(alpha=1e-3, holdout=0.0, rules=rules)) == []


# --- times ------------------------------------------------------------------------------------------------------------


def timed(times: Any) -> Any:
    n = len(times)
    return read(pa.table({"label": np.arange(float(n)), "time": times}), target="label", time="time")


def test_d52_times_of_a_zone_keep_their_order_where_a_clock_is_put_back() -> None:
    zone = ZoneInfo("Europe/Berlin")
    # 02:30 came twice on this night; Arrow stores instants, so the two are an hour apart.
    night = [datetime(2008, 10, 26, 0, minute, tzinfo=UTC).astimezone(zone) for minute in (0, 30)]
    night += [datetime(2008, 10, 26, 1, minute, tzinfo=UTC).astimezone(zone) for minute in (0, 30)]
    assert night[1].hour == night[3].hour == 2
    ledger = read_ledger(timed(pa.array(night, type=pa.timestamp("us", tz="Europe/Berlin"))))
    assert ledger.time is not None
    assert np.diff(ledger.time).tolist() == [1.8e9] * 3


def test_d52_times_without_a_zone_are_read_as_they_are() -> None:
    # 02:30 did not come on this night in Berlin; nothing says that these times are Berlin's.
    spring = [datetime(2008, 3, 30, 1, 30), datetime(2008, 3, 30, 2, 30), datetime(2008, 3, 30, 3, 30)]
    ledger = read_ledger(timed(pa.array(spring, type=pa.timestamp("us"))))
    assert ledger.time is not None
    assert np.diff(ledger.time).tolist() == [3.6e9] * 2


@pytest.mark.parametrize(
    ("taken_for", "shown"), [("ms", "1970-01-14"), ("us", "1970-01-01"), ("ns", "1970-01-01T00:00:01")]
)
def test_d53_seconds_taken_for_less_are_refused(taken_for: str, shown: str) -> None:
    seconds = np.datetime64("2008-01-01", "s").astype(np.int64) + 86_400 * np.arange(100)
    with pytest.raises(DataError) as caught:
        read_ledger(timed(pa.array(seconds).cast(pa.timestamp(taken_for))))
    assert (caught.value.code, caught.value.exit_code) == ("time-unit", 3)
    assert shown in caught.value.message


def test_d53_milliseconds_taken_for_seconds_are_refused() -> None:
    milliseconds = np.datetime64("2008-01-01", "ms").astype(np.int64) + 86_400_000 * np.arange(100)
    with pytest.raises(DataError) as caught:
        read_ledger(timed(pa.array(milliseconds).cast(pa.timestamp("s"))))
    assert caught.value.code == "time-unit"
    assert "row 100" in caught.value.message


def test_d53_a_time_that_stands_for_never_is_refused() -> None:
    times = [datetime(2008, 1, day) for day in range(1, 20)]
    times[4] = datetime(9999, 12, 31)
    with pytest.raises(DataError) as caught:
        read_ledger(timed(pa.array(times, type=pa.timestamp("us"))))
    assert caught.value.code == "time-unit"
    assert "9999-12-31" in caught.value.message
    assert "row 5" in caught.value.message


@pytest.mark.parametrize("first", ["1872-11-30", "1969-12-25", "1970-01-20", "2008-01-01", "2150-01-01"])
def test_d53_times_of_any_ordinary_year_are_accepted(first: str) -> None:
    days = np.datetime64(first, "us") + np.arange(100) * np.timedelta64(1, "D")
    assert read_ledger(timed(pa.array(days))).time is not None
    numbers = read(pa.table({"label": np.arange(9.0), "time": np.arange(9.0)}), target="label", time="time")
    assert read_ledger(numbers).time is not None


# --- too many ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    """Write 20 million rows that take some kilobytes."""
    half = pa.array(np.zeros(1_000_000, dtype=np.int8))
    with pq.ParquetWriter(tmp_path / "bomb.parquet", pa.schema([("a", pa.int8()), ("label", pa.int8())])) as writer:
        for _ in range(20):
            writer.write_table(pa.table({"a": half, "label": half}))
    return tmp_path / "bomb.parquet"


def test_d57_more_rows_than_fit_into_memory_are_refused_before_one_is_read(
    bomb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bomb.stat().st_size < 200_000
    monkeypatch.setattr(build, "physical_memory", lambda: 100 * 2**20)

    def unread(*_: Any) -> None:
        raise AssertionError("rows were read")

    monkeypatch.setattr("batchlearn.training.train.read_ledger", unread)
    with pytest.raises(ResourceError) as caught:
        train(read(bomb, target="label"), threads=1)
    assert (caught.value.code, caught.value.exit_code) == ("memory", 5)
    assert "20,000,000 rows" in caught.value.message
    assert "this machine has 0.1 GiB" in caught.value.message


def test_c69_this_machine_says_how_much_memory_it_has() -> None:
    memory = physical_memory()
    assert memory is None or memory > 2**28


def test_d57_rows_that_fit_are_not_refused(bomb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for memory in (2**40, None):
        monkeypatch.setattr(build, "physical_memory", lambda memory=memory: memory)
        build.check_memory(read(bomb, target="label"))
    monkeypatch.setattr(build, "physical_memory", lambda: 1)
    build.check_memory(read(bomb, target="label", where="a > 0"))
    build.check_memory(table_of(made()))
