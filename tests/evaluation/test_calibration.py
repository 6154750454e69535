"""The reliability table counts right, and the slope finds the distortion that was put in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import beta, gamma, norm, t
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from batchlearn.evaluation.calibration import calibration, logistic_recalibration
from batchlearn.evaluation.metrics import Array, MetricTask


def two_classes(rows: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    response = 1.0 / (1.0 + np.exp(-rng.normal(-0.5, 1.2, rows)))
    return (rng.random(rows) < response).astype(np.float64), response


def test_bins_are_those_of_scikit_learn() -> None:
    label, response = two_classes(2000)
    found = calibration("classes", label, response, np.ones(2000))
    observed, mean = calibration_curve(label, response, n_bins=10, strategy="quantile")
    assert found is not None
    assert [one.rows for one in found.bins] == [200] * 10
    assert [one.mean_label for one in found.bins] == pytest.approx(observed)
    assert [one.mean_response for one in found.bins] == pytest.approx(mean)
    assert found.expected_calibration_error == pytest.approx(np.mean(np.abs(observed - mean)))
    assert found.observed_over_expected == pytest.approx(label.sum() / response.sum())


def test_ties_share_a_bin_and_order_is_nothing() -> None:
    label, response = two_classes(900)
    response = np.round(response, 1)
    order = np.random.default_rng(1).permutation(900)
    weight = np.random.default_rng(2).uniform(0.5, 2.0, 900)
    found = calibration("classes", label, response, weight)
    again = calibration("classes", label[order], response[order], weight[order])
    assert found is not None
    assert again is not None
    assert sum(one.rows for one in found.bins) == 900
    edges = np.array([one.mean_response for one in found.bins])
    assert len(np.unique(edges)) == len(edges) <= 10
    for one, other in zip(found.bins, again.bins, strict=True):
        assert one.rows == other.rows
        assert one.mean_label == pytest.approx(other.mean_label)
    assert again.slope == pytest.approx(found.slope)


def test_intervals_of_shares_are_those_of_jeffreys() -> None:
    # 2 of 10: quantiles of a beta distribution of 2.5 and 8.5.
    label = np.array([1.0, 1.0, *[0.0] * 8])
    found = calibration("classes", label, np.full(10, 0.3), np.ones(10), bins=1)
    assert found is not None
    assert (found.bins[0].low, found.bins[0].high) == pytest.approx(beta.ppf((0.025, 0.975), 2.5, 8.5))
    # Weights that are all 7 make no row surer.
    heavy = calibration("classes", label, np.full(10, 0.3), np.full(10, 7.0), bins=1)
    assert heavy is not None
    assert heavy.bins[0].low == pytest.approx(found.bins[0].low)
    none = calibration("classes", np.zeros(10), np.full(10, 0.3), np.ones(10), bins=1)
    assert none is not None
    assert (none.bins[0].low, none.bins[0].high) == pytest.approx((0.0, beta.ppf(0.975, 0.5, 10.5)))


def test_intervals_of_numbers_are_t_of_what_is_left_around_the_responses() -> None:
    rng = np.random.default_rng(0)
    response = rng.normal(3.0, 5.0, 12)
    off = rng.normal(1.0, 2.0, 12)
    found = calibration("number", response + off, response, np.ones(12), bins=1)
    assert found is not None
    reach = t.ppf(0.975, 11) * off.std(ddof=1) / np.sqrt(12)
    mean = (response + off).mean()
    assert (found.bins[0].low, found.bins[0].high) == pytest.approx((mean - reach, mean + reach))
    assert found.slope is None
    assert found.intercept is None


def test_counts_that_are_all_zero_have_the_interval_of_a_poisson_count_of_none() -> None:
    found = calibration("count", np.zeros(40), np.full(40, 0.05), np.ones(40), bins=1)
    assert found is not None
    bin_ = found.bins[0]
    assert bin_.low == 0.0
    # Without any count the variance is that of a Poisson's; t of 139 degrees, for it is known so well.
    wider = (t.ppf(0.975, 139) / norm.ppf(0.975)) ** 2
    assert bin_.high == pytest.approx(wider * gamma.ppf(0.975, 0.5) / 40)


def test_overdispersed_counts_and_exposures_have_wider_intervals() -> None:
    rng = np.random.default_rng(1)
    mean = np.full(2000, 2.0)
    plain, uneven = rng.poisson(mean), rng.poisson(mean * rng.gamma(1.0, 1.0, 2000))
    widths = []
    for label in (plain, uneven):
        found = calibration("count", label.astype(np.float64), mean, np.ones(2000), bins=1)
        assert found is not None
        widths.append((found.bins[0].high or 0.0) - (found.bins[0].low or 0.0))
    assert widths[0] == pytest.approx(2 * 1.96 * np.sqrt(2.0 / 2000), rel=0.05)
    assert widths[1] == pytest.approx(2 * 1.96 * np.sqrt((2.0 + 4.0) / 2000), rel=0.1)


@pytest.mark.parametrize(("task", "zeros"), [("count", True), ("count", False), ("amount", False)])
def test_intervals_do_not_depend_on_the_unit_of_weights_and_amounts(task: MetricTask, zeros: bool) -> None:
    rng = np.random.default_rng(2)
    response = np.exp(rng.normal(size=200))
    size = np.ones(200) if task == "count" else rng.gamma(1.0, 1.0, 200)
    label = np.asarray(rng.poisson(response) * size, dtype=np.float64)
    weight = np.ones(200) if zeros else rng.uniform(0.5, 2.0, 200)
    label[: 20 if zeros else 0] = 0.0
    unit = 1.0 if task == "count" else 1000.0
    found = calibration(task, label, response, weight)
    again = calibration(task, unit * label, unit * response, 8.0 * weight)
    assert found is not None
    assert again is not None
    for one, other in zip(found.bins, again.bins, strict=True):
        assert (other.low, other.high) == pytest.approx((unit * (one.low or 0.0), unit * (one.high or 0.0)))
        assert one.low is not None
        assert one.low < one.mean_label < (one.high or 0.0) or one.mean_label == 0.0


def test_a_bin_that_says_nothing_of_its_spread_has_no_interval() -> None:
    found = calibration("number", np.array([1.0, 2.0]), np.array([1.0, 3.0]), np.ones(2))
    assert found is not None
    assert [(one.low, one.high) for one in found.bins] == [(None, None)] * 2
    assert found.observed_over_expected == 0.75
    nothing = calibration("amount", np.zeros(9), np.full(9, 0.1), np.ones(9), bins=1)
    assert nothing is not None
    assert (nothing.bins[0].low, nothing.bins[0].high) == (None, None)


@pytest.mark.parametrize(
    ("task", "rows", "mean"),
    [("count", 300, 0.05), ("amount", 300, 0.05), ("number", 100, 0.0), ("classes", 300, 0.05)],
)
def test_intervals_hold_the_true_means_of_rare_labels(task: MetricTask, rows: int, mean: float) -> None:
    held = []
    for trial in range(100):
        rng = np.random.default_rng(trial)
        truth = np.full(rows, mean) + (1e-9 * rng.random(rows) if task != "number" else rng.normal(size=rows))
        if task == "count":
            label = rng.poisson(truth).astype(np.float64)
        elif task == "amount":  # Tweedie of power 1.5, nine of ten 0
            number = rng.poisson(0.5 * np.sqrt(truth))
            label = np.where(number > 0, rng.gamma(np.maximum(number, 1), 2.0 * np.sqrt(truth)), 0.0)
        else:
            label = truth + rng.normal(size=rows) if task == "number" else (rng.random(rows) < truth).astype(np.float64)
        found = calibration(task, label, truth, np.ones(rows))
        assert found is not None
        # The responses are the true means.
        held += [one.low is not None and one.low <= one.mean_response <= (one.high or 0.0) for one in found.bins]
    assert 0.93 <= np.mean(held) <= 0.995


def test_slope_and_intercept_are_those_of_logistic_regression() -> None:
    label, response = two_classes(1500)
    weight = np.random.default_rng(3).uniform(0.5, 2.0, 1500)
    logit = np.log(response / (1.0 - response))
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(logit[:, None], label, sample_weight=weight)
    slope, intercept = logistic_recalibration(label, response, weight)
    assert (slope, intercept) == pytest.approx((model.coef_[0, 0], model.intercept_[0]), abs=1e-6)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 0.7), (2.0, -1.0)])
def test_recalibration_undoes_a_known_distortion(slope: float, intercept: float) -> None:
    label, response = two_classes(40_000)
    logit = (np.log(response / (1.0 - response)) - intercept) / slope
    found = logistic_recalibration(label, 1.0 / (1.0 + np.exp(-logit)), np.ones(40_000))
    true_slope, true_intercept = logistic_recalibration(label, response, np.ones(40_000))
    assert true_slope is not None
    assert true_intercept is not None
    # Four standard errors.
    assert (true_slope, true_intercept) == pytest.approx((1.0, 0.0), abs=0.05)
    assert found == pytest.approx((true_slope * slope, true_intercept + true_slope * intercept), rel=1e-7)


def test_certain_responses_that_are_wrong_keep_newton_finite() -> None:
    label, response = two_classes(500)
    response[:20] = np.repeat([0.0, 1.0], 10)
    label[:20] = np.tile([0.0, 1.0], 10)
    slope, intercept = logistic_recalibration(label, response, np.ones(500))
    assert slope is not None
    assert intercept is not None
    assert 0.0 < slope < 1.0


@pytest.mark.parametrize(
    ("label", "response"),
    [
        ([0.0, 0.0, 1.0, 1.0], [0.1, 0.2, 0.2, 0.4]),
        ([1.0, 1.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]),
        ([1.0, 1.0, 1.0], [0.1, 0.2, 0.3]),
        ([0.0, 1.0, 1.0], [0.3, 0.3, 0.3]),
    ],
    ids=["separable", "separable the wrong way", "one class", "one response"],
)
def test_no_finite_slope_is_none(label: list[float], response: list[float]) -> None:
    assert logistic_recalibration(np.array(label), np.array(response), np.ones(len(label))) == (None, None)


def test_rows_without_known_class_or_weight_are_left_out() -> None:
    label, response = two_classes(300)
    weight = np.ones(300)
    label[:10] = np.nan
    weight[10:20] = 0.0
    found = calibration("classes", label, response, weight)
    assert found == calibration("classes", label[20:], response[20:], weight[20:])
    assert calibration("classes", np.full(3, np.nan), np.full(3, 0.5), np.ones(3)) is None


def test_json_is_plain() -> None:
    found = calibration("classes", *two_classes(100), np.ones(100), bins=20)
    assert found is not None
    read = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert len(read["bins"]) == 20
    assert set(read["bins"][0]) == {"mean_response", "mean_label", "rows", "low", "high"}
