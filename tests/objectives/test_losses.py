"""The contract every loss keeps, checked against 60-digit arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpmath import mp
from tests.oracle import Oracle

from batchlearn.errors import DataError, NoFiniteOptimum
from batchlearn.kernels.design import Floats
from batchlearn.models.links import INVERSE_LINKS, response_change
from batchlearn.objectives.losses import LOSSES, Loss

ETAS = np.array([-800.0, -60.0, -37.0, -5.0, -1.0, -1e-9, 0.0, 1e-3, 0.7, 3.0, 20.0, 37.0, 60.0, 500.0])
LABELS = {"squared": (-1e6, 0.0, 0.3), "logistic": (0.0, 1.0), "poisson": (0.0, 0.5, 1.0, 7.0, 1e9)}
CASES = [(loss, label) for loss in LOSSES.values() for label in LABELS[loss.name]]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].name}-{case[1]:g}")
def case(request: pytest.FixtureRequest) -> tuple[Loss, float, Oracle]:
    loss, label = request.param
    return loss, label, Oracle(loss.name, [], [], [], [], [])


def slope_of(oracle: Oracle, eta: Any, label: float) -> Any:
    with mp.workdps(500):  # a response of 1 - 1e-217 less a label of 1
        return oracle.response(eta) - mp.mpf(label)


def full(label: float) -> Floats:
    return np.full(len(ETAS), label)


def test_the_value_is_the_textbooks_and_not_negative(case: tuple[Loss, float, Oracle]) -> None:
    loss, label, oracle = case
    for eta, value in zip(ETAS, loss.value(ETAS, full(label)), strict=True):
        truth = oracle.loss_of(mp.mpf(eta), mp.mpf(label))
        assert value >= 0.0
        # What the rounding of eta - log(y) leaves is the slope times that distance.
        distance = abs(mp.mpf(eta)) + mp.log(2 + abs(mp.mpf(label)))
        room = mp.mpf(4e-16) * (truth + abs(slope_of(oracle, mp.mpf(eta), label)) * distance)
        assert abs(value - truth) <= room + mp.mpf(1e-300)


def test_the_slope_is_within_its_own_bound(case: tuple[Loss, float, Oracle]) -> None:
    loss, label, oracle = case
    magnitudes = loss.slope_magnitude(ETAS, full(label))
    for eta, slope, magnitude in zip(ETAS, loss.slope(ETAS, full(label)), magnitudes, strict=True):
        truth = slope_of(oracle, mp.mpf(eta), label)
        assert abs(slope - truth) <= 7 * mp.mpf(2) ** -53 * mp.mpf(magnitude) + mp.mpf(1e-300)


def test_the_slope_is_the_derivative_of_the_value(case: tuple[Loss, float, Oracle]) -> None:
    loss, label, oracle = case
    for eta in (-3.0, -0.1, 0.4, 2.0):
        derivative = mp.diff(lambda t: oracle.loss_of(t, mp.mpf(label)), mp.mpf(eta))
        assert float(loss.slope(np.array([eta]), np.array([label]))[0]) == pytest.approx(float(derivative), rel=1e-14)


def test_the_curvature_is_the_derivative_of_the_slope(case: tuple[Loss, float, Oracle]) -> None:
    loss, label, oracle = case
    for eta, curvature in zip(ETAS, loss.least_curvature(ETAS), strict=True):
        derivative = mp.diff(lambda t: slope_of(oracle, t, label), mp.mpf(eta))
        if derivative > mp.mpf(1e-300):
            assert abs(curvature / derivative - 1) <= 1e-15
        assert curvature >= 0.0


def test_the_loss_is_convex_along_the_line(case: tuple[Loss, float, Oracle]) -> None:
    loss, label, _ = case
    eta = np.linspace(-30.0, 30.0, 601)
    value = loss.value(eta, np.full(601, label))
    second = value[2:] - 2.0 * value[1:-1] + value[:-2]
    assert np.all(second >= -1e-13 * (1.0 + value[:-2] + value[2:]))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=lambda loss: loss.name)
def test_the_third_derivative_is_within_the_constant_times_the_second(loss: Loss) -> None:
    oracle = Oracle(loss.name, [], [], [], [], [])
    ratios = []
    for eta in np.linspace(-40.0, 40.0, 81) + 0.01:
        third = mp.diff(oracle.curvature_of, mp.mpf(eta))
        ratios.append(float(abs(third) / oracle.curvature_of(mp.mpf(eta))))
    assert max(ratios) <= loss.self_concordance * (1.0 + 1e-12) + 1e-30
    assert loss.self_concordance == 0.0 or max(ratios) > 0.99 * loss.self_concordance  # the constant is not idle


@pytest.mark.parametrize(("name", "mean"), [("squared", -2.5), ("logistic", 0.03), ("poisson", 7.25)])
def test_the_null_intercept_predicts_the_mean(name: str, mean: float) -> None:
    eta = LOSSES[name].null_intercept(np.array([mean]))
    assert INVERSE_LINKS[name](eta)[0] == pytest.approx(mean, rel=1e-14)


@pytest.mark.parametrize(("name", "mean"), [("logistic", 0.0), ("logistic", 1.0), ("poisson", 0.0)])
def test_no_finite_intercept_predicts_an_end(name: str, mean: float) -> None:
    with pytest.raises(NoFiniteOptimum, match="intercept is"):
        LOSSES[name].null_intercept(np.array([mean]))


def test_labels_that_have_no_meaning_are_refused_with_the_label() -> None:
    with pytest.raises(DataError, match=r"-3"):
        LOSSES["poisson"].check_labels(np.array([1.0, -3.0]))
    with pytest.raises(DataError, match=r"2\.0"):
        LOSSES["logistic"].check_labels(np.array([1.0, 0.0, 2.0]))
    for name in LOSSES:
        LOSSES[name].check_labels(np.array([0.0, 1.0]))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_response_moves_by_no_more_than_is_said(name: str) -> None:
    oracle = Oracle(name, [], [], [], [], [])
    for eta in (-50.0, -3.0, 0.0, 2.0, 36.0, 50.0):
        for bound in (1e-12, 1e-3, 0.5, 5.0):
            said = float(response_change(name, np.array([eta]), np.array([bound]))[0])
            for t in (-bound, -0.3 * bound, bound):
                true = abs(oracle.response(mp.mpf(eta) + mp.mpf(t)) - oracle.response(mp.mpf(eta)))
                assert true <= said * (1 + mp.mpf(10) ** -14)
            if bound <= 1e-3:
                assert said <= 1.01 * float(true)
