"""The reliability table counts right, and the slope finds the distortion that was put in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from batchlearn.errors import UsageError
from batchlearn.evaluation.calibration import calibration, logistic_recalibration
from batchlearn.evaluation.metrics import Array


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


def test_wilson_interval_is_that_of_the_formula() -> None:
    # Wilson's interval of 2 of 10, from its usual table: 0.0567 to 0.5098.
    label = np.array([1.0, 1.0, *[0.0] * 8])
    found = calibration("classes", label, np.full(10, 0.3), np.ones(10), bins=1)
    assert found is not None
    assert (found.bins[0].low, found.bins[0].high) == pytest.approx((0.0567, 0.5098), abs=1e-4)
    # Weights that are all 7 make no row surer.
    heavy = calibration("classes", label, np.full(10, 0.3), np.full(10, 7.0), bins=1)
    assert heavy is not None
    assert heavy.bins[0].low == pytest.approx(found.bins[0].low)


def test_normal_interval_of_numbers_is_1_96_standard_errors() -> None:
    label = np.random.default_rng(0).normal(3.0, 2.0, 50)
    found = calibration("number", label, np.full(50, 3.0), np.ones(50), bins=1)
    assert found is not None
    reach = 1.959964 * label.std(ddof=1) / np.sqrt(50)
    assert (found.bins[0].low, found.bins[0].high) == pytest.approx((label.mean() - reach, label.mean() + reach))
    assert found.slope is None
    assert found.intercept is None


def test_a_bin_of_one_number_has_no_interval() -> None:
    found = calibration("count", np.array([1.0, 2.0]), np.array([1.0, 3.0]), np.ones(2))
    assert found is not None
    assert [(one.low, one.high) for one in found.bins] == [(None, None)] * 2
    assert found.observed_over_expected == 0.75


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


@pytest.mark.parametrize("bins", [0, 21])
def test_a_number_of_bins_out_of_range_is_refused(bins: int) -> None:
    with pytest.raises(UsageError) as raised:
        calibration("number", np.zeros(3), np.zeros(3), np.ones(3), bins)
    assert raised.value.code == "calibration-bins"
