"""What a training says of its data: the split, the labels, neighbours in time, columns, levels and pushes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.training.made import arrow

from batchlearn.tables.table import read
from batchlearn.training.fit import Fit
from batchlearn.training.recipe import Recipe
from batchlearn.training.summary.columns import DataSummary
from batchlearn.training.train import train

ROWS, DAYS = 1200, 60


def bookings() -> dict[str, Any]:
    """A day's rows are sorted by their label; the deposit gives it away; one price is below 0 and one far too high."""
    rng = np.random.default_rng(7)
    label = (rng.random(ROWS) < 0.4).astype(int)
    day = np.repeat(np.arange(DAYS), ROWS // DAYS)
    order = np.lexsort((label, day))
    label = label[order]
    deposit = np.where((label == 1) & (rng.random(ROWS) < 0.5), "paid", "none")
    price = rng.normal(100.0, 20.0, ROWS)
    price[3], price[4] = -6.0, 5400.0
    price[5:125] = np.nan
    when = np.datetime64("2020-01-01", "us") + day[:, None].ravel() * np.timedelta64(1, "D")
    return {"when": when, "deposit": deposit, "price": price, "same": np.ones(ROWS), "label": label}


@pytest.fixture(scope="module")
def fit() -> Fit:
    return train(read(arrow(bookings()), target="label", time="when"), Recipe(alpha=1e-3), threads=1)


@pytest.fixture(scope="module")
def summary(fit: Fit) -> dict[str, Any]:
    assert isinstance(fit.summary, DataSummary)
    found: dict[str, Any] = json.loads(json.dumps(fit.to_json()["facts"], allow_nan=False))
    return found


def test_the_split_says_when_the_rows_that_judge_begin(summary: dict[str, Any], fit: Fit) -> None:
    assert summary["split"] == {
        "by": "time", "how": "the latest rows by time", "early": 960, "late": 240,
        "first": "2020-01-01", "until": "2020-02-17", "from": "2020-02-18", "last": "2020-02-29",
    }  # fmt: skip
    assert summary["judged"]["coefficients"] == len(fit.model.parameters)
    assert set(summary["seconds"]) == {"reading", "choosing", "judging", "fitting"}
    assert sum(summary["seconds"].values()) == pytest.approx(fit.seconds)


def test_the_labels_are_counted_in_all_rows_and_in_each_part(summary: dict[str, Any]) -> None:
    label = bookings()["label"]
    for part, chosen in (("all", slice(None)), ("early", slice(0, 960)), ("late", slice(960, None))):
        assert summary["labels"][part]["rows"] == len(label[chosen])
        assert summary["labels"][part]["shares"]["1"] == pytest.approx(label[chosen].mean())


def test_rows_that_are_sorted_by_label_within_a_time_are_seen(summary: dict[str, Any]) -> None:
    found = summary["neighbours"]
    assert found["measure"] == "share"
    assert found["tied"] == pytest.approx((ROWS - DAYS) / (ROWS - 1))
    assert found["alike_tied"] > 0.9
    assert found["by_chance"] < 0.6
    assert found["alike_untied"] is None  # 59 days begin: too few to say


def test_a_column_says_its_range_and_what_it_lacks(summary: dict[str, Any]) -> None:
    columns = {one["column"]: one for one in summary["columns"]}
    price = columns["price"]
    assert (price["missing"], price["below_zero"], price["low"], price["high"]) == (120, 1, -6.0, 5400.0)
    assert 40.0 < price["per_cent_1"] < price["median"] < price["per_cent_99"] < 160.0
    assert columns["same"]["left_out"] == "it is constant"
    assert columns["deposit"]["levels"] == 2


def test_a_level_that_gives_the_label_away_is_named(summary: dict[str, Any]) -> None:
    deposit, label = bookings()["deposit"], bookings()["label"]
    columns = {one["column"]: one for one in summary["columns"]}
    assert columns["deposit"]["telling"] == [
        {
            "level": "deposit = paid",
            "rows": int(np.sum(deposit == "paid")),
            "class": "1",
            "share": 1.0,
            "share_of_all": pytest.approx(label.mean()),
        }
    ]
    assert columns["price"]["telling"] == []


def test_shapes_know_their_rows_and_the_deviation_of_their_effects(fit: Fit) -> None:
    deposit = bookings()["deposit"]
    shape = next(shape for shape in fit.shapes if shape.name == "deposit")
    counts = [int(np.sum(deposit == name.removeprefix("deposit = "))) for name in shape.names]
    assert shape.rows == tuple(counts)
    effect = np.repeat(shape.effect, counts)
    assert shape.deviation == pytest.approx(float(effect.std()))
    sizes = [shape.deviation or 0.0 for shape in fit.shapes]
    assert sizes == sorted(sizes, reverse=True)


def test_the_worst_rows_say_what_pushed_them(fit: Fit) -> None:
    assert fit.evaluation is not None
    for one in fit.evaluation.worst_rows:
        sizes = [abs(effect) for _, effect in one.pushed]
        assert sizes == sorted(sizes, reverse=True)
        assert {term for term, _ in one.pushed} <= {shape.name for shape in fit.shapes}


def test_pushes_add_up_to_the_distance_from_the_mean_prediction() -> None:
    rng = np.random.default_rng(1)
    columns = {"a": rng.normal(size=400), "b": rng.choice(["x", "y", "z"], 400), "label": rng.normal(size=400)}
    fit = train(read(arrow(columns), target="label"), Recipe(alpha=1e-3), threads=1)
    assert fit.evaluation is not None
    distances = [one.response - sum(effect for _, effect in one.pushed) for one in fit.evaluation.worst_rows]
    # What is left is the same for every row: the prediction where every term adds what it adds on average.
    assert np.ptp(distances) < 1e-9


def test_numbers_have_a_mean_and_neighbours_a_correlation() -> None:
    rng = np.random.default_rng(2)
    label = np.cumsum(rng.normal(size=600))
    columns = {"t": np.arange(600.0), "a": rng.normal(size=600), "label": label}
    summary = train(read(arrow(columns), target="label", time="t"), Recipe(alpha=1e-3), threads=1).summary
    assert summary is not None
    assert summary.labels["all"].mean == pytest.approx(label.mean())
    assert summary.neighbours is not None
    assert summary.neighbours.measure == "correlation"
    assert (summary.neighbours.alike or 0.0) > 0.9
    assert summary.neighbours.alike_tied is None
    assert summary.split is not None
    assert summary.split.later is not None
    assert summary.split.later[0] == 480.0
