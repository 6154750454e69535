"""Hourly demand that follows clocks: what is learned and predicted of it does not depend on how times are stored."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import batchlearn as bl
from batchlearn.errors import DataError
from batchlearn.tables.table import read
from batchlearn.training.fit import Fit

BERLIN = ZoneInfo("Europe/Berlin")
HOURS = 24 * 365


@pytest.fixture(scope="module")
def demand() -> tuple[pa.Array, list[datetime], np.ndarray]:
    """A year of hours over both changes of clocks, in UTC and as clocks in Berlin show them, and what was used."""
    rng = np.random.default_rng(7)
    moments = np.datetime64("2023-07-01T00", "us") + np.arange(HOURS) * np.timedelta64(1, "h")
    shown = [datetime.fromtimestamp(int(t) / 1e6, UTC).astimezone(BERLIN) for t in moments.astype(np.int64)]
    hour, weekday = np.array([t.hour for t in shown]), np.array([t.weekday() for t in shown])
    used = 20.0 + 15.0 * np.isin(hour, (8, 18)) + 10.0 * ((hour >= 7) & (hour < 20)) - 6.0 * (weekday > 4)
    return pa.array(moments), [t.replace(tzinfo=None) for t in shown], used + rng.normal(0.0, 3.0, HOURS)


def trained(when: pa.Array, used: np.ndarray, zone: str | None = None) -> Fit:
    return bl.train(read(pa.table({"when": when, "used": used}), target="used", time="when", zone=zone))


def held_out(fit: Fit) -> float:
    assert fit.evaluation is not None
    value = fit.evaluation.metrics["r2"].value
    assert value is not None
    return value


def test_hours_are_those_of_the_zone_over_both_changes_of_clocks(
    demand: tuple[pa.Array, list[datetime], np.ndarray],
) -> None:
    moments, shown, used = demand
    berlin = moments.view(pa.timestamp("us", "Europe/Berlin"))
    zoned, naive = trained(berlin, used), trained(pa.array(shown, pa.timestamp("us")), used)
    of_utc = held_out(trained(moments.view(pa.timestamp("us", "UTC")), used))
    # The mean of each hour and kind of day among the earlier rows, by NumPy alone.
    early = int(0.8 * HOURS)
    cell = np.array([24 * (t.weekday() > 4) + t.hour for t in shown])
    means = np.bincount(cell[:early], used[:early]) / np.bincount(cell[:early])
    late = used[early:]
    best = 1.0 - np.sum((late - means[cell[early:]]) ** 2) / np.sum((late - late.mean()) ** 2)
    assert held_out(zoned) == pytest.approx(held_out(naive), abs=0.002)
    assert held_out(zoned) == pytest.approx(best, abs=0.01)
    assert of_utc < best - 0.15
    told = trained(moments.view(pa.timestamp("us", "UTC")), used, "Europe/Berlin")
    assert held_out(told) == held_out(zoned)


def test_a_model_predicts_the_same_moments_whatever_zone_they_are_stored_in(
    tmp_path: Path, demand: tuple[pa.Array, list[datetime], np.ndarray]
) -> None:
    moments, shown, used = demand
    fit = trained(moments.view(pa.timestamp("us", "Europe/Berlin")), used)
    model = bl.load(fit.save(tmp_path / "model"))
    expected = fit.model.predict({"when": moments.view(pa.timestamp("us", "Europe/Berlin"))}).response
    for zone in ("Europe/Berlin", "America/New_York", "UTC", "+05:30"):
        rows = read(pa.table({"when": moments.view(pa.timestamp("us", zone))}))
        assert np.array_equal(model.predict(rows).response, expected)
    with pytest.raises(DataError, match="--zone") as error:
        model.predict({"when": pa.array(shown, pa.timestamp("us"))})
    assert error.value.code == "time-zones-mixed"
    naive = trained(pa.array(shown, pa.timestamp("us")), used).model
    with pytest.raises(DataError, match="--zone"):
        naive.predict({"when": moments.view(pa.timestamp("us", "UTC"))})


def test_the_zone_of_times_is_said_in_the_shell_as_it_is_in_python(
    tmp_path: Path, demand: tuple[pa.Array, list[datetime], np.ndarray]
) -> None:
    from batchlearn.cli import main

    moments, shown, used = demand
    zoned = pa.table({"when": moments.view(pa.timestamp("us", "Europe/Berlin")), "used": used})
    plain = pa.table({"when": pa.array(shown, pa.timestamp("us")), "used": used})
    zoned_file, plain_file, model = tmp_path / "zoned.parquet", tmp_path / "plain.csv", str(tmp_path / "model")
    pq.write_table(zoned, zoned_file)
    pa_csv.write_csv(plain, plain_file)
    assert main(["train", str(zoned_file), "--target", "used", "--time", "when", "--output", model]) == 0
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    assert main(["predict", model, str(zoned_file), "-o", str(first)]) == 0
    assert main(["predict", model, str(plain_file), "-o", str(second)]) == 3
    assert main(["predict", model, str(plain_file), "-o", str(second), "--zone", "Europe/Berlin"]) == 0
    assert first.read_text() == second.read_text()
    assert main(["evaluate", model, str(plain_file), "--zone", "Europe/Berlin"]) == 0
    assert main(["verify", model, str(zoned_file)]) == 0
