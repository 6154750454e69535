"""One evaluation says what the numbers are, says what they mean in words, and never says NaN."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from batchlearn.errors import DataError
from batchlearn.evaluation.baselines import constant_baseline, last_value_baseline
from batchlearn.evaluation.intervals import Estimate
from batchlearn.evaluation.metrics import METRICS, MetricTask
from batchlearn.evaluation.report import LeaveOneOut, evaluate
from batchlearn.evaluation.scored import ScoredRows


def two_classes(rows: int = 1000, seed: int = 0) -> ScoredRows:
    rng = np.random.default_rng(seed)
    response = 1.0 / (1.0 + np.exp(-rng.normal(-0.5, 1.2, rows)))
    label = (rng.random(rows) < response).astype(np.float64)
    return ScoredRows(label, response, categories={"side": (rng.integers(0, 2, rows), ["left", "right"])})


def plain(evaluation: Any) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    return read


@pytest.mark.parametrize("task", ["classes", "number", "count"])
def test_json_has_the_shape_that_was_promised(task: MetricTask) -> None:
    rng = np.random.default_rng(0)
    held_out = two_classes()
    if task != "classes":
        response = np.exp(rng.normal(size=1000))
        held_out = replace(held_out, label=rng.poisson(response).astype(np.float64), response=response)
    train = held_out.label[:500]
    baselines = {
        "constant": constant_baseline(train, None, 1000),
        "last_value": last_value_baseline(task, train, None, held_out.label, None),
    }
    read = plain(evaluate(task, held_out, baselines, seed=0))
    assert list(read) == [
        "rows", "metrics", "baselines", "leave_one_out", "drift", "calibration", "slices", "unseen_classes", "notes",
        "noted",
        "differences", "decision", "cuts", "abstention", "worst_rows",
    ]  # fmt: skip
    names = [metric.name for metric in METRICS[task]]
    assert list(read["metrics"]) == names
    assert list(read["baselines"]["constant"]) == list(read["baselines"]["last_value"]) == names
    for estimate in read["metrics"].values():
        assert estimate["low"] < estimate["value"] < estimate["high"]
    assert read["rows"] == 1000
    assert read["leave_one_out"] is None
    assert set(read["differences"]) == set(read["baselines"])
    assert read["decision"] is None
    assert read["abstention"] is None
    assert read["notes"] == []


def test_the_same_seed_gives_the_same_evaluation() -> None:
    held_out = two_classes()
    first, second, other = (plain(evaluate("classes", held_out, {}, seed)) for seed in (3, 3, 4))
    assert first == second
    assert first["metrics"]["log_loss"]["low"] != other["metrics"]["log_loss"]["low"]
    assert first["metrics"]["log_loss"]["value"] == other["metrics"]["log_loss"]["value"]


def test_a_model_no_better_than_a_baseline_is_told_so() -> None:
    held_out = two_classes()
    rng = np.random.default_rng(3)
    odds = held_out.response / (1.0 - held_out.response) * np.exp(0.02 * rng.normal(size=1000))
    alike = odds / (1.0 + odds)
    baselines = {"constant": np.full(1000, 0.4), "alike": alike, "oracle": 0.5 + 0.4 * (2 * held_out.label - 1)}
    notes = list(map(str, evaluate("classes", held_out, baselines, seed=0).notes))
    assert len(notes) == 2
    assert notes[0].startswith("The model is not shown to be better than the alike baseline: log loss")
    assert notes[1].startswith("The model is worse than the oracle baseline: log loss +")


def test_a_class_never_seen_is_counted_and_said() -> None:
    held_out = two_classes(200)
    label, unseen = held_out.label.copy(), np.zeros(200, dtype=bool)
    unseen[[3, 50, 60]] = True
    label[unseen] = np.nan
    named = replace(held_out, label=label, unseen=unseen, unseen_classes={"maybe": 2, "n/a": 1})
    read = plain(evaluate("classes", named, {"constant": np.full(200, 0.4)}, seed=0))
    rest = plain(evaluate("classes", ScoredRows(held_out.label[~unseen], held_out.response[~unseen]), {}, seed=0))
    assert read["unseen_classes"] == {"maybe": 2, "n/a": 1}
    assert "3 of 200 held-out rows" in read["notes"][0]
    assert "'maybe', 'n/a'" in read["notes"][0]
    assert read["metrics"]["auc"]["value"] == pytest.approx(rest["metrics"]["auc"]["value"])
    expected = (197 * rest["metrics"]["log_loss"]["value"] - 3 * np.log(1e-15)) / 200
    assert read["metrics"]["log_loss"]["value"] == pytest.approx(expected)
    assert sum(one["rows"] for one in read["calibration"]["bins"]) == 197


def test_one_class_only_has_no_auc_and_a_note() -> None:
    held_out = replace(two_classes(100), label=np.zeros(100))
    read = plain(evaluate("classes", held_out, {}, seed=0))
    assert read["metrics"]["auc"] == {"value": None, "low": None, "high": None}
    assert read["calibration"]["slope"] is None
    assert "have label 0: the AUC and the calibration slope are undefined" in read["notes"][0]


def test_rows_that_are_all_unseen_still_evaluate() -> None:
    held_out = ScoredRows(np.full(30, np.nan), np.full(30, 0.5), unseen=np.ones(30, dtype=bool))
    read = plain(evaluate("classes", held_out, {"constant": np.full(30, 0.4)}, seed=0))
    assert read["metrics"]["log_loss"]["value"] == pytest.approx(-np.log(1e-15))
    assert read["calibration"] is None


def test_one_row_has_values_and_no_intervals() -> None:
    read = plain(evaluate("number", ScoredRows(np.array([2.0]), np.array([1.0])), {"constant": np.zeros(1)}, seed=0))
    assert read["metrics"]["mse"] == {"value": 1.0, "low": None, "high": None}
    assert read["metrics"]["r2"]["value"] is None
    assert "too few rows" in read["notes"][0]


def left_out(value: float, reach: float) -> LeaveOneOut:
    return LeaveOneOut("log_loss", Estimate(value, value - reach, value + reach), 1000)


@pytest.mark.parametrize(("before", "side"), [(0.1, "worse"), (5.0, "better"), (None, None)])
def test_later_rows_are_held_against_leave_one_out(before: float | None, side: str | None) -> None:
    held_out = replace(two_classes(), time=np.arange(1000.0))
    value = evaluate("classes", held_out, {}, 0).metrics["log_loss"].value
    assert value is not None
    inside = value if before is None else before
    evaluation = evaluate("classes", held_out, {}, 0, left_out(inside, 0.01))
    assert evaluation.drift is not None
    assert evaluation.drift.side == side
    assert evaluation.drift.value == pytest.approx(value - inside, abs=1e-12)
    assert plain(evaluation)["drift"]["side"] == side
    assert plain(evaluation)["leave_one_out"]["log_loss"]["value"] == inside
    assert evaluation.notes == []


def test_without_time_there_is_no_drift() -> None:
    given = left_out(0.01, 0.001)
    evaluation = evaluate("classes", two_classes(), {}, 0, given)
    assert evaluation.drift is None
    assert evaluation.notes == []
    later = replace(two_classes(), time=np.arange(1000.0))
    assert evaluate("classes", later, {}, 0).drift is None
    few = replace(two_classes(60), time=np.arange(60.0))
    assert evaluate("classes", few, {}, 0, given).drift is None


def test_the_error_of_leave_one_out_counts_for_drift() -> None:
    held_out = replace(two_classes(), time=np.arange(1000.0))
    value = evaluate("classes", held_out, {}, 0).metrics["log_loss"].value
    assert value is not None
    reaches = []
    for error in (1e-9, 0.05, 0.5):
        found = evaluate("classes", held_out, {}, 0, left_out(value, 1.96 * error)).drift
        assert found is not None
        reaches.append(found.high - found.value)
    # Of one in a hundred on each side: 2.33 standard errors of the other part at least.
    assert reaches[1] >= np.hypot(reaches[0], 2.32 * 0.05)
    assert reaches[2] >= np.hypot(reaches[0], 2.32 * 0.5)


def test_zero_weight_everywhere_in_one_class_is_one_class() -> None:
    held_out = two_classes(100)
    notes = evaluate("classes", replace(held_out, weight=held_out.label), {}, 0).notes
    assert any("label 1" in note for note in map(str, notes))


@pytest.mark.parametrize(("task", "wrong"), [("number", np.inf), ("count", np.nan), ("classes", 1.5)])
def test_what_is_no_response_is_refused(task: MetricTask, wrong: float) -> None:
    label = np.array([0.0, 1.0, 1.0, 0.0])
    with pytest.raises(DataError, match="held-out row 3") as raised:
        evaluate(task, ScoredRows(label, np.array([0.0, 1.0, wrong, 0.0])), {}, seed=0)
    assert raised.value.code == "evaluation-response"
