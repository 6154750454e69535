"""Slices that lose more are found with the right figures, and noise is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import false_discovery_control, ttest_ind

from batchlearn.evaluation.metrics import Array
from batchlearn.evaluation.slices import Categories, Slice, discovery_threshold, slices


def found_in(categories: Categories, losses: Array, weight: Array | None = None, minimum_rows: int = 50) -> list[Slice]:
    rows = len(losses)
    ones = np.ones(rows) if weight is None else weight
    return slices(categories, losses, np.full(rows, 0.25), np.full(rows, 0.5), ones, minimum_rows)


def planted(seed: int = 0) -> tuple[Categories, Array]:
    """Ten shops of which number 3 loses more, and a column of noise."""
    rng = np.random.default_rng(seed)
    shop = rng.integers(0, 10, 5000)
    losses = rng.exponential(size=5000) + 0.8 * (shop == 3)
    noise = rng.integers(0, 30, 5000)
    names = [f"shop {code}" for code in range(10)]
    return {"shop": (shop, names), "noise": (noise, [str(code) for code in range(30)])}, losses


def test_a_planted_slice_is_found_with_its_figures() -> None:
    categories, losses = planted()
    found = found_in(categories, losses)
    inside = categories["shop"][0] == 3
    worst = found[0]
    assert (worst.column, worst.level, worst.rows) == ("shop", "shop 3", int(inside.sum()))
    assert worst.mean_loss == pytest.approx(losses[inside].mean())
    assert worst.overall == pytest.approx(losses.mean())
    assert worst.difference == pytest.approx(losses[inside].mean() - losses[~inside].mean())
    assert worst.share_of_loss == pytest.approx(losses[inside].sum() / losses.sum())
    assert worst.low < 0.8 < worst.high
    assert (worst.mean_label, worst.mean_response) == (0.25, 0.5)
    assert json.loads(json.dumps(worst.to_json(), allow_nan=False))["rows"] == worst.rows


def test_the_interval_is_welchs_at_the_accepted_level() -> None:
    rng = np.random.default_rng(0)
    code = np.repeat([0, 1], 4000)
    losses = rng.normal(size=8000) + 0.5 * (code == 1)
    (worst,) = found_in({"side": (code, ["left", "right"])}, losses)
    test = ttest_ind(losses[code == 1], losses[code == 0], equal_var=False)
    # Both levels are accepted, so each interval is at the full 95 %.
    expected = test.confidence_interval(0.95)
    assert worst.level == "right"
    assert (worst.low, worst.high) == pytest.approx((expected.low, expected.high), rel=1e-3)


def test_one_slice_found_among_many_has_a_wider_interval() -> None:
    rng = np.random.default_rng(5)
    code = rng.integers(0, 30, 12_000)
    losses = rng.normal(size=12_000) + 0.6 * (code == 4)
    (worst,) = found_in({"level": (code, [str(value) for value in range(30)])}, losses)
    tests = [ttest_ind(losses[code == at], losses[code != at], equal_var=False) for at in range(30)]
    accepted = np.sum(false_discovery_control([test.pvalue for test in tests]) <= 0.05)
    assert 1 <= accepted < 30
    expected = tests[4].confidence_interval(1.0 - 0.05 * accepted / 30)
    assert (worst.low, worst.high) == pytest.approx((expected.low, expected.high), rel=0.01)


def test_false_discoveries_are_rare() -> None:
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(200):
        codes = rng.integers(0, 20, 2000)
        alarms += bool(found_in({"noise": (codes, [str(code) for code in range(20)])}, rng.normal(size=2000) ** 2))
    # 5 % of 200 is 10, half of it on the side that is reported; 18 is five standard deviations above.
    assert alarms <= 18


def test_the_threshold_is_that_of_benjamini_and_hochberg() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        probabilities = np.concatenate((rng.random(40), rng.random(10) * 0.003))
        accepted = probabilities <= discovery_threshold(probabilities)
        assert np.array_equal(accepted, false_discovery_control(probabilities) <= 0.05)
    assert discovery_threshold(np.array([0.5, 0.9])) == 0.0
    assert discovery_threshold(np.zeros(0)) == 0.0


def test_sorted_by_loss_added_in_total_and_cut_to_twenty() -> None:
    rng = np.random.default_rng(3)
    code = rng.choice(60, 60_000, p=np.arange(1, 61) / np.arange(1, 61).sum())
    losses = 1.0 + 0.1 * rng.random(60_000) + (code % 2)
    found = found_in({"level": (code, [str(value) for value in range(60)])}, losses)
    excess = [one.rows * (one.mean_loss - one.overall) for one in found]
    assert len(found) == 20
    assert excess == sorted(excess, reverse=True)
    assert all(int(one.level) % 2 == 1 for one in found)
    # Odd levels all lose alike, so the largest come first.
    assert {int(one.level) for one in found[:8]} <= set(range(40, 60))


def test_few_rows_and_missing_codes_are_no_slice() -> None:
    rng = np.random.default_rng(0)
    losses = rng.random(1000)
    code = np.full(1000, -1)
    code[:49] = 0
    code[49:99] = 1
    losses[:99] += 5.0
    assert [one.level for one in found_in({"level": (code, ["few", "enough"])}, losses)] == ["enough"]
    assert found_in({"one": (np.zeros(1000, dtype=np.intp), ["all"])}, losses) == []
    assert found_in({}, losses) == []


def test_weights_that_are_zero_take_rows_away() -> None:
    categories, losses = planted()
    weight = np.ones(5000)
    weight[categories["shop"][0] == 3] = 0.0
    assert "shop 3" not in {one.level for one in found_in(categories, losses, weight)}
    assert found_in(categories, losses, np.full(5000, 3.0))[0].low == pytest.approx(found_in(categories, losses)[0].low)
